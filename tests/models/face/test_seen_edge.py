# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion eases to rest at the edge of what is seen."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from magplus.models.face import eased

SIDE = 48
Y, X = np.mgrid[:SIDE, :SIDE]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 47), st.integers(0, 47), st.floats(4, 20), st.floats(0.1, 30), st.floats(0, 2 * np.pi))
def test_no_picture_is_torn_where_a_cover_begins(x, y, radius, px, way):
    """Neighbouring pixels never go through each other."""
    seen = torch.from_numpy((np.hypot(X - x, Y - y) > radius).astype(np.float32))[None, None]
    flow = px * torch.tensor([np.cos(way), np.sin(way)]).float().view(1, 2, 1, 1).expand(1, 2, SIDE, SIDE)
    kept = eased(flow, seen)
    assert float((kept * (1 - seen)).abs().max()) == 0
    assert float(kept.norm(dim=1).max()) <= px * (1 + 1e-6)
    for axis in (2, 3):
        assert float(kept.diff(dim=axis).norm(dim=1).max()) <= 0.75  # of 1 px between them


def test_a_micro_expression_loses_nothing_a_pixel_from_the_edge():
    seen = torch.from_numpy((X > 10).astype(np.float32))[None, None]
    flow = torch.full((1, 2, SIDE, SIDE), 0.35)
    assert torch.equal(eased(flow, seen)[..., 12:], flow[..., 12:])


def test_frames_in_which_all_is_seen_stay_as_they_are():
    flow = torch.randn(2, 2, SIDE, SIDE) * 9
    seen = torch.ones(2, 1, SIDE, SIDE)
    assert eased(flow, seen) is flow
    seen[1, 0, :, 30:] = 0
    assert torch.equal(eased(flow, seen)[0], flow[0])
