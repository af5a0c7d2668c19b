# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotations in a plane of two axes, of which heads' poses are composed."""

from __future__ import annotations

import torch
from torch import Tensor


def rotation_in(angle: Tensor, i: int, j: int, axes: int) -> Tensor:
    """Turn axis i towards axis j by [N] rad: [N, axes, axes].

    >>> rotation_in(torch.tensor([torch.pi / 2]), 0, 1, 3).round().int().tolist()
    [[[0, -1, 0], [1, 0, 0], [0, 0, 1]]]
    """
    turn = torch.eye(axes).to(angle).repeat(len(angle), 1, 1)
    turn[:, i, i] = turn[:, j, j] = angle.cos()
    turn[:, j, i] = angle.sin()
    turn[:, i, j] = -angle.sin()
    return turn
