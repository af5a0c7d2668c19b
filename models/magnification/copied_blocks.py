# SPDX-License-Identifier: GPL-3.0-or-later
"""What a video codec copied is missing data, not a measurement of rest.

H.264 codes a block only where it changes visibly, and otherwise copies it: there the two decoded pictures are exactly
equal, whatever the face did below the codec's dead zone. Of a face that moves by 0.5 px that is 70 to 99 % at crf 20.
The solver estimates the noise by the median difference, which is then zero, so that zero motion would have the highest
precision of all. An exact repeat alone proves nothing, as 8-bit pictures without noise are equal where nothing moves;
but a codec's repeats end on a grid. So the equations of copied blocks get a weight of `COPIED_WEIGHT`, and the noise is
that of the coded ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .camera_state import SAME, colour_changes, ends_on_grid
from .filters import box, dilate, resize

Picture = NDArray[np.float32]  # [H, W, 3]

AROUND = 7  # px along a side of the squares in which exact repeats are counted, about a block of 8 px
# Log ratio of ends of repeats on the grid: none copied, and some. Without a codec 0 to 0.38, after H.264 at crf 20 1.1
# to 3.9 (photographs, own and bent family), 0.53 to 0.78 in a video from the web, after some frames.
ON_GRID = (0.4, 0.6)
COPIED_WEIGHT = 0.1  # chosen on photographs, own and bent family; 0 would leave nothing that holds a face at rest
MOST_COPIED = 0.01  # share of a frame that repeats by chance
CERTAINLY_CODED = 0.05  # share of a frame, above which it is from a codec for certain


def copied_share(reference: Tensor, frames: Tensor) -> Tensor:
    """Return the share of pixels around each that a codec copied from the reference, in [0, 1]: [N, 1, H, W].

    reference: [1, 3, H, W]; frames: [N, 3, H, W], in [0, 1], as they were decoded: in resampled pictures a codec's grid
    is not found. 0 everywhere in frames whose repeats end on no grid.

    >>> import torch
    >>> random = torch.Generator().manual_seed(0)
    >>> still = torch.rand(1, 3, 64, 64, generator=random)
    >>> coded = (torch.rand(1, 1, 8, 8, generator=random) < 0.3).float().repeat_interleave(8, 2).repeat_interleave(8, 3)
    >>> speckled = (torch.rand(1, 1, 64, 64, generator=random) < 0.3).float()
    >>> [bool(copied_share(still, still + where / 255).amax() > 0) for where in (coded, speckled)]
    [True, False]
    """
    repeats = colour_changes(reference, frames)[2][:, None].to(frames.dtype)
    blocks = _opened(repeats)
    none, some = ON_GRID
    coded = ((ends_on_grid(blocks[:, 0] > 0) - none) / (some - none)).clamp(0, 1)
    near = dilate(blocks, AROUND)  # elsewhere pixels repeat by chance
    return coded.view(-1, 1, 1, 1) * near * box(repeats, AROUND)


@dataclass(frozen=True)
class Repeats:
    """Where a decoded picture repeats another one, 0 or 1: its pixels [H, W], and those of them that are not alone."""

    pixels: NDArray[np.uint8]
    blocks: NDArray[np.uint8]


def repeats_in(reference: Picture, frame: Picture) -> Repeats:
    """Return where one decoded picture [H, W, 3] repeats another one."""
    below = float(np.nextafter(np.float32(SAME), np.float32(0)))
    pixels = cv2.inRange(cv2.absdiff(frame, reference), (0.0,) * 3, (below,) * 3) & np.uint8(1)
    blocks = cv2.morphologyEx(pixels, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    return Repeats(np.asarray(pixels, np.uint8), np.asarray(blocks, np.uint8))


def copied_of(repeats: Repeats) -> NDArray[np.float32]:
    """Return what `copied_share` does of one decoded picture, [H, W], by OpenCV in a third of the time."""
    blocks = repeats.blocks
    none, some = ON_GRID
    coded = float(((ends_on_grid(torch.from_numpy(blocks > 0)[None])[0] - none) / (some - none)).clamp(0, 1))
    if not coded:
        return np.zeros(blocks.shape, np.float32)
    near, window = cv2.dilate(blocks, np.ones((AROUND, AROUND), np.uint8)), (AROUND, AROUND)
    count = cv2.boxFilter(repeats.pixels, cv2.CV_32F, window, normalize=False, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.multiply(count, near, scale=coded / AROUND**2, dtype=cv2.CV_32F), np.float32)


def _opened(mask: Tensor) -> Tensor:
    """Return a mask [N, 1, H, W] without what is smaller than 3 x 3 px: single pixels repeat by chance."""
    return dilate(1 - dilate(1 - mask, 3), 3)


def weight_of(copied: Tensor, grid: tuple[int, int]) -> Tensor | None:
    """Return the weight of the equations on a grid (height, width): [N, 1, h, w]; None where nothing was copied.

    copied: [N, 1, H, W], see `copied_share`.
    """
    if not bool(copied.amax() > 0):
        return None
    return 1 - (1 - COPIED_WEIGHT) * resize(copied, grid).clamp(0, 1)


def coded(copied: Tensor) -> Tensor:
    """Return how clearly frames come from a codec that copied parts of them, in [0, 1]: [N, 1, 1, 1].

    copied: [N, 1, H, W] in [0, 1], see `copied_share`.

    >>> import torch
    >>> shares = torch.tensor([0.0, 0.01, 0.03, 0.7]).view(4, 1, 1, 1).expand(-1, -1, 8, 8)
    >>> [round(float(each), 2) for each in coded(shares).flatten()]
    [0.0, 0.0, 0.5, 1.0]
    """
    share = copied.mean((1, 2, 3), keepdim=True)
    return ((share - MOST_COPIED) / (CERTAINLY_CODED - MOST_COPIED)).clamp(0, 1)
