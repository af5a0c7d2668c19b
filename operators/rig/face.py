# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding the face: which meshes are part of it, and which of their vertices the camera sees."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import NoReturn

import bpy
import numpy as np
from numpy.typing import NDArray

from ...backend_bridge.files.errors import InputError
from ...backend_bridge.rig.face_parts import FacePart, part_of
from ...backend_bridge.worker_client.messages import Progress
from ..running.steps import Turn
from .avatar import edited_problem
from .controls import RigControl, restored
from .eyes import Eye, find_eyes
from .kinds import is_facial
from .projection import Points, Projection
from .surface import (
    LOOKING,
    in_vertex_group,
    loose_pieces,
    meshes_in_picture,
    read_points,
    read_triangles,
    thinned,
    visible_points,
)

MAX_VERTICES = 10_000  # of the face that are measured, each with every control
BODY_TO_FACE = 4.0  # a mesh that many times as high as what its controls move is a body, not a face
SKIN = 0.5  # of the largest rectangle that controls of the face move of one mesh
LEAST_MOTION = 0.02  # px; below this a vertex does not take part in an expression
CHANGED = "The avatar was changed while it was measured; start again and let it be for a moment."
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

    objects: the given meshes, the avatar's first, then further ones that lie on the face and that controls move.
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


def face_steps(
    context: bpy.types.Context,
    objects: Sequence[bpy.types.Object],
    projection: Projection,
    controls: Sequence[RigControl] = (),
    vertex_group: str = "",
    max_vertices: int = MAX_VERTICES,
) -> Generator[Progress, None, Face]:
    """Choose the vertices to measure: those in the picture, thinned evenly where there are more than `max_vertices`.

    Besides `objects` these are of every mesh on the face that some control moves, however it hangs on the rig: an
    eyeball that a bone turns, teeth that are parented to the jaw, lashes whose shape keys are driven by the head's.
    Where a mesh is too dense, the vertices that no control moves are left out first. `vertex_group` restricts the first
    object to a part. Between two steps the rig is as it was. Raises `InputError` when the camera sees nothing of the
    first object, when somebody deletes a part of the avatar meanwhile or gives it other vertices, and
    `UnsteadyMeshError` when the controls do.
    """
    try:
        return (yield from _find(context, objects, projection, controls, vertex_group, max_vertices))
    except ReferenceError as error:  # a part of it was deleted, or another file loaded
        raise InputError("The avatar is no longer there; start again.") from error


def _find(
    context: bpy.types.Context,
    objects: Sequence[bpy.types.Object],
    projection: Projection,
    controls: Sequence[RigControl],
    vertex_group: str,
    max_vertices: int,
) -> Generator[Progress, None, Face]:
    yield LOOKING
    turn = Turn()
    poses = yield from _poses(context, objects, projection, controls, turn)
    company = _company(objects, projection, poses)
    objects = (*objects, *company.further)
    candidates = _candidates(objects, company, poses, projection)
    yield from turn.pause(LOOKING)
    keep = projection.sees(candidates.positions, candidates.depth)
    if vertex_group:
        first = candidates.owner == 0
        keep[first] &= yield from _members(context, objects[0], vertex_group, first.sum())
        turn = Turn()
    if keep.sum() > max_vertices and (keep & candidates.moved).any():
        keep &= candidates.moved
    triangles = read_triangles(objects, context.evaluated_depsgraph_get())
    if triangles.max(initial=-1) >= len(candidates.points):
        raise InputError(CHANGED)
    yield from turn.pause(LOOKING)
    pieces = loose_pieces(candidates.points, triangles)
    yield from turn.pause(LOOKING)
    vertices, triangles = thinned(candidates.points, keep, triangles, max_vertices)

    yield LOOKING
    chosen = candidates.at(vertices)
    visible = yield from visible_points(context, chosen.points, projection)
    if not (visible & chosen.own).any():
        raise InputError(_out_of_sight(objects[0].name, vertex_group))
    yield LOOKING
    return Face(
        objects=tuple(objects),
        projection=projection,
        vertices=vertices,
        triangles=triangles,
        points=chosen.points,
        positions=chosen.positions,
        depth=chosen.depth,
        visible=visible,
        own=chosen.own,
        moved=chosen.moved,
        owner=chosen.owner,
        eyes=find_eyes(objects, chosen.owner, pieces[vertices], chosen.points),
        topology=tuple(poses.at_rest[obj].topology for obj in objects),
    )


