# SPDX-License-Identifier: GPL-3.0-or-later
"""The learned part: a small U-Net that corrects what the solver found, from what the solver knows.

It sees the solver's equations, its solution and the reference's brightness, all in units in which neither the noise nor
the size of the motion matters, and answers in shares of the motion nearby; so a motion half as large is corrected by
half as much. Its last layer starts at zero: before training the network is the solver.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from .filters import binomial, resize
from .solver import Observation

INPUTS = 11


class Refinement(nn.Module):
    """Corrects a solution on the solver's grid.

    widths: channels at the grid's own resolution, at a half, a quarter and an eighth of it.
    """

    def __init__(self, widths: tuple[int, int, int, int] = (16, 24, 32, 32)) -> None:
        super().__init__()
        full, half, quarter, eighth = widths
        self.down0 = nn.Conv2d(INPUTS, full, 3, padding=1, padding_mode="replicate")
        self.down1 = _block(full, half)
        self.down2 = _block(half, quarter)
        self.down3 = _block(quarter, eighth)
        self.up2 = _block(eighth + quarter, quarter)
        self.up1 = _block(quarter + half, half)
        self.up0 = _block(half + full, full)
        self.last = nn.Conv2d(full, 2, 3, padding=1, padding_mode="replicate")
        nn.init.zeros_(self.last.weight)
        if self.last.bias is not None:
            nn.init.zeros_(self.last.bias)

    @classmethod
    def load(cls, weights: Path) -> Refinement:
        """Return the network with the weights of a .safetensors file."""
        network = cls()
        network.load_state_dict(load_file(weights))
        return network

    def forward(self, observed: Observation, brightness: Tensor) -> Observation:
        """Return the observation with its motion corrected.

        brightness: [1 or N, 1, h, w] in [0, 1], the reference on the solver's grid (h, w >= 8).
        """
        brightness = brightness.expand(observed.motion.shape[0], -1, -1, -1)
        scale = observed.stiffness.rsqrt()
        x0 = F.leaky_relu(self.down0(features(observed, brightness, scale)), 0.1)
        x1 = self.down1(F.avg_pool2d(x0, 2, ceil_mode=True))
        x2 = self.down2(F.avg_pool2d(x1, 2, ceil_mode=True))
        x3 = self.down3(F.avg_pool2d(x2, 2, ceil_mode=True))
        y2 = self.up2(torch.cat([_like(x3, x2), x2], 1))
        y1 = self.up1(torch.cat([_like(y2, x1), x1], 1))
        y0 = self.up0(torch.cat([_like(y1, x0), x0], 1))
        correction = scale * SHARE * self.last(y0) * _anything_seen(observed)
        return Observation(observed.equations, observed.motion + correction, observed.stiffness, observed.noise)


SHARE = 4.0  # brings the correction, in units of the prior's bend, to the order of one


def features(observed: Observation, brightness: Tensor, scale: Tensor) -> Tensor:
    """Return what the network looks at: [N, INPUTS, h, w], all of the order of one.

    How well each direction is measured, how far a free measurement would pull the solution, the solution itself and
    how it bends, how well it explains the picture, the size of the motion, and the reference's brightness.
    """
    jxx, jxy, jyy, hx, hy = observed.equations.split(1, 1)
    x, y = observed.motion.split(1, 1)
    precision = observed.stiffness
    pull = torch.cat([hx - jxx * x - jxy * y, hy - jxy * x - jyy * y], 1) / (jxx + jyy + precision)
    bend = observed.motion - binomial(observed.motion)
    typical = observed.noise.flatten(1).median(1).values.view(-1, 1, 1, 1)
    coherence = jxy / (torch.sqrt(jxx * jyy) + precision)
    return torch.cat(
        [
            0.3 * torch.log1p(jxx / precision),
            0.3 * torch.log1p(jyy / precision),
            coherence,
            (pull / scale).clamp(-4, 4),
            0.1 * (observed.motion - _surroundings(observed.motion)) / scale,
            (bend / scale).clamp(-4, 4),
            torch.log(observed.noise / typical).clamp(-4, 4),
            4 * (brightness - _surroundings(brightness)),
        ],
        1,
    )


def _anything_seen(observed: Observation) -> Tensor:
    """Return about 1, or 0 for a picture without any texture, in which there is nothing to correct: [N, 1, 1, 1]."""
    measured = observed.equations[:, 0:1] + observed.equations[:, 2:3]
    return (measured / (measured + observed.stiffness)).amax((2, 3), keepdim=True)


def _surroundings(field: Tensor) -> Tensor:
    return resize(F.avg_pool2d(field, 8, ceil_mode=True), (field.shape[2], field.shape[3]))


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="replicate"),
        nn.LeakyReLU(0.1, inplace=True),
        nn.Conv2d(outputs, outputs, 3, padding=1, padding_mode="replicate"),
        nn.LeakyReLU(0.1, inplace=True),
    )


def _like(field: Tensor, other: Tensor) -> Tensor:
    return resize(field, (other.shape[2], other.shape[3]))
