# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker's Python: which one it is, making it, and asking what it can do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import bpy

from ..backend_bridge.errors import MachineError

ROOT = __package__.rpartition(".")[0]
KIND = "environment"
VARIANTS = (("auto", "Automatic", "What fits this machine"),)


def preferences(context: bpy.types.Context) -> Any:
    """Return the add-on's preferences (`magplus_addon.preferences.MagPlusPreferences`)."""
    return context.preferences.addons[ROOT].preferences


def environment_folder(context: bpy.types.Context) -> Path:
    """Return where MagPlus's own environment is or would be."""
    chosen = preferences(context).environment_folder
    return Path(bpy.path.abspath(chosen)) if chosen else Path(bpy.utils.extension_path_user(ROOT)) / "environment"


def environment_problem(context: bpy.types.Context) -> str:
    """Return why there is no worker's Python to run with, or an empty string. Cheap: it only looks at the disk."""
    chosen = preferences(context)
    if chosen.environment_source == "EXISTING":
        if not chosen.python:
            return "Choose the worker's Python in the preferences."
        if not os.access(bpy.path.abspath(chosen.python), os.X_OK):
            return f"There is no Python that can be run at {chosen.python}; choose another in the preferences."
        return ""
    return "The worker's environment is not set up yet; create it in the preferences."


def worker_python(context: bpy.types.Context) -> Path:
    """Return the Python that the worker runs in. Raises `MachineError` when there is none."""
    if problem := environment_problem(context):
        raise MachineError(problem)
    return Path(bpy.path.abspath(preferences(context).python))


class MAGPLUS_OT_show_preferences(bpy.types.Operator):
    """Open the preferences of MagPlus"""

    bl_idname = "magplus.show_preferences"
    bl_label = "Open Preferences"

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Show them."""
        bpy.ops.preferences.addon_show(module=ROOT)
        return {"FINISHED"}


CLASSES = (MAGPLUS_OT_show_preferences,)
