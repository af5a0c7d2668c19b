# SPDX-License-Identifier: GPL-3.0-or-later
"""Saving what a command has made: two commands that save one file never lose what the other one has put there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import bpy

from ...backend_bridge.files.errors import InputError, InUseError
from ...backend_bridge.files.locks import hold_beside
from ...operators.blender.saving import Stamp, stamp_of
from ...operators.running.job_manager import manager


@dataclass(frozen=True)
class SavedFile:
    """Where a command leaves the file with its result, and what was there when it was read: None for nothing."""

    path: Path
    before: Stamp | None

    @classmethod
    def of(cls, path: Path | None) -> SavedFile | None:
        """Return it at the beginning of a command, None for no path. The open file counts as Blender has read it."""
        if path is None:
            return None
        opened, stamp = manager.opened
        with suppress(OSError):  # it isn't there yet
            if opened and opened == bpy.data.filepath and path.samefile(opened):
                return cls(path.absolute(), stamp)
        return cls(path.absolute(), stamp_of(path))

    def save(self) -> None:
        """Save the open file there.

        Raises `InUseError` while another run saves it, and where somebody has since the command began: what they have
        put there is not in the file that is open here. Raises `InputError` when it can't be written.
        """
        with held(self.path):
            if stamp_of(self.path) not in (self.before, None):
                raise InUseError(
                    f"{self.path} was saved by somebody else since this command has read it, and is left as they saved "
                    "it; run the command again."
                )
            save_copy(self.path)


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
    """Save the file as a copy, so that its relative paths hold from there. Others are kept out; see `held`."""
    try:
        bpy.ops.wm.save_as_mainfile(filepath=str(path), copy=True, check_existing=False)
    except (OSError, RuntimeError) as error:
        raise _not_saved(path, error) from error


def _not_saved(path: Path, error: Exception) -> InputError:
    return InputError(f"The file can't be saved as {path} ({str(error).strip()}); the result is kept.")
