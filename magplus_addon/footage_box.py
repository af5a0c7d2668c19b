# SPDX-License-Identifier: GPL-3.0-or-later
"""The driving video in the sidebar: what it is, and how long a run on it takes."""

from __future__ import annotations

from pathlib import Path

import bpy
import bpy.utils.previews

from ..backend_bridge.worker_client.look import Footage
from ..operators.expected_time import expected_seconds
from ..operators.footage import frames_of, looks, rate_text
from ..operators.order import driving_problem
from .text import clock, draw_text, line_width

PICTURE_SCALE = 4.0  # of a thumbnail, in units of Blender's interface
BESIDE_WIDTH = 75.0  # px at scale 1 that a line beside the thumbnail must have, else it is below
PICTURE_SHARE, TEXT_SHARE = 0.35, 0.7  # of the sidebar's width


class Thumbnails:
    """Small pictures of videos as icons; each is loaded when it is drawn for the first time."""

    def __init__(self) -> None:
        self._icons: bpy.utils.previews.ImagePreviewCollection | None = None

    def icon(self, path: Path, kind: str = "IMAGE") -> int:
        """Return the icon of a picture or a video."""
        if self._icons is None:
            self._icons = bpy.utils.previews.new()
        name = str(path)
        found = self._icons.get(name) or self._icons.load(name, name, kind)
        return int(found.icon_id)

    def clear(self) -> None:
        """Let go of all of them."""
        if self._icons is not None:
            bpy.utils.previews.remove(self._icons)
            self._icons = None


thumbnails = Thumbnails()


def draw_footage(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """Draw what the chosen driving video is and how long a run on it takes; what isn't known yet is looked at."""
    settings = context.scene.magplus
    if driving_problem(settings):
        return
    look = looks.ask(context)
    path = Path(bpy.path.abspath(settings.driving))
    box = layout.box()
    width = line_width(context, TEXT_SHARE)
    beside = width >= BESIDE_WIDTH
    split = box.split(factor=PICTURE_SHARE) if beside else box.column()
    footage = look.footage if look is not None else None
    if footage is not None and footage.thumbnails:
        split.template_icon(thumbnails.icon(footage.thumbnails[0].file), scale=PICTURE_SCALE)
    elif path.is_file() and not bpy.app.background:
        split.template_icon(thumbnails.icon(path, "MOVIE"), scale=PICTURE_SCALE)
    column = split.column(align=True)
    if not beside:
        width = line_width(context)
    draw_text(column, path.name, width)
    if footage is not None:
        for line in lines_of(footage):
            draw_text(column, line, width)
        frames = frames_of(footage, settings)
        if frames and (expected := expected_seconds(context, frames)) is not None:
            seconds, known = expected
            about = f"A run takes about {clock(rounded(seconds))}"
            draw_text(
                box, about if known else f"{about} on two cores without a graphics card", line_width(context), "TIME"
            )
    elif look is not None and look.error:
        draw_text(box, look.error, line_width(context), "ERROR")
    elif look is not None:
        draw_text(column, "Looking at the video…", width)


def rounded(seconds: float) -> float:
    """Return a duration no more exactly than it can be known: to 5 s, above a minute to 30 s, above ten to minutes."""
    step = 5 if seconds < 60 else 30 if seconds < 600 else 60
    return max(round(seconds / step), 1) * step


def lines_of(footage: Footage) -> list[str]:
    """Return length, exact frame rate, size and frames of a video in words."""
    lines = []
    if footage.seconds is not None:
        lines.append(f"{float(footage.seconds):.3f} s")
    if footage.rate is not None:
        lines.append(f"{rate_text(footage.rate)} frames/s")
        if footage.rate.denominator > 1:
            lines.append(f"exactly {footage.rate}")
        if footage.variable_rate:
            lines.append("on average: it varies")
    lines.append(f"{footage.width} x {footage.height} px")
    if footage.frames is not None:
        lines.append(f"{footage.frames} frames")
    return lines


def unregister() -> None:
    """Let go of the pictures."""
    thumbnails.clear()
