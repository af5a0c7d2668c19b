# SPDX-License-Identifier: GPL-3.0-or-later
"""The eyeballs of a face: which pieces of its meshes they are, and how far a control may go before they come out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import bpy
import numpy as np
from numpy.typing import NDArray

from ...backend_bridge.rig.face_parts import FacePart, part_of
from .controls import RigControl
from .projection import Points
from .rigid import RigidMotion

ROUND = 0.12  # relative standard deviation of the radius; a cornea bulges, a cartoon's ball is squashed a little
LEAST_POINTS = 6  # a sphere has four unknowns: with hardly more points anything is round
FURTHEST_SHIFT = 0.1  # of an eye's radius, that its middle may leave its place by
FURTHEST_TURN = math.radians(30.0)  # real eyes turn further only together with the head
LEAST_OF_RANGE = 0.4  # of a control's range
PAIR = 0.97  # the smaller one's radius, as a share of the larger one's
LARGEST = 0.2  # of the extent of all that is measured; a ball beyond it is a head


@dataclass(frozen=True)
class Eye:
    """An eyeball. members: indices into the face's vertices. centre: [3], and radius, in the world."""

    members: NDArray[np.intp]
    centre: Points
    radius: float


def find_eyes(
    objects: Sequence[bpy.types.Object], owner: NDArray[np.intp], piece: NDArray[np.intp], points: Points
) -> tuple[Eye, ...]:
    """Return the eyeballs among the pieces that the meshes are made of.

    They are recognised by the name of their object or their only material, or by being two balls of a size. owner,
    piece: [V], the object and the piece of it that each of the points [V, 3] belongs to.
    """
    largest = LARGEST * float(np.ptp(points, axis=0).max(initial=0.0))
    named: list[Eye] = []
    balls: list[Eye] = []
    for number in np.unique(piece):
        members = np.flatnonzero(piece == number)
        if len(members) < LEAST_POINTS:
            continue
        obj = objects[owner[members[0]]]
        parts = {part for name in _names_of(obj) if (part := part_of(name)) is not None}
        ball = _ball(members, points)
        if parts == {FacePart.EYE}:
            extent = float(np.ptp(points[members], axis=0).max())
            named.append(ball or Eye(members, points[members].mean(axis=0), extent / 2))
        elif ball is not None and ball.radius < largest and not parts - {FacePart.EYE}:
            balls.append(ball)
    return tuple(named or _paired(balls))


def within_sockets(
    control: RigControl, points: Points, travel: NDArray[np.floating], eyes: Sequence[Eye]
) -> tuple[RigControl, bool]:
    """Return a control with its range narrowed so that the eyes stay in their sockets, and whether it pulled them out.

    `travel` [V, 3] is what it does to the points of the face per unit. An eye that goes with the rest of the face is in
    its socket; one whose middle goes on its own isn't, and none turns further than an eye can. What has to end far
    before its range does, and moves an eye about a place outside of it, is no way to turn one.
    """
    step = control.excursion
    whole = RigidMotion.of(points, travel * step, np.ones(len(points)))
    rest = control.control.rest
    furthest, pulled = math.inf, False
    reach = max(control.control.high - rest, rest - control.control.low)
    for eye in eyes:
        motion = RigidMotion.of(points[eye.members], travel[eye.members] * step, np.ones(len(eye.members)))
        own = motion.shift(eye.centre)
        shift = float(min(np.linalg.norm(own), np.linalg.norm(own - whole.shift(eye.centre))))
        turn = min(motion.angle, motion.angle_seen_from(whole))
        by_shift = abs(step) * FURTHEST_SHIFT * eye.radius / shift if shift > 1e-4 * eye.radius else math.inf
        by_turn = abs(step) * FURTHEST_TURN / turn if turn > 1e-4 else math.inf
        pulled |= bool(by_shift < LEAST_OF_RANGE * reach and shift > eye.radius * turn)
        furthest = min(furthest, by_shift, by_turn)
    low, high = max(control.control.low, rest - furthest), min(control.control.high, rest + furthest)
    return replace(control, control=replace(control.control, low=float(low), high=float(high))), pulled


def _names_of(obj: bpy.types.Object) -> list[str]:
    """Return what says what an object is; several materials say nothing of any one piece of it."""
    materials = [slot.material.name for slot in obj.material_slots if slot.material is not None]
    return [obj.name, *(materials if len(materials) == 1 else [])]


def _ball(members: NDArray[np.intp], points: Points) -> Eye | None:
    """Return the sphere that is nearest to a piece (least squares), None for a piece that is no ball."""
    middle = points[members].mean(axis=0)
    own = points[members] - middle
    extent = float(np.ptp(own, axis=0).max())
    if not extent > 0:
        return None
    own = own / extent
    system = np.c_[2 * own, np.ones(len(own))]
    solution, _, rank, _ = np.linalg.lstsq(system, (own**2).sum(axis=1), rcond=None)
    if rank < 4:
        return None  # flat
    radius = float(np.sqrt(max(solution[3] + solution[:3] @ solution[:3], 0.0)))
    spread = np.linalg.norm(own - solution[:3], axis=1)
    if radius == 0 or spread.std() > ROUND * radius or radius > 0.75:
        return None
    return Eye(members, middle + solution[:3] * extent, radius * extent)


def _paired(balls: Sequence[Eye]) -> list[Eye]:
    """Return the balls that have another one of their size, concentric ones taken for one."""

    def alike(one: Eye, other: Eye) -> bool:
        apart = float(np.linalg.norm(one.centre - other.centre))
        return apart > max(one.radius, other.radius) and PAIR * one.radius < other.radius < one.radius / PAIR

    return [ball for ball in balls if any(alike(ball, other) for other in balls)]
