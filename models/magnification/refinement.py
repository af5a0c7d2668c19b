# SPDX-License-Identifier: GPL-3.0-or-later
"""The learned prior: fields of facial motion over this picture, and the maximum a posteriori motion under them.

A face has few degrees of freedom: a brow rises as a whole, a smile pulls cheek and lid along. Noise hides the motion of
a single pixel, but all of a face's pixels together determine how far each action unit moved. `Refinement.estimate`
computes, on the solver's grid (h, w) with J, h the solver's equations and s its solution:

    1. Features     reference, J, h, s in units of noise and motion           [N, 15, h, w]        `features`
    2. Network      a U-Net: fields F_k, weights w, gain g, prior precisions  [N, K, 2, h/2, w/2]  `Context`
    3. Amounts      a = argmin sum_p w (F a - g J^-1 h)^T J (F a - g J^-1 h)
                               + a^T P(a) a, sparse, by IRLS                  [N, K, 1]            `sparse_amounts`
    4. Prior mean   p = sum_k a_k F_k                                         [N, 2, h/2, w/2]
    5. MAP motion   m = argmin data term + prior around p + thin plate        [N, 2, h/2, w/2]     `fuse`
    6. Correction   u = s + c (m - s) + d, c and d from a second network      [N, 2, h, w]         `polish`, `last`

and `forward` the combination of s and u that the equations support (`arbitrate`). The fields are those of 51 action
units, a few free ones for the rest, and six affine ones for the head.

All inputs are in units in which neither the noise nor the size of the motion matters, and all outputs are shares of the
motion, so that the estimate is equivariant to the motion's scale. The last layer starts at zero: before training u = s.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from ..device import fits_loops
from .arbitration import WHITE_NOISE, arbitrate, equation_residual, rounded_share
from .camera_state import STATES, rounding_only
from .filters import binomial, box, enlarged_beside, folded, mean_pool, median, resize
from .solver import ROUGHNESS, Observation, smooth_solve

INPUTS = 15  # channels of `features`
UNITS = 51  # action units whose fields are supervised in training
FREE = 8  # fields of motion without supervision
SMALLEST_GRID = 96  # points along the shorter side, a face in 192 px: the smallest in training
RIDGE = 3e-5  # of the normal matrix scaled to a unit diagonal, above float32's rounding of sums over 8,000 points
IRLS_ITERATIONS = 8  # chosen on people 8000 to 8015
SPARSITY = 0.01  # before training, prior precision of an absent field, as a share of the data's precision
IRLS_EPSILON = 0.1  # amount, as a share of the largest, at which half of the sparsity prior applies
CONVERGED = 0.01  # relative change of the amounts in the last iteration; 1 % of the motion is below its own error
SMALLEST_AMOUNT = 1e-4  # squared amount, in units of the motion's extent, below which all fields count as equal
MOST_PRECISION = 30.0  # logarithm of the largest prior precision of a field; float32's exponential overflows at 88
MOST_WEIGHT = 8.0  # logarithm of the largest weight of a point, reached asymptotically
LEAST_SIGNAL = 1e-4  # squared signal-to-noise ratio below which a picture has no texture to correct by
LEAST_PRECISION = 1e-6  # 1 / px^2, added to J so that its Cholesky factor exists
RELATIVE_STD = 0.3  # relative standard deviation of the field prediction before training
NEIGHBOURHOOD = 7  # points along a side over which residual and size of the prediction are averaged
NOISE_OF_MEAN = 0.03  # squared norm of the mean residual under noise, as a share of the data's mean precision
RESIDUAL_RIDGE = 0.003  # lower bound of the data precision in the residual's step, in units of 1 / extent^2
LEAST_STD = 0.1  # lower bound of the prediction's size, as a share of the motion's extent
PLATE_SWEEPS = 3  # sweeps of `smooth_solve` on each scale, as in the solver
LARGEST_FEATURE = 4.0  # standard deviations at which features are clipped
CORRECTION_SCALE = 0.3  # of the local motion, the correction of an output of one
WIDTHS = (32, 48, 64, 72, 80)  # channels of the U-Net, finest level first
HIDDEN = 128  # channels from which the fields are made
MOST_INFLATION = 5.0  # logarithm of the largest noise inflation factor


@dataclass(frozen=True)
class NetworkEstimate:
    """The network's intermediate and final estimates for an observation.

    refined: the observation with its motion corrected. prior_mean: [N, 2, h, w] px, the prior mean sum_k a_k F_k.
    fused: [N, 2, h, w] px, the MAP motion (`fuse`). units: [N, K, 2, h / 2, w / 2], the action units' fields, the
    largest motion about 1. inflation: [N, 1, 1, 1], the noise inflation factor.
    """

    refined: Observation
    prior_mean: Tensor
    fused: Tensor
    units: Tensor
    inflation: Tensor


class Refinement(nn.Module):
    """Corrects a solution on the solver's grid; the steps are those of the module's docstring.

    camera: whether the noise inflation factor is estimated (MagPlus) or 1 (DeMagPlus). units, free: numbers of fields.
    widths: channels at a half of the grid's resolution, at a quarter and so on. The layers' attribute names are the
    keys of the weights' files: `trust` makes w and g, `rarity` the fields' prior precisions, `weights` the factors of
    `fuse`, `polish` and `last` the correction.
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

    @staticmethod
    def covers(observed: Observation) -> bool:
        """Whether a picture is as large as those of the training, at least."""
        return min(observed.motion.shape[2:]) >= SMALLEST_GRID

    def forward(
        self,
        observed: Observation,
        brightness: Tensor,
        state: Tensor,
        final: bool = True,
        inflation: Tensor | None = None,
        coded: Tensor | float = 0.0,
    ) -> Observation:
        """Return the observation with its motion corrected, and in the `final` pass arbitrated (`arbitrate`).

        brightness: [1 or N, 1, h, w] in [0, 1], the reference on the solver's grid (h, w even); state: [N, STATES] of
        `camera_state`; inflation: the noise inflation factor that is arbitrated with, [N, 1, 1, 1], by default that of
        the camera's state; coded: how clearly the frames come from a video codec (`copied_blocks.coded`), [N, 1, 1, 1]
        or one number. With fewer than `SMALLEST_GRID` points along a side the observation is returned unchanged.
        """
        if not self.covers(observed):
            return observed
        found = self.estimate(observed, brightness, state)
        if not final:
            return found.refined
        if inflation is None:
            inflation = found.inflation
        rounded = rounded_share(observed, inflation) if self.camera is None else rounding_only(state)
        return arbitrate(observed, found.refined.motion, inflation, rounded, coded)

    def estimate(self, observed: Observation, brightness: Tensor, state: Tensor) -> NetworkEstimate:
        """Return the network's estimates for an observation, without arbitration."""
        brightness = brightness.expand(observed.motion.shape[0], -1, -1, -1)
        size = (observed.motion.shape[2], observed.motion.shape[3])
        # 1. Features, 2 x 2 points folded into channels: [N, 4 INPUTS (+ STATES), h / 2, w / 2].
        extent = motion_extent(observed)
        inflation = constant_inflation = torch.ones_like(extent)
        known = None
        if self.camera is not None:
            inflation = self.camera.inflation(state)
            constant_inflation = inflation.detach()
            known = state[:, :, None, None]
        inputs = folded(*features(observed, brightness, extent), after=known)
        # 2. Network: fields [N, 2 K, h / 2, w / 2], prior precisions [N, K + 6], weights of the points.
        context, pooled = self.context(inputs)
        fields = self.fields(context.contiguous()).float()
        precision, sparsity = self.rarity(pooled).float().clamp(max=MOST_PRECISION).exp().chunk(2, 1)
        point_weight, gain = self.trust(context).float().split(1, 1)
        point_weight, gain = _positive(point_weight), torch.tanh(gain).exp()
        weights = _positive(self.weights(context).float())
        with torch.autocast(observed.motion.device.type, enabled=False):
            coarse = _coarser(observed, 2)
            # 3. and 4. Amounts and prior mean; 5. MAP motion.
            prior_mean = self._prior_mean(coarse, fields, precision, sparsity, point_weight, gain, extent)
            fused = resize(fuse(coarse, prior_mean, weights, extent, constant_inflation), size)
        prior_mean = resize(prior_mean, size)
        # 6. Correction, from context and the MAP motion in the units of the features.
        map_features = (
            (fused - observed.motion) / extent,
            fused / extent,
            _clipped(_damped_step(observed, fused) / observed.stiffness.rsqrt()),
            0.3 * torch.log1p(_trace(observed.equations) * extent**2),
        )
        polished = self.last(self.polish(folded(*map_features, before=context)))
        outputs = F.pixel_shuffle(polished, 2).float()
        local = CORRECTION_SCALE * (observed.stiffness * ROUGHNESS).rsqrt()
        correction = outputs[:, :1] * (fused - observed.motion) + local * outputs[:, 1:]
        correction = correction * _textured(observed, extent)
        refined = replace(observed, motion=observed.motion + correction)
        units = fields[:, : 2 * self._units].unflatten(1, (-1, 2))
        return NetworkEstimate(refined, prior_mean, fused, units, inflation)

    def _prior_mean(
        self,
        seen: Observation,
        fields: Tensor,
        precision: Tensor,
        sparsity: Tensor,
        point_weight: Tensor,
        gain: Tensor,
        extent: Tensor,
    ) -> Tensor:
        """Return the combination of fields that fits the equations best: [N, 2, h, w] px.

        fields: [N, 2 K, h, w]; precision, sparsity: [N, K + 6], see `sparse_amounts`; point_weight: [N, 1, h, w],
        weight of a point's equations; gain: [N, 1, h, w], factor of h that compensates motion lost to noise.
        """
        count, _, height, width = fields.shape
        parts = [fields.view(count, -1, 2 * height * width), affine_fields(height, width, fields).flatten(2)]
        weight = (point_weight.sqrt() * extent).flatten(2)
        jxx, jxy, jyy, hx, hy = seen.equations.flatten(2).split(1, 1)
        # Cholesky factors J = L L^T of all points make the normal matrix (L^T F)^T (L^T F): [N, K + 6, K + 6].
        first = (jxx + LEAST_PRECISION).sqrt()
        mixed = jxy / first
        second = (jyy - mixed * mixed).clamp(min=0).add(LEAST_PRECISION).sqrt()
        factors = torch.cat([first, mixed, second], 1) * weight
        normal = (_compiled_normal if fits_loops(*parts, factors) else _normal)(parts, factors)
        pull = (torch.cat([hx, hy], 2) * (gain.flatten(2) * weight * weight).repeat(1, 1, 2)).mT
        right = torch.cat([_products(each, pull) for each in parts], 1)
        amounts = sparse_amounts(normal, right / extent[:, 0], precision, sparsity).amounts
        own, common = amounts.mT.split([len(each[0]) for each in parts], 2)
        return extent * (own @ parts[0] + common @ parts[1]).view(count, 2, height, width)


