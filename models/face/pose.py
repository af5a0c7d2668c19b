# SPDX-License-Identifier: GPL-3.0-or-later
"""Which way a head faces, from the face mesh."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .mesh import LEFT_EYE_OUTER, RIGHT_EYE_OUTER, RIGID_LANDMARKS

_RIGID = np.array(RIGID_LANDMARKS)

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
    rotation, *_ = _turned(points, reference)
    return float(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))))


def shape_change(points: Landmarks, reference: Landmarks) -> float:
    """Return how far the rigid landmarks of a head [478, 3] are from those of a reference, rms px in the picture.

    The reference is turned, shifted and scaled for it, so that neither an expression nor the head's pose counts.

    >>> head = np.random.default_rng(0).normal(size=(478, 3))
    >>> round(shape_change(2 * head[:, [1, 0, 2]] * [1, -1, 1] + 3, head), 6)
    0.0
    """
    rotation, here, there = _turned(points, reference)
    turned = there @ rotation.T
    left = here - (turned * here).sum() / (turned**2).sum() * turned
    return float(np.sqrt((left[:, :2] ** 2).sum(1).mean()))


def without_pose(points: Landmarks, reference: Landmarks) -> NDArray[np.float64]:
    """Return by how much the landmarks of a head [478, 3] have moved against its reference's, without the head, px.

    >>> head = np.random.default_rng(0).normal(size=(478, 3))
    >>> bool(np.abs(without_pose(2 * head[:, [1, 0, 2]] * [1, -1, 1] + 3, head)).max() < 1e-9)
    True
    """
    rotation, here, there = _turned(points, reference)
    turned = there @ rotation.T
    scale = (turned * here).sum() / (turned**2).sum()
    middle, middle_there = (each[_RIGID].mean(0) for each in (points, reference))
    return np.asarray(points - scale * (reference - middle_there) @ rotation.T - middle, np.float64)


def _turned(points: Landmarks, reference: Landmarks) -> tuple[NDArray[np.float64], ...]:
    """Return the rotation [3, 3] from a reference head to another, and the rigid landmarks of both, centred, [K, 3]."""
    here, there = (each[_RIGID].astype(np.float64) for each in (points, reference))
    here, there = here - here.mean(0), there - there.mean(0)
    u, _, vt = np.linalg.svd(here.T @ there)
    vt[-1] *= np.sign(np.linalg.det(u @ vt))
    return u @ vt, here, there
