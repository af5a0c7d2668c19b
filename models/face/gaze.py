# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the gaze of two eyes is parallel, from the irises of the face mesh."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .mesh import LEFT_EYE_INNER, LEFT_EYE_OUTER, LEFT_IRIS, RIGHT_EYE_INNER, RIGHT_EYE_OUTER, RIGHT_IRIS

Landmarks = NDArray[np.floating[Any]]

_CLEAR = 0.12  # of the eye's width: the mesh's irises jitter by a fifth of it
_LEAST_FRAMES = 3  # so that a single frame's jitter is not enough


def eyes_part(landmarks: Landmarks, reference: Landmarks) -> bool:
    """Return whether both eyes are clearly seen to turn apart or towards each other in frames [N, 478, 2+].

    Gaze is parallel but for squints and very near targets; behind glasses, reflections can move one iris of the mesh.
    """
    right = _along(landmarks, RIGHT_EYE_OUTER, RIGHT_EYE_INNER, RIGHT_IRIS, reference)
    left = -_along(landmarks, LEFT_EYE_OUTER, LEFT_EYE_INNER, LEFT_IRIS, reference)
    apart = (np.minimum(np.abs(right), np.abs(left)) > _CLEAR) & (right * left < 0)
    return bool(apart.sum() >= _LEAST_FRAMES)


def _along(landmarks: Landmarks, outer: int, inner: int, iris: int, reference: Landmarks) -> NDArray[np.float64]:
    """Return [N], how far an iris went from the outer towards the inner corner, in widths of the eye."""
    places = []
    for points in (landmarks, reference[None]):
        flat = points[..., :2].astype(np.float64)
        eye = flat[:, inner] - flat[:, outer]
        places.append(((flat[:, iris] - flat[:, outer]) * eye).sum(1) / np.maximum((eye**2).sum(1), 1e-6))
    return np.asarray(places[0] - places[1])
