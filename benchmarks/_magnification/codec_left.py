# SPDX-License-Identifier: GPL-3.0-or-later
"""What a codec has left of a motion: what could be known of it if nothing but copying stood in the way."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy.interpolate import RBFInterpolator
from torch import Tensor

CELL = 8  # px along a side of the cells in which the motion is joined, a codec's block
LEAST_CODED = 0.05  # share of a cell from which on the motion is known there


def where_coded(motion: Tensor, copied: Tensor) -> Tensor:
    """Return a motion [1, 2, H, W] where a codec coded anything, and rest elsewhere.

    copied: [1, 1, H, W] in [0, 1] (`copied_share`).
    """
    return (1 - copied) * motion


def joined(motion: Tensor, copied: Tensor) -> Tensor:
    """Return a motion [1, 2, H, W] where a codec coded anything, joined by a thin plate; the picture's edge rests.

    It knows nothing of faces but that they move smoothly. Cells with `LEAST_CODED` have the mean of their coded pixels;
    the thin plate spline (Duchon 1977) goes through these, and through rest in the other cells of the picture's border.
    copied: [1, 1, H, W] in [0, 1]; H and W are multiples of `CELL`.
    """
    coded = F.avg_pool2d(1 - copied, CELL)[0, 0].numpy()
    means = F.avg_pool2d(where_coded(motion, copied), CELL)[0].numpy() / np.maximum(coded, LEAST_CODED)
    known = coded >= LEAST_CODED
    border = np.ones_like(known)
    border[1:-1, 1:-1] = False
    values = np.where(known, means, 0).transpose(1, 2, 0)
    given = known | border
    places = np.moveaxis(np.indices(known.shape), 0, -1).astype(np.float64)
    plate = RBFInterpolator(places[given], values[given], kernel="thin_plate_spline")
    cells = torch.from_numpy(plate(places.reshape(-1, 2)).reshape(values.shape)).to(motion.dtype)
    return F.interpolate(cells.permute(2, 0, 1)[None], scale_factor=CELL, mode="bilinear")
