# SPDX-License-Identifier: GPL-3.0-or-later
"""Choosing the part of the driving video by eye: a scene of its own in which the video plays frame by frame.

Its markers are the handles: the first frame of the part, its last, and the reference. The scene that they are for stays
as it is until the markers are used.
"""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import bpy

from ..backend_bridge.files.errors import InputError, MagPlusError
from .animation.scene_time import scene_rate
from .blender.operator import ExplainedOperator, OperatorResult, refused, refusing
from .blender.properties import EnumProperty, with_properties
from .footage import frame_rate, looks, with_blender
from .frames.windows import close_later, frame_timelines
from .order import driving_problem

NAME = "MagPlus Driver"
START, END, REFERENCE = "Trim Start", "Trim End", "Reference"  # markers
WHICH = (
    ("START", "Start Here", "The part begins with the present frame"),
    ("END", "End Here", "The present frame is the last of the part"),
    ("REFERENCE", "Reference Here", "The driver's face is at rest in the present frame"),
)
_MARKERS = {"START": START, "END": END, "REFERENCE": REFERENCE}
TIMELINE_HEIGHT = 120  # px at scale 1, with room for markers
DIGITS = 4  # decimals of seconds; half a frame at 1000 frames a second is more


def open_driver(scene: bpy.types.Scene) -> bpy.types.Scene:
    """Return the scene in which the driving video of `scene` plays, with markers where its settings have them.

    Raises `InputError` when the video can't be shown.
    """
    settings = scene.magplus
    path = bpy.path.abspath(settings.driving)
    look = looks.known(settings)
    footage = look.footage if look is not None and look.footage is not None else None
    if footage is None or not footage.rate:
        if look is not None and look.error:
            raise InputError(look.error)
        footage = with_blender(Path(path))
    if not footage.rate or not footage.frames:
        raise InputError("The video does not tell its length or its frame rate; type the trim in seconds.")
    close_driver(scene)
    clip = bpy.data.movieclips.load(path)
    driver = bpy.data.scenes.new(NAME)
    driver.magplus.trims, driver.magplus.trims_clip = scene, clip
    rate = Fraction(frame_rate(settings.sequence_rate)) if settings.sequence_rate else footage.rate
    driver.render.fps = max(round(rate), 1)
    driver.render.fps_base = driver.render.fps / float(rate)
    driver.frame_start, driver.frame_end = 1, footage.frames
    start, end = 1, footage.frames
    if settings.use_trim:
        start = _frame(settings.trim_start, rate, footage.frames)
        end = max(_frame(settings.trim_end, rate, footage.frames + 1) - 1, start)
    driver.timeline_markers.new(START, frame=start)
    driver.timeline_markers.new(END, frame=end)
    if settings.reference_mode == "GIVEN":
        driver.timeline_markers.new(REFERENCE, frame=_frame(settings.reference, rate, footage.frames))
    driver.frame_set(start)
    return driver


def driver_of(scene: bpy.types.Scene) -> bpy.types.Scene | None:
    """Return the scene in which the driving video of `scene` plays, or None."""
    return next((each for each in bpy.data.scenes if each.magplus.trims == scene), None)


def close_driver(scene: bpy.types.Scene) -> None:
    """Remove the scene in which the driving video of `scene` plays, with its window."""
    driver = driver_of(scene)
    if driver is None:
        return
    windows = bpy.context.window_manager.windows
    for window in [each for each in windows if each.scene == driver]:
        window.scene = scene
        if len(windows) > 1 and not bpy.app.background:
            close_later(window)
    clip = driver.magplus.trims_clip
    bpy.data.scenes.remove(driver)
    if clip is not None and clip.users == 0:
        bpy.data.movieclips.remove(clip)


