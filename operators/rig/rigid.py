# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion in space: how much of it one rigid body would make."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .projection import Points


@dataclass(frozen=True)
class RigidMotion:
    """The rigid motion nearest to what some points did (Kabsch 1976).

    rotation: [3, 3]. before, after: [3], the middle of the points, and where it went. explained: the share of their
    squared motion that it accounts for, in [0, 1].
    """

    rotation: NDArray[np.float64]
    before: Points
    after: Points
    explained: float

    @classmethod
    def of(cls, points: Points, travel: NDArray[np.floating], weights: NDArray[np.float64]) -> RigidMotion:
        """Fit to points [V, 3] that moved by `travel` [V, 3]; weights: [V].

        >>> corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
        >>> quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
        >>> turn = RigidMotion.of(corners, corners @ quarter.T - corners, np.ones(4))
        >>> round(float(np.degrees(turn.angle))), round(turn.explained, 3)
        (90, 1.0)
        """
        total = float(weights.sum())
        if not total > 0:
            return cls(np.eye(3), np.zeros(3), np.zeros(3), 0.0)
        share = weights / total
        before, after = share @ points, share @ (points + travel)
        here, there = points - before, points + travel - after
        left, _, right = np.linalg.svd((here * share[:, None]).T @ there)
        handed = np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right)) or 1.0])
        rotation = (left @ handed @ right).T
        energy = float(share @ (travel**2).sum(axis=1))
        error = float(share @ ((here @ rotation.T - there) ** 2).sum(axis=1))
        return cls(rotation, before, after, 1.0 - min(error / energy, 1.0) if energy > 0 else 0.0)

    def shift(self, point: Points) -> Points:
        """Return how far a point [3] goes with the body."""
        return np.asarray(self.rotation @ (point - self.before) + self.after - point)

    @property
    def angle(self) -> float:
        """How far it turns, in radians."""
        return _angle(self.rotation)

    def angle_seen_from(self, other: RigidMotion) -> float:
        """Return how far it turns, in radians, seen from what makes another motion."""
        return _angle(self.rotation @ other.rotation.T)


def _angle(rotation: NDArray[np.float64]) -> float:
    return float(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1.0, 1.0)))