def _products(fields: Tensor, pull: Tensor) -> Tensor:
    """Return fields [N or 1, K, 2 P] times pull [N, 2 P, 1]: [N, K, 1]."""
    if not pull.is_cpu:
        return fields @ pull
    return torch.stack(  # frame by frame, in a sixth of the time
        [each @ own for each, own in zip(fields.expand(len(pull), -1, -1), pull, strict=True)]
    )


def _normal(fields: Sequence[Tensor], factors: Tensor) -> Tensor:
    """Return (L^T F)^T (L^T F) of all fields F [N or 1, K, 2 P] together; factors: [N, 3, P], L row by row."""
    first, mixed, second = factors.split(1, 1)
    whole = torch.cat([each.expand(len(factors), -1, -1) for each in fields], 1)
    x, y = whole.chunk(2, 2)
    design = torch.cat([x * first + y * mixed, y * second], 2)
    return design @ design.mT


def _compiled_normal(fields: Sequence[Tensor], factors: Tensor) -> Tensor:
    """Return the same on a CPU, in half of the time: one pass over the fields, and half of a symmetric product."""
    from ..loops.filters import weigh_fields

    count, places = len(factors), factors.shape[2]
    design = factors.new_empty(count, sum(each.shape[1] for each in fields), 2, places).numpy()
    begin = 0
    for each in fields:
        weigh_fields(each.unflatten(2, (2, places)).contiguous().numpy(), factors.numpy(), begin, design)
        begin += each.shape[1]
    rows = design.reshape(*design.shape[:2], -1)
    return torch.from_numpy(np.stack([each @ each.T for each in rows]))


