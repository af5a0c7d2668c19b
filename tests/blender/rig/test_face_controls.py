# SPDX-License-Identifier: GPL-3.0-or-later
"""What can move a face is found, described, measured, and used as a person chooses."""

from __future__ import annotations

import importlib
import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import bpy
import numpy as np
import pytest
from bl_ext.user_default.magplus.backend_bridge.files.errors import InputError
from bl_ext.user_default.magplus.backend_bridge.rig.basis import Control
from bl_ext.user_default.magplus.operators.measure_controls import choice_of, matching
from bl_ext.user_default.magplus.operators.rig.face_controls import (
    ControlChoice,
    chosen_controls,
    describe,
    is_left,
    partners,
    search_controls,
)
from bl_ext.user_default.magplus.operators.rig.kinds.bone import Bones
from bl_ext.user_default.magplus.operators.rig.kinds.property import CustomProperties
from bl_ext.user_default.magplus.operators.rig.kinds.shape_key import ShapeKeys

from tests.blender.head import add_armature, add_camera, add_key, dump, make_head, quick_render


@pytest.fixture
def rig() -> SimpleNamespace:
    """A head with lashes, an armature with a jaw, a head bone, lip bones and a property that drives a key."""
    quick_render(320, 240)
    add_camera()
    head, lashes = make_head(), make_head("Lashes")
    lashes.scale, lashes.location = (0.1, 0.1, 0.1), (0, -1.1, 0.5)
    co = np.empty((len(head.data.vertices), 3), np.float32)
    head.data.vertices.foreach_get("co", co.ravel())
    front = np.clip(-co[:, 1], 0, 1)
    for side, sign in (("Left", 1), ("Right", -1)):
        add_key(head, f"mouthSmile{side}", co, np.outer(front * (sign * co[:, 0] > 0.2) * (co[:, 2] < 0), (0, 0, 0.2)))
    add_key(head, "Behind", co, np.outer(np.clip(co[:, 1] - 0.5, 0, 1), (0.2, 0, 0)))
    heads = {"head": (0, 0, 0), "lip.L": (0.3, -1, -0.3), "lip.R": (-0.3, -1, -0.3), "toe": (0, 0, -9)}
    armature = add_armature(heads, along=(0, 0, 0.5))
    groups = {"head": front * 0 + 1, "lip.L": front * (co[:, 0] > 0.5), "lip.R": front * (co[:, 0] < -0.5)}
    for name, weights in groups.items():
        group = head.vertex_groups.new(name=name)
        for index in np.flatnonzero(weights):
            group.add([int(index)], float(weights[index]), "REPLACE")
    lashes.vertex_groups.new(name="head").add(range(len(lashes.data.vertices)), 1.0, "REPLACE")
    for obj in (head, lashes):
        obj.modifiers.new("Armature", "ARMATURE").object = armature
    armature["frown"] = 0.0
    armature["note"] = "not a number"
    armature.id_properties_ui("frown").update(soft_min=0.0, soft_max=1.0)
    armature.update_tag()  # a property added by Python is unknown to drivers until then
    driver = head.data.shape_keys.key_blocks["Brow Up"].driver_add("value").driver
    driver.type = "AVERAGE"
    driver.variables.new().targets[0].id = armature
    driver.variables[0].targets[0].data_path = '["frown"]'
    bpy.context.scene.magplus.avatar = head
    return SimpleNamespace(head=head, lashes=lashes, armature=armature, settings=bpy.context.scene.magplus)


def traces() -> dict[str, object]:
    """What is in the file beside our settings, and beside what Blender's undo looks at."""
    return {key: value for key, value in dump().items() if "magplus" not in key and "particle_edit" not in key}


def listed(settings: Any) -> dict[str, Any]:
    return {entry.name: entry for entry in settings.controls}


def test_every_control_is_found_and_measured_and_the_rig_left_as_it_was(rig) -> None:
    bpy.context.view_layer.update()
    before = traces()
    assert bpy.ops.magplus.measure_controls() == {"FINISHED"}
    assert traces() == before
    entries = listed(rig.settings)
    assert {name for name, entry in entries.items() if entry.kind == ShapeKeys.name} == {
        *("Nod", "Smile", "Behind", "mouthSmileLeft", "mouthSmileRight", "Lashes: Brow Up")
    }
    assert entries["frown"].kind == CustomProperties.name and entries["lip.L location X"].kind == Bones.name
    assert not any("toe" in name for name in entries), "it is not in the picture"
    assert "is driven" in search_controls((rig.head, rig.lashes))[1]["Brow Up"]
    # 0.2 to the side, 6 away, seen by 50 mm on a 36 mm sensor 320 px wide.
    assert entries["Smile"].pixels == pytest.approx(0.2 / 5.05 * 50 / 36 * 320, rel=0.05)
    assert entries["Behind"].note == "can't be seen from here"
    assert entries["head location X"].note == "moves the whole head"
    pixels = [entry.pixels for entry in rig.settings.controls]
    assert pixels == sorted(pixels, reverse=True)
    assert max(entry.visibility for entry in rig.settings.controls) == pytest.approx(1.0)


