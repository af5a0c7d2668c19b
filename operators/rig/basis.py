# SPDX-License-Identifier: GPL-3.0-or-later
"""Measuring what every control does to the avatar's picture, by moving each one alone through the depsgraph."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import bpy
import numpy as np
from numpy.typing import NDArray

from ...backend_bridge.files.errors import InputError
from ...backend_bridge.rig.basis import RigBasis
from .controls import RigControl, restored
from .face_controls import default_controls
from .kinds import KINDS
from .projection import Points, Projection, picture_size, pixel_aspect
from .surface import in_vertex_group, meshes_in_picture, read_points, read_triangles, thinned, visible_points

MAX_VERTICES = 10_000
BODY_TO_FACE = 4.0  # a mesh that many times as high as what its controls move is a body, not a face
TURN = 0.25  # seconds of measuring after which Blender's interface gets a turn
LONGEST_TURN = 1.0  # where a redraw takes longer than that, half of the time goes to measuring, up to this
BENT = 0.05  # where half a step shows that much more or less than half of the motion, a control's response is measured
RESPONSE = 8  # at so many places of its range on either side of rest
LEAST_MOTION = 0.02  # px; below this a vertex does not take part in an expression
# Modifiers that may make another mesh of every pose, to name the likely culprit.
_REMESHING = {"REMESH", "DECIMATE", "WELD", "BOOLEAN", "MASK", "NODES", "BUILD", "EXPLODE", "SKIN"}
# Modifiers that leave the motion of what moves vertices in proportion to it.
_LINEAR = {"SUBSURF", "MULTIRES", "ARMATURE", "MIRROR", "TRIANGULATE", "WEIGHTED_NORMAL", "EDGE_SPLIT", "SOLIDIFY"}


@dataclass(frozen=True)
class Face:
    """The vertices of the avatar that are measured, at the present pose.

    objects: the avatar's mesh first, then all further meshes that the controls move.
    vertices: [V] indices into all evaluated vertices of the objects. triangles: [T, 3] int32 into V.
    positions: [V, 2] px. depth: [V]. visible, own, moved: [V] bool, seen by the camera; part of the first object; moved
        by some control.
    topology: a fingerprint for each object.
    """

    objects: tuple[bpy.types.Object, ...]
    projection: Projection
    vertices: NDArray[np.intp]
    triangles: NDArray[np.int32]
    positions: Points
    depth: Points
    visible: NDArray[np.bool_]
    own: NDArray[np.bool_]
    moved: NDArray[np.bool_]
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
    objects = (*objects, *_followers(context, objects, projection, controls))
    depsgraph = context.evaluated_depsgraph_get()
    points, topology = read_points(objects, depsgraph)
    triangles = read_triangles(objects, depsgraph)
    first, _ = read_points(objects[:1], depsgraph)
    own = np.arange(len(points)) < len(first)
    positions, depth = projection.project(points)
    keep = projection.sees(positions, depth)
    if vertex_group:
        keep[: len(first)] &= in_vertex_group(objects[0], vertex_group, depsgraph)
    moved = _moved(context, objects, projection, controls, positions, topology)
    if keep.sum() > max_vertices and (keep & moved).any():
        keep &= moved
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
        positions=positions[vertices],
        depth=depth[vertices],
        visible=visible,
        own=own[vertices],
        moved=moved[vertices],
        topology=topology,
    )


def measure_rig_basis(
    context: bpy.types.Context,
    objects: Sequence[bpy.types.Object],
    camera: bpy.types.Object,
    size: tuple[int, int] | None = None,
    *,
    controls: Sequence[RigControl] | None = None,
    excluded: Mapping[str, str] | None = None,
    vertex_group: str = "",
    max_vertices: int = MAX_VERTICES,
    on_progress: Callable[[int, int], None] | None = None,
) -> RigBasis:
    """Measure the screen-space displacement of the face's vertices per unit of every control.

    Modifiers, the armature, drivers and all other controls take part with their present values. The rig is left exactly
    as it was, also after an error.

    Args:
        context: its view layer is what is evaluated.
        objects: the avatar's mesh first, then further meshes; those that the controls move are found anyway.
        camera: perspective or orthographic; need not be the scene's.
        size: (width, height) px of the picture, by default the scene's render size.
        controls: what to move, by default what `default_controls` finds on `objects`.
        excluded: why other controls are not among `controls`, by name; recorded in the basis.
        vertex_group: restricts the vertices of the first object to the face.
        max_vertices: a denser mesh is thinned evenly to this many.
        on_progress: told the number of controls done and in all.

    Raises:
        InputError: no usable camera, the face is not in the picture, or a modifier makes another mesh of every pose.
    """
    scene = context.scene
    projection = Projection.of_camera(
        camera, context.evaluated_depsgraph_get(), size or picture_size(scene), pixel_aspect(scene)
    )
    if controls is None:
        controls, excluded = default_controls(objects)
    face = find_face(context, objects, projection, controls, vertex_group, max_vertices)
    return measure_controls(context, face, controls, excluded or {}, on_progress)


def measure_controls(
    context: bpy.types.Context,
    face: Face,
    controls: Sequence[RigControl],
    excluded: Mapping[str, str],
    on_progress: Callable[[int, int], None] | None = None,
) -> RigBasis:
    """Move each control alone and record where the face's vertices go; see `measure_rig_basis`."""
    steps = measure_steps(context, face, controls, excluded)
    while True:
        try:
            done = next(steps)
        except StopIteration as end:
            basis: RigBasis = end.value
            return basis
        if on_progress is not None:
            on_progress(done, len(controls))


