# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking the worker's Python to look at a driving video, before anything is measured or rendered for it."""

from __future__ import annotations

import json
import subprocess
from fractions import Fraction
from pathlib import Path

from ..files.errors import MachineError, error_of
from ..files.typed_json import to_data
from ..job.spec import Driving
from .client import WORKER_SCRIPT
from .process import popen_options, python_command

TIMEOUT = 120.0  # seconds; a slow disk, and a virus scanner at the first import


def length_of(python: Path, driving: Driving) -> Fraction | None:
    """Return the seconds of a driving video's clip, None where its file doesn't say.

    Raises the error that a run would end with when the video can't be read, and `MachineError` when this Python gives
    no answer.
    """
    command = python_command(python, WORKER_SCRIPT, "look", json.dumps(to_data(driving)))
    try:
        answer = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT, check=False, **popen_options()
        )
        said = json.loads(answer.stdout.splitlines()[-1])
        if "error" not in said:
            return None if said["seconds"] is None else Fraction(said["seconds"])
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
    raise error_of(said["exit_code"])(said["error"])
