# SPDX-License-Identifier: GPL-3.0-or-later
"""What belongs to a face: its meshes, and whatever acts on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import bpy

from ..blender.data import shape_keys_of
from .projection import Projection


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


def _acting_on(obj: bpy.types.Object) -> Iterator[bpy.types.Object]:
    """Give the objects that an object depends on directly."""
    bones = obj.pose.bones if obj.pose is not None else ()
    users = [*obj.modifiers, *obj.constraints, *(c for bone in bones for c in bone.constraints)]
    users += [target for user in users for target in getattr(user, "targets", ())]  # of armature constraints
    pointers = [obj.parent, *(getattr(user, name, None) for user in users for name in ("object", "target"))]
    for block in (obj, obj.data, shape_keys_of(obj)):
        animation = block.animation_data if block is not None else None
        drivers = animation.drivers if animation is not None else ()
        pointers += [target.id for curve in drivers for v in curve.driver.variables for target in v.targets]
    for pointer in pointers:
        if isinstance(pointer, bpy.types.Object):
            yield pointer
        elif pointer is not None:  # a driver may look at the shape keys themselves
            yield from (other for other in bpy.data.objects if shape_keys_of(other) == pointer)
