# SPDX-License-Identifier: GPL-3.0-or-later
"""A few frames of the driver on their way through the pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..backends import DrivingBatch
from ..magnification.motion import Motion
from .animated_avatar import AnimatedAvatar
from .driver import Driver, DriverMotion
from .generated import Generated
from .seen import Seen

_TOGETHER = 2  # frames


class Batch:
    """N frames and all that is computed from them, each part when it is first read.

    seen: the driver's steady crops. alpha: the magnification. observed, generated: where computed already. equations:
    what the rig's reader of the driver's picture has read of them, [N, S, 10], where it has.
    """

    def __init__(
        self,
        seen: Seen,
        driver: Driver,
        avatar: AnimatedAvatar,
        alpha: float,
        observed: DriverMotion | None = None,
        generated: Generated | None = None,
        equations: NDArray[np.float32] | None = None,
    ) -> None:
        self.seen = seen
        self.driver = driver
        self.avatar = avatar
        self.equations = equations
        self._alpha = alpha
        self._observed = observed
        self._generated = generated

    def parts(self) -> Iterator[Batch]:
        """Yield its frames as smaller batches, of which each needs less memory.

        It stays whole on a graphics card, and where frames are generated: a network is faster with many.
        """
        if not self.avatar.gives_motion or self.avatar.device.type != "cpu":
            yield self
            return
        for first in range(0, len(self.frames), _TOGETHER):
            at = slice(first, first + _TOGETHER)
            read = None if self.equations is None else self.equations[at]
            part = self.seen.part(at), self.driver, self.avatar, self._alpha, self.observed.part(at)
            yield Batch(*part, equations=read)

    @property
    def frames(self) -> Tensor:
        """The driver's frames, [N, 3, S, S]."""
        return self.seen.frames

    @cached_property
    def observed(self) -> DriverMotion:
        """The driver's motion."""
        return self.driver.observe(self.seen) if self._observed is None else self._observed

    @cached_property
    def weight(self) -> Tensor:
        """How far each pixel shows the face, with nothing before it that moves, [N, 1, S, S] in [0, 1]."""
        return self.observed.uncovered(self.seen.weight)

    @property
    def local(self) -> Motion:
        """The face's own motion in px of the driver's crop, [N, 2, S, S]."""
        return self.observed.local

    @cached_property
    def driving(self) -> DrivingBatch:
        """What the backend is shown: the magnified driver."""
        return self.driver.magnified(self.seen, self.observed, self._alpha)

    @cached_property
    def generated(self) -> Generated:
        """What the backend made of it."""
        return self.avatar.animate(self.driving) if self._generated is None else self._generated
