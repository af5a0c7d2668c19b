# SPDX-License-Identifier: GPL-3.0-or-later
"""References that lie outside the trim."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from magplus.backend_bridge.files.errors import InputError
from magplus.backend_bridge.job.spec import Driving
from magplus.models.face import FaceLandmarker, FaceLandmarks, FaceTrack, follow_face
from magplus.models.pipeline import outside
from magplus.models.pipeline.outside import calmer_outside, outside_frame
from magplus.models.video import VideoFrame, VideoReader
from tests.models.face.lids import with_lids

TRIM = (8.6, 8.85)  # of the real clip: at rest, as seldom in it


@pytest.fixture(scope="module")
def landmarker():
    with FaceLandmarker() as found:
        yield found


@pytest.fixture(scope="module")
def track(real_clip: Path, landmarker: FaceLandmarker) -> FaceTrack:
    return follow_face(VideoReader(real_clip, TRIM), landmarker)


def smiling(track: FaceTrack, amount: float) -> FaceTrack:
    """The track of a face whose mesh scores as if it smiled all the time."""
    smile = np.array([amount * name.startswith("mouthSmile") for name in track.blendshape_names], np.float32)
    return replace(track, blendshapes=track.blendshapes + smile)


@pytest.mark.parametrize("asked", [8.0, 8.87, 9.5])  # 8.87: the frame after the trim's last, at 8.884 s
def test_a_reference_before_or_after_the_trim_is_read(real_clip, landmarker, track, asked):
    driving = Driving(str(real_clip), trim=TRIM, reference=asked)
    found = outside_frame(real_clip, driving, driving.reference, VideoReader(real_clip, TRIM), track, landmarker)
    assert found is not None and abs(found.seconds - Fraction(asked)) <= Fraction(1, 48)
    assert not TRIM[0] <= found.seconds < TRIM[1]


@pytest.mark.parametrize(("trim", "asked"), [(TRIM, 8.7), (TRIM, None), (None, 0.5)])
def test_what_lies_within_the_clip_is_not_outside(real_clip, landmarker, track, trim, asked):
    driving = Driving(str(real_clip), trim=trim, reference=asked)
    reader = VideoReader(real_clip, TRIM)
    assert outside_frame(real_clip, driving, asked, reader, track, landmarker) is None


def test_a_reference_beyond_the_video_is_one_sentence(real_clip, landmarker, track):
    driving = Driving(str(real_clip), trim=TRIM, reference=600.0)
    with pytest.raises(InputError, match=r"no frame for the reference at 600\.000 s; choose a time within it"):
        outside_frame(real_clip, driving, driving.reference, VideoReader(real_clip, TRIM), track, landmarker)


def test_rest_is_found_before_the_trim_and_only_if_the_face_is_not_at_rest_in_it(real_clip, landmarker, track):
    driving = Driving(str(real_clip), trim=TRIM)
    image = next(iter(VideoReader(real_clip, TRIM)))
    assert calmer_outside(real_clip, driving, track, 0, image, landmarker) is None
    found = calmer_outside(real_clip, driving, smiling(track, 0.6), 0, image, landmarker)
    assert found is not None and not TRIM[0] <= found < TRIM[1]


def test_a_trim_within_a_real_smile_has_its_rest_outside(real_clip, landmarker):
    trim = (1.0, 1.2)
    reader = VideoReader(real_clip, trim)
    followed = follow_face(reader, landmarker)
    found = calmer_outside(real_clip, Driving(str(real_clip), trim=trim), followed, 0, next(iter(reader)), landmarker)
    assert found is not None and (found < 0.5 or found > 2.4), "where he smiles least, by the mesh's scores"


def test_another_light_is_no_reference(real_clip, landmarker, track):
    driving = Driving(str(real_clip), trim=TRIM)
    image = next(iter(VideoReader(real_clip, TRIM)))
    dark = replace(image, picture=0.4 * image.image)
    assert calmer_outside(real_clip, driving, smiling(track, 0.6), 0, dark, landmarker) is None


def test_a_face_without_any_expression_is_not_looked_for_outside(real_clip, track):
    still = replace(track, blendshapes=np.minimum(track.blendshapes, 0.25))
    driving, image = Driving(str(real_clip), trim=TRIM), next(iter(VideoReader(real_clip, TRIM)))
    assert calmer_outside(real_clip, driving, still, 0, image, landmarker=None) is None, "nothing could be calmer"


class Scripted:
    """A video's frames outside the trim, and what finds a face with a given smile in each, or none; which were seen."""

    def __init__(self, smiles: list[float | None], blinks: bool = False) -> None:
        self.looked: list[int] = []
        self._smiles = smiles
        self._blinks = blinks

    def sampled(self, *_: object) -> list[tuple[Fraction, VideoFrame]]:
        numbers = range(len(self._smiles))
        return [(Fraction(at), VideoFrame(at, Fraction(at), partial(np.full, (1, 1, 3), at))) for at in numbers]

    def detect(self, image: np.ndarray, near: FaceLandmarks) -> list[FaceLandmarks]:
        self.looked.append(at := int(image[0, 0, 0]))
        smile = self._smiles[at]
        scores = {name: (smile or 0.0) * name.startswith("mouthSmile") for name in near.blendshapes}
        points = with_lids(near.points, 1, 1) if self._blinks else near.points
        return [] if smile is None else [FaceLandmarks(points, scores)]


EVERY = [1, 4, 7, 0, 2, 3, 5, 6, 8]


@pytest.mark.parametrize(
    ("smiles", "found", "looked"),
    [
        ([0.8] * 9, None, [1, 4, 7]),
        ([0.8, 0.5, *[0.8] * 7], None, EVERY),
        ([*[0.8] * 5, 0.0, 0.0, 0.0, 0.8], 6, EVERY),
        ([0.0, 0.0, 0.0, *[0.8] * 6], 1, EVERY),
        ([*[0.8] * 3, *[None] * 3, *[0.8] * 3], None, [1, 4, 7, 3, 5]),
        ([*[0.8] * 3, 0.0, None, 0.0, 0.0, 0.8, 0.8], 5, [1, 4, 7, 3, 5, 0, 2, 6, 8]),
    ],
)
def test_every_third_frame_is_looked_at_and_the_others_only_where_rest_may_be(
    monkeypatch, track, smiles, found, looked
):
    video = Scripted(smiles)
    assert calmer_in(video, monkeypatch, track) == found
    assert video.looked == looked


def test_a_frame_in_a_blink_is_no_reference(monkeypatch, track):
    assert calmer_in(Scripted([0.0] * 9), monkeypatch, track) is not None
    assert calmer_in(Scripted([0.0] * 9, blinks=True), monkeypatch, track) is None


def calmer_in(video: Scripted, monkeypatch: pytest.MonkeyPatch, track: FaceTrack) -> Fraction | None:
    """What is found in a video outside a trim in which the person smiles all the time."""
    monkeypatch.setattr(outside, "_sampled", video.sampled)
    monkeypatch.setattr(outside, "comparable", lambda *_: lambda *_: True)
    smiling_all_the_time = smiling(replace(track, blendshapes=np.zeros_like(track.blendshapes)), 0.8)
    image = VideoFrame(0, Fraction(0), np.zeros((1, 1, 3), np.float32))
    return calmer_outside(Path("clip.mp4"), Driving("clip.mp4", trim=TRIM), smiling_all_the_time, 0, image, video)
