# SPDX-License-Identifier: GPL-3.0-or-later
"""Every control that may move a face: found on the rig, and chosen, by what it does (`.judgement`) or by a person."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import bpy
import numpy as np

from ...backend_bridge.files.errors import InputError
from ...backend_bridge.rig.action_units import Side, recognise
from ...backend_bridge.rig.basis import Control
from ...backend_bridge.rig.part_units import in_words
from .appraisal import Appraisal
from .controls import RigControl
from .face_rig import FaceRig
from .kinds import KINDS
from .kinds.control_kind import ControlKind
from .projection import Projection

WHOLE_SET = 0.5  # share of the face's area that moves at all


@dataclass(frozen=True)
class ControlChoice:
    """Which controls are used, by name.

    used: those that are measured and handed to the solver, None for what `default_controls` finds. locked: those of
    them that keep their present value. mirrored: pairs (left, right) that move alike.
    """

    used: tuple[str, ...] | None = None
    locked: tuple[str, ...] = ()
    mirrored: tuple[tuple[str, str], ...] = ()


def default_controls(meshes: Sequence[bpy.types.Object]) -> tuple[list[RigControl], dict[str, str]]:
    """Return the controls that are used as long as nobody has chosen, and why others can't be used, by name."""
    return _found([kind for kind in KINDS.values() if kind.made_for_the_face], FaceRig(tuple(meshes)))


def search_controls(
    meshes: Sequence[bpy.types.Object], projection: Projection | None = None
) -> tuple[list[RigControl], dict[str, str]]:
    """Return every control that may move a face, with unique names, and why others can't be used, by name.

    With a `projection`, only what lies in the picture where a kind can tell: the rest moves something else.
    """
    return _found(KINDS.values(), FaceRig.around(meshes, projection))


def _found(kinds: Iterable[ControlKind], rig: FaceRig) -> tuple[list[RigControl], dict[str, str]]:
    """Return the controls of these kinds, with unique names, and why others can't be used, by name."""
    found: list[RigControl] = []
    excluded: dict[str, str] = {}
    for kind in kinds:
        controls, reasons = kind.find(rig)
        _add(found, controls)
        excluded |= reasons
    return found, excluded


def chosen_controls(
    meshes: Sequence[bpy.types.Object], choice: ControlChoice
) -> tuple[list[RigControl], dict[str, str]]:
    """Return the controls of a choice, and why others can't be used, by name.

    Raises `InputError` when a chosen one is no longer there.
    """
    if choice.used is None:
        return default_controls(meshes)
    found, excluded = search_controls(meshes)
    there = {control.control.name: control for control in found}
    for name in choice.used:
        if name not in there:
            reason = excluded.get(name, "is no longer on the rig")
            raise InputError(f"The control {name!r} {reason}; measure the controls again, or leave it out.")
    return [there[name] for name in choice.used], {}


def solved_by_default(controls: Iterable[Control], appraisals: dict[str, Appraisal]) -> set[str]:
    """Return the names of the controls to solve as long as nobody chooses; see `ControlKind.chosen`.

    Bones are left alone where shape keys or properties move the face: they are what those, or their drivers, act
    through. One property that moves the eyes is no such set of controls, so these have to move `WHOLE_SET` of what all
    of them together move.
    """
    seen = [control for control in controls if control.name in appraisals and not appraisals[control.name].note]
    turning = {(each.owner, each.part) for each in seen if appraisals[each.name].turns}
    first: set[str] = set()
    last: set[str] = set()
    for kind in KINDS.values():
        names = kind.chosen([(each, appraisals[each.name].pixels) for each in seen if each.kind == kind.name], turning)
        (last if kind.last_resort else first).update(names)
    area, whole = (_area(appraisals[name] for name in names) for names in (first, first | last))
    return first if area > 0 and area >= WHOLE_SET * whole else first | last


def partners(controls: Iterable[Control]) -> dict[str, str]:
    """Return, by name, the control of the other side that moves alike, for each that has one."""
    controls = list(controls)
    places: dict[tuple[str, str, str, str], list[Control]] = {}
    for control in controls:
        places.setdefault((control.kind, control.part, control.motion, control.axis), []).append(control)
    found = {}
    for control in controls:
        identity = KINDS[control.kind].counterpart(control)
        others = places.get((control.kind, *identity), []) if identity is not None else []
        if others:
            # Of two rigs with the same names, the partner is on the same one.
            found[control.name] = min(others, key=lambda other: other.owner != control.owner).name
    return found


def is_left(control: Control) -> bool:
    """Whether a control is on the character's left side, as its name has it."""
    if (meaning := recognise(control.name)) is not None and meaning.side is not Side.BOTH:
        return meaning.side is Side.LEFT
    other = bpy.utils.flip_name(control.part)
    mine = next((a for a, b in zip(control.part, other, strict=False) if a != b), "")
    return mine in {"L", "l"}


def describe(name: str) -> str:
    """Return what a control's name says about action units, for people: "AU12 lip corner puller, left"."""
    return in_words((recognise(name), None))


def _area(appraisals: Iterable[Appraisal]) -> float:
    """Return the area of the face, m², that controls move together."""
    grounds = [each.ground for each in appraisals]
    return float(np.max(grounds, axis=0).sum()) if grounds else 0.0


def _add(found: list[RigControl], more: Iterable[RigControl]) -> None:
    """Add controls, those whose name is taken under their owner's and theirs, if need be with a number."""
    taken = {control.control.name for control in found}
    for control in more:
        name, owner = control.control.name, control.control.owner
        names = (name, f"{owner}: {name}", *(f"{owner}: {name} {number}" for number in range(2, len(taken) + 2)))
        free = next(candidate for candidate in names if candidate not in taken)
        found.append(control if free == name else control.renamed(free))
        taken.add(free)
