# SPDX-License-Identifier: GPL-3.0-or-later
"""The squares that backends are shown: those of their authors' recipes, level with the face, of the picture itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from magplus.models.backends import Framing, emoportraits, liveportrait
from magplus.models.backends.framing import DetectorFraming
from magplus.models.face import FaceLandmarker, Similarity, Square, SteadyCrop, Window, roll, select_face
from magplus.models.face.mesh import JAW, LEFT_EYEBROW, RIGHT_EYEBROW
from magplus.models.video import VideoReader

DEMO = (640, 640)  # px of the demo's avatar, whose face covers this box of them
DEMO_LOW, DEMO_HIGH = np.array([194.6, 168.9]), np.array([444.3, 465.2])
TILTS = [0, 15, 25, 40]
LIVE, EMO = liveportrait.PublishedFraming(), emoportraits.PublishedFraming()


@pytest.fixture(scope="module")
def picture(real_clip):
    return next(iter(VideoReader(real_clip))).image


@pytest.fixture(scope="module")
def found(picture):
    """A real face's landmarks."""
    with FaceLandmarker() as landmarker:
        return select_face(landmarker.detect(picture)).points


@pytest.fixture(scope="module")
def face(found):
    """The same, level and where the demo's avatar has its face."""
    level = turned(found, -math.degrees(roll(found)), (320, 180))
    low, high = level[:468, :2].min(0), level[:468, :2].max(0)
    scale = (DEMO_HIGH - DEMO_LOW) / (high - low)
    return np.c_[(level[:, :2] - low) * scale + DEMO_LOW, level[:, 2]].astype(np.float32)


def turned(landmarks, degrees, centre):
    """Landmarks turned clockwise, as seen, about a point."""
    angle = math.radians(degrees)
    turn = Similarity(math.cos(angle), math.sin(angle))
    x, y = np.array(centre) - turn(np.array(centre, float))
    return Similarity(turn.a, turn.b, float(x), float(y))(landmarks.astype(float)).astype(np.float32)


@pytest.mark.parametrize("framing", [Framing(), DetectorFraming(), LIVE, EMO])
def test_at_most_a_tenth_of_the_demos_avatar_is_invented(face, framing):
    assert framing.source(face, DEMO).invented(DEMO) <= 0.1


@pytest.mark.parametrize("degrees", TILTS)
def test_liveportraits_square_is_that_of_its_authors_recipe(face, degrees):
    """Around jaw and brows, along the line from the eyes to the lips: 2.3 times, raised by an eighth of the side."""
    landmarks = turned(face, degrees, (320, 320))
    eyes = landmarks[[33, 133, 159, 145, 263, 362, 386, 374], :2].mean(0)
    down = landmarks[[61, 291], :2].mean(0) - eyes
    down /= np.linalg.norm(down)
    across = np.array([down[1], -down[0]])
    points = landmarks[[*JAW, *RIGHT_EYEBROW, *LEFT_EYEBROW], :2] @ np.stack([across, down]).T
    low, high = points.min(0), points.max(0)
    for square, scale, raised in (
        (LIVE.source(landmarks, DEMO), 2.3, 0.125),
        (LIVE.driver(landmarks[None, :, :2], 0, DEMO), 2.2, 0.1),
    ):
        side = scale * (high - low).max()
        centre = (low + high) / 2 - [0, raised * side]
        assert square.side == pytest.approx(side, rel=1e-4)
        np.testing.assert_allclose(square.centre, centre @ np.stack([across, down]), atol=0.05)
        assert math.degrees(square.angle) == pytest.approx(math.degrees(math.atan2(across[1], across[0])), abs=0.01)
    assert LIVE.beyond == "black"


