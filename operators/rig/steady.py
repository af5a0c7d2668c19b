# SPDX-License-Identifier: GPL-3.0-or-later
"""Measuring behind modifiers that make another mesh of every pose: without them, as what they are given is steady."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

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


# The setting of those that join vertices which meet in a pose; without it they leave a mesh its vertices.
_MERGING = {"MIRROR": "use_mirror_merge", "ARRAY": "use_merge_vertices"}


class Place(NamedTuple):
    """A setting of a modifier, so that it can be found again after an undo. owner: its object's session uid."""

    owner: int
    modifier: str
    setting: str = "show_viewport"


@contextmanager
def switched_off(modifiers: Sequence[Place]) -> Iterator[None]:
    """Keep settings of modifiers off inside, and so out of what is measured; not in a file that is saved meanwhile."""

    def show(*_: object) -> None:
        _switch(modifiers, True)

    def hide(*_: object) -> None:
        _switch(modifiers, False)

    if not modifiers:
        yield
        return
    hide()
    try:
        with around_saving(show, hide):
            yield
    finally:
        show()


def _switch(places: Sequence[Place], on: bool) -> None:
    for obj in bpy.data.objects:
        for owner, name, setting in places:
            if obj.session_uid == owner and (modifier := obj.modifiers.get(name)) is not None:
                setattr(modifier, setting, on)


def _suspect(obj: bpy.types.Object, off: Sequence[Place]) -> Place | None:
    """Return what to switch off next on a mesh that gets other vertices: of its last modifiers the gentlest."""
    for modifier in reversed(obj.modifiers):
        merging = _MERGING.get(modifier.type, "")
        usual = merging if merging and getattr(modifier, merging) else "show_viewport"
        for setting in dict.fromkeys((usual, "show_viewport")):
            place = Place(obj.session_uid, modifier.name, setting)
            if modifier.show_viewport and modifier.type not in _STEADY and place not in off:
                return place
    return None


def steadily(
    measure: Callable[[], Generator[Progress, None, Found]],
) -> Generator[Progress, None, tuple[Found, list[Place]]]:
    """Measure, without the last modifiers of a mesh as far as they give it other vertices when the face moves.

    Of a Mirror that is its merging alone, if that will do: a face of which half is modelled has two sides. Returns what
    `measure` returns, and what had to be off. Raises what it raises, `UnsteadyMeshError`
    where it is no modifier's fault.
    """
    off: list[Place] = []
    while True:
        try:
            with switched_off(off):
                return (yield from measure()), off
        except UnsteadyMeshError as unsteady:
            place = _suspect(unsteady.obj, off)
            if place is None:
                raise
            off.append(place)
