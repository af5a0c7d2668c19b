# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene's last result in the sidebar: how it came out, ways to look at it, and what to do about its ends."""

from __future__ import annotations

import bpy

from ..backend_bridge.job.judgement import NO_OFFSET, NO_ONSET
from ..operators.animate import KIND as ANIMATE
from ..operators.avatar.capture import KIND as CAPTURE
from ..operators.blender.wording import CONTEXT
from ..operators.frames.clip import NO_FRAMES
from ..operators.frames.shown import frames_shown
from ..operators.match_face import KIND as ANCHORS
from ..operators.measure_controls import KIND as CONTROLS
from ..operators.result_record import better_reference, frames_in_view, kept_folder, other_driving, out_of_range
from ..operators.running.job_manager import Status, manager
from ..operators.show_result import (
    GONE,
    MAGPLUS_OT_add_markers,
    MAGPLUS_OT_compare,
    MAGPLUS_OT_fit_range,
    MAGPLUS_OT_restore_view,
    MAGPLUS_OT_show_as,
    MAGPLUS_OT_show_curves,
    MAGPLUS_OT_use_better_reference,
    MAGPLUS_OT_widen_trim,
)
from ..operators.show_result import KIND as COMPARE
from .panels import Sidebar, draw_outcome, result_icon
from .text import BOX_MARGINS, ICON, button_place, draw_button, draw_text, line_width, side_by_side

OF_A_FILE = (ANIMATE, CAPTURE, ANCHORS, CONTROLS, COMPARE)  # kinds of outcomes that mean nothing in another file


class MAGPLUS_PT_result(Sidebar):
    """What came out of the last run."""

    bl_label = "Result"
    bl_parent_id = "MAGPLUS_PT_main"
    bl_order = 0

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only where there is a result."""
        return bool(context.scene.magplus.result.sentence)

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the panel; reads only."""
        layout, record, width = self.layout, context.scene.magplus.result, line_width(context)
        head = layout.column()
        head.alert = record.verdict == "failed"
        draw_text(head, record.sentence, width, result_icon(record.verdict))
        if other := other_driving(context.scene):
            draw_text(layout, f"Of {other}, not of the video chosen above.", width, "INFO")
        if (shown := frames_shown(context.scene)) is not None:
            name = "Show Frames" if frames_in_view(context.scene) else "Show Earlier Frames"
            place, text, icon = button_place(layout, name, width, "HIDE_OFF" if shown else "HIDE_ON")
            place.prop(record, "frames_shown", text=text, text_ctxt=CONTEXT, icon=icon, toggle=True)
        _draw_ends(layout, context, width)
        _draw_reference(layout, context, width)
        column = layout.column(align=True)
        place, each = side_by_side(column, (MAGPLUS_OT_compare.bl_label, MAGPLUS_OT_show_curves.bl_label), width)
        draw_button(place, MAGPLUS_OT_compare, each, "IMAGE_RGB")
        draw_button(place, MAGPLUS_OT_show_curves, each, "FCURVE")
        if record.view_kept:
            draw_button(column, MAGPLUS_OT_restore_view, width, "LOOP_BACK")
        if MAGPLUS_OT_show_as.problem(context) != NO_FRAMES:
            place, text, _ = button_place(column, "Show Frames As", width - ICON)  # an arrow stands beside it
            place.operator_menu_enum(MAGPLUS_OT_show_as.bl_idname, "where", text=text, text_ctxt=CONTEXT)
        if (outcome := manager.outcomes.get(COMPARE)) and outcome.status is not Status.FINISHED:
            draw_outcome(layout, outcome, width)
        _draw_lines(layout, context, width)


def _draw_ends(layout: bpy.types.UILayout, context: bpy.types.Context, width: float) -> None:
    """Draw what is odd about where the result lies, each with the button that mends it."""
    scene, record = context.scene, context.scene.magplus.result
    if text := out_of_range(scene):
        box = layout.box()
        draw_text(box, text, width - BOX_MARGINS, "ERROR")
        draw_button(box, MAGPLUS_OT_fit_range, width - BOX_MARGINS, "PREVIEW_RANGE")
    for within, end, missing in ((record.has_onset, "START", NO_ONSET), (record.has_offset, "END", NO_OFFSET)):
        if record.has_apex and not within:
            box = layout.box()
            draw_text(box, missing, width - BOX_MARGINS, "ERROR")
            if scene.magplus.use_trim:
                draw_button(box, MAGPLUS_OT_widen_trim, width - BOX_MARGINS, "ARROW_LEFTRIGHT").end = end
            draw_button(box, MAGPLUS_OT_add_markers, width - BOX_MARGINS, "MARKER_HLT")


def _draw_reference(layout: bpy.types.UILayout, context: bpy.types.Context, width: float) -> None:
    """Draw that a better reference is known, with the button that chooses it."""
    if (better := better_reference(context.scene)) is not None:
        box = layout.box()
        draw_text(box, f"At {better:.3f} s of the video the face is nearer to rest.", width - BOX_MARGINS, "ERROR")
        draw_button(box, MAGPLUS_OT_use_better_reference, width - BOX_MARGINS, "TIME")


def _draw_lines(layout: bpy.types.UILayout, context: bpy.types.Context, width: float) -> None:
    """Draw how good it is, what was warned of, and the way to the files."""
    record, folder = context.scene.magplus.result, kept_folder(context.scene)
    box = layout.box()
    for text in _details(context)[:1]:
        draw_text(box, text, width - BOX_MARGINS)
    for line in record.lines:
        if line.kind == "WARNING" and line.name not in (NO_ONSET, NO_OFFSET):  # those have a box of their own
            draw_text(box, line.name, width - BOX_MARGINS, "ERROR")
    if folder is None:
        draw_text(box, GONE, width - BOX_MARGINS, "INFO")
    else:
        place, text, icon = button_place(box, "Job Folder", width - BOX_MARGINS, "FILE_FOLDER")
        place.operator("wm.path_open", text=text, text_ctxt=CONTEXT, icon=icon).filepath = str(folder)


class MAGPLUS_PT_details(Sidebar):
    """What was measured."""

    bl_label = "Details"
    bl_parent_id = "MAGPLUS_PT_result"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the panel; reads only."""
        column, width = self.layout.column(align=True), line_width(context)
        for text in _details(context)[1:]:
            draw_text(column, text, width)


def _details(context: bpy.types.Context) -> list[str]:
    """Return what was measured, a line each; the first says how good it is."""
    return [line.name for line in context.scene.magplus.result.lines if line.kind == "DETAIL"]


@bpy.app.handlers.persistent
def _forget_outcomes(*_: object) -> None:
    """Another file: what became of runs in the one before is no business of it. A result is in its own file."""
    for kind in OF_A_FILE:
        manager.outcomes.pop(kind, None)
    manager.notice = None


CLASSES = (MAGPLUS_PT_result, MAGPLUS_PT_details)


def register() -> None:
    """Forget what was in another file whenever one is opened."""
    bpy.app.handlers.load_post.append(_forget_outcomes)


def unregister() -> None:
    """Stop that."""
    bpy.app.handlers.load_post.remove(_forget_outcomes)
