# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing frames and keys into view in the windows that are open: there is nothing to do without one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, cast

import bpy

SOON = 0.2  # seconds after which Blender has drawn a new window, or is done with an operator
FITTINGS = 50  # times that an image is fitted at most: a new editor forgets its zoom when it is first drawn
MARGIN = 5  # px that Blender leaves around an image that it fits


def areas(
    context: bpy.types.Context, kind: str, scene: bpy.types.Scene
) -> Iterator[tuple[bpy.types.Window, bpy.types.Area]]:
    """Give the areas of a kind in all windows that show a scene, the largest first."""
    found = [
        (window, area)
        for window in context.window_manager.windows
        if window.scene == scene and not bpy.app.background
        for area in window.screen.areas
        if area.type == kind
    ]
    yield from sorted(found, key=lambda each: -each[1].width * each[1].height)


def look_through_camera(context: bpy.types.Context, scene: bpy.types.Scene) -> None:
    """Let the largest 3D view look through the scene's camera, unless one does so already."""
    views = [cast(bpy.types.SpaceView3D, area.spaces.active) for _, area in areas(context, "VIEW_3D", scene)]
    regions = [view.region_3d for view in views if view.region_3d is not None]
    if regions and not any(region.view_perspective == "CAMERA" for region in regions):
        regions[0].view_perspective = "CAMERA"


def frame_timelines(context: bpy.types.Context, scene: bpy.types.Scene) -> None:
    """Let timelines and dope sheets show all of the range that plays, with its keys and markers."""
    for window, area in areas(context, "DOPESHEET_EDITOR", scene):
        region = next((each for each in area.regions if each.type == "WINDOW"), None)
        with suppress(RuntimeError), context.temp_override(window=window, area=area, region=region):
            bpy.ops.action.view_all()


def select_alone(context: bpy.types.Context, obj: bpy.types.Object) -> None:
    """Select an object and make it active, so that editors show its keys; in Object Mode only."""
    layer = context.view_layer
    if context.mode != "OBJECT" or obj.name not in layer.objects or not obj.visible_get(view_layer=layer):
        return
    for other in layer.objects:
        if other.select_get(view_layer=layer):
            other.select_set(False, view_layer=layer)
    obj.select_set(True, view_layer=layer)
    layer.objects.active = obj


def fit_images_later(image: str) -> None:
    """Let editors that show an image show all of it, as soon as a new window was drawn and keeps that."""
    left = FITTINGS

    def fit() -> float | None:
        nonlocal left
        left -= 1
        fitted = True
        for window in bpy.context.window_manager.windows:
            for area in window.screen.areas:
                shown = cast(Any, area.spaces.active).image if area.type == "IMAGE_EDITOR" else None
                if shown is not None and shown.name == image:
                    region = next(each for each in area.regions if each.type == "WINDOW")
                    fitted &= _fits(cast(bpy.types.SpaceImageEditor, area.spaces.active), region)
                    with suppress(RuntimeError), bpy.context.temp_override(window=window, area=area, region=region):
                        bpy.ops.image.view_all(fit_view=True)
        return None if fitted or not left else SOON

    if not bpy.app.background:
        bpy.app.timers.register(fit, first_interval=SOON)


def _fits(editor: bpy.types.SpaceImageEditor, region: bpy.types.Region) -> bool:
    """Whether an editor shows its image as large as fits, or has none with pixels."""
    width, height = editor.image.size if editor.image is not None else (0, 0)
    if not (width and height):
        return True
    largest = min(region.width / (width + 2 * MARGIN), region.height / (height + 2 * MARGIN))
    return math.isclose(editor.zoom[0], largest, rel_tol=0.02)


def close_later(window: bpy.types.Window) -> None:
    """Close a window once the operator that may have been pressed in it is over: before, Blender would crash."""
    address = window.as_pointer()

    def close() -> None:
        for each in bpy.context.window_manager.windows[1:]:
            if each.as_pointer() == address:
                with suppress(RuntimeError), bpy.context.temp_override(window=each):
                    bpy.ops.wm.window_close()
                return

    bpy.app.timers.register(close, first_interval=SOON)


def image_editor(context: bpy.types.Context, scene: bpy.types.Scene) -> bpy.types.SpaceImageEditor | None:
    """Return an image editor to show an image in: one that is open, else that of a new window; None without windows."""
    if bpy.app.background:
        return None
    area = next((area for _, area in areas(context, "IMAGE_EDITOR", scene)), None)
    if area is None:  # a window that has the scene, and so the playback, in common with this one
        bpy.ops.wm.window_new()
        window = context.window_manager.windows[-1]
        area = max(window.screen.areas, key=lambda each: each.width * each.height)
        area.type = "IMAGE_EDITOR"
    return cast(bpy.types.SpaceImageEditor, area.spaces.active)
