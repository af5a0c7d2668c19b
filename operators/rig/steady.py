# SPDX-License-Identifier: GPL-3.0-or-later
"""Measuring behind modifiers that make another mesh of every pose: without them, as what they are given is steady."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import bpy

from .controls import RigControl
from .face import all_moved
from .surface import read_points

# What may give a mesh other vertices when it is posed.
_REMESHING = {
    "ARRAY", "BEVEL", "BOOLEAN", "BUILD", "DECIMATE", "EXPLODE", "MASK", "MIRROR", "NODES", "REMESH", "SCREW", "SKIN",
    "SOLIDIFY", "WELD", "WIREFRAME", "OCEAN", "PARTICLE_INSTANCE", "VOLUME_TO_MESH", "EDGE_SPLIT", "TRIANGULATE",
}


@contextmanager
def switched_off(modifiers: Sequence[bpy.types.Modifier]) -> Iterator[None]:
    """Keep modifiers out of the viewport inside, and so of what is measured."""
    for modifier in modifiers:
        modifier.show_viewport = False
    try:
        yield
    finally:
        for modifier in modifiers:
            modifier.show_viewport = True


@contextmanager
def steady(
    context: bpy.types.Context, objects: Sequence[bpy.types.Object], controls: Sequence[RigControl]
) -> Iterator[list[bpy.types.Modifier]]:
    """Measure without `unsteady_modifiers` inside; gives them."""
    modifiers = unsteady_modifiers(context, objects, controls)
    with switched_off(modifiers):
        yield modifiers


def unsteady_modifiers(
    context: bpy.types.Context, objects: Sequence[bpy.types.Object], controls: Sequence[RigControl]
) -> list[bpy.types.Modifier]:
    """Return the modifiers that have to be off for the meshes to keep their vertices when all controls move.

    As few as possible: of each mesh that changes, from the last modifier on, until it is steady.
    """
    found: list[bpy.types.Modifier] = []
    if not controls:
        return found
    for obj in _changing(context, objects, controls):
        suspects = [each for each in obj.modifiers if each.show_viewport and each.type in _REMESHING]
        for count in range(1, len(suspects) + 1):
            with switched_off(suspects[-count:]):
                steady = not _changing(context, (obj,), controls)
            if steady:
                found += suspects[-count:]
                break
    return found


def _changing(
    context: bpy.types.Context, objects: Sequence[bpy.types.Object], controls: Sequence[RigControl]
) -> list[bpy.types.Object]:
    """Return the objects whose meshes get other vertices when all controls move."""
    context.view_layer.update()
    _, before = read_points(objects, context.evaluated_depsgraph_get())
    with all_moved(context, controls):
        _, after = read_points(objects, context.evaluated_depsgraph_get())
    return [obj for obj, one, other in zip(objects, before, after, strict=True) if one != other]