class Camera(nn.Module):
    """Estimates the noise inflation factor, true over estimated variance of the equations' error, from camera state."""

    def __init__(self) -> None:
        super().__init__()
        self.noise = nn.Sequential(nn.Linear(STATES, 16), nn.LeakyReLU(0.1), nn.Linear(16, 1))
        last = self.noise[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias, math.log(WHITE_NOISE))

    def inflation(self, state: Tensor) -> Tensor:
        """Return the factor, [N, 1, 1, 1]."""
        return self.noise(state).float().clamp(-MOST_INFLATION, MOST_INFLATION).exp().view(-1, 1, 1, 1)


class Block(nn.Module):
    """A 3 x 3 convolution followed by a residual one, with leaky ReLUs."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, values: Tensor) -> Tensor:
        """Return [N, outputs, h, w]."""
        values = F.leaky_relu(self.first(values), 0.1, inplace=True)
        return values + F.leaky_relu(self.second(values), 0.1, inplace=True)


class Context(nn.Module):
    """A U-Net whose receptive field is the whole face."""

    def __init__(self, inputs: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.down = nn.ModuleList(Block(a, b) for a, b in pairwise((inputs, *widths)))
        self.up = nn.ModuleList(Block(a + b, a) for a, b in pairwise(widths))

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return features of each point, [N, widths[0], h, w], and the coarsest level's mean, [N, widths[-1]]."""
        skipped: list[Tensor] = []
        for level, block in enumerate(self.down):
            values = block(values if level == 0 else F.avg_pool2d(values, 2, ceil_mode=True))
            skipped.append(values)
        pooled = values.mean((2, 3))
        for level in reversed(range(len(self.up))):
            values = self.up[level](enlarged_beside(values, skipped[level]))
        return values, pooled


