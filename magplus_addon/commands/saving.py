# SPDX-License-Identifier: GPL-3.0-or-later
"""Saving what a command has made: two commands that save one file never lose what the other one has put there."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import bpy

from ...backend_bridge.files.disk import explain_disk_trouble, explained
from ...backend_bridge.files.errors import InputError, InUseError, MagPlusError
from ...backend_bridge.files.locks import hold_beside
from ...backend_bridge.files.whole import check_writable
from ...operators.blender.saving import Stamp, stamp_of
from ...operators.running.job_manager import manager

LEAST_ROOM = 1 << 20  # bytes; a .blend with a face has more


@dataclass(frozen=True)
class SavedFile:
    """Where a command leaves the file with its result, and what was there when it was read: None for nothing."""

    path: Path
    before: Stamp | None

    @classmethod
    def of(cls, path: Path | None) -> SavedFile | None:
        """Return it at the beginning of a command, None for no path. The open file counts as Blender has read it.

        Raises `InputError` where nothing could be saved, before the work of which it is to keep the result.
        """
        if path is None:
            return None
        _check_place(path.absolute())
        opened, stamp = manager.opened
        with suppress(OSError):  # it isn't there yet
            if opened and opened == bpy.data.filepath and path.samefile(opened):
                return cls(path.absolute(), stamp)
        return cls(path.absolute(), stamp_of(path))

    def save(self) -> None:
        """Save the open file there.

        Raises `InUseError` while another run saves it, and where somebody has since the command began: what they have
        put there is not in the file that is open here. Raises `MagPlusError` when it can't be written.
        """
        with held(self.path):
            if stamp_of(self.path) not in (self.before, None):
                raise InUseError(
                    f"{self.path} was saved by somebody else since this command has read it, and is left as they saved "
                    "it; run the command again."
                )
            save_copy(self.path)


def _check_place(path: Path) -> None:
    with explained(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        check_writable(next(folder for folder in path.parents if folder.exists()))


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Keep other runs from saving a file. Raises `InUseError` while one does, `InputError` where nothing can be."""
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(hold_beside(path))
        except OSError as error:
            raise _not_saved(path, error) from error
        yield


def save_copy(path: Path) -> None:
    """Save the file as a copy, so that its relative paths hold from there. Others are kept out; see `held`.

    Raises `MachineError` where the disk is full, `InputError` where the file can't be written for another reason.
    """
    try:
        if path.is_dir():  # Blender 4.2 would take it for an earlier version, and rename it
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        bpy.ops.wm.save_as_mainfile(filepath=str(path), copy=True, check_existing=False)
    except (OSError, RuntimeError) as error:
        raise _not_saved(path, error) from error


def _is_full(folder: Path) -> bool:
    """Whether a disk has no room for a file like the one that is open; Blender does not say why it could not write."""
    opened = Path(bpy.data.filepath)
    with suppress(OSError):
        return shutil.disk_usage(folder).free < max(LEAST_ROOM, opened.stat().st_size if opened.is_file() else 0)
    return False


def _not_saved(path: Path, error: Exception) -> MagPlusError:
    """Return the error of a file that could not be saved: the machine's where its disk is full, or else the input's."""
    known = error if isinstance(error, OSError) else OSError(errno.ENOSPC, "") if _is_full(path.parent) else None
    if known is not None and (trouble := explain_disk_trouble(known, path.parent)) is not None:
        return trouble
    reason = getattr(error, "strerror", None) or str(error).strip()
    return InputError(f"The file can't be saved as {path} ({reason}); the result is kept.")
