# SPDX-License-Identifier: GPL-3.0-or-later
"""What MagPlus is doing, and how it ended, in Blender's status bar: seen wherever one works."""

from __future__ import annotations

from typing import Any

import bpy

from ..operators.animate import MAGPLUS_OT_cancel
from ..operators.blender.operator import OperatorResult
from ..operators.blender.wording import translated
from ..operators.running.job_manager import Outcome, manager, redraw
from .panels import is_alarming, outcome_icon, progress_text
from .text import draw_text

WIDTH = 12.0  # of the bar, in units of the interface
POPUP_WIDTH = 420.0  # px at scale 1 of a line in the notice


class MAGPLUS_OT_dismiss(bpy.types.Operator):
    """Take this notice away"""

    bl_idname = "magplus.dismiss"
    bl_label = "Dismiss"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Only while there is one."""
        return manager.notice is not None

    def execute(self, _context: bpy.types.Context) -> OperatorResult:
        """Forget it; the sidebar has it still."""
        manager.notice = None
        redraw()
        return {"FINISHED"}


def draw_status(header: Any, _context: bpy.types.Context) -> None:
    """Draw the running task, or how the last one ended, at the end of the status bar."""
    if manager.busy:
        row = header.layout.row(align=True)
        bar = row.row()
        bar.ui_units_x = WIDTH
        bar.progress(factor=0.0 if manager.cancelling else manager.share, text=progress_text())
        row.operator(MAGPLUS_OT_cancel.bl_idname, text="", icon="X")
    elif manager.notice is not None:
        row = header.layout.row(align=True)
        row.alert = is_alarming(manager.notice)
        text = f"MagPlus: {translated(manager.notice.sentence)}"
        row.label(text=text, icon=outcome_icon(manager.notice), translate=False)
        row.operator(MAGPLUS_OT_dismiss.bl_idname, text="", icon="X")


def announce(outcome: Outcome) -> None:
    """Show how a task ended at the cursor, unless that would get in the way of what a person is doing."""
    windows = bpy.context.window_manager.windows
    if bpy.app.background or not windows or windows[0].modal_operators:
        return

    def draw(popup: Any, _context: bpy.types.Context) -> None:
        draw_text(popup.layout, outcome.sentence, POPUP_WIDTH, outcome_icon(outcome))

    bpy.context.window_manager.popup_menu(draw, title="MagPlus")


CLASSES = (MAGPLUS_OT_dismiss,)


def register() -> None:
    """Draw in the status bar, and announce what ends."""
    bpy.types.STATUSBAR_HT_header.append(draw_status)
    manager.on_end.append(announce)


def unregister() -> None:
    """Stop that."""
    manager.on_end.remove(announce)
    bpy.types.STATUSBAR_HT_header.remove(draw_status)
