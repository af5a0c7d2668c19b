# SPDX-License-Identifier: GPL-3.0-or-later
"""How far every pixel of a face is from the viewer."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from torch import Tensor

_GRID = 48  # samples a side; the surface is smooth, and thin plates are costly
_SMOOTHING = 1e-4  # of the thin plate, at coordinates in units of the mesh's size
_HIDDEN_WITHIN, _HIDDEN_BEHIND = 0.05, 0.15  # of the mesh's size: a landmark is hidden if others are that much in front


def face_depth(landmarks: NDArray[np.floating[Any]], size: tuple[int, int]) -> Tensor:
    """Return a smooth depth map [1, 1, H, W] float32 in px, towards the viewer negative, from the face mesh.

    landmarks: [478, 3] px of the picture, size: its (H, W) px. A thin-plate spline through the landmarks that are not
    hidden behind others (of a turned head, the far cheek is); beyond the mesh it stays within the mesh's range.
    """
    height, width = size
    points = np.asarray(landmarks, np.float64)
    scale = float(np.ptp(points[:, :2], axis=0).max())
    points = _visible(points, scale)
    spline = RBFInterpolator(points[:, :2] / scale, points[:, 2], kernel="thin_plate_spline", smoothing=_SMOOTHING)
    rows, columns = min(height, _GRID), min(width, _GRID)
    y = (np.arange(rows) + 0.5) * height / rows - 0.5
    x = (np.arange(columns) + 0.5) * width / columns - 0.5
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2) / scale
    depth = np.clip(spline(grid), points[:, 2].min(), points[:, 2].max()).reshape(1, 1, rows, columns)
    return F.interpolate(torch.from_numpy(depth).float(), size=size, mode="bicubic", align_corners=False)


def _visible(points: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    x, y, depth = points.T
    near = np.subtract.outer(x, x) ** 2 + np.subtract.outer(y, y) ** 2 <= (_HIDDEN_WITHIN * scale) ** 2
    front = np.where(near, depth, np.inf).min(1)
    return points[points[:, 2] < front + _HIDDEN_BEHIND * scale]
