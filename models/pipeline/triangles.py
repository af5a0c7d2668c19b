# SPDX-License-Identifier: GPL-3.0-or-later
"""A mesh's triangles drawn on a grid, the nearest in front: what each node shows of the vertices' attributes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

AT_ONCE = 1_000_000  # nodes of one vectorised pass, bounds the memory


@dataclass(frozen=True)
class Grid:
    """Nodes over the rectangle [left, right) x [top, bottom) of a picture, `step` px apart (1 or more)."""

    left: int
    top: int
    right: int
    bottom: int
    step: float

    @property
    def width(self) -> int:
        """Nodes in a row."""
        return int((self.right - 1 - self.left) / self.step) + 1

    @property
    def height(self) -> int:
        """Nodes in a column."""
        return int((self.bottom - 1 - self.top) / self.step) + 1


def rasterise(
    positions: NDArray[np.floating],
    depth: NDArray[np.floating],
    triangles: NDArray[np.integer],
    attributes: NDArray[np.floating],
    grid: Grid,
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return the attributes [C, h, w] of what is nearest to the camera at each node, and its depth [h, w].

    Where nothing is they are 0 and infinity.

    Args:
        positions: [V, 2] px. depth: [V]; what isn't before the camera has none above 0. triangles: [T, 3]. attributes:
            [V, C]. They are interpolated in the picture, not in space: triangles are small.

    >>> corners, depth = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]]), np.ones(3)
    >>> x, row = corners[:, :1], Grid(0, 0, 5, 1, 1)
    >>> values, _ = rasterise(corners, depth, np.array([[0, 1, 2]]), x, row)
    >>> values[0, 0]
    array([0., 1., 2., 3., 4.], dtype=float32)
    """
    width, height = grid.width, grid.height
    count = width * height
    nearest = np.full(count, np.inf)
    values = np.zeros((count, attributes.shape[1]), np.float32)
    places = (positions.astype(np.float64) - (grid.left, grid.top)) / grid.step
    corners = places[triangles]
    low = np.maximum(np.ceil(corners.min(axis=1)), 0).astype(np.int64)
    high = np.minimum(np.floor(corners.max(axis=1)), (width - 1, height - 1)).astype(np.int64)
    extent = high - low + 1
    drawn = np.flatnonzero((extent > 0).all(axis=1) & (depth[triangles] > 0).all(axis=1))
    area = extent[drawn].prod(axis=1)
    groups = np.cumsum(area) // AT_ONCE
    for group in np.unique(groups):
        chosen = drawn[groups == group]
        _draw(chosen, corners, low, extent, width, depth, triangles, attributes, nearest, values)
    return np.ascontiguousarray(values.T).reshape(-1, height, width), nearest.reshape(height, width)


def _draw(
    chosen: NDArray[np.intp],
    corners: NDArray[np.float64],
    low: NDArray[np.int64],
    extent: NDArray[np.int64],
    width: int,
    depth: NDArray[np.floating],
    triangles: NDArray[np.integer],
    attributes: NDArray[np.floating],
    nearest: NDArray[np.float64],
    values: NDArray[np.float32],
) -> None:
    """Draw some triangles into `nearest` [N] and `values` [N, C]."""
    area = extent[chosen].prod(axis=1)
    of = np.repeat(chosen, area)
    number = np.arange(len(of)) - np.repeat(np.cumsum(area) - area, area)
    x = low[of, 0] + number % extent[of, 0]
    y = low[of, 1] + number // extent[of, 0]
    a, b, c = (corners[of, corner] for corner in range(3))
    u, v, w = (_twice_area(p, q, x, y) for p, q in ((b, c), (c, a), (a, b)))
    whole = u + v + w
    # A hair more than the triangle, so that no node between two of them is left out.
    slack = -1e-9 * np.abs(whole)
    sign = np.sign(whole)
    inside = (np.abs(whole) > 1e-12) & (u * sign >= slack) & (v * sign >= slack) & (w * sign >= slack)
    of, node = of[inside], (y * width + x)[inside]
    share = np.stack([u, v, w], axis=1)[inside] / whole[inside, None]
    far = (share * depth[triangles[of]]).sum(axis=1)
    np.minimum.at(nearest, node, far)
    front = far <= nearest[node]
    of, node, share = of[front], node[front], share[front]
    values[node] = np.einsum("nk,nkc->nc", share, attributes[triangles[of]])


def _twice_area(
    p: NDArray[np.float64], q: NDArray[np.float64], x: NDArray[np.int64], y: NDArray[np.int64]
) -> NDArray[np.float64]:
    return np.asarray((q[:, 0] - p[:, 0]) * (y - p[:, 1]) - (q[:, 1] - p[:, 1]) * (x - p[:, 0]))
