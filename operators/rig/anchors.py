# SPDX-License-Identifier: GPL-3.0-or-later
"""Anchors: Empties on the avatar's face that show where the driver's face was laid, and that a person can move.

An anchor that was moved goes into the job, and the driver's face is bent to pass through it. The others only show what
was matched, and are free to be matched better the next time. Each hangs on the triangle of skin that it lies on, as
Blender's vertex parenting does it, so that it stays there when the character is moved, posed or makes a face.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import bpy
import numpy as np
from mathutils import Vector
from mathutils.bvhtree import BVHTree
from numpy.typing import NDArray

from ...backend_bridge.files.errors import InputError
from ...backend_bridge.job.report import Report
from ...backend_bridge.job.spec import Anchor
from ...backend_bridge.rig.anchors import FACE_ANCHORS
from ...backend_bridge.rig.basis import RigBasis
from ...backend_bridge.rig.face_parts import FacePart, part_of
from ...backend_bridge.worker_client.messages import Progress
from ..blender.data import mesh_of
from .projection import Points, Projection
from .surface import LOOKING, Triangles, read_points, triangles_of

COLLECTION = "MagPlus Anchors"
_LANDMARK, _FOUND, _PINNED = "magplus_landmark", "magplus_found", "magplus_pinned"
NAMES = {landmark: name for name, landmark in FACE_ANCHORS.items()}
MOVED = 1e-3  # of an anchor's drawn size; one that is nearer to where it was found was not moved by hand

# Where the anchors are in an upright face: x from its middle to the character's left (the picture's right), y downwards
# from the brows to the chin, both in heights of that. Rounded from an average face; a guess to begin with.
_LAYOUT: Mapping[str, tuple[float, float]] = {
    "brow, outer end": (0.47, 0.06),
    "brow, inner end": (0.11, 0.03),
    "eye, outer corner": (0.40, 0.23),
    "eye, inner corner": (0.15, 0.25),
    "nose, tip": (0.0, 0.52),
    "nose, wing": (0.13, 0.55),
    "mouth, corner": (0.22, 0.75),
    "upper lip, middle of its upper edge": (0.0, 0.69),
    "lower lip, middle of its lower edge": (0.0, 0.82),
    "chin, lowest point": (0.0, 1.05),
}
_BROWS, _CHIN = 0.04, 0.92  # heights in the layout around which the topmost and the lowest controls act


def anchors_of(avatar: bpy.types.Object) -> list[bpy.types.Object]:
    """Return the avatar's anchors, in the order of `FACE_ANCHORS`."""
    collection = bpy.data.collections.get(COLLECTION)
    if collection is None:
        return []
    found = {landmark_of(obj): obj for obj in collection.objects if _follows(obj, avatar)}
    return [found.pop(landmark) for landmark in NAMES if landmark in found] + list(found.values())


def landmark_of(anchor: bpy.types.Object) -> int:
    """Return which point of the face mesh an anchor is."""
    return int(anchor[_LANDMARK])


def name_of(anchor: bpy.types.Object) -> str:
    """Return which point of the face an anchor is."""
    return _name(anchor[_LANDMARK])


def was_moved(anchor: bpy.types.Object) -> bool:
    """Whether a person has moved an anchor from where it was found, or has given its place in a file."""
    return bool(anchor.get(_PINNED)) or bool(
        (anchor.location - Vector(anchor[_FOUND])).length > MOVED * anchor.empty_display_size
    )


def put_back(anchor: bpy.types.Object) -> None:
    """Move an anchor back to where it was found; one from a file is free to be found."""
    anchor.location = anchor[_FOUND]
    anchor[_PINNED] = False


def is_selected(anchor: bpy.types.Object, view_layer: bpy.types.ViewLayer) -> bool:
    """Whether an anchor is selected; one that a person has taken out of the view layer is not."""
    return anchor.name in view_layer.objects and anchor.select_get(view_layer=view_layer)