def motion_extent(observed: Observation) -> Tensor:
    """Return the rms size of the local motion over the picture, by the prior's stiffness, px: [N, 1, 1, 1]."""
    return (1 / (ROUGHNESS * observed.stiffness)).mean((1, 2, 3), keepdim=True).sqrt()


def fuse(seen: Observation, prior_mean: Tensor, weights: Tensor, extent: Tensor, inflation: Tensor | float) -> Tensor:
    """Return the maximum a posteriori motion u, [N, 2, h, w] px, under a prior with mean p = `prior_mean`.

    With e = u - p, r = h - J p the residual of the equations and sums over the points, u minimises

        sum a / inflation (e - J^-1 r)^T J (e - J^-1 r)  +  b |e|^2 / variance  +  c / 4 stiffness |e - B e|^2,

    where B is the binomial filter; the quarter is for the doubled spacing of the grid. The prior's variance has two
    parts, both of means over `NEIGHBOURHOOD` x `NEIGHBOURHOOD` points:

        variance = RELATIVE_STD^2 (|p|^2 + least^2)  +  max(|mean r|^2 - E|mean r|^2, 0) / (mean tr J / 2 + ridge)^2,

    the relative error of the prediction, and the squared step from p that the residual asks for, less its expectation
    under noise. Where J is large against 1 / variance, u follows the data; where it is small, p. The minimum is
    approximate (`smooth_solve`).

    weights: [N, 3, h, w] > 0, the factors a, b and c; extent: [N, 1, 1, 1] px, `motion_extent`; inflation: the noise
    inflation factor, [N, 1, 1, 1] or one number.

    >>> one = torch.ones(1, 1, 16, 16)
    >>> def fused(precision: float) -> float:  # the data say 0.5 px, the prior 0.4 px
    ...     equations = precision * torch.cat([one, 0 * one, one, 0.5 * one, 0 * one], 1)
    ...     seen = Observation(equations, torch.cat([0.5 * one, 0 * one], 1), one, one)
    ...     prior = torch.cat([0.4 * one, 0 * one], 1)
    ...     return float(fuse(seen, prior, torch.ones(1, 3, 16, 16), torch.ones(1, 1, 1, 1), 1.0)[0, 0].mean())
    >>> [round(fused(precision), 2) for precision in (1e4, 60.0, 1e-2)]
    [0.5, 0.46, 0.4]
    """
    data_weight, prior_weight, plate_weight = weights.split(1, 1)
    jxx, jxy, jyy = seen.equations[:, :3].split(1, 1)
    residual = equation_residual(seen, prior_mean)
    # Prior variance.
    mean = box(torch.cat([residual, jxx + jyy], 1), NEIGHBOURHOOD)
    expected = NOISE_OF_MEAN * inflation * mean[:, 2:]
    excess = (mean[:, :2].square().sum(1, keepdim=True) - expected).clamp(min=0)
    contradiction = excess / (0.5 * mean[:, 2:] + RESIDUAL_RIDGE * extent**-2) ** 2
    size = box(prior_mean.square().sum(1, keepdim=True), NEIGHBOURHOOD) + (LEAST_STD * extent) ** 2
    prior = prior_weight / (RELATIVE_STD**2 * size + contradiction)
    # Normal equations of e, [N, 5, h, w]: data plus prior; the plate's are added by `smooth_solve`.
    data = data_weight / inflation * torch.cat([jxx, jxy, jyy, residual], 1)
    data = data + torch.cat([prior, 0 * prior, prior, 0 * residual], 1)
    return prior_mean + smooth_solve(data, 0.25 * plate_weight * seen.stiffness, PLATE_SWEEPS).motion


