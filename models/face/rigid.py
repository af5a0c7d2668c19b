# SPDX-License-Identifier: GPL-3.0-or-later
"""Splits dense motion into the head's own and the face's."""

from __future__ import annotations

from collections.abc import Iterator
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
_STAYING = 0.2  # share of the face that has to speak for such a motion rather than for none


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

    poses, scales = zip(
        *(_narrowed(pose, samples, widest, tolerance) for pose, widest in _starts(samples, tolerance)), strict=True
    )
    scale = torch.stack(scales).amin(0)
    best = _Pose.identity(samples)
    least = torch.full_like(scale, torch.inf)
    for pose in poses:
        for _ in range(_LAST_ROUNDS):
            pose = _drawn(pose, samples, pose.residual(samples), scale)
        cost = _unexplained(pose, samples, scale) + _unlikely(pose, samples, tolerance)
        best = pose.where(cost < least, best)
        least = torch.minimum(cost, least)

    moved = best(surface.reshape(1, -1, 3)).reshape(-1, height, width, 2)
    rigid = (moved - surface[..., :2]).permute(0, 3, 1, 2).to(motion.flow)
    return rigid, motion.flow - rigid


@dataclass(frozen=True)
class _Samples:
    """Weighted means over the cells of a coarse grid.

    points: [N, P, 3] px of the surface; target: [N, P, 2] px, where they are in the frame; weight: [N, P]. Motion is
    affine in the surface point, so the means belong together exactly.
    """

    points: Tensor
    target: Tensor
    weight: Tensor

    @classmethod
    def of(cls, motion: Motion, surface: Tensor, weights: Tensor) -> _Samples:
        height, width = motion.flow.shape[-2:]
        weight = (weights * motion.confidence).double()
        values = torch.cat([surface.permute(2, 0, 1).expand(len(weight), 3, -1, -1), motion.flow.double()], dim=1)
        cells = (min(_SIDE, height), min(_SIDE, width))
        total = F.interpolate(weight, size=cells, mode="area")
        means = F.interpolate(values * weight, size=cells, mode="area") / total.clamp(min=1e-12)
        used = total.flatten(1).amax(0) > 0  # the face fills less than half of its crop
        used |= ~used.any()
        points, flow = means.flatten(2)[..., used].transpose(1, 2).split([3, 2], dim=2)
        return cls(points, points[..., :2] + flow, total.flatten(1)[:, used])


@dataclass(frozen=True)
class _Pose:
    """Scaled orthographic views for N frames: point -> centre + shift + scale * (rotation @ (point - centre)).

    centre: [3] px. radius: px, makes angles comparable with shifts, for a well-conditioned solve. rotation: [N, 3, 3].
    scale: [N]. shift: [N, 2] px.
    """

    centre: Tensor
    radius: Tensor
    rotation: Tensor
    scale: Tensor
    shift: Tensor

    @classmethod
    def identity(cls, samples: _Samples) -> _Pose:
        """Return the reference's own pose, centred where the weight is."""
        points, weight = samples.points.flatten(0, 1), samples.weight.flatten()
        share = weight / weight.sum().clamp(min=1e-12)
        centre = share @ points
        radius = (share @ (points - centre) ** 2).sum().sqrt().clamp(min=1.0)
        count = len(samples.weight)
        eye = torch.eye(3, dtype=points.dtype, device=points.device)
        return cls(centre, radius, eye.repeat(count, 1, 1), points.new_ones(count), points.new_zeros(count, 2))

    def __call__(self, points: Tensor) -> Tensor:
        """Project [1 or N, P, 3] points to [N, P, 2] px."""
        return self.centre[:2] + self.shift[:, None] + self._turned(points)[..., :2]

    def residual(self, samples: _Samples) -> Tensor:
        """Return [N, P, 2] px from where this pose brings the samples to where they are."""
        return samples.target - self(samples.points)

    def refined(self, samples: _Samples, residual: Tensor, weight: Tensor) -> _Pose:
        """Return the pose after one weighted Gauss-Newton step that reduces the residual."""
        x, y, z = (self._turned(samples.points) / self.radius).unbind(-1)
        zero, one = torch.zeros_like(x), torch.ones_like(x)
        # Shift x, shift y, zoom, turn about z, about y, about x; all in px at one radius.
        jacobian = torch.cat(
            [
                torch.stack([one, zero, x, -y, z, zero], dim=-1),
                torch.stack([zero, one, y, x, zero, -z], dim=-1),
            ],
            dim=1,
        )  # [N, 2P, 6]
        weighted = (jacobian * weight.repeat(1, 2)[..., None]).transpose(1, 2)
        gradient = weighted @ residual.transpose(1, 2).flatten(1)[..., None]
        # A little damping: a flat surface tells nothing of the turns out of the plane, which then stay zero.
        damping = 1e-9 * weight.sum(1).clamp(min=1e-9)
        eye = torch.eye(6, dtype=x.dtype, device=x.device)
        step = torch.linalg.solve(weighted @ jacobian + damping[:, None, None] * eye, gradient)[..., 0]
        angles = step[:, [5, 4, 3]] / self.radius
        return _Pose(
            self.centre,
            self.radius,
            torch.linalg.matrix_exp(_cross(angles)) @ self.rotation,
            self.scale * torch.exp(step[:, 2] / self.radius),
            self.shift + step[:, :2],
        )

    def where(self, choose: Tensor, other: _Pose) -> _Pose:
        """Return this pose for the frames where `choose` [N] is true, the other elsewhere."""
        return _Pose(
            self.centre,
            self.radius,
            torch.where(choose[:, None, None], self.rotation, other.rotation),
            torch.where(choose, self.scale, other.scale),
            torch.where(choose[:, None], self.shift, other.shift),
        )

    def _turned(self, points: Tensor) -> Tensor:
        return self.scale[:, None, None] * ((points - self.centre) @ self.rotation.transpose(1, 2))


