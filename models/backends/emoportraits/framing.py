# SPDX-License-Identifier: GPL-3.0-or-later
"""The square that EMOPortraits is shown, and which of it is the source's head.

As published, a face detector's box is stretched upwards and downwards, the crop's side is its width and height
together, and the crop is brought to 512 px (bicubic). Here the box comes from the landmarks: over nine pictures of
people the detector's box (BlazeFace) was a square of 0.92 of the mesh's extent, its centre 0.045 of it below the
mesh's. And where the published crop shrinks so as not to leave the picture, here what the picture lacks is filled in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from models.backends.emoportraits.networks import IMAGE_SIZE
from models.face import face_mask
from models.face.correspondence import MESH_POINTS
from models.face.mesh import FACE_OVAL

BOX_SIDE = 0.92  # of the mesh's extent
BOX_BELOW = 0.045
TOP, BOTTOM = 0.9, 1.2  # the published stretching: the box's distance from the picture's top, and its height
MASK_THRESHOLD = 0.6
HEAD_WIDTH, HEAD_HEIGHT = 1.3, 1.4  # of the face oval's: with ears and hair


@dataclass(frozen=True)
class Framing:
    """A square of a picture: `left`, `top` and `side` in px; it may reach beyond the picture."""

    left: int
    top: int
    side: int

    @classmethod
    def whole(cls, image: Tensor) -> Framing:
        """A square picture [N, 3, H, H] as it is."""
        return cls(0, 0, image.shape[-1])

    @classmethod
    def around(cls, landmarks: NDArray[np.floating[Any]]) -> Framing:
        """The published crop around a face, landmarks [478, 2 or 3] in px of the picture."""
        mesh = landmarks[:MESH_POINTS, :2]
        low, high = mesh.min(axis=0), mesh.max(axis=0)
        extent = float((high - low).max())
        box = BOX_SIDE * extent
        x, y = (low + high) / 2 + [0, BOX_BELOW * extent]
        upper = y - box / 2
        top, bottom = TOP * max(upper, 0), upper + BOTTOM * box
        side = 2 * round((box + bottom - top) / 2)
        return cls(round(x) - side // 2, round((top + bottom) / 2) - side // 2, side)

    def cut(self, image: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, 512, 512] (bicubic, may overshoot); beyond the picture its last pixels go on."""
        height, width = image.shape[-2:]
        right, bottom = self.left + self.side, self.top + self.side
        missing = [max(-self.left, 0), max(right - width, 0), max(-self.top, 0), max(bottom - height, 0)]
        rows, columns = slice(max(self.top, 0), max(bottom, 0)), slice(max(self.left, 0), max(right, 0))
        seen = F.pad(image[..., rows, columns], missing, mode="replicate")
        if self.side == IMAGE_SIZE:
            return seen
        return F.interpolate(seen, (IMAGE_SIZE, IMAGE_SIZE), mode="bicubic", align_corners=False)

    def landmarks(self, points: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Landmarks [478, 2 or 3] in px of the picture -> [478, 2] in px of what was cut out."""
        inside = points[:, :2] - [self.left, self.top] + 0.5
        return (inside * (IMAGE_SIZE / self.side) - 0.5).astype(np.float32)

    def put_back(self, generated: Tensor, size: int) -> Tensor:
        """[N, 3, 512, 512] -> the picture of `size` px that it was cut from, at 512 px: [N, 3, 512, 512]."""
        scale = IMAGE_SIZE / size
        left, top, side = (round(scale * length) for length in (self.left, self.top, self.side))
        if side != IMAGE_SIZE:
            generated = F.interpolate(generated, (side, side), mode="bicubic", align_corners=False).clamp(0, 1)
        missing = [max(left, 0), max(IMAGE_SIZE - left - side, 0), max(top, 0), max(IMAGE_SIZE - top - side, 0)]
        rows, columns = slice(max(-top, 0), IMAGE_SIZE - top), slice(max(-left, 0), IMAGE_SIZE - left)
        return F.pad(generated[..., rows, columns], missing, mode="replicate")


def head_mask(landmarks: NDArray[np.floating[Any]], size: int) -> Tensor:
    """The head by its landmarks, [1, 1, size, size] of zeros and ones: the face oval, grown for hair and ears."""
    oval = landmarks[list(FACE_OVAL), :2]
    middle, chin = oval[:, 0].mean(), oval[:, 1].max()
    wider = middle + HEAD_WIDTH * (landmarks[:, 0] - middle)
    higher = chin + HEAD_HEIGHT * (landmarks[:, 1] - chin)
    return (face_mask(np.stack([wider, higher], axis=1), (size, size)) > MASK_THRESHOLD).float()
