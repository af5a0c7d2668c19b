# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that appear whole or not at all: written under a temporary name, flushed to the disk, then renamed."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO

TEMPORARY = ".writing-"


def write_whole(target: Path, data: bytes) -> None:
    """Put `data` at `target`; its folder is made. Raises `OSError`, and then what was there before is still there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # A short name of its own: target names may be as long as the file system allows.
    temporary = target.parent / f"{TEMPORARY}{os.getpid()}-{threading.get_ident()}"
    try:
        with temporary.open("wb") as file:
            file.write(data)
            flush(file)
        temporary.replace(target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    _flush_directory(target.parent)


def append_line(path: Path, line: bytes) -> None:
    """Append a line and flush it. One before it that a crash cut short does not swallow it. Raises `OSError`."""
    with path.open("ab+") as file:
        if file.tell() and not _ends_with_newline(file):
            line = b"\n" + line
        file.write(line + b"\n")
        flush(file)


def check_writable(folder: Path) -> None:
    """Raise `OSError` when no file can be made in this folder."""
    probe = folder / f"{TEMPORARY}{os.getpid()}"
    probe.write_bytes(b"")
    probe.unlink()


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files that processes which were killed while writing have left in a folder."""
    for leftover in folder.glob(f"{TEMPORARY}*"):
        with suppress(OSError):
            leftover.unlink()


def flush(file: IO[bytes]) -> None:
    """Have what was written to an open file on the disk before going on."""
    file.flush()
    os.fsync(file.fileno())


def absolute(path: Path) -> Path:
    """Make a path absolute; on Windows in the form that has no limit of 260 characters."""
    # abspath, not resolve: a folder keeps the name under which the user knows it.
    text = os.path.abspath(path)  # noqa: PTH100
    if sys.platform == "win32" and len(text) > 200 and not text.startswith("\\\\"):
        text = "\\\\?\\" + text
    return Path(text)


def _flush_directory(directory: Path) -> None:
    """Make a rename survive a power cut where directories can be flushed (not on Windows, not on all networks)."""
    if sys.platform == "win32":
        return
    with suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _ends_with_newline(file: IO[bytes]) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"
