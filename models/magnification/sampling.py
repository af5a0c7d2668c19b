# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking up images and flows between the pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def sample(image: Tensor, flow: Tensor, mode: str = "bicubic") -> Tensor:
    """Return `image` looked up at p + flow(p), the border repeated outside.

    image: [N, C, H, W]; flow: [N or 1, 2, H, W] px, x right, y down, pixel centres at integers; mode: "bilinear" or
    "bicubic". An image of one is shared by all flows. Returns [N, C, H, W].
    """
    count, _, height, width = flow.shape
    x = torch.arange(width, device=flow.device, dtype=flow.dtype) + flow[:, 0]
    y = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None] + flow[:, 1]
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], -1)
    if image.shape[0] == 1 and count > 1:
        image = image.expand(count, -1, -1, -1)
    elif count == 1 and image.shape[0] > 1:
        grid = grid.expand(image.shape[0], -1, -1, -1)
    return F.grid_sample(image, grid, mode=mode, padding_mode="border", align_corners=False)


def resize(field: Tensor, size: tuple[int, int]) -> Tensor:
    """Return [N, C, H, W] resampled bilinearly to `size` (height, width). Values are left as they are."""
    return F.interpolate(field, size=size, mode="bilinear", align_corners=False)


def pull_back(displacement: Tensor, iterations: int = 8) -> Tensor:
    """Invert a displacement: return e with e(y) = displacement(y - e(y)), the move that ended at y.

    displacement: [N, 2, H, W] px. The fixed point converges where neighbouring pixels don't overtake each other
    (|gradient| < 1); elsewhere the steps are damped by half, which settles on one of the layers that overlap.
    """
    pulled = displacement
    for step in range(iterations):
        target = sample(displacement, -pulled, mode="bilinear")
        pulled = target if step < 2 else 0.5 * (pulled + target)
    return pulled


def binomial(field: Tensor) -> Tensor:
    """Smooth [N, C, H, W] with the 3 x 3 binomial kernel (1 2 1) / 4, the border repeated."""
    field = F.pad(field, (1, 1, 1, 1), mode="replicate")
    field = 0.25 * field[..., :-2] + 0.5 * field[..., 1:-1] + 0.25 * field[..., 2:]
    return 0.25 * field[..., :-2, :] + 0.5 * field[..., 1:-1, :] + 0.25 * field[..., 2:, :]


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
