# SPDX-License-Identifier: GPL-3.0-or-later
"""Splits dense motion into the head's own and the face's."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from torch import Tensor

from models.magnification.motion import Motion

_DEPTH_GRID = 48  # samples a side; the mesh is smooth, and thin plates are costly
_FIT_SIDE = 64  # the fit looks at no more than about this many samples a side
_L1_ROUNDS, _TUKEY_ROUNDS = 10, 10
_TUKEY = 4.685  # 95 % efficiency for Gaussian noise
_NOISE_FLOOR = 0.01  # px; below it, differences are rounding, not motion


def face_depth(landmarks: NDArray[np.floating[Any]], size: tuple[int, int]) -> Tensor:
    """Return a smooth depth map [1, 1, H, W] float32 in px, towards the viewer negative, from the face mesh.

    landmarks: [478, 3] px of the picture, size: its (H, W) px. A thin-plate spline through the mesh; outside the mesh
    it keeps within the mesh's range.
    """
    height, width = size
    points = np.asarray(landmarks, np.float64)
    scale = np.ptp(points[:, :2], axis=0).max()
    spline = RBFInterpolator(points[:, :2] / scale, points[:, 2], kernel="thin_plate_spline", smoothing=1e-4)
    rows, columns = min(height, _DEPTH_GRID), min(width, _DEPTH_GRID)
    y = (np.arange(rows) + 0.5) * height / rows - 0.5
    x = (np.arange(columns) + 0.5) * width / columns - 0.5
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2) / scale
    depth = np.clip(spline(grid), points[:, 2].min(), points[:, 2].max()).reshape(1, 1, rows, columns)
    return F.interpolate(torch.from_numpy(depth).float(), size=size, mode="bicubic", align_corners=False)


def split_rigid(motion: Motion, depth: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return (rigid, local) motion, [N, 2, H, W] float32 px each, whose sum is the motion's flow.

    The rigid part is that of a solid head under scaled orthographic projection: shift, zoom and a turn about any axis,
    six degrees of freedom a frame, of the surface `depth` ([1, 1, H, W] px; an error in its scale only changes the
    angles that are found, to first order). It is fitted by Gauss-Newton steps, first to the absolute values of the
    residuals (robust against a wrong start), then with Tukey's biweight, so that a part of the face that moves by
    itself has no say. weights: [1 or N, 1, H, W], how far each pixel should move with the skull (`rigid_mask`); they
    are multiplied with the motion's confidence. A frame without any weight is taken to have no head motion.
    """
    count, _, height, width = motion.flow.shape
    step = max(1, -(-max(height, width) // _FIT_SIDE))
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float64, device=motion.flow.device),
        torch.arange(width, dtype=torch.float64, device=motion.flow.device),
        indexing="ij",
    )
    surface = torch.stack([x, y, depth[0, 0].to(x)], dim=-1)  # [H, W, 3]
    prior = (weights * motion.confidence).expand(count, 1, height, width)

    samples = slice(step // 2, None, step)
    points = surface[samples, samples].reshape(-1, 3)  # [P, 3]
    observed = motion.flow[..., samples, samples].flatten(2).transpose(1, 2).to(points)  # [N, P, 2]
    weight = prior[..., samples, samples].reshape(count, -1).to(points)  # [N, P]

    pose = _Pose.identity(points, weight)
    target = points[:, :2] + observed
    for round_ in range(_L1_ROUNDS + _TUKEY_ROUNDS):
        residual = target - pose(points)
        distance = residual.norm(dim=-1)
        if round_ < _L1_ROUNDS:
            robust = 1 / (distance + _NOISE_FLOOR)
        else:
            cutoff = _TUKEY * (1.4826 * _weighted_median(distance, weight) + _NOISE_FLOOR)
            robust = (1 - (distance / cutoff[:, None]) ** 2).clamp(min=0) ** 2
        pose.refine(points, residual, weight * robust)

    moved = pose(surface.reshape(-1, 3)).reshape(count, height, width, 2)
    rigid = (moved - surface[..., :2]).permute(0, 3, 1, 2).to(motion.flow)
    return rigid, motion.flow - rigid


class _Pose:
    """Scaled orthographic views of one surface: centre + shift + scale * (rotation @ (point - centre)) for N frames."""

    def __init__(self, centre: Tensor, radius: Tensor, rotation: Tensor, scale: Tensor, shift: Tensor) -> None:
        self.centre = centre  # [3] px
        self.radius = radius  # px; makes the angles comparable with the shifts, for a well-conditioned solve
        self.rotation = rotation  # [N, 3, 3]
        self.scale = scale  # [N]
        self.shift = shift  # [N, 2] px

    @classmethod
    def identity(cls, points: Tensor, weight: Tensor) -> _Pose:
        """Return the reference pose, centred where the weight is."""
        count = len(weight)
        share = weight.sum(0)
        share = share / share.sum().clamp(min=1e-12)
        centre = share @ points
        radius = (share @ ((points - centre) ** 2)).sum().sqrt().clamp(min=1.0)
        rotation = torch.eye(3, dtype=points.dtype, device=points.device).repeat(count, 1, 1)
        return cls(centre, radius, rotation, points.new_ones(count), points.new_zeros(count, 2))

    def __call__(self, points: Tensor) -> Tensor:
        """Project [P, 3] points to [N, P, 2] px."""
        turned = (points - self.centre) @ self.rotation[:, :2].transpose(1, 2)
        return self.centre[:2] + self.shift[:, None] + self.scale[:, None, None] * turned

    def refine(self, points: Tensor, residual: Tensor, weight: Tensor) -> None:
        """Take one weighted Gauss-Newton step that reduces `residual` [N, P, 2]."""
        turned = self.scale[:, None, None] * ((points - self.centre) @ self.rotation.transpose(1, 2))
        x, y, z = (turned / self.radius).unbind(-1)
        zero, one = torch.zeros_like(x), torch.ones_like(x)
        # Columns: shift x, shift y, zoom, turn about z, turn about y, turn about x (all in px at one radius).
        jacobian = torch.stack(
            [
                torch.stack([one, zero, x, -y, z, zero], dim=-1),
                torch.stack([zero, one, y, x, zero, -z], dim=-1),
            ],
            dim=2,
        )  # [N, P, 2, 6]
        normal = torch.einsum("np,npci,npcj->nij", weight, jacobian, jacobian)
        gradient = torch.einsum("np,npci,npc->ni", weight, jacobian, residual)
        # A little damping: a flat surface tells nothing of the turns out of the plane, which then stay zero.
        damping = 1e-9 * weight.sum(1).clamp(min=1e-6)
        eye = torch.eye(6, dtype=points.dtype, device=points.device)
        delta = torch.linalg.solve(normal + damping[:, None, None] * eye, gradient)
        zoom, angles = delta[:, 2] / self.radius, delta[:, [5, 4, 3]] / self.radius
        self.shift = self.shift + delta[:, :2]
        self.scale = self.scale * torch.exp(zoom)
        self.rotation = torch.linalg.matrix_exp(_cross(angles)) @ self.rotation


def _cross(vectors: Tensor) -> Tensor:
    """Return the [N, 3, 3] matrices of the cross products with [N, 3] vectors."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).reshape(-1, 3, 3)


def _weighted_median(values: Tensor, weights: Tensor) -> Tensor:
    """Return the median over the last axis, [N, P] -> [N]."""
    order = values.argsort(dim=1)
    cumulative = weights.gather(1, order).cumsum(dim=1)
    middle = (cumulative < cumulative[:, -1:] / 2).sum(dim=1, keepdim=True).clamp(max=values.shape[1] - 1)
    return values.gather(1, order).gather(1, middle)[:, 0]
