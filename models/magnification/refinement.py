# SPDX-License-Identifier: GPL-3.0-or-later
"""The learned part: what faces do, as a prior of the solver's equations.

A face moves in few ways: a brow rises as a whole, a smile pulls cheek and lid along. The motion of a single pixel is
lost in noise, but from all of a face's pixels together it follows which of those ways it took and how far. So a U-Net
looks at the reference and at the solver's result, and predicts over this very picture

* fields of motion F_k: one for each action unit, a few free ones for the rest, and six affine ones for the head;
* a weight for each pixel's equations, and a prior precision for each field.

The amounts a_k follow from the solver's equations by weighted, sparse least squares (`sparse_amounts`), the motion
sum_k a_k F_k is the mean of a prior, and the maximum a posteriori motion combines it with the equations (`fuse`). A
second, small network interpolates point by point between that motion and the solver's, and adds a correction.

All inputs are in units in which neither the noise nor the size of the motion matters, and all outputs are shares of the
motion, so that half the motion gives half the answer. The last layer starts at zero: before training it is the solver.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from .arbitration import WHITE, arbitrate
from .camera_state import STATES
from .filters import binomial, box, mean_pool, resize
from .solver import ROUGHNESS, Observation, smooth_solve

INPUTS = 15
UNITS = 51  # action units whose fields the network is taught
FREE = 8  # fields of motion that it finds by itself
SMALLEST_GRID = 96  # points along the shorter side; on less than a face in 192 px the network was not trained
RIDGE = 3e-5  # of the normal matrix scaled to a unit diagonal, above float32's rounding of sums over 8,000 points
IRLS_ITERATIONS = 8  # chosen on people 8000 to 8015
SPARSITY = 0.01  # before training, prior precision of an absent field, as a share of the data's precision
IRLS_EPSILON = 0.1  # amount, as a share of the largest, at which half of the sparsity prior applies
SMALLEST_AMOUNT = 1e-4  # squared amount, in units of the motion's extent, below which all fields count as equal
MOST_RARITY = 30.0  # logarithm of the largest prior precision of a field; float32's exponential overflows at 88
LEAST_SIGNAL = 1e-4  # squared signal-to-noise ratio below which a picture has no texture to correct by
LEAST_PRECISION = 1e-6  # 1 / px^2, added to J so that its Cholesky factor exists
RELATIVE_STD = 0.3  # relative standard deviation of the field prediction before training
NEIGHBOURHOOD = 7  # points along a side over which residual and size of the prediction are averaged
NOISE_OF_MEAN = 0.03  # squared norm of the mean residual under noise, as a share of the data's mean precision
RESIDUAL_RIDGE = 0.003  # lower bound of the data precision in the residual's step, in units of 1 / extent^2
LEAST_STD = 0.1  # lower bound of the prediction's size, as a share of the motion's extent
WIDTHS = (32, 48, 64, 72, 80)
HIDDEN = 128  # channels from which the fields are made
MOST_INFLATION = 5.0  # logarithm of the largest noise inflation factor


@dataclass(frozen=True)
class Explanation:
    """What the network makes of an observation.

    refined: the observation with its motion corrected. explained: [N, 2, h, w] px, the motion that the fields alone
    make up. fused: [N, 2, h, w] px, that motion combined with the equations (`fuse`). units: [N, K, 2, h', w'], the
    action units' fields on a grid of half the size, the largest motion about 1. inflation: [N, 1, 1, 1], the noise
    inflation factor.
    """

    refined: Observation
    explained: Tensor
    fused: Tensor
    units: Tensor
    inflation: Tensor


class Refinement(nn.Module):
    """Corrects a solution on the solver's grid.

    widths: channels at a half of the grid's resolution, at a quarter and so on.
    """

    def __init__(
        self, camera: bool = True, units: int = UNITS, free: int = FREE, widths: tuple[int, ...] = WIDTHS
    ) -> None:
        super().__init__()
        self._units = units
        self.camera = Camera() if camera else None
        self.context = Context(4 * INPUTS + (STATES if camera else 0), widths)
        self.fields = nn.Sequential(
            nn.Conv2d(widths[0], HIDDEN, 1), nn.LeakyReLU(0.1, inplace=True), nn.Conv2d(HIDDEN, 2 * (units + free), 1)
        )
        self.trust = nn.Conv2d(widths[0], 2, 1)
        self.rarity = nn.Linear(widths[-1], 2 * (units + free + 6))
        self.weights = nn.Conv2d(widths[0], 3, 1)
        self.polish = nn.Sequential(
            nn.Conv2d(widths[0] + 4 * 7, 48, 3, padding=1),
            nn.LeakyReLU(0.1, inplace=True),
            nn.Conv2d(48, 32, 3, padding=1),
            nn.LeakyReLU(0.1, inplace=True),
        )
        self.last = nn.Conv2d(32, 4 * 3, 1)
        for layer, start in ((self.trust, 0.0), (self.rarity, -3.0), (self.weights, 0.0), (self.last, 0.0)):
            assert isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None
            nn.init.zeros_(layer.weight)
            nn.init.constant_(layer.bias, start)
        nn.init.constant_(self.rarity.bias[units + free + 6 :], math.log(SPARSITY))

    @classmethod
    def load(cls, weights: Path) -> Refinement:
        """Return the network with the weights of a .safetensors file."""
        tensors = load_file(weights)
        network = cls(camera=any(name.startswith("camera.") for name in tensors))
        network.load_state_dict(tensors)
        return network

    def forward(self, observed: Observation, brightness: Tensor, state: Tensor, final: bool = True) -> Observation:
        """Return the observation with its motion corrected; finally, as far as its equations don't contradict that.

        brightness: [1 or N, 1, h, w] in [0, 1], the reference on the solver's grid (h, w even); state: [N, STATES], the
        camera's. On a grid of fewer than `SMALLEST_GRID` points along a side, the observation is returned as it is.
        """
        if min(observed.motion.shape[2:]) < SMALLEST_GRID:
            return observed
        explained = self.explain(observed, brightness, state)
        if not final:
            return explained.refined
        return arbitrate(observed, explained.refined.motion, explained.inflation)

    def explain(self, observed: Observation, brightness: Tensor, state: Tensor) -> Explanation:
        """Return what the network makes of an observation, whatever the equations say to that."""
        brightness = brightness.expand(observed.motion.shape[0], -1, -1, -1)
        size = (observed.motion.shape[2], observed.motion.shape[3])
        extent = motion_extent(observed)
        inputs = F.pixel_unshuffle(features(observed, brightness, extent), 2)
        inflation = noisier = torch.ones_like(extent)
        if self.camera is not None:
            inflation = self.camera.inflation(state)
            noisier = inflation.detach()
            inputs = _with_state(inputs, state)
        known, whole = self.context(inputs.contiguous(memory_format=torch.channels_last))
        fields = self.fields(known.contiguous()).float()
        rarity, few = self.rarity(whole).float().clamp(max=MOST_RARITY).exp().chunk(2, 1)
        trust, share = self.trust(known).float().split(1, 1)
        trust, share = (8 * torch.tanh(trust / 8)).exp(), torch.tanh(share).exp()
        weights = (8 * torch.tanh(self.weights(known).float() / 8)).exp()
        with torch.autocast(observed.motion.device.type, enabled=False):
            coarse = _coarser(observed, 2)
            explained = self._explained(coarse, fields, rarity, few, trust, share, extent)
            fused = resize(fuse(coarse, explained, weights, extent, noisier), size)
        explained = resize(explained, size)
        clues = torch.cat(
            [
                (fused - observed.motion) / extent,
                fused / extent,
                (_pull(observed, fused) / observed.stiffness.rsqrt()).clamp(-4, 4),
                0.3 * torch.log1p(_trace(observed.equations) * extent**2),
            ],
            1,
        )
        polished = self.last(self.polish(torch.cat([known, F.pixel_unshuffle(clues, 2)], 1)))
        answer = F.pixel_shuffle(polished, 2).float()
        local = 0.3 * (observed.stiffness * ROUGHNESS).rsqrt()
        correction = answer[:, :1] * (fused - observed.motion) + local * answer[:, 1:]
        correction = correction * _anything_seen(observed, extent)
        refined = replace(observed, motion=observed.motion + correction)
        units = fields[:, : 2 * self._units].unflatten(1, (-1, 2))
        return Explanation(refined, explained, fused, units, inflation)

    def _explained(
        self,
        seen: Observation,
        fields: Tensor,
        rarity: Tensor,
        few: Tensor,
        trust: Tensor,
        share: Tensor,
        extent: Tensor,
    ) -> Tensor:
        """Return the mixture of fields that agrees best with the equations: [N, 2, h, w] px.

        fields: [N, 2 K, h, w]; rarity, few: [N, K + 6], prior precisions, see `sparse_amounts`; trust: [N, 1, h, w],
        weight of a point's equations; share: [N, 1, h, w], gain that makes up for motion lost to noise.
        """
        count, _, height, width = fields.shape
        affine = affine_fields(height, width, fields).flatten(1, 2).expand(count, -1, -1, -1)
        fields = torch.cat([fields, affine], 1).view(count, -1, 2 * height * width)
        weight = (trust.sqrt() * extent).flatten(2)
        jxx, jxy, jyy, hx, hy = seen.equations.flatten(2).split(1, 1)
        # With J = L L^T, the normal equations are the fields seen through L, multiplied with themselves.
        first = (jxx + LEAST_PRECISION).sqrt()
        mixed = jxy / first
        second = (jyy - mixed * mixed).clamp(min=0).add(LEAST_PRECISION).sqrt()
        x, y = fields.split(height * width, 2)
        through = torch.cat([(first * weight) * x + (mixed * weight) * y, (second * weight) * y], 2)
        right = fields @ (torch.cat([hx, hy], 2) * (share.flatten(2) * weight * weight).repeat(1, 1, 2)).mT
        amounts = sparse_amounts(through @ through.mT, right / extent[:, 0], rarity, few).amounts
        return extent * (amounts.mT @ fields).view(count, 2, height, width)


class Camera(nn.Module):
    """The noise inflation factor: the variance of the equations' error over its estimate, from the camera's state."""

    def __init__(self) -> None:
        super().__init__()
        self.noise = nn.Sequential(nn.Linear(STATES, 16), nn.LeakyReLU(0.1), nn.Linear(16, 1))
        last = self.noise[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias, math.log(WHITE))

    def inflation(self, state: Tensor) -> Tensor:
        """Return the factor, [N, 1, 1, 1]."""
        return self.noise(state).float().clamp(-MOST_INFLATION, MOST_INFLATION).exp().view(-1, 1, 1, 1)


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


def fuse(seen: Observation, explained: Tensor, weights: Tensor, extent: Tensor, inflation: Tensor | float) -> Tensor:
    """Return the maximum a posteriori motion u, [N, 2, h, w] px, where the prior's mean is p = `explained`.

    u minimises, with e = u - p and sums over the points,

        sum a / inflation (e - J^-1 r)^T J (e - J^-1 r) + |e|^2 b / variance + c / 4 stiffness |laplace e|^2

    where r = h - J p is the data's residual. The prior's variance has two parts: the prediction's relative standard
    deviation, and the squared step that the mean residual around a point asks for beyond what noise makes of it. Where
    the data's precision is high, u follows the data; where it is low, p. weights: [N, 3, h, w] > 0, the factors a, b
    and c; inflation: the noise inflation factor; extent: [N, 1, 1, 1] px. `smooth_solve` is one coarse-to-fine sweep,
    so that the minimum is approximate.
    """
    data_weight, prior_weight, plate_weight = weights.split(1, 1)
    jxx, jxy, jyy, hx, hy = seen.equations.split(1, 1)
    x, y = explained.split(1, 1)
    residual = torch.cat([hx - jxx * x - jxy * y, hy - jxy * x - jyy * y], 1)
    # How far the data contradict the prediction: the mean residual's squared step, less its expectation under noise.
    mean = box(torch.cat([residual, jxx + jyy], 1), NEIGHBOURHOOD)
    expected = NOISE_OF_MEAN * inflation * mean[:, 2:]
    excess = (mean[:, :2].square().sum(1, keepdim=True) - expected).clamp(min=0)
    contradiction = excess / (0.5 * mean[:, 2:] + RESIDUAL_RIDGE * extent**-2) ** 2
    size = box(explained.square().sum(1, keepdim=True), NEIGHBOURHOOD) + (LEAST_STD * extent) ** 2
    prior = prior_weight / (RELATIVE_STD**2 * size + contradiction)
    # Normal equations of e: data plus prior, the plate is `smooth_solve`'s.
    data = data_weight / inflation * torch.cat([jxx, jxy, jyy, residual], 1)
    data = data + torch.cat([prior, 0 * prior, prior, 0 * residual], 1)
    return explained + smooth_solve(data, 0.25 * plate_weight * seen.stiffness, 3)


@dataclass(frozen=True)
class SparseAmounts:
    """The state of iteratively reweighted least squares when it ended.

    amounts: [N, K, 1]; iterations: the systems solved; change: [N], norm of the last iteration's change relative to the
    amounts.
    """

    amounts: Tensor
    iterations: int
    change: Tensor


def sparse_amounts(
    normal: Tensor, right: Tensor, rarity: Tensor, few: Tensor, iterations: int = IRLS_ITERATIONS
) -> SparseAmounts:
    """Return how much of each field there is, by iteratively reweighted least squares.

    An expression is made of few action units. Least squares alone give some of it to every field that resembles those
    that are there; so each amount a_k has a Gaussian prior of precision

        rarity_k + few_k evidence / (a_k^2 / max a^2 + epsilon^2)

    with the amounts of the iteration before (Daubechies et al. 2010): fields that are small become smaller. evidence is
    the geometric mean of `normal`'s diagonal. normal: [N, K, K], right: [N, K, 1]; rarity, few: [N, K]. The number of
    iterations is fixed, since the network is trained through them; the first has no sparsity prior.

    >>> alike = torch.tensor([[[1.0, 0.9], [0.9, 1.0]]])
    >>> right = alike @ torch.tensor([[[1.0], [0.0]]]) + torch.tensor([[[0.0], [0.01]]])
    >>> weak, strong = torch.full((1, 2), 1e-3), torch.full((1, 2), 0.01)
    >>> [round(float(amount), 2) for amount in sparse_amounts(alike, right, weak, strong).amounts.flatten()]
    [0.97, 0.02]
    """
    evidence = normal.diagonal(dim1=1, dim2=2)
    typical = few * (evidence + LEAST_PRECISION).log().mean(1, keepdim=True).exp()
    identity = torch.eye(normal.shape[1], device=normal.device)

    def ridge_solution(prior: Tensor) -> Tensor:
        # Scaled to a diagonal of ones and with a ridge, float32 is enough for the solution.
        balance = (evidence + prior).rsqrt().unsqueeze(2)
        balanced = balance * (normal + torch.diag_embed(prior)) * balance.mT + RIDGE * identity
        return balance * torch.linalg.solve(balanced, balance * right)

    amounts = before = ridge_solution(rarity)
    for _ in range(iterations - 1):
        before = amounts
        size = amounts[..., 0].detach().square()
        relative = size / (size.amax(1, keepdim=True) + SMALLEST_AMOUNT)
        amounts = ridge_solution(rarity + typical / (relative + IRLS_EPSILON**2))
    change = (amounts - before).detach().flatten(1).norm(dim=1) / (amounts.detach().flatten(1).norm(dim=1) + 1e-12)
    return SparseAmounts(amounts, iterations, change)


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


def _with_state(values: Tensor, state: Tensor) -> Tensor:
    """Return [N, C + STATES, h, w], the camera's state beside what is known of each point."""
    return torch.cat([values, state[:, :, None, None].expand(-1, -1, *values.shape[2:])], 1)


