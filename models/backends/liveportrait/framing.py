# SPDX-License-Identifier: GPL-3.0-or-later
"""The squares that LivePortrait is shown, as its authors cut them (`src/utils/crop.py`, `src/config/crop_config.py`).

Around the landmarks from the brows to the chin, upright along the line from the middle of the eyes to the middle of the
lips' corners: 2.3 times their extent for the source, raised by 0.125 of the side; 2.2 times and 0.1 for the driver.
What lies beyond the picture is black. The authors find 106 landmarks (InsightFace) and 203 (their own network); the
mesh's jaw and eyebrows stand for them. They do not turn the driver upright; here it is, as the avatar is.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from ...face.mesh import JAW, LEFT_EYEBROW, RIGHT_EYEBROW
from ...face.square import Beyond, Square
from ..framing import Framing, Landmarks

SOURCE_SCALE, SOURCE_LOWERED = 2.3, -0.125
DRIVER_SCALE, DRIVER_LOWERED = 2.2, -0.1
EYES = (33, 159, 133, 145), (362, 386, 263, 374)  # each eye's corners and the middle of its lids
LIP_CORNERS = (61, 291)
SHOWN = (*JAW, *RIGHT_EYEBROW, *LEFT_EYEBROW)


class PublishedFraming(Framing):
    """See the module."""

    beyond: ClassVar[Beyond] = "black"

    def source(self, landmarks: Landmarks, size: tuple[int, int]) -> Square:
        """See `Framing.source`."""
        return published_crop(landmarks)

    def driver(self, steady: Landmarks, reference: int, size: tuple[int, int]) -> Square:
        """See `Framing.driver`; theirs is the mean box over the clip, in which the head is steady here."""
        return published_crop(steady[reference], DRIVER_SCALE, DRIVER_LOWERED)


def published_crop(landmarks: Landmarks, scale: float = SOURCE_SCALE, lowered: float = SOURCE_LOWERED) -> Square:
    """Return the square around a face, landmarks [478, 2 or 3] px."""
    right, left = (landmarks[list(eye), :2].mean(axis=0) for eye in EYES)
    x, y = landmarks[list(LIP_CORNERS), :2].mean(axis=0) - (right + left) / 2
    angle = math.atan2(-float(x), float(y)) if np.hypot(x, y) > 1e-3 else 0.0
    return Square.covering(landmarks[list(SHOWN), :2], angle, scale, lowered)
