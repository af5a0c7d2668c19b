# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene as it is without what MagPlus has put there before: what an avatar is captured in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import bpy

from ..animation.keyframes import animated_channel
from ..animation.nla import playing
from ..animation.strength import bakes_on_curves, silenced
from ..blender.saving import around_saving
from ..frames.plane import is_result_plane
from ..rig.controls import LiveChannel


def captured_frame(settings: Any) -> int:
    """Return the frame of the scene at which the avatar is captured, as the scene's settings say."""
    return int(settings.capture_frame if settings.use_capture_frame else settings.start_frame)


@contextmanager
def bare_scene(context: bpy.types.Context, frame: int | None = None) -> Iterator[None]:
    """Silence earlier bakes, hide earlier result planes and go to a frame; everything is put back at the end.

    Without a frame it stays at the present one. A file that is saved meanwhile is saved as it was before.
    """
    scene = context.scene
    planes = [
        obj.session_uid for obj in scene.objects if is_result_plane(obj) and not obj.hide_render and obj.is_editable
    ]
    baked = bool(bakes_on_curves())
    here = scene.frame_current, scene.frame_subframe
    moves = frame is not None and here != (frame, 0.0)
    if not (planes or baked or moves):
        yield
        return
    poses = _animated_numbers() if baked or moves else []
    silence = ExitStack()

    def clear(*_: object) -> None:
        _hide(planes, True)
        silence.enter_context(silenced())
        if moves and frame is not None:
            scene.frame_set(frame)
        elif baked:
            scene.frame_set(here[0], subframe=here[1])

    def put_back(*_: object) -> None:
        _hide(planes, False)
        silence.close()
        if baked or moves:
            scene.frame_set(here[0], subframe=here[1])
        for channel, value in poses:  # what was changed by hand and has no key yet
            if channel.exists and channel.raw != value:
                channel.write(value)

    clear()
    try:
        with around_saving(put_back, clear):
            yield
    finally:
        with suppress(ReferenceError):  # an undo or another file meanwhile: what of it is left is put back
            put_back()
            context.view_layer.update()


def _hide(planes: list[int], hidden: bool) -> None:
    for obj in bpy.data.objects:
        if obj.session_uid in planes:
            obj.hide_render = hidden


def _animated_numbers() -> list[tuple[LiveChannel, float]]:
    """Return what is animated in the file, with the values that stand there now."""
    found: dict[tuple[bpy.types.ID, str, int], LiveChannel] = {}
    for block in (each for each in animated_blocks() if each.is_editable):
        for curve in (curve for each in playing(block) for curve in each.curves):
            channel = animated_channel(block, curve)
            if channel is not None and not channel.driven:
                found[block, channel.path, channel.index] = channel
    return [(channel, channel.raw) for channel in found.values()]


def animated_blocks() -> Iterator[bpy.types.ID]:
    """Give what has animation: objects, their data and keys, materials with their nodes, worlds, the scene itself."""
    for kind in bpy.data.bl_rna.properties:
        if kind.type == "COLLECTION":
            for block in getattr(bpy.data, kind.identifier):
                for each in (block, _own_nodes(block)):
                    if each is not None and getattr(each, "animation_data", None) is not None:
                        yield each


def _own_nodes(block: bpy.types.ID) -> bpy.types.NodeTree | None:
    """Return the nodes that are a part of an ID, and are on no list of the file's."""
    nodes = None if isinstance(block, bpy.types.Scene) else getattr(block, "node_tree", None)
    return nodes if nodes is not None and nodes.is_embedded_data else None
