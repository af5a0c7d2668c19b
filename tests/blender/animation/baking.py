# SPDX-License-Identifier: GPL-3.0-or-later
"""Solved jobs and bakes of them: what tests of several clips begin with."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import bpy
import numpy as np
from bl_ext.user_default.magplus.backend_bridge.job.folder import JobFolder
from bl_ext.user_default.magplus.operators.animation.destination import LAYER, NEW_ACTION, REPLACE, Destination
from bl_ext.user_default.magplus.operators.bake import bake_controls
from bl_ext.user_default.magplus.operators.rig.controls import RigControl

from tests.blender.jobs import solved

MODES = (NEW_ACTION, LAYER, REPLACE)
OUTSIDE = (-20, 1, 19, 40, 47, 90)  # the clip lies on frames 20 to 39


def at(frame: float, key: bpy.types.ShapeKey) -> float:
    bpy.context.scene.frame_set(int(frame // 1), subframe=frame % 1)
    return key.value


def job(folder: Path, controls: Sequence[RigControl], video_start: float = 0.0, **values: np.ndarray) -> JobFolder:
    """A solved job; values count from rest."""
    rests = {each.control.name: each.control.rest for each in controls}
    absolute = {name.replace("_", " "): rests[name.replace("_", " ")] + curve for name, curve in values.items()}
    folder.mkdir(exist_ok=True)
    return solved(folder, controls, absolute, rate=Fraction(25), video_start=video_start)


def bake(folder: JobFolder, start_frame: int = 20, **where):
    return bake_controls(bpy.context, folder, Destination(start_frame, **where))
