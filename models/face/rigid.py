# SPDX-License-Identifier: GPL-3.0-or-later
"""Splits dense motion into the head's rigid motion and the face's own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from ..device import fits_loops
from ..magnification.filters import pool_to, pool_weighted
from ..magnification.motion import Motion

_SIDE = 48  # cells along a side of the grid that the pose is fitted on
_TOLERANCE = 0.0005  # of the picture's longer side, assumed standard deviation of the skull's flow; 0.13 px at 256
_L1_STEPS, _NARROWING_STEPS, _LAST_STEPS = 6, 12, 4  # Gauss-Newton steps of steps 1 to 3 of `split_rigid`
_NARROWING = 0.6  # the kernel's width from one step to the next, over that before
_FOLLOWING = 1 / 3  # of the face, follows the skull in any expression; chosen on the demonstration clip
_SATURATION = 10.0  # tolerances: head motion at which the prior's cost has reached half of its maximum
_MOTION_COST = 0.2  # maximum of the prior's cost, as a share of the face; chosen on the same clip
_LEAST = 1e-12  # keeps sums of weights from being zero


@dataclass(frozen=True)
class HeadMotion:
    """The head's motion in N frames: linear in the terms of its surface, so that it takes a few numbers a frame.

    displacement: [N, 2, 4] float32 px, see `_Pose.displacement`. depth: [1, 1, H, W] px. centre: [3] px, of the
    surface, in units of `radius` px.
    """

    displacement: Tensor
    depth: Tensor
    centre: Tensor
    radius: float

    @property
    def nbytes(self) -> int:
        """How many bytes it takes; frames of a clip share the depth."""
        return self.displacement.nbytes + self.centre.nbytes

    def whole(self) -> Tensor:
        """Return the motion of every pixel, [N, 2, H, W] float32 px."""
        surface = _surface(self.depth, self.displacement)
        terms = _surface_terms(surface, self.centre, self.radius)
        return (self.displacement @ terms).unflatten(2, surface.shape[1:])


@dataclass(frozen=True)
class RigidSplit:
    """A motion in two parts, and the state of the Gauss-Newton iteration when it ended.

    rigid, local: [N, 2, H, W] float32 px, whose sum is the motion's flow. head: what `rigid` is of. iterations:
    Gauss-Newton steps from the last robust start. residual: [N] px, rms over the face that the last step changed the
    rigid motion by. tolerance: px.
    """

    rigid: Tensor
    local: Tensor
    head: HeadMotion
    iterations: int
    residual: Tensor
    tolerance: float

    @property
    def converged(self) -> Tensor:
        """[N], frames whose last step was below the tolerance of the fit."""
        return self.residual < self.tolerance


def split_rigid(motion: Motion, depth: Tensor, weights: Tensor) -> RigidSplit:
    """Split a motion into the head's as a rigid body and the face's own.

    The rigid part is that of a solid head under scaled orthographic projection: shift, zoom and a turn about any axis,
    six degrees of freedom a frame, of the surface `depth` ([1, 1, H, W] px; an error in its scale only changes the
    angles that are found, to first order).

    An expression moves large parts of a face as smoothly as a nod does, so that least squares, and even an L1 fit,
    would attribute it to the head. The estimate is the mode instead, the rigid motion that the largest part of the face
    follows closely, in four steps:

        1. Starts        no motion, and L1 fits (IRLS) to the whole and to each half of the face     `_starts`
        2. Narrowing     Gauss-Newton steps under a Geman-McClure kernel (graduated non-convexity), which narrows to the
                         tolerance or, where it is larger, the `_FOLLOWING` quantile of residuals    `_narrowed`
        3. Refinement    Gauss-Newton steps under the narrowest kernel of the frame's starts         `_reweighted_step`
        4. Selection     the start with the least cost: the share of the face outside of the kernel  `_outside`
                         plus a prior on the motion's size, as the steady crop followed the head     `_prior`

    depth: [1, 1, H, W] px. weights: [1 or N, 1, H, W], expected rigidity of each pixel (`rigid_mask`), multiplied with
    the motion's confidence. A frame without any weight has no head motion.

    >>> flow = torch.zeros(1, 2, 48, 48)
    >>> flow[:, 0] = 2.0  # the head is shifted by 2 px,
    >>> flow[:, 1, :12] = -0.5  # and the brows, a quarter of the face, rise by half a pixel
    >>> depth = torch.ones(1, 1, 48, 48)
    >>> split = split_rigid(Motion(flow, depth), depth, depth)
    >>> [round(float(value), 2) for value in split.local.abs().amax((2, 3)).flatten()]
    [0.0, 0.5]
    """
    height, width = motion.flow.shape[-2:]
    surface = _surface(depth, motion.flow)
    samples = _Samples.of(motion, surface, weights)
    tolerance = _TOLERANCE * max(height, width)

    pose, scale = _narrowed(*_starts(samples, tolerance), samples, tolerance)
    scale = scale.amin(1, keepdim=True)
    before = pose
    for _ in range(_LAST_STEPS):
        before, pose = pose, _reweighted_step(pose, samples, pose.squared_residual(samples), scale)
    cost = _outside(pose, samples, scale) + _prior(pose, samples, tolerance)
    displacement, last = (each.displacement for each in (pose, before))
    chosen = torch.arange(len(cost), device=cost.device), cost.argmin(1)
    best, residual = displacement[chosen], _mean_square(displacement - last, samples)[chosen].sqrt()
    head = HeadMotion(best.to(surface), depth, samples.centre, samples.radius)
    rigid = head.whole().to(motion.flow)
    iterations = _NARROWING_STEPS + _LAST_STEPS
    return RigidSplit(rigid, motion.flow - rigid, head, iterations, residual, tolerance)


_PAIRS = torch.triu_indices(6, 6).unbind()  # of terms
_PAIR_OF = torch.zeros(6, 6, dtype=torch.int64).index_put(_PAIRS, torch.arange(21))
_PAIR_OF = _PAIR_OF.maximum(_PAIR_OF.T)  # [6, 6], the number of each pair, whichever of it is first
_TIMES = 2.0 - (_PAIRS[0] == _PAIRS[1]).double()  # how often each pair is in a sum over all


@dataclass(frozen=True)
class _Samples:
    """Weighted means over P cells of a coarse grid, for N frames.

    Points of the surface are taken about `centre` [3] px, where the weight is, in units of `radius` px, which makes
    angles comparable with shifts, for a well-conditioned solve.

    weight: [N, P] float64. terms: [N, 6, P], 1, x, y and z of the surface and the flow there, px. products: [N, 21, P],
    of every two of them. Motion is linear in the terms of the surface, so the means belong together exactly; and a
    squared residual is linear in the products, as are the normal equations, so that all starts of a frame share them.
    """

    weight: Tensor
    terms: Tensor
    products: Tensor
    centre: Tensor
    radius: float

    @classmethod
    def of(cls, motion: Motion, surface: Tensor, weights: Tensor) -> _Samples:
        """Return the means of a motion over a surface [3, H, W] px."""
        height, width = motion.flow.shape[-2:]
        weight = weights * motion.confidence
        size = (min(_SIDE, height), min(_SIDE, width))
        pooled = pool_to(weight, size), *(pool_weighted(each, weight, size) for each in (surface[None], motion.flow))
        total, points, flow = (each.flatten(2).double() for each in pooled)
        used = total[:, 0].amax(0) > 0  # the face fills less than half of its crop
        used |= ~used.any()
        total, points, flow = (each[..., used] for each in (total, points, flow))
        points, flow = points / total.clamp(min=_LEAST), flow / total.clamp(min=_LEAST)
        share = total / total.sum().clamp(min=_LEAST)
        centre = (share * points).sum((0, 2))
        points = points - centre[:, None]
        radius = max(1.0, float((share * points.square()).sum().sqrt()))
        terms = torch.cat([torch.ones_like(total), points / radius, flow], 1)
        one, other = _PAIRS
        return cls(total[:, 0], terms, terms[:, one] * terms[:, other], centre, radius)

    def moments(self, weight: Tensor) -> Tensor:
        """Return the products' sums [N, S, 6, 6] under weights [N, S, P]."""
        return (weight @ self.products.mT)[..., _PAIR_OF.to(weight.device)]


