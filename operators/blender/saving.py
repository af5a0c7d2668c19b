# SPDX-License-Identifier: GPL-3.0-or-later
"""What must not get into a file that is saved in the middle of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import bpy


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