def measure_steps(
    context: bpy.types.Context,
    face: Face,
    controls: Sequence[RigControl],
    excluded: Mapping[str, str],
    responses: bool = True,
) -> Generator[int, None, RigBasis]:
    """Do what `measure_controls` does a turn at a time, of `TURN` to `LONGEST_TURN` seconds; yields how many are done.

    Without `responses` every control is taken to act in proportion, which is good enough to look at it. Between two
    turns the rig is as it was. Raises `InputError` when somebody has changed it in the meantime.
    """
    displacement = np.zeros((len(controls), len(face.vertices), 2), np.float32)
    found: list[tuple[tuple[float, float], ...]] = []
    bends = _bends(face.objects) if responses else lambda _control: False
    done, away = 0, 0.0
    while done < len(controls):
        turn_ends = time.monotonic() + min(max(TURN, away), LONGEST_TURN)
        with restored(controls[done:], context.view_layer):
            for control in controls[done:]:
                motion = _motion_of(context, face, control)
                step = _step(control)
                displacement[done] = motion(step) / step
                visible = displacement[done][face.visible]
                found.append(_response(control, visible, face.visible, motion) if bends(control) else ())
                control.write(control.control.rest)
                done += 1
                if time.monotonic() > turn_ends:
                    break
        left = time.monotonic()
        yield done
        away = time.monotonic() - left
    positions = _positions(context, face.objects, face.projection, face.topology, "the avatar")
    if np.abs(positions[face.vertices] - face.positions).max() > LEAST_MOTION:
        raise InputError("The avatar was moved while its rig was measured; start again and let it be for a moment.")
    return RigBasis(
        image_size=face.projection.size,
        controls=tuple(
            replace(control.control, response=response) for control, response in zip(controls, found, strict=True)
        ),
        positions=face.positions.astype(np.float32),
        depth=face.depth.astype(np.float32),
        visible=face.visible,
        displacement=displacement,
        triangles=face.triangles,
        excluded=dict(excluded),
    )


def _motion_of(context: bpy.types.Context, face: Face, control: RigControl) -> Callable[[float], Points]:
    """Return a function that moves a control so far from rest, and gives the motion of the vertices, [V, 2] px."""

    def motion(excursion: float) -> Points:
        control.write(control.control.rest + excursion)
        positions = _positions(context, face.objects, face.projection, face.topology, control.control.name)
        return positions[face.vertices] - face.positions

    return motion


def _bends(objects: Sequence[bpy.types.Object]) -> Callable[[RigControl], bool]:
    """Return a function that says whether a control's effect may be out of proportion to it.

    That of a kind that is in proportion can't be, as long as nothing is driven by it and no modifier makes something
    else of it.
    """
    plain = all(modifier.type in _LINEAR for obj in objects for modifier in obj.modifiers if modifier.show_viewport)
    plain &= not any(obj.constraints or obj.parent_type.startswith("VERTEX") for obj in objects)
    blocks = [*bpy.data.shape_keys, *bpy.data.objects, *bpy.data.armatures]
    drivers = [curve for block in blocks if block.animation_data is not None for curve in block.animation_data.drivers]
    targets = {target.id for curve in drivers for variable in curve.driver.variables for target in variable.targets}

    def bends(control: RigControl) -> bool:
        driving = any(channel.id in targets for channel in control.channels)
        return not plain or driving or not KINDS[control.control.kind].proportional

    return bends


