# SPDX-License-Identifier: GPL-3.0-or-later
"""From the driving video's time to the scene's, in exact arithmetic, and what whole frames miss of a short event."""

from __future__ import annotations

import bisect
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

import bpy
import numpy as np
from numpy.typing import NDArray

from ...backend_bridge.files.errors import InputError
from ...backend_bridge.job.report import Report

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
        return cls(timing.seconds, timing.rate, events, _nearest(timing.seconds, events["apex"]))

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
        return [_nearest(source.seconds, self.seconds(frame)) for frame in range(self.start_frame, last + 1)]


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


def scene_rate(scene: bpy.types.Scene) -> Fraction:
    """Return the scene's frames per second as the fraction that was meant: 24 and 1.001 are 24000/1001."""
    return _meant(scene.render.fps) / _meant(scene.render.fps_base)


def remapped_problem(scene: bpy.types.Scene) -> str:
    """Return what to do where the scene plays its animation faster or slower than its frames; else an empty string."""
    old, new = scene.render.frame_map_old, scene.render.frame_map_new
    if old == new:
        return ""
    return (
        f"The scene {scene.name!r} stretches time from {old} to {new}, so keys would play at other frames than they "
        "are on; set both to 100 in Properties > Output > Frame Rate > Time Stretching."
    )


def exact(value: float) -> Fraction:
    """Return the number a person typed: properties keep it in single precision.

    >>> exact(0.5329999923706055)
    Fraction(533, 1000)
    """
    return Fraction(str(np.float32(value)))


def apex_kept(frames: NDArray[np.floating], excursion: NDArray[np.floating]) -> float:
    """Return the share of the highest excursion that whole scene frames show, in [0, 1].

    Args:
        frames: [N] scene frames, increasing, of the samples.
        excursion: [N] distance from rest, zero or more. Between samples it runs straight, as the keys do.

    >>> apex_kept(np.array([0.5, 2.5, 4.5]), np.array([0.0, 1.0, 0.0]))
    0.75
    """
    highest = float(excursion.max(initial=0.0))
    if highest == 0.0:
        return 1.0
    whole = np.arange(np.ceil(frames[0]), np.floor(frames[-1]) + 1)
    return float(np.interp(whole, frames, excursion).max(initial=0.0)) / highest


def _nearest(seconds: Sequence[Fraction], at: Fraction) -> int:
    """Return the index of the time nearest to `at`, the earlier one of two that are equally near."""
    after = bisect.bisect_left(seconds, at)
    if after == 0:
        return 0
    if after == len(seconds):
        return after - 1
    return after if seconds[after] - at < at - seconds[after - 1] else after - 1


def _meant(value: float) -> Fraction:
    """Return the simplest decimal-scale fraction that single precision stores as `value`."""
    for limit in (1, 10, 100, 1000, 10_000, 100_000, 1_000_000):
        fraction = Fraction(value).limit_denominator(limit)
        if struct.pack("f", float(fraction)) == struct.pack("f", value):
            return fraction
    return Fraction(value)
