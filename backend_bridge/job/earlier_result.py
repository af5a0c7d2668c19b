# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose result a job folder holds, so that no run replaces the result of another clip or avatar unasked."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from ..files.errors import MagPlusError
from ..files.hashing import hash_file
from .folder import JobFolder
from .report import DrivingReport
from .spec import JobSpec


def result_of_another(folder: JobFolder, spec: JobSpec) -> str:
    """Return what a folder's finished result is of, as in "smile.mp4 (Head, hero.blend)", where `spec` is of another.

    An empty text where there is no finished result, or one of the same clip and avatar: a run with other settings
    replaces its own earlier result. A clip is the same at the same path and with the same bytes; an avatar has the same
    name in the same file. What was moved since is the same where nothing else is at its old place.
    """
    try:
        before, report = folder.read_spec(), folder.read_report()
    except MagPlusError:
        return ""  # there is no job, or none that can be read; whoever runs it is told of that
    if report.status != "finished" or report.driving is None:
        return ""
    clip, now = report.driving, _avatar(spec)
    avatar = _avatar(before)
    if _is_clip(clip, Path(spec.driving.path)) and (avatar is None or now is None or _is_same(avatar, now)):
        return ""
    of = ", ".join([] if avatar is None else [part for part in (avatar[0], Path(avatar[1]).name) if part])
    return f"{Path(clip.path).name} ({of})" if of else Path(clip.path).name


def _avatar(spec: JobSpec) -> tuple[str, str] | None:
    """Return the avatar's name and its .blend (empty for one that was not saved), None where the job doesn't say."""
    name = spec.created_by.get("avatar", "")
    return (name, spec.created_by.get("file", "")) if name else None


def _is_same(before: tuple[str, str], now: tuple[str, str]) -> bool:
    """Whether an avatar is the same, in a file that may have been saved, or moved, since."""
    (name, file), (new_name, new_file) = before, now
    return name == new_name and (not (file and new_file) or _same_place(Path(file), Path(new_file)))


def _is_clip(clip: DrivingReport, path: Path) -> bool:
    if path.is_file() and path != Path(clip.path):
        with suppress(OSError):
            return hash_file(path) == clip.sha256
    return _same_place(Path(clip.path), path)


def _same_place(before: Path, now: Path) -> bool:
    """Whether two paths name one file, or one that was moved with its name."""
    try:
        return before == now or before.samefile(now)
    except OSError:
        return before.name == now.name
