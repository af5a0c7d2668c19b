# SPDX-License-Identifier: GPL-3.0-or-later
"""The frames that decide how much is magnified, measured once for all who ask about them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..device import frames_at_a_time
from .animated_avatar import AnimatedAvatar
from .driver import Driver, DriverMotion
from .driving_clip import DrivingClip, Seen
from .generated import Generated

PROBES = 12  # frames that set the factors: those that move most
RESTING = 3  # probes besides, in which the face moves least


@dataclass(frozen=True)
class Probed:
    """Probe frames, by number, that were computed together, and what is known of them.

    generated: None for a backend that gives the motion that it applies, which need not be measured.
    """

    indices: list[int]
    seen: Seen
    observed: DriverMotion
    generated: Generated | None = None


def probes_of(clip: DrivingClip, avatar: AnimatedAvatar) -> list[int]:
    """Return the frames that decide the factors: those in which the face moves most, and some in which it rests."""
    return sorted({*clip.liveliest(PROBES), *clip.quietest(0 if avatar.gives_motion else RESTING)})


class Probes:
    """The probe frames of a driver, in groups, each measured when it is first asked for and kept until let go."""

    def __init__(self, driver: Driver, avatar: AnimatedAvatar) -> None:
        self.driver, self.avatar = driver, avatar
        self.indices = probes_of(driver.clip, avatar)
        self._measured: list[Probed] = []

    def __iter__(self) -> Iterator[Probed]:
        """Yield the groups in their order."""
        yield from self._measured
        known = {index for each in self._measured for index in each.indices}
        wanted = [index for index in self.indices if index not in known]
        for indices, seen in self.driver.clip.batches(frames_at_a_time(self.avatar.device), wanted) if wanted else ():
            seen = seen.to(self.avatar.device)
            self._measured.append(Probed(indices, seen, self.driver.observe(seen)))
            yield self._measured[-1]

    def let_go(self) -> list[Probed]:
        """Return what was measured, tens of megabytes, and keep it no longer."""
        measured, self._measured = self._measured, []
        return measured
