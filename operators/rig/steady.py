# SPDX-License-Identifier: GPL-3.0-or-later
"""Measuring behind modifiers that make another mesh of every pose: without them, as what they are given is steady."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TypeVar

import bpy

from ...backend_bridge.worker_client.messages import Progress
from .face import UnsteadyMeshError

Found = TypeVar("Found")
# Those that leave a mesh its vertices and corners, whatever its pose.
_STEADY = {
    "ARMATURE", "CAST", "CLOTH", "COLLISION", "CORRECTIVE_SMOOTH", "CURVE", "DATA_TRANSFER", "DISPLACE",
    "DYNAMIC_PAINT", "HOOK", "LAPLACIANDEFORM", "LAPLACIANSMOOTH", "LATTICE", "MESH_CACHE", "MESH_DEFORM",
    "MESH_SEQUENCE_CACHE", "MULTIRES", "NORMAL_EDIT", "PARTICLE_SYSTEM", "SHRINKWRAP", "SIMPLE_DEFORM", "SMOOTH",
    "SOFT_BODY", "SUBSURF", "SURFACE", "SURFACE_DEFORM", "UV_PROJECT", "UV_WARP", "VERTEX_WEIGHT_EDIT",
    "VERTEX_WEIGHT_MIX", "VERTEX_WEIGHT_PROXIMITY", "WARP", "WAVE", "WEIGHTED_NORMAL",
}  # fmt: skip


@contextmanager
def switched_off(modifiers: Sequence[bpy.types.Modifier]) -> Iterator[None]:
    """Keep modifiers out of the viewport inside, and so of what is measured."""
    for modifier in modifiers:
        modifier.show_viewport = False
    try:
        yield
    finally:
        with suppress(ReferenceError):  # another file was loaded meanwhile
            for modifier in modifiers:
                modifier.show_viewport = True


def steadily(
    measure: Callable[[], Generator[Progress, None, Found]],
) -> Generator[Progress, None, tuple[Found, list[bpy.types.Modifier]]]:
    """Measure, without the last modifiers of a mesh as far as they give it other vertices when the face moves.

    Returns what `measure` returns, and the modifiers that had to be off. Raises what it raises, `UnsteadyMeshError`
    where it is no modifier's fault.
    """
    off: list[bpy.types.Modifier] = []
    while True:
        try:
            with switched_off(off):
                return (yield from measure()), off
        except UnsteadyMeshError as unsteady:
            on = [each for each in unsteady.obj.modifiers if each.show_viewport]
            suspects = [each for each in on if each.type not in _STEADY]
            if not suspects:
                raise
            off.append(suspects[-1])
