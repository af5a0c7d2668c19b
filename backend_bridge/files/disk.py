# SPDX-License-Identifier: GPL-3.0-or-later
"""What the file system says, as sentences for a person."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import InputError, MachineError, MagPlusError


class ReadOnlyError(InputError):
    """Nothing can be written here."""


def explain_disk_trouble(error: OSError, place: Path) -> MachineError | None:
    """Return the sentence for a full or failing disk under `place`, None when the error is something else."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return MachineError(
            f"The disk that holds {place} is full; free some space and run the job again: finished frames are kept."
        )
    if error.errno in {errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENXIO}:
        return MachineError(f"The disk that holds {place} reports an error ({error.strerror}); check it.")
    return None


def disk_error(error: OSError, path: Path, *, reading: bool = False) -> MagPlusError:
    """Return the error that a person reads for an error of the file system at `path`, at reading or at writing."""
    place = path.parent if path.suffix else path
    if disk_trouble := explain_disk_trouble(error, place):
        return disk_trouble
    if error.errno in {errno.EACCES, errno.EPERM} and reading:
        return InputError(f"{path} can't be read (it is protected); ask for the right to read it.")
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return ReadOnlyError(f"{place} can't be written to (it is read-only or protected); choose another folder.")
    if error.errno in {errno.ENAMETOOLONG, errno.EINVAL}:
        return InputError(f"The name or path {str(path)[:80]}… can't be used on this disk; choose a shorter one.")
    if error.errno in {errno.ENOTDIR, errno.EEXIST}:
        return InputError(f"A part of {path} is a file, not a folder; choose another folder.")
    if error.errno == errno.EISDIR:
        return InputError(f"{path} is a folder, not a file; move it away.")
    if error.errno == errno.ENOENT:
        return gone(path)
    return MachineError(f"{path} can't be used: {error.strerror or error}; check the disk or the network.")


def gone(path: Path) -> MachineError:
    """Return the error of what was there a moment ago."""
    return MachineError(f"{path} is gone: it was moved or deleted, or its disk was taken away; put it back, run again.")


@contextmanager
def explained(path: Path, *, reading: bool = False) -> Iterator[None]:
    """Turn what the file system says about `path` into a sentence."""
    try:
        yield
    except OSError as error:
        raise disk_error(error, path, reading=reading) from error
