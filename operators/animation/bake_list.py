# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene's list of bakes, by which their strength is set: those that play, each under a name of its own."""

from __future__ import annotations

from itertools import count

import bpy

from .strength import LONGEST_NAME, bakes_on_curves


def free_name(name: str) -> str:
    """Return a name for a bake that nothing in this file has, and that a modifier can bear in full."""
    taken = bakes_on_curves(used=False) | {record.name for scene in bpy.data.scenes for record in scene.magplus.bakes}
    if (whole := _cut(name, LONGEST_NAME)) not in taken:
        return whole
    endings = (f".{number:03}" for number in count(1))
    candidates = (_cut(name, LONGEST_NAME - len(ending)) + ending for ending in endings)
    return next(candidate for candidate in candidates if candidate not in taken)


def remember(scene: bpy.types.Scene, name: str) -> None:
    """Put a bake on the list."""
    scene.magplus.bakes.add().name = name


def forget_dead() -> None:
    """Take those off the scenes' lists that play nowhere any more: a bake in one scene may replace one of another."""
    alive = bakes_on_curves()
    for records in (scene.magplus.bakes for scene in bpy.data.scenes if scene.is_editable):
        for index in reversed(range(len(records))):
            if records[index].name not in alive:
                records.remove(index)


def _cut(name: str, length: int) -> str:
    return name.encode()[:length].decode(errors="ignore")


@bpy.app.handlers.persistent
def _forget_dead(*_: object) -> None:
    forget_dead()


def register() -> None:
    """Keep the lists right whenever a file is opened."""
    bpy.app.handlers.load_post.append(_forget_dead)


def unregister() -> None:
    """Stop that."""
    bpy.app.handlers.load_post.remove(_forget_dead)
