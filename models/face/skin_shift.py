# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the face mesh says that skin has gone: coarsely, but as far as a head turns and a large expression goes."""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .masks import Part
from .pose import shape_change

Landmarks = NDArray[np.floating[Any]]
Shift = NDArray[np.float32]  # [H, W, 2] px, x and y

# Of the face's width: how much a head's own shape may seem to change when it turns and pulls faces (0.004 to 0.019 on
# a clip of a woman who cries, laughs and turns by 15 degrees).
_SAME_HEAD = 0.02
_SPREAD = 0.06  # of the face's width: standard deviation over which landmarks are averaged
_COARSER = 4  # px, the grid on which they are
_FEW = 16e-4  # landmarks a place of that grid, averaged; with fewer, the mesh says nothing


def skin_shift(points: Landmarks, reference: Landmarks, width: float, shape: tuple[int, int]) -> Shift | None:
    """Return how far what lies at each place of the reference has moved, [H, W, 2] px; 0 away from the face.

    None where the mesh is not to be believed: its rigid parts changed their shape, as on another head or a covered one.

    points, reference: [478, 3] px of pictures of `shape` (H, W), in which the face is `width` px wide.

    >>> head = np.random.default_rng(0).uniform(10, 50, (478, 3))
    >>> moved = skin_shift(head + [2, 0, 0], head, 40.0, (64, 64))
    >>> moved[32, 32].round(2).tolist(), skin_shift(head + 8 * np.sin(head), head, 40.0, (64, 64)) is None
    ([2.0, 0.0], True)
    """
    if shape_change(points, reference) > _SAME_HEAD * width:
        return None
    there = np.floor((reference[:, :2] + 0.5) / _COARSER).astype(np.intp)
    grid = tuple(-(-side // _COARSER) for side in shape)
    inside = ((there >= 0) & (there < grid[::-1])).all(1)
    columns, rows = there[inside].T
    shift = (points - reference)[inside, :2]
    sums = np.zeros((*grid, 3), np.float32)
    np.add.at(sums, (rows, columns), np.column_stack([shift, np.ones(len(shift))]).astype(np.float32))
    sums = cv2.GaussianBlur(sums, (0, 0), _SPREAD * width / _COARSER, borderType=cv2.BORDER_CONSTANT)
    count = sums[..., 2:]
    coarse = np.where(count > _FEW, sums[..., :2] / np.maximum(count, _FEW), np.float32(0))
    return np.asarray(cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_LINEAR))


def resized(landmarks: Landmarks, scale: float) -> Landmarks:
    """Return landmarks [478, 3] as px of the picture made so many times as large, depth as well.

    >>> resized(np.array([[-0.5, 0.5, 1.5]]), 0.5).tolist()
    [[-0.5, 0.0, 0.5]]
    """
    return np.asarray(landmarks * scale + 0.5 * scale - 0.5)


def brought_back(image: NDArray[np.float32], shift: Shift, part: Part) -> NDArray[np.float32]:
    """Return a part of a picture [C, H, W] with what has moved by a `shift` where it was, [C, h, w]."""
    places = _grid(shift.shape[:2])[part] + shift[part]
    return np.stack([cv2.remap(p, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for p in image])


@cache
def _grid(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the places of a picture of `shape` (H, W), [H, W, 2] px."""
    return np.dstack(np.meshgrid(*(np.arange(side, dtype=np.float32) for side in shape[::-1])))
