# SPDX-License-Identifier: GPL-3.0-or-later
"""Measuring what every control does to the avatar's picture, by moving each one alone through the depsgraph."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

import bpy
import numpy as np
from numpy.typing import NDArray

from ...backend_bridge.files.errors import InputError
from ...backend_bridge.rig.basis import Control, RigBasis
from ...backend_bridge.worker_client.messages import Progress
from ..running.steps import Turn
from .controls import RigControl, restored
from .eyes import within_sockets
from .face import LEAST_MOTION, Face, points_of
from .kinds import KINDS
from .projection import Points

BENT = 0.05  # where half a step shows that much more or less than half of the motion, a control's response is measured
RESPONSE = 8  # at so many places of its range on either side of rest
FURTHEST = 0.15  # of the extent of what is seen, that a range which no rigger has set moves it; a jaw opens by less
# Modifiers that leave the motion of what moves vertices in proportion to it.
_LINEAR = {"SUBSURF", "MULTIRES", "ARMATURE", "MIRROR", "TRIANGULATE", "WEIGHTED_NORMAL", "EDGE_SPLIT", "SOLIDIFY"}

Found = TypeVar("Found")


@dataclass(frozen=True)
class Survey:
    """What the controls of a rig do: to the picture, and in space.

    face: the vertices that were looked at. controls: as they were found, K of them, in the order of the basis. travel:
    [K, V, 3] float32, how far each vertex goes in the world, per unit of the control. pulled: [K] bool, whether a
    control would take an eye out of its socket if it went as far as it was found with; in the basis it can't.
    """

    face: Face
    controls: tuple[RigControl, ...]
    basis: RigBasis
    travel: NDArray[np.float32]
    pulled: NDArray[np.bool_]


def survey_steps(
    context: bpy.types.Context,
    face: Face,
    controls: Sequence[RigControl],
    excluded: Mapping[str, str],
    responses: bool = True,
) -> Generator[Progress, None, Survey]:
    """Move each control alone and record where the face's vertices go, a `Turn` at a time.

    Modifiers, the armature, drivers and all other controls take part with their present values. `excluded` says why
    other controls are not among `controls`, by name; the basis keeps it.
    Ranges that no rigger has set end where an eye would leave its socket. Without `responses` every control is taken to
    act in proportion, which is good enough to look at it. Between two turns the rig is as it was. Raises `InputError`
    when somebody has changed it in the meantime, or taken it away.
    """
    try:
        return (yield from _measure(context, face, controls, excluded, responses))
    except ReferenceError as error:  # a part of it was deleted, or another file loaded
        raise InputError("The avatar is no longer there; start again.") from error


def _measure(
    context: bpy.types.Context,
    face: Face,
    controls: Sequence[RigControl],
    excluded: Mapping[str, str],
    responses: bool,
) -> Generator[Progress, None, Survey]:
    measured: list[_Measured] = []
    questions = _questions(face, controls, responses, measured)
    question = next(questions, None)
    turn = Turn()
    while question is not None:
        with restored(controls[len(measured) :]):
            over = False
            while question is not None and not over:
                control, excursion = question
                control.write(control.control.rest + excursion)
                points = points_of(context, face.objects, face.topology, control.control.name)[face.vertices]
                control.write(control.control.rest)
                question = _answered(questions, points)
                over = turn.is_over()
        yield Progress("Measuring the rig", len(measured), len(controls))
        turn.begin()
    points = points_of(context, face.objects, face.topology, "the avatar")[face.vertices]
    if np.abs(face.projection.project(points)[0] - face.positions).max() > LEAST_MOTION:
        raise InputError("The avatar was moved while its rig was measured; start again and let it be for a moment.")
    basis = RigBasis(
        image_size=face.projection.size,
        controls=tuple(each.control for each in measured),
        positions=face.positions.astype(np.float32),
        depth=face.depth.astype(np.float32),
        visible=face.visible,
        displacement=_stacked([each.displacement for each in measured], (len(face.vertices), 2)),
        triangles=face.triangles,
        excluded=dict(excluded),
    )
    travel = _stacked([each.travel for each in measured], (len(face.vertices), 3))
    return Survey(face, tuple(controls), basis, travel, np.array([each.pulled for each in measured], bool))


@dataclass(frozen=True)
class _Measured:
    """What was found of one control: its entry in the basis, its rows there, and whether it would pull an eye out."""

    control: Control
    displacement: NDArray[np.float32]
    travel: NDArray[np.float32]
    pulled: bool


# An inquiry yields how far a control is to be moved from rest, and is sent where the vertices are then, [V, 3].
Inquiry: TypeAlias = Generator[float, Points, Found]


def _questions(
    face: Face, controls: Sequence[RigControl], responses: bool, measured: list[_Measured]
) -> Generator[tuple[RigControl, float], Points, None]:
    """Ask for each pose that is needed, a control and its excursion, and add what was found of each to `measured`."""
    bends = _bends(face.objects) if responses else lambda _control: False
    for control in controls:
        inquiry = _inquire(face, control, bends)
        excursion = next(inquiry)
        while True:
            points = yield control, excursion
            try:
                excursion = inquiry.send(points)
            except StopIteration as end:
                measured.append(end.value)
                break


def _answered(
    questions: Generator[tuple[RigControl, float], Points, None], points: Points
) -> tuple[RigControl, float] | None:
    """Send the answer to the present question; return the next one, None when all are answered."""
    try:
        return questions.send(points)
    except StopIteration:
        return None


def _inquire(face: Face, control: RigControl, bends: Callable[[RigControl], bool]) -> Inquiry[_Measured]:
    """Find out what one control does."""
    step = control.excursion
    points = yield step
    with np.errstate(over="ignore"):
        travel = ((points - face.points) / step).astype(np.float32)
        displacement = ((face.projection.project(points)[0] - face.positions) / step).astype(np.float32)
    if not (np.isfinite(travel).all() and np.isfinite(displacement).all()):
        raise InputError(
            f"{control.control.name!r} sends vertices of the face to infinity; mend it, or mute it if it is a shape "
            "key."
        )
    pulled = False
    if KINDS[control.control.kind].guesses_range:
        control, pulled = within_sockets(control, face.points, travel, face.eyes)
        control = within_reach(control, travel[face.visible], face.points[face.visible])
    found = control.control
    if bends(control):
        found = replace(found, response=(yield from _response(control, displacement[face.visible], face)))
    return _Measured(found, displacement, travel, pulled)


def _stacked(rows: Sequence[NDArray[np.float32]], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return the rows of all controls as one array [K, V, D], also of none."""
    return np.array(rows, np.float32).reshape(len(rows), *shape)