@dataclass(frozen=True)
class _Pose:
    """S scaled orthographic views of each of N frames: point -> shift + scale * (rotation @ point), about the centre.

    rotation: [N, S, 3, 3]. scale: [N, S]. shift: [N, S, 2] px. radius: px, the unit of the points, see `_Samples`.
    """

    rotation: Tensor
    scale: Tensor
    shift: Tensor
    radius: float

    @classmethod
    def identity(cls, like: Tensor, radius: float) -> _Pose:
        """Return the reference's own pose for weights [N, S, P]."""
        count = like.shape[:2]
        eye = torch.eye(3, dtype=like.dtype, device=like.device)
        return cls(eye.expand(*count, 3, 3), like.new_ones(count), like.new_zeros(*count, 2), radius)

    @cached_property
    def displacement(self) -> Tensor:
        """What the terms of the surface are multiplied by to give the motion, [N, S, 2, 4] px."""
        turned = self.scale[..., None, None] * self.rotation[..., :2, :]
        still = torch.eye(2, 3, dtype=turned.dtype, device=turned.device)
        return torch.cat([self.shift[..., None], self.radius * (turned - still)], -1)

    def squared_residual(self, samples: _Samples) -> Tensor:
        """Return [N, S, P] px^2, from where this pose brings the samples to where they are."""
        displacement = self.displacement
        if fits_loops(displacement, dtype=torch.float64):
            from ..loops.head import square_residuals

            squared = displacement.new_empty(*displacement.shape[:2], samples.terms.shape[2])
            square_residuals(samples.terms.numpy(), displacement.numpy(), squared.numpy())
            return squared
        flow = torch.eye(2, dtype=displacement.dtype, device=displacement.device).expand(*displacement.shape[:2], 2, 2)
        residual = torch.cat([-displacement, flow], -1)
        one, other = _PAIRS
        squared = (residual.mT @ residual)[..., one, other]
        return ((squared * _TIMES.to(squared)) @ samples.products).clamp(min=0)

    def refined(self, samples: _Samples, weight: Tensor) -> _Pose:
        """Return the pose after one Gauss-Newton step that reduces the residual under weights [N, S, P]."""
        moments = samples.moments(weight)
        if fits_loops(moments, dtype=torch.float64):
            return self._compiled_step(moments)
        surface = moments[..., :4, :4]
        left = moments[..., 4:, :4] - self.displacement @ surface
        x, y, z = F.pad(self.scale[..., None, None] * self.rotation, (1, 0)).unbind(-2)
        one, zero = torch.tensor([1.0, 0, 0, 0], dtype=x.dtype, device=x.device).expand_as(x), torch.zeros_like(x)
        # Shift x, shift y, zoom, turn about z, about y, about x; all in px at one radius.
        across = torch.stack([one, zero, x, -y, z, zero], -2)
        down = torch.stack([zero, one, y, x, zero, -z], -2)
        normal = across @ surface @ across.mT + down @ surface @ down.mT
        gradient = across @ left[..., 0, :, None] + down @ left[..., 1, :, None]
        # A little damping: a flat surface leaves the turns out of the plane undetermined, which then stay zero.
        damping = 1e-9 * moments[..., :1, :1].clamp(min=1e-9)
        step = torch.linalg.solve(normal + damping * torch.eye(6, dtype=x.dtype, device=x.device), gradient)[..., 0]
        return _Pose(
            _rotation(step[..., [5, 4, 3]] / self.radius) @ self.rotation,
            self.scale * torch.exp(step[..., 2] / self.radius),
            self.shift + step[..., :2],
            self.radius,
        )

    def _compiled_step(self, moments: Tensor) -> _Pose:
        """Return the pose after a step by `moments` [N, S, 6, 6], on a CPU in a tenth of the time."""
        from ..loops.head import refine_poses

        contiguous = torch.contiguous_format
        rotation, scale, shift = (
            each.clone(memory_format=contiguous) for each in (self.rotation, self.scale, self.shift)
        )
        refine_poses(
            *(moments.numpy(), self.displacement.numpy(), self.radius),
            *(rotation.numpy(), scale.numpy(), shift.numpy()),
        )
        return _Pose(rotation, scale, shift, self.radius)


