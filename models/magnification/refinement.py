# SPDX-License-Identifier: GPL-3.0-or-later
"""The learned part: what faces do, as a prior of the solver's equations.

A face moves in few ways: a brow rises as a whole, a smile pulls cheek and lid along. Seen through noise, a pixel says
little about its own motion, but all of a face's pixels together say which of those ways it took and how far. So the
network looks at the reference and at what the solver found, and lays *fields* of motion over this very picture: one for
each action unit, a few free ones for what those leave out, and the six affine ones for the head. It also says how far
each pixel is to be trusted. How much of each field there is follows from the solver's equations by weighted least
squares, in closed form. A second, small network then decides point by point between that answer and the solver's own,
and corrects what is left.

All it sees is in units in which neither the noise nor the size of the motion matters, and it answers in shares of the
motion seen, so that a motion half as large is answered by half as much. Its last layer starts at zero: before training
it is the solver.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from .filters import binomial, box, resize
from .solver import ROUGHNESS, Observation

INPUTS = 15
UNITS = 51  # action units whose fields the network is taught
FREE = 8  # fields of motion that it finds by itself
SMALLEST_GRID = 96  # points along the shorter side; on less than a face in 192 px the network was not trained
COARSENING = 112  # every so many points along the shorter side, the network looks at each second, third ... of them
ALIKE = 3e-4  # how alike two fields may be before they share their amount
CONTRADICTION = 1.0  # noise variances by which a point's misfit may grow before the solver's motion is kept
LEAST_SEEN = 1e-4  # squared signal to noise of a point that says nothing
EMPTY = 1e-6  # 1 / px^2, precision of a point without any texture
WIDTHS = (32, 48, 64, 72, 80)


@dataclass(frozen=True)
class Explanation:
    """What the network makes of an observation.

    refined: the observation with its motion corrected. explained: [N, 2, h, w] px, the motion that the fields alone
    make up. units: [N, K, 2, h', w'], the action units' fields on a grid of half the size, the largest motion about 1.
    """

    refined: Observation
    explained: Tensor
    units: Tensor


class Refinement(nn.Module):
    """Corrects a solution on the solver's grid.

    widths: channels at a half of the grid's resolution, at a quarter and so on.
    """

    def __init__(self, units: int = UNITS, free: int = FREE, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self._units = units
        self.context = Context(4 * INPUTS, widths)
        self.fields = nn.Sequential(
            nn.Conv2d(widths[0], 64, 1), nn.LeakyReLU(0.1, inplace=True), nn.Conv2d(64, 2 * (units + free), 1)
        )
        self.trust = nn.Conv2d(widths[0], 2, 1)
        self.rarity = nn.Linear(widths[-1], units + free + 6)
        self.polish = nn.Sequential(
            nn.Conv2d(widths[0] + 4 * 7, 48, 3, padding=1),
            nn.LeakyReLU(0.1, inplace=True),
            nn.Conv2d(48, 32, 3, padding=1),
            nn.LeakyReLU(0.1, inplace=True),
        )
        self.last = nn.Conv2d(32, 4 * 3, 1)
        for layer, start in ((self.trust, 0.0), (self.rarity, -3.0), (self.last, 0.0)):
            assert isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None
            nn.init.zeros_(layer.weight)
            nn.init.constant_(layer.bias, start)

    @classmethod
    def load(cls, weights: Path) -> Refinement:
        """Return the network with the weights of a .safetensors file."""
        network = cls()
        network.load_state_dict(load_file(weights))
        return network

    def forward(self, observed: Observation, brightness: Tensor) -> Observation:
        """Return the observation with its motion corrected.

        brightness: [1 or N, 1, h, w] in [0, 1], the reference on the solver's grid (h, w even). On a grid of fewer than
        `SMALLEST_GRID` points along a side, the observation is returned as it is.
        """
        if min(observed.motion.shape[2:]) < SMALLEST_GRID:
            return observed
        return self.explain(observed, brightness).refined

    def explain(self, observed: Observation, brightness: Tensor) -> Explanation:
        """Return what `forward` does, and what it rests on."""
        full = (observed.motion.shape[2], observed.motion.shape[3])
        brightness = brightness.expand(observed.motion.shape[0], -1, -1, -1)
        step = max(1, min(full) // COARSENING)
        seen = observed if step == 1 else _coarser(observed, step)
        size = (seen.motion.shape[2], seen.motion.shape[3])
        if step > 1:
            brightness = resize(brightness, size)
        extent = motion_extent(seen)
        inputs = F.pixel_unshuffle(features(seen, brightness, extent), 2)
        known, whole = self.context(inputs.contiguous(memory_format=torch.channels_last))
        fields = self.fields(known).float()
        rarity = self.rarity(whole).float().exp()
        trust, share = self.trust(known).float().split(1, 1)
        trust, share = (8 * torch.tanh(trust / 8)).exp(), torch.tanh(share).exp()
        with torch.autocast(observed.motion.device.type, enabled=False):
            explained = resize(self._explained(_coarser(seen, 2), fields, rarity, trust, share, extent), size)
        clues = torch.cat(
            [
                (explained - seen.motion) / extent,
                explained / extent,
                (_pull(seen, explained) / seen.stiffness.rsqrt()).clamp(-4, 4),
                0.3 * torch.log1p(_trace(seen.equations) * extent**2),
            ],
            1,
        )
        known = torch.cat([known, F.pixel_unshuffle(clues, 2)], 1)
        answer = F.pixel_shuffle(self.last(self.polish(known)), 2).float()
        local = 0.3 * (seen.stiffness * ROUGHNESS).rsqrt()
        correction = answer[:, :1] * (explained - seen.motion) + local * answer[:, 1:]
        correction = correction * _anything_seen(seen, extent)
        if step > 1:
            correction, explained = resize(correction, full), resize(explained, full)
        refined = replace(observed, motion=observed.motion + correction)
        return Explanation(refined, explained, fields[:, : 2 * self._units].unflatten(1, (-1, 2)))

    def _explained(
        self, seen: Observation, fields: Tensor, rarity: Tensor, trust: Tensor, share: Tensor, extent: Tensor
    ) -> Tensor:
        """Return the mixture of fields that agrees best with the equations: [N, 2, h, w] px.

        fields: [N, 2 K, h, w]; rarity: [N, K + 6], how much evidence a field needs; trust: [N, 1, h, w], what a point's
        equations weigh; share: [N, 1, h, w], what makes up for motion that noise has taken out of them.
        """
        count, _, height, width = fields.shape
        affine = affine_fields(height, width, fields).flatten(1, 2).expand(count, -1, -1, -1)
        fields = torch.cat([fields, affine], 1).view(count, -1, 2 * height * width)
        weight = (trust.sqrt() * extent).flatten(2)
        jxx, jxy, jyy, hx, hy = seen.equations.flatten(2).split(1, 1)
        # With J = L L^T, the normal equations are the fields seen through L, multiplied with themselves.
        first = (jxx + EMPTY).sqrt()
        mixed = jxy / first
        second = (jyy - mixed * mixed).clamp(min=0).add(EMPTY).sqrt()
        x, y = fields.split(height * width, 2)
        through = torch.cat([(first * weight) * x + (mixed * weight) * y, (second * weight) * y], 2)
        normal = through @ through.mT + torch.diag_embed(rarity)
        right = fields @ (torch.cat([hx, hy], 2) * (share.flatten(2) * weight * weight).repeat(1, 1, 2)).mT
        # Scaled to a diagonal of ones and with a trace of it added, float32 is enough for the solution.
        balance = normal.diagonal(dim1=1, dim2=2).rsqrt().unsqueeze(2)
        balanced = balance * normal * balance.mT + ALIKE * torch.eye(normal.shape[1], device=normal.device)
        amounts = balance * torch.linalg.solve(balanced, balance * right / extent[:, 0])
        return extent * (amounts.mT @ fields).view(count, 2, height, width)


class Block(nn.Module):
    """Two convolutions, the second one on top of the first."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, values: Tensor) -> Tensor:
        """Return [N, outputs, h, w]."""
        values = F.leaky_relu(self.first(values), 0.1)
        return values + F.leaky_relu(self.second(values), 0.1)