def within_reach(control: RigControl, travel: NDArray[np.floating], points: Points) -> RigControl:
    """Return a control with its range narrowed so that nothing seen goes further than a face's parts do.

    A bone turns what is far from its joint as surely as what is near: 45 degrees may be a wrinkle or the whole chin.
    `travel` [V, 3] is what it does to the visible points [V, 3] per unit.
    """
    furthest = float(np.linalg.norm(travel, axis=1).max(initial=0.0))
    if not furthest > 0:
        return control
    reach = FURTHEST * float(np.ptp(points, axis=0).max()) / furthest
    own = control.control
    return replace(
        control, control=replace(own, low=max(own.low, own.rest - reach), high=min(own.high, own.rest + reach))
    )


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
    control: RigControl, column: NDArray[np.floating], face: Face
) -> Inquiry[tuple[tuple[float, float], ...]]:
    """Return how much of its `column` [V, 2] a control shows at other excursions, nothing if that is in proportion.

    A control is followed from rest as far as it goes on moving the same way.
    """

    def motion(points: Points) -> Points:
        return (face.projection.project(points)[0] - face.positions)[face.visible]

    step, most = control.excursion, float(np.abs(column).max(initial=0.0))
    if most * abs(step) < LEAST_MOTION:
        return ()
    half = motion((yield step / 2)) / (step / 2)
    if np.abs(half - column).max() <= BENT * most:
        return ()
    energy = float((column.astype(np.float64) ** 2).sum())
    found = [(0.0, 0.0)]
    for end in (control.control.low - control.control.rest, control.control.high - control.control.rest):
        amount = 0.0
        for excursion in np.linspace(0.0, end, RESPONSE + 1)[1:]:
            shown = float((motion((yield float(excursion))) * column).sum()) / energy
            if (shown - amount) * end > 0:  # a dead zone is passed over, a way back is not gone
                found.append((float(excursion), shown))
                amount = shown
    return tuple(sorted(found)) if len(found) > 1 else ()
