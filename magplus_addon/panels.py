# SPDX-License-Identifier: GPL-3.0-or-later
"""The sidebar of the 3D view: what to move, what moves it, and how far it has come."""

from __future__ import annotations

from typing import Any

import bpy

from ..backend_bridge.backends import find_backend
from ..backend_bridge.rig.regions import REGIONS
from ..operators import animate
from ..operators.animation.strength import bakes_on_curves
from ..operators.backends import KIND as BACKENDS_KIND
from ..operators.backends import MAGPLUS_OT_check_backend, backend_problem, option_property
from ..operators.blender.wording import CONTEXT, translated
from ..operators.environment import MAGPLUS_OT_show_preferences, environment_problem
from ..operators.import_result import MAGPLUS_OT_import_result
from ..operators.live_link import MAGPLUS_OT_import_live_link
from ..operators.make_sample import MAGPLUS_OT_make_sample
from ..operators.order import disabled_reason, is_image_sequence
from ..operators.running.job_manager import Outcome, Status, manager
from ..operators.st_map import MAGPLUS_OT_st_map_nodes
from .footage_box import draw_footage
from .text import (
    BOX_MARGINS,
    button_place,
    clock,
    draw_button,
    draw_field,
    draw_text,
    line_width,
    side_by_side,
    text_width,
    ticks_fit_indented,
)

_STATUS_ICONS = {Status.CANCELLED: "CANCEL", Status.FAILED: "ERROR"}
_VERDICT_ICONS = {"failed": "ERROR", "check": "INFO"}


def result_icon(verdict: str) -> str:
    """Return the icon of a result that was judged so; only one that need not be checked is ticked off."""
    return _VERDICT_ICONS.get(verdict, "CHECKMARK")


def outcome_icon(outcome: Outcome) -> str:
    """Return the icon of how a task ended."""
    return _STATUS_ICONS.get(outcome.status) or result_icon(outcome.verdict)


def is_alarming(outcome: Outcome) -> bool:
    """Whether a task, or what came of it, failed."""
    return outcome.status is Status.FAILED or outcome.verdict == "failed"


def progress_text() -> str:
    """Return what the running task does and how long it still takes."""
    progress, left = manager.progress, manager.seconds_left
    stage = translated("Cancelling" if manager.cancelling else progress.stage if progress else "Starting")
    if manager.cancelling or progress is None:
        return f"{stage}…"
    text = f"{stage} {progress.done}/{progress.total}" if progress.total else f"{stage}…"
    return text if left is None else f"{text} · {translated(f'{clock(left)} left')}"


def draw_progress(layout: bpy.types.UILayout) -> None:
    """Draw what the running task does, how long it still takes, and the button that stops it."""
    row = layout.row(align=True)
    row.progress(factor=0.0 if manager.cancelling else manager.share, text=progress_text())
    row.operator(animate.MAGPLUS_OT_cancel.bl_idname, text="", icon="X")


def draw_outcome(layout: bpy.types.UILayout, outcome: Outcome, width: float) -> None:
    """Draw how a task ended, with all it warned of and the way to its files."""
    box = layout.box()
    width -= BOX_MARGINS
    column = box.column()
    column.alert = is_alarming(outcome)
    draw_text(column, outcome.sentence, width, outcome_icon(outcome))
    details = box.column(align=True)
    for line in outcome.details:
        draw_text(details, line, width, "BLANK1")
    for line in outcome.warnings:
        draw_text(box, line, width, "ERROR")
    places = (("Job Folder", "FILE_FOLDER", outcome.folder), ("Log", "TEXT", outcome.log))
    there = [(text, icon, path) for text, icon, path in places if path is not None and path.exists()]
    row, each = side_by_side(box, (text for text, _, _ in there), width)
    for name, image, path in there:
        place, text, icon = button_place(row, name, each, image)
        place.operator("wm.path_open", text=text, text_ctxt=CONTEXT, icon=icon).filepath = str(path)


class Sidebar(bpy.types.Panel):
    """Where our panels are."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "MagPlus"
    bl_translation_context = CONTEXT


class MAGPLUS_PT_main(Sidebar):
    """Who moves whom, and the button."""

    bl_label = "MagPlus"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the panel; reads only."""
        layout, settings = self.layout, context.scene.magplus
        layout.use_property_split = True
        layout.use_property_decorate = False
        width = line_width(context)

        column = layout.column()
        draw_field(context, column, settings, "avatar")
        if settings.avatar is None and not manager.busy:
            label = MAGPLUS_OT_make_sample.bl_label
            short = text_width(translated(label)) > width
            draw_button(layout, MAGPLUS_OT_make_sample, width, "USER", "Sample Character" if short else label)
        if settings.avatar is not None:
            column.prop_search(
                settings, "vertex_group", settings.avatar, "vertex_groups", text="Face", text_ctxt=CONTEXT
            )
        draw_field(context, column, settings, "look_through")
        draw_field(context, column, settings, "driving")
        if is_image_sequence(settings.driving):
            draw_field(context, column, settings, "sequence_rate")
        draw_footage(layout, context)

        if manager.busy:
            draw_progress(layout)
            for warning in manager.warnings:
                draw_text(layout, warning, width, "ERROR")
            return
        reason = disabled_reason(context)
        row = layout.row()
        row.scale_y = 1.4
        draw_button(row, animate.MAGPLUS_OT_animate, width, "PLAY")
        if reason:
            draw_text(layout, reason, width, "INFO")
        if environment_problem(context) or backend_problem(settings.backend):
            draw_button(layout, MAGPLUS_OT_show_preferences, width, "PREFERENCES")
        outcome = manager.outcomes.get(animate.KIND)
        if outcome is not None and not outcome.in_scene:
            draw_outcome(layout, outcome, width)


