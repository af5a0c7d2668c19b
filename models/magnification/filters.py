# SPDX-License-Identifier: GPL-3.0-or-later
"""The small linear filters that the solver is made of."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def resize(field: Tensor, size: tuple[int, int]) -> Tensor:
    """Return [N, C, H, W] resampled bilinearly to `size` (height, width). Values are left as they are."""
    return F.interpolate(field, size=size, mode="bilinear", align_corners=False)


def binomial(field: Tensor) -> Tensor:
    """Smooth [N, C, H, W] with the 3 x 3 binomial kernel (1 2 1) / 4, the border repeated."""
    field = F.pad(field, (1, 1, 1, 1), mode="replicate")
    for _ in range(2):  # (1 1) twice is (1 2 1)
        field = field[..., 1:] + field[..., :-1]
        field = field[..., 1:, :] + field[..., :-1, :]
    return field / 16


def box(field: Tensor, size: int) -> Tensor:
    """Return the mean of [N, C, H, W] over `size` x `size` px (odd), the border repeated."""
    half = size // 2
    padded = F.pad(field, (half, half, half, half), mode="replicate")
    return F.avg_pool2d(F.avg_pool2d(padded, (1, size), 1), (size, 1), 1)


def gradient(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return the central differences of [N, C, H, W] along x and along y, per px."""
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    return (
        0.5 * (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]),
        0.5 * (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]),
    )
