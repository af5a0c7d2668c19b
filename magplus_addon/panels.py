# SPDX-License-Identifier: GPL-3.0-or-later
"""The sidebar of the 3D view: what to move, what moves it, and how far it has come."""

from __future__ import annotations

import textwrap
from typing import Any

import bpy

from ..backend_bridge.backends import find_backend
from ..backend_bridge.rig.regions import REGIONS
from ..operators import animate
from ..operators.animation.event_markers import MAGPLUS_OT_trim_from_markers
from ..operators.animation.strength import bakes_on_curves
from ..operators.backends import KIND as BACKENDS_KIND
from ..operators.backends import MAGPLUS_OT_check_backend, backend_problem, option_property
from ..operators.blender.wording import translated
from ..operators.environment import MAGPLUS_OT_show_preferences, environment_problem
from ..operators.import_result import MAGPLUS_OT_import_result
from ..operators.live_link import MAGPLUS_OT_import_live_link
from ..operators.make_sample import MAGPLUS_OT_make_sample
from ..operators.order import disabled_reason, is_image_sequence
from ..operators.running.job_manager import Outcome, Status, manager

STATUS_ICONS = {Status.FINISHED: "CHECKMARK", Status.CANCELLED: "CANCEL", Status.FAILED: "ERROR"}
CHARACTER_WIDTH = 6.5  # pixels of Blender's interface font at scale 1, on average over English text
ICON_WIDTH = 34.0  # pixels at scale 1 that the icon and the margins of a label take


def characters_across(context: bpy.types.Context, share: float = 1.0) -> int:
    """Return how many characters of text fit into a share of the region's width."""
    width = context.region.width * share / context.preferences.system.ui_scale
    return max(int((width - ICON_WIDTH) / CHARACTER_WIDTH), 16)


def draw_text(layout: bpy.types.UILayout, text: str, characters: int, icon: str = "NONE") -> None:
    """Draw a sentence over as many lines as it needs: labels don't wrap."""
    column = layout.column(align=True)
    column.scale_y = 0.8
    for number, line in enumerate(textwrap.wrap(translated(text), characters)):
        column.label(text=line, icon=icon if number == 0 or icon == "NONE" else "BLANK1")


def draw_progress(layout: bpy.types.UILayout) -> None:
    """Draw what the running task does, how long it still takes, and the button that stops it."""
    progress, left = manager.progress, manager.seconds_left
    stage = "Cancelling" if manager.cancelling else progress.stage if progress else "Starting"
    row = layout.row(align=True)
    if progress is not None and progress.total and not manager.cancelling:
        text = f"{stage} {progress.done}/{progress.total}"
        factor = min(progress.done / progress.total, 1.0)
        row.progress(factor=factor, text=text if left is None else f"{text} · {clock(left)} left")
    else:
        row.progress(factor=0.0, text=f"{stage}…")
    row.operator(animate.MAGPLUS_OT_cancel.bl_idname, text="", icon="X")


def draw_outcome(layout: bpy.types.UILayout, outcome: Outcome, characters: int) -> None:
    """Draw how a task ended, with all it warned of and the way to its files."""
    box = layout.box()
    characters -= 3  # the box's own margins
    column = box.column()
    column.alert = outcome.status is Status.FAILED
    draw_text(column, outcome.sentence, characters, STATUS_ICONS[outcome.status])
    details = box.column(align=True)
    for line in outcome.details:
        draw_text(details, line, characters, "BLANK1")
    for line in outcome.warnings:
        draw_text(box, line, characters, "ERROR")
    row = box.row(align=True)
    for text, icon, path in (("Job Folder", "FILE_FOLDER", outcome.folder), ("Log", "TEXT", outcome.log)):
        if path is not None and path.exists():
            row.operator("wm.path_open", text=text, icon=icon).filepath = str(path)


def clock(seconds: float) -> str:
    """Return a duration as people read it: 0:05, 1:02:03."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Sidebar(bpy.types.Panel):
    """Where our panels are."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "MagPlus"