@dataclass(frozen=True)
class _Vertices:
    """Vertices that may be measured; the fields are those of `Face`."""

    points: Points
    positions: Points
    depth: Points
    own: NDArray[np.bool_]
    moved: NDArray[np.bool_]
    owner: NDArray[np.intp]

    def at(self, chosen: NDArray[np.intp]) -> _Vertices:
        """Return the vertices of these indices."""
        return _Vertices(*(getattr(self, field.name)[chosen] for field in fields(self)))


def _candidates(
    objects: Sequence[bpy.types.Object], company: _Company, poses: _Poses, projection: Projection
) -> _Vertices:
    """Return all vertices of the objects. Raises `UnsteadyMeshError` where the expression gives one others."""
    at_rest, moved = poses.at_rest, poses.all_moved
    for obj in objects if moved else ():
        check_topology(obj, at_rest[obj].topology, moved[obj].topology, "the expression")
    points = _points_of_all(at_rest, objects)
    owner = np.repeat(np.arange(len(objects)), [len(at_rest[obj].points) for obj in objects])
    own = np.isin(owner, [index for index, obj in enumerate(objects) if index == 0 or obj in company.skins])
    positions, depth = projection.project(points)
    acting: NDArray[np.bool_] = np.zeros(len(points), bool)
    if moved:
        acting = _far_apart(projection.project(_points_of_all(moved, objects))[0], positions)
    return _Vertices(points, positions, depth, own, acting, owner)


def _members(
    context: bpy.types.Context, obj: bpy.types.Object, vertex_group: str, count: int
) -> Generator[Progress, None, NDArray[np.bool_]]:
    """Return which of an object's evaluated vertices are in a group; raises `InputError` unless it has `count`."""
    yield LOOKING
    members = yield from in_vertex_group(context, obj, vertex_group)
    if len(members) != count:
        raise InputError(CHANGED)
    return members


def _points_of_all(shapes: _Shapes, objects: Sequence[bpy.types.Object]) -> Points:
    return np.concatenate([shapes[obj].points for obj in objects])


def _far_apart(positions: Points, others: Points) -> NDArray[np.bool_]:
    """Return which points of the picture, [V, 2] px, are visibly elsewhere; those behind the camera are not."""
    with np.errstate(invalid="ignore"):
        return np.abs(positions - others).max(axis=1) > LEAST_MOTION


def _poses(
    context: bpy.types.Context,
    objects: Sequence[bpy.types.Object],
    projection: Projection,
    controls: Sequence[RigControl],
    turn: Turn,
) -> Generator[Progress, None, _Poses]:
    """Return the meshes as the rig stands, and with some of its controls moved.

    Where there are controls every mesh in the picture is among them, else the `objects` alone, and nothing moves.
    """
    others: list[bpy.types.Object] = []
    if controls:
        in_picture = meshes_in_picture(projection, context.evaluated_depsgraph_get())
        others = [obj for obj in in_picture if obj not in objects]
    at_rest = yield from _shapes(context, (*objects, *others), (), turn)
    if not controls:
        return _Poses(at_rest, _Shapes(), _Shapes(), _Shapes())
    facial = [control for control in controls if is_facial(control.control)]
    features = [control for control in facial if part_of(control.control.part) is not FacePart.JAW]
    found: dict[int, _Shapes] = {0: _Shapes()}  # by their number, as each are some of the next
    for some in (features, facial or controls, controls):
        if len(some) not in found:
            found[len(some)] = yield from _shapes(context, at_rest, some, turn)
    return _Poses(at_rest, found[len(features)], found[len(facial) or len(controls)], found[len(controls)])


def _out_of_sight(name: str, vertex_group: str) -> str:
    if not vertex_group:
        return f"The camera sees nothing of {name!r}; point it at the avatar's face."
    return f"The camera sees nothing of the vertex group {vertex_group!r} of {name!r}; point it at the avatar's face."


@dataclass(frozen=True)
class _Shape:
    """The evaluated vertices of an object in the world, [V, 3], and a fingerprint of its topology."""

    points: Points
    topology: bytes


class _Shapes(dict[bpy.types.Object, _Shape]):
    """Shapes by their objects."""

    def __missing__(self, obj: bpy.types.Object) -> NoReturn:
        """Raise `ReferenceError` for an object that was deleted since, which is no key any more."""
        raise KeyError(obj.name)


@dataclass(frozen=True)
class _Poses:
    """The meshes as the rig stands, and with controls moved.

    features_moved: by those that are called after a part of the face, but for the jaw. face_moved: with the jaw, or by
    all where none is called so. all_moved: by all.
    """

    at_rest: _Shapes
    features_moved: _Shapes
    face_moved: _Shapes
    all_moved: _Shapes


