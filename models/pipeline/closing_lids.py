# SPDX-License-Identifier: GPL-3.0-or-later
"""Lids of the rig that close as the driver's do: a blink is read from the mesh, and not from motion equations."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from ...backend_bridge.rig.action_units import BLINK, UPPER_LID_RAISER, Meaning, Side, recognise
from ...backend_bridge.rig.basis import Control
from ..face.lids import mesh_weight

LEAST_SHOWN = 0.5  # of what a control moves; with less in sight, its value is hardly determined
_MOVES = 0.2  # of the farthest that a control moves anything, from which on it is said to move a place
_SAME_LID = 0.5  # of a control's motion, in energy, that lies where another of the same object closes the lid already


def with_lids(
    values: NDArray[np.float64],
    gains: NDArray[np.float64],
    controls: Sequence[Control],
    closed: NDArray[np.float64],
    locked: Collection[int],
    shown: NDArray[np.float64],
    columns: NDArray[np.floating],
) -> NDArray[np.float64]:
    """Return control values [N, K] with lids that close as the mesh has them where its weight is high (`mesh_weight`).

    A control that is known for a blink closes the eye over its range; one that opens it wide is at rest meanwhile, and
    so is one that closes what another closes already. What isn't shown of an eye the mesh guesses: there values stay.
    gains: [K], see `RigReader`. closed: [N, 2], of the right and the left eye (`face.closures`). shown: [N, K], how
    much of what each control moves is seen. columns: [K, S, 2], what each moves, px per unit.
    """
    result = values.copy()
    closing = lids_that_close(controls, locked, columns)
    for index, control in enumerate(controls):
        meaning = recognise(control.name)
        if meaning is None or index in locked or not meaning.is_of({BLINK, UPPER_LID_RAISER}):
            continue
        eye = closure_of(closed, meaning)
        weight = mesh_weight(eye) * (shown[:, index] >= LEAST_SHOWN)
        amount = np.clip(eye * gains[index], 0, 1) * (control.amounts[1] if index in closing else 0.0)
        result[:, index] = (1 - weight) * values[:, index] + weight * (control.rest + amount)
    return result


def closure_of(closed: NDArray[np.float64], meaning: Meaning | None) -> NDArray[np.float64]:
    """Return how far the eye has closed that a control of this meaning is of, [N]; of both, or of none, the mean."""
    known, side = np.nan_to_num(closed), meaning.side if meaning else Side.BOTH
    return {Side.RIGHT: known[:, 0], Side.LEFT: known[:, 1]}.get(side, known.mean(1))


def lids_that_close(
    controls: Sequence[Control], locked: Collection[int], columns: NDArray[np.floating]
) -> frozenset[int]:
    """Return the controls that close lids, one for each lid of each object: many rigs have a key for both and for each.

    Those of one side go first, as eyes may close one after the other, and then those that come first on the rig.
    columns: [K, S, 2], what each moves.
    """
    sides = {}
    for index, control in enumerate(controls):
        meaning = recognise(control.name)
        if meaning is not None and meaning.is_of({BLINK}) and index not in locked:
            sides[index] = meaning.side
    energy = (columns**2).sum(2)
    chosen: list[int] = []
    for index in sorted(sides, key=lambda each: (sides[each] is Side.BOTH, each)):
        covered = np.zeros(energy.shape[1], np.bool_)
        for other in chosen:
            if controls[other].owner == controls[index].owner:
                covered |= energy[other] > _MOVES**2 * energy[other].max(initial=0.0)
        if energy[index, covered].sum() <= _SAME_LID * energy[index].sum():
            chosen.append(index)
    return frozenset(chosen)
