# SPDX-License-Identifier: GPL-3.0-or-later
"""A clip as a Blender image, in the colours that it was rendered in."""

from __future__ import annotations

from typing import Any, cast

import bpy

from .clip import Clip

NAME = "MagPlus Result"
MARK = "magplus_result"  # custom property of whatever shows frames: the name of their job
# The colour space that undoes a view transform, so that a picture which has been through it comes out as it was. That
# of Khronos PBR Neutral does not undo it (measured: up to 53 of 255 steps off), so it is not among them.
_INVERSE_OF_VIEW = {"Standard": "sRGB", "AgX": "AgX Base sRGB", "Filmic": "Filmic sRGB"}


def colour_space(scene: bpy.types.Scene) -> tuple[str, tuple[str, ...]]:
    """Return the colour space in which the frames come out of the scene's view transform as they went in."""
    view = scene.view_settings
    plain = view.look in {"None", ""} and view.exposure == 0.0 and view.gamma == 1.0 and not view.use_curve_mapping
    known = {
        item.identifier for item in bpy.types.ColorManagedInputColorspaceSettings.bl_rna.properties["name"].enum_items
    }
    inverse = _INVERSE_OF_VIEW.get(view.view_transform)
    if inverse is not None and inverse in known and plain:
        return inverse, ()
    return "sRGB", (
        f"The scene's view transform ({view.view_transform} with look, exposure, gamma or curves) changes the frames' "
        "colours a second time; set it to Standard for the final render.",
    )


def load(clip: Clip, colour_space: str) -> bpy.types.Image:
    """Load a clip as an image sequence, or as a single image, with the mark of its job.

    An empty colour space leaves the file's own.
    """
    image = bpy.data.images.load(str(clip.files[0]), check_existing=False)
    image.name = NAME
    image[MARK] = clip.job
    if len(clip.files) > 1:
        image.source = "SEQUENCE"
    if colour_space:
        image.colorspace_settings.name = cast(Any, colour_space)  # which there are is known at run time
        image.alpha_mode = "STRAIGHT"
    _make_relative(image)
    return image


def _make_relative(image: bpy.types.Image) -> None:
    """Keep the path relative to the file, as Blender does for what a person opens, where there is a saved file."""
    if bpy.data.filepath and bpy.context.preferences.filepaths.use_relative_paths:
        try:
            image.filepath = bpy.path.relpath(image.filepath)
        except ValueError:  # on another drive
            return


def hold(user: bpy.types.ImageUser, clip: Clip) -> None:
    """Let an image user show file 1 at the clip's start, and before it; and the last file after the end.

    Blender counts one frame back before its start, to a file that does not exist, so its start and offset are one on:
    the offset is the first file's number.
    """
    user.frame_duration = len(clip.files) - 1
    user.frame_start = clip.start + 1
    user.frame_offset = int(clip.files[0].stem)
    user.use_cyclic = False
    user.use_auto_refresh = True
