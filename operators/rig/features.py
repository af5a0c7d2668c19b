# SPDX-License-Identifier: GPL-3.0-or-later
"""Where brows, eyes, nose, mouth and chin are in the picture, by the rig's names and motions.

A cartoon, a stick figure or a wolf has a face that no detector finds, or finds wrongly. But its meshes and materials
are called after what they are, and its controls after what they move.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import bpy
import numpy as np
from numpy.typing import NDArray

from ...backend_bridge.files.errors import InputError
from ...backend_bridge.job.spec import Expected
from ...backend_bridge.rig.action_units import Side
from ...backend_bridge.rig.anchors import FACE_ANCHORS
from ...backend_bridge.rig.face_parts import FacePart, is_of_the_face, part_of, side_of
from ...backend_bridge.worker_client.messages import Progress
from .appraisal import Appraisal
from .basis import Survey
from .face import CHANGED, Face
from .judgement import appraise
from .kinds import is_facial
from .projection import Points
from .surface import LOOKING, corners_of, evaluated_mesh, meshes_in_picture, read_points, visible_points

Key: TypeAlias = tuple[FacePart, Side]
# Places in the picture [M, 2], px, and their weights as evidence of a part, [M].
Evidence: TypeAlias = tuple[Points, NDArray[np.float64]]

PAIRED = (FacePart.BROW, FacePart.EYE, FacePart.LID, FacePart.CHEEK)
TAIL = 0.1  # of what a control moves, on either end: skin goes along far beyond a brow or a lip
WHOLE = 0.6  # of the extent of all that is seen; what is called after a part and is as large as that is a head


@dataclass(frozen=True)
class Feature:
    """A part of the face in the picture: the rectangle around it, px, its middle, and whether a mesh is called so."""

    low: Points
    high: Points
    middle: Points
    sure: bool


Features: TypeAlias = Mapping[Key, Feature]


def find_features(context: bpy.types.Context, survey: Survey) -> Generator[Progress, None, Features]:
    """Return the parts of the face that the rig names or moves, by part and side; step by step.

    Meshes and materials go before controls: they are the part, while a control moves its surroundings, too. Sides are
    the picture's: of a face that looks at the camera the character's left is on the right.
    """
    face = survey.face
    if not face.visible.any():
        return {}
    yield LOOKING
    by_name = yield from _named(context, face)
    yield LOOKING
    appraisals = appraise(survey)
    yield LOOKING
    by_motion = _moved(survey, appraisals)
    if not any(part in (FacePart.EYE, FacePart.LID) for part, _ in (*by_name, *by_motion)):
        by_name |= _eyeballs(face)
    middle = _middle((by_name, by_motion), face.positions)
    found: dict[Key, Feature] = {}
    for part in FacePart:
        evidence, tail = (by_name, 0.0) if any(each is part for each, _ in by_name) else (by_motion, TAIL)
        sides = {side: places for (each, side), places in evidence.items() if each is part}
        if sides and part is not FacePart.OTHER:
            sided = _sided(part, sides, middle)
            found |= {(part, side): _feature(each, tail, evidence is by_name) for side, each in sided.items()}
    return _left_is_right(found)


def expected_anchors(features: Features) -> tuple[Expected, ...]:
    """Return where the anchors are by the features that are known; none where they make no face."""
    places: dict[str, tuple[Points, Feature]] = {}
    for side, outwards in ((Side.RIGHT, -1), (Side.LEFT, 1)):
        name = side.value
        if (eye := _eye(features, side)) is not None:
            outer, inner = _ends(eye, outwards)
            places |= {f"{name} eye, outer corner": (outer, eye), f"{name} eye, inner corner": (inner, eye)}
        if (brow := features.get((FacePart.BROW, side))) is not None:
            outer, inner = _ends(brow, outwards)
            places |= {f"{name} brow, outer end": (outer, brow), f"{name} brow, inner end": (inner, brow)}
    if (mouth := features.get((FacePart.MOUTH, Side.BOTH))) is not None:
        left, right = _ends(mouth, 1)
        upper, lower = (np.array([mouth.middle[0], y]) for y in (mouth.low[1], mouth.high[1]))
        places |= {"mouth, left corner": (left, mouth), "mouth, right corner": (right, mouth)}
        places["upper lip, middle of its upper edge"] = upper, mouth
        places["lower lip, middle of its lower edge"] = lower, mouth
    if (nose := features.get((FacePart.NOSE, Side.BOTH))) is not None:
        places["nose, tip"] = nose.middle, nose
    if not _makes_a_face({name: place for name, (place, _) in places.items()}):
        return ()
    return tuple(
        Expected(FACE_ANCHORS[name], (float(place[0]), float(place[1])), feature.sure)
        for name, (place, feature) in places.items()
    )


def _eye(features: Features, side: Side) -> Feature | None:
    """Return an eye as wide as its lids, where they are known: of an eyeball only that much is seen."""
    eye, lids = features.get((FacePart.EYE, side)), features.get((FacePart.LID, side))
    if eye is None or lids is None:
        return eye or lids
    around = (lids.low <= eye.middle).all() and (eye.middle <= lids.high).all()
    widened = replace(eye, low=np.minimum(eye.low, lids.low), high=np.maximum(eye.high, lids.high))
    return widened if around else eye


def _ends(feature: Feature, outwards: int) -> tuple[Points, Points]:
    """Return the ends of a feature at the height of its middle, the one that lies outwards first."""
    left, right = (np.array([x, feature.middle[1]]) for x in (feature.low[0], feature.high[0]))
    return (right, left) if outwards > 0 else (left, right)


def _makes_a_face(places: Mapping[str, Points]) -> bool:
    """Whether there is a pair above a mouth, on either side of it: names alone may be wrong."""
    pairs = []
    for what, end in (("eye", "corner"), ("brow", "end")):
        ends = [(f"{side} {what}, outer {end}", f"{side} {what}, inner {end}") for side in ("right", "left")]
        if all(outer in places for outer, _ in ends):
            pairs.append([(places[outer] + places[inner]) / 2 for outer, inner in ends])
    if not pairs or "mouth, left corner" not in places:
        return False
    mouth = (places["mouth, left corner"] + places["mouth, right corner"]) / 2
    return all(right[0] < left[0] and max(right[1], left[1]) < mouth[1] for right, left in pairs)


def _named(context: bpy.types.Context, face: Face) -> Generator[Progress, None, dict[Key, Evidence]]:
    """Return what is seen of the meshes and materials that are called after a part."""
    names = _names_of_vertices(context, face)
    extent = np.ptp(face.positions[face.visible], axis=0)
    found: dict[Key, Evidence] = {}
    for name in dict.fromkeys(names[face.visible].tolist()):
        if is_of_the_face(name):
            _add(found, name, face.positions[face.visible & (names == name)], extent)
    for obj in meshes_in_picture(face.projection, context.evaluated_depsgraph_get()):
        if obj not in face.objects and is_of_the_face(obj.name):  # eyes that nothing moves are eyes
            yield LOOKING
            points, _ = read_points((obj,), context.evaluated_depsgraph_get())
            seen = yield from visible_points(context, points, face.projection)
            _add(found, obj.name, face.projection.project(points)[0][seen], extent)
    return found


def _add(found: dict[Key, Evidence], name: str, places: Points, extent: Points) -> None:
    """Add what is called after a part, unless it is as large as a head."""
    part = part_of(name)
    if part is None or not len(places) or (np.ptp(places, axis=0) > WHOLE * extent).all():
        return
    _join(found, (part, side_of(name)), (places, np.ones(len(places))))


def _join(found: dict[Key, Evidence], key: Key, evidence: Evidence) -> None:
    before = found.get(key)
    found[key] = evidence if before is None else _together([before, evidence])


def _together(evidence: Iterable[Evidence]) -> Evidence:
    places, weights = zip(*evidence, strict=True)
    return np.concatenate(places), np.concatenate(weights)


def _eyeballs(face: Face) -> dict[Key, Evidence]:
    """Return what is seen of the eyeballs."""
    members = np.concatenate([np.zeros(0, np.intp), *(eye.members for eye in face.eyes)])
    places = face.positions[members[face.visible[members]]]
    return {(FacePart.EYE, Side.BOTH): (places, np.ones(len(places)))} if len(places) else {}


def _names_of_vertices(context: bpy.types.Context, face: Face) -> NDArray[np.str_]:
    """Return what each vertex is called after, [V]: its material where a mesh has several, else its object."""
    depsgraph = context.evaluated_depsgraph_get()
    names: list[NDArray[np.object_]] = []
    for obj in face.objects:
        with evaluated_mesh(obj, depsgraph) as mesh:
            own = np.full(len(mesh.vertices), obj.name, object)
            slots = [slot.material.name if slot.material is not None else obj.name for slot in obj.material_slots]
            if len(slots) > 1 and any(is_of_the_face(name) for name in slots):
                own[corners_of(mesh)] = np.array(slots, object)[_slot_at_corner(mesh, len(slots))]
            names.append(own)
    whole = np.concatenate(names)
    if len(whole) <= face.vertices.max(initial=-1):
        raise InputError(CHANGED)
    return whole[face.vertices].astype(str)


def _slot_at_corner(mesh: bpy.types.Mesh, slots: int) -> NDArray[np.intp]:
    """Return which of so many material slots each corner of each polygon has, [C]; beyond the last one is the last."""
    slot, corners = np.empty(len(mesh.polygons), np.int32), np.empty(len(mesh.polygons), np.int32)
    mesh.polygons.foreach_get("material_index", slot)
    mesh.polygons.foreach_get("loop_total", corners)
    return np.repeat(np.minimum(slot, slots - 1), corners)


def _moved(survey: Survey, appraisals: Mapping[str, Appraisal]) -> dict[Key, Evidence]:
    """Return where the controls act that are called after a part, by what they move there; each counts alike."""
    seen = survey.face.visible
    positions = survey.face.positions[seen]
    energy = (survey.basis.displacement[:, seen].astype(np.float64) ** 2).sum(axis=2)
    found: dict[Key, Evidence] = {}
    for control, weights in zip(survey.basis.controls, energy, strict=True):
        appraisal, part = appraisals.get(control.name), part_of(control.part)
        useful = appraisal is not None and not appraisal.note and weights.sum() > 0
        if part is not None and is_facial(control) and useful:
            key = part, side_of(control.part)
            before = found[key][1] if key in found else 0.0
            found[key] = positions, before + weights / weights.sum()
    return found


def _sided(part: FacePart, sides: Mapping[Side, Evidence], middle: float) -> dict[Side, Evidence]:
    """Return a part by the sides of the picture; what is called after no side is on both, or in the middle."""
    if part in PAIRED and Side.LEFT in sides and Side.RIGHT in sides:
        return {side: sides[side] for side in (Side.LEFT, Side.RIGHT)}
    places, weights = _together(sides.values())
    if part not in PAIRED:
        return {Side.BOTH: (places, weights)}
    on_left = places[:, 0] > middle
    halves = {Side.LEFT: on_left, Side.RIGHT: ~on_left}
    enough = 0.1 * weights.sum()
    return {side: (places[half], weights[half]) for side, half in halves.items() if weights[half].sum() > enough}


def _feature(evidence: Evidence, tail: float, sure: bool) -> Feature:
    """Return the rectangle around a part, without so much of its weight on either end."""
    places, weights = evidence
    ends = []
    for axis in (0, 1):
        order = np.argsort(places[:, axis])
        share = np.cumsum(weights[order]) / weights.sum()
        first, last = (int(np.searchsorted(share, limit)) for limit in (tail, 1 - tail))
        ends.append((places[order[first], axis], places[order[min(last, len(order) - 1)], axis]))
    low, high = np.array(ends, np.float64).T
    return Feature(low, high, (low + high) / 2, sure)


def _middle(evidence: Iterable[Mapping[Key, Evidence]], positions: Points) -> float:
    """Return x of the middle of the face, each part with evidence counting alike."""
    parts = [(places[:, 0] * weights).sum() / weights.sum() for each in evidence for places, weights in each.values()]
    return float(np.mean(parts)) if parts else float(np.median(positions[:, 0]))


def _left_is_right(found: dict[Key, Feature]) -> Features:
    """Return the features with the pairs the way round that a face has them in the picture."""
    for part in PAIRED:
        left, right = found.get((part, Side.LEFT)), found.get((part, Side.RIGHT))
        if left is not None and right is not None and left.middle[0] < right.middle[0]:
            found[part, Side.LEFT], found[part, Side.RIGHT] = right, left
    return found
