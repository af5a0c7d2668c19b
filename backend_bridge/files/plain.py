# SPDX-License-Identifier: GPL-3.0-or-later
"""Plain files only: opened without following a link, while links, pipes and devices are refused.

A job folder may come from somebody else. A link in it would let a run read, change or delete files anywhere, and a pipe
would let it wait for ever.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path

from .errors import InputError

_READ = os.O_RDONLY
# No link is followed, and no pipe or terminal waited for; each where the system knows it.
_GUARDS = ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY", "O_NOINHERIT")
_NAME_SURROGATE = 0x20000000  # bit of a Windows reparse tag: the name stands for another place (links, junctions)
_CHUNK = 1 << 20  # bytes that are hashed at a time


class NotPlainError(InputError):
    """What should be a file or a folder is a link, a pipe or a device."""


def check_plain(path: Path) -> os.stat_result | None:
    """Return what is at `path` itself, or None for nothing. Raises `NotPlainError` for a link, a pipe or a device."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISLNK(found.st_mode) or getattr(found, "st_reparse_tag", 0) & _NAME_SURROGATE:
        raise NotPlainError(f"{path} is a link, and MagPlus follows none here; put what it stands for in its place.")
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise NotPlainError(f"{path} is a pipe or a device instead of a file; remove it.")
    return found


def plain_path(folder: Path, relative: str | Path) -> Path:
    """Return a path inside `folder`. Raises `NotPlainError` when a part of it below `folder` is no plain one.

    What is absolute, or leaves the folder by "..", was not meant to be inside: it is returned as it is, unless it is a
    pipe or a device.
    """
    path = folder / relative
    with suppress(ValueError):  # a name that no file can have: whoever opens it says so
        parts = Path(relative).parts
        if Path(relative).is_absolute() or ".." in parts:
            if path.exists() and not (path.is_file() or path.is_dir()):
                raise NotPlainError(f"{path} is a pipe or a device instead of a file; choose a file.")
            return path
        for count in range(1, len(parts) + 1):
            check_plain(folder.joinpath(*parts[:count]))
    return path


def open_plain(path: Path, flags: int = _READ, *, single: bool = False) -> int:
    """Return a descriptor of the regular file at `path`; with `os.O_CREAT` it is made where there is none.

    single: refuse a file that has further names (hard links), as writing into it would change them all. Raises
    `NotPlainError` for what is no regular file, `OSError` as `os.open` does.
    """
    check_plain(path)
    for name in _GUARDS:
        flags |= getattr(os, name, 0)
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO, errno.EMLINK}:  # it has just become a link or a pipe
            raise NotPlainError(f"{path} is a link or a pipe instead of a file; remove it.") from error
        raise
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise NotPlainError(f"{path} is a folder, a pipe or a device instead of a file; remove it.")
    if single and found.st_nlink > 1:
        os.close(descriptor)
        raise NotPlainError(f"{path} has a second name elsewhere (a hard link); put a copy in its place.")
    return descriptor


def read_plain(path: Path, most: int) -> bytes:
    """Return the bytes of a regular file. Raises `NotPlainError`, `InputError` above `most` bytes, or `OSError`."""
    with os.fdopen(open_plain(path), "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise InputError(f"{path.name} is larger than {most >> 20} MiB, so MagPlus did not write it; replace it.")
    return data


def hash_plain(path: Path) -> str:
    """Return the SHA-256 of a regular file's bytes, in hexadecimal. Raises `NotPlainError` or `OSError`."""
    digest = hashlib.sha256()
    with os.fdopen(open_plain(path), "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
