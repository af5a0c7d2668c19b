# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene's list of bakes, by which their strength is set: those that play, each under a name of its own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import bpy

from .strength import LONGEST_NAME, bakes_on_curves, rename_bake


def free_name(name: str) -> str:
    """Return a name for a bake that nothing in this file has, and that a modifier can bear in full."""
    taken = _taken()
    return next(candidate for candidate in _candidates(name) if candidate not in taken)


def settled_name(bake: str, name: str) -> str:
    """Return the name of a bake that was just written, which takes that of one it has replaced: `name`, or a number on.

    So a clip that is run again and again keeps its name on the list.
    """
    taken = _taken()
    for candidate in _candidates(name):
        if candidate == bake:
            break
        if candidate not in taken:
            rename_bake(bake, candidate)
            return candidate
    return bake


def _candidates(name: str) -> Iterator[str]:
    yield _cut(name, LONGEST_NAME)
    for number in count(1):
        ending = f".{number:03}"
        yield _cut(name, LONGEST_NAME - len(ending)) + ending


def _taken() -> set[str]:
    return bakes_on_curves(used=False) | {record.name for scene in bpy.data.scenes for record in scene.magplus.bakes}


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
