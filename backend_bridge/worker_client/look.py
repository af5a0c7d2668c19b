# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking the worker's Python to look at a driving video, before anything is measured or rendered for it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..files.typed_json import to_data
from ..job.spec import Driving
from .answers import answer_of


@dataclass(frozen=True)
class Thumbnail:
    """A small picture of a video, and its time in seconds of the video's own timeline.

    faces: how many it shows, None where nobody asked: they are counted where the driver's face is chosen by number.
    """

    seconds: float
    file: Path
    faces: int | None = None


@dataclass(frozen=True)
class Footage:
    """What a driving video is: px, exact frames per second (on average where it varies), frames, seconds.

    What the file does not tell is None.
    """

    width: int
    height: int
    rate: Fraction | None
    variable_rate: bool
    frames: int | None
    seconds: Fraction | None
    thumbnails: tuple[Thumbnail, ...] = ()


def length_of(python: Path, driving: Driving) -> Fraction | None:
    """Return the seconds of a driving video's clip, None where its file doesn't say; raises as `look_at` does."""
    return look_at(python, driving).seconds


def look_at(python: Path, driving: Driving, thumbnails: Path | None = None) -> Footage:
    """Return what a driving video's clip is; `thumbnails` is an empty folder that receives small pictures of it.

    Raises the error that a run would end with when the video can't be read, and `MachineError` when this Python gives
    no answer.
    """
    more = [] if thumbnails is None else ["--thumbnails", str(thumbnails)]
    return _footage(answer_of(python, "look", json.dumps(to_data(driving)), *more))


def _footage(facts: dict[str, Any]) -> Footage:
    return Footage(
        width=int(facts["width"]),
        height=int(facts["height"]),
        rate=None if facts["rate"] is None else Fraction(facts["rate"]),
        variable_rate=bool(facts["variable_rate"]),
        frames=facts["frames"],
        seconds=None if facts["seconds"] is None else Fraction(facts["seconds"]),
        thumbnails=tuple(
            Thumbnail(float(each["seconds"]), Path(each["file"]), each["faces"]) for each in facts["thumbnails"]
        ),
    )
