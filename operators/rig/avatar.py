# SPDX-License-Identifier: GPL-3.0-or-later
"""The avatar as an object of the file: whether it can be captured, and which meshes are its face."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import cast

import bpy
import numpy as np

from ...backend_bridge.files.errors import InputError
from ..blender.data import mesh_of, shape_keys_of
from .projection import camera_problem

NO_AVATAR = "Choose the avatar: the mesh object whose face is to move."


def chosen_avatar(context: bpy.types.Context) -> bpy.types.Object:
    """Return the avatar of the scene's settings. Raises `InputError` when none is chosen."""
    avatar = context.scene.magplus.avatar
    if avatar is None:
        raise InputError(NO_AVATAR)
    return avatar


def mesh_hash(avatar: bpy.types.Object) -> str:
    """Return a hash of an avatar's mesh as it is modelled, by which it is known in a file of another name."""
    vertices = mesh_of(avatar).vertices
    places = np.empty(len(vertices) * 3, np.float32)
    vertices.foreach_get("co", places)
    return hashlib.sha256(places.tobytes()).hexdigest()


def capture_problem(context: bpy.types.Context, target: bpy.types.Object | None, vertex_group: str = "") -> str:
    """Return why the avatar can't be captured now, as a sentence that says what to do, or an empty string."""
    if target is None or target.type != "MESH":
        return NO_AVATAR
    if problem := _unseen(context, target):
        return problem
    if problem := edited_problem(target):
        return problem
    if not mesh_of(target).polygons:
        return f"{target.name!r} has no faces; choose the mesh with the face."
    if vertex_group and vertex_group not in target.vertex_groups:
        return f"{target.name!r} has no vertex group {vertex_group!r}; choose another."
    return ""


def edited_problem(obj: bpy.types.Object) -> str:
    """Return that an object is in a mode in which its shape keys move nothing, or an empty string."""
    return f"{obj.name!r} is being edited; go back to Object Mode." if obj.mode in {"EDIT", "SCULPT"} else ""


def _unseen(context: bpy.types.Context, target: bpy.types.Object) -> str:
    """Return why the scene's camera would not show a mesh, or an empty string."""
    name, layer = target.name, context.view_layer
    if name not in layer.objects:
        if name in context.scene.objects:
            return f"{name!r} is excluded from the view layer {layer.name!r}; tick its collection in the Outliner."
        if problem := instance_problem(each for each in context.scene.objects if _has_instance_of(each, target)):
            return problem
        return f"{name!r} is not in the scene {context.scene.name!r}; go to the scene that it is in, or link it here."
    if target.hide_render or not target.visible_get(view_layer=layer):
        return f"{name!r} is hidden; show it in the viewport and in renders."
    if not target.visible_camera:
        return f"{name!r} is hidden from the camera; tick Camera in Properties > Object > Visibility."
    if target.is_holdout or target.holdout_get(view_layer=layer) or target.indirect_only_get(view_layer=layer):
        return (
            f"{name!r} is rendered as a holdout or indirectly only; switch that off in Properties > Object > "
            "Visibility, and for its collection in the Outliner."
        )
    return ""


def instance_problem(objects: Iterable[bpy.types.Object]) -> str:
    """Return the next step where a character is there only as the instance of a collection; else an empty string."""
    for obj in objects:
        collection = obj.instance_collection if obj.instance_type == "COLLECTION" else None
        if collection is None or not any(each.type == "MESH" for each in collection.all_objects):
            continue
        step = (
            "Object > Library Override > Make"
            if collection.library is not None
            else "Object > Apply > Make Instances Real"
        )
        return (
            f"{obj.name!r} shows the collection {collection.name!r} as an instance, which can't be keyed; select it, "
            f"choose {step}, then choose the mesh with the face."
        )
    return ""


def _has_instance_of(obj: bpy.types.Object, target: bpy.types.Object) -> bool:
    collection = obj.instance_collection
    return collection is not None and any(each == target for each in collection.all_objects)


def has_shape_keys(avatar: bpy.types.Object) -> bool:
    """Whether the mesh has a shape key beside its basis."""
    keys = shape_keys_of(avatar)
    return keys is not None and len(keys.key_blocks) > 1


def face_has_shape_keys(context: bpy.types.Context, avatar: bpy.types.Object) -> bool:
    """Whether the avatar or another mesh of its face has a shape key beside its basis."""
    return has_shape_keys(avatar) or any(has_shape_keys(mesh) for mesh in face_companions(context, avatar))


def seen_avatar_problem(context: bpy.types.Context) -> str:
    """Return why the scene's avatar can't be captured through its camera, or an empty string."""
    settings, camera = context.scene.magplus, context.scene.camera
    return capture_problem(context, settings.avatar, settings.vertex_group) or camera_problem(camera)


def face_companions(context: bpy.types.Context, target: bpy.types.Object) -> list[bpy.types.Object]:
    """Return the further meshes whose shape keys belong to the same face: of teeth, eyes, lashes, a beard.

    They hang on the same rig (armature or parents) as `target`. Meshes without shape keys add nothing to what can be
    solved; those that the rig moves are found when it is measured (`operators.rig.face.face_steps`).
    """
    rig = _rigs(target)

    def belongs(obj: bpy.types.Object) -> bool:
        return obj != target and not capture_problem(context, obj) and shape_keys_of(obj) is not None

    return [obj for obj in context.view_layer.objects if belongs(obj) and ((_rigs(obj) | {obj}) & (rig | {target}))]


def on_one_armature(objects: Iterable[bpy.types.Object]) -> list[bpy.types.Object]:
    """Return the objects of the file that hang on the same armatures as some do, those and the armatures among them.

    What hangs on none is one by itself: parents alone do not tell a character, several may stand below one.
    """
    wanted = set[bpy.types.Object]().union(*({obj} | _armatures(obj) for obj in objects))
    return [obj for obj in bpy.data.objects if wanted & ({obj} | _armatures(obj))]


def _armatures(obj: bpy.types.Object) -> set[bpy.types.Object]:
    return {each for each in _rigs(obj) if each.type == "ARMATURE"} if obj.type == "MESH" else set()


def _rigs(obj: bpy.types.Object) -> set[bpy.types.Object]:
    modifiers = [cast(bpy.types.ArmatureModifier, each) for each in obj.modifiers if each.type == "ARMATURE"]
    found = {modifier.object for modifier in modifiers if modifier.object is not None}
    above = obj.parent
    while above is not None:  # up to the character: what stands above its armature holds several
        found.add(above)
        above = above.parent if above.type != "ARMATURE" else None
    return found


def find_object(uid: int) -> bpy.types.Object | None:
    """Return the object with this session uid, or None when it is no longer in the file."""
    return next((candidate for candidate in bpy.data.objects if candidate.session_uid == uid), None)