def use_markers(driver: bpy.types.Scene) -> None:
    """Write what the markers say into the settings of the scene that they are for. Raises `InputError`."""
    settings, rate = _target(driver).magplus, scene_rate(driver)
    frames = {marker.name: marker.frame for marker in driver.timeline_markers}
    start, end = frames.get(START, driver.frame_start), frames.get(END, driver.frame_end)
    start, end = max(start, driver.frame_start), min(end, driver.frame_end)
    if start > end:
        raise InputError(f"The marker {END!r} comes before {START!r}; move one of them.")
    reference = frames.get(REFERENCE)
    if reference is not None and not driver.frame_start <= reference <= driver.frame_end:
        raise InputError(f"The marker {REFERENCE!r} lies outside the video; move it to one of its frames.")
    settings.use_trim = (start, end) != (driver.frame_start, driver.frame_end)
    settings.trim_start, settings.trim_end = _seconds(start, rate), _seconds(end + 1, rate)
    settings.reference_mode = "AUTO" if reference is None else "GIVEN"
    if reference is not None:
        settings.reference = _seconds(reference, rate)


def _target(driver: bpy.types.Scene) -> bpy.types.Scene:
    """Return the scene that a driving video's scene is for."""
    target = driver.magplus.trims
    assert target is not None, "a scene without one plays no driving video"
    return target


def mark(driver: bpy.types.Scene, which: str) -> None:
    """Put a marker on the present frame."""
    name = _MARKERS[which]
    for marker in [each for each in driver.timeline_markers if each.name == name]:
        driver.timeline_markers.remove(marker)
    driver.timeline_markers.new(name, frame=driver.frame_current)


def _frame(seconds: float, rate: Fraction, last: int) -> int:
    return min(max(round(Fraction(seconds) * rate) + 1, 1), last)


def _seconds(frame: int, rate: Fraction) -> float:
    return round(float((frame - 1) / rate), DIGITS)


class MAGPLUS_OT_open_driver(ExplainedOperator):
    """Show the driving video in a window of its own, with markers for the part that is used and the reference"""

    bl_idname = "magplus.open_driver"
    bl_label = "Choose by Eye"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def problem(cls, context: bpy.types.Context) -> str:
        """Return why it can't be used now, or an empty string."""
        return driving_problem(context.scene.magplus)

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Make the scene, and a window for it."""
        try:
            driver = open_driver(context.scene)
        except (MagPlusError, RuntimeError) as error:
            return refused(self, str(error).removeprefix("Error: "))
        if not bpy.app.background:
            _open_window(context, driver)
        return {"FINISHED"}


def _raise_edge(context: bpy.types.Context, window: bpy.types.Window, area: bpy.types.Area) -> None:
    """Make an area that is lower than `TIMELINE_HEIGHT` that high: a lower timeline shows no markers."""
    lacking = round(TIMELINE_HEIGHT * context.preferences.system.ui_scale) - area.height
    if lacking > 0:
        with suppress(RuntimeError), context.temp_override(window=window, screen=window.screen):
            bpy.ops.screen.area_move(x=area.x + area.width // 2, y=area.y + area.height, delta=lacking)


def _open_window(context: bpy.types.Context, driver: bpy.types.Scene) -> None:
    """Open a window of its own with the clip in place of its largest editor, and a timeline."""
    bpy.ops.wm.window_new_main()  # another kind of window would have the scene in common with this one
    window = context.window_manager.windows[-1]
    window.scene = driver
    areas = sorted(window.screen.areas, key=lambda each: -each.width * each.height)
    above = areas[0]
    above.type = "CLIP_EDITOR"
    space = cast(bpy.types.SpaceClipEditor, above.spaces.active)
    space.clip = driver.magplus.trims_clip
    space.show_region_ui, space.show_region_toolbar = True, False
    below = next((area for area in areas if area.type == "DOPESHEET_EDITOR"), None)
    if below is not None:
        _raise_edge(context, window, below)
    else:
        with suppress(RuntimeError), context.temp_override(window=window, area=above):
            bpy.ops.screen.area_split(direction="HORIZONTAL", factor=0.25)
        below = min((area for area in window.screen.areas if area not in areas), key=lambda each: each.y, default=None)
        if below is not None:
            cast(Any, below).ui_type = "TIMELINE"
    frame_timelines(context, driver)


class _InDriver(ExplainedOperator):
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def problem(cls, context: bpy.types.Context) -> str:
        """Return why it can't be used now, or an empty string."""
        return "" if _driver(context) is not None else "There is no driving video on show; press Choose by Eye first."


