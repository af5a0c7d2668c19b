# SPDX-License-Identifier: GPL-3.0-or-later
"""Which frames are out of focus: the loss of detail is the same over all of the face.

A blurred picture differs from a sharp one at every edge, which passes for motion where the two sides of it differ. Its
finest detail loses more than the next coarser one, whatever the light, so that the ratio of the two bands' energies is
compared. What hides a part of the face, an expression and a lid that closes change it in some places alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.float32]

_BANDS = (1.0, 2.5)  # px of the small face: the finest band is what the first of these smooths away, then the second
_BLOCKS = 4  # a side
_QUANTILE = 0.75  # of the blocks, which is softer than usual where nearly all are
# Of the usual ratio. Frames of one shot have 0.94 and more (0.91 in a real one), also under flicker, dim light,
# clipping, veils, bands, hands, masks, captions and a head that turns; a blur of 3 px where a face is 150 px wide
# leaves 0.7 to 0.8.
_SOFT = 0.87
_FEWEST = 5  # frames, of which a usual ratio can be told


def out_of_focus(faces: Sequence[Grey], within: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which of a clip's faces [S, S] are out of focus; `within` [S, S] are the px of the face."""
    if len(faces) < _FEWEST:
        return np.zeros(len(faces), np.bool_)
    ratios = _spectrum_ratios(faces, blocks_of(within, _BLOCKS))
    usual = np.maximum(np.median(ratios, axis=0), 1e-6)
    return np.asarray(np.quantile(ratios / usual, _QUANTILE, axis=1) < _SOFT)


def blocks_of(within: NDArray[np.bool_], count: int) -> NDArray[np.float64]:
    """Return which px are of each block of a small face that is the face's by half or more, 1 or 0: [S * S, B].

    within: [S, S], the px of the face. count: blocks a side.
    """
    step = len(within) // count
    found = []
    for row, column in np.ndindex(count, count):
        block = np.zeros(within.shape, np.bool_)
        block[row * step : (row + 1) * step, column * step : (column + 1) * step] = True
        if within[block].mean() >= 0.5:
            found.append(block & within)
    return np.stack(found, -1).reshape(within.size, -1).astype(np.float64)


def _spectrum_ratios(faces: Sequence[Grey], blocks: NDArray[np.float64]) -> NDArray[np.floating]:
    """Return the rms of the finest band over that of the next one, in each block of each face, [T, B]."""
    finer, coarser = (np.stack([cv2.GaussianBlur(face, (0, 0), sigma) for face in faces]) for sigma in _BANDS)
    bands = (np.stack(faces) - finer, finer - coarser)
    finest, next_one = (np.sqrt((band**2).reshape(len(faces), -1) @ (blocks / blocks.sum(0))) for band in bands)
    return np.asarray(finest / np.maximum(next_one, 1e-4))
