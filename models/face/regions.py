# SPDX-License-Identifier: GPL-3.0-or-later
"""Soft masks of the face from its landmarks."""

from __future__ import annotations

from typing import Any, TypeAlias

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...backend_bridge.rig.easing import smooth_step
from ...backend_bridge.rig.regions import REGIONS
from .mesh import CHIN_TIP, FACE_OVAL, LEFT_EYE, LOWER_LIP, REGION_GROUPS, RIGHT_EYE

_FEATHER = 0.02  # standard deviation of the soft edge, in face widths
_RIM = 0.14  # how far from its edge a face is magnified in full, in face widths
_PAINT_ORDER = ("cheeks", "chin", "nose", "brows", "mouth", "lids")  # where two regions meet, the later one has it
_RIGIDITY = {"brows": 0.5, "mouth": 0.5, "lids": 0.3}  # weight in a rigid fit; the rest of the face has 1
_SUBPIXEL_BITS = 4  # fixed-point coordinates of OpenCV's polygon filling

Size: TypeAlias = tuple[int, int]
Landmarks: TypeAlias = NDArray[np.floating[Any]]


def regions(landmarks: Landmarks, size: Size) -> dict[str, Tensor]:
    """Return a soft mask [1, 1, H, W] float32 in [0, 1] for each name in `backend_bridge.rig.regions.REGIONS`.

    landmarks: [478, 2 or 3] px of the picture, size: its (H, W) px. At every pixel the masks add up to at most 1, so
    that gains of several regions never pile up. The lids include the eyes' opening, which they sweep over.
    """
    labels = np.zeros(size, np.uint8)
    for name in _PAINT_ORDER:
        for group in REGION_GROUPS[name]:
            _fill(labels, _hull(landmarks[list(group), :2]), REGIONS.index(name) + 1)
    return {
        name: _feathered((labels == number).astype(np.float32), landmarks)
        for number, name in enumerate(REGIONS, start=1)
    }


def face_mask(landmarks: Landmarks, size: Size, eyes: bool = True) -> Tensor:
    """Return a soft mask [1, 1, H, W] of the face oval, with or without the eyes' openings."""
    mask = np.zeros(size, np.float32)
    _fill(mask, landmarks[list(FACE_OVAL), :2], 1)
    if not eyes:
        for eye in (RIGHT_EYE, LEFT_EYE):
            _fill(mask, landmarks[list(eye), :2], 0)
    return _feathered(mask, landmarks)


def magnified_part(landmarks: Landmarks, size: Size) -> Tensor:
    """Return a soft mask [1, 1, H, W]: 1 inside the face, falling to 0 towards the hairline, but not towards the chin.

    Hair lies over skin that moves. Magnified up to the edge of the face, the skin's motion would smear the hair.
    """
    oval = np.zeros(size, np.uint8)
    _fill(oval, landmarks[list(FACE_OVAL), :2], 1)
    inwards = cv2.distanceTransform(oval, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) / (_RIM * face_width(landmarks))
    lip, chin = landmarks[LOWER_LIP, 1], landmarks[CHIN_TIP, 1]
    downwards = (np.arange(size[0], dtype=np.float32)[:, None] - lip) / max(float(chin - lip), 1.0)
    away, below = (smooth_step(np.clip(share, 0.0, 1.0)) for share in (inwards, downwards))
    return torch.from_numpy((away + (1 - away) * below * oval).astype(np.float32))[None, None]


def rigid_mask(landmarks: Landmarks, size: Size) -> Tensor:
    """Return a soft mask [1, 1, H, W] in [0, 1] of the expected rigidity of each part of the face: weights of a fit.

    It covers the whole face, because every part of it is at rest in most expressions, and a fit to the forehead alone
    would estimate raised brows as a nod; brows, mouth and lids, which are at rest least often, count less.
    """
    mask = np.zeros(size, np.float32)
    _fill(mask, landmarks[list(FACE_OVAL), :2], 1)
    for name, rigidity in _RIGIDITY.items():
        for group in REGION_GROUPS[name]:
            _fill(mask, _hull(landmarks[list(group), :2]), rigidity)
    return _feathered(mask, landmarks)


def face_width(landmarks: Landmarks) -> float:
    """Return the width of the face oval in px, whatever way the head is turned in the picture."""
    oval = landmarks[list(FACE_OVAL), :2]
    return float(min(cv2.minAreaRect(oval.astype(np.float32))[1]))


def _hull(points: Landmarks) -> Landmarks:
    return cv2.convexHull(points.astype(np.float32))[:, 0]


def _fill(mask: NDArray[Any], polygon: Landmarks, value: float) -> None:
    fixed = np.rint(polygon * 2**_SUBPIXEL_BITS).astype(np.int32)
    cv2.fillPoly(mask, [fixed], float(value), cv2.LINE_8, _SUBPIXEL_BITS)


def _feathered(mask: NDArray[np.float32], landmarks: Landmarks) -> Tensor:
    soft = cv2.GaussianBlur(mask, (0, 0), max(0.5, _FEATHER * face_width(landmarks)), borderType=cv2.BORDER_REPLICATE)
    return torch.from_numpy(soft)[None, None]
