# SPDX-License-Identifier: GPL-3.0-or-later
"""What moves before the face and is in the reference too: a microphone, a scarf, a cup, a hand.

Frames that show it elsewhere don't differ from the reference by more than a face's own motion makes (`visibility`),
and nothing is assumed of its colour. It is told by how it moves. Skin is elastic tissue, pulled at a place: its motion
falls off from there all around, and far. A thing moves as one piece, and beside it nothing moves but what a smooth
motion field drags along. So what moves nearly as far as the largest motion (four fifths) is compared

* with what moves by two fifths of it: a Gaussian falloff has 0.24, a cone 0.11, expressions of rendered people 0.28 to
  0.47 (of 2 to 4 % of the face's width), a real person's brow that lowers as one 0.59 and a smile 0.62, a thing of any
  shape 1 but for its rim: 0.66 and more for a ball or a scarf that are a fifth of the face wide;
* with what moves along at all: noses, cheeks and chins of real heads that turn, smile and press their lips, which pass
  for one piece by the first, have 0.05 to 0.31, microphones and scarves 0.5 to 0.87.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..magnification.filters import pool_weighted
from .masks import Mask, grown
from .regions import face_mask, face_width, regions
from .skin_shift import resized

_SIDE = 128  # px of what is looked at
_LEAST = 0.01  # of the face's width; less motion makes no control of a size that could be seen
_LEAST_AREA = 0.02  # of the face; smaller things are all rim
_MOST_AREA = 0.5  # of the face; where more moves alike, it is the head, of which its estimate has left something
_MOVES, _AS_FAR = 0.4, 0.8  # of the largest motion
_SOLID = 0.61  # between the two kinds; at 0.64 a microphone of the footage benchmark is missed
_RIM = 0.15  # of the largest motion: what it drags along in a smooth field
_STEEP = 0.42  # of what moves by that, what moves nearly as far as the largest motion: between the two kinds
_BESIDE = 0.03  # of the face's width, beyond that: what is dragged along by less, which is an expression's all the same
_LIDS = 0.5  # share of the moving places from which on it is a lid that closes: that has an edge, too
_PIECES = 3  # in one frame at most


class MovingCover:
    """Looks for solid things that move before one face; landmarks: [478, 3] px of crops of `size` px."""

    def __init__(self, landmarks: NDArray[np.floating[Any]], size: int) -> None:
        self._size = size
        small = resized(landmarks, _SIDE / size)[:, :2]
        self._width = face_width(small)
        self._face = face_mask(small, (_SIDE, _SIDE))[0, 0].numpy() > 0.5
        self._beside = max(1, round(_BESIDE * self._width))
        self._lids = regions(small, (_SIDE, _SIDE))["lids"][0, 0].numpy() > 0.5

    def __call__(self, local: Tensor, seen: Tensor) -> Tensor:
        """Return where something moves before the face, [N, 1, S, S], 1 or 0.

        local: [N, 2, S, S] px, motion without the head's. seen: [N, 1, S, S] in [0, 1], where the face is seen.
        """
        small = (pool_weighted(local, seen, (_SIDE, _SIDE)) * (_SIDE / self._size)).cpu().numpy()
        found = np.stack([self._of(each) for each in small])
        if not found.any():
            return seen.new_zeros(1, 1, 1, 1).expand_as(seen)
        whole = F.interpolate(torch.from_numpy(found[:, None]).float(), local.shape[2:], mode="nearest")
        return whole.to(seen)

    def _of(self, motion: NDArray[np.floating[Any]]) -> Mask:
        """Return the same for the motion in one frame [2, 128, 128], px of that."""
        found = np.zeros_like(self._face)
        left = np.where(self._face, np.hypot(*motion), 0.0)
        for _ in range(_PIECES):
            if left.max() < _LEAST * self._width:
                break
            piece = _around_the_largest(left, _MOVES)
            if self._may_be_solid(piece):
                with_rim = _around_the_largest(left, _RIM)
                if with_rim.sum() <= _MOST_AREA * self._face.sum() and _is_solid(left, piece, with_rim):
                    found, piece = found | grown(with_rim, self._beside), with_rim
            left = np.where(piece, 0.0, left)
        return found

    def _may_be_solid(self, piece: Mask) -> bool:
        """Return whether it is large enough to be told by its rim, and no lid, which has an edge, too."""
        return bool(piece.sum() >= _LEAST_AREA * self._face.sum() and self._lids[piece].mean() <= _LIDS)


def _is_solid(size: NDArray[np.floating[Any]], piece: Mask, with_rim: Mask) -> bool:
    """Return whether a piece moves as one, and hardly anything around it along with it."""
    largest = np.quantile(size[piece], 0.9)
    moving, far = (np.count_nonzero(piece & (size > share * largest)) for share in (_MOVES, _AS_FAR))
    return far > _SOLID * moving and far > _STEEP * np.count_nonzero(with_rim)


def _around_the_largest(size: NDArray[np.floating[Any]], share: float) -> Mask:
    """Return the connected places around the largest motion that move by a share of it."""
    peak = np.unravel_index(int(size.argmax()), size.shape)
    _, labels = cv2.connectedComponents(np.uint8(size > share * size[peak]))
    return np.asarray(labels == labels[peak])