class MAGPLUS_PT_main(Sidebar):
    """Who moves whom, and the button."""

    bl_label = "MagPlus"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the panel; reads only."""
        layout, settings = self.layout, context.scene.magplus
        layout.use_property_split = True
        layout.use_property_decorate = False
        characters = characters_across(context)

        column = layout.column()
        column.prop(settings, "avatar")
        if settings.avatar is None and not manager.busy:
            layout.operator(MAGPLUS_OT_make_sample.bl_idname, icon="USER")
        if settings.avatar is not None:
            column.prop_search(settings, "vertex_group", settings.avatar, "vertex_groups", text="Face")
        column.prop(settings, "look_through")
        column.prop(settings, "driving")
        if is_image_sequence(settings.driving):
            column.prop(settings, "sequence_rate")

        if manager.busy:
            draw_progress(layout)
            for warning in manager.warnings:
                draw_text(layout, warning, characters, "ERROR")
            return
        reason = disabled_reason(context)
        row = layout.row()
        row.scale_y = 1.4
        row.operator(animate.MAGPLUS_OT_animate.bl_idname, icon="PLAY")
        if reason:
            draw_text(layout, reason, characters, "INFO")
        if environment_problem(context) or backend_problem(settings.backend):
            layout.operator(MAGPLUS_OT_show_preferences.bl_idname, icon="PREFERENCES")
        if outcome := manager.outcomes.get(animate.KIND):
            draw_outcome(layout, outcome, characters)


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
            column.prop(bake, "strength", text=bake.name, slider=True)
        if not bakes:
            column.label(text="Nothing that was baked plays.")


class MAGPLUS_PT_driver(Sidebar):
    """Which part of the video, and which face in it."""

    bl_label = "Driver"
    bl_parent_id = "MAGPLUS_PT_main"
    bl_order = 2
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the panel; reads only."""
        layout, settings = self.layout, context.scene.magplus
        layout.use_property_split = True
        layout.use_property_decorate = False
        column = layout.column()
        column.prop(settings, "reference_mode")
        if settings.reference_mode == "GIVEN":
            column.prop(settings, "reference", text="At")
        column = layout.column()
        column.prop(settings, "face_mode")
        if settings.face_mode == "INDEX":
            column.prop(settings, "face_index", text="Number")
        column = layout.column(align=True, heading="Trim")
        column.prop(settings, "use_trim", text="")
        times = column.column(align=True)
        times.active = settings.use_trim
        times.prop(settings, "trim_start")
        times.prop(settings, "trim_end")
        column.operator(MAGPLUS_OT_trim_from_markers.bl_idname, icon="MARKER_HLT")


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
        column.prop(settings, "intensity", slider=True)
        column.prop(settings, "backend")
        if caution := find_backend(settings.backend).caution:
            draw_text(column, caution, characters_across(context), "ERROR")
        column.prop(settings, "alpha_mode")
        if settings.alpha_mode == "GIVEN":
            column.prop(settings, "alpha")


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
            column.prop(settings.backend_options, option_property(settings.backend, option.name))
        if find_backend(settings.backend).parts:
            column.separator()
            column.operator(MAGPLUS_OT_check_backend.bl_idname, icon="VIEWZOOM")
            if outcome := manager.outcomes.get(BACKENDS_KIND):
                draw_outcome(column, outcome, characters_across(context))


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


def draw_moving_shot(layout: bpy.types.UILayout, settings: Any) -> None:
    """Draw what there is to say of a moving shot."""
    interval = layout.column(align=True)
    interval.prop(settings, "shot_first")
    interval.prop(settings, "shot_last")
    layout.prop(settings, "plates")
    column = layout.column(heading="Motion")
    column.prop(settings, "st_map")
    column.prop(settings, "vectors")
    if settings.st_map:
        column.operator("magplus.st_map_nodes", icon="NODE_COMPOSITING")


class MAGPLUS_PT_output(Sidebar):
    """What is made, and where it goes."""

    bl_label = "Output"
    bl_parent_id = "MAGPLUS_PT_main"
    bl_order = 6

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the panel; reads only."""
        layout, settings = self.layout, context.scene.magplus
        layout.use_property_split = True
        layout.use_property_decorate = False
        column = layout.column(heading="Make")
        column.prop(settings, "frames")
        if settings.frames:
            column.prop(settings, "frames_to")
            column.prop(settings, "moving")
        if settings.frames and settings.moving:
            draw_moving_shot(layout, settings)
            column = layout.column()
        column.prop(settings, "shape_keys")
        if settings.shape_keys:
            column.prop(settings, "animation")
        column = layout.column()
        column.prop(settings, "start_frame")
        column.prop(settings, "stretch")
        column.prop(settings, "keep_apex")
        if settings.shape_keys:
            column.prop(settings, "hold")
            release = column.column()
            release.active = not settings.hold
            release.prop(settings, "release")
        row = layout.row(heading="Capture At")
        row.prop(settings, "use_capture_frame", text="")
        frame = row.row()
        frame.active = settings.use_capture_frame
        frame.prop(settings, "capture_frame", text="")
        column = layout.column(align=True)
        column.prop(settings, "capture_size")
        column.prop(settings, "capture_samples")
        layout.prop(settings, "job_folder")
        column = layout.column(align=True)
        column.operator(MAGPLUS_OT_import_result.bl_idname, text="Import Finished Job…", icon="IMPORT")
        column.operator(MAGPLUS_OT_import_live_link.bl_idname, text="Import Live Link Face…", icon="IMPORT")


CLASSES = (
    MAGPLUS_PT_main,
    MAGPLUS_PT_bakes,
    MAGPLUS_PT_driver,
    MAGPLUS_PT_magnification,
    MAGPLUS_PT_backend,
    MAGPLUS_PT_regions,
    MAGPLUS_PT_output,
)
