# SPDX-License-Identifier: GPL-3.0-or-later
# mypy: disable-error-code="valid-type"
"""What a person chooses once for this machine: above all, where the worker's Python is."""

from __future__ import annotations

import bpy
from bpy.props import EnumProperty, FloatProperty, StringProperty

from ..operators.environment import ROOT, VARIANTS


class MagPlusPreferences(bpy.types.AddonPreferences):
    """The add-on's preferences."""

    bl_idname = ROOT

    environment_source: EnumProperty(
        name="Worker",
        description="The Python that computes. It is not Blender's own: it has torch, OpenCV and MediaPipe",
        items=(
            ("MANAGED", "Own Environment", "An environment that MagPlus makes when you ask for it"),
            ("EXISTING", "Existing Python", "A Python on this machine that has the packages already"),
        ),
    )
    environment_folder: StringProperty(
        name="Folder",
        description="Where the environment is. Left empty: in Blender's folder for extensions' data, which goes when "
        "MagPlus is uninstalled",
        subtype="DIR_PATH",
    )
    python: StringProperty(name="Python", description="The Python's executable", subtype="FILE_PATH")
    torch_variant: EnumProperty(
        name="PyTorch",
        description="Which build of PyTorch to install",
        items=VARIANTS,
    )
    device: EnumProperty(
        name="Device",
        description="Where the worker computes",
        items=(
            ("auto", "Automatic", "The GPU where there is one that PyTorch can use, else the CPU"),
            ("cpu", "CPU", "The processor"),
            ("cuda", "GPU (CUDA or ROCm)", "An NVIDIA or AMD GPU"),
            ("mps", "GPU (Metal)", "The GPU of an Apple computer"),
        ),
    )
    idle_minutes: FloatProperty(
        name="Keep Worker For",
        description="Minutes for which the worker keeps its models loaded between two runs",
        default=10.0,
        min=0.1,
        max=1440.0,
    )

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the preferences; reads only."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        column = layout.column()
        column.prop(self, "environment_source", expand=True)
        if self.environment_source == "EXISTING":
            column.prop(self, "python")
        else:
            column.prop(self, "environment_folder")
            column.prop(self, "torch_variant")
        column = layout.column()
        column.prop(self, "device")
        column.prop(self, "idle_minutes")


CLASSES = (MagPlusPreferences,)
