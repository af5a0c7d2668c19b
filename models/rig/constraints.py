# SPDX-License-Identifier: GPL-3.0-or-later
"""Constraints on controls: some are locked at rest, some move in pairs, some have a part of their range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...backend_bridge.files.errors import InputError
from ...backend_bridge.rig.basis import Control, RigBasis, amount_ranges


@dataclass(frozen=True)
class Constraints:
    """Indices of locked controls, which stay at rest, and of pairs of controls that get the same excursion.

    shares: in [0, 1], of their range, how much some controls may use, by index.
    """

    locked: frozenset[int] = frozenset()
    pairs: tuple[tuple[int, int], ...] = ()
    shares: Mapping[int, float] = field(default_factory=dict)

    @classmethod
    def named(cls, basis: RigBasis, locked: Sequence[str], mirrored: Sequence[tuple[str, str]]) -> Constraints:
        """Return the constraints on controls of these names. Raises `InputError` for one that the rig has not."""
        index = {control.name: number for number, control in enumerate(basis.controls)}
        for name in (*locked, *(name for pair in mirrored for name in pair)):
            if name not in index:
                raise InputError(
                    f"There is no control {name!r} in the captured rig, but it is locked or mirrored; capture the "
                    "avatar again, or take the control out of the list."
                )
        return cls(frozenset(index[name] for name in locked), tuple((index[a], index[b]) for a, b in mirrored))

    def ranges(self, controls: Sequence[Control]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the least and the greatest amount of each control, [K] each (`basis.amount_ranges`)."""
        low, high = amount_ranges(controls)
        share = np.array([self.shares.get(index, 1.0) for index in range(len(controls))])
        return low * share, high * share

    def spread(self, controls: int) -> NDArray[np.float64]:
        """Return [Q, K], what each of Q free numbers moves: one control, or both of a pair.

        >>> Constraints(frozenset({1}), ((0, 2),)).spread(4)
        array([[1., 0., 1., 0.],
               [0., 0., 0., 1.]])
        """
        partner = dict(self.pairs)
        second = set(partner.values())
        rows = []
        for control in range(controls):
            if control in self.locked or control in second:
                continue
            row = np.zeros(controls)
            row[control] = 1.0
            if control in partner:
                row[partner[control]] = 1.0
            rows.append(row)
        return np.array(rows).reshape(-1, controls)
