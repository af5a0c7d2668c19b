# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding the face: which meshes are part of it, and which of their vertices the camera sees."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import bpy
import numpy as np
from numpy.typing import NDArray

from ...backend_bridge.files.errors import InputError
from .controls import RigControl, restored
from .eyes import Eye, find_eyes
from .kinds import is_facial
from .projection import Points, Projection
from .surface import (
    in_vertex_group,
    loose_pieces,
    meshes_in_picture,
    read_points,
    read_triangles,
    thinned,
    vertex_counts,
    visible_points,
)

MAX_VERTICES = 10_000
BODY_TO_FACE = 4.0  # a mesh that many times as high as what its controls move is a body, not a face
SKIN = 0.5  # of the largest rectangle that controls of the face move of one mesh
LEAST_MOTION = 0.02  # px; below this a vertex does not take part in an expression
# Modifiers that may make another mesh of every pose, to name the likely culprit.
_REMESHING = {"REMESH", "DECIMATE", "WELD", "BOOLEAN", "MASK", "NODES", "BUILD", "EXPLODE", "SKIN"}


class UnsteadyMeshError(InputError):
    """The mesh of `obj` gets other vertices when the face moves."""

    def __init__(self, obj: bpy.types.Object, sentence: str) -> None:
        super().__init__(sentence)
        self.obj = obj


@dataclass(frozen=True)
class Face:
    """The vertices of the avatar that are measured, at the present pose.

    objects: the avatar's mesh first, then all further meshes that the controls move.
    vertices: [V] indices into all evaluated vertices of the objects. triangles: [T, 3] int32 into V.
    points: [V, 3] in the world. positions: [V, 2] px. depth: [V]. visible, own, moved: [V] bool, seen by the camera;
        part of the first object or of another that the face is made on; moved by some control.
    owner: [V] which of the objects each is part of.
    eyes: the eyeballs. topology: a fingerprint for each object.
    """

    objects: tuple[bpy.types.Object, ...]
    projection: Projection
    vertices: NDArray[np.intp]
    triangles: NDArray[np.int32]
    points: Points
    positions: Points
    depth: Points
    visible: NDArray[np.bool_]
    own: NDArray[np.bool_]
    moved: NDArray[np.bool_]
    owner: NDArray[np.intp]
    eyes: tuple[Eye, ...]
    topology: tuple[bytes, ...]

    def box(self) -> tuple[float, float, float, float]:
        """Return the face's place in the picture as (x, y, width, height) px.

        It encloses what is visible of the mesh or of its vertex group. Where the mesh is a whole body it encloses what
        the controls move.
        """
        low, size = _box(self.positions[self.visible & self.own])
        if (expressive := self.visible & self.own & self.moved).any():
            low_moved, size_moved = _box(self.positions[expressive])
            if size[1] > BODY_TO_FACE * size_moved[1]:
                low, size = low_moved, size_moved
        return (float(low[0]), float(low[1]), float(size[0]), float(size[1]))


def find_face(
    context: bpy.types.Context,
    objects: Sequence[bpy.types.Object],
    projection: Projection,
    controls: Sequence[RigControl] = (),
    vertex_group: str = "",
    max_vertices: int = MAX_VERTICES,
) -> Face:
    """Choose the vertices to measure: those in the picture, thinned evenly where there are more than `max_vertices`.

    Beside the `objects` that is every mesh that some control moves, however it hangs on the rig: an eyeball that a bone
    turns, teeth that are parented to the jaw, lashes whose shape keys are driven by the head's.
    Of a mesh that is too dense, what no control moves goes first. `vertex_group` restricts the first object to a part.
    Raises `InputError` when the camera sees nothing of the first object.
    """
    company = _company(context, objects, projection, controls)
    objects = (*objects, *company.further)
    depsgraph = context.evaluated_depsgraph_get()
    points, topology = read_points(objects, depsgraph)
    triangles = read_triangles(objects, depsgraph)
    owner = np.repeat(np.arange(len(objects)), vertex_counts(topology))
    first = owner == 0
    own = first | np.isin(owner, [index for index, obj in enumerate(objects) if obj in company.skins])
    positions, depth = projection.project(points)
    keep = projection.sees(positions, depth)
    if vertex_group:
        keep[first] &= in_vertex_group(objects[0], vertex_group, depsgraph)
    moved = _moved(context, objects, projection, controls, positions, topology)
    if keep.sum() > max_vertices and (keep & moved).any():
        keep &= moved
    pieces = loose_pieces(points, triangles)
    vertices, triangles = thinned(points, keep, triangles, max_vertices)
    visible = visible_points(points[vertices], projection, depsgraph)
    if not (visible & own[vertices]).any():
        part = f"the vertex group {vertex_group!r} of " if vertex_group else ""
        raise InputError(f"The camera sees nothing of {part}{objects[0].name!r}; point it at the avatar's face.")
    return Face(
        objects=tuple(objects),
        projection=projection,
        vertices=vertices,
        triangles=triangles,
        points=points[vertices],
        positions=positions[vertices],
        depth=depth[vertices],
        visible=visible,
        own=own[vertices],
        moved=moved[vertices],
        owner=owner[vertices],
        eyes=find_eyes(objects, owner[vertices], pieces[vertices], points[vertices]),
        topology=topology,
    )


