# SPDX-License-Identifier: GPL-3.0-or-later
"""The driver's frames, measured a group at a time and ahead: those that decide the factors first, then the others."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..ahead import Ahead
from ..device import frames_at_a_time
from .animated_avatar import AnimatedAvatar
from .driver import Driver, DriverMotion
from .driving_clip import DrivingClip
from .generated import Generated
from .seen import Seen

PROBES = 12  # frames that set the factors: those that move most
RESTING = 3  # probes besides, in which the face moves least


@dataclass(frozen=True)
class Probed:
    """Frames, by number, that were computed together, and what is known of them.

    generated: None for a backend that gives the motion that it applies, which need not be measured; of other frames
    than probes, too. equations: what the rig's reader of the driver's picture has read of them, where it has.
    """

    indices: list[int]
    seen: Seen
    observed: DriverMotion
    generated: Generated | None = None
    equations: NDArray[np.float32] | None = None


def probes_of(clip: DrivingClip, avatar: AnimatedAvatar) -> list[int]:
    """Return the frames that decide the factors: those in which the face moves most, and some in which it rests."""
    return sorted({*clip.liveliest(PROBES), *clip.quietest(0 if avatar.gives_motion else RESTING)})


class Probes:
    """The probe frames of a driver, in groups, each measured once and kept until let go; then the other frames.

    They are measured in a thread, in which the next group is made while the one before it is worked on. After the
    probes it goes on with one group of the `others`, for whoever makes the result of them: what is measured depends on
    the reference alone, not on what the probes decide. `close` ends the thread.
    """

    def __init__(self, driver: Driver, avatar: AnimatedAvatar) -> None:
        self.driver, self.avatar = driver, avatar
        self.indices = probes_of(driver.clip, avatar)
        self._others: list[int] = []
        self._measured: list[Probed] = []
        self._coming: Ahead[Probed] | Generator[Probed, None, None] | None = None

    def begin(self, go_on: bool) -> None:
        """Begin to measure. go_on: with the frames besides, too, of which none is known to be finished."""
        if go_on and self.avatar.backend.info.clip_length == 1:
            probes = {*self.indices}
            self._others = [index for index in self.driver.clip.present if index not in probes]
        self._coming = self._ahead(frames_at_a_time(self.avatar.device), [self.indices, self._others])

    def __iter__(self) -> Iterator[Probed]:
        """Yield the groups of the probe frames, in their order."""
        yield from self._measured
        left = len(self.indices) - sum(len(each.indices) for each in self._measured)
        if left and self._coming is None:
            self.begin(go_on=False)
        while left:
            assert self._coming is not None
            self._measured.append(next(self._coming))
            left -= len(self._measured[-1].indices)
            yield self._measured[-1]

    def keep_equations(self, equations: Sequence[NDArray[np.float32]]) -> None:
        """Keep what was read of each group of the probe frames, which have all been measured."""
        known = zip(self._measured, equations, strict=True)
        self._measured = [replace(each, equations=read) for each, read in known]

    def let_go(self) -> list[Probed]:
        """Return what was measured of the probe frames, tens of megabytes, and keep it no longer."""
        measured, self._measured = self._measured, []
        return measured

    def besides(self, size: int, wanted: Sequence[list[int]]) -> Iterator[Probed]:
        """Yield other frames, up to `size` of one list at a time. To be asked for once, when the probes are let go."""
        coming, self._coming = self._coming, None
        if coming is None or [self._others] != [each for each in wanted if each]:
            if coming is not None:
                coming.close()
            coming = self._ahead(size, wanted)
        self._coming = coming
        yield from coming

    def close(self) -> None:
        """End the thread."""
        if self._coming is not None:
            self._coming.close()

    def _ahead(self, size: int, wanted: Sequence[list[int]]) -> Ahead[Probed] | Generator[Probed, None, None]:
        """Return the frames as they are measured, in another thread; but on Metal, where one at a time encodes."""
        groups = self._groups(size, wanted)
        return groups if self.avatar.device.type == "mps" else Ahead(groups)

    def _groups(self, size: int, wanted: Sequence[list[int]]) -> Generator[Probed, None, None]:
        with closing(self.driver.clip.batches(size, *wanted)) as batches:
            for indices, seen in batches:
                seen = seen.to(self.avatar.device)
                group = [Probed(indices, seen, self.driver.observe(seen))]
                del seen  # tens of megabytes, which would be kept until there is another
                yield group.pop()
