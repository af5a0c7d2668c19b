# SPDX-License-Identifier: GPL-3.0-or-later
"""The sample as it opens: on the face, with the clip chosen, ready to press Animate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, cast

import bpy

from .character import build

TAB = "MagPlus"
SHADING: Literal["MATERIAL", "SOLID"] = "MATERIAL"
LAST_FRAME = 24  # a second: the clip, and a moment of rest before it repeats


def lay_out(context: bpy.types.Context, person: Path, clip: Path) -> None:
    """Fill the open, empty file: the character, its scene, and the settings of a first run."""
    head = build(person)
    scene = context.scene
    scene.frame_start, scene.frame_end = 1, LAST_FRAME
    settings = scene.magplus
    settings.avatar = head
    settings.driving = str(clip)
    head.select_set(True)
    context.view_layer.objects.active = head
    for view in _views():
        view.show_region_ui = True
        view.shading.type = SHADING
        view.lock_camera = False
        overlay = view.overlay  # the face alone, without lamps, cursor and outline in front of it
        overlay.show_floor = overlay.show_axis_x = overlay.show_axis_y = False
        overlay.show_extras = overlay.show_cursor = overlay.show_outline_selected = False
        if view.region_3d is not None:
            view.region_3d.view_perspective = "CAMERA"


def show_tab() -> bool:
    """Open the sidebars on our tab; returns whether all of them show it. They know of it once they were drawn."""
    shown = []
    for area in _areas():
        for region in area.regions:
            if region.type == "UI":
                try:
                    cast(Any, region).active_panel_category = TAB
                    shown.append(True)
                except (AttributeError, TypeError):  # not drawn yet: there are no tabs
                    shown.append(False)
        area.tag_redraw()
    return all(shown)


def _areas() -> Iterator[bpy.types.Area]:
    for window in bpy.context.window_manager.windows:
        yield from (area for area in window.screen.areas if area.type == "VIEW_3D")


def _views() -> Iterator[bpy.types.SpaceView3D]:
    return (cast(bpy.types.SpaceView3D, area.spaces.active) for area in _areas())
