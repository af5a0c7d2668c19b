# SPDX-License-Identifier: GPL-3.0-or-later
"""Which action units a control shows that is called after a part of the face, by where it moves that part.

Bones are called after places ("brow.T.L.001", "lips.R", "jaw"), not after what they do, and do one thing upwards and
another downwards. So their units are found by their effect in the picture, and are always approximate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .action_units import UNIT_NAMES, ActionUnit, Meaning, Side, recognise
from .basis import Control, RigBasis
from .face_parts import FacePart, part_of, side_of

STEEP = 1.0  # a motion that is this much higher than wide goes up or down
LEAST = 1e-3  # px per unit
# What a control means when it goes up from rest, and when it goes down.
Reading: TypeAlias = tuple[Meaning | None, Meaning | None]


@dataclass(frozen=True)
class _Effect:
    """Where a control acts in the picture, px, and which way it moves that per unit; y downwards."""

    place: NDArray[np.float64]
    way: NDArray[np.float64]


def readings(basis: RigBasis) -> list[Reading]:
    """Return what each control means: by its name where that is known, else by its part and what it does to that.

    A control that is known by its name has no meaning below rest.
    """
    by_name = [recognise(control.name) for control in basis.controls]
    if all(known is not None for known in by_name):
        return [(known, None) for known in by_name]
    effects = [_effect(basis, index) for index in range(len(basis.controls))]
    places: dict[tuple[FacePart, Side], list[NDArray[np.float64]]] = {}
    for control, effect in zip(basis.controls, effects, strict=True):
        part = part_of(control.part)
        if part is not None and effect is not None:
            for side in {side_of(control.part), Side.BOTH}:
                places.setdefault((part, side), []).append(effect.place)
    everywhere = [place for (_, side), each in places.items() if side is Side.BOTH for place in each]
    middle = float(np.mean(everywhere, axis=0)[0]) if everywhere else 0.0
    found: list[Reading] = []
    for control, known, effect in zip(basis.controls, by_name, effects, strict=True):
        if known is not None or effect is None or not control.motion:
            found.append((known, None))
        else:
            found.append(_by_motion(control, effect, places, middle))
    return found


def in_words(reading: Reading) -> str:
    """Return a reading for people: "AU5 (about) upper lid raiser / AU43 (about) eyes closed, left"."""
    meanings = [meaning for meaning in reading if meaning is not None and meaning.units]
    ways = [" + ".join(map(_named, meaning.units)) for meaning in meanings]
    side = "" if not meanings or meanings[0].side is Side.BOTH else f", {meanings[0].side.value}"
    return " / ".join(ways) + side


def _named(unit: ActionUnit) -> str:
    return f"AU{unit.number} (about) {unit.name}" if unit.approximate else f"AU{unit.number} {unit.name}"


def _effect(basis: RigBasis, index: int) -> _Effect | None:
    column = np.where(basis.visible[:, None], basis.displacement[index], 0.0).astype(np.float64)
    far = np.linalg.norm(column, axis=1)
    if not far.max(initial=0.0) > LEAST:
        return None
    weights = far / far.sum()
    return _Effect(weights @ basis.positions.astype(np.float64), weights @ column)


def _by_motion(
    control: Control,
    effect: _Effect,
    places: dict[tuple[FacePart, Side], list[NDArray[np.float64]]],
    middle: float,
) -> Reading:
    part, side = part_of(control.part), side_of(control.part)
    if part is None or part is FacePart.OTHER:
        return None, None
    of_part = np.array(places[part, side])
    # Nearer to the middle of the face than the others of its part are on average.
    inner = bool(abs(effect.place[0] - middle) <= np.abs(np.array(places[part, Side.BOTH])[:, 0] - middle).mean())
    upper = bool(effect.place[1] <= of_part[:, 1].mean())
    upwards, downwards = (_units(part, up, inner, upper, len(of_part)) for up in (True, False))
    across, along = effect.way
    if abs(along) < STEEP * abs(across):
        return None, None
    first, second = (upwards, downwards) if along < 0 else (downwards, upwards)
    return _meaning(first, side), _meaning(second, side)


def _units(part: FacePart, up: bool, inner: bool, upper: bool, count: int) -> tuple[int, ...]:
    """Return the units of a part's motion. `count` controls share the part; one alone moves all of it."""
    match part, up:
        case FacePart.BROW, True:
            return (1, 2) if count < 3 else (1,) if inner else (2,)
        case FacePart.BROW, False:
            return (4,)
        case FacePart.LID, _:
            opening = up is upper or (count < 3 and up)
            return ((5,) if opening else (43,)) if upper or count < 3 else (() if opening else (7,))
        case FacePart.NOSE, True:
            return (9,)
        case FacePart.CHEEK, True:
            return (6,)
        case FacePart.MOUTH, _:
            if not inner:
                return (12,) if up else (15,)
            return ((10,) if up else ()) if upper else (() if up else (16,))
        case FacePart.JAW, _:
            return (17,) if up else (26,)
        case FacePart.EYE, _:
            return (63,) if up else (64,)
        case _:
            return ()


def _meaning(numbers: Sequence[int], side: Side) -> Meaning | None:
    units = tuple(ActionUnit(number, UNIT_NAMES[number], approximate=True) for number in numbers)
    return Meaning("", side, units) if units else None
