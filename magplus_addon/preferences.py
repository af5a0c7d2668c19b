# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person chooses once for this machine: above all, where the worker's Python is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import bpy

from ..backend_bridge.backends import BACKENDS
from ..backend_bridge.environment.torch_builds import VARIANTS
from ..operators.backends import KIND as BACKENDS_KIND
from ..operators.backends import (
    MAGPLUS_OT_add_checkpoint,
    MAGPLUS_OT_remove_checkpoint,
    MAGPLUS_OT_verify_checkpoints,
)
from ..operators.blender.properties import BoolProperty, EnumProperty, IntProperty, StringProperty, with_properties
from ..operators.blender.wording import CONTEXT, translated
from ..operators.environment import (
    KIND,
    ROOT,
    MAGPLUS_OT_check_environment,
    MAGPLUS_OT_create_environment,
    environment_problem,
    offline_reason,
    own_environment,
    website,
)
from ..operators.running.job_manager import manager
from .menu import keymap
from .panels import draw_outcome, draw_progress
from .text import draw_button, draw_text, line_width, side_by_side, text_width

TERMS_SHARE = 0.32  # of the width, for the terms of a checkpoint beside the name of its backend
STEPS = (
    "Allow online access in System > Network.",
    "Create Environment downloads PyTorch, OpenCV and MediaPipe: 0.5 GB, or about 3 GB for a graphics card. It "
    "takes some minutes, and 1.8 GB on the disk, more for a graphics card.",
    "In the 3D view's sidebar (N), under MagPlus, choose the avatar and the video and press Animate.",
)


@with_properties
class MagPlusPreferences(bpy.types.AddonPreferences):
    """The add-on's preferences."""

    bl_idname = ROOT

    environment_source: str = EnumProperty(
        name="Worker",
        description="The Python that computes. It is not Blender's own: it has torch, OpenCV and MediaPipe",
        items=(
            ("OWN", "Own Environment", "An environment that MagPlus makes when you ask for it"),
            ("EXISTING", "Existing Python", "A Python on this machine that has the packages already"),
        ),
    )
    environment_folder: str = StringProperty(
        name="Folder",
        description="Where the environment is. Left empty: in Blender's folder for extensions' data, which goes when "
        "MagPlus is uninstalled",
        subtype="DIR_PATH",
    )
    python: str = StringProperty(name="Python", description="The Python's executable", subtype="FILE_PATH")
    torch_variant: str = EnumProperty(
        name="PyTorch",
        description="Which build of PyTorch to install",
        items=VARIANTS,
    )
    device: str = EnumProperty(
        name="Device",
        description="Where the worker computes",
        items=(
            ("auto", "Automatic", "The GPU where there is one that PyTorch can use, else the CPU"),
            ("cpu", "CPU", "The processor"),
            ("cuda", "GPU (CUDA or ROCm)", "An NVIDIA or AMD GPU"),
            ("mps", "GPU (Metal)", "The GPU of an Apple computer"),
        ),
    )
    allow_cpu: bool = BoolProperty(
        name="Go On on the CPU",
        description="When the GPU's memory is too small for a run, go on on the CPU, which takes longer, instead of "
        "stopping. The result says so",
        default=False,
    )
    idle_minutes: int = IntProperty(
        name="Keep Models Loaded (Minutes)",
        description="Minutes for which the worker waits for the next run with its models loaded",
        default=15,
        min=1,
        max=1440,
    )

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the preferences; reads only."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False

        layout.row().prop(self, "environment_source", expand=True)
        column = layout.column()
        if self.environment_source == "OWN":
            default = str(own_environment(context).folder)
            column.prop(self, "environment_folder", placeholder=default)
            column.prop(self, "torch_variant")
        else:
            column.prop(self, "python")
        self._draw_environment(context, layout.column())

        column = layout.column()
        column.prop(self, "device")
        row = column.row()
        row.active = self.device != "cpu"
        row.prop(self, "allow_cpu")
        column.prop(self, "idle_minutes")
        _draw_backends(context, layout.column())
        _draw_keys(layout.column())
        if address := website():
            layout.operator("wm.url_open", text="Manual", text_ctxt=CONTEXT, icon="HELP").url = address

    def _draw_environment(self, context: bpy.types.Context, layout: bpy.types.UILayout) -> None:
        """Draw the state of the worker's Python and what can be done about it."""
        width = line_width(context, 0.75)
        if manager.kind == KIND:
            draw_progress(layout)
            return
        if problem := environment_problem(context):
            draw_text(layout, problem, width, "INFO")
            if self.environment_source == "OWN":
                for number, step in enumerate(STEPS, 1):
                    draw_text(layout, f"{number}. {translated(step)}", width)
        if self.environment_source == "OWN" and (reason := offline_reason()):
            draw_text(layout, reason, width, "INTERNET_OFFLINE")
        buttons: list[tuple[type[bpy.types.Operator], str]] = [(MAGPLUS_OT_check_environment, "FILE_REFRESH")]
        if self.environment_source == "OWN":
            buttons.insert(0, (MAGPLUS_OT_create_environment, "IMPORT"))
        _draw_buttons(layout, buttons, width)
        if outcome := manager.outcomes.get(KIND):
            draw_outcome(layout, outcome, width)


def _draw_backends(context: bpy.types.Context, layout: bpy.types.UILayout) -> None:
    """Draw which backends have their checkpoints, under which terms, and what can be done about it."""
    layout.label(text="Backends")
    width, beside = line_width(context, 0.75), line_width(context, TERMS_SHARE)
    for entry in BACKENDS:
        column = layout.column(align=True)
        row = column.row(align=True)
        row.label(text=entry.title, icon="CHECKMARK" if entry.ready else "DOT")
        terms = translated(f"Weights: {entry.weights_licence}")
        icon: Literal["BLANK1", "ERROR"] = "BLANK1" if entry.commercial_use else "ERROR"
        if text_width(terms) <= beside:
            row.label(text=terms, icon=icon, translate=False)
        else:
            draw_text(column, terms, width, icon)
        if entry.pages:
            row.operator("wm.url_open", text="", icon="URL").url = entry.pages[0]
        if entry.parts and entry.ready:
            row.operator(MAGPLUS_OT_remove_checkpoint.bl_idname, text="", icon="TRASH").backend = entry.folder
        else:
            row.label(text="", icon="BLANK1")
    _draw_buttons(
        layout, [(MAGPLUS_OT_add_checkpoint, "IMPORT"), (MAGPLUS_OT_verify_checkpoints, "FILE_REFRESH")], width
    )
    if manager.kind == BACKENDS_KIND:
        draw_progress(layout)
    elif outcome := manager.outcomes.get(BACKENDS_KIND):
        draw_outcome(layout, outcome, width)


def _draw_buttons(
    layout: bpy.types.UILayout, buttons: Sequence[tuple[type[bpy.types.Operator], str]], width: float
) -> None:
    place, each = side_by_side(layout, [operator.bl_label for operator, _ in buttons], width)
    for operator, icon in buttons:
        draw_button(place, operator, each, icon)


def _draw_keys(layout: bpy.types.UILayout) -> None:
    """Draw the keys, which are off until somebody ticks them."""
    for _, item in keymap.items:
        row = layout.row()
        row.prop(item, "active", text="")
        row.label(text=item.name)
        row.label(text=item.to_string(), translate=False)


CLASSES = (MagPlusPreferences,)