def _surface(depth: Tensor, like: Tensor) -> Tensor:
    """Return [H, W, 3] float64 px coordinates of the surface."""
    height, width = depth.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float64, device=like.device),
        torch.arange(width, dtype=torch.float64, device=like.device),
        indexing="ij",
    )
    return torch.stack([x, y, depth[0, 0].to(x)], dim=-1)


def _starts(samples: _Samples, tolerance: float) -> Iterator[tuple[_Pose, Tensor]]:
    """Yield poses to start from, each with the kernel width [N] px that its residuals call for."""
    identity = _Pose.identity(samples)
    yield identity, torch.full_like(samples.weight[:, 0], 4 * tolerance)
    x, y = (samples.points[..., :2] - identity.centre[:2]).unbind(-1)
    for part in (torch.ones_like(x), y < 0, y > 0, x < 0, x > 0):
        weight = samples.weight * part
        pose = identity
        for _ in range(_L1_ROUNDS):
            residual = pose.residual(samples)
            pose = pose.refined(samples, residual, weight / (residual.norm(dim=-1) + 0.1 * tolerance))
        yield pose, (2 * _weighted_quantile(pose.residual(samples).norm(dim=-1), weight, 0.5)).clamp(min=tolerance)


def _narrowed(pose: _Pose, samples: _Samples, width: Tensor, tolerance: float) -> tuple[_Pose, Tensor]:
    """Return the pose that the best-following part of the face agrees on, and how closely it does, px [N]."""
    for _ in range(_NARROWING_ROUNDS):
        residual = pose.residual(samples)
        scale = _weighted_quantile(residual.norm(dim=-1), samples.weight, _FOLLOWING).clamp(min=tolerance)
        pose = _drawn(pose, samples, residual, torch.maximum(width, scale))
        width = _NARROWING * width
    return pose, scale


def _drawn(pose: _Pose, samples: _Samples, residual: Tensor, width: Tensor) -> _Pose:
    """Return the pose after one step towards what follows it to within the kernel's width, px [N]."""
    return pose.refined(samples, residual, samples.weight * _geman_mcclure(residual, width))


def _unexplained(pose: _Pose, samples: _Samples, scale: Tensor) -> Tensor:
    """Return the share of the face [N] that doesn't follow the pose: the kernel's cost."""
    return _mean(1 - _geman_mcclure(pose.residual(samples), scale).sqrt(), samples.weight)


def _unlikely(pose: _Pose, samples: _Samples, tolerance: float) -> Tensor:
    """Return how much less likely than none the pose's motion is, as a share of the face [N]."""
    moved = _mean((pose(samples.points) - samples.points[..., :2]).square().sum(-1), samples.weight)
    return _STAYING * moved / (moved + (_RESTLESS * tolerance) ** 2)


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted mean over the last axis, [N, P] -> [N]; 0 without any weight."""
    return (values * weights).sum(1) / weights.sum(1).clamp(min=1e-12)


def _geman_mcclure(residual: Tensor, width: Tensor) -> Tensor:
    """Return the kernel's weights [N, P] for residuals [N, P, 2]; their roots are 1 minus the kernel's cost."""
    return 1 / (1 + (residual**2).sum(-1) / width[:, None] ** 2) ** 2


def _cross(vectors: Tensor) -> Tensor:
    """Return the [N, 3, 3] matrices of the cross products with [N, 3] vectors."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).reshape(-1, 3, 3)


def _weighted_quantile(values: Tensor, weights: Tensor, share: float) -> Tensor:
    """Return the value below which a share of the weight is, over the last axis, [N, P] -> [N]."""
    order = values.argsort(dim=1)
    cumulative = weights.gather(1, order).cumsum(dim=1)
    place = (cumulative < share * cumulative[:, -1:]).sum(dim=1, keepdim=True).clamp(max=values.shape[1] - 1)
    return values.gather(1, order).gather(1, place)[:, 0]
