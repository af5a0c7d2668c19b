# SPDX-License-Identifier: GPL-3.0-or-later
"""Action units from solved controls: which appeared, when, how strongly, on which side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...backend_bridge.rig.action_units import BLINK, ActionUnit, Side, recognise
from ...backend_bridge.rig.basis import Control, ranges
from ...backend_bridge.rig.curves import ControlCurves
from ...backend_bridge.rig.events import UnitEvent
from ...backend_bridge.rig.part_units import Reading
from ..face import find_event

Array: TypeAlias = NDArray[np.float64]

LEAST_PEAK = 0.01  # of a control's range; what is less is a solver's rounding, or noise
# The same where the face as a whole shows no event (a blink may be all there is), and of a curve that is never at rest.
CERTAIN = 0.1
AT_REST = 0.02  # of a curve's peak
LEAST_SHARE = 0.1  # of the strongest unit's peak; below it a unit is as likely cross-talk as a movement
COMPRESSED_SHARE = 0.3  # the same after strong compression, whose cross-talk is larger


def excursions(curves: ControlCurves, controls: Sequence[Control]) -> Array:
    """Return [N, K], each control's distance from rest as a share of its range on that side; negative below rest.

    >>> jaw = Control("jaw", "property", "Rig", "", rest=0.5, low=0.0, high=1.5)
    >>> curves = ControlCurves(("jaw",), np.arange(3.0), np.float32([[0.5], [1.0], [0.25]]), np.zeros(3), np.ones(1))
    >>> excursions(curves, [jaw]).ravel()
    array([ 0. ,  0.5, -0.5])
    """
    rest, low, high = ranges(controls)
    away = curves.values.astype(np.float64) - rest
    room = np.where(away >= 0, high - rest, rest - low)
    return np.where(room > 0, away / np.where(room > 0, room, 1.0), 0.0)


def action_units(
    curves: ControlCurves,
    controls: Sequence[Control],
    readings: Sequence[Reading] | None = None,
    least: float = 0.0,
    share: float = LEAST_SHARE,
) -> list[UnitEvent]:
    """Return the action units that appear with a peak of `least` at least, and never below `LEAST_PEAK`.

    The strongest comes first. readings: what each control means above and below rest (`backend_bridge.rig.part_units`);
    by default it is recognised by its name alone. Controls that stand for no unit are left out, and so are units whose
    curve has no event above its noise, and those with less than a share of the strongest one's peak. In a clip of a few
    frames, what is higher than those peaks is no noise if it rises to one apex and falls from it.
    """
    shares = excursions(curves, controls)
    found: dict[int, _Unit] = {}
    meanings = readings if readings is not None else [(recognise(control.name), None) for control in controls]
    for control, reading, curve in zip(controls, meanings, shares.T, strict=True):
        for meaning, way in zip(reading, (1, -1), strict=True):
            if meaning is None:
                continue
            for unit in meaning.units:
                found.setdefault(unit.number, _Unit(unit)).add(control.name, meaning.side, np.maximum(way * curve, 0.0))
    certain = max(LEAST_PEAK, least)
    moving = [unit for unit in found.values() if unit.curve.max(initial=0.0) > 0]  # noise is in these curves alone
    events = [event for unit in moving if (event := unit.event(curves.seconds, certain, len(moving))) is not None]
    # A blink fills its range, and would hide what the face does besides.
    strongest = max((event.peak for event in events if event.unit != BLINK), default=0.0)
    needed = max(share * strongest, certain)
    return sorted((each for each in events if each.peak >= needed), key=lambda event: -event.peak)


def _half_at_rest(curve: Array) -> bool:
    """Return whether half of a curve [T] is at rest, as noise's hardly ever is."""
    return bool(np.sort(curve)[: max(1, len(curve) // 2)].max() <= AT_REST * curve.max())


class _Unit:
    """The controls of one unit, by side."""

    def __init__(self, unit: ActionUnit) -> None:
        self._unit = unit
        self._controls: list[str] = []
        self._curves: dict[Side, list[Array]] = defaultdict(list)

    def add(self, name: str, side: Side, curve: Array) -> None:
        self._controls.append(name)
        self._curves[side].append(curve)

    @property
    def sides(self) -> tuple[Array, Array]:
        """The largest of its controls' excursions on the left and on the right, [N] each."""
        both = self._curves[Side.BOTH]
        rest = np.zeros_like(next(iter([*both, *self._curves[Side.LEFT], *self._curves[Side.RIGHT]])))
        left, right = (np.max([rest, *self._curves[side], *both], axis=0) for side in (Side.LEFT, Side.RIGHT))
        return left, right

    @property
    def curve(self) -> Array:
        """The larger of both sides, [N]."""
        return np.maximum(*self.sides)

    def event(self, seconds: Array, certain: float, curves: int) -> UnitEvent | None:
        left, right = self.sides
        curve = np.maximum(left, right)
        sure = certain if _half_at_rest(curve) else max(certain, CERTAIN)
        timed = find_event([*seconds], curve, sure, curves)
        if timed is None:
            return None
        apex = int(curve.argmax())
        sided = bool(self._curves[Side.LEFT] and self._curves[Side.RIGHT])
        at_left, at_right = float(left[apex]), float(right[apex])
        return UnitEvent(
            unit=self._unit.number,
            name=self._unit.name,
            controls=tuple(self._controls),
            onset=timed.onset,
            apex=timed.apex,
            offset=timed.offset,
            peak=float(curve[apex]),
            left=at_left if sided else None,
            right=at_right if sided else None,
            asymmetry=(at_left - at_right) / (at_left + at_right) if sided else None,
            approximate=self._unit.approximate,
        )