def _surface(depth: Tensor, like: Tensor) -> Tensor:
    """Return the px coordinates [3, H, W] float32 of the surface, about the middle of the picture."""
    height, width = depth.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float32, device=like.device) - height / 2,
        torch.arange(width, dtype=torch.float32, device=like.device) - width / 2,
        indexing="ij",
    )
    return torch.stack([x, y, depth[0, 0].to(x)])


def _surface_terms(surface: Tensor, centre: Tensor, radius: float) -> Tensor:
    """Return the terms 1, x, y and z of a surface [3, H, W] px about a centre, [4, H * W]."""
    points = (surface.flatten(1) - centre.to(surface)[:, None]) / radius
    return torch.cat([torch.ones_like(points[:1]), points])


def _starts(samples: _Samples, tolerance: float) -> tuple[_Pose, Tensor]:
    """Return S poses to start from, with kernel widths [N, S] px of twice their median residuals."""
    x, y = samples.terms[:, 1], samples.terms[:, 2]
    everywhere = torch.ones_like(x)
    parts = torch.stack([everywhere, everywhere, y < 0, y > 0, x < 0, x > 0], 1)
    weight = samples.weight[:, None] * parts
    still = pose = _Pose.identity(weight, samples.radius)
    for _ in range(_L1_STEPS):
        pose = pose.refined(samples, weight / (pose.squared_residual(samples).sqrt() + 0.1 * tolerance))
    width = (2 * _weighted_quantile(pose.squared_residual(samples), weight, 0.5).sqrt()).clamp(min=tolerance)
    width[:, 0] = 4 * tolerance
    rotation, scale, shift = (
        torch.cat([first[:, :1], others[:, 1:]], 1)
        for first, others in ((still.rotation, pose.rotation), (still.scale, pose.scale), (still.shift, pose.shift))
    )
    return _Pose(rotation, scale, shift, samples.radius), width