def _shapes(
    context: bpy.types.Context, objects: Iterable[bpy.types.Object], controls: Sequence[RigControl], turn: Turn
) -> Generator[Progress, None, _Shapes]:
    """Return the shape of each object with all of the controls moved at once, with none: as the rig stands."""
    waiting = deque(objects)
    found = _Shapes()
    while waiting:
        with _all_moved(context, controls):
            over = False
            while waiting and not over:
                obj = waiting.popleft()
                points, (topology,) = read_points((obj,), context.evaluated_depsgraph_get())
                found[obj] = _Shape(points, topology)
                over = turn.is_over()
        if over:
            yield LOOKING
            turn.begin()
    return found


@dataclass(frozen=True)
class _Company:
    """The meshes beside the given ones that are part of the face; `skins` of all are those that the face is made on."""

    further: tuple[bpy.types.Object, ...] = ()
    skins: frozenset[bpy.types.Object] = frozenset()


def _company(objects: Sequence[bpy.types.Object], projection: Projection, poses: _Poses) -> _Company:
    """Find the meshes beside `objects` that lie on the face, and of which some control moves something visibly.

    The face is where its controls move the given meshes, or another that they move about as far and wide: a person may
    have chosen the eyes, or the mouth. It is where features move as well, as it may be made of a mesh for each brow and
    lid. On it is what lies there for the most part: clothes follow a shoulder, too, or a jaw.
    """
    places = _boxes_moved(poses.at_rest, poses.face_moved, projection)
    size = {obj: float(np.prod(box[1] - box[0])) for obj, (box, _) in places.items()}
    skins = [obj for obj in places if size[obj] >= SKIN * max(size.values())]
    if not skins:
        return _Company()
    face = [places[obj][0] for obj in places if obj in objects or obj in skins]
    face += [box for box, _ in _boxes_moved(poses.at_rest, poses.features_moved, projection).values()]
    low, high = np.min([box[0] for box in face], axis=0), np.max([box[1] for box in face], axis=0)
    moved = places if poses.all_moved is poses.face_moved else _boxes_moved(poses.at_rest, poses.all_moved, projection)
    inside = [obj for obj, (_, shown) in moved.items() if ((shown >= low) & (shown <= high)).all(axis=1).mean() > 0.5]
    further = [obj for obj in poses.at_rest if obj not in objects and (obj in inside or obj in skins)]
    return _Company(tuple(further), frozenset(skins))


def _boxes_moved(
    before: _Shapes, after: _Shapes, projection: Projection
) -> dict[bpy.types.Object, tuple[Points, Points]]:
    """Return, for each mesh that was moved visibly, the corners of where it was, and all of its points, px."""
    found: dict[bpy.types.Object, tuple[Points, Points]] = {}
    for obj, shape in after.items():
        if shape.topology != before[obj].topology:  # another mesh of every pose shows nothing that could be followed
            continue
        positions, depth = projection.project(before[obj].points)
        shown = projection.sees(positions, depth)
        moved = shown & _far_apart(projection.project(shape.points)[0], positions)
        if moved.any():
            found[obj] = np.array([positions[moved].min(axis=0), positions[moved].max(axis=0)]), positions[shown]
    return found


@contextmanager
def _all_moved(context: bpy.types.Context, controls: Sequence[RigControl]) -> Iterator[None]:
    """Move all controls at once, and put them back."""
    if not controls:
        yield
        return
    with restored(controls):
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
    """Evaluate the rig as it stands and return where all vertices are in the world, [*, 3].

    Raises `InputError` where somebody edits one of the objects by now: then it stands still.
    """
    if problem := next(filter(None, map(edited_problem, objects)), ""):
        raise InputError(problem)
    context.view_layer.update()
    points, now = read_points(objects, context.evaluated_depsgraph_get())
    for obj, before, after in zip(objects, topology, now, strict=True):
        check_topology(obj, before, after, moving)
    return points


def check_topology(obj: bpy.types.Object, before: bytes, after: bytes, moving: str) -> None:
    """Raise `UnsteadyMeshError` where `moving` something has given an object other vertices: another fingerprint."""
    if before != after:
        culprit = next((m.name for m in obj.modifiers if m.show_viewport and m.type in _REMESHING), None)
        remedy = f"turn its modifier {culprit!r} off" if culprit else "turn off the modifier that does it"
        raise UnsteadyMeshError(
            obj,
            f"The mesh of {obj.name!r} gets other vertices when {moving!r} moves; {remedy} and capture again.",
        )


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
