# SPDX-License-Identifier: GPL-3.0-or-later
"""Which square of the avatar's and of the driver's picture a backend is shown."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...backend_bridge.rig.anchors import MESH_POINTS
from ..face.square import Beyond, Square, roll

Landmarks = NDArray[np.floating[Any]]

SOURCE_SCALE = 1.6  # of the mesh's extent; what moves with the face beyond the mesh: forehead, throat
DRIVER_SCALE = 1.7


class Framing:
    """The squares around a face, level with the eyes. This is the pipeline's own way, for backends without another.

    beyond: the pixels where a square reaches beyond the picture.
    """

    beyond: ClassVar[Beyond] = "repeated"

    def source(self, landmarks: Landmarks, size: tuple[int, int]) -> Square:
        """Return the avatar's square: landmarks [478, 3] px of its picture, which is of `size` (width, height)."""
        return Square.covering(landmarks[:MESH_POINTS], roll(landmarks), SOURCE_SCALE)

    def driver(self, steady: Landmarks, reference: int, size: tuple[int, int]) -> Square:
        """Return the driver's square in the reference frame, which is of `size` (width, height) px.

        steady: [T, 478, 2] landmarks of all frames with the head brought to where it is in frame number `reference`.
        """
        return Square.covering(steady.reshape(-1, 2), roll(steady[reference]), DRIVER_SCALE)


class DetectorFraming(Framing):
    """The crop of FOMM's `crop-video.py`: a face detector's box, a tenth larger on every side, made square.

    The box is joined over the clip. Taken for it is the mesh's extent, from the hairline to the chin, as their detector
    (S3FD) was trained to draw it. Where the box leaves the picture, theirs is cut off and stretched to a square; ours
    keeps its proportions, and the picture's last pixels go on.
    """

    SCALE = 1.2

    def source(self, landmarks: Landmarks, size: tuple[int, int]) -> Square:
        """See `Framing.source`."""
        return Square.covering(landmarks[:MESH_POINTS], roll(landmarks), self.SCALE)

    def driver(self, steady: Landmarks, reference: int, size: tuple[int, int]) -> Square:
        """See `Framing.driver`."""
        return Square.covering(steady[:, :MESH_POINTS].reshape(-1, 2), roll(steady[reference]), self.SCALE)