@dataclass(frozen=True)
class SparseAmounts:
    """The state of iteratively reweighted least squares when it ended.

    amounts: [N, K, 1]; iterations: the systems solved; residual: [N], norm of the last iteration's change as a share of
    the amounts' norm.
    """

    amounts: Tensor
    iterations: int
    residual: Tensor

    @property
    def converged(self) -> bool:
        """Whether the last iteration changed the amounts by less than `CONVERGED`; False after a single one."""
        return self.iterations > 1 and bool((self.residual < CONVERGED).all())


def sparse_amounts(
    normal: Tensor, right: Tensor, precision: Tensor, sparsity: Tensor, iterations: int = IRLS_ITERATIONS
) -> SparseAmounts:
    """Solve normal equations for few non-zero amounts, by iteratively reweighted least squares (IRLS).

    An expression has few action units, but plain least squares share it out among all fields that resemble theirs. So
    each amount a_k has a Gaussian prior with the precision

        precision_k + sparsity_k evidence / (a_k^2 / max a^2 + epsilon^2)

    at the amounts of the iteration before (Daubechies et al. 2010), which shrinks small amounts towards zero. evidence
    is the geometric mean of `normal`'s diagonal, epsilon is `IRLS_EPSILON`. Each iteration is

        reweighting     P = diag of the precisions above; the first has no sparsity
        ridge solve     (normal + P) a = right

    Args:
        normal: [N, K, K] symmetric positive semidefinite.
        right: [N, K, 1].
        precision: [N, K] > 0, prior precision of each amount.
        sparsity: [N, K] >= 0, prior precision of an absent field as a share of the data's.
        iterations: fixed, since the network is trained through them.

    >>> alike = torch.tensor([[[1.0, 0.9], [0.9, 1.0]]])  # two fields that resemble one another; only the first moves
    >>> right = alike @ torch.tensor([[[1.0], [0.0]]]) + torch.tensor([[[0.0], [0.01]]])
    >>> weak, strong = torch.full((1, 2), 1e-3), torch.full((1, 2), 0.01)
    >>> found = sparse_amounts(alike, right, weak, strong)
    >>> [round(float(amount), 2) for amount in found.amounts.flatten()], found.converged
    ([0.97, 0.02], True)
    """
    evidence = normal.diagonal(dim1=1, dim2=2)
    typical = sparsity * (evidence + LEAST_PRECISION).log().mean(1, keepdim=True).exp()
    identity = torch.eye(normal.shape[1], device=normal.device)

    def ridge_solution(prior: Tensor) -> Tensor:
        # Scaled to a diagonal of ones and with a ridge, float32 is enough for the solution.
        balance = (evidence + prior).rsqrt().unsqueeze(2)
        balanced = balance * (normal + torch.diag_embed(prior)) * balance.mT + RIDGE * identity
        return balance * torch.linalg.solve(balanced, balance * right)

    amounts = before = ridge_solution(precision)
    for _ in range(iterations - 1):
        before = amounts
        size = amounts[..., 0].detach().square()
        relative = size / (size.amax(1, keepdim=True) + SMALLEST_AMOUNT)
        amounts = ridge_solution(precision + typical / (relative + IRLS_EPSILON**2))
    change = (amounts - before).detach().flatten(1).norm(dim=1) / (amounts.detach().flatten(1).norm(dim=1) + 1e-12)
    return SparseAmounts(amounts, iterations, change)


