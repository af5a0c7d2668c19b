# SPDX-License-Identifier: GPL-3.0-or-later
"""What a capture is made from: the file as it is saved, what it reads from outside, and what is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import bpy

from ...backend_bridge.files.hashing import KnownHashes, fingerprint_of
from ..animation.keyframes import animated_channel
from ..animation.nla import playing
from ..rig.controls import RigControl
from .bare_scene import animated_blocks, bare_scene
from .capture import CaptureRequest
from .outside_files import contents, outside_files
from .picture_state import state_of

# Modifiers whose result depends on the frame, or may.
_SIMULATED = frozenset(
    {"BUILD", "CLOTH", "DYNAMIC_PAINT", "EXPLODE", "FLUID", "MESH_CACHE", "MESH_SEQUENCE_CACHE", "NODES", "OCEAN"}
    | {"PARTICLE_SYSTEM", "SOFT_BODY", "WAVE"}
)
_DRAWN = {"GPENCIL", "GREASEPENCIL"}  # each frame is a drawing of its own


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
        hashes.of(Path(bpy.data.filepath)),
        contents(outside_files(hashes)),
        scene.name_full,
        context.view_layer.name,
        camera.name_full if camera is not None else None,
        {name: value for name, value in asked.items() if name != "frame"},
    )


def moment_of(context: bpy.types.Context, frame: int | None) -> str:
    """Return a hash of what a capture shows at a frame of the scene, None for the present one.

    Two frames have the same one where all that is animated has the same values and the scene looks alike, unless
    something may change with the frame alone. The scene is put back as it was.
    """
    with bare_scene(context, frame):
        scene = context.scene
        camera = scene.camera.name_full if scene.camera is not None else None
        number = str(scene.frame_current_final) if _changes_by_itself() else None
        return fingerprint_of(number, camera, sorted(_animated_values(scene)), state_of(context, coarsely=True))


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
