# SPDX-License-Identifier: GPL-3.0-or-later
"""The square of a picture that a network is shown, and the way between its px and the picture's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..warp import pixel_grid, sample_spline


@dataclass(frozen=True)
class Window:
    """The square of the avatar's picture that the backend sees: px = origin + scale * crop px (centres at integers)."""

    origin: tuple[float, float]
    scale: float
    crop_size: int

    @classmethod
    def around(cls, centre: tuple[float, float], side: float, crop_size: int) -> Window:
        """Return the window of `side` px around `centre` that a crop of `crop_size` px samples."""
        scale = side / crop_size
        offset = 0.5 * (crop_size - 1) * scale
        return cls((centre[0] - offset, centre[1] - offset), scale, crop_size)

    def cut(self, picture: Tensor) -> Tensor:
        """Return the crop [1, C, S, S] of a picture [1, C, H, W], without aliasing when it shrinks."""
        if self.scale > 1:
            # Averaging over the footprint of a crop pixel before sampling; a Gaussian of half the step's spread
            # passes what the crop can hold.
            picture = _blur(picture, 0.5 * self.scale)
        origin = picture.new_tensor(self.origin).view(1, 2, 1, 1)
        positions = origin + self.scale * pixel_grid(self.crop_size, self.crop_size, picture.device)
        return sample_spline(picture, positions).clamp(0, 1)

    def to_crop(self, positions: Tensor) -> Tensor:
        """Return positions [..., 2] of the picture as positions of the crop."""
        return (positions - positions.new_tensor(self.origin)) / self.scale

    def to_crop_affine(self) -> NDArray[np.float64]:
        """Return the [2, 3] affine map that takes a point of the picture to a point of the crop."""
        x, y = self.origin
        return np.array([[1, 0, -x], [0, 1, -y]]) / self.scale

    def box(self, face: Tensor, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Return the part of a picture of `size` that a mask of the crop covers: left, top, right, bottom px."""
        inside = face[0, 0] > 0
        columns, rows = inside.any(0).nonzero().flatten(), inside.any(1).nonzero().flatten()
        if not len(columns):
            return 0, 0, 0, 0
        # A soft edge reaches one crop pixel beyond the last one inside.
        low = [float(edge[0] - 1) * self.scale + at for edge, at in zip((columns, rows), self.origin, strict=True)]
        high = [float(edge[-1] + 1) * self.scale + at for edge, at in zip((columns, rows), self.origin, strict=True)]
        left, top = max(0, int(low[0])), max(0, int(low[1]))
        right, bottom = min(size[0], int(high[0]) + 2), min(size[1], int(high[1]) + 2)
        return left, top, max(left, right), max(top, bottom)


def _blur(image: Tensor, sigma: float) -> Tensor:
    radius = max(1, int(3 * sigma + 0.5))
    offsets = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1).expand(image.shape[1], 1, 1, -1)
    padded = F.pad(image, (radius, radius, radius, radius), mode="replicate")
    rows = F.conv2d(padded, kernel, groups=image.shape[1])
    return F.conv2d(rows, kernel.transpose(2, 3), groups=image.shape[1])
