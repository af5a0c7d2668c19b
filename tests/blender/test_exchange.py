# SPDX-License-Identifier: GPL-3.0-or-later
"""What was keyed goes through the files that other programs read, exported as the manual says."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import bpy
import numpy as np
import pytest
from bl_ext.user_default.magplus.operators.animation.destination import LAYER, NEW_ACTION, Destination
from bl_ext.user_default.magplus.operators.bake import bake_controls
from bl_ext.user_default.magplus.operators.rig.controls import RigControl
from bl_ext.user_default.magplus.operators.rig.kinds.bone import bone_controls
from bl_ext.user_default.magplus.operators.rig.kinds.property import property_controls
from bl_ext.user_default.magplus.operators.rig.kinds.shape_key import shape_key_controls

from tests.blender import round_trip
from tests.blender.head import add_armature, bind, make_head
from tests.blender.jobs import pulse, solved
from tests.blender.round_trip import shape, shape_at

FPS, START, COUNT, APEX = 25, 5, 20, 8


def _keys(head: bpy.types.Object) -> Sequence[RigControl]:
    return shape_key_controls((head,))[0]


def _bone(head: bpy.types.Object) -> Sequence[RigControl]:
    """A bone that carries the whole head."""
    armature = add_armature({"Smile": (0, 0, 0)})
    bind(head, armature, "Smile")
    return bone_controls(armature, ("Smile",))[0]


def _property(head: bpy.types.Object) -> Sequence[RigControl]:
    """A property that drives the shape key, as rigs with sliders of their own have it."""
    head["Smile"] = 0.0
    head.id_properties_ui("Smile").update(soft_min=0.0, soft_max=1.0)
    driver = head.data.shape_keys.key_blocks["Smile"].driver_add("value").driver
    variable = driver.variables.new()
    variable.targets[0].id, variable.targets[0].data_path = head, '["Smile"]'
    driver.expression = variable.name
    return property_controls(head, ('["Smile"]',))[0]


CASES = ((_keys, NEW_ACTION), (_keys, LAYER), (_bone, NEW_ACTION), (_property, NEW_ACTION))


@pytest.mark.parametrize(("rig", "mode"), CASES, ids=lambda each: getattr(each, "__name__", each))
@pytest.mark.parametrize("suffix", round_trip.WAYS)
def test_a_bake_survives(
    tmp_path: Path, rig: Callable[[bpy.types.Object], Sequence[RigControl]], mode: str, suffix: str
) -> None:
    scene = _scene()
    head = make_head()
    still = shape(head)
    controls = rig(head)
    moving = next(each.control.name for each in controls if each.control.name.startswith("Smile"))
    job = solved(tmp_path, controls, {moving: pulse(COUNT, APEX, 0.5)}, apex=APEX)
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
