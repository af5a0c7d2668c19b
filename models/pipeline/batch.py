# SPDX-License-Identifier: GPL-3.0-or-later
"""A few frames of the driver on their way through the pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

from torch import Tensor

from ..backends import DrivingBatch
from ..magnification.motion import Motion
from .animated_avatar import AnimatedAvatar
from .driver import Driver
from .generated import Generated


class Batch:
    """N frames, and everything that is known of them, each thing computed when somebody asks for it.

    frames: [N, 3, S, S], the driver's steady crops. alpha: the magnification. kept: [N], the frames that have been
    generated already, None for the others; nothing at all stands for none of them.
    """

    def __init__(
        self,
        frames: Tensor,
        driver: Driver,
        avatar: AnimatedAvatar,
        alpha: float,
        kept: Sequence[Generated | None] = (),
    ) -> None:
        self.frames = frames
        self.driver = driver
        self.avatar = avatar
        self._alpha = alpha
        self._kept = list(kept) or [None] * len(frames)

    @cached_property
    def _observed(self) -> tuple[Motion, Tensor]:
        return self.driver.observe(self.frames)

    @property
    def local(self) -> Motion:
        """The face's own motion in px of the driver's crop, [N, 2, S, S]."""
        return self._observed[0]

    @property
    def total(self) -> Tensor:
        """The face's motion with the head's, [N, 2, S, S] px."""
        local, rigid = self._observed
        return local.flow + rigid

    @cached_property
    def driving(self) -> DrivingBatch:
        """What the backend is shown: the magnified driver."""
        return self.driver.magnified(self.frames, *self._observed, self._alpha)

    @cached_property
    def generated(self) -> Generated:
        """What the backend made of it."""
        wanted = [index for index, kept in enumerate(self._kept) if kept is None]
        if len(wanted) == len(self._kept):
            return self.avatar.animate(self.driving)
        motion = self.driving.motion
        made: Iterator[Generated] = iter(())
        if wanted:
            some = DrivingBatch(self.driving.frames[wanted], Motion(motion.flow[wanted], motion.confidence[wanted]))
            new = self.avatar.animate(some)
            made = iter([new.one(index) for index in range(len(wanted))])
        return Generated.joined([next(made) if kept is None else kept for kept in self._kept])
