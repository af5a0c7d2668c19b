# SPDX-License-Identifier: GPL-3.0-or-later
"""One face through a clip."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ...backend_bridge.files.errors import InputError
from ...backend_bridge.rig.footage import Fault, Untrusted
from ..ahead import ahead
from ..video import VideoFrame
from .footage import FrameSummary, Summariser, judge, runs_of
from .landmarker import AT_ONCE, FaceLandmarker, FaceLandmarks, select_face
from .upright import is_upside_down

# A face is looked for in one window until it has moved, or grown, by this share of its size. In a window of its own in
# each frame its landmarks jitter as much or more (median of three real clips 0.73, 0.31 and 0.13 px of second
# differences, 0.66, 0.28 and 0.14 here), and no frame could be looked at before the one before it.
_STAYS = 0.2


@dataclass(frozen=True)
class FaceTrack:
    """Landmarks of one face for every frame of a clip.

    seconds: frame times. points: [T, 478, 3] float32 px. blendshapes: [T, 52] scores, named by `blendshape_names`.
    present: [T] bool; where it is False, the face was not found or the frame can't be trusted, and the frame holds the
    values before it (at the start of the clip: those of the first frame that shows the face). Frames are never left
    out, so nothing shifts. untrusted: the runs of such frames, with what is wrong with them. faces: how many the first
    frame with a face shows; taken: which of them this is, from the left, from 0.
    """

    seconds: tuple[Fraction, ...]
    points: NDArray[np.float32]
    blendshapes: NDArray[np.float32]
    blendshape_names: tuple[str, ...]
    present: NDArray[np.bool_]
    untrusted: tuple[Untrusted, ...] = ()
    faces: int = 1
    taken: int = 0

    def __len__(self) -> int:
        return len(self.seconds)

    @property
    def missing_seconds(self) -> list[Fraction]:
        """Times of the frames that hold the values before them."""
        return [seconds for seconds, present in zip(self.seconds, self.present, strict=True) if not present]


def follow_face(frames: Iterable[VideoFrame], landmarker: FaceLandmarker, index: int | None = None) -> FaceTrack:
    """Return the track of one face: the largest, or the one at `index` from the left, of the first frame with a face.

    In later frames it is the face nearest to where it was; frames in which that is another person's, or that can't be
    compared with the others (`footage.judge`), are not trusted. Only if no frame shows a face at first sight, the clip
    is gone through again for small ones, so `frames` must be iterable twice. Raises `InputError` if there is none at
    all, or it is upside down.
    """
    for thorough in (False, True):
        summariser = Summariser()
        search = _search(frames, landmarker, index, thorough, summariser)
        if any(search.found):
            times = [float(second) for second in search.seconds]
            faults = judge(search.summaries, times, summariser.frame_width, first=index is not None)
            return _held(search, faults, times)
    raise InputError("No face was found in the driving video; choose a clip in which a face is seen from the front.")


@dataclass
class _Search:
    """What was found in a clip's frames; see `FaceTrack`."""

    seconds: list[Fraction] = field(default_factory=list)
    found: list[FaceLandmarks | None] = field(default_factory=list)
    summaries: list[FrameSummary | None] = field(default_factory=list)
    faces: int = 1
    taken: int = 0


def _search(
    frames: Iterable[VideoFrame], landmarker: FaceLandmarker, index: int | None, thorough: bool, summariser: Summariser
) -> _Search:
    search = _Search()
    with closing(ahead(_looked_for(search, frames, landmarker, index, thorough))) as looked_for:
        for frame, face in looked_for:
            search.seconds.append(frame.seconds)
            search.found.append(face)
            search.summaries.append(summariser.summarise(frame.image, face.points) if face else None)
    return search


def _looked_for(
    search: _Search, frames: Iterable[VideoFrame], landmarker: FaceLandmarker, index: int | None, thorough: bool
) -> Iterator[tuple[VideoFrame, FaceLandmarks | None]]:
    """Yield each frame with the face that is followed, if it is there; enter into `search` which of how many it is."""
    last: FaceLandmarks | None = None
    near: FaceLandmarks | None = None
    absent = 0
    with ThreadPoolExecutor(AT_ONCE) as threads, closing(ahead(_converted(frames))) as converted:
        begun: deque[tuple[VideoFrame, FaceLandmarks | None, Future[list[FaceLandmarks]] | None]] = deque()
        while True:
            while len(begun) < AT_ONCE and (frame := next(converted, None)):
                begun.append((frame, near, threads.submit(landmarker.detect, frame.image, near) if near else None))
            if not begun:
                break
            frame, assumed, detected = begun.popleft()
            if detected and assumed is near:
                faces = detected.result()
            else:
                faces = landmarker.detect(frame.image, near, thorough and near is None)
            face = _same_face(last, absent, faces) if last else _first_face(faces, index)
            if face and last is None:
                if is_upside_down(frame.image, face, landmarker):
                    raise InputError("The face in the driving video is upside down; turn the video by 180 degrees.")
                search.faces = len(faces)
                search.taken = next(number for number, each in enumerate(faces) if each is face)
            if face and not (near and _stays(near, face)):
                near = face
            absent = 0 if face else absent + 1
            last = face or last
            yield frame, face


def _stays(near: FaceLandmarks, face: FaceLandmarks) -> bool:
    """Return whether a face is found where another one is looked for."""
    moved = float(np.abs(face.centre - near.centre).max()) / near.size
    return moved < _STAYS and abs(face.size / near.size - 1) < _STAYS


def _converted(frames: Iterable[VideoFrame]) -> Iterator[VideoFrame]:
    """Yield frames whose pictures have been made."""
    for frame in frames:
        _ = frame.image
        yield frame


def _held(search: _Search, faults: list[Fault | None], times: list[float]) -> FaceTrack:
    trusted = [None if fault else face for face, fault in zip(search.found, faults, strict=True)]
    first = next(face for face in trusted if face)
    held, previous = [], first
    for face in trusted:
        previous = face or previous
        held.append(previous)
    return FaceTrack(
        seconds=tuple(search.seconds),
        points=np.stack([face.points for face in held]),
        blendshapes=np.array([list(face.blendshapes.values()) for face in held], np.float32),
        blendshape_names=tuple(first.blendshapes),
        present=np.array([face is not None for face in trusted]),
        untrusted=runs_of(faults, times),
        faces=search.faces,
        taken=search.taken,
    )


def _first_face(faces: list[FaceLandmarks], index: int | None) -> FaceLandmarks | None:
    return select_face(faces, index) if faces else None


def _same_face(last: FaceLandmarks, absent: int, faces: list[FaceLandmarks]) -> FaceLandmarks | None:
    """Return the face that can be the last one `absent` + 1 frames later: near, and of about its size."""
    reach = (1 + absent) * last.size
    candidates = [
        face for face in faces if np.linalg.norm(face.centre - last.centre) < reach and 0.5 < face.size / last.size < 2
    ]
    return min(candidates, key=lambda face: float(np.linalg.norm(face.centre - last.centre)), default=None)
