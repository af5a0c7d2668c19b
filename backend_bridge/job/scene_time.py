# SPDX-License-Identifier: GPL-3.0-or-later
"""From the driving video's time to a scene's, in exact arithmetic: what both sides of a moving shot agree on."""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

from ..files.errors import InputError
from .report import Report
from .shot import Shot

EVENTS = ("onset", "apex", "offset")


@dataclass(frozen=True)
class SourceTime:
    """When each frame of the driving clip is shown, in seconds from its first frame, and where the event lies in it.

    rate: frames per second, on average where it varies. events: those of `EVENTS` that are known, in seconds. apex: the
    number of its frame, from 0.
    """

    seconds: tuple[Fraction, ...]
    rate: Fraction
    events: Mapping[str, Fraction]
    apex: int | None = None

    @classmethod
    def from_report(cls, report: Report) -> SourceTime:
        """Read the timing of a job's report. Raises `InputError` when the report has none."""
        timing = report.timing
        if timing is None or not timing.seconds or timing.rate <= 0:
            raise InputError("The job's report has no usable timing; run the job again.")
        if any(later <= sooner for sooner, later in pairwise(timing.seconds)):
            raise InputError("The job's report has no usable timing, its frames are not in order; run the job again.")
        if report.events is None:
            return cls(timing.seconds, timing.rate, {})
        known = {"onset": report.events.onset, "apex": report.events.apex, "offset": report.events.offset}
        # As they are written: 0.04 is meant, not the nearest binary number.
        events = {name: Fraction(str(at)) for name, at in known.items() if at is not None}
        return cls(timing.seconds, timing.rate, events, nearest(timing.seconds, events["apex"]))

    @property
    def end(self) -> Fraction:
        """Seconds at which the last frame is over."""
        return self.seconds[-1] + 1 / self.rate


@dataclass(frozen=True)
class Placement:
    """Where the clip lies in the scene.

    start_frame: of the clip's first frame. fps: the scene's frames per second. shift: in frames. stretch: how many
    times longer than it was the clip plays.
    """

    start_frame: int
    fps: Fraction
    shift: Fraction = Fraction(0)
    stretch: Fraction = Fraction(1)

    @property
    def rate(self) -> Fraction:
        """Scene frames per second of the clip."""
        return self.fps * self.stretch

    def frame(self, seconds: Fraction) -> Fraction:
        """Return the scene frame, in general between two whole ones, of a time of the clip."""
        return self.start_frame + seconds * self.rate + self.shift

    def seconds(self, frame: int | Fraction) -> Fraction:
        """Return the time of the clip at a scene frame."""
        return (frame - self.start_frame - self.shift) / self.rate

    def frames_to_show(self, source: SourceTime) -> list[int]:
        """Return which source frame is nearest in time to each scene frame, from the start frame to the clip's end."""
        # Rounded, as containers round their times to milliseconds; but an apex at the very end is not left out.
        last = max(round(self.frame(source.end)) - 1, math.floor(self.frame(source.seconds[-1])))
        return [nearest(source.seconds, self.seconds(frame)) for frame in range(self.start_frame, last + 1)]


def place(
    source: SourceTime, start_frame: int, fps: Fraction, keep_apex: bool, stretch: Fraction = Fraction(1)
) -> Placement:
    """Put a clip into the scene, `stretch` times as long as it was.

    With `keep_apex` it is shifted by the part of a frame, half a frame at most, that puts the apex on a whole frame: at
    24 fps a movement of 80 ms may otherwise show half of its height.
    """
    placement = Placement(start_frame, fps, stretch=stretch)
    if not keep_apex or source.apex is None:
        return placement
    apex = placement.frame(source.seconds[source.apex])
    return replace(placement, shift=round(apex) - apex)


def place_in_shot(source: SourceTime, shot: Shot) -> Placement:
    """Return where a clip lies in the scene of a moving shot."""
    return place(source, shot.start_frame, shot.rate, shot.keep_apex, shot.stretch)


def nearest(seconds: Sequence[Fraction], at: Fraction) -> int:
    """Return the index of the time nearest to `at`, the earlier one of two that are equally near."""
    after = bisect.bisect_left(seconds, at)
    if after == 0:
        return 0
    if after == len(seconds):
        return after - 1
    return after if seconds[after] - at < at - seconds[after - 1] else after - 1
