# SPDX-License-Identifier: GPL-3.0-or-later
"""What covers the mouth in the reference itself: a mask, a microphone, a scarf, a hand, there from the start.

Nothing changes there that could be compared, and what moves is not the face. Lips are nearly as light as the skin and
at least as red; where most of them aren't, they aren't seen. Nor are they where they have the colour of what is around
them: a pale mouth is still 0.03 redder or bluer than its skin, in the logarithm, and one in a beard lighter.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .masks import Mask, grown, hull_of
from .mesh import INNER_LIPS, LIPS, NOSE_BASE, UPPER_LIP

Image = NDArray[np.float32]

_DARK = 0.4  # of the skin's brightness; lips have 0.55 and more
_LESS_RED = 0.18  # of the logarithm of red to green, below the skin's; lips have 0.05 below it and more
_MOST = 0.5  # share of the lips that may be neither
_AROUND = 0.07  # of the face's width: what lips are compared with
_APART = 0.06  # of the skin's own redness: cloth and hands are up to 0.02 apart from themselves, lips 0.2 and more
_APART_MOST = 0.025
_SMOOTHED = 1.0  # px; a sensor's noise differs between the channels
_LIGHTER = 0.15  # of the logarithm of brightness; folds have 0.1
_OTHER = (0.1, 0.15, 0.5)  # redness, blueness, brightness: what is farther from the skin's is another thing
_COLOURED = 0.06  # of redness, between eyes, brows and skin
_FLOOR = 0.02  # of white, which keeps ratios of black from meaning anything


def mouth_cover(picture: Image, landmarks: NDArray[np.floating[Any]], face: Mask) -> Mask:
    """Return where the mouth of a picture [H, W, 3] is covered, [H, W], nowhere if its lips are seen.

    landmarks: [478, 2] px. face: [H, W].
    """
    whole, inner = (hull_of(landmarks[list(group), :2], face.shape) for group in (LIPS, INNER_LIPS))
    lips = whole & ~inner
    brightness = picture.mean(2)
    redness = _looks(picture)[0]
    skin = face & _above(landmarks, face.shape)
    if not lips.any() or not skin.any():
        return np.zeros_like(face)
    lower = face & ~skin
    no_lips = (brightness < _DARK * np.median(brightness[skin])) | (redness < np.median(redness[skin]) - _LESS_RED)
    if no_lips[lips].mean() >= _MOST:
        return _joined(lower & no_lips, lips)
    beside = max(1, round(_AROUND * float(np.ptp(landmarks[:, 0]))))
    around = grown(whole, beside) & ~grown(whole, 1) & face
    if not around.any() or not _coloured(redness, skin):
        return np.zeros_like(face)
    looks = _looks(cv2.GaussianBlur(picture, (0, 0), _SMOOTHED))
    middle = np.median(looks[:, around], axis=1)
    apart = np.abs(np.median(looks[:, lips], axis=1) - middle)
    if np.hypot(apart[0], apart[1]) > min(_APART * np.median(redness[skin]), _APART_MOST) or apart[2] > _LIGHTER:
        return np.zeros_like(face)
    of_skin = np.abs(looks - np.median(looks[:, skin], axis=1)[:, None, None])
    cloth = (of_skin > np.array(_OTHER)[:, None, None]).any(0) & face
    return lower | (_joined(cloth, lips) if cloth[around].mean() > _MOST else np.zeros_like(face))


def _looks(picture: Image) -> NDArray[np.floating[Any]]:
    """Return the logarithms of red to green, of blue to green and of brightness, [3, H, W]."""
    red, green, blue = np.moveaxis(picture + _FLOOR, -1, 0)
    return np.stack([np.log(red / green), np.log(blue / green), np.log(picture.mean(2) + _FLOOR)])


def _coloured(redness: Image, skin: Mask) -> bool:
    """Return whether colours differ in the upper face: neither in black and white nor under light of one colour."""
    low, high = np.quantile(redness[skin], [0.05, 0.95])
    return bool(high - low > _COLOURED)


def _joined(mask: Mask, lips: Mask) -> Mask:
    """Return the parts of a mask that touch the lips, small gaps closed."""
    closed = cv2.morphologyEx(np.uint8(mask), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    _, labels = cv2.connectedComponents(closed)
    touching = np.unique(labels[lips & (closed > 0)])
    return np.asarray(np.isin(labels, touching[touching > 0]))


def _above(landmarks: NDArray[np.floating[Any]], shape: tuple[int, ...]) -> Mask:
    """Return the side of the lips' upper edge that the nose is on, half-way to it and beyond."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    lip, nose = landmarks[UPPER_LIP, :2].astype(np.float64), landmarks[NOSE_BASE, :2].astype(np.float64)
    up = nose - lip
    return np.asarray((x - lip[0]) * up[0] + (y - lip[1]) * up[1] > 0.5 * float(up @ up))
