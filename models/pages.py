# SPDX-License-Identifier: GPL-3.0-or-later
"""Arrays in pages of their own, for what is kept while larger ones come and go."""

from __future__ import annotations

import mmap
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)


def in_own_pages(array: NDArray[Scalar]) -> NDArray[Scalar]:
    """Return a copy of an array in pages of its own.

    In the heap, what is kept would keep apart what is freed on either side of it, so that the next large array finds no
    room: 750 MiB of such gaps in a job of 240 frames.
    """
    if not array.size:
        return array.copy()
    pages = mmap.mmap(-1, array.nbytes)  # the array keeps it
    copy: NDArray[Any] = np.frombuffer(pages, array.dtype).reshape(array.shape)
    copy[...] = array
    return copy
