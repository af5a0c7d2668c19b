# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures larger than those of the training: the finest motion is in the finest detail, as are a codec's errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from magplus.models.magnification import Magnifier
from magplus.models.magnification.magnifier import LARGEST_SIDE, LEARNED_SIDE
from magplus.models.training.scenes import filmed, random_texture
from magplus.models.warp import move, pixel_grid, resize_flow

SIDE = LARGEST_SIDE + 64
CORNER = 10.0  # px, standard deviation: a lip corner in a face that fills such a picture


@pytest.fixture(scope="module")
def magplus() -> Magnifier:
    return Magnifier.load("magplus", "cpu")


def film(noise: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return a reference, two frames alike but for their noise, and their motion [1, 2, S, S] px."""
    texture, generator = random_texture(SIDE, np.random.default_rng(3)), torch.Generator().manual_seed(5)
    x, y = (pixel_grid(SIDE, SIDE, texture.device) - SIDE / 2).unbind(1)
    there = torch.exp(-(x.square() + y.square()) / (2 * CORNER**2))
    motion = torch.stack([0.3 * there, there], 1)
    moved = move(texture, motion).clamp(0, 1)
    return filmed(texture, noise, generator), filmed(torch.cat([moved, moved]), noise, generator), motion


def reduced(magplus: Magnifier, reference: Tensor, frames: Tensor, copied: Tensor) -> Tensor:
    """Return the motion of pictures that were reduced to the size of the training."""
    size = (LEARNED_SIDE, LEARNED_SIDE)
    reference, frames, copied = (
        F.interpolate(each, size, mode="bilinear", antialias=True, align_corners=False)
        for each in (reference, frames, copied)
    )
    return resize_flow(magplus.motion(reference, frames, clip=True, copied=copied).flow, SIDE, SIDE)


def error(motion: Tensor, truth: Tensor) -> float:
    return float((motion - truth).norm() / truth.expand_as(motion).norm())


@pytest.mark.parametrize("noise", [0.0, 2 / 255])
def test_a_large_picture_from_a_sensor_is_measured_in_all_its_detail(magplus: Magnifier, noise: float) -> None:
    reference, frames, motion = film(noise)
    nothing = torch.zeros_like(frames[:, :1])
    found = magplus.motion(reference, frames, clip=True, copied=nothing).flow
    assert error(found, motion) < 0.75 * error(reduced(magplus, reference, frames, nothing), motion)


def test_a_large_picture_with_errors_of_a_codec_is_reduced_with_all_frames_beside_it(magplus: Magnifier) -> None:
    reference, frames, _ = film(1 / 255)
    copied = torch.zeros_like(frames[:, :1])
    copied[1] = 0.5
    found = magplus.motion(reference, frames, clip=True, copied=copied).flow
    assert torch.allclose(found, reduced(magplus, reference, frames, copied), atol=1e-4)
