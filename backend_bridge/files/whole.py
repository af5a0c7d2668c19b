# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that appear whole or not at all: written under a temporary name, flushed to the disk, then renamed."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from .plain import check_plain, open_plain

TEMPORARY = ".writing-"
_OURS = re.compile(re.escape(TEMPORARY) + r"[0-9]+(-[0-9a-f]+)?")
# Seconds between attempts to rename while a virus scanner or an indexer has the file open: two in all.
_PAUSES = (0.01, 0.03, 0.1, 0.3, 0.6, 1.0)
_EXTENDED = "\\\\?\\"  # what a Windows path begins with that has no limit of 260 characters


@contextmanager
def staged(target: Path, data: bytes) -> Iterator[None]:
    """Have `data` on the disk under a temporary name; when the block ends well, it takes the place of `target`.

    Raises `OSError`, and then what was there before is still there.
    """
    with all_staged({target: data}):
        yield


@contextmanager
def all_staged(files: Mapping[Path, bytes]) -> Iterator[None]:
    """Do what `staged` does for several files, each of which is whole or not there; their folders are flushed once."""
    waiting: dict[Path, Path] = {}
    try:
        for target, data in files.items():
            waiting[target] = temporary_name(target.parent)
            write_all(open_plain(waiting[target], os.O_WRONLY | os.O_CREAT | os.O_EXCL), data)
        yield
        for target, temporary in waiting.items():
            replace(temporary, target)
    finally:
        for temporary in waiting.values():
            with suppress(OSError):
                temporary.unlink()
    for folder in dict.fromkeys(target.parent for target in files):
        flush_directory(folder)


@contextmanager
def prepared(target: Path) -> Iterator[Path]:
    """Give a temporary name beside `target`; when the block ends well, what is under it takes the target's place."""
    # A short name of its own: target names may be as long as the file system allows.
    temporary = temporary_name(target.parent)
    try:
        yield temporary
        replace(temporary, target)
    finally:
        with suppress(OSError):  # also after a rename: where both are names of one file, it does nothing
            temporary.unlink()
    flush_directory(target.parent)


def write_whole(target: Path, data: bytes) -> None:
    """Put `data` at `target`. Raises `OSError`, and then what was there before is still there."""
    with staged(target, data):
        pass


def append(path: Path, lines: bytes) -> None:
    """Append whole lines and flush them. One before them that a crash cut short does not swallow the first."""
    new = check_plain(path) is None
    descriptor = open_plain(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, single=True)
    end = os.lseek(descriptor, 0, os.SEEK_END)
    if end:
        os.lseek(descriptor, end - 1, os.SEEK_SET)
        if os.read(descriptor, 1) != b"\n":
            lines = b"\n" + lines
    write_all(descriptor, lines)
    if new:
        flush_directory(path.parent)


def make_folder(path: Path) -> None:
    """Make a folder in an existing one, for good. Raises `NotPlainError` for a link, `OSError` for a file."""
    if check_plain(path) is None:
        path.mkdir(exist_ok=True)
        flush_directory(path.parent)
    elif not path.is_dir():
        path.mkdir()  # which says what is in the way


def temporary_name(folder: Path) -> Path:
    """Return a name that no other file of a folder has, and that `remove_leftovers` knows."""
    return folder / f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}"


def check_writable(folder: Path) -> None:
    """Raise `OSError` when no file can be made in this folder."""
    probe = temporary_name(folder)
    os.close(open_plain(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    probe.unlink(missing_ok=True)


def remove_leftovers(folder: Path, *, folders: bool = False) -> None:
    """Delete the temporary files that processes which were killed while writing have left in a folder.

    Only whoever keeps other writers out may do so. A file that a person has given a similar name stays.
    folders: delete temporary folders, too.
    """
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            if not _OURS.fullmatch(entry.name):
                continue
            if entry.is_file(follow_symlinks=False):
                with suppress(OSError):
                    Path(entry.path).unlink()
            elif folders and entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)


def replace(source: Path, target: Path) -> None:
    """Rename a file over another; on Windows again and again for two seconds, while somebody else has it open."""
    for pause in _PAUSES if sys.platform == "win32" else ():
        with suppress(PermissionError):
            source.replace(target)
            return
        time.sleep(pause)
    source.replace(target)


def write_all(descriptor: int, data: bytes) -> None:
    """Write everything, have it on the disk, and close the descriptor, also after an error."""
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        flush(descriptor)
    finally:
        os.close(descriptor)


def flush(descriptor: int) -> None:
    """Have what was written to a file on the disk before going on."""
    if sys.platform == "darwin":
        import fcntl

        # There fsync leaves it in the drive's own memory. Network disks don't know the stronger command.
        with suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
    os.fsync(descriptor)


def flush_directory(directory: Path) -> None:
    """Make a new name survive a power cut where directories can be flushed (not on Windows, not on all networks)."""
    if sys.platform == "win32":
        return
    with suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def absolute(path: Path) -> Path:
    """Make a path absolute; on Windows in the form that has no limit of 260 characters."""
    # abspath, not resolve: a folder keeps the name under which the user knows it.
    text = os.path.abspath(path)  # noqa: PTH100
    return Path(extended(text) if sys.platform == "win32" else text)


def extended(path: str) -> str:
    """Return an absolute Windows path in its form without a limit, where it is long; that of a share has its own."""
    if len(path) <= 200 or path.startswith(_EXTENDED):
        return path
    return f"{_EXTENDED}UNC{path[1:]}" if path.startswith("\\\\") else _EXTENDED + path
