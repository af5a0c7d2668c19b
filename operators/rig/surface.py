# SPDX-License-Identifier: GPL-3.0-or-later
"""The avatar's evaluated geometry in the world, and which of its points the camera can see."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import bpy
import numpy as np
from mathutils import Vector
from mathutils.bvhtree import BVHTree
from numpy.typing import NDArray

from ...backend_bridge.files.errors import InputError
from ...backend_bridge.worker_client.messages import Progress
from ..running.steps import Turn
from .projection import Points, Projection

Triangles: TypeAlias = NDArray[np.int32]
LOOKING = Progress("Measuring the rig", 0, 0)  # where the face lies, and what of it is seen
RAYS = 512  # followed in one piece, which takes a few milliseconds
VERTICES = 4096  # asked for their vertex groups in one piece, one by one, as Blender has no quicker way
MOST_LAYERS = 64  # see-through faces that a ray passes: lashes have a dozen

_SURFACES = {"MESH", "CURVE", "SURFACE", "FONT", "META"}
_SEE_THROUGH_SHADERS = {"ShaderNodeBsdfTransparent", "ShaderNodeBsdfRefraction", "ShaderNodeBsdfGlass"}


@contextmanager
def evaluated_mesh(obj: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> Iterator[bpy.types.Mesh]:
    """Give the mesh of an object as modifiers leave it. It is valid inside the `with` only.

    Raises `ReferenceError` where the object is not in the scene that is shown by now.
    """
    evaluated = obj.evaluated_get(depsgraph)
    if not evaluated.is_evaluated:  # what Blender gives then is the object itself, which no shape key moves
        raise ReferenceError(obj.name)
    # Not `evaluated.data`: where the viewport subdivides on the GPU, that is the mesh before subdivision.
    with _gone_as_reference_error():
        mesh = evaluated.to_mesh()
    if mesh is None:
        raise InputError(f"{obj.name!r} has no surface; choose a mesh.")
    try:
        yield mesh
    finally:
        evaluated.to_mesh_clear()


@contextmanager
def _gone_as_reference_error() -> Iterator[None]:
    """Raise `ReferenceError`, as for what was deleted, where an object is not in the scene that is shown by now."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        raise ReferenceError(str(error)) from error


def read_triangles(objects: Sequence[bpy.types.Object], depsgraph: bpy.types.Depsgraph) -> NDArray[np.int32]:
    """Return the evaluated triangles [T, 3] of the objects, as indices into what `read_points` returns."""
    triangles: list[NDArray[np.int32]] = []
    offset = 0
    for obj in objects:
        with evaluated_mesh(obj, depsgraph) as mesh:
            triangles.append(triangles_of(mesh) + np.int32(offset))
            offset += len(mesh.vertices)
    return np.concatenate(triangles)


def triangles_of(mesh: bpy.types.Mesh) -> Triangles:
    """Return the triangles of a mesh, [T, 3] indices into its vertices."""
    mesh.calc_loop_triangles()
    corners = np.empty(len(mesh.loop_triangles) * 3, np.int32)
    mesh.loop_triangles.foreach_get("vertices", corners)
    return corners.reshape(-1, 3)


def read_points(
    objects: Sequence[bpy.types.Object], depsgraph: bpy.types.Depsgraph
) -> tuple[Points, tuple[bytes, ...]]:
    """Return the evaluated vertices of the objects in the world, [V, 3], and a fingerprint of each one's topology."""
    points: list[Points] = []
    fingerprints: list[bytes] = []
    for obj in objects:
        with evaluated_mesh(obj, depsgraph) as mesh:
            local = np.empty(len(mesh.vertices) * 3, np.float32)
            mesh.vertices.foreach_get("co", local)
            corners = corners_of(mesh)
            fingerprints.append(len(mesh.vertices).to_bytes(8, "little") + corners.tobytes())
        matrix = np.array(obj.evaluated_get(depsgraph).matrix_world, np.float64)
        points.append(local.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3])
    return np.concatenate(points), tuple(fingerprints)


def corners_of(mesh: bpy.types.Mesh) -> NDArray[np.int32]:
    """Return the vertex at each corner of each polygon, [C]."""
    corners = np.empty(len(mesh.loops), np.int32)
    hidden = mesh.attributes.get(".corner_vert")
    if hidden is not None:  # copied as it lies in memory, in a hundredth of the time
        hidden.data.foreach_get("value", corners)
    else:
        mesh.loops.foreach_get("vertex_index", corners)
    return corners


