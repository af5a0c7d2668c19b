# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of the driving video that is used, and its reference: typed, or chosen by eye."""

from __future__ import annotations

import bpy

from ..operators.animation.event_markers import MAGPLUS_OT_trim_from_markers
from ..operators.blender.wording import CONTEXT
from ..operators.driver_scene import (
    WHICH,
    MAGPLUS_OT_close_driver,
    MAGPLUS_OT_mark_driver,
    MAGPLUS_OT_open_driver,
    MAGPLUS_OT_set_time,
    MAGPLUS_OT_use_markers,
    driver_of,
    slider_time,
)
from ..operators.footage import face_warning, looks
from ..operators.order import driving_problem
from .footage_box import thumbnails
from .panels import Sidebar
from .text import draw_button, draw_field, draw_text, line_width, side_by_side

SLIDER_SCALE = 6.0  # of the thumbnail, in units of Blender's interface
_MARKER_ICONS = {"START": "TRIA_LEFT_BAR", "END": "TRIA_RIGHT_BAR", "REFERENCE": "PINNED"}


class MAGPLUS_PT_driver(Sidebar):
    """Which part of the video, and which face in it."""

    bl_label = "Driver"
    bl_parent_id = "MAGPLUS_PT_main"
    bl_order = 2
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the panel; reads only."""
        layout, settings = self.layout, context.scene.magplus
        if not driving_problem(settings):
            draw_slider(layout, context)
        layout.use_property_split = True
        layout.use_property_decorate = False
        column = layout.column()
        draw_field(context, column, settings, "reference_mode")
        if settings.reference_mode == "GIVEN":
            draw_field(context, column, settings, "reference", text="At")
        column = layout.column()
        draw_field(context, column, settings, "face_mode")
        if settings.face_mode == "INDEX":
            draw_field(context, column, settings, "face_index", text="Number")
            if warning := face_warning(settings):
                draw_text(column, warning, line_width(context), "ERROR")
        column = layout.column(align=True, heading="Trim", heading_ctxt=CONTEXT)
        column.prop(settings, "use_trim", text="")
        times = column.column(align=True)
        times.active = settings.use_trim
        draw_field(context, times, settings, "trim_start")
        draw_field(context, times, settings, "trim_end")
        draw_button(column, MAGPLUS_OT_trim_from_markers, line_width(context), "MARKER_HLT")


def draw_slider(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """Draw the video as a strip to scrub through, with what its moments can be used for."""
    settings = context.scene.magplus
    look, at = looks.ask(context), slider_time(settings)
    if at is not None and look is not None and look.footage is not None and look.footage.thumbnails:
        nearest = min(look.footage.thumbnails, key=lambda each: abs(each.seconds - at))
        layout.template_icon(thumbnails.icon(nearest.file), scale=SLIDER_SCALE)
        column = layout.column(align=True)
        column.prop(settings, "scrub", slider=True)
        draw_text(column, f"{at:.3f} s of the video", line_width(context))
        names = {which: name.removesuffix(" Here") for which, name, _ in WHICH}
        place, each = side_by_side(column, names.values(), line_width(context))
        for which, name in names.items():
            draw_button(place, MAGPLUS_OT_set_time, each, _MARKER_ICONS[which], name).which = which
    if driver_of(context.scene) is None:
        draw_button(layout, MAGPLUS_OT_open_driver, line_width(context), "TRACKER")
    else:
        _draw_use(layout, line_width(context))


def _draw_use(layout: bpy.types.UILayout, width: float) -> None:
    place, each = side_by_side(layout, (MAGPLUS_OT_use_markers.bl_label, ""), width)
    draw_button(place, MAGPLUS_OT_use_markers, each, "CHECKMARK")
    place.operator(MAGPLUS_OT_close_driver.bl_idname, text="", icon="X")


class MAGPLUS_PT_trim(bpy.types.Panel):
    """The handles, beside the driving video."""

    bl_label = "MagPlus Driver"
    bl_space_type = "CLIP_EDITOR"
    bl_region_type = "UI"
    bl_category = "Footage"  # the tab that is open in a new window
    bl_options = {"HIDE_HEADER"}  # so it stands above Blender's own panels, which no order puts below others
    bl_translation_context = CONTEXT

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only where a driving video plays."""
        return context.scene.magplus.trims is not None

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the panel; reads only."""
        layout, width = self.layout, line_width(context)
        layout.label(text="MagPlus Driver", text_ctxt=CONTEXT)
        draw_text(layout, "Play or scrub, and mark the part, or move the markers below.", width, "INFO")
        column = layout.column(align=True)
        for which, name, _ in WHICH:
            draw_button(column, MAGPLUS_OT_mark_driver, width, _MARKER_ICONS[which], name).which = which
        _draw_use(layout, width)


CLASSES = (MAGPLUS_PT_driver, MAGPLUS_PT_trim)
