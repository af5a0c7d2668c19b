# SPDX-License-Identifier: GPL-3.0-or-later
"""What a driving video is, found out by reading its first frame, and small pictures of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..files.errors import ExitCode, InputError
from ..job.spec import Driving
from .answers import answer

THUMBNAILS = 24  # evenly over the clip
SIDE = 160  # px of a thumbnail's longer side
PATIENCE = 20.0  # seconds for all of them; a long video on a slow disk has fewer


def main(driving: Driving, thumbnails: Path | None = None) -> ExitCode:
    """Answer with the fields of `worker_client.look.Footage`."""
    return answer(lambda: _facts(driving, thumbnails), Path(driving.path).parent)


def _facts(driving: Driving, thumbnails: Path | None) -> dict[str, Any]:
    from ...models.video import VideoReader, reader_at_reference

    reader = VideoReader(driving.path, driving.trim, driving.sequence_rate)
    _ = next(iter(reader)).image  # raises here for a format that can't be read
    info = reader.info
    if info.frame_count == 1 and VideoReader(driving.path, None, driving.sequence_rate).info.frame_count == 1:
        raise InputError(
            f"{Path(driving.path).name} has a single frame, and an expression is a change between frames; choose a "
            "video, or an image sequence."
        )
    if driving.reference is not None:
        reader_at_reference(driving.path, driving.reference, info.average_rate, driving.sequence_rate)
    count, rate = info.frame_count, info.average_rate
    seconds = count / rate if count and rate else None
    facts: dict[str, Any] = {
        "width": info.width,
        "height": info.height,
        "rate": str(rate) if rate else None,
        "variable_rate": info.variable_rate,
        "frames": count,
        "seconds": None if seconds is None else str(seconds),
        "thumbnails": [],
    }
    if thumbnails is not None:
        facts["thumbnails"] = _thumbnails(driving, info.start, seconds, rate, thumbnails)
    return facts


def _thumbnails(
    driving: Driving, start: Fraction, seconds: Fraction | None, rate: Fraction, folder: Path
) -> list[dict[str, Any]]:
    """Write small pictures; return their times in seconds of the video's own timeline, and their files.

    Where a face is chosen by its number, the faces in them are counted, too.
    """
    import cv2

    from ...models.video import VideoReader, encode_png

    count_faces = _face_counter() if driving.face_index is not None else None
    count = 1 if seconds is None else max(min(THUMBNAILS, round(seconds * rate)), 1)
    found = []
    until = time.monotonic() + PATIENCE
    for number in range(count):
        at = start + (seconds or 0) * number / count
        at = Fraction(int(at * rate), 1) / rate if rate else at  # when a frame begins
        trim = None if seconds is None else (float(at), float(start + seconds + 1))
        reader = VideoReader(driving.path, trim, driving.sequence_rate)
        frame = next(iter(reader), None)
        if frame is None or time.monotonic() > until:
            break
        height, width = frame.image.shape[:2]
        scale = min(SIDE / max(height, width), 1.0)
        small = cv2.resize(
            frame.image, (max(round(width * scale), 1), max(round(height * scale), 1)), interpolation=cv2.INTER_AREA
        )
        path = folder / f"{number + 1:03}.png"
        path.write_bytes(encode_png(small))
        faces = count_faces(frame.image) if count_faces is not None else None
        found.append({"seconds": float(reader.info.start + frame.seconds), "file": str(path), "faces": faces})
    return found


def _face_counter() -> Callable[[Any], int]:
    from ...models.face import FaceLandmarker

    landmarker = FaceLandmarker()
    return lambda picture: len(landmarker.detect(picture))
