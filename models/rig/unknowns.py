# SPDX-License-Identifier: GPL-3.0-or-later
"""What is solved for in place of a rig's controls: those that look alike, or move in pairs, are one unknown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...backend_bridge.rig.basis import RigBasis
from .constraints import Constraints
from .measurement import Array, motion_of


@dataclass(frozen=True)
class Unknowns:
    """What is solved for in place of K controls: Q amounts, of a control, of a pair, or of several that look alike.

    spread: [Q, K], what each moves. columns: [Q, 2, S] px. least, most: [Q] bounds. excursion: [Q], the standard
    deviation assumed before the clip is seen. extent: [Q] px per unit, the farthest that it moves anything.
    """

    spread: Array
    columns: Array
    least: Array
    most: Array
    excursion: Array
    extent: Array


def unknowns_of(basis: RigBasis, effect: Array, constraints: Constraints, solvable: NDArray[np.bool_]) -> Unknowns:
    """Return what is to be solved, of controls and pairs with an effect of [K, 2, S] px.

    Columns that are the same to the last bit, with the same bounds, are one unknown, which its controls share equally:
    they are not identifiable one by one, and the prior is the same for them.
    """
    low, high = constraints.ranges(basis.controls)
    spread = constraints.spread(len(basis.controls))
    spread = spread[(spread * solvable).any(1)]
    columns = motion_of(spread * solvable, effect)
    # Both of a pair keep within their ranges, and the one that can't be seen follows the other.
    least = np.where(spread > 0, low, -np.inf).max(1)
    most = np.where(spread > 0, high, np.inf).min(1)
    groups: dict[bytes, list[int]] = {}
    for index, column in enumerate(columns):
        groups.setdefault(column.tobytes() + np.array([least[index], most[index]]).tobytes(), []).append(index)
    first = [members[0] for members in groups.values()]
    count = np.array([len(members) for members in groups.values()], float)
    return Unknowns(
        spread=np.array([spread[members].mean(0) for members in groups.values()]).reshape(-1, spread.shape[1]),
        columns=columns[first],
        least=least[first] * count,
        most=most[first] * count,
        excursion=0.25 * (most - least)[first],
        extent=(spread * _extents(basis, effect)).max(1, initial=0.0)[first],
    )


def _extents(basis: RigBasis, effect: Array) -> Array:
    """Return [K] px per unit of the picture of `effect` [K, 2, S], the farthest that each control moves any vertex.

    The basis is in px of the avatar's picture; the two scales are compared by what is in sight.
    """
    x, y = np.moveaxis(basis.displacement, 2, 0)
    size = np.sqrt(x * x + y * y)  # a tenth of the time of a norm over two numbers
    here, there = size[:, basis.visible].max(1, initial=0.0), np.sqrt((effect**2).sum(1).max(1, initial=0.0))
    both = (here > 0) & (there > 0)
    scale = float(np.median(there[both] / here[both])) if both.any() else 1.0
    return np.asarray(scale * size.max(1, initial=0.0))