def test_by_default_keys_and_properties_are_solved_and_bones_only_without_them(rig) -> None:
    bpy.ops.magplus.measure_controls()
    assert {entry.name for entry in rig.settings.controls if entry.solve} == {
        *("Nod", "Smile", "mouthSmileLeft", "mouthSmileRight", "Lashes: Brow Up", "frown")
    }
    for obj in (rig.head, rig.lashes):
        obj.shape_key_clear()
    del rig.armature["frown"]
    rig.settings.controls.clear()
    bpy.ops.magplus.measure_controls()
    assert rig.settings.shape_keys
    solved = {entry.name for entry in rig.settings.controls if entry.solve}
    assert solved == {f"lip.{side} location {axis}" for side in "LR" for axis in "XY"}, "Z is towards the camera"


def test_what_was_chosen_stays_chosen_when_measured_again(rig) -> None:
    bpy.ops.magplus.measure_controls()
    entries = listed(rig.settings)
    entries["Smile"].solve, entries["Nod"].lock, entries["mouthSmileLeft"].mirror = False, True, True
    assert entries["mouthSmileRight"].mirror, "it is the other side of the same"
    bpy.ops.magplus.measure_controls()
    entries = listed(rig.settings)
    assert not entries["Smile"].solve and entries["Nod"].lock
    assert entries["mouthSmileLeft"].mirror and entries["mouthSmileRight"].mirror
    choice = choice_of(rig.settings)
    assert "Smile" not in choice.used and "Nod" in choice.used
    assert choice.locked == ("Nod",)
    assert choice.mirrored == (("mouthSmileLeft", "mouthSmileRight"),)
    controls, _ = chosen_controls((rig.head, rig.lashes), choice)
    assert tuple(control.control.name for control in controls) == choice.used


def test_another_avatar_has_other_controls(rig) -> None:
    bpy.ops.magplus.measure_controls()
    rig.settings.avatar = rig.lashes
    assert not rig.settings.controls
    assert choice_of(rig.settings) == ControlChoice()


def test_a_control_that_is_gone_is_named(rig) -> None:
    with pytest.raises(InputError, match="control 'Grin' is no longer on the rig"):
        chosen_controls((rig.head,), ControlChoice(("Smile", "Grin")))
    with pytest.raises(InputError, match="control 'Brow Up' is driven"):
        chosen_controls((rig.head,), ControlChoice(("Brow Up",)))


def test_patterns_choose_by_name(rig) -> None:
    bpy.ops.magplus.measure_controls()
    assert matching(rig.settings, ["mouth*", "frown"]) == {"mouthSmileLeft", "mouthSmileRight", "frown"}
    with pytest.raises(InputError, match="No control is called 'brow\\*'"):
        matching(rig.settings, ["brow*"])


def test_many_are_chosen_at_once(rig) -> None:
    bpy.ops.magplus.measure_controls()
    for which, expected in (("NONE", 0), ("ALL", len(rig.settings.controls)), ("INVERT", 0)):
        bpy.ops.magplus.choose_controls(which=which)
        assert sum(entry.solve for entry in rig.settings.controls) == expected
    bpy.ops.magplus.choose_controls(which="SEEN")
    assert all(entry.solve == (not entry.note) for entry in rig.settings.controls)
    bpy.ops.magplus.choose_controls(which="MIRROR")
    assert {entry.name for entry in rig.settings.controls if entry.mirror} >= {"mouthSmileLeft", "lip.L location Z"}
    assert not listed(rig.settings)["lip.L location X"].mirror, "mirrored bones move their X the other way"


def named(name: str, kind: str, owner: str = "Head") -> Control:
    """A control of this name, which is the part's own or says how a bone moves."""
    part, motion, axis = name.rsplit(" ", 2) if kind == Bones.name else (name, "", "")
    return Control(name, kind, owner, "path", 0.0, 0.0, 1.0, part=part, motion=motion, axis=axis)


@pytest.mark.parametrize(
    "name, kind, other, left",
    [
        ("mouthSmileLeft", ShapeKeys.name, "mouthSmileRight", True),
        ("Mouth_Smile_R", ShapeKeys.name, "Mouth_Smile_L", False),
        ("jawOpen", ShapeKeys.name, "", False),
        ("lip.T.L.001 location Z", Bones.name, "lip.T.R.001 location Z", True),
        ("lip.T.R.001 location X", Bones.name, "", False),
        ("brow.L rotation X", Bones.name, "brow.R rotation X", True),
    ],
)
def test_sides(name: str, kind: str, other: str, left: bool) -> None:
    names = {name, bpy.utils.flip_name(name), "lip.T.R.001 location Z", "brow.R rotation X", "lip.T.L.001 location X"}
    controls = {each: named(each, kind) for each in names}
    assert partners(controls.values()).get(name, "") == other
    assert is_left(controls[name]) == left


