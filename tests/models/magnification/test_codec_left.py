# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmark takes for the most that could be known of a motion after a codec."""

from __future__ import annotations

import torch

from magplus.benchmarks._magnification.codec_left import joined, where_coded


def _bump() -> torch.Tensor:
    """A motion of 1 px to the right in the middle of a picture, smooth: [1, 2, 128, 128]."""
    y, x = torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
    bell = torch.exp(-((x - 64) ** 2 + (y - 64) ** 2) / (2 * 24**2))
    return torch.stack([bell, 0 * bell])[None]


def test_a_smooth_motion_that_is_known_in_a_fifth_of_its_blocks_is_found_between_them() -> None:
    generator = torch.Generator().manual_seed(0)
    coded = (torch.rand(1, 1, 16, 16, generator=generator) < 0.2).float()
    copied = 1 - coded.repeat_interleave(8, 2).repeat_interleave(8, 3)
    motion = _bump()
    off, alone = ((each - motion).norm(dim=1).sum() for each in (joined(motion, copied), where_coded(motion, copied)))
    assert off < 0.2 * alone


def test_of_a_picture_that_was_copied_whole_nothing_is_known() -> None:
    copied = torch.ones(1, 1, 128, 128)
    assert joined(_bump(), copied).abs().max() < 1e-6
    assert where_coded(_bump(), copied).abs().max() == 0
