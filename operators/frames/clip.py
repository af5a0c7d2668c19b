# SPDX-License-Identifier: GPL-3.0-or-later
"""A job's frames as a clip of the scene: one file a scene frame."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from ...backend_bridge.files.errors import InputError, MachineError
from ...backend_bridge.job.artefacts import FRAMES
from ...backend_bridge.job.folder import JobFolder
from ...backend_bridge.job.report import Report


@dataclass(frozen=True)
class Clip:
    """Image files of (width, height) px, one a scene frame, to be shown from the scene frame `start` on."""

    files: Sequence[Path]
    size: tuple[int, int]
    start: int


def job_frames(folder: JobFolder, report: Report) -> tuple[list[Path], tuple[int, int]]:
    """Return the job's frames, all of them, and their size in px.

    Raises `InputError` when there are none, or not all.
    """
    if report.frames is None or report.frames.count < 1:
        raise InputError("This job has no frames; run it with the image sequence among its outputs.")
    files = [folder.file_of(FRAMES, index) for index in range(report.frames.count)]
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        raise InputError(f"{len(missing)} frames of the job are missing, {missing[0]} first; run the job again.")
    return files, report.frames.size


def at_scene_rate(folder: JobFolder, frames: Sequence[Path], shown: Sequence[int], rate: Fraction) -> list[Path]:
    """Make a sequence with one file a scene frame beside the job's frames and return its files.

    It is made anew each time: links to frames of an earlier run would go on showing them. `shown` says which frame each
    scene frame shows, `rate` is in scene frames per second of the clip. Raises `MachineError` when the disk is full.
    """
    name = f"frames_{str(rate).replace('/', '-')}fps"
    final, building = folder.path / name, folder.path / f".{name}"
    try:
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir()
        for number, index in enumerate(shown, start=1):
            _link(frames[index], building / f"{number:06}{frames[index].suffix}")
        shutil.rmtree(final, ignore_errors=True)
        building.rename(final)
    except OSError as error:
        raise MachineError(
            f"The frames at the scene's rate can't be written to {folder.path} ({error.strerror}); "
            "free some space or set the scene to the video's frame rate."
        ) from error
    return sorted(final.iterdir())


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # not every disk can, nor do links reach across disks
        shutil.copyfile(source, target)
