# SPDX-License-Identifier: GPL-3.0-or-later
"""An object's data as what it is: which kind an object has depends on its type, which a type checker can't know."""

from __future__ import annotations

from typing import cast

import bpy


def mesh_of(obj: bpy.types.Object) -> bpy.types.Mesh:
    """Return the data of an object that is a mesh."""
    return cast(bpy.types.Mesh, obj.data)


def camera_of(obj: bpy.types.Object) -> bpy.types.Camera:
    """Return the data of an object that is a camera."""
    return cast(bpy.types.Camera, obj.data)


def shape_keys_of(obj: bpy.types.Object) -> bpy.types.Key | None:
    """Return the shape keys of an object, None where its kind or it itself has none."""
    return getattr(obj.data, "shape_keys", None)


def pose_bones_of(obj: bpy.types.Object) -> bpy.types.bpy_prop_collection[bpy.types.PoseBone]:
    """Return the pose bones of an object that is an armature."""
    return cast(bpy.types.Pose, obj.pose).bones


def drivers_of(obj: bpy.types.Object) -> list[bpy.types.FCurve]:
    """Return the drivers of an object, of its data and of its shape keys."""
    blocks = [block for block in (obj, obj.data, shape_keys_of(obj)) if block is not None]
    animated = [found for block in blocks if (found := getattr(block, "animation_data", None)) is not None]
    return [curve for animation in animated for curve in animation.drivers if curve.driver is not None]


def wearers(id_block: bpy.types.ID) -> set[bpy.types.Object]:
    """Return the objects of which an ID is a part: the object itself, or those with its data or its shape keys."""
    data = id_block.user if isinstance(id_block, bpy.types.Key) else id_block
    return {obj for obj in bpy.data.objects if data in (obj, obj.data)}
