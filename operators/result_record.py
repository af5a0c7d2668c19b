# SPDX-License-Identifier: GPL-3.0-or-later
"""What a scene keeps of its last result: how it came out in words, where it lies, and the view before it.

It is in the scene and not in the job manager, so that it is there again when the file is opened, gone in another file,
and right after an undo.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from ..backend_bridge.job.folder import JobFolder
from ..backend_bridge.job.report import Report
from .animation.destination import Destination
from .animation.scene_time import Placement, SourceTime, exact
from .footage import EDGE
from .frames.shown import jobs_in_view
from .running.job_manager import Outcome

PLAYBACK, LOOP = "playback_loop_mode", "INFINITE"  # of a scene, from 5.3; before it playback always loops


@dataclass(frozen=True)
class Span:
    """The whole frames of the scene that a result fills, and that of its apex, None where nothing moves.

    onset, offset: whether the expression begins and ends within the clip.
    """

    first: int
    last: int
    apex: int | None
    onset: bool = True
    offset: bool = True

    @classmethod
    def of(cls, placement: Placement, source: SourceTime, ends: tuple[float, ...]) -> Span:
        """Return where a clip lies; `ends` are the last frames of what was made of it."""
        apex = None if source.apex is None else round(placement.frame(source.seconds[source.apex]))
        first = placement.start_frame  # before it there are no pictures
        last = max(math.ceil(max(ends)), first + 1)
        return cls(first, last, apex, "onset" in source.events, "offset" in source.events)


def keep(
    scene: bpy.types.Scene,
    folder: JobFolder,
    report: Report,
    destination: Destination,
    span: Span,
    outcome: Outcome,
    *,
    with_frames: bool,
) -> None:
    """Keep a result in the scene, in place of the one before. with_frames: an image sequence is part of it."""
    record = scene.magplus.result
    scene.magplus.last_job = record.folder = str(folder.path)
    record.sentence, record.verdict, record.has_frames = outcome.sentence, outcome.verdict, with_frames
    record.lines.clear()
    for kind, texts in (("DETAIL", outcome.details), ("WARNING", outcome.warnings)):
        for text in texts:
            line = record.lines.add()
            line.name, line.kind = text, kind
    record.first_frame, record.last_frame = span.first, span.last
    record.has_apex, record.apex_frame = span.apex is not None, span.apex or 0
    record.has_onset, record.has_offset = span.onset, span.offset
    better = None if report.reference is None else report.reference.better
    record.driving = "" if report.driving is None else report.driving.path
    record.has_better, record.better = better is not None, better or 0.0
    record.start_frame, record.keep_apex = destination.start_frame, destination.keep_apex
    record.stretch = float(destination.stretch)


def kept_folder(scene: bpy.types.Scene) -> Path | None:
    """Return the job folder of the scene's last result, None where there is none or it is gone."""
    if not scene.magplus.result.folder:
        return None
    path = Path(bpy.path.abspath(scene.magplus.result.folder))
    return path if path.is_dir() else None


def frames_in_view(scene: bpy.types.Scene) -> bool:
    """Whether the scene's view can show frames of its last result; there may be those of earlier ones."""
    record = scene.magplus.result
    return bool(record.has_frames and Path(record.folder).name in jobs_in_view(scene))


def out_of_range(scene: bpy.types.Scene) -> str:
    """Return, as a sentence, that frames of the last result lie where the scene doesn't play, or an empty string."""
    record = scene.magplus.result
    if record.has_apex and not scene.frame_start <= record.apex_frame <= scene.frame_end:
        return f"The apex is at frame {record.apex_frame}, outside the scene's frame range."
    if record.last_frame > scene.frame_end:
        return f"The result goes on to frame {record.last_frame}, after the scene's end."
    return ""


def better_reference(scene: bpy.types.Scene) -> float | None:
    """Return the reference that the last result found to be better than its own, in seconds of the scene's video.

    None where it found none, where it is chosen already, and where the scene's driving video is another one by now.
    """
    settings, record = scene.magplus, scene.magplus.result
    if not (record.has_better and settings.driving and _place(settings.driving) == _place(record.driving)):
        return None
    chosen = settings.reference_mode == "GIVEN" and abs(settings.reference - record.better) < EDGE
    return None if chosen else record.better


def other_driving(scene: bpy.types.Scene) -> str:
    """Return the name of the video that the last result is of, empty where one of that name is the driving video."""
    name, chosen = (Path(path).name for path in (scene.magplus.result.driving, scene.magplus.driving))
    return name if chosen and name != chosen else ""


def _place(path: str) -> str:
    return os.path.normcase(os.path.normpath(Path(bpy.path.abspath(path)).absolute()))


def present(scene: bpy.types.Scene) -> None:
    """Go to the apex, and let playback loop over the result; the view before is kept, to be put back."""
    record = scene.magplus.result
    if not (record.view_kept and _range_of(scene) == tuple(record.preview)):
        record.view_kept = True
        record.before = _range_of(scene)
        record.frame_before = scene.frame_current
        record.loop_before = getattr(scene, PLAYBACK, "")
    scene.use_preview_range = True
    scene.frame_preview_start, scene.frame_preview_end = record.first_frame, record.last_frame
    record.preview = _range_of(scene)
    if record.loop_before:
        setattr(scene, PLAYBACK, LOOP)
    scene.frame_set(record.apex_frame if record.has_apex else record.first_frame)


def put_view_back(scene: bpy.types.Scene) -> None:
    """Restore the preview range and the frame that were there before the result was presented."""
    record = scene.magplus.result
    used, first, last = record.before
    scene.use_preview_range = bool(used)
    scene.frame_preview_start, scene.frame_preview_end = first, last
    if record.loop_before:
        setattr(scene, PLAYBACK, record.loop_before)
    scene.frame_set(record.frame_before)
    record.view_kept = False


def _range_of(scene: bpy.types.Scene) -> tuple[int, int, int]:
    return int(scene.use_preview_range), scene.frame_preview_start, scene.frame_preview_end


def destination_of(record: Any, show_as: str) -> Destination:
    """Return where a kept result was put, to be shown as something else there."""
    return Destination(
        start_frame=record.start_frame,
        show_as=show_as,
        keep_apex=record.keep_apex,
        stretch=exact(record.stretch),
    )
