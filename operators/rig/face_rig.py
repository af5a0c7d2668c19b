# SPDX-License-Identifier: GPL-3.0-or-later
"""What belongs to a face: its meshes, and whatever acts on them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import bpy

from ..blender.data import drivers_of, pose_bones_of, shape_keys_of
from .projection import Projection

_BONE = re.compile(r'^pose\.bones\["(?P<name>(?:[^"\\]|\\.)*)"\]')  # that a driver reads a property of
_TURNING = {"ACTION", "TRANSFORM"}  # constraints that make another motion of a bone's


@dataclass(frozen=True)
class FaceRig:
    """Where controls of a face are looked for.

    meshes: of the face, the avatar's first. acting: the objects that act on them, at any remove. projection: how the
    camera sees them, where it is known; what lies outside its picture is no control of this face.
    """

    meshes: tuple[bpy.types.Object, ...]
    acting: tuple[bpy.types.Object, ...] = ()
    projection: Projection | None = None

    @classmethod
    def around(cls, meshes: Sequence[bpy.types.Object], projection: Projection | None = None) -> FaceRig:
        """Follow modifiers, parents, constraints and drivers from the meshes to all that acts on them."""
        found = list(meshes)
        for obj in found:  # grows
            found += [other for other in dict.fromkeys(_acting_on(obj)) if other not in found]
        return cls(tuple(meshes), tuple(found[len(meshes) :]), projection)

    def handles(self, armature: bpy.types.Object) -> set[str]:
        """Return the names of an armature's bones that move others by drivers or constraints: those of a face board.

        They lie anywhere, as what they move is elsewhere.
        """
        found: set[str] = set()
        for obj in (*self.meshes, *self.acting):
            targets = [target for curve in drivers_of(obj) for v in curve.driver.variables for target in v.targets]
            found |= {_bone_of(target) for target in targets if target.id == armature}
            constraints = [c for bone in (pose_bones_of(obj) if obj.pose is not None else ()) for c in bone.constraints]
            turning = [each for each in (*obj.constraints, *constraints) if each.type in _TURNING]
            found |= {each.subtarget for each in turning if each.target == armature}
        return found - {""}


def _bone_of(target: bpy.types.DriverTarget) -> str:
    """Return the name of the bone that a driver's target is about, empty where it is about none."""
    path = _BONE.match(target.data_path)
    return target.bone_target or (bpy.utils.unescape_identifier(path["name"]) if path is not None else "")


def _acting_on(obj: bpy.types.Object) -> Iterator[bpy.types.Object]:
    """Give the objects that an object depends on directly."""
    bones = obj.pose.bones if obj.pose is not None else ()
    users = [*obj.modifiers, *obj.constraints, *(c for bone in bones for c in bone.constraints)]
    users += [target for user in users for target in getattr(user, "targets", ())]  # of armature constraints
    pointers = [obj.parent, *(getattr(user, name, None) for user in users for name in ("object", "target"))]
    pointers += [target.id for curve in drivers_of(obj) for v in curve.driver.variables for target in v.targets]
    for pointer in pointers:
        if isinstance(pointer, bpy.types.Object):
            yield pointer
        elif pointer is not None:  # a driver may look at the shape keys themselves
            yield from (other for other in bpy.data.objects if shape_keys_of(other) == pointer)