def moved_anchors(avatar: bpy.types.Object, projection: Projection) -> tuple[Anchor, ...]:
    """Return the anchors that were moved, as the job spec has them."""
    moved = [anchor for anchor in anchors_of(avatar) if was_moved(anchor)]
    if not moved:
        return ()
    places = np.array([anchor.matrix_world.translation for anchor in moved], np.float64)
    positions, _ = projection.project(places)
    return tuple(
        Anchor(anchor[_LANDMARK], (float(x), float(y))) for anchor, (x, y) in zip(moved, positions, strict=True)
    )


def scaled(anchors: Sequence[Anchor], size: tuple[int, int], to: tuple[int, int]) -> tuple[Anchor, ...]:
    """Return anchors in a picture of (width, height) px as they lie in the same picture of another size."""
    across, down = (new / old for new, old in zip(to, size, strict=True))
    return tuple(
        replace(each, position=((each.position[0] + 0.5) * across - 0.5, (each.position[1] + 0.5) * down - 0.5))
        for each in anchors
    )


def places_of(avatar: bpy.types.Object, projection: Projection) -> dict[int, tuple[float, float]]:
    """Return where all anchors are in the picture, by landmark."""
    anchors = anchors_of(avatar)
    places = np.array([anchor.matrix_world.translation for anchor in anchors], np.float64).reshape(-1, 3)
    positions, _ = projection.project(places)
    return {landmark_of(anchor): (float(x), float(y)) for anchor, (x, y) in zip(anchors, positions, strict=True)}


def matched_places(report: Report, size: tuple[int, int]) -> dict[int, tuple[float, float]]:
    """Return where a job laid the anchors, in px of a picture of this size, by landmark.

    Raises `InputError` when its report does not say.
    """
    if report.avatar is None:
        raise InputError("The job's report does not say how the faces were matched; run the job again.")
    across, down = (now / then for now, then in zip(size, report.avatar.size, strict=True))
    return {
        anchor.landmark: ((anchor.position[0] + 0.5) * across - 0.5, (anchor.position[1] + 0.5) * down - 0.5)
        for anchor in report.avatar.anchors
        if anchor.landmark in NAMES
    }


def first_guess(
    basis: RigBasis, expected: Mapping[int, tuple[float, float]] = MappingProxyType({})
) -> dict[int, tuple[float, float]]:
    """Return where the anchors may be in the picture: where they are `expected`, else by what the rig's controls move.

    Around what is expected lies an average face; without that, the topmost control acts at the brows, the lowest one at
    the chin. Raises `InputError` where nothing visible moves.
    """
    if len(expected) >= 3:
        known = np.array([_layout_of(landmark) for landmark in expected])
        whole, *_ = np.linalg.lstsq(np.c_[known, np.ones(len(known))], np.array(list(expected.values())), rcond=None)
        laid = {landmark: np.append(_layout_of(landmark), 1.0) @ whole for landmark in NAMES}
        return {landmark: (float(x), float(y)) for landmark, (x, y) in laid.items()} | dict(expected)
    of_the_face = [
        part_of(control.part) is not FacePart.OTHER for control in basis.controls
    ]  # ears lie above the brows
    moving = np.where(of_the_face, 1.0, 0.0)[:, None]
    effect = moving * np.where(basis.visible, (basis.displacement.astype(np.float64) ** 2).sum(axis=2), 0.0)
    total = effect.sum(axis=1)
    if not (total > 0).any():
        raise InputError("No control moves anything that this camera sees; turn the face to it.")
    centres = effect[total > 0] @ np.nan_to_num(basis.positions.astype(np.float64)) / total[total > 0, None]
    low, high = centres.min(axis=0), centres.max(axis=0)
    moved = basis.positions[effect.max(axis=0) > 0]
    if high[1] - low[1] < 0.3 * np.ptp(moved[:, 1]):  # the rig has no controls from brows to chin
        low, high = moved.min(axis=0), moved.max(axis=0)
    scale = (high[1] - low[1]) / (_CHIN - _BROWS)
    middle, top = float(np.median(moved[:, 0])), low[1] - _BROWS * scale
    places = {}
    for landmark in FACE_ANCHORS.values():
        x, y = _layout_of(landmark)
        places[landmark] = (middle + x * scale, float(top + y * scale))
    return places


