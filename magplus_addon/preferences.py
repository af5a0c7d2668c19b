# SPDX-License-Identifier: GPL-3.0-or-later
# mypy: disable-error-code="valid-type"
"""What a person chooses once for this machine: above all, where the worker's Python is."""

from __future__ import annotations

import bpy
from bpy.props import EnumProperty, FloatProperty, StringProperty

from .. import __package__ as ROOT
from ..operators import environment
from ..operators.job_manager import manager
from .panels import draw_outcome, draw_progress, draw_text


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
        items=[(name, title, description) for name, title, description in environment.VARIANTS],
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
