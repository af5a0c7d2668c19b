# SPDX-License-Identifier: GPL-3.0-or-later
"""A job's frames as a clip of the scene: one file a scene frame."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from ...backend_bridge.files.disk import ReadOnlyError
from ...backend_bridge.files.errors import InputError, MachineError
from ...backend_bridge.job.artefacts import FRAMES, SHOT_EXR, SHOT_PNG, FrameKind, at_rate
from ...backend_bridge.job.folder import JobFolder
from ...backend_bridge.job.report import Report
from ...backend_bridge.worker_client.messages import Progress

NO_FRAMES = "This job has no frames; run it with the image sequence among its outputs."
AT_ONCE = 8  # frames that are hashed between two signs of life


@dataclass(frozen=True)
class Clip:
    """Image files of (width, height) px, one a scene frame, to be shown from the scene frame `start` on.

    job: the name of the job that they are of.
    """

    files: Sequence[Path]
    size: tuple[int, int]
    start: int
    job: str = ""


@dataclass(frozen=True)
class JobFrames:
    """A job's frames: their paths in the job folder, their (width, height) px, and whether its journal lists them."""

    units: Sequence[str]
    size: tuple[int, int]
    checked: bool


def check_in_steps(folder: JobFolder, stage: str) -> Generator[Progress, None, bool]:
    """Check that a finished job's frames are what the run wrote, some at a time; return as `JobFolder.check_whole`.

    Raises what that raises.
    """
    units = _units(folder.read_report())
    found = set()
    for done in range(0, len(units), AT_ONCE):
        yield Progress(stage, done, len(units))
        found.add(folder.check_whole(units[done : done + AT_ONCE]))
    return folder.check_whole(units) if len(found) > 1 else found != {False}


def has_frames(folder: Path) -> bool:
    """Whether there are frames in a job's folder, as far as a look at it tells; reads nothing."""
    return any((folder / kind.folder).is_dir() for kind in (FRAMES, SHOT_PNG, SHOT_EXR))


def _units(report: Report) -> list[str]:
    """Return the paths of a job's frames in its folder."""
    if (shot := report.shot) is not None:
        kind = SHOT_EXR if shot.pattern == SHOT_EXR.pattern else SHOT_PNG
        return [kind.unit(number - 1) for number in range(shot.first, shot.first + shot.count)]
    return [FRAMES.unit(index) for index in range(report.frames.count if report.frames is not None else 0)]


def job_frames(folder: JobFolder, report: Report, checked: bool | None = None) -> JobFrames:
    """Return the job's frames, all of them. `checked` is what `check_in_steps` has returned, None for a check now.

    Raises `InputError` when there are none, not all, or some are not what the run has written.
    """
    if report.frames is None or report.frames.count < 1:
        raise InputError(NO_FRAMES)
    if report.timing is None or len(report.timing.seconds) != report.frames.count:
        raise InputError("The frames and the report are of different runs; run the job again.")
    units = _units(report)
    missing = [unit for unit in units if not os.path.lexists(folder.path / unit)]
    if missing:
        name = missing[0].rpartition("/")[2]
        raise InputError(f"{len(missing)} frames of the job are missing, {name} first; run the job again.")
    return JobFrames(units, report.frames.size, folder.check_whole(units) if checked is None else checked)


def shot_clip(folder: JobFolder, report: Report, checked: bool | None = None) -> tuple[Clip, bool]:
    """Return a moving shot as a clip, and whether the journal lists its frames. They belong to the scene's frames.

    `checked` is as `job_frames` takes it.

    Raises `InputError` when they are not what the run has written.
    """
    assert report.shot is not None
    shot = report.shot
    units = _units(report)
    checked = folder.check_whole(units) if checked is None else checked
    return Clip([folder.path / unit for unit in units], shot.size, shot.first, folder.path.name), checked


def at_scene_rate(
    folder: JobFolder, units: Sequence[str], shown: Sequence[int], rate: Fraction, kind: FrameKind = FRAMES
) -> list[Path]:
    """Return the file of each frame of the scene: the job's own where each is shown once, else a sequence beside them.

    That is made anew each time: links to frames of an earlier run would go on showing them.

    Args:
        folder: the job.
        units: all of its frames, of a `kind`.
        shown: numbers of those that the scene's frames show (`Placement.frames_to_show`).
        rate: scene frames per second of the clip.
        kind: of the frames.

    Raises:
        MachineError: the disk is full. ReadOnlyError: nothing can be written there.
    """
    if list(shown) == list(range(len(units))):
        return [folder.path / unit for unit in units]
    try:
        return folder.repeat([units[index] for index in shown], at_rate(rate, kind))
    except (MachineError, ReadOnlyError) as error:
        more = "Or set the scene to the video's frame rate, which needs no further files."
        raise type(error)(f"{error} {more}") from error
