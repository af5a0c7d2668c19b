# SPDX-License-Identifier: GPL-3.0-or-later
"""A reference outside the trim: most trims begin inside an expression, and the face was at rest before or after it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...backend_bridge.files.errors import InputError
from ...backend_bridge.job.spec import Driving
from ..ahead import ahead
from ..face import (
    FaceLandmarker,
    FaceLandmarks,
    FaceTrack,
    calmest,
    comparable,
    may_be_calmer,
    nearly_shut,
    some_calmer,
    turned_by,
    usual_opening,
)
from ..video import VideoFrame, VideoReader, reader_at_reference
from ..video.clip import within

_Side: TypeAlias = tuple[Fraction, Fraction]  # s of the video, from and to

_REACH = Fraction(2)  # s before and after the trim: a face that rested longer ago is lit and held otherwise
_SAMPLES = 9  # frames looked at on either side
_TURNED = 8.0  # degrees that the head may have turned; beyond, another side of it is seen
_LEAST = Fraction(1, 2)  # frames before the trim's first, or after its last, that a time must lie to be another frame's


@dataclass(frozen=True)
class Outside:
    """A frame outside the trim. seconds: of the video's own timeline, as the trim is."""

    seconds: Fraction
    frame: VideoFrame
    face: FaceLandmarks


def outside_frame(
    path: Path,
    driving: Driving,
    asked: float | Fraction | None,
    reader: VideoReader,
    track: FaceTrack,
    landmarker: FaceLandmarker,
) -> Outside | None:
    """Return the reference at `asked`, in seconds of the video, if it lies outside the trim, else None.

    track: the face in the frames that `reader` reads. Raises `InputError` where the video has no frame or no face at
    that time.
    """
    if asked is None or driving.trim is None:
        return None
    asked, rate = Fraction(asked), reader.info.average_rate
    first, last = reader.info.start, reader.info.start + track.seconds[-1]
    within = first - _LEAST / rate, last + _LEAST / rate
    if within[0] <= asked <= within[1]:
        return None
    near = _face_at(track, asked < first)
    other = reader_at_reference(path, asked, rate, driving.sequence_rate)
    timed = [(other.info.start + frame.seconds, frame) for frame in other]
    seconds, frame = min(timed, key=lambda each: abs(each[0] - asked))
    if within[0] <= seconds <= within[1]:
        return None  # beyond the video's own end, where the trim reaches farther than that
    face = _nearest(landmarker.detect(frame.image, near=near), near)
    if face is None:
        raise InputError(
            f"No face was found in the reference frame at {float(seconds):.3f} s; choose a time at which it is seen."
        )
    return Outside(seconds, frame, face)


def calmer_outside(
    path: Path, driving: Driving, track: FaceTrack, index: int, image: VideoFrame, landmarker: FaceLandmarker
) -> Fraction | None:
    """Return when, outside the trim, the face is clearly nearer to rest than in frame `index` of it, else None.

    image: that frame. The time is of the video's own timeline. Only a few frames within two seconds of the trim are
    looked at; of those, only the same person, in the same light, with the head turned alike, and not in a blink.
    """
    if driving.trim is None or not may_be_calmer(track, index):
        return None
    start, end = (Fraction(bound) for bound in driving.trim)
    sides = [(max(Fraction(0), start - _REACH), start), (end, end + _REACH)]
    points, here = track.points[index], _face_of(track, index)
    like_here, opening = comparable(image.image, points), usual_opening(track.points[track.present])
    times: list[Fraction] = []
    waiting: dict[int, VideoFrame] = {}
    compared: dict[int, FaceLandmarks | None] = {}  # by number of the sampled frames, None where it isn't alike

    def look(number: int, frame: VideoFrame) -> None:
        face = None
        with suppress(InputError):  # a damaged picture shows none
            face = _nearest(landmarker.detect(frame.image, near=here), here)
        if face is not None and (
            turned_by(face.points, points) >= _TURNED
            or nearly_shut(face.points[None], opening).any()
            or not like_here(frame.image, face.points)
        ):
            face = None
        compared[number] = face

    def scores() -> NDArray[np.float32]:
        found = (compared[number] for number in sorted(compared))
        return np.array([list(face.blendshapes.values()) for face in found if face], np.float32)

    with closing(ahead(_sampled(path, driving, [side for side in sides if side[0] < side[1]]))) as sampled:
        for number, (seconds, frame) in enumerate(sampled):
            times.append(seconds)
            # Rest is told by three in a row: the middle one is looked at first, those beside it if it can't tell.
            if number % 3 == 1 or not callable(frame.picture):  # what is decoded is small, a picture is not
                look(number, frame)
            else:
                waiting[number] = frame
    for number in [each for each in waiting if compared.get(each // 3 * 3 + 1) is None]:
        look(number, waiting.pop(number))
    if not any(compared.values()) or not some_calmer(track, index, scores()):
        return None
    for number in sorted(waiting):
        look(number, waiting.pop(number))
    best = calmest(track, index, scores())
    return None if best is None else [times[number] for number in sorted(compared) if compared[number]][best]


def _sampled(path: Path, driving: Driving, sides: Sequence[_Side]) -> Iterator[tuple[Fraction, VideoFrame]]:
    """Yield a few frames of parts of the video, evenly spread, with their times; none where the video has none.

    Parts that are not far apart are read in one go: whatever is read, a decoder begins at a key frame before it.
    """
    if sides[-1][0] - sides[0][1] <= 2 * _REACH:
        yield from _sampled_in(path, driving, (sides[0][0], sides[-1][1]), sides)
        return
    for side in sides:
        yield from _sampled_in(path, driving, side, [side])


def _sampled_in(
    path: Path, driving: Driving, span: _Side, sides: Sequence[_Side]
) -> Iterator[tuple[Fraction, VideoFrame]]:
    """Yield those of `sides` that lie in a `span`, which is read."""
    due: dict[_Side, Fraction] = {}
    try:
        reader = VideoReader(path, (float(span[0]), float(span[1])), driving.sequence_rate)
        for frame in reader:
            seconds = reader.info.start + frame.seconds
            side = next((side for side in sides if within(seconds, side)), None)
            if side is not None and seconds >= due.get(side, seconds):
                yield seconds, frame
                due[side] = seconds + (side[1] - side[0]) / _SAMPLES
    except InputError:
        return


def _face_at(track: FaceTrack, before: bool) -> FaceLandmarks:
    """Return the face in the trim's frame with a face that is nearest to a time before it, or after it."""
    shown = np.flatnonzero(track.present)
    return _face_of(track, int(shown[0] if before else shown[-1]))


def _face_of(track: FaceTrack, index: int) -> FaceLandmarks:
    scores = track.blendshapes[index].tolist()
    return FaceLandmarks(track.points[index], dict(zip(track.blendshape_names, scores, strict=True)))


def _nearest(faces: list[FaceLandmarks], near: FaceLandmarks) -> FaceLandmarks | None:
    """Return the face that can be `near` some time apart: within its own size, and of about it."""
    candidates = [
        face
        for face in faces
        if np.linalg.norm(face.centre - near.centre) < near.size and 0.67 < face.size / near.size < 1.5
    ]
    return min(candidates, key=lambda face: float(np.linalg.norm(face.centre - near.centre)), default=None)
