# SPDX-License-Identifier: GPL-3.0-or-later
"""The square that a backend is shown, and its way back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from magplus.models.backends.framing import Framing


@pytest.mark.parametrize("framing", [Framing(-40, 30, 600), Framing(100, 90, 256), Framing(0, 0, 512)])
def test_what_is_cut_out_is_put_back_in_its_place(framing):
    y, x = torch.meshgrid(torch.linspace(0, 6, 512), torch.linspace(0, 6, 512), indexing="ij")
    picture = (0.5 + 0.4 * torch.stack([x.sin(), y.cos(), (x + y).sin()]))[None]
    back = framing.put_back(framing.cut(picture, 512, mode="bicubic"), 512)
    inside = np.s_[
        :,
        :,
        max(framing.top, 0) : framing.top + framing.side,
        max(framing.left, 0) : framing.left + framing.side,
    ]
    torch.testing.assert_close(back[inside], picture[inside], atol=0.01, rtol=0)


def test_a_size_of_its_own():
    """What a network draws larger than the picture comes back larger, too."""
    picture = torch.rand(1, 3, 64, 64)
    framing = Framing(-8, 0, 64)
    back = framing.put_back(torch.ones(1, 3, 128, 128), 64)
    assert framing.cut(picture, 64).shape == (1, 3, 64, 64) and back.shape == (1, 3, 128, 128)


def test_landmarks_go_with_what_is_cut_out():
    picture = torch.zeros(1, 1, 100, 100)
    picture[..., 40, 30] = 1
    framing = Framing(20, 20, 40)
    at = framing.landmarks(np.array([[30.0, 40.0]]), 160)[0]
    seen = framing.cut(picture, 160)[0, 0]
    y, x = (axis.float() for axis in torch.meshgrid(torch.arange(160), torch.arange(160), indexing="ij"))
    centre = [(seen * axis).sum() / seen.sum() for axis in (x, y)]
    np.testing.assert_allclose(at, centre, atol=1e-3)
