# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths that a scene keeps, relative to its file as Blender's own are, and right after it is saved somewhere else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

import bpy

# Of a scene's settings: what names one file or folder.
KEPT = ("driving", "last_job", "result.folder", "result.driving")


def folder_of(file: str) -> str:
    """Return the folder of a file, nothing for a file that was never saved."""
    return str(Path(file).absolute().parent) if file else ""


def relative(path: str, start: str) -> str:
    """Return a path relative to a folder as Blender writes it; as it is, where a person wants it so, or it can't be."""
    if not path or not start or not bpy.context.preferences.filepaths.use_relative_paths:
        return path
    try:
        return "//" + Path(os.path.relpath(path, start)).as_posix()
    except ValueError:  # on another drive
        return path


def _read(scene: bpy.types.Scene, name: str) -> str:
    return str(attrgetter(name)(scene.magplus))


def _write(scene: bpy.types.Scene, name: str, path: str) -> None:
    owner, _, prop = name.rpartition(".")
    setattr(attrgetter(owner)(scene.magplus) if owner else scene.magplus, prop, path)


def _kept() -> Iterator[tuple[bpy.types.Scene, str]]:
    for scene in bpy.data.scenes:
        if scene.is_editable:
            yield from ((scene, name) for name in KEPT if _read(scene, name))


def _point_from(folder: str) -> None:
    """Let all kept paths, which are relative to the present file so far, start from a folder."""
    for scene, name in _kept():
        path = bpy.path.abspath(_read(scene, name))
        if Path(path).is_absolute() and (new := relative(path, folder)) != _read(scene, name):
            _write(scene, name, new)


class _Saving:
    """Remembers what the paths mean while a file is saved: afterwards the present file may be another one."""

    def __init__(self) -> None:
        self._meant: list[tuple[int, str, str]] = []

    def before(self, path: str) -> None:
        """Write the paths as the file that is about to be saved has to have them."""
        self._meant = [(scene.session_uid, name, bpy.path.abspath(_read(scene, name))) for scene, name in _kept()]
        if path:
            _point_from(folder_of(path))

    def after(self) -> None:
        """Write them as the present file has to have them: another one than was saved, where that was a copy."""
        folder = folder_of(bpy.data.filepath)
        meant, self._meant = self._meant, []
        for scene in bpy.data.scenes:
            for uid, name, path in meant:
                if scene.session_uid == uid and Path(path).is_absolute():
                    _write(scene, name, relative(path, folder) if folder else path)


_saving = _Saving()


@bpy.app.handlers.persistent
def _before_saving(path: object, *_: object) -> None:
    _saving.before(path if isinstance(path, str) else bpy.data.filepath)


@bpy.app.handlers.persistent
def _after_saving(*_: object) -> None:
    _saving.after()


def register() -> None:
    """Keep paths right whenever a file is saved."""
    bpy.app.handlers.save_pre.append(_before_saving)
    bpy.app.handlers.save_post.append(_after_saving)


def unregister() -> None:
    """Stop that."""
    bpy.app.handlers.save_post.remove(_after_saving)
    bpy.app.handlers.save_pre.remove(_before_saving)
