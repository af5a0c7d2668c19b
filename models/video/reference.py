# SPDX-License-Identifier: GPL-3.0-or-later
"""The frames of a video at the time that was asked for as reference."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from ...backend_bridge.files.errors import InputError
from .reader import VideoReader


def reader_at_reference(
    path: str | Path, seconds: float | Fraction, rate: Fraction, sequence_rate: str | Fraction | None = None
) -> VideoReader:
    """Return a reader of the frames that lie within a frame's time of the reference.

    seconds: of the video's own timeline. rate: the video's frames per second. sequence_rate: as `VideoReader` takes it.
    Raises `InputError` where the video has no such frame.
    """
    asked = Fraction(seconds)
    around = (float(max(Fraction(0), asked - 1 / rate)), float(asked + 1 / rate))
    try:
        return VideoReader(path, around, sequence_rate)
    except InputError as error:
        raise InputError(
            f"The video has no frame for the reference at {float(asked):.3f} s; choose a time within it, or leave the "
            "choice to MagPlus."
        ) from error
