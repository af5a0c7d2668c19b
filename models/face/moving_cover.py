# SPDX-License-Identifier: GPL-3.0-or-later
"""What moves before the face and is in the reference too: a microphone, a scarf, a cup, a hand.

Frames that show it elsewhere don't differ from the reference by more than a face's own motion makes (`visibility`),
and nothing is assumed of its colour. It is told by how it moves. Skin is elastic tissue, pulled at a place: its motion
falls off from there all around. A thing moves as one piece, and beside it nothing moves. So of the places that move by
two fifths of the largest motion the share that moves by four fifths of it is compared: a Gaussian falloff has 0.24, a
cone 0.11, expressions of rendered people 0.28 to 0.47 (of 2 to 4 % of the face's width), a real person's brow that
lowers as one 0.59 and a smile 0.62, a thing of any shape 1 but for its rim, where a motion field is smooth: 0.66 and
more for a ball or a scarf that are a fifth of the face wide. A nose on a head that turns and a mouth that laughs may
move as one piece, too; but then the face mesh moves there, farther than what was measured of it.
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
from .skin_shift import resized, skin_shift

_SIDE = 128  # px of what is looked at
_LEAST = 0.01  # of the face's width; less motion makes no control of a size that could be seen
_LEAST_AREA = 0.02  # of the face; smaller things are all rim
_MOST_AREA = 0.5  # of the face; where more moves alike, it is the head, of which its estimate has left something
_MOVES, _AS_FAR = 0.4, 0.8  # of the largest motion
_SOLID = 0.61  # between the two kinds; at 0.64 a microphone of the footage benchmark is missed
_RIM = 0.15  # of the largest motion: what it drags along in a smooth field
_BESIDE = 0.03  # of the face's width, beyond that: what is dragged along by less, which is an expression's all the same
_LIDS = 0.5  # share of the moving places from which on it is a lid that closes: that has an edge, too
_PIECES = 3  # in one frame at most
# Motion of the mesh there, over what was measured: 1.6 to 7 where a real face smiles, laughs and turns (and once 1.2),
# 0.04 to 0.96 of microphones and scarves before rendered faces (and once 1.1).
_AS_SKIN = 1.3


class MovingCover:
    """Looks for solid things that move before one face; landmarks: [478, 3] px of crops of `size` px."""

    def __init__(self, landmarks: NDArray[np.floating[Any]], size: int) -> None:
        self._size = size
        self._mesh = self._as_small(landmarks)
        small = self._mesh[:, :2]
        self._width = face_width(small)
        self._face = face_mask(small, (_SIDE, _SIDE))[0, 0].numpy() > 0.5
        self._beside = max(1, round(_BESIDE * self._width))
        self._lids = regions(small, (_SIDE, _SIDE))["lids"][0, 0].numpy() > 0.5

    def __call__(self, local: Tensor, seen: Tensor, landmarks: NDArray[np.floating[Any]]) -> Tensor:
        """Return where something moves before the face, [N, 1, S, S], 1 or 0.

        local: [N, 2, S, S] px, motion without the head's. seen: [N, 1, S, S] in [0, 1], where the face is seen.
        landmarks: [N, 478, 3] px.
        """
        small = (pool_weighted(local, seen, (_SIDE, _SIDE)) * (_SIDE / self._size)).cpu().numpy()
        found = np.stack([self._of(each, points) for each, points in zip(small, landmarks, strict=True)])
        if not found.any():
            return seen.new_zeros(1, 1, 1, 1).expand_as(seen)
        whole = F.interpolate(torch.from_numpy(found[:, None]).float(), local.shape[2:], mode="nearest")
        return whole.to(seen)

    def _of(self, motion: NDArray[np.floating[Any]], landmarks: NDArray[np.floating[Any]]) -> Mask:
        """Return the same for the motion in one frame [2, 128, 128], px of that; landmarks: [478, 3] px."""
        found = np.zeros_like(self._face)
        left = np.where(self._face, np.hypot(*motion), 0.0)
        for _ in range(_PIECES):
            if left.max() < _LEAST * self._width:
                break
            piece = _around_the_largest(left, _MOVES)
            if self._is_solid(left, piece) and not self._is_skin(motion[:, piece], piece, landmarks):
                piece = _around_the_largest(left, _RIM)
                if piece.sum() <= _MOST_AREA * self._face.sum():
                    found |= grown(piece, self._beside)
            left = np.where(piece, 0.0, left)
        return found

    def _is_solid(self, size: NDArray[np.floating[Any]], piece: Mask) -> bool:
        if piece.sum() < _LEAST_AREA * self._face.sum() or self._lids[piece].mean() > _LIDS:
            return False
        largest = np.quantile(size[piece], 0.9)
        moving = piece & (size > _MOVES * largest)
        return bool((size[moving] > _AS_FAR * largest).mean() > _SOLID)

    def _is_skin(self, motion: NDArray[np.floating[Any]], piece: Mask, landmarks: NDArray[np.floating[Any]]) -> bool:
        """Return whether the face mesh moves clearly as far as the piece does, whose motion is [2, P] px."""
        shift = skin_shift(self._as_small(landmarks), self._mesh, self._width, (_SIDE, _SIDE))
        if shift is None:
            return False
        return bool(np.hypot(*shift[piece].mean(0)) > _AS_SKIN * np.hypot(*motion.mean(1)))

    def _as_small(self, landmarks: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """Return landmarks [478, 3] as px of what is looked at."""
        return resized(landmarks, _SIDE / self._size)


def _around_the_largest(size: NDArray[np.floating[Any]], share: float) -> Mask:
    """Return the connected places around the largest motion that move by a share of it."""
    peak = np.unravel_index(int(size.argmax()), size.shape)
    _, labels = cv2.connectedComponents(np.uint8(size > share * size[peak]))
    return np.asarray(labels == labels[peak])
