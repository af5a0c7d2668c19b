# SPDX-License-Identifier: GPL-3.0-or-later
"""A face of many meshes: whatever a control moves is in the basis, however it hangs on the rig."""

from __future__ import annotations

import math
from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from bl_ext.user_default.magplus.backend_bridge.rig.basis import RigBasis
from bl_ext.user_default.magplus.operators.rig.basis import survey_steps
from bl_ext.user_default.magplus.operators.rig.face import Face
from bl_ext.user_default.magplus.operators.rig.face_controls import search_controls
from bl_ext.user_default.magplus.operators.rig.projection import present_projection
from bl_ext.user_default.magplus.operators.rig.surface import read_points
from bl_ext.user_default.magplus.operators.running.steps import run_to_end

from tests.blender.head import add_armature, add_camera, dump, make_head, quick_render
from tests.blender.rig.found_face import find_face


@pytest.fixture
def rig() -> SimpleNamespace:
    """A head with shape keys; lashes that its keys drive; teeth on a jaw that copies a control bone; an eye on a bone.

    Nothing but drivers ties the lashes and the slider to the head. A scarf below the face follows the jaw, and a brooch
    before it follows nothing.
    """
    quick_render(320, 240)
    add_camera()
    head, lashes = make_head(), make_head("Lashes")
    lashes.scale, lashes.location = (0.1, 0.1, 0.1), (-0.4, -1.1, 0.5)
    lashes.shape_key_remove(lashes.data.shape_keys.key_blocks["Nod"])
    for name in ("Brow Up", "Smile"):
        _drive(lashes.data.shape_keys.key_blocks[name], "KEY", head.data.shape_keys, f'key_blocks["{name}"].value')
    bpy.ops.object.empty_add(location=(3, 0, 0))
    slider = bpy.context.object
    slider.name = "Slider"
    slider["smile"] = 0.0
    slider.id_properties_ui("smile").update(soft_min=0.0, soft_max=1.0)
    slider.update_tag()  # a property added by Python is unknown to drivers until then
    _drive(head.data.shape_keys.key_blocks["Smile"], "OBJECT", slider, '["smile"]')

    heads = {"jaw": (0, 0, -0.3), "jaw control": (0, 0, -0.3), "eye": (0.4, -0.95, 0.3)}
    armature = add_armature(heads, along=(0, -0.3, 0))
    armature.pose.bones["jaw"].constraints.new("COPY_TRANSFORMS").target = armature
    armature.pose.bones["jaw"].constraints[0].subtarget = "jaw control"
    armature.data.bones["jaw"].hide = True
    for bone in armature.pose.bones:
        bone.rotation_mode = "XYZ"
    head.parent = armature
    bpy.ops.mesh.primitive_uv_sphere_add(radius=0.2, location=(0.4, -0.95, 0.3))
    eye = _on_bone(bpy.context.object, "Eye", armature, "eye")
    bpy.ops.mesh.primitive_cube_add(size=0.3, location=(0, -1.1, -0.4))
    teeth = _on_bone(bpy.context.object, "Teeth", armature, "jaw")
    bpy.ops.mesh.primitive_cube_add(size=0.3, location=(0.7, -1.1, -0.6))
    bpy.ops.mesh.primitive_cube_add(size=0.3, location=(0, -1.1, -1.2))
    _on_bone(bpy.context.object, "Scarf", armature, "jaw")
    bpy.context.view_layer.update()
    return SimpleNamespace(head=head, lashes=lashes, eye=eye, teeth=teeth, armature=armature)


def _drive(key: bpy.types.ShapeKey, kind: str, owner: bpy.types.ID, path: str) -> None:
    driver = key.driver_add("value").driver
    driver.type = "AVERAGE"
    variable = driver.variables.new()
    variable.type = "SINGLE_PROP"
    variable.targets[0].id_type = kind
    variable.targets[0].id, variable.targets[0].data_path = owner, path


def _on_bone(obj: bpy.types.Object, name: str, armature: bpy.types.Object, bone: str) -> bpy.types.Object:
    place = obj.matrix_world.copy()
    obj.name, obj.parent, obj.parent_type, obj.parent_bone = name, armature, "BONE", bone
    bpy.context.view_layer.update()
    obj.matrix_world = place
    return obj


def measured(head: bpy.types.Object) -> tuple[Face, RigBasis]:
    projection = present_projection(bpy.context, bpy.context.scene.camera)
    controls, excluded = search_controls((head,), projection)
    face = find_face(bpy.context, (head,), projection, controls)
    return face, run_to_end(survey_steps(bpy.context, face, controls, excluded)).basis


def motion(face: Face, basis: RigBasis, name: str) -> dict[str, float]:
    """How far a control moves each object's vertices at most, px per unit."""
    column = np.linalg.norm(basis.displacement[[c.name for c in basis.controls].index(name)], axis=1)
    depsgraph = bpy.context.evaluated_depsgraph_get()
    ends = np.cumsum([len(read_points((obj,), depsgraph)[0]) for obj in face.objects])
    owner = np.searchsorted(ends, face.vertices, side="right")
    return {obj.name: float(column[owner == index].max(initial=0.0)) for index, obj in enumerate(face.objects)}


def test_whatever_a_control_moves_is_measured_and_nothing_else(rig) -> None:
    before = dump()
    face, basis = measured(rig.head)
    assert dump() == before
    assert face.objects[0] == rig.head
    assert set(face.objects) == {rig.head, rig.lashes, rig.eye, rig.teeth}, "nor is the scarf a part of the face"
    moved = {c.name: {name for name, most in motion(face, basis, c.name).items() if most > 1} for c in basis.controls}
    assert moved["Brow Up"] == {"Head", "Lashes"}
    assert moved["Nod"] == {"Head"}
    assert moved["smile"] == {"Head", "Lashes"}, "a property drives a key, and that key drives another mesh's"
    assert moved["jaw control location Z"] == {"Teeth"}
    assert moved["eye rotation Z"] == {"Eye"}
    assert {"Smile", "jaw location Z", "Lashes: Smile"}.isdisjoint(moved)


def test_what_hangs_on_a_bone_moves_in_the_basis_as_posing_the_bone_moves_it(rig) -> None:
    face, basis = measured(rig.head)
    bone = rig.armature.pose.bones["eye"]
    bone.rotation_euler.z = angle = math.radians(2)
    bpy.context.view_layer.update()
    points, _ = read_points(face.objects, bpy.context.evaluated_depsgraph_get())
    positions, _ = face.projection.project(points[face.vertices])
    column = basis.displacement[[c.name for c in basis.controls].index("eye rotation Z")]
    assert np.abs(positions - basis.positions).max() > 0.5
    assert basis.positions + angle * column == pytest.approx(positions, abs=0.02)


def test_a_rig_whose_keys_are_all_driven_is_moved_by_what_drives_them(rig) -> None:
    controls, excluded = search_controls((rig.lashes,))
    names = {control.control.name for control in controls}
    assert {"Head: Brow Up", "Nod", "smile"} <= names
    assert {reason for name, reason in excluded.items() if "Brow Up" in name or "Smile" in name} == {"is driven"}
