# SPDX-License-Identifier: GPL-3.0-or-later
"""Anchors: a face that a person lays onto the avatar."""

import numpy as np
import pytest

from magplus.backend_bridge.files.errors import InputError
from magplus.backend_bridge.job.spec import Anchor, Expected
from magplus.backend_bridge.rig.anchors import FACE_ANCHORS
from magplus.models.face import FaceLandmarker, select_face
from magplus.models.pipeline.avatar import AvatarPicture
from magplus.models.pipeline.placement import anchors_on, find_avatar_face
from magplus.models.video import VideoReader, encode_png


@pytest.fixture(scope="module")
def face(real_clip):
    """The landmarks of a real person."""
    with FaceLandmarker() as landmarker:
        return select_face(landmarker.detect(next(iter(VideoReader(real_clip))).image)).points


@pytest.fixture(scope="module")
def drawing(tmp_path_factory):
    """A picture without a face that any detector would know."""
    path = tmp_path_factory.mktemp("drawing") / "creature.png"
    path.write_bytes(encode_png(np.random.default_rng(0).uniform(0, 1, (360, 640, 3))))
    return AvatarPicture.read(path)


def at(face, index):
    return face[index, :2].astype(float)


def test_moving_one_anchor_moves_its_surroundings_and_nothing_else(real_clip, face, tmp_path):
    path = tmp_path / "person.png"
    path.write_bytes(encode_png(next(iter(VideoReader(real_clip))).image))
    corner = FACE_ANCHORS["mouth, left corner"]
    x, y = at(face, corner) + np.array([12, -5])
    with FaceLandmarker() as landmarker:
        picture = AvatarPicture.read(path)
        found = find_avatar_face(picture, None, None, landmarker, face).landmarks
        moved = find_avatar_face(picture, None, None, landmarker, face, [Anchor(corner, (x, y))]).landmarks
    np.testing.assert_allclose(moved[corner, :2], [x, y], atol=1e-2)
    for index in set(FACE_ANCHORS.values()) - {corner}:
        np.testing.assert_allclose(moved[index, :2], found[index, :2], atol=1e-2)
    assert np.abs(moved - found)[10].max() < 2  # the forehead hardly notices
    places = {anchor.landmark: anchor.position for anchor in anchors_on(moved)}
    assert places[corner] == pytest.approx((x, y), abs=1e-2)


def test_three_anchors_place_a_face_where_nothing_else_can(face, drawing):
    wanted = face * [0.5, 0.6, 0.5] + [200, 40, 0]
    anchors = [Anchor(index, tuple(map(float, wanted[index, :2]))) for index in (263, 33, 152)]
    with FaceLandmarker() as landmarker:
        found = find_avatar_face(drawing, None, None, landmarker, face, anchors)
        with pytest.raises(InputError, match="place at least three anchors"):
            find_avatar_face(drawing, None, None, landmarker, face, anchors[:2])
    assert not found.detected
    np.testing.assert_allclose(found.landmarks[:, :2], wanted[:, :2], atol=0.1)


@pytest.mark.parametrize(
    ("anchors", "sentence"),
    [
        ([Anchor(4, (900.0, 10.0))], "'nose, tip' lies outside the avatar's picture"),
        ([Anchor(4, (90.0, 10.0)), Anchor(5, (90.0, 10.1))], "on the same place"),
        ([Anchor(33, (90.0, 10.0)), Anchor(263, (190.0, 20.0)), Anchor(4, (290.0, 30.0))], "on one line"),
    ],
)
def test_anchors_that_can_not_be_are_one_sentence(face, drawing, anchors, sentence):
    with FaceLandmarker() as landmarker, pytest.raises(InputError, match=sentence):
        find_avatar_face(drawing, None, None, landmarker, face, anchors)


def expected_on(face, sure, **shifts):
    """What a rig tells of this face, with the anchors that a word is in moved by (x, y) px."""
    moved = {
        name: at(face, index) + next((shift for word, shift in shifts.items() if word in name), (0.0, 0.0))
        for name, index in FACE_ANCHORS.items()
        if any(word in name for word in ("eye", "brow", "mouth"))
    }
    return [Expected(FACE_ANCHORS[name], tuple(map(float, place)), sure) for name, place in moved.items()]


@pytest.mark.parametrize(
    ("sure", "shifts", "followed"),
    [
        (True, {}, True),
        (False, {"mouth": (0.0, 8.0)}, True),  # a smile moves cheeks as well
        (False, {"mouth": (0.0, 70.0)}, False),
        (True, {"brow": (0.0, -20.0)}, False),  # a mesh called brow is the brow
    ],
)
def test_a_detection_is_followed_where_the_rig_agrees(real_clip, face, tmp_path, sure, shifts, followed):
    path = tmp_path / "person.png"
    path.write_bytes(encode_png(next(iter(VideoReader(real_clip))).image))
    expected = expected_on(face, sure, **shifts)
    with FaceLandmarker() as landmarker:
        found = find_avatar_face(AvatarPicture.read(path), None, None, landmarker, face, expected=expected)
    assert found.detected is followed and found.rejected is not followed
    if not followed:
        for anchor in expected:
            np.testing.assert_allclose(found.landmarks[anchor.landmark, :2], anchor.position, atol=8)


def test_a_face_that_no_detector_knows_lies_where_the_rig_has_it(face, drawing):
    wanted = face * [0.5, 0.6, 0.5] + [200, 40, 0]
    with FaceLandmarker() as landmarker:
        found = find_avatar_face(drawing, None, None, landmarker, face, expected=expected_on(wanted, True))
    assert not found.detected and not found.rejected
    np.testing.assert_allclose(found.landmarks[:, :2], wanted[:, :2], atol=3)
