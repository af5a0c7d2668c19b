# SPDX-License-Identifier: GPL-3.0-or-later
"""A driving clip opened: its face is followed, a reference frame is chosen, and the crop is made steady."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ...backend_bridge.files.errors import InputError
from ...backend_bridge.job.stages import Stage
from ...backend_bridge.rig.footage import listed
from ..backends import FaceImage
from ..face import (
    FaceLandmarker,
    FaceTrack,
    Reference,
    SteadyCrop,
    choose_reference,
    follow_face,
    nearer_to_rest,
)
from ..video import VideoFrame, VideoReader
from .clip_reference import check_reference, shows_the_same, with_eyes_shut, with_outside
from .clip_request import ClipRequest
from .copied_pixels import CopiedPixels
from .driving_clip import DrivingClip
from .kept_clip import KeptClip
from .notes import Notes
from .outside import Outside, calmer_outside, outside_frame

SMALLEST_FACE = 32  # px from cheek to cheek; below, a micro-expression is less than a hundredth of a pixel


def open_clip(request: ClipRequest, landmarker: FaceLandmarker, notes: Notes) -> DrivingClip:
    """Read a clip: find the face in every frame, choose the reference frame, and keep the head still in the crop.

    Raises `InputError` for a video that can't be used or shows no face.
    """
    reader = request.reader
    track = follow_face(_WithProgress(reader, notes), landmarker, request.driving.face_index)
    for warning in reader.warnings:
        notes.warning(warning)
    if track.faces > 1 and request.driving.face_index is None:
        notes.warning(several_faces(track))
    if track.untrusted:
        notes.warning(f"Frames that can't be trusted hold the one before them: {listed(track.untrusted)}.")
    found = _found_reference(request, track, landmarker)
    clip = _measured_against(request, track, found.chosen, notes, found.outside)
    if clip.eyes_shut:
        notes.warning(with_eyes_shut(float(reader.info.start + found.chosen.seconds)))
    return replace(clip, resting=found.resting)


def reopened(kept: KeptClip, request: ClipRequest, landmarker: FaceLandmarker) -> DrivingClip:
    """Return what `open_clip` returned, from what it had measured; of the video only the reference frame is read.

    Raises `InputError` as `open_clip` does, `ValueError` where the measurements are of another clip.
    """
    reader, track, chosen = request.reader, kept.track, kept.chosen
    asked: float | Fraction | None = request.driving.reference
    if asked is None and chosen.index == len(track):
        asked = reader.info.start + chosen.seconds
    outside = outside_frame(request.path, request.driving, asked, reader, track, landmarker)
    frames = len(with_outside(track, chosen, outside))
    if len(kept.crop.to_reference) != frames or chosen.index >= frames:
        raise ValueError("it was measured with another reference")
    image = _image_of(reader, chosen, outside)
    clip = _cut_out(request, track, chosen, outside, image, kept.crop, kept.size)
    return replace(clip, resting=kept.resting)


def against(clip: DrivingClip, index: int, chosen: str, notes: Notes) -> DrivingClip:
    """Return a clip with frame `index` as its reference; `chosen` says for the report how it was found."""
    return _measured_against(clip.request, clip.track, Reference(index, clip.track.seconds[index], chosen), notes)


def several_faces(track: FaceTrack) -> str:
    """Return a sentence that says how many faces a clip shows, and which one was taken."""
    return (
        f"The video shows {track.faces} faces; the largest one drives, which is number {track.taken} from the left, "
        "counted from 0. If it isn't the driver's, set Driver's Face to By Number (--face-index)."
    )


@dataclass(frozen=True)
class _Found:
    """A reference, its frame if it lies outside the trim, and when outside the trim the face rests more clearly."""

    chosen: Reference
    outside: Outside | None = None
    resting: Fraction | None = None


def _found_reference(request: ClipRequest, track: FaceTrack, landmarker: FaceLandmarker) -> _Found:
    """Return the reference that was asked for or, of all frames, that in which the face is nearest to rest."""
    path, driving, reader = request.path, request.driving, request.reader
    start = reader.info.start
    outside = outside_frame(path, driving, driving.reference, reader, track, landmarker)
    if outside is not None:
        return _Found(Reference(len(track), outside.seconds - start, "given"), outside)
    asked = None if driving.reference is None else driving.reference - float(start)
    if asked is not None:
        check_reference(asked, track, reader)
    chosen = choose_reference(track, asked)
    if chosen.chosen == "rest":
        plain = choose_reference(track, asked, resting=False)
        if not shows_the_same(reader, track, plain.index, chosen.index):
            chosen = plain
    if nearer_to_rest(track, chosen.index) is not None:
        return _Found(chosen)
    frame = next(frame for frame in reader if frame.index == chosen.index)
    resting = calmer_outside(path, driving, track, chosen.index, frame, landmarker)
    if asked is None and resting is not None:
        outside = outside_frame(path, driving, resting, reader, track, landmarker)
        if outside is not None:
            return _Found(Reference(len(track), outside.seconds - start, "rest"), outside)
    return _Found(chosen, resting=resting)


def _measured_against(
    request: ClipRequest, track: FaceTrack, chosen: Reference, notes: Notes, outside: Outside | None = None
) -> DrivingClip:
    """Return the clip with this reference, to which all frames are aligned; `InputError` for a face too small."""
    reader, followed = request.reader, with_outside(track, chosen, outside)
    steady = _WithProgress(reader, notes, Stage.STEADY, outside)
    crop = SteadyCrop.follow(followed, chosen.index).refined(steady, followed, chosen.index)
    width = float(np.ptp(followed.points[chosen.index, :, 0]))
    if width < SMALLEST_FACE:
        raise InputError(
            f"The face in the driving video is only {width:.0f} px wide; choose a video in which it is larger "
            f"(at least {SMALLEST_FACE} px, better 200)."
        )
    image = _image_of(reader, chosen, outside)
    framing, shape = request.framing, (image.shape[1], image.shape[0])
    square = framing.driver(crop.steady(followed.points), chosen.index, shape)
    crop = crop.framed(square, framing.beyond)
    return _cut_out(request, track, chosen, outside, image, crop, request.size_of(crop.native_size))


def _image_of(reader: VideoReader, chosen: Reference, outside: Outside | None) -> NDArray[np.float32]:
    """Return the reference frame, [H, W, 3]. Raises `ValueError` where the clip has no frame of its number."""
    if outside is not None:
        return outside.frame.image
    for frame in reader:
        if frame.index == chosen.index:
            return frame.image
    raise ValueError("the clip has no such reference frame")


def _cut_out(
    request: ClipRequest,
    track: FaceTrack,
    chosen: Reference,
    outside: Outside | None,
    image: NDArray[np.float32],
    crop: SteadyCrop,
    size: int,
) -> DrivingClip:
    """Return the clip of a steady crop of `size` px a side, with the face cut out of its reference frame [H, W, 3]."""
    points = with_outside(track, chosen, outside).points
    reference = FaceImage(crop.crop(image, size, chosen.index), crop.landmarks(points, size)[chosen.index])
    copied = CopiedPixels(image, chosen.index, crop, size, points[chosen.index])
    return DrivingClip(request, track, chosen, crop, size, reference, copied, outside)


class _WithProgress:
    """Iterates over the clip's frames, any number of times, and reports progress; then a reference outside the trim."""

    def __init__(
        self, reader: VideoReader, notes: Notes, stage: Stage = Stage.FACE, outside: Outside | None = None
    ) -> None:
        self._reader = reader
        self._notes = notes
        self._stage = stage
        self._outside = outside

    def __iter__(self) -> Iterator[VideoFrame]:
        total = self._reader.info.frame_count or 0
        index = -1
        for frame in self._reader:
            index = frame.index
            self._notes.progress(self._stage, index, total)
            yield frame
        if self._outside is not None:
            yield replace(self._outside.frame, index=index + 1)
