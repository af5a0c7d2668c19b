# SPDX-License-Identifier: GPL-3.0-or-later
"""A lock on a folder that the operating system drops when its holder dies, however it dies."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from .errors import InputError, MachineError

# Windows forbids reading locked bytes, so the lock lies far behind the text that others may read.
_LOCKED_BYTE = 1 << 30


@contextmanager
def hold(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file at `path`, which stands for `what`.

    The file stays behind; its content, host and process of the holder, only serves the sentence. Raises `InputError`
    when somebody else holds it (another thread included), `MachineError` when this disk can't lock files, and
    `OSError` when the file can't be written.
    """
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as file:
        try:
            _lock(file)
        except OSError as error:
            if error.errno not in {errno.EACCES, errno.EAGAIN, errno.EDEADLK}:
                raise MachineError(f"The disk that holds {what} can't lock files; choose another.") from error
            holder = file.read().decode("utf-8", "replace").strip() or "an unknown process"
            raise InputError(f"{what} is in use by another run ({holder}); wait for it or cancel it.") from error
        try:
            file.truncate()
            file.write(f"{socket.gethostname()}, process {os.getpid()}".encode())
            file.flush()
            yield
        finally:
            file.seek(0)
            with suppress(OSError):
                file.truncate()
            _unlock(file)


def _lock(file: IO[bytes]) -> None:
    if sys.platform == "win32":
        import msvcrt

        file.seek(_LOCKED_BYTE)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        finally:
            file.seek(0)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _unlock(file: IO[bytes]) -> None:
    """Release the lock; closing the file does it too, except while a forked child still has it open."""
    if sys.platform == "win32":
        import msvcrt

        file.seek(_LOCKED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_UN)
