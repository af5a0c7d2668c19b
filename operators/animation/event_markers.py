# SPDX-License-Identifier: GPL-3.0-or-later
"""Onset, apex and offset on the timeline: set with a result, moved by hand, and taken as the trim of the next run."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import bpy

from ...backend_bridge.files.errors import InputError
from ...backend_bridge.job.report import Report
from ..blender.operator import ExplainedOperator, OperatorResult, refusing
from ..blender.wording import translated
from .scene_time import EVENTS, Placement, SourceTime

_LABELS = {event: f"MagPlus {event}" for event in EVENTS}


@dataclass(frozen=True)
class Trim:
    """A part of the driving video, in seconds of its own timeline, and the scene frame at which it starts."""

    start: float
    end: float
    start_frame: int


@dataclass(frozen=True)
class VideoPart:
    """Where a clip comes from: the driving video, empty where none is known, and its time at the clip's first frame."""

    path: str = ""
    start: Fraction = Fraction(0)

    @classmethod
    def of(cls, report: Report) -> VideoPart:
        """Return the part of the driving video that a job's clip is, in seconds of the video's own timeline."""
        if report.driving is None:
            return cls()
        return cls(report.driving.path, Fraction(report.driving.start).limit_denominator(1_000_000))


def set_event_markers(
    scene: bpy.types.Scene, source: SourceTime, placement: Placement, part: VideoPart
) -> dict[str, int]:
    """Mark onset, apex and offset on the nearest whole frames, in place of those that lie within the clip already.

    Remembers in the scene where the clip lies, and which `part` of which video it is. Returns the frames by event.
    """
    markers, windows = scene.timeline_markers, scene.magplus.windows
    first, last = placement.frame(source.seconds[0]), placement.frame(source.seconds[-1])
    for index in reversed(range(len(windows))):
        if windows[index].first_frame <= last and first <= windows[index].last_frame:
            windows.remove(index)
    for placed in (scene.magplus.placed, windows.add()):
        placed.first_frame, placed.last_frame = float(first), float(last)
        placed.frames_per_second, placed.video_start = float(placement.rate), float(part.start)
        placed.video = part.path
    for marker in [marker for marker in markers if marker.name in _LABELS.values()]:
        if round(first) <= marker.frame <= round(last):
            markers.remove(marker)
    frames = {event: round(placement.frame(seconds)) for event, seconds in source.events.items()}
    for event, frame in frames.items():
        markers.new(_LABELS[event], frame=frame)
    return frames


def set_missing_markers(scene: bpy.types.Scene) -> None:
    """Mark the clip's first frame as the onset and its last as the offset where the last result has no such marker."""
    markers, placed = scene.timeline_markers, scene.magplus.placed
    first, last = round(placed.first_frame), round(placed.last_frame)
    for event, frame in (("onset", first), ("offset", last)):
        if not any(marker.name == _LABELS[event] and first <= marker.frame <= last for marker in markers):
            markers.new(_LABELS[event], frame=frame)


def trim_from_markers(scene: bpy.types.Scene) -> Trim:
    """Return what lies between the onset and the offset marker of a result: the one at the playhead, else the last.

    Raises `InputError` when there is none, it is of another video than the scene's driving video, a marker is gone, or
    they are in the wrong order.
    """
    at_playhead = [
        each for each in scene.magplus.windows if each.first_frame - 0.5 <= scene.frame_current <= each.last_frame + 0.5
    ]
    placed = at_playhead[0] if at_playhead else scene.magplus.placed
    if not placed.frames_per_second:
        raise InputError("There is no result in this scene yet; run MagPlus once, then move its markers.")
    video, chosen = (Path(path).name for path in (placed.video, scene.magplus.driving))
    if video and chosen and video != chosen:
        raise InputError(
            f"These markers are of a result of {video}, but the driving video is {chosen}; choose {video}."
        )
    frames = {}
    for event in ("onset", "offset"):
        there = [marker.frame for marker in scene.timeline_markers if marker.name == _LABELS[event]]
        if not there:
            raise InputError(f"There is no marker {_LABELS[event]!r}; add one to the timeline with this name.")
        # Of several results' markers, its own lie nearest to it.
        frames[event] = min(there, key=lambda frame: max(placed.first_frame - frame, frame - placed.last_frame, 0.0))
    if frames["onset"] >= frames["offset"]:
        raise InputError("The offset marker does not come after the onset marker; move one of them.")
    start, end = (
        placed.video_start + (frames[event] - placed.first_frame) / placed.frames_per_second
        for event in ("onset", "offset")
    )
    if end <= 0:
        raise InputError("The offset marker lies before the start of the video; move it.")
    return Trim(max(start, 0.0), end, frames["onset"])


class MAGPLUS_OT_trim_from_markers(ExplainedOperator):
    """Use the part of the video between onset and offset marker of the result at the playhead, or else of the last"""

    bl_idname = "magplus.trim_from_markers"
    bl_label = "Trim from Markers"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def problem(cls, context: bpy.types.Context) -> str:
        """Return why it can't be used now, or an empty string."""
        try:
            trim_from_markers(context.scene)
        except InputError as error:
            return str(error)
        return ""

    @refusing
    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Write the trim into the scene's settings."""
        settings = context.scene.magplus
        trim = trim_from_markers(context.scene)
        settings.use_trim = True
        settings.trim_start, settings.trim_end = round(trim.start, 4), round(trim.end, 4)
        settings.start_frame = trim.start_frame
        self.report({"INFO"}, translated(f"The video is used from {trim.start:.3f} s to {trim.end:.3f} s."))
        return {"FINISHED"}


CLASSES = (MAGPLUS_OT_trim_from_markers,)
