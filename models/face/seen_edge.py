# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion at the edge of what is seen of a face: it eases to rest there, or the picture would be torn."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

_SHOWN = 0.5  # least weight of what is seen
_STEEPEST = 0.5  # px of motion per px of distance from the edge: skin is squeezed to a half, and never folds over


def eased(flow: Tensor, seen: Tensor) -> Tensor:
    """Return a motion [N, 2, H, W] px of which no more is left than the distance from what isn't seen allows.

    What isn't seen rests. The motion of half a pixel is all there at one pixel from it, that of a broad smile, 10 px,
    at 20. seen: [N, 1, H, W] in [0, 1].

    >>> seen = torch.ones(1, 1, 1, 8).index_fill(3, torch.arange(2), 0.0)
    >>> far, near = (eased(torch.full((1, 2, 1, 8), px), seen)[0, 0, 0].numpy().round(1) for px in (1.2, 0.3))
    >>> print(far, near)
    [0.  0.  0.4 0.7 1.1 1.2 1.2 1.2] [0.  0.  0.3 0.3 0.3 0.3 0.3 0.3]
    """
    shown = seen > _SHOWN
    if bool(shown.all()):
        return flow
    masks = shown[:, 0].to(torch.uint8).cpu().numpy()
    away = np.stack([cv2.distanceTransform(each, cv2.DIST_L2, cv2.DIST_MASK_5) for each in masks])
    most = _STEEPEST * torch.from_numpy(away).to(flow)[:, None]
    return flow * (most / torch.hypot(flow[:, :1], flow[:, 1:]).clamp(min=1e-6)).clamp(max=1)
