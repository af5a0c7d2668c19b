# SPDX-License-Identifier: GPL-3.0-or-later
"""The file that is open: what must not get into it when it is saved, and whether somebody else has saved it since."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import bpy

Stamp = tuple[int, int, int]  # which file it is, its size in bytes and its time: another one after each save


def stamp_of(path: Path) -> Stamp | None:
    """Return what changes whenever a file is saved; None where there is no file that could be looked at."""
    with suppress(OSError):
        found = path.stat()
        return found.st_ino, found.st_size, found.st_mtime_ns
    return None


@contextmanager
def around_saving(before: Callable[..., None], after: Callable[..., None]) -> Iterator[None]:
    """Call `before` before every save inside, and `after` after it."""
    handlers = ((bpy.app.handlers.save_pre, before), (bpy.app.handlers.save_post, after))
    for listeners, handler in handlers:
        listeners.append(handler)
    try:
        yield
    finally:
        for listeners, handler in handlers:
            if handler in listeners:  # Blender drops them when it loads another file
                listeners.remove(handler)
