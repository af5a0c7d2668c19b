# SPDX-License-Identifier: GPL-3.0-or-later
"""What the measurement of a rig is made from, as Blender has it in memory: more than its present pose shows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import bpy
import numpy as np

from ..blender.data import mesh_of, pose_bones_of, shape_keys_of
from .bare_scene import animated_blocks
from .picture_state import Settings

_OF_KEYS = frozenset({"data", "points", "relative_key", "value"})  # read apart; its value is of the pose


def rig_of(objects: Sequence[bpy.types.Object]) -> str:
    """Return a hash of what moves the face's meshes: shape keys, weights, bones with their constraints, drivers."""
    reader, digest = Settings(), hashlib.sha256()
    for part in (each for obj in objects for each in _mesh(obj, reader)):
        digest.update(part if isinstance(part, bytes) else repr(part).encode())
    for part in (*_bones(reader), *_drivers(reader)):
        digest.update(repr(part).encode())
    return digest.hexdigest()


def _mesh(obj: bpy.types.Object, reader: Settings) -> Iterator[Any]:
    mesh, keys = mesh_of(obj), shape_keys_of(obj)
    yield [group.name for group in obj.vertex_groups], _points(mesh.vertices)
    yield [(each.group, each.weight) for vertex in mesh.vertices for each in vertex.groups] if obj.vertex_groups else 0
    for key in keys.key_blocks if keys is not None else ():
        yield key.name, key.relative_key.name, reader.values(key, _OF_KEYS)
        yield _points(key.points)


def _points(points: Any) -> bytes:
    found = np.empty(len(points) * 3, np.float32)
    points.foreach_get("co", found)
    return found.tobytes()


def _bones(reader: Settings) -> Iterator[Any]:
    for rig in (obj for obj in bpy.context.scene.objects if obj.type == "ARMATURE"):
        for bone in pose_bones_of(rig):
            yield rig.name_full, bone.name, np.array(bone.bone.matrix_local).ravel().tolist()
            yield bone.rotation_mode, [(name, repr(bone[name])) for name in bone.keys()]  # noqa: SIM118 - no mapping
            yield [reader.values(constraint) for constraint in bone.constraints]


def _drivers(reader: Settings) -> Iterator[Any]:
    for block in animated_blocks():
        for curve in getattr(block.animation_data, "drivers", ()):
            variables = [reader.values(each) for each in curve.driver.variables]
            yield (
                block.name_full,
                curve.data_path,
                curve.array_index,
                curve.driver.type,
                curve.driver.expression,
                variables,
            )
