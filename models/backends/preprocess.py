# SPDX-License-Identifier: GPL-3.0-or-later
"""How the published demos bring pictures to their network's size, and choose where a driving clip starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from torch import Tensor


def resize(image: Tensor, size: int) -> Tensor:
    """Resize [N, 3, H, W] to [N, 3, size, size] as skimage.transform.resize does by default, in float32.

    Bilinear at pixel centres, after a Gaussian of sigma = (factor - 1) / 2 along every axis that shrinks.
    """
    for axis in (-2, -1):
        image = _blur(image, sigma=(image.shape[axis] / size - 1) / 2, axis=axis)
    if image.shape[-2:] == (size, size):
        return image
    return F.interpolate(image, (size, size), mode="bilinear", align_corners=False)


def _blur(image: Tensor, sigma: float, axis: int) -> Tensor:
    """Gaussian along one axis, cut off at four sigma, mirrored at the borders without repeating the edge."""
    radius = min(int(4 * sigma + 0.5), image.shape[axis] - 1)
    if radius < 1:
        return image
    offsets = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).view((1, 1, -1, 1) if axis == -2 else (1, 1, 1, -1))
    padding = (0, 0, radius, radius) if axis == -2 else (radius, radius, 0, 0)
    padded = F.pad(image, padding, mode="reflect")
    channels = image.shape[1]
    return F.conv2d(padded, kernel.expand(channels, 1, *kernel.shape[2:]), groups=channels)


def best_frame(source: NDArray[Any], driving: Sequence[NDArray[Any]]) -> int:
    """Return the index of the driving frame whose face is posed most like the source's.

    Landmarks are [L, 2 or more] px, in the same order for all; they are compared after centring and dividing by the
    square root of their convex hull's area. FOMM and FSRT start a clip driven by relative motion at this frame; theirs
    then runs backward and forward from it, which makes no difference to methods without a state between frames.
    """
    target = _normalised(source)
    return int(np.argmin([np.square(_normalised(landmarks) - target).sum() for landmarks in driving]))


def _normalised(landmarks: NDArray[Any]) -> NDArray[Any]:
    centred = landmarks[:, :2] - landmarks[:, :2].mean(axis=0)
    return centred / np.sqrt(hull_area(centred))


def hull_area(points: NDArray[Any]) -> float:
    """Area of the convex hull of [K, 2] points."""
    return float(ConvexHull(points).volume)  # what scipy calls the volume is the area in two dimensions