def _narrowed(pose: _Pose, width: Tensor, samples: _Samples, tolerance: float) -> tuple[_Pose, Tensor]:
    """Return poses under a narrowing kernel, with their residual's `_FOLLOWING` quantile, px [N, S]."""
    for _ in range(_NARROWING_STEPS):
        squared = pose.squared_residual(samples)
        weight = samples.weight[:, None].expand_as(squared)
        scale = _weighted_quantile(squared, weight, _FOLLOWING).sqrt().clamp(min=tolerance)
        pose = _reweighted_step(pose, samples, squared, torch.maximum(width, scale))
        width = _NARROWING * width
    return pose, scale


def _reweighted_step(pose: _Pose, samples: _Samples, squared: Tensor, width: Tensor) -> _Pose:
    """Return the pose after a Gauss-Newton step, reweighted by a kernel of width px [N, S or 1]."""
    return pose.refined(samples, samples.weight[:, None] * _geman_mcclure(squared, width))


def _outside(pose: _Pose, samples: _Samples, scale: Tensor) -> Tensor:
    """Return the kernel's mean cost, about the share of the face that doesn't follow the pose: [N, S]."""
    cost = 1 - _geman_mcclure(pose.squared_residual(samples), scale).sqrt()
    return (cost @ samples.weight[..., None])[..., 0] / samples.weight.sum(1, keepdim=True).clamp(min=_LEAST)


def _prior(pose: _Pose, samples: _Samples, tolerance: float) -> Tensor:
    """Return the prior's cost of the pose's mean squared motion, which saturates, as a share of the face: [N, S]."""
    moved = _mean_square(pose.displacement, samples)
    return _MOTION_COST * moved / (moved + (_SATURATION * tolerance) ** 2)


def _mean_square(displacement: Tensor, samples: _Samples) -> Tensor:
    """Return the mean square over the samples, px^2 [N, S], of the motion of a `_Pose.displacement` [N, S, 2, 4]."""
    moments = samples.moments(samples.weight[:, None])
    squared = ((displacement @ moments[..., :4, :4]) * displacement).sum((-2, -1))
    return squared / moments[..., 0, 0].clamp(min=_LEAST)


def _geman_mcclure(squared: Tensor, width: Tensor) -> Tensor:
    """Return the kernel's weights [N, S, P] for squared residuals; their roots are 1 minus the kernel's cost."""
    return (1 + squared / width[..., None] ** 2) ** -2


def _rotation(vectors: Tensor) -> Tensor:
    """Return the [..., 3, 3] rotations about vectors [..., 3] by their length, rad (Rodrigues' formula)."""
    angle = torch.linalg.vector_norm(vectors, dim=-1)[..., None, None] / torch.pi
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
    eye = torch.eye(3, dtype=vectors.dtype, device=vectors.device)
    return eye + torch.sinc(angle) * cross + 0.5 * torch.sinc(0.5 * angle) ** 2 * (cross @ cross)


def _weighted_quantile(values: Tensor, weights: Tensor, share: float) -> Tensor:
    """Return the value below which a share of the weight is, over the last axis, [N, S, P] -> [N, S]."""
    if fits_loops(values, dtype=torch.float64):
        from ..loops.head import find_quantiles

        found = values.new_empty(values.shape[:2])
        find_quantiles(values.contiguous().numpy(), weights.contiguous().numpy(), share, found.numpy())
        return found
    ordered, order = values.sort(dim=-1)
    cumulative = weights.gather(-1, order).cumsum(dim=-1)
    place = (cumulative < share * cumulative[..., -1:]).sum(dim=-1, keepdim=True).clamp(max=values.shape[-1] - 1)
    return ordered.gather(-1, place)[..., 0]
