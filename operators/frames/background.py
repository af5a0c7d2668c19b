# SPDX-License-Identifier: GPL-3.0-or-later
"""A clip as a camera's background image."""

from __future__ import annotations

import bpy

from ..blender.data import camera_of
from .clip import Clip


def add_background(camera: bpy.types.Object, image: bpy.types.Image, clip: Clip) -> str:
    """Show a clip behind what a camera sees, in the viewport; returns the camera's name."""
    lens = camera_of(camera)
    lens.show_background_images = True
    background = lens.background_images.new()
    background.image = image
    background.alpha = 1.0
    background.frame_method = "FIT"
    # Outside of these frames Blender does not draw it.
    user = background.image_user
    user.frame_duration, user.frame_start, user.frame_offset = len(clip.files), clip.start, 0
    user.use_cyclic, user.use_auto_refresh = False, True
    return str(camera.name)
