# SPDX-License-Identifier: GPL-3.0-or-later
"""The square that EMOPortraits is shown, and which of it is the source's head.

As published, a face detector's box is stretched upwards and downwards, the crop's side is its width and height
together, and the crop is brought to 512 px (bicubic). Here the box comes from the landmarks: over eight pictures of
people the detector's box (BlazeFace) was a square of 0.92 of the mesh's extent, its centre 0.045 of it below the
mesh's. And where the published crop shrinks so as not to leave the picture, here what the picture lacks is filled in.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...face import face_mask
from ...face.correspondence import MESH_POINTS
from ...face.mesh import FACE_OVAL
from ..framing import Framing

BOX_SIDE = 0.92  # of the mesh's extent
BOX_BELOW = 0.045
TOP, BOTTOM = 0.9, 1.2  # the published stretching: the box's distance from the picture's top, and its height
MASK_THRESHOLD = 0.6
HEAD_WIDTH, HEAD_HEIGHT = 1.3, 1.4  # of the face oval's: with ears and hair


def published_crop(landmarks: NDArray[np.floating[Any]]) -> Framing:
    """The crop around a face, landmarks [478, 2 or 3] in px of the picture."""
    mesh = landmarks[:MESH_POINTS, :2]
    low, high = mesh.min(axis=0), mesh.max(axis=0)
    extent = float((high - low).max())
    box = BOX_SIDE * extent
    x, y = (low + high) / 2 + [0, BOX_BELOW * extent]
    upper = y - box / 2
    top, bottom = TOP * max(upper, 0), upper + BOTTOM * box
    return Framing.around((float(x), float(top + bottom) / 2), box + bottom - top)


def head_mask(landmarks: NDArray[np.floating[Any]], size: int) -> Tensor:
    """The head by its landmarks, [1, 1, size, size] of zeros and ones: the face oval, grown for hair and ears."""
    oval = landmarks[list(FACE_OVAL), :2]
    middle, chin = oval[:, 0].mean(), oval[:, 1].max()
    wider = middle + HEAD_WIDTH * (landmarks[:, 0] - middle)
    higher = chin + HEAD_HEIGHT * (landmarks[:, 1] - chin)
    return (face_mask(np.stack([wider, higher], axis=1), (size, size)) > MASK_THRESHOLD).float()
