# SPDX-License-Identifier: GPL-3.0-or-later
"""What moves before the face is told from skin by how its motion falls off."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from magplus.models.face import MovingCover
from tests.models.face.oval_face import SIDE, WIDTH, face

Y, X = np.mgrid[:SIDE, :SIDE]
COVER = MovingCover(face(), SIDE)


def found(amount, motion=(0.6, -0.8), seen=1.0):
    """Where something is found in motion of `amount` [S, S] px."""
    local = torch.from_numpy(np.stack([motion[0] * amount, motion[1] * amount])[None]).float()
    return COVER(local, torch.full((1, 1, SIDE, SIDE), seen))[0, 0].numpy() > 0


def solid(x, y, radius, px):
    """A disc that moves as one piece, as a smooth motion field has it."""
    return px * np.clip((radius + 4 - np.hypot(X - x, Y - y)) / 8, 0, 1)


@settings(max_examples=20, deadline=None)
@given(st.floats(100, 156), st.floats(130, 175), st.floats(20, 32), st.floats(2.0, 8.0), st.floats(0, 2 * np.pi))
def test_a_solid_thing_is_found_wherever_it_moves_to(x, y, radius, px, way):
    cover = found(solid(x, y, radius, px), (np.cos(way), np.sin(way)))
    away = np.hypot(X - x, Y - y)
    assert cover[away < radius - 4].all() and not cover[away > radius + 8].any()


@settings(max_examples=20, deadline=None)
@given(st.floats(90, 166), st.floats(80, 190), st.floats(6, 40), st.floats(0.3, 10.0), st.floats(1.0, 1.6))
def test_skin_whose_motion_falls_off_is_none(x, y, width, px, long):
    """A Gaussian is cut off least steeply of all that skin is known to do; `long`: of a brow.

    One as wide as the face is cut off by its edge.
    """
    assume(long * width < WIDTH / 3)
    skin = px * np.exp(-0.5 * (((X - x) / (long * width)) ** 2 + ((Y - y) / width) ** 2))
    assert not found(skin).any()


@pytest.mark.parametrize("px", [2.0, 4.0, 8.0])
@pytest.mark.parametrize(("x", "y"), [(95, 85), (161, 85), (128, 170)])
def test_a_brow_that_lowers_as_one_and_a_broad_smile_are_none(x, y, px):
    """Flat on top as a real person's were: 0.60 of what moves by two fifths moves by four fifths of it."""
    away = np.hypot((X - x) / 30, (Y - y) / 18)
    skin = px * np.exp(-(away**5.5))
    assert 0.58 < (skin[skin > 0.4 * px] > 0.8 * px).mean() < 0.62
    assert not found(skin).any()


def test_a_lid_that_closes_is_none_though_it_has_an_edge():
    assert not found(5.0 * (np.hypot((X - 95) / 15, (Y - 105) / 9) < 1)).any()


@pytest.mark.parametrize("px", [0.0, 0.5, 1.2])
def test_less_than_a_hundredth_of_the_face_is_left_to_the_controls(px):
    assert not found(solid(128, 160, 28, px)).any()


@pytest.mark.parametrize(("along", "thing"), [(0.0, True), (0.1, True), (0.3, False)])
def test_skin_that_moves_as_one_is_told_by_what_moves_along_far_beside_it(along, thing):
    """A nose on a head that turns, a chin under lips that are pressed; beside a thing hardly anything moves."""
    skin = np.exp(-0.5 * (((X - 128) / 50) ** 2 + ((Y - 165) / 40) ** 2))
    moved = np.maximum(solid(128, 165, 24, 3.0), along * 3.0 * skin)
    assert found(moved).any() == thing


def test_most_of_the_face_moving_alike_is_the_head_and_no_thing():
    assert not found(np.full((SIDE, SIDE), 3.0)).any()
    assert not found(solid(128, 140, 70, 3.0)).any()


def test_what_is_not_seen_anyway_is_not_looked_for():
    assert not found(solid(128, 160, 28, 4.0), seen=0.0).any()
