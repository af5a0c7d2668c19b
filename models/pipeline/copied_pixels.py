# SPDX-License-Identifier: GPL-3.0-or-later
"""What the driving video's codec copied from the reference frame, found in the decoded pictures.

A steady crop resamples each frame in its own way, which hides exact repeats and the grid that they end on.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..face import SteadyCrop, face_mask
from ..magnification.copied_blocks import Repeats, copied_of, repeats_in

_BLOCK = 8  # px
_MARGIN = 0.1  # of the crop's side, by which the head may move


class CopiedPixels:
    """Compares the frames of a clip with its reference frame, around the face."""

    def __init__(
        self,
        reference: NDArray[np.float32],
        index: int,
        crop: SteadyCrop,
        size: int,
        landmarks: NDArray[np.floating[Any]],
    ) -> None:
        """Take the reference frame [H, W, 3], its number, and the crop that frames are shown in, `size` px a side.

        landmarks: [478, 2 or 3] px of the reference frame.
        """
        self._crop, self._size, self._shape = crop, size, (reference.shape[0], reference.shape[1])
        ends = (-_MARGIN * size, (1 + _MARGIN) * size)
        corners = crop.frame_to_crop(size, index).inverse()(np.array([(x, y) for x in ends for y in ends]))
        low, high = corners.min(0), corners.max(0)
        self._columns, self._rows = (slice(max(0, int(low[axis])), max(1, int(high[axis]))) for axis in (0, 1))
        self._reference = reference[self._rows, self._columns].copy()
        self._face = face_mask(landmarks, self._shape)[0, 0, self._rows, self._columns].numpy() > 0.5

    def repeats(self, image: NDArray[np.float32]) -> Repeats:
        """Return where a frame [H, W, 3] repeats the reference, around the face."""
        return repeats_in(self._reference, image[self._rows, self._columns])

    def __call__(self, repeats: Repeats, index: int) -> Tensor:
        """Return the share of pixels around each that were copied, in the crop of frame `index`: [1, 1, S, S]."""
        copied = copied_of(repeats)
        if not copied.any():
            return torch.zeros(1, 1, self._size, self._size)
        whole: NDArray[np.float32] = np.zeros((*self._shape, 1), np.float32)
        whole[self._rows, self._columns, 0] = copied
        return self._crop.crop(whole, self._size, index)

    def repeated(self, repeats: Repeats) -> float:
        """Return the share of the face in which a frame repeats the reference.

        A lossy codec's repeats are copies wherever they end. `__call__` is surer, and misses most of HEVC's, whose
        blocks have many sizes and smoothed edges, and those of frames that repeat all of the face.
        """
        return float(np.count_nonzero(repeats.blocks & self._face) / max(np.count_nonzero(self._face), 1))

    @cached_property
    def block_edges(self) -> float:
        """How much larger steps of brightness are at the edges of blocks than elsewhere in the reference frame."""
        return block_edges(self._reference.mean(2))


def block_edges(picture: NDArray[np.floating[Any]]) -> float:
    """Return how much larger steps of brightness [H, W] are on a grid of 8 px than off it, wherever the grid begins.

    A step is what is left of the difference of two neighbours when that of the pairs before and after is taken out.

    >>> smooth = np.add.outer(np.sin(np.arange(64) / 9), np.cos(np.arange(64) / 7))
    >>> noise = np.random.default_rng(0).normal(0, 0.02, (64, 64))
    >>> blocks = np.kron(np.random.default_rng(1).normal(0, 0.1, (8, 8)), np.ones((8, 8)))
    >>> round(block_edges(smooth + noise), 1), round(block_edges(smooth + blocks + noise), 1)
    (1.0, 2.7)
    """
    ratios = []
    for rows in (picture, picture.T):
        difference = np.diff(rows, axis=1)
        step = np.abs(difference[:, 1:-1] - 0.5 * (difference[:, :-2] + difference[:, 2:])).mean(0)
        by_place = [float(step[first::_BLOCK].mean()) for first in range(min(_BLOCK, len(step)))]
        ratios.append(max(by_place, default=0.0) / max(float(np.median(by_place)) if by_place else 0.0, 1e-6))
    return float(np.mean(ratios))