def test_of_two_rigs_with_the_same_bones_each_has_its_own_sides() -> None:
    rigs = [named(f"lip.{side} location Z", Bones.name, owner) for owner in ("Rig", "Twin") for side in "LR"]
    rigs[2:] = [replace(each, name=f"Twin: {each.name}") for each in rigs[2:]]
    assert partners(rigs)["Twin: lip.R location Z"] == "Twin: lip.L location Z"
    assert partners(rigs)["lip.L location Z"] == "lip.R location Z"


def test_action_units_are_named_for_people() -> None:
    assert describe("Mouth_Smile_L") == "AU12 lip corner puller, left"
    assert describe("browInnerUp") == "AU1 inner brow raiser"
    assert describe("mouthPressLeft") == "AU24 (about) lip pressor, left"
    assert describe("Ärger 怒り") == ""


def test_the_list_is_searched_by_name_and_by_action_unit(rig) -> None:
    bpy.ops.magplus.measure_controls()
    control_list = importlib.import_module("bl_ext.user_default.magplus.magplus_addon.control_list")

    def shown(text: str, only_seen: bool = True) -> set[str]:
        fake = SimpleNamespace(filter_name=text, only_seen=only_seen, bitflag_filter_item=1 << 30)
        flags, _ = control_list.MAGPLUS_UL_controls.filter_items(fake, bpy.context, rig.settings, "controls")
        return {entry.name for entry, flag in zip(rig.settings.controls, flags, strict=True) if flag}

    assert shown("au12") >= {"Smile", "mouthSmileLeft", "mouthSmileRight", "lip.L location Y"}
    assert not [name for name in shown("au12") if not name.lower().startswith(("smile", "mouthsmile", "lip."))]
    assert shown("lip.l loc") == {f"lip.L location {axis}" for axis in "XYZ"}
    assert "Behind" not in shown("") and "Behind" in shown("", only_seen=False)


def test_a_hidden_bone_is_none_for_an_animator(rig) -> None:
    bpy.ops.magplus.measure_controls()
    assert "lip.L location Z" in listed(rig.settings)
    rig.armature.data.bones["lip.L"].hide = True
    collection = rig.armature.data.collections.new("Mechanism")
    collection.assign(rig.armature.data.bones["lip.R"])
    collection.is_visible = False
    if hasattr(rig.armature.pose.bones[0], "hide"):
        rig.armature.pose.bones["lip.L"].hide = True
    found, _ = search_controls((rig.head,))
    assert not any("lip" in control.control.name for control in found)


def test_a_camera_that_sees_nothing_is_one_sentence(rig) -> None:
    bpy.context.scene.camera.rotation_euler.z = math.pi
    bpy.context.view_layer.update()
    with pytest.raises(RuntimeError, match="sees nothing of 'Head'"):
        bpy.ops.magplus.measure_controls()


def test_what_a_face_board_beside_the_picture_drives_is_solved(rig) -> None:
    """Boards lie beside a face, and a shot frames the face."""
    bones = ("root", "CTRL_L_mouth_cornerPull", "panel", "button", "hand")
    board = add_armature({name: (5, 0, height) for height, name in enumerate(bones)}, along=(0, 0, 0.3))
    panel = board.pose.bones["panel"]
    panel['"pout"'] = 0.0
    panel.id_properties_ui('"pout"').update(soft_min=0.0, soft_max=1.0)
    board.update_tag()
    keys = rig.head.data.shape_keys.key_blocks
    driver = keys["Smile"].driver_add("value").driver
    driver.type = "SUM"
    driver.variables.new().type = "TRANSFORMS"
    target = driver.variables[0].targets[0]
    target.id, target.bone_target, target.transform_type = board, "CTRL_L_mouth_cornerPull", "LOC_Y"
    target.transform_space = "LOCAL_SPACE"
    driver = keys["mouthSmileLeft"].driver_add("value").driver
    driver.type = "SUM"
    target = driver.variables.new().targets[0]
    target.id, target.data_path = board, panel.path_from_id() + '["\\"pout\\""]'
    turning = rig.armature.pose.bones["lip.R"].constraints.new("TRANSFORM")
    turning.target, turning.subtarget = board, "button"
    turning.target_space = turning.owner_space = "LOCAL"
    turning.map_to_x_from, turning.from_max_y, turning.to_max_x = "Y", 0.3, 0.2
    bpy.context.view_layer.update()
    bpy.ops.magplus.measure_controls()
    entries = listed(rig.settings)
    board_controls = {name for name in entries if name.split()[0] in bones or name == '"pout"'}
    assert board_controls == {"CTRL_L_mouth_cornerPull location Y", '"pout"', "button location Y"}
    corner = entries["CTRL_L_mouth_cornerPull location Y"]
    assert corner.pixels > 5 and not corner.note
    assert entries['"pout"'].solve, "a property is solved, as are shape keys"


def test_a_picture_that_an_avatar_hangs_on_has_no_drivers(rig) -> None:
    picture = bpy.data.objects.new("Reference", None)
    picture.empty_display_type, picture.data = "IMAGE", bpy.data.images.new("Reference", 8, 8)
    bpy.context.scene.collection.objects.link(picture)
    rig.armature.parent = picture
    assert bpy.ops.magplus.measure_controls() == {"FINISHED"}
    assert "frown" in listed(rig.settings)
