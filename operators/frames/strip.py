# SPDX-License-Identifier: GPL-3.0-or-later
"""A clip as a strip of the video sequencer."""

from __future__ import annotations

from typing import Any, cast

import bpy

from .clip import Clip
from .image import MARK, NAME, relative


def add_strip(scene: bpy.types.Scene, clip: Clip, colour_space: str) -> str:
    """Put a clip on a free channel of the sequencer; an empty colour space leaves the files' own. Return its name."""
    strips = strips_of(scene)
    last = clip.start + len(clip.files)
    extents = [(strip.channel, *extent(strip)) for strip in strips]
    used = {channel for channel, first, end in extents if first < last and end > clip.start}
    channel = next(number for number in range(1, len(used) + 2) if number not in used)
    made = strips.new_image(
        name=NAME, filepath=str(clip.files[0]), channel=channel, frame_start=clip.start, fit_method="FIT"
    )
    strip = cast("bpy.types.ImageStrip", made)  # the class has another name before 4.4
    for path in clip.files[1:]:
        strip.elements.append(path.name)
    strip.directory = relative(strip.directory)
    strip.blend_type = "ALPHA_OVER"
    strip[MARK] = clip.job
    if colour_space:
        strip.colorspace_settings.name = cast(Any, colour_space)  # which there are is known at run time
        strip.alpha_mode = "STRAIGHT"
    return str(strip.name)


def extent(strip: bpy.types.Strip) -> tuple[float, float]:
    """Return the first frame of a strip and the one after its last."""
    if hasattr(strip, "left_handle"):  # from 5.2, where the old names are deprecated
        return strip.left_handle, strip.right_handle
    return strip.frame_final_start, strip.frame_final_end


def strips_of(scene: bpy.types.Scene) -> bpy.types.StripsTopLevel:
    """Return the strips of a scene's sequencer, which is made if there is none."""
    editor = scene.sequence_editor or scene.sequence_editor_create()
    return editor.strips if hasattr(editor, "strips") else editor.sequences  # `sequences` up to 4.3
