# SPDX-License-Identifier: GPL-3.0-or-later
"""Skin that goes too far for its motion to be seen in the picture: what the face mesh says of it.

A broad smile moves the corners of the mouth by a tenth of the face's width, and shows teeth where lips were, and folds
where a cheek was smooth. Hardly anything looks there as it did, so that a motion estimator is off by as much as the
skin moves. The mesh is off by a hundredth of the face's width, which is far more than a micro-expression, and little
against that.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .pose import without_pose
from .regions import face_mask, face_width, regions
from .skin_shift import skin_shift

# Of the face's width, by the mesh. Where skin goes less far, its motion is measured: on real clips the two agree up to
# 0.04 of it (cosine 0.9), and at 0.09 they don't (0.5). Things before a face move the mesh by up to 0.05.
_FAR, _SURELY_FAR = 0.04, 0.07
_DIFFERENT, _SURELY_DIFFERENT = 0.3, 0.6  # error of the measured motion against the mesh's, below which that is kept
# Of the mesh's motion, what the measured one must have of it where skin goes far: of real smiles 0.4 and more. What is
# put on before a face moves its mesh, too, but nothing of the face.
_BACKED = 0.25


class FarSkin:
    """Looks for skin of one face that has gone far; landmarks: [478, 3] px of crops of `size` px."""

    def __init__(self, landmarks: NDArray[np.floating[Any]], size: int) -> None:
        self._landmarks = landmarks
        self._shape = (size, size)
        self._width = face_width(landmarks)
        self._lids = regions(landmarks, self._shape)["lids"]  # they have a model of their own
        self._face = face_mask(landmarks, self._shape)

    def __call__(self, local: Tensor, seen: Tensor, landmarks: NDArray[np.floating[Any]]) -> tuple[Tensor, Tensor]:
        """Return the mesh's motion without the head's, [N, 2, S, S] px, and its share, [N, 1, S, S] in [0, 1].

        local: [N, 2, S, S] px, the measured motion without the head's. seen: [N, 1, S, S] in [0, 1], where the face is
        seen. landmarks: [N, 478, 3] px.
        """
        own = [self._shift(points) for points in landmarks]
        if all(each is None for each in own):
            nothing = local.new_zeros(1, 1, 1, 1)
            return nothing.expand_as(local), nothing.expand_as(local[:, :1])
        none = np.zeros((*self._shape, 2), np.float32)
        motion = torch.from_numpy(np.stack([none if each is None else each for each in own]))
        motion = motion.permute(0, 3, 1, 2).contiguous().to(local)
        length = _length(motion)
        far = _ramp(length / self._width, _FAR, _SURELY_FAR)
        error = _length(motion - local) / length.clamp(min=1e-6)
        far = far * (self._face * (1 - self._lids)).to(local) * seen
        along, whole = ((far * motion * each).sum((1, 2, 3), keepdim=True) for each in (local, motion))
        backed = along > _BACKED * whole
        return motion, far * _ramp(error, _DIFFERENT, _SURELY_DIFFERENT) * backed

    def _shift(self, points: NDArray[np.floating[Any]]) -> NDArray[np.float32] | None:
        """Return by how much skin has moved besides the head, [S, S, 2] px; None where none goes far."""
        own = without_pose(points, self._landmarks)
        if np.linalg.norm(own[:, :2], axis=1).max() < _FAR * self._width:
            return None
        return skin_shift(self._landmarks + own, self._landmarks, self._width, self._shape)


def _length(motion: Tensor) -> Tensor:
    """Return [N, 1, S, S], in a thirtieth of the time that a norm along the channels takes."""
    return torch.hypot(motion[:, :1], motion[:, 1:])


def _ramp(value: Tensor, least: float, most: float) -> Tensor:
    return ((value - least) / (most - least)).clamp(0, 1)
