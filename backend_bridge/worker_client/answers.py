# SPDX-License-Identifier: GPL-3.0-or-later
"""Short questions to the worker's Python, each answered by a process of its own with one line of JSON."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from ..files.errors import MachineError, error_of
from .client import WORKER_SCRIPT
from .process import popen_options, python_command

TIMEOUT = 120.0  # seconds; a slow disk, and a virus scanner at the first import


def answer_of(python: Path, verb: str, *arguments: str) -> dict[str, Any]:
    """Return what the worker's Python answers to one of its small verbs.

    Raises the error that the answer is, and `MachineError` when this Python gives none.
    """
    command = python_command(python, WORKER_SCRIPT, verb, *arguments)
    try:
        answer = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT, check=False, **popen_options()
        )
        facts = json.loads(answer.stdout.splitlines()[-1])
        if "error" not in facts:
            return dict(facts)
        failure = error_of(facts["exit_code"])(facts["error"])
    except subprocess.TimeoutExpired as error:
        raise MachineError(f"The worker's Python gave no answer within {TIMEOUT:.0f} s; try again.") from error
    except OSError as error:
        raise MachineError(
            f"The worker's Python can't be started ({error.strerror or error}: {python}); set up the environment in "
            "the preferences."
        ) from error
    except (ValueError, IndexError, KeyError, TypeError) as error:
        lines = answer.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit status {answer.returncode}"]
        raise MachineError(f"The worker's Python gave no answer ({lines[-1][:200]}); check the environment.") from error
    raise failure