def test_emoportraits_square_is_that_of_its_authors_recipe(face):
    """The detector's box, a little higher and a fifth longer; its width and height together; inside the picture."""
    low, high = face[:468, :2].min(0), face[:468, :2].max(0)
    box = 0.92 * (high - low).max()
    x, y = (low + high) / 2 + [0, 0.045 * (high - low).max()]
    top, bottom = 0.9 * (y - box / 2), min(y - box / 2 + 1.2 * box, DEMO[1] - 1)
    side, centre = box + bottom - top, np.array([x, (top + bottom) / 2])
    over = max(0, *(side / 2 - centre), *(centre + side / 2 - DEMO))
    square = EMO.source(face, DEMO)
    assert square.side == pytest.approx(side - 2 * over, abs=1)
    np.testing.assert_allclose(square.centre, centre, atol=1)
    assert square.invented(DEMO) == 0
    assert EMO.driver(face[None, :, :2], 0, DEMO).side == pytest.approx(square.side, abs=0.1)


def test_the_square_of_fomm_and_fsrt_is_that_of_their_authors_recipe(face):
    low, high = face[:468, :2].min(0), face[:468, :2].max(0)
    square = DetectorFraming().source(face, DEMO)
    assert square.side == pytest.approx(1.2 * (high - low).max(), rel=1e-3)
    np.testing.assert_allclose(square.centre, (low + high) / 2, atol=0.5)


@pytest.mark.parametrize("framing", [Framing(), DetectorFraming(), LIVE, EMO])
@pytest.mark.parametrize("degrees", TILTS)
def test_a_tilted_avatar_comes_level(face, framing, degrees):
    centre = (face[:468, :2].min(0) + face[:468, :2].max(0)) / 2
    landmarks = turned(face, degrees, centre)
    square = framing.source(landmarks, DEMO)
    crops = [Window(each, 256).landmarks(points) for each, points in (
        (square, landmarks), (framing.source(face, DEMO), face))]  # fmt: skip
    assert math.degrees(roll(crops[0])) == pytest.approx(math.degrees(roll(crops[1])), abs=0.2)
    assert math.degrees(square.angle) == pytest.approx(degrees, abs=3)


@pytest.mark.parametrize("degrees", TILTS)
def test_what_a_window_shows_goes_back_where_it_came_from(degrees):
    window = Window.around((200.0, 150.0), 90, 64, math.radians(degrees))
    y, x = torch.meshgrid(torch.arange(300.0), torch.arange(400.0), indexing="ij")
    ramps = torch.stack([x / 400, y / 300])[None]
    crop = window.cut(ramps)
    there = window.to_picture(torch.tensor([[10.0, 40.0], [20.0, 30.0]]).view(1, 2, 2, 1))
    for k, (i, j) in enumerate(((10, 20), (40, 30))):
        at = there[0, :, k, 0]
        torch.testing.assert_close(crop[0, :, j, i], at / torch.tensor([400.0, 300.0]), atol=2e-3, rtol=0)
    back = window.to_crop(there)
    torch.testing.assert_close(back[0, 0, :, 0], torch.tensor([10.0, 40.0]), atol=1e-3, rtol=0)
    up = window.turned_back(torch.tensor([0.0, -1.0]).view(1, 2, 1, 1)).flatten()
    angle = math.radians(degrees)
    expected = torch.tensor([math.sin(angle), -math.cos(angle)]) * window.scale
    torch.testing.assert_close(up, expected, atol=1e-5, rtol=0)


def test_black_or_repeated_beyond_the_picture(picture, found):
    white = np.ones_like(picture)
    square = Square((0.0, 180.0), 100.0)
    for beyond, value in (("black", 0.0), ("repeated", 1.0)):
        crop = Window(square, 50, beyond).cut(torch.from_numpy(white.transpose(2, 0, 1))[None])
        steady = SteadyCrop.around(found[None]).framed(square, beyond).crop(white, 50)
        for each in (crop, steady):
            assert each[0, 0, 25, [5, 45]].tolist() == pytest.approx([value, 1.0], abs=1e-5)
    assert square.invented((640, 360)) == pytest.approx(0.5, abs=0.02)
