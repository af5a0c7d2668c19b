# SPDX-License-Identifier: GPL-3.0-or-later
"""What covers the mouth in the reference itself: a mask, a microphone, a scarf, there from the start.

Nothing changes there that could be compared, and what moves is not the face. Lips are nearly as light as the skin and
at least as red; where most of them aren't, they aren't seen. Beards leave the lips free.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .mesh import INNER_LIPS, LIPS, NOSE_BASE, UPPER_LIP

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]

_DARK = 0.4  # of the skin's brightness; lips have 0.55 and more
_LESS_RED = 0.18  # of the logarithm of red to green, below the skin's; lips have 0.05 below it and more
_MOST = 0.5  # share of the lips that may be neither
_FLOOR = 0.02  # of white, which keeps ratios of black from meaning anything


def mouth_cover(picture: Image, landmarks: NDArray[np.floating[Any]], face: Mask) -> Mask:
    """Return where the mouth of a picture [H, W, 3] is covered, [H, W], nowhere if its lips are seen.

    landmarks: [478, 2] px. face: [H, W].
    """
    lips = _hull(landmarks, LIPS, face.shape) & ~_hull(landmarks, INNER_LIPS, face.shape)
    brightness = picture.mean(2)
    redness = np.log((picture[..., 0] + _FLOOR) / (picture[..., 1] + _FLOOR))
    skin = face & _above(landmarks, face.shape)
    if not lips.any() or not skin.any():
        return np.zeros_like(face)
    no_lips = (brightness < _DARK * np.median(brightness[skin])) | (redness < np.median(redness[skin]) - _LESS_RED)
    if no_lips[lips].mean() < _MOST:
        return np.zeros_like(face)
    lower = face & ~skin & no_lips
    closed = cv2.morphologyEx(np.uint8(lower), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    _, labels = cv2.connectedComponents(closed)
    touching = np.unique(labels[lips & (closed > 0)])
    return np.asarray(np.isin(labels, touching[touching > 0]))


def _above(landmarks: NDArray[np.floating[Any]], shape: tuple[int, ...]) -> Mask:
    """Return the side of the lips' upper edge that the nose is on, half-way to it and beyond."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    lip, nose = landmarks[UPPER_LIP, :2].astype(np.float64), landmarks[NOSE_BASE, :2].astype(np.float64)
    up = nose - lip
    return np.asarray((x - lip[0]) * up[0] + (y - lip[1]) * up[1] > 0.5 * float(up @ up))


def _hull(landmarks: NDArray[np.floating[Any]], group: tuple[int, ...], shape: tuple[int, ...]) -> Mask:
    mask = np.zeros(shape[:2], np.uint8)
    hull = cv2.convexHull(landmarks[list(group), :2].astype(np.float32))
    cv2.fillConvexPoly(mask, np.rint(hull).astype(np.int32), 1)
    return mask > 0
