# SPDX-License-Identifier: GPL-3.0-or-later
"""The face match: where the driver's face was laid on the avatar, in the sidebar and over the 3D view."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import blf
import bpy
import gpu
from bpy_extras.view3d_utils import location_3d_to_region_2d
from gpu_extras.batch import batch_for_shader

from ..operators.blender.wording import translated
from ..operators.match_face import (
    KIND,
    MAGPLUS_OT_export_anchors,
    MAGPLUS_OT_import_anchors,
    MAGPLUS_OT_pick_anchor,
    MAGPLUS_OT_remove_anchors,
    MAGPLUS_OT_reset_anchor,
    MAGPLUS_OT_show_anchors,
)
from ..operators.rig.anchors import anchors_of, is_selected, landmark_of, name_of, was_moved
from ..operators.rig.avatar import chosen_avatar
from ..operators.running.job_manager import Status, manager
from .panels import Sidebar, draw_outcome
from .text import ICON_WIDTH, button_place, draw_button, draw_text, line_width, side_by_side

# Which anchors are joined by lines, so that a face is seen.
_LINES = (
    ("right brow, outer end", "right brow, inner end"),
    ("left brow, inner end", "left brow, outer end"),
    ("right eye, outer corner", "right eye, inner corner"),
    ("left eye, inner corner", "left eye, outer corner"),
    ("nose, right wing", "nose, tip", "nose, left wing"),
    (
        *("mouth, right corner", "upper lip, middle of its upper edge", "mouth, left corner"),
        *("lower lip, middle of its lower edge", "mouth, right corner"),
    ),
    ("lower lip, middle of its lower edge", "chin, lowest point"),
)
_FOUND_COLOUR, _MOVED_COLOUR = (0.2, 0.8, 1.0, 0.9), (1.0, 0.6, 0.1, 1.0)
_POINT, _TEXT = 7.0, 11.0  # px at scale 1

_handlers: list[object] = []


class MAGPLUS_PT_match(Sidebar):
    """What was matched, and the anchors that correct it."""

    bl_label = "Face Match"
    bl_parent_id = "MAGPLUS_PT_main"
    bl_order = 5
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only for an avatar."""
        return context.scene.magplus.avatar is not None

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the panel; reads only."""
        layout, avatar = self.layout, chosen_avatar(context)
        width = line_width(context)
        anchors = anchors_of(avatar)
        icons = 3 if anchors else 1
        place, each = side_by_side(layout, (MAGPLUS_OT_show_anchors.bl_label, *[""] * icons), width)
        draw_button(place, MAGPLUS_OT_show_anchors, each, "EMPTY_AXIS")
        row = place.row(align=True)
        row.operator(MAGPLUS_OT_import_anchors.bl_idname, text="", icon="IMPORT")
        if anchors:
            row.operator(MAGPLUS_OT_export_anchors.bl_idname, text="", icon="EXPORT")
            row.operator(MAGPLUS_OT_remove_anchors.bl_idname, text="", icon="TRASH")
        else:
            draw_text(layout, "Anchors show where the driver's face is laid, and can be moved.", width, "INFO")
        outcome = manager.outcomes.get(KIND)
        if outcome is not None and outcome.status is not Status.FINISHED:
            draw_outcome(layout, outcome, width)
        elif outcome is not None and anchors:
            draw_text(layout, outcome.sentence, width, "INFO")
        column = layout.column(align=True)
        for anchor in anchors:
            moved = was_moved(anchor)
            landmark = landmark_of(anchor)
            name = translated(name_of(anchor)).capitalize()
            room = width - ICON_WIDTH if moved else width
            place, text, icon = button_place(column, name, room, "PINNED" if moved else "DOT")
            row = place.row(align=True)
            row.alignment = "LEFT"
            pick = row.operator(
                MAGPLUS_OT_pick_anchor.bl_idname, text=text, icon=icon, emboss=is_selected(anchor, context.view_layer)
            )
            pick.landmark = landmark
            if moved:
                row.operator(MAGPLUS_OT_reset_anchor.bl_idname, text="", icon="LOOP_BACK").landmark = landmark


def _draw_overlay() -> None:
    """Draw the anchors as a face over the 3D view, with the names of those that are selected."""
    context = bpy.context
    avatar = context.scene.magplus.avatar
    view, perspective = cast(bpy.types.SpaceView3D, context.space_data), context.region_data
    if avatar is None or perspective is None or not view.overlay.show_overlays:
        return
    places = {}
    for anchor in anchors_of(avatar):
        place = location_3d_to_region_2d(context.region, perspective, anchor.matrix_world.translation)
        if place is not None and anchor.visible_get():
            places[name_of(anchor)] = (place, was_moved(anchor), is_selected(anchor, context.view_layer))
    if not places:
        return
    scale = context.preferences.system.ui_scale
    gpu.state.blend_set("ALPHA")
    _draw_lines([(places[a][0], places[b][0]) for line in _LINES for a, b in pairwise(line) if {a, b} <= set(places)])
    for colour, wanted in ((_FOUND_COLOUR, False), (_MOVED_COLOUR, True)):
        _draw_points([place for place, moved, _ in places.values() if moved is wanted], colour, _POINT * scale)
    gpu.state.blend_set("NONE")
    blf.size(0, _TEXT * scale)
    for name, (place, moved, selected) in places.items():
        if selected:
            blf.color(0, *(_MOVED_COLOUR if moved else _FOUND_COLOUR))
            blf.position(0, place.x + _POINT * scale, place.y + _POINT * scale, 0)
            blf.draw(0, translated(name).capitalize())


def _draw_lines(ends: list) -> None:
    if ends:
        shader = gpu.shader.from_builtin("UNIFORM_COLOR")
        shader.uniform_float("color", (*_FOUND_COLOUR[:3], 0.5))
        batch_for_shader(shader, "LINES", {"pos": [(*place, 0.0) for pair in ends for place in pair]}).draw(shader)


def _draw_points(places: list, colour: tuple[float, ...], size: float) -> None:
    if places:
        shader = gpu.shader.from_builtin("UNIFORM_COLOR")
        shader.uniform_float("color", colour)
        gpu.state.point_size_set(size)
        batch_for_shader(shader, "POINTS", {"pos": [(*place, 0.0) for place in places]}).draw(shader)


CLASSES = (MAGPLUS_PT_match,)


def register() -> None:
    """Draw over the 3D views."""
    if not bpy.app.background:
        _handlers.append(bpy.types.SpaceView3D.draw_handler_add(_draw_overlay, (), "WINDOW", "POST_PIXEL"))


def unregister() -> None:
    """Draw no more."""
    while _handlers:
        bpy.types.SpaceView3D.draw_handler_remove(_handlers.pop(), "WINDOW")
