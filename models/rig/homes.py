# SPDX-License-Identifier: GPL-3.0-or-later
"""Where on the face an action unit acts: a motion that leaves that place still is of another unit.

A key of another family moves more of the face, or less, than the unit that it is called after: a wrinkled nose draws
the brows down, a raised brow takes the lid along. So it may explain a lowered brow, or a raised lid, better than the
key that is meant for it, though the driver's nose, or brow, hardly moves. What a unit is, is defined by the muscle
(Ekman & Friesen 1978): the skin moves most where that is attached.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...backend_bridge.rig.action_units import recognise
from .measurement import Array

# The regions of which one moves at least where a unit is there.
_HOMES: dict[int, tuple[str, ...]] = (
    dict.fromkeys((1, 2, 4), ("brows",))
    | dict.fromkeys((5, 7, 43, 44, 45, 46), ("lids",))
    | {6: ("cheeks", "lids"), 9: ("nose",), 10: ("mouth", "nose", "cheeks"), 17: ("chin", "mouth")}
    | dict.fromkeys((12, 13, 14, 15, 20), ("mouth", "cheeks"))
)
_PEAK_SHARE = 0.05  # of a region's places, those that move farthest: their root mean square is the region's peak
_MOVED = 0.25  # of the farthest that a control moves a region, from which on it moves another one
_FEWEST_PLACES = 3  # of a region; fewer tell nothing


@dataclass(frozen=True)
class Homes:
    """Of Q controls, or pairs of them, and R regions of the face: where their units act, and what they move.

    places: the sites in each region. home, moved: [Q, R]. A control of no unit that is known has no home.
    """

    places: tuple[NDArray[np.intp], ...]
    home: NDArray[np.bool_]
    moved: NDArray[np.bool_]

    @classmethod
    def of(
        cls, names: Sequence[str], spread: Array, columns: Array, regions: Mapping[str, NDArray[np.floating]]
    ) -> Homes:
        """Return those of the controls `spread` [Q, K] moves, K of these names, with their `columns` [Q, 2, S] px.

        regions: membership [S] of the sites.
        """
        within = {name: np.flatnonzero(member > 0.5) for name, member in regions.items()}
        within = {name: places for name, places in within.items() if len(places) >= _FEWEST_PLACES}
        homes = [_homes_of(names[index] for index in np.flatnonzero(row)) for row in spread]
        reach = _peaks(columns, tuple(within.values()))
        return cls(
            tuple(within.values()),
            np.array([[name in home for name in within] for home in homes], bool).reshape(len(spread), len(within)),
            reach > _MOVED * reach.max(1, initial=0.0)[:, None],
        )

    def shares(self, motion: Array) -> Array:
        """Return [N, Q], how far the home of each control moves, of the farthest that anything does that it moves.

        motion: [N, 2, S] px, the face's own. 1 for a control without a home in sight.
        """
        peaks = _peaks(motion, self.places)
        if not peaks.shape[1]:
            return np.ones((len(motion), len(self.home)))
        at_home, anywhere = (
            np.where(which, peaks[:, None], 0.0).max(2) for which in (self.home, self.home | self.moved)
        )
        return np.where(self.home.any(1), at_home / np.maximum(anywhere, 1e-30), 1.0)


def _peaks(motion: Array, regions: Sequence[NDArray[np.intp]]) -> Array:
    """Return [N, R], the root mean square of the farthest motions of each region, px."""
    squared = (motion.astype(np.float64) ** 2).sum(1)
    found = np.zeros((len(motion), len(regions)))
    for number, places in enumerate(regions):
        count = max(1, round(_PEAK_SHARE * len(places)))
        found[:, number] = np.sqrt(np.sort(squared[:, places], axis=1)[:, -count:].mean(1))
    return found


def _homes_of(names: Iterable[str]) -> frozenset[str]:
    meanings = [recognise(name) for name in names]
    units = {unit.number for meaning in meanings if meaning is not None for unit in meaning.units}
    return frozenset(home for unit in units for home in _HOMES.get(unit, ()))
