# SPDX-License-Identifier: GPL-3.0-or-later
"""Arrays outside of the heap, for what is kept while larger ones come and go."""

from __future__ import annotations

import mmap
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class KeptArray:
    """An array in pages of its own.

    In the heap, what is kept would keep apart what is freed on either side of it, so that the next large array finds no
    room: 750 MiB of such gaps in a job of 240 frames. That holds for the few bytes of an array's shape, too, so that
    only numbers of Python's are kept beside the pages.

    >>> KeptArray.of(np.arange(4.0)).array
    array([0., 1., 2., 3.])
    """

    _pages: mmap.mmap | bytearray
    _dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, array: NDArray[Any]) -> KeptArray:
        """Copy an array."""
        pages = _new_pages(array.nbytes) if array.size else bytearray()
        kept = cls(pages, array.dtype, array.shape)
        if array.size:
            kept.array[...] = array
        return kept

    @property
    def nbytes(self) -> int:
        """How many bytes it takes."""
        return len(self._pages)

    @property
    def array(self) -> NDArray[Any]:
        """The array itself, which is not to be changed."""
        return np.frombuffer(self._pages, self._dtype).reshape(self.shape)


def _new_pages(size: int) -> mmap.mmap:
    """Return new pages, large ones where the system has them: to be given small ones takes longer than to fill them."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return mmap.mmap(-1, size)
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel that was built without them
        pages.madvise(mmap.MADV_HUGEPAGE)
    return pages
