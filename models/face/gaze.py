# SPDX-License-Identifier: GPL-3.0-or-later
"""How far the eyes turn, and whether together, from the irises of the face mesh."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from .mesh import LEFT_EYE_INNER, LEFT_EYE_OUTER, LEFT_IRIS, RIGHT_EYE_INNER, RIGHT_EYE_OUTER, RIGHT_IRIS

Landmarks = NDArray[np.floating[Any]]

_CLEAR = 0.12  # of the eye's width: the mesh's irises jitter by a fifth of it
_EYES = ((RIGHT_EYE_OUTER, RIGHT_EYE_INNER, RIGHT_IRIS), (LEFT_EYE_INNER, LEFT_EYE_OUTER, LEFT_IRIS))
_LEAST_FRAMES = 3  # so that a single frame's jitter is not enough


def eyes_part(landmarks: Landmarks, reference: Landmarks) -> bool:
    """Return whether both eyes are clearly seen to turn apart or towards each other in frames [N, 478, 2+].

    Gaze is parallel but for squints and very near targets; behind glasses, reflections can move one iris of the mesh.
    """
    right, left = (_moved(landmarks, reference, *eye)[:, 0] for eye in _EYES)
    apart = (np.minimum(np.abs(right), np.abs(left)) > _CLEAR) & (right * left < 0)
    return bool(apart.sum() >= _LEAST_FRAMES)


def gaze_reach(landmarks: Landmarks, reference: Landmarks) -> NDArray[np.float64]:
    """Return how far the eyes turn at most in frames [N, 478, 2+]: [4], to the person's left and right, up and down.

    In widths of the eye, by which both irises move since the reference; a single frame's jitter is not counted.
    """
    if not len(landmarks):
        return np.zeros(4)
    moved = np.mean([_moved(landmarks, reference, *eye) for eye in _EYES], axis=0)
    steady = median_filter(moved, size=(3, 1))[1:-1] if len(moved) > 2 else moved
    return np.maximum(np.stack([steady[:, 0], -steady[:, 0], -steady[:, 1], steady[:, 1]], 1).max(0), 0.0)


def _moved(landmarks: Landmarks, reference: Landmarks, right: int, left: int, iris: int) -> NDArray[np.float64]:
    """Return [N, 2], how far an iris went along its eye, from the corner on the person's right, and down across it."""
    places = []
    for points in (landmarks, reference[None]):
        flat = points[..., :2].astype(np.float64)
        along = flat[:, left] - flat[:, right]
        across = np.stack([-along[:, 1], along[:, 0]], 1)
        from_middle = flat[:, iris] - (flat[:, left] + flat[:, right]) / 2
        width = np.maximum((along**2).sum(1), 1e-6)
        places.append(np.stack([(from_middle * axis).sum(1) / width for axis in (along, across)], 1))
    return np.asarray(places[0] - places[1])