def _response(
    control: RigControl, column: NDArray[np.floating], visible: NDArray[np.bool_], motion: Callable[[float], Points]
) -> tuple[tuple[float, float], ...]:
    """Return how much of its `column` [V, 2] a control shows at other excursions, nothing if that is in proportion.

    A control is followed from rest as far as it goes on moving the same way.
    """
    step, most = _step(control), float(np.abs(column).max(initial=0.0))
    if most * abs(step) < LEAST_MOTION:
        return ()
    half = motion(step / 2)[visible] / (step / 2)
    if np.abs(half - column).max() <= BENT * most:
        return ()
    energy = float((column.astype(np.float64) ** 2).sum())
    found = [(0.0, 0.0)]
    for end in (control.control.low - control.control.rest, control.control.high - control.control.rest):
        amount = 0.0
        for excursion in np.linspace(0.0, end, RESPONSE + 1)[1:]:
            shown = float((motion(float(excursion))[visible] * column).sum()) / energy
            if (shown - amount) * end > 0:  # a dead zone is passed over, a way back is not gone
                found.append((float(excursion), shown))
                amount = shown
    return tuple(sorted(found)) if len(found) > 1 else ()


def _followers(
    context: bpy.types.Context,
    objects: Sequence[bpy.types.Object],
    projection: Projection,
    controls: Sequence[RigControl],
) -> list[bpy.types.Object]:
    """Return the meshes beside `objects` that lie on the face, and of which some control moves something visibly.

    On the face is what lies for the most part where the controls move the first object: clothes follow a shoulder, too.
    """
    if not controls:
        return []
    depsgraph = context.evaluated_depsgraph_get()
    others = [obj for obj in meshes_in_picture(projection, depsgraph) if obj not in objects]
    before = {obj: read_points((obj,), depsgraph) for obj in (objects[0], *others)}
    places: dict[bpy.types.Object, Points] = {}
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
                places[obj] = positions[moved if obj == objects[0] else shown]
    if objects[0] not in places:
        return [obj for obj in places if obj != objects[0]]
    low, size = _box(places.pop(objects[0]))
    inside = {obj: ((place >= low) & (place <= low + size)).all(axis=1) for obj, place in places.items()}
    return [obj for obj, within in inside.items() if within.mean() > 0.5]


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
        moved = _positions(context, objects, projection, topology, "the expression")
    with np.errstate(invalid="ignore"):
        return np.abs(moved - positions).max(axis=1) > LEAST_MOTION


@contextmanager
def _all_moved(context: bpy.types.Context, controls: Sequence[RigControl]) -> Iterator[None]:
    """Move all controls at once, and put them back."""
    with restored(controls, context.view_layer):
        for index, control in enumerate(controls):
            # Unlike shares, or opposites (jaw left, jaw right) would cancel out.
            control.write(control.control.rest + _step(control) * (0.5 + 0.5 * (index * 0.618034 % 1.0)))
        context.view_layer.update()
        yield


def _positions(
    context: bpy.types.Context,
    objects: Sequence[bpy.types.Object],
    projection: Projection,
    topology: tuple[bytes, ...],
    moving: str,
) -> Points:
    """Evaluate the rig as it stands and return where all vertices are in the picture, [*, 2] px."""
    context.view_layer.update()
    points, now = read_points(objects, context.evaluated_depsgraph_get())
    for obj, before, after in zip(objects, topology, now, strict=True):
        if before != after:
            culprit = next((m.name for m in obj.modifiers if m.show_viewport and m.type in _REMESHING), None)
            remedy = f"turn its modifier {culprit!r} off" if culprit else "turn off the modifier that does it"
            raise InputError(
                f"The mesh of {obj.name!r} gets other vertices when {moving!r} moves; {remedy} and capture again."
            )
    return projection.project(points)[0]


def _step(control: RigControl) -> float:
    """Return how far to move a control, upwards where there is room."""
    up, down = control.control.high - control.control.rest, control.control.rest - control.control.low
    if up >= control.step or up >= down:
        return min(control.step, up)
    return -min(control.step, down)


def _box(positions: Points) -> tuple[Points, Points]:
    low = positions.min(axis=0)
    return low, positions.max(axis=0) - low
