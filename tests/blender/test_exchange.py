# SPDX-License-Identifier: GPL-3.0-or-later
"""What was keyed goes through the files that other programs read, exported as the manual says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import bpy
import numpy as np
import pytest
from bl_ext.user_default.magplus.operators.animation.destination import LAYER, NEW_ACTION, Destination
from bl_ext.user_default.magplus.operators.bake import bake_controls
from bl_ext.user_default.magplus.operators.rig.kinds.shape_key import shape_key_controls

from tests.blender import round_trip
from tests.blender.head import make_head
from tests.blender.jobs import pulse, solved
from tests.blender.round_trip import shape, shape_at

FPS, START, COUNT, APEX = 25, 5, 20, 8


@pytest.mark.parametrize("mode", [NEW_ACTION, LAYER])
@pytest.mark.parametrize("suffix", round_trip.WAYS)
def test_a_bake_survives(tmp_path: Path, mode: str, suffix: str) -> None:
    scene = _scene()
    head = make_head()
    still = shape(head)
    job = solved(tmp_path, shape_key_controls((head,))[0], {"Smile": pulse(COUNT, APEX, 0.5)}, apex=APEX)
    bake_controls(bpy.context, job, Destination(START, animation=mode))
    expected = {frame: np.abs(shape_at(head, frame) - still).max() for frame in (1, START + APEX - 2, START + APEX, 28)}
    assert expected[1] == expected[28] == 0 and expected[START + APEX] > 0.05
    scene.frame_set(1)
    blend = str(tmp_path / "keyed.blend")
    bpy.ops.wm.save_as_mainfile(filepath=blend)
    command = [sys.executable, str(Path(round_trip.__file__)), blend, str(tmp_path / f"head.{suffix}")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    lines = [line for line in done.stdout.splitlines() if line.startswith("measured ")]
    assert done.returncode == 0 and lines, done.stdout + done.stderr
    back = json.loads(lines[0].removeprefix("measured "))
    size = back["size"] / np.ptp(still, axis=0).max()
    for frame, motion in expected.items():
        assert back["moved"][str(frame)] / size == pytest.approx(motion, abs=0.005), frame


def _scene() -> bpy.types.Scene:
    scene = bpy.context.scene
    scene.render.fps, scene.frame_start, scene.frame_end = FPS, 1, 30
    return scene
