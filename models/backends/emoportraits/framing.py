# SPDX-License-Identifier: GPL-3.0-or-later
"""The squares that EMOPortraits is shown, as its authors' `notebooks/infer.py` cuts them, and the source's head.

A face detector's box is stretched by a tenth of its distance from the picture's top upwards and by a fifth of its
height downwards, at most to the picture's last row. The crop's side is its width and height together. Where that leaves
the picture, it shrinks about its centre until it does not. The crop is brought to 512 px.

Taken for the detector's box (BlazeFace) is a square of 0.92 of the mesh's extent, its centre 0.045 of it below the
mesh's: so it was over eight pictures of people. The authors do not turn the picture level; here it is, and the box is
that of the levelled face. The corners of a turned square that leave the picture repeat its last pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ....backend_bridge.rig.anchors import MESH_POINTS
from ...face import face_mask
from ...face.mesh import FACE_OVAL
from ...face.square import Square, roll
from ..framing import Framing, Landmarks

BOX_SIDE = 0.92  # of the mesh's extent
BOX_BELOW = 0.045
TOP, BOTTOM = 0.9, 1.2  # the published stretching: the box's distance from the picture's top, and its height
LEAST_SIDE = 1.0  # of the mesh's extent: a face that is cut off by the picture's edge is filled up, not cut further
MASK_THRESHOLD = 0.6
HEAD_WIDTH, HEAD_HEIGHT = 1.3, 1.4  # of the face oval's: with ears and hair


class PublishedFraming(Framing):
    """See the module."""

    def source(self, landmarks: Landmarks, size: tuple[int, int]) -> Square:
        """See `Framing.source`."""
        return published_crop(landmarks, size)

    def driver(self, steady: Landmarks, reference: int, size: tuple[int, int]) -> Square:
        """See `Framing.driver`; theirs follows the detector's box slowly through the clip."""
        return published_crop(steady[reference], size)


def published_crop(landmarks: Landmarks, size: tuple[int, int]) -> Square:
    """Return the square around a face, landmarks [478, 2 or 3] px of a picture of `size` (width, height)."""
    width, height = size
    found = Square.covering(landmarks[:MESH_POINTS], roll(landmarks), BOX_SIDE, BOX_BELOW / BOX_SIDE)
    (x, y), box = found.centre, found.side
    upper = max(y - box / 2, 0.0)
    top, bottom = TOP * upper, min(y - box / 2 + BOTTOM * box, height - 1.0)
    lowered = (top + bottom) / 2 - y  # along the face's own axis, which is the picture's where it is level
    x, y = x - lowered * np.sin(found.angle), y + lowered * np.cos(found.angle)
    side = box + bottom - top
    over = max(0.0, side / 2 - x, side / 2 - y, x + side / 2 - width, y + side / 2 - height)
    side = max(side - 2 * over, LEAST_SIDE / BOX_SIDE * box)
    return Square((float(x), float(y)), float(side), found.angle)


def head_mask(landmarks: NDArray[np.floating[Any]], size: int) -> Tensor:
    """The head by its landmarks, [1, 1, size, size] of zeros and ones: the face oval, grown for hair and ears."""
    oval = landmarks[list(FACE_OVAL), :2]
    middle, chin = oval[:, 0].mean(), oval[:, 1].max()
    wider = middle + HEAD_WIDTH * (landmarks[:, 0] - middle)
    higher = chin + HEAD_HEIGHT * (landmarks[:, 1] - chin)
    return (face_mask(np.stack([wider, higher], axis=1), (size, size)) > MASK_THRESHOLD).float()
