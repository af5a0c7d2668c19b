# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a head that turns moves the face: its parts against each other, which no shift of the picture does."""

from __future__ import annotations

import torch
from torch import Tensor

from ..magnification.filters import pool_to

_SIDE = 48  # cells along a side; the head's motion is smooth
_TIMES = 3.0  # what turns by 10 degrees moves by 1.8 times the rest, a crop pushed by a hand by 70 times
_LEAST = 1e-9  # keeps sums of weights from being zero


def head_turning(rigid: Tensor, weight: Tensor) -> Tensor:
    """Return how far a head's motion carries the face, in mean where it is seen, where the head turns: [N] px.

    rigid: [N, 2, H, W] px. weight: [N, 1, H, W] in [0, 1], where the face is seen. Where the motion is a similarity of
    the plane but for a rest (as a turn is not), it is `_TIMES` times that rest: a picture that is shifted, turned or
    scaled as a whole, as by a crop that follows a face behind a hand, leaves nothing in the face's own motion.

    >>> y, x = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")
    >>> moved = torch.stack([2 + 0.1 * x - 0.2 * y, 0.2 * x + 0.1 * y])[None]
    >>> turned = torch.stack([5 * torch.sin(x / 8), 0 * y])[None]
    >>> [round(float(head_turning(each, torch.ones(1, 1, 48, 48))), 2) for each in (moved, turned)]
    [0.0, 3.28]
    """
    size = (min(_SIDE, rigid.shape[2]), min(_SIDE, rigid.shape[3]))
    share = pool_to(weight, size).flatten(2)[:, 0].double()
    share = share / share.sum(1, keepdim=True).clamp(min=_LEAST)
    x, y = pool_to(rigid, size).flatten(2).double().unbind(1)
    moved = torch.complex(x, y)
    motion = _centred(moved, share)
    steps = (torch.arange(cells).to(x) * px / cells for cells, px in zip(size, rigid.shape[2:], strict=True))
    down, across = torch.meshgrid(*steps, indexing="ij")
    place = _centred(torch.complex(across, down).flatten().expand_as(motion), share)
    spread = (share * place.abs().square()).sum(1).clamp(min=_LEAST)
    factor = (share * place.conj() * motion).sum(1) / spread
    whole, rest = ((share * each.abs()).sum(1) for each in (moved, motion - factor[:, None] * place))
    return torch.minimum(whole, _TIMES * rest).to(rigid)


def _centred(values: Tensor, share: Tensor) -> Tensor:
    return values - (share * values).sum(1, keepdim=True)
