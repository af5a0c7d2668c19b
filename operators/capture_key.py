# SPDX-License-Identifier: GPL-3.0-or-later
"""What a capture is made from: the file as it is saved, what it reads from outside, and what is asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ..backend_bridge.files.hashing import KnownHashes, fingerprint_of
from .animation.keyframes import animated_channel
from .animation.nla import playing
from .bare_scene import animated_blocks, bare_scene
from .capture import CaptureRequest
from .rig.controls import RigControl

# Modifiers whose result depends on the frame, or may.
_SIMULATED = frozenset(
    {"BUILD", "CLOTH", "DYNAMIC_PAINT", "EXPLODE", "FLUID", "MESH_CACHE", "MESH_SEQUENCE_CACHE", "NODES", "OCEAN"}
    | {"PARTICLE_SYSTEM", "SOFT_BODY", "WAVE"}
)
_DRAWN = {"GPENCIL", "GREASEPENCIL"}  # each frame is a drawing of its own
_NUMBERED = {"SEQUENCE", "TILED"}  # images of many files, of which the file names one


def is_as_saved() -> bool:
    """Whether the open file is the one on the disk, as far as can be known.

    What a script changes Blender doesn't take note of, and in background mode of nothing at all; `state_of` has most of
    what one would change.
    """
    return bool(bpy.data.filepath) and (bpy.app.background or not bpy.data.is_dirty)


def key_of(context: bpy.types.Context, request: CaptureRequest, version: str, hashes: KnownHashes) -> str:
    """Return a hash of what captures of the open file are made from, but for the frame.

    The file has to be as it is saved: what was changed since is not in the hash. version: MagPlus's own, as another one
    may capture differently. hashes: those known already.
    """
    scene, camera = context.scene, context.scene.camera
    asked = {each.name: _described(getattr(request, each.name)) for each in fields(request)}
    return fingerprint_of(
        version,
        bpy.app.version_string,
        sorted((str(path), hashes.of(path)) for path in set(_files())),
        sorted(_listings()),
        scene.name_full,
        context.view_layer.name,
        camera.name_full if camera is not None else None,
        {name: value for name, value in asked.items() if name != "frame"},
    )


def state_of(context: bpy.types.Context) -> str:
    """Return a hash of what the scene evaluates to at its present frame: the camera, and where every surface is.

    So a pose or a camera that was changed for a frame, unsaved or by a script, makes another frame of it alone. The
    settings of the render, the values of shaders and the strength of lights are in it, too.
    """
    shown = [_state_of(instance, context.scene) for instance in context.evaluated_depsgraph_get().object_instances]
    return fingerprint_of(sorted(_settings(context.scene)), sorted(shown), [*_looks()])


def _state_of(instance: bpy.types.DepsgraphObjectInstance, scene: bpy.types.Scene) -> str:
    """Return a hash of one evaluated object; it is gone when the next one is looked at."""
    obj = instance.object
    slots = [slot.material.name_full if slot.material else "" for slot in obj.material_slots]
    digest = hashlib.sha256(f"{obj.name_full} {obj.type} {instance.random_id} {obj.hide_render} {slots}".encode())
    digest.update(np.array(instance.matrix_world, np.float32).tobytes())
    if isinstance(obj.data, bpy.types.Camera):
        corners = obj.data.view_frame(scene=scene)
        digest.update(np.array([*map(tuple, corners)], np.float32).tobytes())
    elif isinstance(obj.data, bpy.types.Mesh) and not instance.is_instance:
        points = np.empty(len(obj.data.vertices) * 3, np.float32)
        obj.data.vertices.foreach_get("co", points)
        digest.update(points.tobytes())
    return digest.hexdigest()


def _settings(scene: bpy.types.Scene) -> Iterator[tuple[str, Any]]:
    """Give the settings of the scene's render and of its colours."""
    for name in ("render", "view_settings", "display_settings", "cycles", "eevee"):
        settings = getattr(scene, name, None)
        for each in settings.bl_rna.properties if settings is not None else ():
            plain = each.type in {"BOOLEAN", "INT", "FLOAT", "ENUM"} and not getattr(each, "is_array", False)
            if plain and not each.is_readonly:
                value = getattr(settings, each.identifier)
                yield f"{name}.{each.identifier}", sorted(value) if isinstance(value, set) else value


def _looks() -> Iterator[str]:
    """Give the strength and colour of each light, and what is set at the nodes of materials, lights and worlds."""
    lights: Any = bpy.data.lights
    for light in lights:
        yield f"{light.name_full} {light.energy} {tuple(light.color)}"
    for block, tree in _trees():
        for node in tree.nodes:
            values: list[Any] = [getattr(each, "default_value", None) for each in (*node.inputs, *node.outputs)]
            plain = [each if isinstance(each, (str, float, int)) else tuple(each) for each in values if _is_plain(each)]
            yield f"{block.name_full} {node.name} {node.mute} {plain}"


