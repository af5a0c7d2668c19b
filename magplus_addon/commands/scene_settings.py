# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing options into the scene's settings, as a person would do in the sidebar."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

import bpy

from ...backend_bridge.files.errors import InputError
from ...operators.animation.scene_start import follow_again, is_set
from ...operators.blender.data import mesh_of
from ...operators.rig.avatar import face_companions, has_shape_keys, instance_problem
from ..settings import MagPlusSettings
from .parser import ANIMATION

UNBOUNDED = 2**31 - 1  # Blender's upper end of a whole number that has none; that of other numbers is larger


def choose_avatar(context: bpy.types.Context, name: str | None) -> bpy.types.Object:
    """Make a mesh the scene's avatar and return it; raises `InputError` where it isn't clear which one."""
    settings, avatar = context.scene.magplus, find_avatar(context, name)
    if settings.avatar != avatar:  # choosing it anew forgets what was chosen for it
        settings.avatar = avatar
    return avatar


def choose_camera(scene: bpy.types.Scene, name: str) -> None:
    """Make a camera the scene's, and look through it. Raises `InputError` where there is none, or markers choose."""
    cameras = [candidate for candidate in scene.objects if candidate.type == "CAMERA"]
    chosen = next((camera for camera in cameras if camera.name == name), None)
    if chosen is None:
        there = ", ".join(repr(camera.name) for camera in cameras) or "none"
        raise InputError(f"There is no camera {name!r} in scene {scene.name!r}; its cameras: {there}.")
    if any(marker.camera is not None for marker in scene.timeline_markers):
        raise InputError("Markers of the timeline choose the scene's camera; leave --camera out, or unbind them.")
    scene.camera = chosen
    scene.magplus.look_through = "CAMERA"


def apply_placing(options: argparse.Namespace, settings: MagPlusSettings) -> None:
    """Write what `add_placing` has added, and `add_show_as` where it has."""
    if getattr(options, "show_as", None) is not None:
        settings.frames_to = options.show_as.upper()
    if options.keep_apex is not None:
        settings.keep_apex = options.keep_apex
    if options.animation is not None:
        settings.animation = ANIMATION[options.animation]
    if options.release is not None:
        settings.hold = options.release == "hold"
        if not settings.hold:
            set_property(settings, "release", options.release, "--release")
    set_given(options, settings, "start_frame", "stretch")


def set_given(options: argparse.Namespace, settings: MagPlusSettings, *names: str) -> None:
    """Write the options that were given into the properties of the same names."""
    for name in names:
        value = getattr(options, name)
        if value is not None:
            set_property(settings, name, value, f"--{name.replace('_', '-')}")


def set_property(settings: MagPlusSettings, name: str, value: float | str, option: str) -> None:
    """Set a property, or say what it may be: Blender itself would clamp the value without a word."""
    rna = settings.bl_rna.properties[name]
    if isinstance(value, int | float) and not rna.hard_min <= value <= rna.hard_max:
        allowed = f"{rna.hard_min:.7g} or more"
        if rna.hard_max < UNBOUNDED:
            allowed = f"between {rna.hard_min:.7g} and {rna.hard_max:.7g}"
        raise InputError(f"{option} must be {allowed}, not {value:.8g}.")
    setattr(settings, name, value)


@contextmanager
def settings_kept(settings: MagPlusSettings) -> Iterator[None]:
    """Put the settings back after the block as they were before it, so that options hold for one result alone."""
    names = [each.identifier for each in settings.bl_rna.properties if not each.is_readonly]
    before = {name: getattr(settings, name) for name in names if name != "last_job"}
    follows = not is_set(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if getattr(settings, name) != value:
                setattr(settings, name, value)
        if follows:
            follow_again(settings)


def find_avatar(context: bpy.types.Context, name: str | None) -> bpy.types.Object:
    """Return the avatar: the one named, the one in the file's settings, or one of the only face with shape keys.

    Raises `InputError` where it isn't clear which one.
    """
    scene = context.scene
    meshes = [candidate for candidate in scene.objects if candidate.type == "MESH"]
    if name is not None:
        for candidate in meshes:
            if candidate.name == name:
                return candidate
        if problem := instance_problem(each for each in scene.objects if _shows(each, name)):
            raise InputError(problem)
        if (lost := scene.objects.get(name)) is not None and lost.is_missing:
            place = lost.library.filepath if lost.library is not None else "a file"
            raise InputError(
                f"{name!r} is linked from {place}, which isn't there or has no such object; put it back, or relink it."
            )
        there = ", ".join(repr(mesh.name) for mesh in meshes) or "none"
        raise InputError(f"There is no mesh object {name!r} in scene {scene.name!r}; its meshes: {there}.")
    if scene.magplus.avatar is not None:
        return scene.magplus.avatar
    if not meshes and (problem := instance_problem(scene.objects)):
        raise InputError(problem)
    faces = [mesh for mesh in meshes if has_shape_keys(mesh)] or meshes
    if len(faces) == 1 or (faces and {*faces[1:]} <= {*face_companions(context, faces[0])}):
        return max(faces, key=lambda mesh: len(mesh_of(mesh).vertices))  # of one face any of its meshes will do
    there = ", ".join(repr(mesh.name) for mesh in faces) or "there is no mesh in the scene"
    raise InputError(f"Name the avatar with --avatar: {there}.")


def _shows(obj: bpy.types.Object, name: str) -> bool:
    """Whether an object has a name, or is an instance of a collection in which another object has it."""
    collection = obj.instance_collection if obj.instance_type == "COLLECTION" else None
    return obj.name == name or (collection is not None and any(each.name == name for each in collection.all_objects))