def affine_fields(height: int, width: int, like: Tensor) -> Tensor:
    """Return the six affine motion fields of the picture plane, each at most 1: [1, 6, 2, h, w].

    >>> affine_fields(2, 3, torch.zeros(1))[0, 1]  # x stretched: (x, 0)
    tensor([[[-1.,  0.,  1.],
             [-1.,  0.,  1.]],
    <BLANKLINE>
            [[ 0.,  0.,  0.],
             [ 0.,  0.,  0.]]])
    """
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, height, device=like.device, dtype=like.dtype),
        torch.linspace(-1, 1, width, device=like.device, dtype=like.dtype),
        indexing="ij",
    )
    none = torch.zeros_like(x)
    across = [torch.stack([shape, none]) for shape in (none + 1, x, y)]
    return torch.stack([*across, *(field.flip(0) for field in across)])[None]


def features(observed: Observation, brightness: Tensor, extent: Tensor) -> list[Tensor]:
    """Return the network's inputs, [N, 1 or 2, h, w] each and INPUTS in all, of the order of one.

    In turn: log precision of the data against the prior along x and along y; coherence of the two; the equations' step
    from the solution; the solution against its surroundings; its second difference; log noise; the reference's detail
    and brightness; the solution in units of `extent`; log size of the motion here against the whole picture's.
    """
    scale = observed.stiffness.rsqrt()
    jxx, jxy, jyy = observed.equations[:, :3].split(1, 1)
    bend = observed.motion - binomial(observed.motion)
    typical = median(observed.noise.flatten(1)).view(-1, 1, 1, 1)
    coherence = jxy / (torch.sqrt(jxx * jyy) + observed.stiffness)
    return [
        0.3 * torch.log1p(jxx / observed.stiffness),
        0.3 * torch.log1p(jyy / observed.stiffness),
        coherence,
        _clipped(_damped_step(observed, observed.motion) / scale),
        0.1 * (observed.motion - _surroundings(observed.motion)) / scale,
        _clipped(bend / scale),
        _clipped(torch.log(observed.noise / typical)),
        4 * (brightness - _surroundings(brightness)),
        brightness - brightness.mean((2, 3), keepdim=True),
        (observed.motion - observed.motion.mean((2, 3), keepdim=True)) / extent,
        torch.log(scale / (extent * ROUGHNESS**0.5)),
    ]


def _coarser(observed: Observation, step: int) -> Observation:
    """Return the observation on a grid of `step` times the spacing; precisions add up."""

    def mean(values: Tensor) -> Tensor:
        return mean_pool(values, step)

    return Observation(
        step**2 * mean(observed.equations), mean(observed.motion), mean(observed.stiffness), mean(observed.noise)
    )


def _damped_step(observed: Observation, motion: Tensor) -> Tensor:
    """Return the step (h - J u) / (tr J + stiffness) of the equations from a motion u, px: [N, 2, h, w]."""
    jxx, _, jyy = observed.equations[:, :3].split(1, 1)
    return equation_residual(observed, motion) / (jxx + jyy + observed.stiffness)


def _positive(values: Tensor) -> Tensor:
    """Return weights in (exp(-`MOST_WEIGHT`), exp(`MOST_WEIGHT`)); 0 gives 1."""
    return (MOST_WEIGHT * torch.tanh(values / MOST_WEIGHT)).exp()


def _clipped(values: Tensor) -> Tensor:
    return values.clamp(-LARGEST_FEATURE, LARGEST_FEATURE)


def _trace(equations: Tensor) -> Tensor:
    return equations[:, 0:1] + equations[:, 2:3]


def _textured(observed: Observation, extent: Tensor) -> Tensor:
    """Return about 1, or 0 for a picture without any texture, whose motion is left at zero: [N, 1, 1, 1]."""
    signal = _trace(observed.equations) * extent**2  # squared signal-to-noise ratio of the motion
    return (signal / (signal + LEAST_SIGNAL)).amax((2, 3), keepdim=True)


def _surroundings(field: Tensor) -> Tensor:
    return resize(mean_pool(field, 8), (field.shape[2], field.shape[3]))
