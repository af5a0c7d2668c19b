# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking the worker's Python, before anything is rendered, whether it can run a job as it is asked to."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from ..job.spec import JobSpec
from .answers import answer_of

ANYWHERE = ("auto", "cpu")  # devices that every machine has


def asks_for_more(spec: JobSpec) -> bool:
    """Whether a job names a device that a machine may lack, or options that its backend may not have."""
    return spec.device not in ANYWHERE or bool(spec.backend_options)


def check_accepted(python: Path, spec: JobSpec, folder: Path) -> None:
    """Raise the error with which a job would end at once in `folder`, for its device or its backend's options.

    Takes seconds, as torch is loaded; none where the job asks for nothing special, or for what was accepted before.
    """
    if asks_for_more(spec):
        asked = {"device": spec.device, "backend": spec.backend, "options": spec.backend_options, "folder": str(folder)}
        _ask_once(python, json.dumps(asked, sort_keys=True))


@cache
def _ask_once(python: Path, asked: str) -> None:
    answer_of(python, "accepts", asked)  # what is refused is raised, and so asked again