def is_mirrored(places: Mapping[int, tuple[float, float]]) -> bool:
    """Whether places have left and right the wrong way round, however the face is turned; False where too few tell.

    The affine map from an average face to them turns it over then.
    """
    known = [landmark for landmark in places if landmark in NAMES]
    layout = np.array([[*_layout_of(landmark), 1.0] for landmark in known]).reshape(-1, 3)
    if np.linalg.matrix_rank(layout, tol=0.1) < 3:  # too few, or on one line
        return False
    (across, down, _), *_ = np.linalg.lstsq(layout, np.array([places[landmark] for landmark in known]), rcond=None)
    turned_over = across[0] * down[1] - across[1] * down[0]
    return bool(turned_over < -0.15 * (across @ across + down @ down))


def _layout_of(landmark: int) -> tuple[float, float]:
    """Return where an anchor is in `_LAYOUT`, to the right of its middle for what is on the character's left."""
    name = NAMES[landmark]
    side = 1 if "left" in name.split(",")[0].split() or ", left" in name else -1
    x, y = _LAYOUT[name.replace("right ", "").replace("left ", "")]
    return side * x, y


def put_anchors(
    context: bpy.types.Context,
    avatar: bpy.types.Object,
    projection: Projection,
    places: Mapping[int, tuple[float, float]],
    pinned: bool = False,
) -> Generator[Progress, None, None]:
    """Put anchors on the avatar's surface where the picture shows them; those moved by hand stay where they are.

    `pinned` ones are put as by hand, and go into the job as they are.
    """
    skin = yield from _Skin.of(context, avatar)
    yield LOOKING
    hits = {landmark: skin.under(*projection.ray(position)) for landmark, position in places.items()}
    size = _extent([tuple(hit) for hit in hits.values()])
    there = {anchor[_LANDMARK]: anchor for anchor in anchors_of(avatar)}
    hung: dict[bpy.types.Object, tuple[Vector, Vector]] = {}
    for landmark, hit in hits.items():
        anchor = there.get(landmark) or _new_anchor(context.scene, avatar, landmark, size)
        if landmark in there and was_moved(anchor) and not pinned:
            # What it was moved from is remembered: the match that is shown now may have been made by moving it.
            found = anchor.matrix_world @ (Vector(anchor[_FOUND]) - anchor.location)
            hung[anchor] = (anchor.matrix_world.translation.copy(), found)
        else:
            hung[anchor] = (hit, hit)
        if pinned:
            anchor[_PINNED] = True
    skin.hang(hung)


