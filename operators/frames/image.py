# SPDX-License-Identifier: GPL-3.0-or-later
"""A clip as a Blender image, in the colours that it was rendered in."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, cast

import bpy

from .clip import Clip

NAME = "MagPlus Result"
MARK = "magplus_result"  # custom property of whatever shows frames: the name of their job
# The colour space that undoes a view transform for a display, so that a picture which has been through both comes out
# as it was; which there are depends on the Blender series. That of Khronos PBR Neutral does not undo it (measured: up
# to 53 of 255 steps off), so it is not among them.
_INVERSE_OF_VIEW = {"Standard": "{display}", "AgX": "AgX Base {display}", "Filmic": "Filmic {display}"}
_HIGH_RANGE = {"Rec.2100-PQ", "Rec.2100-HLG"}  # displays that colour spaces of the same names do not undo


def colour_space(scene: bpy.types.Scene) -> tuple[str, tuple[str, ...]]:
    """Return the colour space in which the frames come out of the scene's view transform as they went in."""
    view = scene.view_settings
    display = "sRGB" if scene.display_settings is None else scene.display_settings.display_device
    plain = view.look in {"None", ""} and view.exposure == 0.0 and view.gamma == 1.0 and not view.use_curve_mapping
    plain &= not getattr(view, "use_white_balance", False)  # from 4.3
    known = {
        item.identifier for item in bpy.types.ColorManagedInputColorspaceSettings.bl_rna.properties["name"].enum_items
    }
    inverse = _INVERSE_OF_VIEW.get(view.view_transform, "").format(display=display)
    if plain and inverse in known and display not in _HIGH_RANGE:
        return inverse, ()
    return "sRGB", (
        f"The scene's colour management ({view.view_transform} on {display}; look, exposure, gamma, white balance, "
        "curves) changes the frames' colours a second time; set it to Standard on sRGB, and the rest back, for the "
        "final render.",
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
    image.filepath = relative(image.filepath)
    return image


def relative(path: str) -> str:
    """Return a path relative to the file, as Blender keeps that of what a person opens, where there is a saved file."""
    if bpy.data.filepath and bpy.context.preferences.filepaths.use_relative_paths:
        with suppress(ValueError):  # on another drive
            return bpy.path.relpath(path)
    return path


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
