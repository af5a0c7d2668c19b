# SPDX-License-Identifier: GPL-3.0-or-later
"""From the pictures of a job to the rig's controls: where the rig is read, and what is made of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...backend_bridge.job.spec import Rig
from ...backend_bridge.rig.basis import RigBasis
from ...backend_bridge.rig.curves import ControlCurves
from ..backends import Animated
from ..face import regions
from ..magnification.motion import Motion
from ..rig.constraints import Constraints
from ..rig.observer import RigObserver, on_crop, on_driver, read_field
from ..rig.solver import solve
from .animated_avatar import AnimatedAvatar
from .driver import Driver
from .factors import Factors

_LEAST_SITES = 3  # a region with fewer shows nothing to speak of


@dataclass(frozen=True)
class Solved:
    """Curves, and the share of the whole clip's motion that no control explains: everywhere, and by region."""

    curves: ControlCurves
    residual: float
    region_residual: dict[str, float]


class RigReader:
    """Reads motion equations at the rig's sites, frame by frame, and solves the controls from all of them.

    They are read where the motion shows most clearly. A backend that carries the driver's motion adds nothing to it, so
    the rig is laid over the driver's own picture; what another backend makes of the driver shows in its generated
    frames, magnified, so the rig is laid over those.
    """

    def __init__(
        self, basis: RigBasis, driver: Driver, avatar: AnimatedAvatar, factors: Factors, intensity: float, rig: Rig
    ) -> None:
        """Raises `InputError` when none of the rig is visible, or `rig` names controls that it has not."""
        self.basis = basis
        self._intensity = intensity
        self._constraints = Constraints.named(basis, rig.locked, rig.mirrored)
        self.off_driver = avatar.correspondence is not None
        crop, size = avatar.window.to_crop_affine(), avatar.window.crop_size
        if avatar.correspondence is not None:
            laid = on_driver(on_crop(basis, crop, size), avatar.correspondence, driver.mask)
            self._observer = RigObserver(laid, driver.reference.image, driver.clip.depth)
            landmarks, side = driver.reference.landmarks, driver.clip.size
            self._gains = self._region_gains(driver.region)
        else:
            shown = on_crop(basis, crop, size, gain=factors.alpha * factors.gain)
            within = dataclasses.replace(shown, visible=shown.visible & _inside(shown, avatar.mask))
            self._observer = RigObserver(within, avatar.neutral)
            landmarks, side = avatar.landmarks, size
            self._gains = np.ones(len(basis.controls))  # the generated frames have them in
        masks = regions(landmarks, (side, side))
        self._regions = {name: self._observer.read(mask)[:, 0] for name, mask in masks.items()}

    def read(self, frames: Tensor, total: Tensor, animated: Animated | None, motion: Motion | None) -> NDArray:
        """Return equations [N, S, 5] of a batch.

        frames: [N, 3, S, S] of the driver, whose whole motion is `total` [N, 2, S, S] px; animated, motion: what the
        backend made of it, needed unless the rig is read off the driver (`off_driver`).
        """
        if self.off_driver:
            return self._observer.observe(frames, total)
        assert animated is not None and motion is not None
        return self._observer.observe(animated.frames, motion.flow)

    def solve(self, equations: NDArray[np.floating], seconds: Sequence[float]) -> Solved:
        """Return the controls' curves from equations [N, S, 5] of the whole clip, at the intensity that was asked."""
        sites, controls = self._observer.sites, self.basis.controls
        solution = solve(self.basis, sites, equations, seconds, constraints=self._constraints)
        rest = np.array([control.rest for control in controls])
        # Not cut off at the controls' ranges: who asks for a stronger expression gets it, and the bake widens them.
        values = rest + (solution.curves.values - rest) * (self._intensity * self._gains)
        shown = {name: membership for name, membership in self._regions.items() if membership.sum() >= _LEAST_SITES}
        unseen = np.full(len(values), np.nan, np.float32)
        residuals = [solution.residual_in(shown[name]) if name in shown else unseen for name in self._regions]
        curves = dataclasses.replace(
            solution.curves,
            values=self.basis.posed(values).astype(np.float32),
            regions=tuple(self._regions),
            region_residual=np.stack(residuals, 1),
        )
        everywhere = np.ones(len(sites.position))
        return Solved(
            curves,
            residual=solution.residual_of_clip(everywhere),
            region_residual={name: solution.residual_of_clip(membership) for name, membership in shown.items()},
        )

    def _region_gains(self, region: Tensor) -> NDArray[np.float64]:
        """Return [K], how much of each control a map of the face [1, 1, S, S] lets through, weighted by its effect."""
        energy = (self._observer.sites.columns**2).sum(2)
        gains = energy @ self._observer.read(region)[:, 0] / np.maximum(energy.sum(1), 1e-12)
        for pair in self._constraints.pairs:
            gains[list(pair)] = gains[list(pair)].mean()
        return gains


def _inside(basis: RigBasis, mask: Tensor) -> NDArray[np.bool_]:
    """Return [V], vertices on a crop that lie where its mask [1, 1, S, S] is at least one half."""
    return read_field(mask, basis.positions)[:, 0] >= 0.5
