# SPDX-License-Identifier: GPL-3.0-or-later
"""Where skin goes too far for its motion to be seen, it moves as the face mesh does."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from magplus.models.face import FarSkin
from magplus.models.face.mesh import FACE_OVAL, LEFT_LIDS, RIGHT_LIDS, RIGID_LANDMARKS
from tests.models.face.oval_face import SIDE, face

CORNER = np.array([160, 170])  # of the mouth
AWAY = [*FACE_OVAL, *LEFT_LIDS, *RIGHT_LIDS, *RIGID_LANDMARKS]
FAR = FarSkin(face(), SIDE)
NOTHING, ALL = torch.zeros(1, 2, SIDE, SIDE), torch.ones(1, 1, SIDE, SIDE)


def smiling(px):
    """The same face with one corner of the mouth drawn out by some px, and the cheek around it."""
    landmarks = face()
    near = np.exp(-0.5 * (np.linalg.norm(landmarks[:, :2] - CORNER, axis=1) / 25) ** 2)
    near[AWAY] = 0
    landmarks[:, :2] += px * near[:, None] * [0.8, -0.6]
    return landmarks


def measured(landmarks):
    """What a motion estimator says of it: two fifths of the motion, and as much across."""
    x, y = FAR(NOTHING, ALL, landmarks[None])[0][0]
    return 0.4 * torch.stack([x - y, x + y])[None]


def found(landmarks, motion):
    """The mesh's motion at the corner, and its share."""
    by_mesh, share = FAR(motion, ALL, landmarks[None])
    x, y = CORNER
    return by_mesh[0, :, y, x].numpy(), float(share[0, 0, y, x])


def test_a_broad_smile_is_the_mesh_s_where_the_picture_says_something_else():
    motion, share = found(smiling(20), measured(smiling(20)))
    assert share == 1
    assert motion @ [0.8, -0.6] > 10 and abs(motion @ [0.6, 0.8]) < 1


def test_what_the_picture_says_as_well_is_the_picture_s():
    by_mesh = FAR(NOTHING, ALL, smiling(20)[None])[0]
    _, share = FAR(0.8 * by_mesh, ALL, smiling(20)[None])
    assert float(share.max()) == 0


def test_what_moves_the_mesh_and_nothing_of_the_face_is_no_expression():
    """As a mask that is put on."""
    _, share = FAR(0.1 * measured(smiling(20)), ALL, smiling(20)[None])
    assert float(share.max()) == 0


def test_where_the_face_is_not_seen_nothing_goes_far():
    seen = ALL.clone()
    seen[..., 150:] = 0
    _, share = FAR(measured(smiling(20)), seen, smiling(20)[None])
    assert float((share * (1 - seen)).max()) == 0


@pytest.mark.parametrize("px", [0.0, 0.5, 3.0])
def test_a_small_expression_is_the_picture_s_whatever_the_mesh_says(px):
    motion, share = FAR(NOTHING + 0.4 * px, ALL, smiling(px)[None])
    assert float(motion.abs().max()) == float(share.max()) == 0 and share.shape == (1, 1, SIDE, SIDE)


@settings(max_examples=15, deadline=None)
@given(st.floats(-0.3, 0.3), st.floats(0.9, 1.1), st.floats(-15, 15))
def test_a_head_that_turns_moves_no_skin(turn, scale, shift):
    cosine, sine = np.cos(turn), np.sin(turn)
    turned = scale * (face() - 128) @ np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]]) + 128 + shift
    motion, _ = FAR(NOTHING, ALL, turned[None])
    assert float(motion.abs().max()) == 0


def test_a_smile_on_a_head_that_turns_is_the_same():
    cosine, sine = np.cos(0.1), np.sin(0.1)
    turned = (smiling(20) - 128) @ np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]]) + 128
    motion, share = found(turned, measured(turned))
    upright, _ = found(smiling(20), NOTHING)
    assert share == 1
    np.testing.assert_allclose(np.linalg.norm(motion), np.linalg.norm(upright), rtol=0.05)