class Context(nn.Module):
    """A U-Net that sees the whole face from each of its points."""

    def __init__(self, inputs: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.down = nn.ModuleList(Block(a, b) for a, b in pairwise((inputs, *widths)))
        self.up = nn.ModuleList(Block(a + b, a) for a, b in pairwise(widths))

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is known at each point, [N, widths[0], h, w], and of the whole picture, [N, widths[-1]]."""
        passed: list[Tensor] = []
        for level, block in enumerate(self.down):
            values = block(values if level == 0 else F.avg_pool2d(values, 2, ceil_mode=True))
            passed.append(values)
        whole = values.mean((2, 3))
        for level in reversed(range(len(self.up))):
            there = passed[level]
            values = self.up[level](torch.cat([resize(values, (there.shape[2], there.shape[3])), there], 1))
        return values, whole


def motion_extent(observed: Observation) -> Tensor:
    """Return how large the local motion is in all of the picture, px: [N, 1, 1, 1]."""
    return (1 / (ROUGHNESS * observed.stiffness)).mean((1, 2, 3), keepdim=True).sqrt()


def affine_fields(height: int, width: int, like: Tensor) -> Tensor:
    """Return the motions of a flat picture as a whole: [1, 6, 2, h, w], of the order of one."""
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, height, device=like.device, dtype=like.dtype),
        torch.linspace(-1, 1, width, device=like.device, dtype=like.dtype),
        indexing="ij",
    )
    none = torch.zeros_like(x)
    across = [torch.stack([shape, none]) for shape in (none + 1, x, y)]
    return torch.stack([*across, *(field.flip(0) for field in across)])[None]


def features(observed: Observation, brightness: Tensor, extent: Tensor) -> Tensor:
    """Return what the network looks at: [N, INPUTS, h, w], all of the order of one.

    How well each direction is measured, how far a free measurement would pull the solution, the solution itself and
    how it bends, how well it explains the picture, the size of the motion here and in all, and the reference.
    """
    scale = observed.stiffness.rsqrt()
    jxx, jxy, jyy = observed.equations[:, :3].split(1, 1)
    bend = observed.motion - binomial(observed.motion)
    typical = observed.noise.flatten(1).median(1).values.view(-1, 1, 1, 1)
    coherence = jxy / (torch.sqrt(jxx * jyy) + observed.stiffness)
    return torch.cat(
        [
            0.3 * torch.log1p(jxx / observed.stiffness),
            0.3 * torch.log1p(jyy / observed.stiffness),
            coherence,
            (_pull(observed, observed.motion) / scale).clamp(-4, 4),
            0.1 * (observed.motion - _surroundings(observed.motion)) / scale,
            (bend / scale).clamp(-4, 4),
            torch.log(observed.noise / typical).clamp(-4, 4),
            4 * (brightness - _surroundings(brightness)),
            brightness - brightness.mean((2, 3), keepdim=True),
            (observed.motion - observed.motion.mean((2, 3), keepdim=True)) / extent,
            torch.log(scale / (extent * ROUGHNESS**0.5)),
        ],
        1,
    )


def _coarser(observed: Observation, step: int) -> Observation:
    """Return the observation on a grid of `step` times the spacing; what its points know adds up."""

    def mean(values: Tensor) -> Tensor:
        return F.avg_pool2d(values, step, ceil_mode=True)

    return Observation(
        step**2 * mean(observed.equations), mean(observed.motion), mean(observed.stiffness), mean(observed.noise)
    )


def _pull(observed: Observation, motion: Tensor) -> Tensor:
    """Return where free measurements would pull a motion, px, damped where they say little: [N, 2, h, w]."""
    jxx, jxy, jyy, hx, hy = observed.equations.split(1, 1)
    x, y = motion.split(1, 1)
    force = torch.cat([hx - jxx * x - jxy * y, hy - jxy * x - jyy * y], 1)
    return force / (jxx + jyy + observed.stiffness)


def _trace(equations: Tensor) -> Tensor:
    return equations[:, 0:1] + equations[:, 2:3]


def _anything_seen(observed: Observation, extent: Tensor) -> Tensor:
    """Return about 1, or 0 for a picture without any texture, in which there is nothing to correct: [N, 1, 1, 1]."""
    measured = _trace(observed.equations) * extent**2
    return (measured / (measured + LEAST_SEEN)).amax((2, 3), keepdim=True)


def where_not_contradicted(observed: Observation, refined: Observation) -> Observation:
    """Return the refined observation, but the solver's motion where the equations speak against the refined one.

    A motion may explain the picture a little worse than the solver's, which follows the noise, but not much worse. The
    equations hold near the solver's motion only: use it where motion is small.
    """

    def misfit(motion: Tensor) -> Tensor:
        jxx, jxy, jyy, hx, hy = observed.equations.split(1, 1)
        x, y = motion.split(1, 1)
        return jxx * x * x + 2 * jxy * x * y + jyy * y * y - 2 * (hx * x + hy * y)

    worse = box(misfit(refined.motion) - misfit(observed.motion), 9).clamp(min=0)
    share = 1 / (1 + (worse / CONTRADICTION) ** 2)
    return replace(refined, motion=observed.motion + share * (refined.motion - observed.motion))


def _surroundings(field: Tensor) -> Tensor:
    return resize(F.avg_pool2d(field, 8, ceil_mode=True), (field.shape[2], field.shape[3]))
