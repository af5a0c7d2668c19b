# SPDX-License-Identifier: GPL-3.0-or-later
"""Splits dense motion into the head's own and the face's."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..magnification.motion import Motion

_SIDE = 48  # the fit looks at cells of this many a side
_TOLERANCE = 0.0005  # of the picture's longer side: how well the skull's motion is known; 0.13 px at 256
_L1_ROUNDS, _NARROWING_ROUNDS, _LAST_ROUNDS = 6, 12, 4
_NARROWING = 0.6  # the kernel's width from one round to the next
_FOLLOWING = 1 / 3  # of the face, that follows the skull closely in any expression
_RESTLESS = 10.0  # tolerances: motion of the head from which on it is no likelier in the steady crop than still more
_STAYING = 0.2  # cost of such a motion over none, as a share of the face
_LEAST = 1e-12  # keeps sums of weights from being zero


def split_rigid(motion: Motion, depth: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return (rigid, local) motion, [N, 2, H, W] float32 px each, whose sum is the motion's flow.

    The rigid part is that of a solid head under scaled orthographic projection: shift, zoom and a turn about any axis,
    six degrees of freedom a frame, of the surface `depth` ([1, 1, H, W] px; an error in its scale only changes the
    angles that are found, to first order).

    An expression moves large parts of a face as smoothly as a nod does, so least squares, and even a median, would take
    it for one. What is looked for is the solid motion that the largest part of the face follows closely: Gauss-Newton
    steps under a Geman-McClure kernel that narrows down to the tolerance or, on a livelier face, to what a third
    of it keeps to. They begin at several starts (no motion, robust fits to the whole and to each half of the face),
    and each frame keeps what explains most. The steady crop has followed the head already, so a larger motion has to
    explain more than a smaller one.

    weights: [1 or N, 1, H, W], how far each pixel can be expected to move with the skull (`rigid_mask`); they are
    multiplied with the motion's confidence. A frame without any weight is taken to have no head motion.
    """
    height, width = motion.flow.shape[-2:]
    surface = _surface(depth, motion.flow)
    samples = _Samples.of(motion, surface, weights)
    tolerance = _TOLERANCE * max(height, width)

    pose, scale = _narrowed(*_starts(samples, tolerance), samples, tolerance)
    scale = scale.amin(1, keepdim=True)
    for _ in range(_LAST_ROUNDS):
        pose = _drawn(pose, samples, pose.squared_residual(samples), scale)
    cost = _unexplained(pose, samples, scale) + _unlikely(pose, samples, tolerance)
    best = pose.displacement(samples.radius)[torch.arange(len(cost), device=cost.device), cost.argmin(1)]
    rigid = (best.to(surface) @ samples.surface_terms(surface)).unflatten(2, (height, width)).to(motion.flow)
    return rigid, motion.flow - rigid


@dataclass(frozen=True)
class _Samples:
    """Weighted means over P cells of a coarse grid, for N frames.

    Points of the surface are taken about `centre` [3] px, where the weight is, in units of `radius` px, which makes
    angles comparable with shifts, for a well-conditioned solve.

    weight: [N, P] float64. terms: [N, 6, P], 1, x, y and z of the surface and the flow there, px. products: [N, 36, P],
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
        total, points, flow = (
            F.interpolate(each, size=size, mode="area").flatten(2).double()
            for each in (weight, surface * weight, motion.flow * weight)
        )
        used = total[:, 0].amax(0) > 0  # the face fills less than half of its crop
        used |= ~used.any()
        total, points, flow = (each[..., used] for each in (total, points, flow))
        points, flow = points / total.clamp(min=_LEAST), flow / total.clamp(min=_LEAST)
        share = total / total.sum().clamp(min=_LEAST)
        centre = (share * points).sum((0, 2))
        points = points - centre[:, None]
        radius = max(1.0, float((share * points.square()).sum().sqrt()))
        terms = torch.cat([torch.ones_like(total), points / radius, flow], 1)
        return cls(total[:, 0], terms, (terms[:, :, None] * terms[:, None]).flatten(1, 2), centre, radius)

    def surface_terms(self, surface: Tensor) -> Tensor:
        """Return the terms 1, x, y and z of a surface [3, H, W] px, [4, H * W]."""
        points = (surface.flatten(1) - self.centre.to(surface)[:, None]) / self.radius
        return torch.cat([torch.ones_like(points[:1]), points])

    def moments(self, weight: Tensor) -> Tensor:
        """Return the products' sums [N, S, 6, 6] under weights [N, S, P]."""
        return (weight @ self.products.mT).unflatten(2, (6, 6))