def _trees() -> Iterator[tuple[Any, Any]]:
    """Give what has nodes, with its tree: materials, lights, worlds, and groups of nodes, which are their own."""
    for block in (*bpy.data.materials, *bpy.data.lights, *bpy.data.worlds, *bpy.data.node_groups):
        tree = block if isinstance(block, bpy.types.NodeTree) else block.node_tree
        if tree is not None:
            yield block, tree


def _is_plain(value: Any) -> bool:
    """Whether a socket's value is a text, a number, or several (a colour); others name an object or an image."""
    return isinstance(value, (str, float, int)) or hasattr(value, "__len__")


def _files() -> Iterator[Path]:
    """Give the open file and all files that it reads from outside."""
    outside: list[Any] = [
        *(bpy.data.libraries, bpy.data.images, bpy.data.movieclips, bpy.data.cache_files, bpy.data.fonts),
        bpy.data.volumes,
    ]
    paths = {bpy.data.filepath, *_caches()}
    for block in (block for blocks in outside for block in blocks):
        paths.add(bpy.path.abspath(block.filepath, library=block.library) if block.filepath else "")
    yield from (Path(path) for path in paths if path and Path(path).is_file())


def _caches() -> Iterator[str]:
    """Give the files that modifiers read their points from, and nodes a lamp's distribution (IES) or a script (OSL)."""
    for block, tree in _trees():
        for node in tree.nodes:
            if path := getattr(node, "filepath", ""):
                yield bpy.path.abspath(path, library=block.library)
    for obj in bpy.data.objects:
        for modifier in obj.modifiers:
            if path := getattr(modifier, "filepath", ""):
                yield bpy.path.abspath(path, library=obj.library)


def _listings() -> Iterator[tuple[str, int, int]]:
    """Give name, size and time of the files beside one that stands for many: an image of a sequence, for one."""
    many: list[Any] = [image for image in bpy.data.images if image.source in _NUMBERED]
    many += [*bpy.data.volumes, *bpy.data.cache_files, *(clip for clip in bpy.data.movieclips)]
    named = [Path(bpy.path.abspath(each.filepath, library=each.library)) for each in many if each.filepath]
    for folder, suffix in {(path.parent, path.suffix) for path in named}:
        for file in folder.glob(f"*{suffix}") if folder.is_dir() else ():
            if file.is_file():
                stat = file.stat()
                yield str(file), stat.st_size, stat.st_mtime_ns


def moment_of(context: bpy.types.Context, frame: int | None) -> str:
    """Return a hash of what a capture shows at a frame of the scene, None for the present one.

    Two frames have the same one where all that is animated has the same values and the scene looks alike, unless
    something may change with the frame alone. The scene is put back as it was.
    """
    with bare_scene(context, frame):
        scene = context.scene
        camera = scene.camera.name_full if scene.camera is not None else None
        number = str(scene.frame_current_final) if _changes_by_itself() else None
        return fingerprint_of(number, camera, sorted(_animated_values(scene)), state_of(context))


def _animated_values(scene: bpy.types.Scene) -> Iterator[tuple[str, str, int, str]]:
    """Give what is animated in the file, linked data too, with the values that stand there at the present frame."""
    now = scene.frame_current_final
    for block in animated_blocks():
        name = f"{type(block).__name__} {block.name_full}"
        for plays, curve in ((each, curve) for each in playing(block) for curve in each.curves):
            # The curve as well, as what viewports hide has no value of this frame, and a choice of names is no number.
            value = curve.evaluate(plays.own_frame(now)) if plays.plain() else now
            yield name, curve.data_path, curve.array_index, repr(value)
            channel = animated_channel(block, curve)
            yield name, curve.data_path, curve.array_index, repr(None if channel is None else channel.raw)


def _changes_by_itself() -> bool:
    """Whether anything in the file may look different at another frame without being keyed; when in doubt, it may."""
    return (
        bool(bpy.data.cache_files or bpy.data.movieclips)
        or any(_reads_frame(curve.driver) for block in animated_blocks() for curve in _drivers(block))
        or any(modifier.type in _SIMULATED for obj in bpy.data.objects for modifier in obj.modifiers)
        or any(image.source in {"MOVIE", "SEQUENCE"} for image in bpy.data.images)
        or any(obj.type in _DRAWN for obj in bpy.data.objects)
        or any(scene.rigidbody_world is not None for scene in bpy.data.scenes)
    )


def _drivers(block: bpy.types.ID) -> Iterable[bpy.types.FCurve]:
    data = getattr(block, "animation_data", None)
    return data.drivers if data is not None else ()


def _reads_frame(driver: bpy.types.Driver) -> bool:
    """Whether a driver's expression, or a property that it reads, is of the scene's time."""
    paths = [target.data_path for variable in driver.variables for target in variable.targets]
    return any("frame" in text for text in (driver.expression, *paths))


def _described(value: Any) -> Any:
    """Return a part of a request as plain data."""
    if isinstance(value, tuple):
        return [_described(each) for each in value]
    if isinstance(value, RigControl):
        return [value.control, value.step]
    return value.name_full if isinstance(value, bpy.types.ID) else value
