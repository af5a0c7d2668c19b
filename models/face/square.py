# SPDX-License-Identifier: GPL-3.0-or-later
"""A square of a picture, upright for the face in it: the crop that a network gets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .mesh import LEFT_EYE_OUTER, RIGHT_EYE_OUTER
from .similarity import Similarity

Beyond = Literal["repeated", "black"]  # what stands where the picture ends: its last pixels, or nothing
_COUNTED = 256  # samples along a side, by which the share of a square beyond the picture is estimated


@dataclass(frozen=True)
class Square:
    """centre: (x, y) px. side: px. angle: rad by which the square is turned, from x towards y (clockwise as seen)."""

    centre: tuple[float, float]
    side: float
    angle: float = 0.0

    @classmethod
    def covering(
        cls, points: NDArray[np.floating[Any]], angle: float = 0.0, scale: float = 1.0, lowered: float = 0.0
    ) -> Square:
        """Return the square around the box of points [P, 2 or 3] px, its sides along the axes turned by `angle`.

        scale: its side over the box's longer one. lowered: how far its centre lies below the box's, in sides.

        >>> Square.covering(np.array([[10, 20], [30, 60]]), scale=1.5, lowered=0.1)
        Square(centre=(20.0, 46.0), side=60.0, angle=0.0)
        """
        level = Similarity(math.cos(angle), -math.sin(angle))
        along = level(np.asarray(points, np.float64)[:, :2])
        low, high = along.min(0), along.max(0)
        side = float((high - low).max()) * scale
        x, y = level.inverse()((low + high) / 2 + np.array([0, lowered * side]))
        return cls((float(x), float(y)), side, angle)

    @property
    def to_unit(self) -> Similarity:
        """The map from px of the picture to the unit square."""
        x, y = self.centre
        turn = Similarity(math.cos(self.angle) / self.side, -math.sin(self.angle) / self.side)
        left, top = turn(np.array([x, y]))
        return Similarity(turn.a, turn.b, 0.5 - float(left), 0.5 - float(top))

    def invented(self, size: tuple[int, int]) -> float:
        """Return the share of the square, in [0, 1], that lies beyond a picture of (width, height) px."""
        axis = (np.arange(_COUNTED) + 0.5) / _COUNTED
        places = self.to_unit.inverse()(np.stack(np.meshgrid(axis, axis), axis=-1))
        inside = (places >= -0.5) & (places <= np.array(size) - 0.5)
        return 1 - float(inside.all(axis=-1).mean())


def roll(landmarks: NDArray[np.floating[Any]]) -> float:
    """Return the angle of the line from the right eye to the left, rad: 0 for a face, [478, 2 or 3] px, held level.

    >>> face = np.zeros((478, 2))
    >>> face[LEFT_EYE_OUTER] = 40, 40
    >>> round(math.degrees(roll(face)))
    45
    """
    x, y = (landmarks[LEFT_EYE_OUTER] - landmarks[RIGHT_EYE_OUTER])[:2]
    return math.atan2(float(y), float(x))
