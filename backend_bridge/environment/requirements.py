# SPDX-License-Identifier: GPL-3.0-or-later
"""The packages that the worker needs, as `worker/requirements.txt` lists them: the one place where versions stand."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

REQUIREMENTS = Path(__file__).parents[1] / "worker" / "requirements.txt"
_DATA_ONLY = "--no-deps"


@dataclass(frozen=True)
class Requirement:
    """A package at one version. `data_only`: installed without its dependencies, for the files that it carries."""

    name: str
    version: str
    data_only: bool = False

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


def read_requirements(path: Path = REQUIREMENTS) -> tuple[Requirement, ...]:
    """Return the requirements in the file's order."""
    found = []
    for line in path.read_text("utf-8").splitlines():
        text, _, comment = line.partition("#")
        if text.strip():
            name, _, version = text.strip().partition("==")
            found.append(Requirement(name, version, data_only=comment.strip() == _DATA_ONLY))
    return tuple(found)


def requirements_hash(requirements: tuple[Requirement, ...]) -> str:
    """Return a hash that changes when an environment has to be made anew."""
    return hashlib.sha256("\n".join(map(repr, requirements)).encode()).hexdigest()