def _driver(context: bpy.types.Context) -> bpy.types.Scene | None:
    """Return the scene of the driving video, asked from it or from the scene that it is for."""
    return context.scene if context.scene.magplus.trims is not None else driver_of(context.scene)


class MAGPLUS_OT_use_markers(_InDriver):
    """Take the trim and the reference from the markers, and close the video"""

    bl_idname = "magplus.use_markers"
    bl_label = "Use These Markers"

    @refusing
    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Read them."""
        driver = _driver(context)
        assert driver is not None
        target = _target(driver)
        use_markers(driver)
        close_driver(target)
        return {"FINISHED"}


class MAGPLUS_OT_close_driver(_InDriver):
    """Close the video and leave the trim as it was"""

    bl_idname = "magplus.close_driver"
    bl_label = "Close"

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Close it."""
        driver = _driver(context)
        assert driver is not None
        close_driver(_target(driver))
        return {"FINISHED"}


@with_properties
class MAGPLUS_OT_mark_driver(_InDriver):
    """Put this marker on the present frame of the video"""

    bl_idname = "magplus.mark_driver"
    bl_label = "Mark"

    which: str = EnumProperty(name="Marker", description="Which of the markers", items=WHICH)

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Put it there."""
        driver = _driver(context)
        assert driver is not None
        mark(driver, self.which)
        return {"FINISHED"}


@with_properties
class MAGPLUS_OT_set_time(ExplainedOperator):
    """Use the moment that the slider shows"""

    bl_idname = "magplus.set_time"
    bl_label = "Set from the Slider"
    bl_options = {"REGISTER", "UNDO"}

    which: str = EnumProperty(name="Time", description="What the moment is", items=WHICH)

    @classmethod
    def problem(cls, context: bpy.types.Context) -> str:
        """Return why it can't be used now, or an empty string."""
        return "" if slider_time(context.scene.magplus) is not None else "The length of the video is not known yet."

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Write the time into the settings; what lies on the wrong side of it makes room."""
        settings = context.scene.magplus
        look, at = looks.known(settings), slider_time(settings)
        assert look is not None and look.footage is not None and at is not None
        whole, step = float(look.footage.seconds or 0), 1 / float(look.footage.rate or 1)
        if self.which == "REFERENCE":
            settings.reference_mode, settings.reference = "GIVEN", round(at, DIGITS)
            return {"FINISHED"}
        start, end = (settings.trim_start, settings.trim_end) if settings.use_trim else (0.0, whole)
        if self.which == "START":
            start, end = at, end if end > at else whole
        else:  # the frame that is shown is a part of it
            start, end = start if start < at + step else 0.0, at + step
        settings.use_trim = True
        settings.trim_start, settings.trim_end = round(start, DIGITS), round(end, DIGITS)
        return {"FINISHED"}


def slider_time(settings: Any) -> float | None:
    """Return the time of the frame that the slider is at, in seconds of the video; None where it isn't known."""
    look = looks.known(settings)
    footage = look.footage if look is not None else None
    if footage is None or not footage.rate or not footage.seconds:
        return None
    frames = footage.seconds * footage.rate
    return float(Fraction(round(settings.scrub * float(frames - 1))) / footage.rate)


CLASSES = (
    MAGPLUS_OT_open_driver,
    MAGPLUS_OT_use_markers,
    MAGPLUS_OT_close_driver,
    MAGPLUS_OT_mark_driver,
    MAGPLUS_OT_set_time,
)
