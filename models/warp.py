# SPDX-License-Identifier: GPL-3.0-or-later
"""Sampling pictures along motion fields with exact sub-pixel positions.

OpenCV's `remap` rounds positions to 1/32 px, which is as large as a micro-expression's motion in a small picture, so
everything that moves pixels goes through `torch.nn.functional.grid_sample`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def pixel_grid(height: int, width: int, device: torch.device | str = "cpu") -> Tensor:
    """Return the position of every pixel, [1, 2, H, W] float32 (x, y), pixel centres at integers."""
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float32, device=device),
        torch.arange(width, dtype=torch.float32, device=device),
        indexing="ij",
    )
    return torch.stack([x, y])[None]


def sample(image: Tensor, positions: Tensor, mode: str = "bilinear") -> Tensor:
    """Return `image` [N or 1, C, H, W] at `positions` [N or 1, 2, h, w] px; outside, the border is repeated.

    `mode` is "bilinear" or "bicubic".
    """
    height, width = image.shape[-2:]
    count = max(image.shape[0], positions.shape[0])
    scale = positions.new_tensor([2 / max(width - 1, 1), 2 / max(height - 1, 1)]).view(1, 2, 1, 1)
    grid = (positions * scale - 1).permute(0, 2, 3, 1).expand(count, -1, -1, -1)
    return F.grid_sample(image.expand(count, -1, -1, -1), grid, mode=mode, padding_mode="border", align_corners=True)


def backward_displacement(flow: Tensor, iterations: int = 6) -> Tensor:
    """Return e with e(y) = flow(y - e(y)): how far each pixel of the *moved* picture has come. [N, 2, H, W] px.

    A flow says where the pixels of the reference go; a picture is made by asking every pixel of the result where it
    comes from. The fixed point converges where the flow's slope stays below 1, which holds for faces.
    """
    grid = pixel_grid(flow.shape[-2], flow.shape[-1], flow.device)
    displacement = flow
    for _ in range(iterations):
        displacement = sample(flow, grid - displacement)
    return displacement


def move(image: Tensor, flow: Tensor, mode: str = "bicubic") -> Tensor:
    """Return `image` [1 or N, C, H, W] with its content moved along `flow` [N, 2, H, W] px."""
    grid = pixel_grid(flow.shape[-2], flow.shape[-1], flow.device)
    return sample(image, grid - backward_displacement(flow), mode)


def resize_flow(flow: Tensor, height: int, width: int) -> Tensor:
    """Return `flow` [N, 2, H, W] on a grid of another size, in px of that size.

    Pixel centres are at integers and the picture's outer edges coincide, as in every image resize.
    """
    scale = flow.new_tensor([width / flow.shape[-1], height / flow.shape[-2]]).view(1, 2, 1, 1)
    return F.interpolate(flow, size=(height, width), mode="bilinear", align_corners=False) * scale
