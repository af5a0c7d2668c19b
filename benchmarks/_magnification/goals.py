# SPDX-License-Identifier: GPL-3.0-or-later
"""What a result is measured against, by instruments whose readings of known answers are printed beside it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from magplus.models.warp import pixel_grid, sample

from .methods import Estimator, farneback, fine_dis

Row = dict[str, float]

INSTRUMENTS: dict[str, Estimator] = {"DIS": fine_dis, "Farneback": farneback}


@dataclass(frozen=True)
class Goal:
    """What a result is measured against.

    reference, picture: [1, 3, H, W], clean, and the true picture of the wanted motion; wanted: [1, 2, H, W] px on the
    reference's pixels; known: [1, 1, H, W] bool.
    """

    reference: Tensor
    picture: Tensor
    wanted: Tensor
    known: Tensor

    @property
    def moving(self) -> Tensor:
        """Return where something moves: by more than a twentieth of the largest motion."""
        size = self.wanted.norm(dim=1, keepdim=True)
        return self.known & (size > 0.05 * size[self.known].max())

    def seen(self, result: Tensor, instrument: Estimator) -> Tensor:
        """Return the motion that a result shows: the wanted one and how far the result lies off the true picture."""
        there = pixel_grid(*self.wanted.shape[2:]) + self.wanted
        return self.wanted + sample(instrument(self.picture, result), there)

    def error(self, motion: Tensor) -> float:
        """Return the relative error of a motion."""
        moving = self.moving
        off = (motion - self.wanted).norm(dim=1, keepdim=True)[moving].sum()
        return float(off / self.wanted.norm(dim=1, keepdim=True)[moving].sum())

    def gain(self, motion: Tensor) -> float:
        """Return the slope of a motion against the wanted one."""
        moving = self.moving.expand(-1, 2, -1, -1)
        return float((motion * self.wanted)[moving].sum() / self.wanted.square()[moving].sum())

    def leak(self, motion: Tensor) -> float:
        """Return the mean motion where nothing should move, px."""
        return float(motion.norm(dim=1, keepdim=True)[self.known & ~self.moving].mean())

    def measure(self, result: Tensor) -> Row:
        """Return the instruments' figures of a result [1, 3, H, W]."""
        seen = {name: self.seen(result, instrument) for name, instrument in INSTRUMENTS.items()}
        first = next(iter(INSTRUMENTS))
        return {
            **{f"error {name}": self.error(motion) for name, motion in seen.items()},
            "direct": self.error(INSTRUMENTS[first](self.reference, result)),
            "gain": self.gain(seen[first]),
            "leak": self.leak(seen[first]),
            "PSNR": psnr(result, self.picture, self.known),
        }


def psnr(image: Tensor, truth: Tensor, known: Tensor) -> float:
    """Return the peak signal-to-noise ratio of an image in [0, 1] where `known`, dB."""
    error = (image - truth).square().mean(1, keepdim=True)[known].mean()
    return float(-10 * torch.log10(error.clamp(min=1e-12)))
