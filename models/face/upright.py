# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a face that was found is a face: the detector lays an upright mesh over one that is upside down, too."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .landmarker import FaceLandmarker, FaceLandmarks
from .mesh import LEFT_IRIS, RIGHT_IRIS

_DARK = (RIGHT_IRIS, LEFT_IRIS, 70, 63, 105, 66, 107, 300, 293, 334, 296, 336, 159, 386, 145, 374)  # eyes and brows
_LIGHT = (117, 118, 50, 101, 346, 347, 280, 330, 151, 9, 108, 337, 199, 200)  # cheeks, forehead and chin
_CLEARLY = 0.15  # of the logarithm of brightness; the right way up it is larger by 0.2 to 1.0


def is_upside_down(image: NDArray[np.float32], face: FaceLandmarks, landmarker: FaceLandmarker) -> bool:
    """Return whether the picture [H, W, 3] turned by half shows eyes and brows much better than it does as it is.

    Eyes and brows are darker than the skin around them, which a mesh that lies on a chin doesn't find.
    """
    turned = np.ascontiguousarray(image[::-1, ::-1])
    others = landmarker.detect(turned)
    return any(_contrast(turned, other.points) > _contrast(image, face.points) + _CLEARLY for other in others)


def _contrast(image: NDArray[np.float32], points: NDArray[np.floating[Any]]) -> float:
    """Return by how much the skin is lighter than eyes and brows, as a logarithm."""
    sigma = max(0.6, 0.01 * float(np.ptp(points[:, 0])))
    level = cv2.GaussianBlur(np.log(image.mean(2) + 0.05), (0, 0), sigma)
    height, width = level.shape
    x = np.rint(points[:, 0]).astype(int).clip(0, width - 1)
    y = np.rint(points[:, 1]).astype(int).clip(0, height - 1)
    here = level[y, x]
    return float(here[list(_LIGHT)].mean() - here[list(_DARK)].mean())
