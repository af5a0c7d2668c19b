# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark of Blender's side runs to its end, and times what the extension has today."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import bpy
import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bpy.app.version[:2] != (5, 0), reason="the benchmark runs in one series"),
]


def test_every_task_and_single_call_is_timed(character: Path, tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [sys.executable, "-m", "magplus.benchmarks.blender", "--character", character, "--json", figures]
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT / "checkout")}
    subprocess.run(command, check=True, env=surroundings, timeout=300)
    found = json.loads(figures.read_text())
    assert all(held["steps"] > 1 and 0 < held["longest"] <= held["total"] for held in found["tasks"].values())
    assert all(seconds > 0 for seconds in found["calls"].values())
    assert {"keying", "keying again"} <= found["calls"].keys()
