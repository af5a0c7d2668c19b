# SPDX-License-Identifier: GPL-3.0-or-later
"""Which way a head faces, from the face mesh."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .mesh import LEFT_EYE_OUTER, RIGHT_EYE_OUTER, RIGID_LANDMARKS

Landmarks = NDArray[np.floating[Any]]


def head_turn(landmarks: Landmarks, reference: Landmarks) -> float:
    """Return degrees, the largest turn of heads [N, 478, 3] aside from the camera or away from the reference [478, 3].

    Pitch is measured against the reference alone, as a face at rest has a pitch of its own.
    """
    eyes = landmarks[:, LEFT_EYE_OUTER].astype(np.float64) - landmarks[:, RIGHT_EYE_OUTER]
    aside = np.degrees(np.arctan2(np.abs(eyes[:, 2]), np.linalg.norm(eyes[:, :2], axis=1)))
    away = [turned_by(frame, reference) for frame in landmarks]
    return float(max(aside.max(), max(away)))


def turned_by(points: Landmarks, reference: Landmarks) -> float:
    """Return degrees between the orientations of two heads, [478, 3] each (Kabsch's rotation of rigid landmarks).

    >>> head = np.random.default_rng(0).normal(size=(478, 3))
    >>> cosine, sine = np.cos(0.5), np.sin(0.5)
    >>> round(turned_by(head @ np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]]), head), 3)  # 0.5 rad of yaw
    28.648
    """
    rigid = list(RIGID_LANDMARKS)
    here, there = (each[rigid].astype(np.float64) - each[rigid].mean(0) for each in (points, reference))
    u, _, vt = np.linalg.svd(here.T @ there)
    vt[-1] *= np.sign(np.linalg.det(u @ vt))
    cosine = (np.trace(u @ vt) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
