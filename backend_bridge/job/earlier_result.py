# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose result a job folder holds, so that no run replaces the result of another clip or avatar unasked."""

from __future__ import annotations

from collections.abc import Mapping
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
    name, in the same file or with the same mesh (in a file that was saved under another name). What was moved since is
    the same where nothing else is at its old place.
    """
    try:
        before, report = folder.read_spec(), folder.read_report()
    except MagPlusError:
        return ""  # there is no job, or none that can be read; whoever runs it is told of that
    if report.status != "finished" or report.driving is None:
        return ""
    clip, avatar = report.driving, before.created_by
    if _is_clip(clip, Path(spec.driving.path)) and _is_avatar(avatar, spec.created_by):
        return ""
    of = ", ".join(part for part in (avatar.get("avatar", ""), Path(avatar.get("file", "")).name) if part)
    return f"{Path(clip.path).name} ({of})" if of else Path(clip.path).name


def _is_avatar(before: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Whether two jobs are of one avatar; what one of them doesn't say is as in the other."""
    told = before.keys() & now.keys()
    if "avatar" in told and before["avatar"] != now["avatar"]:
        return False
    if "mesh" in told and before["mesh"] == now["mesh"]:
        return True
    file, new_file = before.get("file", ""), now.get("file", "")
    return not (file and new_file) or _same_place(Path(file), Path(new_file))


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
