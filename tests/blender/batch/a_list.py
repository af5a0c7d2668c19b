# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of a list of shots have in common."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import bpy
import pytest

from tests.blender.jobs import finish, pulse

CLIP = "clip.mp4"


def results_of(listed: Path, shot: str) -> Path:
    return listed.with_name("list_results") / shot


def planned(main: Callable[..., int], capfd: pytest.CaptureFixture[str], listed: Path, code: int = 0) -> dict[str, str]:
    """Return what a dry run says of each shot."""
    capfd.readouterr()
    assert main(listed, "--dry-run") == code
    lines = capfd.readouterr().out.strip().splitlines()
    return dict(line.split(": ", 1) for line in lines)


def run_by_hand(listed: Path, *shots: str) -> None:
    """Leave in each shot's job folder what a worker would have left there."""
    for shot in shots:
        finish(results_of(listed, shot) / "job.magplus", {"Smile": pulse(9, 4, 0.5)}, Fraction(25), apex=4)


def smiles(saved: Path) -> dict[str, float]:
    """Return how far each head of a saved file smiles at the apex of a clip that starts at its own frame."""
    bpy.ops.wm.open_mainfile(filepath=str(saved))
    found = {}
    for name, start in (("Ann", 5), ("Bob", 1)):
        bpy.context.scene.frame_set(start + 4)
        found[name] = round(bpy.data.objects[name].data.shape_keys.key_blocks["Smile"].value, 3)
    return found
