# SPDX-License-Identifier: GPL-3.0-or-later
"""Which controls are about the face: judged by what each does in space, and by what it is called.

In the picture alone a nod, a turn and a step towards the camera look like parts of an expression: they move some places
much and others little. In space each is one rigid motion of the whole face, which no expression is.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ...backend_bridge.rig.face_parts import FacePart, part_of
from .appraisal import Appraisal
from .basis import Survey
from .kinds import KINDS, is_facial
from .rigid import RigidMotion

UNSEEN = 0.05  # px over its whole range; a control that moves nothing further is within noise
STILL = 0.15  # of a control's largest motion; what moves less is not what it is about
WHOLE, RIGID = 0.75, 0.9  # what moves that share of the face, and for that share as one body, poses the head
SWING = 0.6  # of its spread, that what turns lies off the joint; a handle lies in the middle of what it moves
# The same of a brow, a cheek, a nose or a lip: where weights fall off linearly to one side of a handle, as at a corner
# of the mouth, the middle lies 1.29 spreads from it.
SWING_OF_SKIN = 1.35
ON_THE_FACE = 0.5  # of a control's motion (squared, by area)

_SKIN = frozenset({FacePart.BROW, FacePart.CHEEK, FacePart.NOSE, FacePart.MOUTH})

UNSEEN_NOTE = "can't be seen from here"
WHOLE_NOTE = "moves the whole head"
ELSEWHERE_NOTE = "moves what is not the face"
SOCKET_NOTE = "would pull an eye out of its socket"


def appraise(survey: Survey) -> dict[str, Appraisal]:
    """Return what each control does, by name.

    What moves nothing visible is left out, unless its kind is made for the face: a body has hundreds of bones that are
    not about the face.
    """
    basis, face = survey.basis, survey.face
    moved = np.where(face.visible, np.linalg.norm(basis.displacement, axis=2), 0.0)  # [K, V]
    ranges = np.array([control.high - control.low for control in basis.controls])
    pixels: NDArray[np.floating] = moved.max(axis=1, initial=0.0) * ranges
    most = float(pixels.max(initial=0.0)) or 1.0
    sight = _Sight(survey)
    turning = sight.turning()
    found = {}
    for index, control in enumerate(basis.controls):
        reach = float(pixels[index])
        if reach < UNSEEN and not KINDS[control.kind].made_for_the_face and not survey.pulled[index]:
            continue
        note = sight.note(index) or (UNSEEN_NOTE if reach < UNSEEN else "")
        turns = (control.owner, control.part) in turning
        found[control.name] = Appraisal(reach, reach / most, note, turns, sight.ground(index))
    return found


class _Sight:
    """What the controls do to the visible surface: [K, V] how far each vertex goes, [V] the area that it stands for."""

    def __init__(self, survey: Survey) -> None:
        self._survey = survey
        self._points = survey.face.points
        self._area = _areas(self._points, survey.basis.triangles, survey.face.visible)
        self._far = np.where(self._area > 0, np.linalg.norm(survey.travel, axis=2), 0.0)
        self._acts = self._far > STILL * np.maximum(self._far.max(axis=1, initial=0.0, keepdims=True), 1e-12)
        self._face = self._where_the_face_is()
        self._carriers = {
            (control.owner, control.part)
            for index, control in enumerate(survey.basis.controls)
            if survey.pulled[index] and not self._is_of_eyes(index)
        }

    def note(self, index: int) -> str:
        """Return why a control is better not solved, or an empty string."""
        control = self._survey.basis.controls[index]
        if KINDS[control.kind].made_for_the_face:
            return ""
        if not self._acts[index].any():
            return UNSEEN_NOTE
        on_the_face = self._area * self._face
        if self._poses(index, on_the_face):
            return WHOLE_NOTE
        energy = self._area * self._far[index] ** 2
        if part_of(control.part) is FacePart.OTHER or (energy * self._face).sum() < ON_THE_FACE * energy.sum():
            return ELSEWHERE_NOTE
        return SOCKET_NOTE if (control.owner, control.part) in self._carriers or self._survey.pulled[index] else ""

    def ground(self, index: int) -> NDArray[np.float64]:
        """Return [V] m², the area of the face that a control moves."""
        return np.asarray(self._area * self._face * self._acts[index])

    def _is_of_eyes(self, index: int) -> bool:
        """Whether a control is about eyeballs, and not about what is around them as well."""
        energy = self._area * self._far[index] ** 2
        members = np.concatenate([eye.members for eye in self._survey.face.eyes])
        return bool(energy[members].sum() > 0.5 * energy.sum())

    def turning(self) -> set[tuple[str, str]]:
        """Return owner and part of the controls whose rotation swings what they move about a place outside of it."""
        shown: dict[tuple[str, str], dict[str, list[int]]] = {}
        for index, control in enumerate(self._survey.basis.controls):
            if control.motion and self._acts[index].any():
                shown.setdefault((control.owner, control.part), {}).setdefault(control.motion, []).append(index)
        return {
            (owner, part)
            for (owner, part), motions in shown.items()
            if self._swings(motions, SWING_OF_SKIN if part_of(part) in _SKIN else SWING)
        }

    def _swings(self, motions: Mapping[str, list[int]], least: float) -> bool:
        if not {"location", "rotation"} <= motions.keys():
            return False
        weight = self._far[motions["location"]].max(axis=0)
        weight = weight / weight.max()
        share = self._area * weight**2 / (self._area * weight**2).sum()
        middle = share @ self._points
        spread = np.sqrt(share @ ((self._points - middle) ** 2).sum(axis=1))
        levers = [np.linalg.norm((self._area * weight) @ self._per_radian(index)) for index in motions["rotation"]]
        return bool(max(levers) / (self._area * weight**2).sum() > least * spread)

    def _per_radian(self, index: int) -> NDArray[np.floating]:
        control = self._survey.basis.controls[index]
        # A quaternion's imaginary part is half of a small angle.
        return self._survey.travel[index] * (0.5 if "quaternion" in control.data_path else 1.0)

    def _poses(self, index: int, area: NDArray[np.float64]) -> bool:
        """Whether a control moves the greater part of an area [V], and all of that as one body."""
        total = area.sum()
        if not total > 0 or (area * self._acts[index]).sum() < WHOLE * total:
            return False
        control = self._survey.controls[index]
        travel = self._survey.travel[index] * control.excursion
        return RigidMotion.of(self._points, travel, area).explained > RIGID

    def _where_the_face_is(self) -> NDArray[np.bool_]:
        """Return which vertices are part of the face, [V].

        That is where those controls act that are called after a part of it, or made for it; failing such names, where
        those act that move the lesser part of what is seen. What poses all of that is none of them.
        """
        controls = self._survey.basis.controls
        called = [index for index, control in enumerate(controls) if self._acts[index].any() and is_facial(control)]
        spans = self._acts @ self._area
        local = np.flatnonzero((spans > 0) & (spans < 0.5 * self._area.sum())).tolist()
        for indices in (called, local):
            acting = self._acts[indices].sum(axis=0)
            others = [each for each in indices if not self._poses(each, self._area * (acting > self._acts[each]))]
            face = self._acts[others].any(axis=0) if others else acting > 0
            if (self._area * face).sum() > 0:
                return np.asarray(face)
        return np.asarray(self._area > 0)


def _areas(
    points: NDArray[np.float64], triangles: NDArray[np.int32], visible: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the area that each visible vertex stands for, [V]: a mesh may be dense in places."""
    shown = triangles[visible[triangles].all(axis=1)]
    first, second = (points[shown[:, corner]] - points[shown[:, 0]] for corner in (1, 2))
    area = 0.5 * np.linalg.norm(np.cross(first, second), axis=1)
    return np.bincount(shown.ravel(), np.repeat(area / 3, 3), minlength=len(points)).astype(np.float64)
