# SPDX-License-Identifier: GPL-3.0-or-later
"""What a clip leaves behind: the ends of its curves, where it begins or ends in the middle of an expression."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...backend_bridge.rig.easing import smooth_step
from .scene_time import LAST_FRAME, Placement, SourceTime

RELEASE = 0.2  # seconds; micro-expressions take about as long to go
Samples = NDArray[np.floating]


def _whole_after(frame: float) -> int:
    return math.floor(frame) + 1


@dataclass(frozen=True)
class Window:
    """The part of the scene's time that a bake fills, in frames: `first` to `last` with the clip's own samples.

    The last values stay until `held`. From there to `end` it eases to what is there without it; where these two are the
    same, nothing is eased.
    """

    first: float
    last: float
    held: float
    end: float

    @classmethod
    def of_clip(cls, source: SourceTime, placement: Placement, release: float | None) -> Window:
        """Return the window of a clip; `release` in seconds of the clip, None to hold its last values for good."""
        first, last = (float(placement.frame(source.seconds[index])) for index in (0, -1))
        if release is None:
            return cls(first, last, LAST_FRAME, LAST_FRAME)
        return cls(first, last, last, max(last + float(placement.rate) * release, _whole_after(last)))

    def until(self, frame: float | None, ease: float) -> Window:
        """Return a window whose last values are held until a frame, over the last `ease` frames of which they go.

        With None it is this one.
        """
        if frame is None:
            return self
        return Window(self.first, self.last, max(self.last, frame - ease), max(_whole_after(self.last), frame))

    def ended_by(self, frame: float | None) -> Window:
        """Return a window that is eased back by a frame at the latest, or in one frame where that comes at once."""
        if frame is None or self.end <= frame:
            return self
        return Window(self.first, self.last, self.held, max(_whole_after(self.last), frame))

    @property
    def holds(self) -> bool:
        """Whether the last values are held, for good or until something begins."""
        return self.held > self.last

    @property
    def endless(self) -> bool:
        """Whether the last values are held for good."""
        return self.held >= LAST_FRAME

    @property
    def unreleased(self) -> Window:
        """The window of a curve that ends at rest."""
        return Window(self.first, self.last, self.last, self.last)

    @property
    def settled(self) -> float:
        """The frame of the last key with the value that it ends with: where it is held for good none is needed."""
        return self.last if self.endless else self.held

    @property
    def last_key(self) -> float:
        """The frame of the last key."""
        return self.last if self.endless else self.end

    @property
    def before(self) -> int:
        """The last whole frame before it."""
        return math.ceil(self.first) - 1

    @property
    def after(self) -> float:
        """The first frame after it, a whole one or where the release ends, whichever comes later."""
        return max(_whole_after(self.last), self.end)

    def eased(self, value: float, to: Callable[[float], float]) -> tuple[Samples, Samples]:
        """Return frames after `held` up to `end`, and values that go over smoothly from `value` to what `to` gives."""
        inner = np.arange(math.floor(self.held) + 1, self.end)
        frames = np.append(inner[inner > self.held], self.end)
        shares = smooth_step((frames - self.held) / (self.end - self.held))
        return frames, np.array([value + s * (to(float(f)) - value) for f, s in zip(frames, shares, strict=True)])

    def released(self, frames: Samples, values: Samples, to: Callable[[float], float]) -> tuple[Samples, Samples]:
        """Return samples with what holds the last one and eases it to what `to` gives; held for good, as they are."""
        if self.settled > frames[-1]:
            frames, values = np.append(frames, self.settled), np.append(values, values[-1])
        if self.held >= self.end:
            return frames, values
        more, eased = self.eased(float(values[-1]), to)
        return np.concatenate((frames, more)), np.concatenate((values, eased))
