# SPDX-License-Identifier: GPL-3.0-or-later
"""What counts as a head that turns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from magplus.models.face import head_turning

SIDE = 96


def plane(a: float, b: float, shift: float) -> Tensor:
    """Motion of a picture that is scaled, turned in its plane and shifted."""
    y, x = torch.meshgrid(torch.arange(SIDE).float() - 48, torch.arange(SIDE).float() - 48, indexing="ij")
    return torch.stack([a * x - b * y + shift, b * x + a * y - shift])[None]


def turn(degrees: float) -> Tensor:
    """Motion of a ball as large as the picture that turns about its upright axis."""
    y, x = torch.meshgrid(torch.arange(SIDE).float() - 48, torch.arange(SIDE).float() - 48, indexing="ij")
    depth = (48.0**2 - x * x - y * y).clamp(min=0).sqrt()
    angle = np.deg2rad(degrees)
    return torch.stack([x * (np.cos(angle) - 1) + depth * np.sin(angle), 0 * x])[None]


def everywhere() -> Tensor:
    return torch.ones(1, 1, SIDE, SIDE)


@pytest.mark.parametrize("motion", [plane(0, 0, 4), plane(0.1, 0, 0), plane(0, 0.1, 0), plane(-0.05, 0.03, 2)])
def test_a_crop_that_moves_is_no_head_that_turns(motion):
    assert head_turning(motion, everywhere()).item() == pytest.approx(0, abs=1e-4)


def test_a_head_that_turns_counts_with_all_of_its_motion():
    motion = turn(10)
    whole = motion.square().sum(1).sqrt().mean().item()
    assert head_turning(motion, everywhere()).item() == pytest.approx(whole, rel=0.02)
    assert head_turning(motion + plane(0, 0, 30), everywhere()).item() < 3 * whole


def test_what_is_not_seen_of_the_head_does_not_count():
    motion = plane(0, 0, 1)
    motion[..., 48:] += 9
    seen = everywhere()
    seen[..., 48:] = 0
    assert head_turning(motion, seen).item() == pytest.approx(0, abs=1e-4)
    assert head_turning(motion, 0 * seen).item() == 0


def test_frames_are_told_apart():
    found = head_turning(torch.cat([plane(0, 0, 4), turn(10)]), everywhere())
    assert found[0] < 1e-4 < found[1]