class MAGPLUS_PT_bakes(Sidebar):
    """How strongly what was baked plays."""

    bl_label = "Strength"
    bl_parent_id = "MAGPLUS_PT_main"
    bl_order = 1

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only where something was baked."""
        return bool(context.scene.magplus.bakes)

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the panel; reads only."""
        column, alive = self.layout.column(align=True), bakes_on_curves()
        bakes = [bake for bake in reversed(context.scene.magplus.bakes) if bake.name in alive]
        for bake in bakes:
            column.prop(bake, "strength", text=bake.name, translate=False, slider=True)
        if not bakes:
            column.label(text="Nothing that was baked plays.")


class MAGPLUS_PT_magnification(Sidebar):
    """By which method, how much is magnified, and how strong the result is."""

    bl_label = "Expression"
    bl_parent_id = "MAGPLUS_PT_main"
    bl_order = 3

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the panel; reads only."""
        layout, settings = self.layout, context.scene.magplus
        layout.use_property_split = True
        layout.use_property_decorate = False
        column = layout.column()
        draw_field(context, column, settings, "intensity", slider=True)
        draw_field(context, column, settings, "backend")
        if caution := find_backend(settings.backend).caution:
            draw_text(column, caution, line_width(context), "ERROR")
        draw_field(context, column, settings, "alpha_mode")
        if settings.alpha_mode == "GIVEN":
            draw_field(context, column, settings, "alpha")


class MAGPLUS_PT_backend(Sidebar):
    """What can be set of the chosen backend."""

    bl_label = "Backend"
    bl_parent_id = "MAGPLUS_PT_magnification"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only where there is something to set."""
        return bool(find_backend(context.scene.magplus.backend).options)

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the panel; reads only."""
        self.layout.use_property_split = True
        self.layout.use_property_decorate = False
        column, settings = self.layout.column(), context.scene.magplus
        for option in find_backend(settings.backend).options:
            draw_field(context, column, settings.backend_options, option_property(settings.backend, option.name))
        if find_backend(settings.backend).parts:
            column.separator()
            draw_button(column, MAGPLUS_OT_check_backend, line_width(context), "VIEWZOOM")
            if outcome := manager.outcomes.get(BACKENDS_KIND):
                draw_outcome(column, outcome, line_width(context))


class MAGPLUS_PT_regions(Sidebar):
    """How much of the magnification reaches each part of the face."""

    bl_label = "Regions"
    bl_parent_id = "MAGPLUS_PT_magnification"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the panel; reads only."""
        self.layout.use_property_split = True
        self.layout.use_property_decorate = False
        column = self.layout.column(align=True)
        for region in REGIONS:
            column.prop(context.scene.magplus.regions, region, slider=True)


def draw_moving_shot(context: bpy.types.Context, layout: bpy.types.UILayout, settings: Any) -> None:
    """Draw what is set of a moving shot."""
    interval = layout.column(align=True)
    draw_field(context, interval, settings, "shot_first")
    draw_field(context, interval, settings, "shot_last")
    draw_field(context, layout, settings, "plates")
    column = layout.column(heading="Motion", heading_ctxt=CONTEXT)
    column.prop(settings, "st_map")
    column.prop(settings, "vectors")
    if settings.st_map:
        draw_button(column, MAGPLUS_OT_st_map_nodes, line_width(context), "NODE_COMPOSITING")


class MAGPLUS_PT_output(Sidebar):
    """What is made, and where it goes."""

    bl_label = "Output"
    bl_parent_id = "MAGPLUS_PT_main"
    bl_order = 6

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the panel; reads only."""
        layout, settings = self.layout, context.scene.magplus
        ticks = ("frames", "moving", "shape_keys", "compare", "keep_apex", "hold")
        layout.use_property_split = ticks_fit_indented(context, settings, ticks)
        layout.use_property_decorate = False
        column = layout.column(heading="Make", heading_ctxt=CONTEXT)
        column.prop(settings, "frames")
        if settings.frames:
            draw_field(context, column, settings, "frames_to")
            column.prop(settings, "moving")
        if settings.frames and settings.moving:
            draw_moving_shot(context, layout, settings)
            column = layout.column()
        column.prop(settings, "shape_keys")
        if settings.shape_keys:
            draw_field(context, column, settings, "animation")
        column.prop(settings, "compare")
        column = layout.column()
        draw_field(context, column, settings, "start_frame")
        draw_field(context, column, settings, "stretch")
        column.prop(settings, "keep_apex")
        if settings.shape_keys:
            column.prop(settings, "hold")
            release = column.column()
            release.active = not settings.hold
            draw_field(context, release, settings, "release")
        row = layout.row(heading="Capture At", heading_ctxt=CONTEXT)
        row.prop(settings, "use_capture_frame", text="")
        frame = row.row()
        frame.active = settings.use_capture_frame
        frame.prop(settings, "capture_frame", text="")
        column = layout.column(align=True)
        draw_field(context, column, settings, "capture_size")
        draw_field(context, column, settings, "capture_samples")
        draw_field(context, layout, settings, "job_folder")
        column = layout.column(align=True)
        width = line_width(context)
        draw_button(column, MAGPLUS_OT_import_result, width, "IMPORT", "Import Finished Job…")
        draw_button(column, MAGPLUS_OT_import_live_link, width, "IMPORT", "Import Live Link Face…")


CLASSES = (
    MAGPLUS_PT_main,
    MAGPLUS_PT_bakes,
    MAGPLUS_PT_magnification,
    MAGPLUS_PT_backend,
    MAGPLUS_PT_regions,
    MAGPLUS_PT_output,
)