class _Skin:
    """The surface of an avatar as it is posed at present, for anchors to lie on."""

    def __init__(
        self, context: bpy.types.Context, avatar: bpy.types.Object, surface: BVHTree, points: Points, cage: Triangles
    ) -> None:
        """`surface` is in the avatar's space, `points` [V, 3] are in the world, `cage` [T, 3] are indices into them."""
        self._context, self._avatar, self._surface = context, avatar, surface
        self._triangles: list[list[int]] = cage.tolist()
        self._cage = BVHTree.FromPolygons(points.tolist(), self._triangles, all_triangles=True)

    @classmethod
    def of(cls, context: bpy.types.Context, avatar: bpy.types.Object) -> Generator[Progress, None, _Skin]:
        """Take the surface of an avatar, step by step."""
        surface = BVHTree.FromObject(avatar, context.evaluated_depsgraph_get())
        yield LOOKING
        points, _ = read_points((avatar,), context.evaluated_depsgraph_get())
        yield LOOKING
        # Blender parents to vertices of the mesh before its modifiers, which leave them in front of those they add.
        cage = triangles_of(mesh_of(avatar))
        cage = cage[(cage < len(points)).all(axis=1)]
        if not len(cage) or surface.find_nearest((0.0, 0.0, 0.0))[0] is None:  # modifiers leave none
            raise InputError(f"{avatar.name!r} has no faces; choose the mesh with the face.")
        return cls(context, avatar, surface, points[: int(cage.max(initial=-1)) + 1], cage)

    def under(self, origin: Points, direction: Points) -> Vector:
        """Return where a ray in the world meets the skin; beside it, as far away as the nearest of it."""
        start, ahead = Vector(origin.tolist()), Vector(direction.tolist()).normalized()
        to_world = self._avatar.evaluated_get(self._context.evaluated_depsgraph_get()).matrix_world
        to_local = to_world.inverted_safe()
        own_start = to_local @ start
        hit = self._surface.ray_cast(own_start, to_local @ (start + ahead) - own_start)[0]
        if hit is not None:
            return to_world @ hit
        nearest = to_world @ _nearest(self._surface, own_start)[0]
        return start + ahead * max((nearest - start).dot(ahead), 0.0)

    def hang(self, places: Mapping[bpy.types.Object, tuple[Vector, Vector]]) -> None:
        """Hang anchors on the triangles nearest to them: each at the first place, having been found at the second."""
        for anchor, (place, _) in places.items():
            anchor.parent, anchor.parent_type = self._avatar, "VERTEX_3"
            anchor.parent_vertices = self._triangles[_nearest(self._cage, place)[1]]
            anchor.matrix_parent_inverse.identity()
            anchor.location = (0.0, 0.0, 0.0)
        self._context.view_layer.update()
        depsgraph = self._context.evaluated_depsgraph_get()
        for anchor, (place, found) in places.items():
            triangle = anchor.evaluated_get(depsgraph).matrix_world.inverted_safe()
            anchor.location = triangle @ place
            anchor[_FOUND] = tuple(anchor.location) if found == place else tuple(triangle @ found)
        self._context.view_layer.update()


def _nearest(tree: BVHTree, place: Vector) -> tuple[Vector, int]:
    """Return the point of a surface nearest to a place, and the number of its triangle."""
    point, _, triangle, _ = tree.find_nearest(place)
    assert point is not None and triangle is not None, "an avatar has faces"
    return point, triangle


def remove_anchors(avatar: bpy.types.Object) -> None:
    """Take the avatar's anchors away."""
    for anchor in anchors_of(avatar):
        bpy.data.objects.remove(anchor)
    collection = bpy.data.collections.get(COLLECTION)
    if collection is not None and not collection.objects:
        bpy.data.collections.remove(collection)


def _new_anchor(scene: bpy.types.Scene, avatar: bpy.types.Object, landmark: int, size: float) -> bpy.types.Object:
    collection = bpy.data.collections.get(COLLECTION) or bpy.data.collections.new(COLLECTION)
    if collection.name not in scene.collection.children:
        scene.collection.children.link(collection)
    anchor = bpy.data.objects.new(_name(landmark).capitalize(), None)
    anchor.empty_display_type, anchor.empty_display_size = "SPHERE", 0.02 * size
    anchor.show_in_front, anchor.hide_render = True, True
    anchor.lock_rotation = anchor.lock_scale = (True, True, True)
    anchor.parent = avatar
    anchor[_LANDMARK] = landmark
    collection.objects.link(anchor)
    return anchor


def _name(landmark: int) -> str:
    return NAMES.get(landmark, f"face landmark {landmark}")


def _follows(obj: bpy.types.Object, avatar: bpy.types.Object) -> bool:
    return obj.get(_LANDMARK) is not None and obj.parent == avatar


def _extent(points: Sequence[tuple[float, ...]]) -> float:
    values: NDArray[np.float64] = np.array(points, np.float64)
    return float(np.ptp(values, axis=0).max()) or 1.0
