# SPDX-License-Identifier: GPL-3.0-or-later
"""Drivers of a character that don't work are named, with what to do about it."""

from __future__ import annotations

from pathlib import Path

import bpy
import pytest
from bl_ext.user_default.magplus.magplus_addon.commands import main
from bl_ext.user_default.magplus.operators.avatar.broken_drivers import broken_drivers
from bl_ext.user_default.magplus.operators.avatar.reasons import no_controls
from bl_ext.user_default.magplus.operators.rig.face_controls import default_controls

from tests.blender.head import add_armature, add_camera, make_head


def drive(key: bpy.types.ShapeKey, rig: bpy.types.Object, expression: str, path: str = '["smile"]') -> bpy.types.FCurve:
    """Let a property of a rig drive a shape key."""
    curve = key.driver_add("value")
    variable = curve.driver.variables.new()
    variable.name, variable.targets[0].id, variable.targets[0].data_path = "v", rig, path
    curve.driver.type, curve.driver.expression = "SCRIPTED", expression
    return curve


@pytest.fixture
def head() -> bpy.types.Object:
    add_camera()
    head = make_head()
    head.parent = add_armature({"head": (0, 0, -1)})
    head.parent["smile"] = 0.0
    head.parent.id_properties_ui("smile").update(min=0.0, max=1.0, soft_min=0.0, soft_max=1.0)
    head.parent.update_tag()  # for the drivers, which look at an evaluated copy
    bpy.context.view_layer.update()
    return head


def test_drivers_that_work_or_are_muted_are_not_named(head: bpy.types.Object) -> None:
    keys = head.data.shape_keys.key_blocks
    drive(keys["Smile"], head.parent, "max(0, v) * 2")
    drive(keys["Nod"], head.parent, "v", '["gone"]').mute = True
    assert broken_drivers(head, (head,)) == ""


def test_a_driver_that_looks_at_what_is_gone_is_named(head: bpy.types.Object) -> None:
    drive(head.data.shape_keys.key_blocks["Smile"], head.parent, "v", '["gone"]')
    assert broken_drivers(head, (head,)) == (
        "Drivers of 'Head' don't work (Head: key_blocks[\"Smile\"].value), so what they move keeps still; mend or "
        "remove them in the Drivers Editor."
    )


def test_scripts_that_blender_keeps_from_running_are_said(head: bpy.types.Object, tmp_path: Path) -> None:
    for key in head.data.shape_keys.key_blocks[1:]:
        drive(key, head.parent, "the_riggers_own(v)")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "rig.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "rig.blend"), use_scripts=False)
    head = bpy.data.objects["Head"]
    said = broken_drivers(head, (head,))
    assert said.startswith("Blender keeps the scripts of this file from running, so drivers of 'Head' don't work")
    assert no_controls(head, default_controls((head,))[1]) == said, "not to choose what drives the keys"


def test_the_list_of_controls_comes_with_it(head: bpy.types.Object, capfd: pytest.CaptureFixture[str]) -> None:
    drive(head.data.shape_keys.key_blocks["Nod"], head.parent, "v", '["gone"]')
    assert main(["controls", "--avatar", "Head"]) == 0
    assert "magplus: warning: Drivers of 'Head' don't work" in capfd.readouterr().err
