# SPDX-License-Identifier: GPL-3.0-or-later
"""The driver's motion, kept between jobs by the pixels that it was measured in."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .even_field import numbers_of

MOST_BYTES = 96 << 20  # of all motion that is kept; a second of film has about 27 MB

Measured = TypeVar("Measured")
Kept_co = TypeVar("Kept_co", covariant=True)


class Packed(Protocol[Kept_co]):
    """A measurement as it is kept."""

    @property
    def nbytes(self) -> int:
        """How many bytes it takes."""
        ...

    def unpacked(self) -> Kept_co:
        """Return the measurement as it was."""
        ...


Content: TypeAlias = Tensor | NDArray[np.floating] | str


class Beyond(Protocol[Measured]):
    """A source of measurements that were made elsewhere."""

    def __call__(self, key: str, measure: Callable[[], Measured], fits: Callable[[Measured], bool]) -> Measured:
        """Return what is known under `key` and `fits`, else what `measure` returns."""
        ...


class MotionStore(Generic[Measured]):
    """Measurements by the content that they were made from; those that were not used for longest go first.

    Only of tensors on the CPU: a graphics card's memory is the models'.
    """

    def __init__(
        self,
        pack: Callable[[Measured], Packed[Measured]],
        most_bytes: int = MOST_BYTES,
        beyond: Beyond[Measured] | None = None,
    ) -> None:
        """`beyond` is asked for what isn't known here: it returns what other workers know, or measures."""
        self._pack = pack
        self._most_bytes = most_bytes
        self._beyond = beyond
        self._bytes = 0
        self._known: OrderedDict[str, Packed[Measured]] = OrderedDict()

    def get(
        self,
        made_from: Iterable[Content],
        measure: Callable[[], Measured],
        fits: Callable[[Measured], bool] = lambda _: True,
    ) -> Measured:
        """Return what `measure` returned for the same content before, else what it returns now.

        fits: whether what another process has left can be what `measure` returns.
        """
        key = _key(made_from)
        if key is None:
            return measure()
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key].unpacked()
        found = measure() if self._beyond is None else self._beyond(key, measure, fits)
        packed = self._pack(found)
        if packed.nbytes <= self._most_bytes:
            self._known[key] = packed
            self._bytes += packed.nbytes
            while self._bytes > self._most_bytes:
                self._bytes -= self._known.popitem(last=False)[1].nbytes
        return found


def _key(made_from: Iterable[Content]) -> str | None:
    """Return a hash of contents, None where a part of it is not on the CPU."""
    digest = hashlib.sha256()  # which processors have instructions for
    for part in made_from:
        if isinstance(part, Tensor):
            if part.device.type != "cpu":
                return None
            part = part.numpy()
        if isinstance(part, str):
            digest.update(b"text" + part.encode())
        else:
            numbers = numbers_of(part)
            digest.update(f"{part.shape}{numbers.shape}{part.dtype}".encode())
            digest.update(np.ascontiguousarray(numbers).data)
    return digest.hexdigest()
