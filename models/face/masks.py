# SPDX-License-Identifier: GPL-3.0-or-later
"""Masks of a picture, [H, W] bool: what lies within landmarks, and what is near by."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Mask: TypeAlias = NDArray[np.bool_]
Part: TypeAlias = tuple[slice, slice]  # rows and columns of a picture


def hull_of(points: NDArray[np.floating[Any]], shape: tuple[int, ...]) -> Mask:
    """Return the convex hull of points [K, 2] px; shape: (H, W) of the picture."""
    mask = np.zeros(shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, np.rint(cv2.convexHull(points.astype(np.float32))).astype(np.int32), 1)
    return mask > 0


def grown(mask: Mask, by: int) -> Mask:
    """Return a mask with all that is at most so many px away from it."""
    return cv2.dilate(np.uint8(mask), disc(by)) > 0


def part_of(mask: Mask) -> Part:
    """Return the rows and the columns of a picture that hold all of a mask, which has something in it.

    >>> part_of(np.array([[0, 0, 0], [0, 1, 0], [0, 0, 1]]) > 0)
    (slice(1, 3, None), slice(1, 3, None))
    """
    found = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    rows, columns = (slice(int(each[0]), int(each[-1]) + 1) for each in found)
    return rows, columns


@cache
def disc(radius: int) -> NDArray[np.uint8]:
    """Return a disc of 1 in a square of 0, [2 radius + 1, 2 radius + 1]."""
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)), np.uint8)
