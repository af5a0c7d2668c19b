# SPDX-License-Identifier: GPL-3.0-or-later
"""The hash-locked lists that an environment is installed from: `worker/locked/`, made by `dev.py lock`.

A list is a file of pip's requirements: every package at one version, with the SHA-256 of every file that may be taken
for it. `packages.txt` has all but PyTorch, for every system; of PyTorch there is a list for each system and build.
"""

from __future__ import annotations

import hashlib
import platform
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

LOCKED = Path(__file__).parents[1] / "worker" / "locked"
INSTALLER = LOCKED / "installer.txt"  # the pip that installs the rest
PACKAGES = LOCKED / "packages.txt"
SAMPLE = LOCKED / "sample.txt"  # the wheels that the sample character is made of; written by hand
SIGNING = LOCKED / "signing.txt"  # what signing pictures with C2PA takes, installed when it is asked for

_PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;]+)(?:\s*;\s*(?P<marker>.*?))?\s*\\?")
_HASHED = re.compile(r"(\S+==\S+) \\\n\s+--hash=sha256:(\w+)")
_SERIES = re.compile(r"python_version == ['\"]([0-9.]+)['\"]")


@dataclass(frozen=True)
class Pin:
    """A line of a list: a package at one version. `marker`: where it applies (PEP 508), empty for everywhere."""

    name: str
    version: str
    marker: str = ""

    def applies_to(self, series: str) -> bool:
        """Whether it is for Pythons of a series ("3.11")."""
        only = _SERIES.search(self.marker)
        return only is None or only[1] == series


def read_list(path: Path) -> tuple[Pin, ...]:
    """Return the pins of a list in the file's order."""
    lines = path.read_text("utf-8").splitlines()
    found = (_PIN.fullmatch(line) for line in lines if line and not line.startswith((" ", "#", "-")))
    return tuple(Pin(each["name"], each["version"], each["marker"] or "") for each in found if each)


def only_hashes(path: Path) -> dict[str, str]:
    """Return the SHA-256 of each requirement of a list that pins one file for each: {"anny==0.6.2": "bad7..."}."""
    return dict(_HASHED.findall(path.read_text("utf-8")))


def torch_list(tag: str) -> Path:
    """Return where the list of a build of PyTorch ("cpu", "cu130") for this system is, whether it is there or not."""
    return LOCKED / f"torch-{system()}-{tag}.txt"


def is_locked(tag: str, series: str) -> bool:
    """Whether the hashes of a build of PyTorch for this system and Pythons of a series ("3.11") are known."""
    path = torch_list(tag)
    return path.is_file() and any(pin.name == "torch" and pin.applies_to(series) for pin in read_list(path))


def system() -> str:
    """Return this system's name in the names of the lists."""
    machine = platform.machine().lower()
    names = {"linux": "linux", "win32": "windows", "darwin": "macos"}
    return f"{names.get(sys.platform, sys.platform)}-{'x86_64' if machine == 'amd64' else machine}"


def lists_hash(paths: Iterable[Path]) -> str:
    """Return a hash of lists; it changes when an environment has to be made anew."""
    return hashlib.sha256("\n".join(path.read_text("utf-8") for path in paths).encode()).hexdigest()
