# SPDX-License-Identifier: GPL-3.0-or-later
"""A few frames of the driver on their way through the pipeline."""

from __future__ import annotations

from functools import cached_property

from torch import Tensor

from ..backends import Animated, DrivingBatch
from ..magnification.motion import Motion
from .animated_avatar import AnimatedAvatar
from .driver import Driver, Observation
from .driving_clip import Seen


class Batch:
    """N frames, and everything that is known of them, each thing computed when somebody asks for it.

    seen: the driver's steady crops. alpha: the magnification.
    """

    def __init__(self, seen: Seen, driver: Driver, avatar: AnimatedAvatar, alpha: float) -> None:
        self.seen = seen
        self.driver = driver
        self.avatar = avatar
        self._alpha = alpha

    @property
    def frames(self) -> Tensor:
        """The driver's frames, [N, 3, S, S]."""
        return self.seen.frames

    @cached_property
    def observed(self) -> Observation:
        """The driver's motion."""
        return self.driver.observe(self.seen)

    @property
    def local(self) -> Motion:
        """The face's own motion in px of the driver's crop, [N, 2, S, S]."""
        return self.observed.local

    @cached_property
    def driving(self) -> DrivingBatch:
        """What the backend is shown: the magnified driver."""
        return self.driver.magnified(self.frames, self.observed, self._alpha)

    @cached_property
    def _generated(self) -> tuple[Animated, Motion]:
        return self.avatar.animate(self.driving)

    @property
    def animated(self) -> Animated:
        """What the backend made of it."""
        return self._generated[0]

    @property
    def motion(self) -> Motion:
        """The motion of the generated frames in px of the avatar's crop, told by the backend or measured."""
        return self._generated[1]