@dataclass(frozen=True)
class _Company:
    """The meshes beside the given ones that are part of the face; `skins` of all are those that the face is made on."""

    further: tuple[bpy.types.Object, ...]
    skins: frozenset[bpy.types.Object]


def _company(
    context: bpy.types.Context,
    objects: Sequence[bpy.types.Object],
    projection: Projection,
    controls: Sequence[RigControl],
) -> _Company:
    """Find the meshes beside `objects` that lie on the face, and of which some control moves something visibly.

    The face is where the controls that are called after a part of it move the given meshes, or another that they move
    about as far and wide: a person may have chosen the eyes, or the mouth. On it is what lies there for the most part:
    clothes follow a shoulder, too.
    """
    if not controls:
        return _Company((), frozenset())
    depsgraph = context.evaluated_depsgraph_get()
    others = [obj for obj in meshes_in_picture(projection, depsgraph) if obj not in objects]
    before = {obj: read_points((obj,), depsgraph) for obj in (*objects, *others)}
    facial = [control for control in controls if is_facial(control.control)] or controls
    places = _boxes_moved(context, before, projection, facial)
    size = {obj: float(np.prod(box[1] - box[0])) for obj, (box, _) in places.items()}
    skins = [obj for obj in places if size[obj] >= SKIN * max(size.values())]
    if not skins:
        return _Company((), frozenset())
    face = [places[obj][0] for obj in places if obj in objects or obj in skins]
    low, high = np.min([box[0] for box in face], axis=0), np.max([box[1] for box in face], axis=0)
    moved = places if facial is controls else _boxes_moved(context, before, projection, controls)
    inside = [obj for obj, (_, shown) in moved.items() if ((shown >= low) & (shown <= high)).all(axis=1).mean() > 0.5]
    return _Company(tuple(obj for obj in others if obj in inside or obj in skins), frozenset(skins))


def _boxes_moved(
    context: bpy.types.Context,
    before: Mapping[bpy.types.Object, tuple[Points, tuple[bytes, ...]]],
    projection: Projection,
    controls: Sequence[RigControl],
) -> dict[bpy.types.Object, tuple[Points, Points]]:
    """Return, for each mesh that the controls move visibly, the corners of where they do, and all of its points, px."""
    found: dict[bpy.types.Object, tuple[Points, Points]] = {}
    with _all_moved(context, controls):
        depsgraph = context.evaluated_depsgraph_get()
        for obj, (points, topology) in before.items():
            now, topology_now = read_points((obj,), depsgraph)
            if topology_now != topology:  # another mesh of every pose shows nothing that could be followed
                continue
            positions, depth = projection.project(points)
            shown = projection.sees(positions, depth)
            moved = shown & (np.abs(projection.project(now)[0] - positions).max(axis=1) > LEAST_MOTION)
            if moved.any():
                found[obj] = np.array([positions[moved].min(axis=0), positions[moved].max(axis=0)]), positions[shown]
    return found


def _moved(
    context: bpy.types.Context,
    objects: Sequence[bpy.types.Object],
    projection: Projection,
    controls: Sequence[RigControl],
    positions: Points,
    topology: tuple[bytes, ...],
) -> NDArray[np.bool_]:
    """Return which vertices some control moves visibly, by moving all at once."""
    if not controls:
        return np.zeros(len(positions), bool)
    with _all_moved(context, controls):
        moved, _ = projection.project(points_of(context, objects, topology, "the expression"))
    with np.errstate(invalid="ignore"):
        return np.abs(moved - positions).max(axis=1) > LEAST_MOTION


@contextmanager
def _all_moved(context: bpy.types.Context, controls: Sequence[RigControl]) -> Iterator[None]:
    """Move all controls at once, and put them back."""
    with restored(controls, context.view_layer):
        for index, control in enumerate(controls):
            # Unlike shares, or opposites (jaw left, jaw right) would cancel out.
            control.write(control.control.rest + control.excursion * (0.5 + 0.5 * (index * 0.618034 % 1.0)))
        context.view_layer.update()
        yield


def points_of(
    context: bpy.types.Context,
    objects: Sequence[bpy.types.Object],
    topology: tuple[bytes, ...],
    moving: str,
) -> Points:
    """Evaluate the rig as it stands and return where all vertices are in the world, [*, 3]."""
    context.view_layer.update()
    points, now = read_points(objects, context.evaluated_depsgraph_get())
    for obj, before, after in zip(objects, topology, now, strict=True):
        if before != after:
            culprit = next((m.name for m in obj.modifiers if m.show_viewport and m.type in _REMESHING), None)
            remedy = f"turn its modifier {culprit!r} off" if culprit else "turn off the modifier that does it"
            raise UnsteadyMeshError(
                obj,
                f"The mesh of {obj.name!r} gets other vertices when {moving!r} moves; {remedy} and capture again.",
            )
    return points


def grown(
    box: tuple[float, float, float, float], places: Iterable[tuple[float, float]]
) -> tuple[float, float, float, float]:
    """Return a rectangle (x, y, width, height) that holds further places, too: a face of several meshes."""
    x, y, width, height = box
    low, size = _box(np.array([(x, y), (x + width, y + height), *places], np.float64))
    return float(low[0]), float(low[1]), float(size[0]), float(size[1])


def _box(positions: Points) -> tuple[Points, Points]:
    low = positions.min(axis=0)
    return low, positions.max(axis=0) - low
