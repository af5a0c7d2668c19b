# SPDX-License-Identifier: GPL-3.0-or-later
"""The avatar as an object of the file: whether it can be captured, and which meshes are its face."""

from __future__ import annotations

import bpy


def capture_problem(context: bpy.types.Context, target: bpy.types.Object | None, vertex_group: str = "") -> str:
    """Return why the avatar can't be captured now, as a sentence that says what to do, or an empty string."""
    if target is None or target.type != "MESH":
        return "Choose the avatar: the mesh object whose face is to move."
    if target.name not in context.view_layer.objects:
        return f"{target.name!r} is not in this view layer; choose another avatar or link it."
    if target.hide_render or not target.visible_get(view_layer=context.view_layer):
        return f"{target.name!r} is hidden; show it in the viewport and in renders."
    if target.mode in {"EDIT", "SCULPT"}:
        return f"{target.name!r} is being edited; go back to Object Mode."
    if not target.data.polygons:
        return f"{target.name!r} has no faces; choose the mesh with the face."
    if vertex_group and vertex_group not in target.vertex_groups:
        return f"{target.name!r} has no vertex group {vertex_group!r}; choose another."
    return ""


def has_shape_keys(avatar: bpy.types.Object) -> bool:
    """Whether the mesh has a shape key beside its basis."""
    keys = avatar.data.shape_keys
    return keys is not None and len(keys.key_blocks) > 1


def face_companions(context: bpy.types.Context, target: bpy.types.Object) -> list[bpy.types.Object]:
    """Return the further meshes whose shape keys belong to the same face: of teeth, eyes, lashes, a beard.

    They hang on the same rig (armature or parent) as `target`. Meshes without shape keys have no say in what can be
    solved; those that the rig moves are found when it is measured (`rig_basis.find_face`).
    """
    rig = _rigs(target)

    def belongs(obj: bpy.types.Object) -> bool:
        return obj != target and not capture_problem(context, obj) and obj.data.shape_keys is not None

    return [obj for obj in context.view_layer.objects if belongs(obj) and ((_rigs(obj) | {obj}) & (rig | {target}))]


def _rigs(obj: bpy.types.Object) -> set[bpy.types.Object]:
    armatures = {modifier.object for modifier in obj.modifiers if modifier.type == "ARMATURE"}
    return (armatures | {obj.parent}) - {None}


def find_object(uid: int) -> bpy.types.Object | None:
    """Return the object with this session uid, or None when it is no longer in the file."""
    return next((candidate for candidate in bpy.data.objects if candidate.session_uid == uid), None)
