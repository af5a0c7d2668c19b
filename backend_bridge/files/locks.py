# SPDX-License-Identifier: GPL-3.0-or-later
"""A lock on a folder that the operating system drops when its holder dies, however it dies."""

from __future__ import annotations

import errno
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from .errors import InUseError, MachineError
from .plain import NotPlainError, open_plain

_PAUSE = 0.02  # seconds between two attempts
_LONGEST = 400  # bytes of a holder's description
_HOLDER = re.compile(rb"[^\n]*, process [0-9]+\s*")
_HELD = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}  # a system's errors when somebody else holds it
# Windows forbids reading locked bytes, so the lock lies far behind the text that others may read.
_LOCKED_BYTE = 1 << 30


@contextmanager
def hold(
    path: Path, what: str, patience: float = 0.0, waiting: Callable[[], None] = lambda: None
) -> Iterator[IO[bytes]]:
    """Hold the lock file at `path`, which stands for `what`; wait for it for at most `patience` seconds.

    `waiting` is called again and again while it waits, and may raise to end that: where a person cancels, for one.
    The file stays behind; its content, host and process of the holder, only serves the sentence. Raises `InUseError`
    when somebody else holds it (another thread included), `MachineError` when this disk can't lock files,
    `NotPlainError` when the file is a link or somebody else's, and `OSError` when it can't be written.
    """
    with os.fdopen(open_plain(path, os.O_RDWR | os.O_CREAT, single=True), "r+b") as file:
        try:
            _lock_within(file, patience, waiting)
        except OSError as error:
            if error.errno not in _HELD:
                raise MachineError(
                    f"The disk that holds {what} can't lock files ({error.strerror or error}), so two runs could spoil "
                    "each other's work; use a folder on a local disk, or have the share mounted with locks (NFS with "
                    "its lock service or local_lock=flock, SMB without nobrl)."
                ) from error
            holder = file.read(_LONGEST).decode("utf-8", "replace").strip() or "an unknown process"
            raise InUseError(f"{what} is in use by another run ({holder}); wait for it or cancel it.") from error
        try:
            present = file.read(_LONGEST)
            if present and not _HOLDER.fullmatch(present):
                raise NotPlainError(f"{path} is not MagPlus's own lock file; move it away.")
            file.seek(0)
            file.truncate()
            file.write(f"{socket.gethostname()}, process {os.getpid()}".encode())
            file.flush()
            try:
                yield file
            finally:
                file.seek(0)
                with suppress(OSError):
                    file.truncate()
        finally:
            _unlock(file)


@contextmanager
def hold_beside(target: Path) -> Iterator[None]:
    """Hold a lock that stands for the file at `target`, which may be written anew meanwhile, or not be there yet.

    It lies beside the file as long as it is held, and goes with that where the system lets it. Raises what `hold` does.
    """
    path = target.with_name(f".{target.name}.lock")
    with ExitStack() as stack:
        while not _is_at(path, stack.enter_context(hold(path, str(target)))):
            stack.close()  # whoever had it has deleted it since it was opened here: nobody else will look for this one
        try:
            yield
        finally:
            with suppress(OSError):
                path.unlink()


def _is_at(path: Path, file: IO[bytes]) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    return False


def _lock_within(file: IO[bytes], patience: float, waiting: Callable[[], None]) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            return _lock(file)
        except OSError as error:
            if error.errno not in _HELD or time.monotonic() >= deadline:
                raise
        waiting()
        time.sleep(_PAUSE)


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