def loose_pieces(points: Points, triangles: NDArray[np.int32]) -> NDArray[np.intp]:
    """Return which of the pieces that a mesh falls into each vertex [V, 3] belongs to, [V], numbers in no order.

    Vertices on the same place are one: formats for games split them where a texture has a seam.
    """
    first, place = _unique_rows(np.round(points, 7))
    corners = place[triangles]
    label: NDArray[np.intp] = np.arange(len(first))
    while True:
        lowest = label[corners].min(axis=1)
        before = label.copy()
        for corner in range(3):
            np.minimum.at(label, label[corners[:, corner]], lowest)
            np.minimum.at(label, corners[:, corner], lowest)
        while (shorter := label[label] < label).any():
            label[shorter] = label[label[shorter]]
        if (label == before).all():
            return np.asarray(first[label[place]])


def in_vertex_group(
    context: bpy.types.Context, obj: bpy.types.Object, group: str
) -> Generator[Progress, None, NDArray[np.bool_]]:
    """Return which evaluated vertices belong to a vertex group with at least half the weight, [V]."""
    turn = Turn()
    found: list[NDArray[np.bool_]] = []
    whole = False
    while not whole:
        with evaluated_mesh(obj, context.evaluated_depsgraph_get()) as mesh:
            over = False
            while not (whole or over):
                found.append(_members(mesh, _index_of(obj, group), len(found) * VERTICES))
                whole, over = len(found) * VERTICES >= len(mesh.vertices), turn.is_over()
        yield LOOKING
        turn.begin()
    return np.concatenate(found)


def _index_of(obj: bpy.types.Object, group: str) -> int:
    """Return the number of a vertex group. Raises `ReferenceError` where it is gone, or has another name by now."""
    if (there := obj.vertex_groups.get(group)) is None:
        raise ReferenceError(group)
    return there.index


def _members(mesh: bpy.types.Mesh, index: int, begin: int) -> NDArray[np.bool_]:
    """Return which of up to `VERTICES` vertices of a mesh, from one on, are in a vertex group by half or more."""
    some = mesh.vertices[begin : begin + VERTICES]
    members = (any(each.group == index and each.weight >= 0.5 for each in vertex.groups) for vertex in some)
    return np.fromiter(members, bool, len(some))


def thinned(
    points: Points, keep: NDArray[np.bool_], triangles: NDArray[np.int32], limit: int
) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """Choose at most `limit` of the vertices to keep, evenly in space, and the triangles between them.

    Vertices that share a cell of a grid become one (vertex clustering; Rossignac & Borrel 1993), so that what is left
    is still a closed surface. Returns the indices of the chosen vertices and triangles [T, 3] into the choice.
    """
    kept = np.flatnonzero(keep)
    cells: NDArray[np.intp] = np.arange(len(kept))
    if len(kept) > limit:
        inside = points[kept]
        origin, extent = inside.min(axis=0), float(np.ptp(inside, axis=0).max()) or 1.0
        # A surface fills cells with the square of the resolution; a few rounds find the finest grid that fits.
        resolution = 2.0 * limit**0.5
        while True:
            grid = np.floor((inside - origin) / extent * resolution).astype(np.int64)
            _, cells = _unique_rows(grid)
            if (count := int(cells.max()) + 1) <= limit:
                break
            resolution *= 0.98 * (limit / count) ** 0.5
    _, first = np.unique(cells, return_index=True)
    new_index = np.full(len(points), -1, np.int32)
    new_index[kept] = cells
    corners = new_index[triangles]
    distinct = (corners[:, 0] != corners[:, 1]) & (corners[:, 1] != corners[:, 2]) & (corners[:, 2] != corners[:, 0])
    corners = corners[distinct & (corners >= 0).all(axis=1)]
    once, _ = _unique_rows(np.sort(corners, axis=1))
    return kept[first], corners[np.sort(once)]


