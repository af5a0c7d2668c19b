# SPDX-License-Identifier: GPL-3.0-or-later
"""A rolling shutter's wobble is taken out of a clip, and nothing else is taken for one."""

from fractions import Fraction
from itertools import islice

import cv2
import numpy as np
import pytest
import torch

from magplus.models.face import FaceLandmarker, SteadyCrop, follow_face
from magplus.models.face.wobble import wobbling
from magplus.models.video import VideoFrame, VideoReader

FRAMES = 5


@pytest.fixture(scope="module")
def landmarker():
    with FaceLandmarker() as found:
        yield found


@pytest.fixture(scope="module")
def picture(real_clip):
    return next(iter(VideoReader(real_clip))).image


def shaken(picture, index, px):
    """Shift the rows of a picture as a phone that is shaken does; the first frame is still."""
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]].astype(np.float32)
    shift = px * np.sin(2 * np.pi * (1.7 * index + y / 300)) * (index > 0)
    return cv2.remap(picture, (x + shift).astype(np.float32), y, cv2.INTER_CUBIC, None, cv2.BORDER_REPLICATE)


def followed(pictures, landmarker):
    images = [np.ascontiguousarray(each).clip(0, 1) for each in pictures]
    frames = [VideoFrame(index, Fraction(index, 25), image) for index, image in enumerate(images)]
    track = follow_face(frames, landmarker)
    return SteadyCrop.follow(track, 0).refined(frames, track, 0)


def difference(crop, pictures):
    """Return the rms difference of the crops from the first one, in the middle, where the face is."""
    first, *others = (crop.crop(each, 128, index)[..., 32:96, 32:96] for index, each in enumerate(pictures))
    return max(float((each - first).square().mean().sqrt()) for each in others)


@pytest.mark.parametrize("turned", [False, True], ids=["rows", "columns, a phone held upright"])
def test_wobbling_lines_stand_still_in_the_crop(landmarker, picture, turned):
    pictures = [shaken(picture.transpose(1, 0, 2) if turned else picture, index, 2.0) for index in range(FRAMES)]
    pictures = [np.ascontiguousarray(each.transpose(1, 0, 2) if turned else each) for each in pictures]
    crop = followed(pictures, landmarker)
    assert crop.wobble is not None and crop.wobble.lines == ("columns" if turned else "rows")
    as_it_was = SteadyCrop(crop.to_reference, crop.to_unit, crop.beyond)
    assert difference(crop, pictures) < 0.35 * difference(as_it_was, pictures)


def test_people_who_move_and_speak_do_not_wobble(landmarker, real_clip, other_person):
    for clip in (real_clip, other_person):
        pictures = [frame.image for frame in islice(VideoReader(clip), 0, 120, 4)]
        assert followed(pictures, landmarker).wobble is None


def test_a_picture_that_shakes_as_a_whole_does_not_wobble(landmarker, picture):
    pictures = [np.roll(picture, 2 * (index % 3), axis=1) for index in range(FRAMES)]
    assert followed(pictures, landmarker).wobble is None


def test_of_rows_and_columns_that_both_seem_to_wobble_the_farther_shifted_do():
    frames, lines = torch.arange(9.0)[:, None], torch.linspace(0, 6, 24)
    shaken = torch.stack([torch.sin(lines + frames)] * 2, 1)
    assert wobbling({"rows": 0.1 * shaken, "columns": 0.2 * shaken}) == "columns"
    assert wobbling({"rows": 0.2 * shaken, "columns": 0.1 * shaken}) == "rows"
