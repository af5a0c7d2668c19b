# SPDX-License-Identifier: GPL-3.0-or-later
"""The driver's motion, kept between jobs by the frames that it was measured in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

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


class Beyond(Protocol[Measured]):
    """A source of measurements that were made elsewhere."""

    def __call__(self, key: str, measure: Callable[[], Measured], fits: Callable[[Measured], bool]) -> Measured:
        """Return what is known under `key` and `fits`, else what `measure` returns."""
        ...


class MotionStore(Generic[Measured]):
    """Measurements by what they were made from; those that were not used for longest go first."""

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
        key: str | None,
        measure: Callable[[], Measured],
        fits: Callable[[Measured], bool] = lambda _: True,
    ) -> Measured:
        """Return what `measure` returned for the same key before, else what it returns now, which is kept.

        key: None for what must not be kept. fits: whether what another process has left can be what `measure` returns.
        """
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
