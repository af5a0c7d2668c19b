# SPDX-License-Identifier: GPL-3.0-or-later
"""A clip that turns black and white, or back: frames are given the colour that the reference has."""

from __future__ import annotations

import torch
from torch import Tensor

_GREY = 0.01  # of full scale, mean difference of a picture's channels; skin in colour has 0.1 and more
LUMA = (0.2126, 0.7152, 0.0722)  # ITU-R BT.709
_BLACK = 1 / 255  # keeps ratios of shadows finite
_SPARSE = 4  # px: as closely as a picture is looked at for colours


def coloured_as(frame: Tensor, reference: Tensor) -> Tensor:
    """Return a frame [3, H, W] in the reference's colours, where one of the two is grey and the other isn't.

    Lips and brows differ from the skin by colour, too, so that grey ones have another contrast, which would be taken
    for motion. A small motion leaves the colours of a place as they are.

    >>> red = torch.tensor([0.8, 0.4, 0.2]).view(3, 1, 1).expand(3, 4, 4)
    >>> grey = torch.full((3, 4, 4), 0.5)
    >>> [round(float(each.mean()), 2) for each in coloured_as(grey, red)]
    [0.85, 0.43, 0.21]
    >>> coloured_as(red, grey).std(0).max().item() < 1e-6, coloured_as(red, red) is red
    (True, True)
    """
    if is_grey(frame) == is_grey(reference):
        return frame
    if is_grey(reference):
        return _luma(frame).expand_as(frame)
    return (frame * (reference + _BLACK) / (_luma(reference) + _BLACK)).clamp(0, 1)


def is_grey(picture: Tensor) -> bool:
    """Return whether a picture [3, H, W] is black and white."""
    sparse = picture[:, ::_SPARSE, ::_SPARSE].contiguous()
    return float((sparse.amax(0) - sparse.amin(0)).mean()) < _GREY


def _luma(picture: Tensor) -> Tensor:
    return (picture * torch.tensor(LUMA).to(picture).view(3, 1, 1)).sum(0, keepdim=True)