def _coarser(observed: Observation, step: int) -> Observation:
    """Return the observation on a grid of `step` times the spacing; precisions add up."""

    def mean(values: Tensor) -> Tensor:
        return mean_pool(values, step)

    return Observation(
        step**2 * mean(observed.equations), mean(observed.motion), mean(observed.stiffness), mean(observed.noise)
    )


def _pull(observed: Observation, motion: Tensor) -> Tensor:
    """Return the equations' step from a motion, px, damped where their precision is low: [N, 2, h, w]."""
    jxx, jxy, jyy, hx, hy = observed.equations.split(1, 1)
    x, y = motion.split(1, 1)
    force = torch.cat([hx - jxx * x - jxy * y, hy - jxy * x - jyy * y], 1)
    return force / (jxx + jyy + observed.stiffness)


def _trace(equations: Tensor) -> Tensor:
    return equations[:, 0:1] + equations[:, 2:3]


def _anything_seen(observed: Observation, extent: Tensor) -> Tensor:
    """Return about 1, or 0 for a picture without any texture, in which there is nothing to correct: [N, 1, 1, 1]."""
    measured = _trace(observed.equations) * extent**2
    return (measured / (measured + LEAST_SIGNAL)).amax((2, 3), keepdim=True)


def _surroundings(field: Tensor) -> Tensor:
    return resize(mean_pool(field, 8), (field.shape[2], field.shape[3]))
