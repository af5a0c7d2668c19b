# SPDX-License-Identifier: GPL-3.0-or-later
"""Measuring behind modifiers that make another mesh of every pose: without them, as what they are given is steady."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias, TypeVar

import bpy

from ...backend_bridge.worker_client.messages import Progress
from ..blender.saving import around_saving
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


# A modifier as it can be found again after an undo: its object's session uid, and its name.
Place: TypeAlias = tuple[int, str]


@contextmanager
def switched_off(modifiers: Sequence[Place]) -> Iterator[None]:
    """Keep modifiers out of the viewport inside, and so of what is measured; not in a file that is saved meanwhile."""

    def show(*_: object) -> None:
        _show(modifiers, True)

    def hide(*_: object) -> None:
        _show(modifiers, False)

    if not modifiers:
        yield
        return
    hide()
    try:
        with around_saving(show, hide):
            yield
    finally:
        show()


def _show(modifiers: Sequence[Place], shown: bool) -> None:
    for obj in bpy.data.objects:
        for modifier in obj.modifiers:
            if (obj.session_uid, modifier.name) in modifiers:
                modifier.show_viewport = shown


def steadily(
    measure: Callable[[], Generator[Progress, None, Found]],
) -> Generator[Progress, None, tuple[Found, list[Place]]]:
    """Measure, without the last modifiers of a mesh as far as they give it other vertices when the face moves.

    Returns what `measure` returns, and the modifiers that had to be off. Raises what it raises, `UnsteadyMeshError`
    where it is no modifier's fault.
    """
    off: list[Place] = []
    while True:
        try:
            with switched_off(off):
                return (yield from measure()), off
        except UnsteadyMeshError as unsteady:
            on = [each for each in unsteady.obj.modifiers if each.show_viewport]
            suspects = [each for each in on if each.type not in _STEADY]
            if not suspects:
                raise
            off.append((unsteady.obj.session_uid, suspects[-1].name))
