# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking the worker's Python to look at a driving video, before anything is measured or rendered for it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..files.errors import MachineError, error_of
from ..files.typed_json import to_data
from ..job.spec import Driving
from .client import WORKER_SCRIPT
from .process import popen_options, python_command

TIMEOUT = 120.0  # seconds; a slow disk, and a virus scanner at the first import


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
    command = python_command(python, WORKER_SCRIPT, "look", json.dumps(to_data(driving)), *more)
    try:
        answer = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT, check=False, **popen_options()
        )
        facts = json.loads(answer.stdout.splitlines()[-1])
        if "error" not in facts:
            return _footage(facts)
    except subprocess.TimeoutExpired as error:
        raise MachineError(f"{driving.path} could not be looked at within {TIMEOUT:.0f} s; try again.") from error
    except OSError as error:
        raise MachineError(
            f"The worker's Python can't be started ({error.strerror or error}: {python}); set up the environment in "
            "the preferences."
        ) from error
    except (ValueError, IndexError, KeyError, TypeError) as error:
        lines = answer.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit status {answer.returncode}"]
        raise MachineError(
            f"The worker's Python failed to look at the video ({lines[-1][:200]}); check the environment."
        ) from error
    raise error_of(facts["exit_code"])(facts["error"])


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
