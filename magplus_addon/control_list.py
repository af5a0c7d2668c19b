# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of the rig's controls in the sidebar: which are solved, which are held, which move alike."""

from __future__ import annotations

from typing import Any

import bpy

from ..operators.blender.properties import BoolProperty, with_properties
from ..operators.blender.wording import CONTEXT, translated
from ..operators.measure_controls import KIND, MAGPLUS_OT_choose_controls, MAGPLUS_OT_measure_controls
from ..operators.rig.kinds import KINDS
from ..operators.running.job_manager import Status, manager
from .panels import Sidebar, draw_outcome
from .text import draw_button, draw_field, draw_text, line_width, side_by_side, text_width


@with_properties
class MAGPLUS_UL_controls(bpy.types.UIList):
    """The controls of the rig, to be searched by name or by action unit."""

    only_seen: bool = BoolProperty(
        name="Only What Is Seen", description="Leave out what this camera can't see", default=True
    )

    def draw_item(
        self,
        _context: bpy.types.Context,
        layout: bpy.types.UILayout,
        _data: object,
        item: Any,
        _icon: int | None,
        _active_data: object,
        _active_property: str | None,
        _index: int | None = 0,
        _flag: int | None = 0,
    ) -> None:
        """Draw one line: solve, name, by how many px it moves the face, mirror, lock."""
        row = layout.row(align=True)
        row.prop(item, "solve", text="")
        split = row.split(factor=0.76, align=True)
        split.active = item.solve and not item.lock
        icon = KINDS[item.kind].icon if item.kind in KINDS else "NONE"
        split.label(text=item.name, icon=icon, translate=False)
        reach = split.row(align=True)
        reach.alignment = "RIGHT"
        reach.label(text=f"{item.pixels:.1f}" if item.pixels < 100 else f"{item.pixels:.0f}")
        mirror = row.row(align=True)
        mirror.enabled = bool(item.partner)
        mirror.prop(item, "mirror", text="", icon="MOD_MIRROR")
        row.prop(item, "lock", text="", icon="LOCKED" if item.lock else "UNLOCKED")

    def draw_filter(self, _context: bpy.types.Context, layout: bpy.types.UILayout) -> None:
        """Draw what is searched for."""
        row = layout.row(align=True)
        row.prop(self, "filter_name", text="", icon="VIEWZOOM")
        row.prop(self, "only_seen", text="", icon="HIDE_OFF")

    def filter_items(self, _context: bpy.types.Context, data: Any, name: str) -> Any:
        """Show what has the text in its name or its action units; returns a flag for each and no order."""
        wanted = self.filter_name.lower()
        shown = [
            wanted in f"{item.name} {item.units}".lower() and not (self.only_seen and item.note.startswith("can't"))
            for item in getattr(data, name)
        ]
        return [self.bitflag_filter_item if each else 0 for each in shown], []


class MAGPLUS_PT_controls(Sidebar):
    """Which controls of the rig are solved."""

    bl_label = "Controls"
    bl_parent_id = "MAGPLUS_PT_main"
    bl_order = 4
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only for an avatar."""
        return context.scene.magplus.avatar is not None

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the panel; reads only."""
        layout, settings = self.layout, context.scene.magplus
        width = line_width(context)
        draw_button(layout, MAGPLUS_OT_measure_controls, width, "FILE_REFRESH")
        if settings.controls:
            solved = sum(entry.solve and not entry.lock for entry in settings.controls)
            counted = f"{solved} of {len(settings.controls)} are solved"
            place, _ = side_by_side(layout, (counted, "Choose"), width)
            if text_width(translated(counted)) <= width:
                place.label(text=translated(counted), translate=False)
            else:
                draw_text(place, counted, width)
            place.operator_menu_enum(MAGPLUS_OT_choose_controls.bl_idname, "which", text="Choose", text_ctxt=CONTEXT)
            layout.template_list(
                MAGPLUS_UL_controls.__name__, "", settings, "controls", settings, "active_control", rows=8
            )
            if 0 <= settings.active_control < len(settings.controls):
                _draw_control(layout, settings.controls[settings.active_control], width)
        elif settings.shape_keys:
            draw_text(layout, "Every shape key is solved. Measure to choose, and to find bones.", width, "INFO")
        if (outcome := manager.outcomes.get(KIND)) and outcome.status is not Status.FINISHED:
            draw_outcome(layout, outcome, width)
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        draw_field(context, column, settings, "match")
        draw_field(context, column, settings, "smoothing")
        if settings.smoothing > 0:
            draw_text(column, "Smoothing lowers the apex; the report says by how much.", width, "ERROR")


def _draw_control(layout: bpy.types.UILayout, control: Any, width: float) -> None:
    """Draw what is known of the control that is picked in the list."""
    column = layout.column(align=True)
    reach = f"{control.pixels:.1f} px over its range, {control.visibility:.0%} of the most visible"
    if control.kind in KINDS:
        draw_text(column, KINDS[control.kind].label, width, KINDS[control.kind].icon)
    if control.units:
        draw_text(column, f"Action units: {control.units}", width, "INFO")
    draw_text(column, reach, width)
    if control.note:
        draw_text(column, f"It {control.note}.", width, "ERROR")


CLASSES = (MAGPLUS_UL_controls, MAGPLUS_PT_controls)
