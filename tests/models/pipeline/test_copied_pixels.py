# SPDX-License-Identifier: GPL-3.0-or-later
"""What a codec copied is found in the decoded pictures and follows the crop, which hides it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from magplus.models.face import SteadyCrop
from magplus.models.face.mesh import FACE_OVAL
from magplus.models.face.similarity import Similarity
from magplus.models.magnification.copied_blocks import copied_of, copied_share, repeats_in
from magplus.models.pipeline.copied_pixels import CopiedPixels
from magplus.models.training.camera import h264
from magplus.models.training.scenes import filmed, random_texture
from magplus.models.video import VideoReader
from tests.models.clips import Encoding, write_clip

SIDE, SIZE = 256, 160  # px of the picture and of the crop
SWAY = Similarity(1.002, 0.004, 0.7, -0.4)  # of the head, which the crop follows
CROP = SteadyCrop((Similarity(), SWAY), Similarity(1 / 200, 0, -30 / 200, -24 / 200))


def oval() -> NDArray[np.float64]:
    """Landmarks of a face in the middle of the picture."""
    landmarks = np.full((478, 2), SIDE / 2)
    turn = np.linspace(0, 2 * np.pi, len(FACE_OVAL), endpoint=False)
    landmarks[list(FACE_OVAL)] += 80 * np.c_[np.sin(turn), -np.cos(turn)]
    return landmarks


FACE = oval()


@pytest.fixture(scope="module")
def pictures() -> tuple[Tensor, Tensor]:
    """A reference, and a frame whose right half has become brighter, with a sensor's noise."""
    picture, generator = random_texture(SIDE, np.random.default_rng(0)), torch.Generator().manual_seed(0)
    brighter = picture.clone()
    brighter[..., SIDE // 2 :] = (picture[..., SIDE // 2 :] + 0.1).clamp(max=1)
    reference, frame = (filmed(each, 2 / 255, generator) for each in (picture, brighter))
    return reference, frame


def as_frame(picture: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(picture[0].permute(1, 2, 0).numpy())


def test_a_decoded_picture_is_compared_as_a_batch_of_them_is(pictures: tuple[Tensor, Tensor]) -> None:
    """Where a codec has copied, and where pixels repeat by chance."""
    for reference, frame in (h264(pictures, 24), pictures):
        found = copied_of(repeats_in(as_frame(reference), as_frame(frame)))
        np.testing.assert_allclose(found, copied_share(reference, frame)[0, 0].numpy(), rtol=0, atol=1e-6)


def test_the_crop_shows_what_the_codec_copied_where_the_head_is(pictures: tuple[Tensor, Tensor]) -> None:
    reference, frame = h264(pictures, 24)
    find = CopiedPixels(as_frame(reference), 0, CROP, SIZE, FACE)
    copied = find(find.repeats(as_frame(frame)), 1)
    assert copied.shape == (1, 1, SIZE, SIZE) and 0 <= float(copied.min()) <= float(copied.max()) <= 1
    middle = round((SIDE / 2 - 30) / 200 * SIZE)  # column of the crop where the picture's middle is
    assert float(copied[..., : middle - 16].mean()) > 0.8
    assert float(copied[..., middle + 16 :].mean()) < 0.2
    crops = [CROP.crop(as_frame(picture), SIZE, index) for index, picture in enumerate((reference, frame))]
    hidden = copied_share(*crops)
    assert float(hidden[..., : middle - 16].mean()) < 0.2, "in the crops themselves it can't be found"


def test_without_a_codec_nothing_was_copied(pictures: tuple[Tensor, Tensor]) -> None:
    reference, frame = pictures
    find = CopiedPixels(as_frame(reference), 0, CROP, SIZE, FACE)
    for image in (frame, reference):
        assert not bool(find(find.repeats(as_frame(image)), 1).any())


def test_of_a_face_that_is_repeated_as_a_whole_all_is_copied(pictures: tuple[Tensor, Tensor]) -> None:
    """No end of it lies on a codec's grid, so that what is copied for certain is nothing."""
    reference, frame = (as_frame(picture) for picture in pictures)
    find = CopiedPixels(reference, 0, CROP, SIZE, FACE)
    assert find.repeated(find.repeats(reference)) == 1
    assert find.repeated(find.repeats(frame)) < 0.05, "of a sensor's noise hardly anything repeats"


@pytest.mark.parametrize(("encoder", "qualities"), [("libx264", (4, 14, 24, 33)), ("libx265", (12, 18, 24, 33))])
def test_the_stronger_the_compression_the_more_is_copied(
    encoder: str, qualities: tuple[int, ...], tmp_path: Path
) -> None:
    """Also under HEVC, whose blocks end on no grid that is found."""
    picture, generator = random_texture(SIDE, np.random.default_rng(0)), torch.Generator().manual_seed(0)
    taken = [(255 * as_frame(filmed(picture, 2 / 255, generator))).round().astype(np.uint8) for _ in range(6)]
    shares = []
    for quality in qualities:
        options = {"crf": str(quality), "x265-params": "log-level=none"}
        file = write_clip(tmp_path / f"{quality}.mp4", taken, encoding=Encoding(encoder, options=options))
        clip = VideoReader(file)
        assert clip.info.lossy
        reference, *frames = (frame.image for frame in clip)
        find = CopiedPixels(reference, 0, CROP, SIZE, FACE)
        shares.append(float(np.median([find.repeated(find.repeats(frame)) for frame in frames])))
    assert shares == sorted(shares) and shares[0] < 0.2 and shares[-1] > 0.8
