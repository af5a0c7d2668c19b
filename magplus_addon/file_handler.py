# SPDX-License-Identifier: GPL-3.0-or-later
"""A video dropped on a 3D view becomes the driving video."""

from __future__ import annotations

import bpy

from ..operators.blender.operator import OperatorResult, refused
from ..operators.blender.properties import StringProperty, with_properties
from .kept_paths import folder_of, relative


@with_properties
class MAGPLUS_OT_choose_driving(bpy.types.Operator):
    """Use this video as the driving video of MagPlus"""

    bl_idname = "magplus.choose_driving"
    bl_label = "MagPlus Driving Video"
    bl_options = {"REGISTER", "UNDO"}

    filepath: str = StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Write the path into the scene's settings, relative where the file is saved."""
        if not self.filepath:
            return refused(self, "No video was given.")
        context.scene.magplus.driving = relative(self.filepath, folder_of(bpy.data.filepath))
        return {"FINISHED"}


class MAGPLUS_FH_driving(bpy.types.FileHandler):
    """Offers MagPlus where a video is dropped."""

    bl_idname = "MAGPLUS_FH_driving"
    bl_label = "MagPlus Driving Video"
    bl_import_operator = MAGPLUS_OT_choose_driving.bl_idname
    bl_file_extensions = ";".join(sorted(bpy.path.extensions_movie))

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        """Only the 3D view: elsewhere a video means something else."""
        return context.area is not None and context.area.type == "VIEW_3D"


CLASSES = (MAGPLUS_OT_choose_driving, MAGPLUS_FH_driving)