@dataclass(frozen=True)
class _Pose:
    """S scaled orthographic views of each of N frames: point -> shift + scale * (rotation @ point), about the centre.

    rotation: [N, S, 3, 3]. scale: [N, S]. shift: [N, S, 2] px.
    """

    rotation: Tensor
    scale: Tensor
    shift: Tensor

    @classmethod
    def identity(cls, like: Tensor) -> _Pose:
        """Return the reference's own pose for weights [N, S, P]."""
        count = like.shape[:2]
        eye = torch.eye(3, dtype=like.dtype, device=like.device)
        return cls(eye.expand(*count, 3, 3), like.new_ones(count), like.new_zeros(*count, 2))

    def displacement(self, radius: float) -> Tensor:
        """Return [N, S, 2, 4] px, what the terms of the surface are multiplied by to give the motion."""
        turned = self.scale[..., None, None] * self.rotation[..., :2, :]
        still = torch.eye(2, 3, dtype=turned.dtype, device=turned.device)
        return torch.cat([self.shift[..., None], radius * (turned - still)], -1)

    def squared_residual(self, samples: _Samples) -> Tensor:
        """Return [N, S, P] px^2, from where this pose brings the samples to where they are."""
        displacement = self.displacement(samples.radius)
        flow = torch.eye(2, dtype=displacement.dtype, device=displacement.device).expand(*displacement.shape[:2], 2, 2)
        residual = torch.cat([-displacement, flow], -1)
        return ((residual.mT @ residual).flatten(2) @ samples.products).clamp(min=0)

    def refined(self, samples: _Samples, weight: Tensor) -> _Pose:
        """Return the pose after one Gauss-Newton step that reduces the residual under weights [N, S, P]."""
        moments = samples.moments(weight)
        surface = moments[..., :4, :4]
        left = moments[..., 4:, :4] - self.displacement(samples.radius) @ surface
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
            _rotation(step[..., [5, 4, 3]] / samples.radius) @ self.rotation,
            self.scale * torch.exp(step[..., 2] / samples.radius),
            self.shift + step[..., :2],
        )


def _surface(depth: Tensor, like: Tensor) -> Tensor:
    """Return the px coordinates [3, H, W] float32 of the surface, about the middle of the picture."""
    height, width = depth.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float32, device=like.device) - height / 2,
        torch.arange(width, dtype=torch.float32, device=like.device) - width / 2,
        indexing="ij",
    )
    return torch.stack([x, y, depth[0, 0].to(x)])


def _starts(samples: _Samples, tolerance: float) -> tuple[_Pose, Tensor]:
    """Return poses to start from, each with the kernel width [N, S] px that its residuals call for."""
    x, y = samples.terms[:, 1], samples.terms[:, 2]
    everywhere = torch.ones_like(x)
    parts = torch.stack([everywhere, everywhere, y < 0, y > 0, x < 0, x > 0], 1)
    weight = samples.weight[:, None] * parts
    still = pose = _Pose.identity(weight)
    for _ in range(_L1_ROUNDS):
        pose = pose.refined(samples, weight / (pose.squared_residual(samples).sqrt() + 0.1 * tolerance))
    width = (2 * _weighted_quantile(pose.squared_residual(samples), weight, 0.5).sqrt()).clamp(min=tolerance)
    width[:, 0] = 4 * tolerance
    rotation, scale, shift = (
        torch.cat([first[:, :1], others[:, 1:]], 1)
        for first, others in ((still.rotation, pose.rotation), (still.scale, pose.scale), (still.shift, pose.shift))
    )
    return _Pose(rotation, scale, shift), width


def _narrowed(pose: _Pose, width: Tensor, samples: _Samples, tolerance: float) -> tuple[_Pose, Tensor]:
    """Return the pose that the best-following part of the face agrees on, and how closely it does, px [N, S]."""
    for _ in range(_NARROWING_ROUNDS):
        squared = pose.squared_residual(samples)
        weight = samples.weight[:, None].expand_as(squared)
        scale = _weighted_quantile(squared, weight, _FOLLOWING).sqrt().clamp(min=tolerance)
        pose = _drawn(pose, samples, squared, torch.maximum(width, scale))
        width = _NARROWING * width
    return pose, scale


def _drawn(pose: _Pose, samples: _Samples, squared: Tensor, width: Tensor) -> _Pose:
    """Return the pose after one step towards what follows it to within the kernel's width, px [N, S or 1]."""
    return pose.refined(samples, samples.weight[:, None] * _geman_mcclure(squared, width))


def _unexplained(pose: _Pose, samples: _Samples, scale: Tensor) -> Tensor:
    """Return the share of the face [N, S] that doesn't follow the pose: the kernel's cost."""
    cost = 1 - _geman_mcclure(pose.squared_residual(samples), scale).sqrt()
    return (cost @ samples.weight[..., None])[..., 0] / samples.weight.sum(1, keepdim=True).clamp(min=_LEAST)


def _unlikely(pose: _Pose, samples: _Samples, tolerance: float) -> Tensor:
    """Return how much less likely than none the pose's motion is, as a share of the face [N, S]."""
    moments = samples.moments(samples.weight[:, None])
    displacement = pose.displacement(samples.radius)
    moved = ((displacement @ moments[..., :4, :4]) * displacement).sum((-2, -1))
    moved = moved / moments[..., 0, 0].clamp(min=_LEAST)
    return _STAYING * moved / (moved + (_RESTLESS * tolerance) ** 2)


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
    ordered, order = values.sort(dim=-1)
    cumulative = weights.gather(-1, order).cumsum(dim=-1)
    place = (cumulative < share * cumulative[..., -1:]).sum(dim=-1, keepdim=True).clamp(max=values.shape[-1] - 1)
    return ordered.gather(-1, place)[..., 0]