def _unique_rows(rows: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return where each of the distinct rows [U] comes first, in their order, and which of them each row [N] is.

    As `numpy.unique(rows, axis=0)` does, several times as fast.

    >>> first, which = _unique_rows(np.array([[2, 0], [1, 5], [2, 0]]))
    >>> first.tolist(), which.tolist()
    ([1, 0], [1, 0, 1])
    """
    order = np.lexsort(rows.T[::-1])
    begins = np.ones(len(rows), bool)
    begins[1:] = (rows[order[1:]] != rows[order[:-1]]).any(axis=1)
    which = np.empty(len(rows), np.intp)
    which[order] = np.cumsum(begins) - 1
    return order[begins], which


def visible_points(
    context: bpy.types.Context, points: Points, projection: Projection, clearance: float | None = None
) -> Generator[Progress, None, NDArray[np.bool_]]:
    """Return which world points [V, 3] the camera sees: inside its picture, with nothing rendered in front of them.

    A few hundred view rays at a time are followed from the points to the camera. What is nearer to a point than
    `clearance`, in scene units, doesn't hide it: lashes, a beard.
    """
    turn = Turn()
    positions, depth = projection.project(points)
    visible = projection.sees(positions, depth)
    if not visible.any():
        return visible
    eyes = projection.eye(points)
    toward = (eyes - points) / np.linalg.norm(eyes - points, axis=1, keepdims=True)
    if clearance is None:
        # Off the surface that the point lies on, by less than an eyelid is thick: a 2000th of the face.
        clearance = float(np.ptp(points[visible], axis=0).max()) * 5e-4
    starts = points + toward * clearance
    corners = positions[visible]
    rectangle = corners.min(axis=0), corners.max(axis=0)
    for obj in _hiding(context.evaluated_depsgraph_get(), projection, rectangle):
        yield from turn.pause(LOOKING)
        barrier = _Barrier.of(obj, context.evaluated_depsgraph_get())
        if barrier is None:
            continue
        for rays in np.array_split(index := np.flatnonzero(visible), len(index) // RAYS + 1):
            yield from turn.pause(LOOKING)
            visible[rays] = ~barrier.hides(starts[rays], eyes[rays])
    return visible


def _hiding(
    depsgraph: bpy.types.Depsgraph, projection: Projection, rectangle: tuple[Points, Points]
) -> list[bpy.types.Object]:
    """Return the objects that may hide something in a rectangle of the picture."""
    return [obj for obj, evaluated in _rendered(depsgraph) if _may_hide(evaluated, projection, rectangle)]


def _may_hide(evaluated: bpy.types.Object, projection: Projection, rectangle: tuple[Points, Points]) -> bool:
    """Whether an object has a surface that may lie in front of a rectangle of the picture."""
    return evaluated.type in _SURFACES and _may_cover(projection, _world_box(evaluated), rectangle)


@dataclass(frozen=True)
class _Barrier:
    """A surface that hides what is behind it, where it isn't see-through: a cornea, glasses and lashes aren't opaque.

    tree: its faces, in the object's own space. clear: [F] bool, the faces that are see-through. to_local: [4, 4], from
    the world to the object's space.
    """

    tree: BVHTree
    clear: NDArray[np.bool_]
    to_local: Points

    @classmethod
    def of(cls, obj: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> _Barrier | None:
        """Take the surface of an object; None for one that has none, or is see-through as a whole."""
        evaluated = obj.evaluated_get(depsgraph)
        matrix = np.array(evaluated.matrix_world, np.float64)
        if abs(np.linalg.det(matrix[:3, :3])) < 1e-30:
            return None
        materials = [slot.material for slot in evaluated.material_slots]
        clear_slots = [material is not None and _see_through(material) for material in materials]
        with evaluated_mesh(obj, depsgraph) as mesh:
            slots = np.zeros(len(mesh.polygons), np.int32)
            if any(clear_slots):
                mesh.polygons.foreach_get("material_index", slots)
            clear = np.array(clear_slots or [False])[np.minimum(slots, max(len(clear_slots) - 1, 0))]
            if clear.all():
                return None
            if obj.type == "MESH":
                with _gone_as_reference_error():
                    tree = BVHTree.FromObject(obj, depsgraph)
            else:
                faces = [tuple(polygon.vertices) for polygon in mesh.polygons]
                tree = BVHTree.FromPolygons([tuple(vertex.co) for vertex in mesh.vertices], faces)
        return cls(tree, clear, np.asarray(np.linalg.inv(matrix), np.float64))

    def hides(self, starts: Points, ends: Points) -> NDArray[np.bool_]:
        """Return which of the rays between world points [R, 3] it interrupts, [R]."""
        starts, ends = (points @ self.to_local[:3, :3].T + self.to_local[:3, 3] for points in (starts, ends))
        ahead = ends - starts
        reach = np.linalg.norm(ahead, axis=1)
        directions = ahead / np.maximum(reach, 1e-30)[:, None]
        rays = zip(starts.tolist(), directions.tolist(), reach.tolist(), strict=True)
        return np.array([self._interrupts(Vector(start), Vector(way), far) for start, way, far in rays], bool)

    def _interrupts(self, start: Vector, way: Vector, far: float) -> bool:
        """Whether a ray from `start` meets an opaque face within the distance `far`."""
        for _ in range(MOST_LAYERS):
            place, _, face, distance = self.tree.ray_cast(start, way, far)
            if place is None or face is None or distance is None:
                return False
            if not self.clear[face]:
                return True
            step = 1e-6 * (far + place.length)  # past the face: a few times the precision of its place
            start, far = place + way * step, far - distance - step
        return False


def meshes_in_picture(projection: Projection, depsgraph: bpy.types.Depsgraph) -> list[bpy.types.Object]:
    """Return the mesh objects that a render shows, or may show as far as their bounding boxes tell."""
    picture = np.full(2, -0.5), np.asarray(projection.size) - 0.5
    return [
        obj
        for obj, evaluated in _rendered(depsgraph)
        if evaluated.type == "MESH" and _may_cover(projection, _world_box(evaluated), picture)
    ]


def _rendered(depsgraph: bpy.types.Depsgraph) -> Iterator[tuple[bpy.types.Object, bpy.types.Object]]:
    """Give the objects that a render shows, and as they are evaluated."""
    # Instances are left out: their geometry has no object of its own to ask, and faces are not built of them.
    shown = [instance.object.original for instance in depsgraph.object_instances if not instance.is_instance]
    rendered = set(rendered_objects(depsgraph.view_layer.layer_collection))
    for obj in shown:
        evaluated = obj.evaluated_get(depsgraph)
        if obj.name_full in rendered and evaluated.visible_camera:
            yield obj, evaluated


def _world_box(evaluated: bpy.types.Object) -> Points:
    """Return the corners of an object's bounding box in the world, [8, 3]."""
    matrix = np.array(evaluated.matrix_world, np.float64)
    corners: Points = np.array([tuple(corner) for corner in evaluated.bound_box]) @ matrix[:3, :3].T + matrix[:3, 3]
    return corners


def rendered_objects(layer: bpy.types.LayerCollection) -> Iterator[str]:
    """Give the names of the objects that neither they themselves nor their collections keep out of renders."""
    if layer.collection.hide_render:
        return
    if not layer.exclude:
        yield from (obj.name_full for obj in layer.collection.objects if not obj.hide_render)
    for child in layer.children:
        yield from rendered_objects(child)


def _may_cover(projection: Projection, box: Points, rectangle: tuple[Points, Points]) -> bool:
    positions, depth = projection.project(box)
    if (depth <= projection.clip[0]).all():
        return False
    if (depth <= projection.clip[0]).any():
        return True  # it reaches behind the camera, where projected corners mean nothing
    low, high = rectangle
    return bool((positions.max(axis=0) >= low).all() and (positions.min(axis=0) <= high).all())


def _see_through(material: bpy.types.Material) -> bool:
    """Whether a material is plainly transparent. A linked alpha is not: skins have one too."""
    tree = material.node_tree
    output = tree.get_output_node("ALL") if tree is not None else None
    if output is None or not output.inputs["Surface"].is_linked:
        return False
    shader = output.inputs["Surface"].links[0].from_node
    if shader.bl_idname in _SEE_THROUGH_SHADERS:
        return True
    if shader.bl_idname != "ShaderNodeBsdfPrincipled":
        return False
    alpha, transmission = shader.inputs["Alpha"], shader.inputs["Transmission Weight"]
    return (not alpha.is_linked and alpha.default_value < 0.5) or (
        not transmission.is_linked and transmission.default_value >= 0.5
    )
