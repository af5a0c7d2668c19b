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


FACE = torch.ones(1, 1, SIDE, SIDE)


def seen(columns: int = SIDE) -> Tensor:
    """Where the face is seen, when something hides all columns from one on."""
    where = FACE.clone()
    where[..., columns:] = 0
    return where


@pytest.mark.parametrize("motion", [plane(0, 0, 4), plane(0.1, 0, 0), plane(0, 0.1, 0), plane(-0.05, 0.03, 2)])
def test_a_crop_that_is_pushed_by_what_hides_the_face_is_no_head_that_turns(motion):
    assert head_turning(motion, FACE, seen(70)).item() == pytest.approx(0, abs=1e-4)
    whole = motion.square().sum(1).sqrt().mean().item()
    assert head_turning(motion, FACE, seen()).item() == pytest.approx(whole, rel=0.02), "nothing hides it"


@pytest.mark.parametrize("columns", [70, SIDE])
def test_a_head_that_turns_counts_with_all_of_its_motion(columns):
    motion = turn(10)
    whole = motion[..., :columns].square().sum(1).sqrt().mean().item()
    assert head_turning(motion, FACE, seen(columns)).item() == pytest.approx(whole, rel=0.02)


def test_what_is_not_seen_of_the_head_does_not_count():
    motion = plane(0, 0, 1)
    motion[..., 48:] += 9
    assert head_turning(motion, FACE, seen(48)).item() == pytest.approx(0, abs=1e-4)
    assert head_turning(motion, FACE, 0 * FACE).item() == 0


def test_frames_are_told_apart():
    found = head_turning(torch.cat([plane(0, 0, 4), turn(10)]), FACE, seen(70).expand(2, -1, -1, -1))
    assert found[0] < 1e-4 < found[1]
