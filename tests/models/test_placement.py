# SPDX-License-Identifier: GPL-3.0-or-later
"""Anchors: a face that a person lays onto the avatar."""

import numpy as np
import pytest

from backend_bridge.errors import InputError
from backend_bridge.face_anchors import FACE_ANCHORS
from backend_bridge.job import Anchor
from models.avatar import AvatarPicture
from models.face import FaceLandmarker, select_face
from models.placement import anchors_on, find_avatar_face, pinned
from models.video import VideoReader, encode_png


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


def test_the_mesh_passes_through_every_anchor_and_keeps_its_place_at_those_that_did_not_move(face):
    anchors = {each.landmark: each for each in anchors_on(face)}
    corner = FACE_ANCHORS["mouth, left corner"]
    x, y = at(face, corner)
    anchors[corner] = Anchor(corner, (x + 12, y - 5))
    moved = pinned(face, tuple(anchors.values()))
    np.testing.assert_allclose(moved[corner, :2], [x + 12, y - 5], atol=1e-2)
    for index in FACE_ANCHORS.values():
        if index != corner:
            np.testing.assert_allclose(moved[index, :2], face[index, :2], atol=1e-2)
    assert np.abs(moved - face)[10].max() < 2  # the forehead hardly notices


def test_one_anchor_shifts_two_turn_and_scale_three_stretch(face):
    left, right, chin = 263, 33, 152
    shifted = pinned(face, [Anchor(left, tuple(at(face, left) + 7))])
    np.testing.assert_allclose(shifted[:, :2], face[:, :2] + 7, atol=1e-3)
    middle = (at(face, left) + at(face, right)) / 2
    twice = [Anchor(index, tuple(2 * at(face, index) - middle)) for index in (left, right)]
    np.testing.assert_allclose(pinned(face, twice)[:, :2], 2 * face[:, :2] - middle, atol=1e-2)
    stretched = [Anchor(index, tuple(at(face, index) * [1, 1.5])) for index in (left, right, chin)]
    np.testing.assert_allclose(pinned(face, stretched)[:, :2], face[:, :2] * [1, 1.5], atol=1e-2)


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
