# SPDX-License-Identifier: GPL-3.0-or-later
"""Similarities of the plane: turn, uniform scale, shift."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Points: TypeAlias = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Similarity:
    """The map (x, y) -> (a x - b y + tx, b x + a y + ty).

    A third coordinate (depth) is only scaled, so that a landmark mesh keeps its proportions.
    """

    a: float = 1.0
    b: float = 0.0
    tx: float = 0.0
    ty: float = 0.0

    @classmethod
    def fit(cls, source: Points, target: Points) -> Similarity:
        """Return the least-squares map of `source` onto `target` ([K, 2] each), K >= 2 points that don't coincide.

        The problem is linear in the four parameters, so that its solution has a closed form.

        >>> points = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> turned = Similarity(0.0, 2.0, 5.0, 0.0)  # by 90 degrees, twice as large, shifted
        >>> fit = Similarity.fit(points, turned(points))
        >>> [round(value, 9) + 0.0 for value in (fit.a, fit.b, fit.tx, fit.ty)]
        [0.0, 2.0, 5.0, 0.0]
        """
        mean = np.full(len(source), 1 / len(source))
        source_mean, target_mean = mean @ source, mean @ target
        p, q = source - source_mean, target - target_mean
        spread = mean @ (p**2).sum(1)
        a = mean @ (p * q).sum(1) / spread
        b = mean @ (p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]) / spread
        x, y = source_mean
        return cls(float(a), float(b), float(target_mean[0] - a * x + b * y), float(target_mean[1] - b * x - a * y))

    @property
    def scale(self) -> float:
        """How many times longer things become."""
        return math.hypot(self.a, self.b)

    def __call__(self, points: Points) -> Points:
        """Map [..., 2] or [..., 3] points."""
        x, y = points[..., 0], points[..., 1]
        mapped: list[Points] = [self.a * x - self.b * y + self.tx, self.b * x + self.a * y + self.ty]
        if points.shape[-1] == 3:
            mapped.append(self.scale * points[..., 2])
        return np.stack(mapped, axis=-1)

    def __matmul__(self, first: Similarity) -> Similarity:
        """Return the map that applies `first`, then this one."""
        tx, ty = self.a * first.tx - self.b * first.ty + self.tx, self.b * first.tx + self.a * first.ty + self.ty
        return Similarity(self.a * first.a - self.b * first.b, self.b * first.a + self.a * first.b, tx, ty)

    def inverse(self) -> Similarity:
        """Return the map back."""
        square = self.a**2 + self.b**2
        a, b = self.a / square, -self.b / square
        return Similarity(a, b, -(a * self.tx - b * self.ty), -(b * self.tx + a * self.ty))
