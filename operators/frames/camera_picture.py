# SPDX-License-Identifier: GPL-3.0-or-later
"""A clip as a camera's picture in the viewport: in front of what the camera sees, or behind it."""

from __future__ import annotations

import bpy

from ..blender.data import camera_of
from .clip import Clip


def add_camera_picture(camera: bpy.types.Object, image: bpy.types.Image, clip: Clip, *, front: bool) -> str:
    """Show a clip over what a camera sees, or behind it, in the viewport alone; returns the camera's name.

    No render shows it. In the viewport it looks the same in every kind of shading.
    """
    lens = camera_of(camera)
    lens.show_background_images = True
    picture = lens.background_images.new()
    picture.image = image
    picture.alpha = 1.0
    picture.frame_method = "FIT"
    picture.display_depth = "FRONT" if front else "BACK"
    # Outside of these frames Blender does not draw it.
    user = picture.image_user
    user.frame_duration, user.frame_start, user.frame_offset = len(clip.files), clip.start, 0
    user.use_cyclic, user.use_auto_refresh = False, True
    return str(camera.name)
