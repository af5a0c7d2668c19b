# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a head that turns moves the face: its parts against each other, which no shift of the picture does."""

from __future__ import annotations

import torch
from torch import Tensor

from ..magnification.filters import pool_to, pool_weighted

_SIDE = 48  # cells along a side; the head's motion is smooth
_TIMES = 3.0  # what turns by 10 degrees moves by 1.8 times the rest, a crop pushed by a hand by 70 times
_HIDDEN = 0.1  # of the face: from here on what hides it may push the crop
_LEAST = 1e-9  # keeps sums of weights from being zero


def head_turning(rigid: Tensor, face: Tensor, seen: Tensor) -> Tensor:
    """Return how far a head's motion carries the face, in mean where it is seen, where the head turns: [N] px.

    rigid: [N, 2, H, W] px. face: [1, 1, H, W] in [0, 1], where it is; seen: [N, 1, H, W] in [0, 1]. A crop that follows
    a face of which a part is hidden is pushed by what hides it, which shifts, turns or scales the picture as a whole
    and leaves nothing in the face's own motion. So where more than `_HIDDEN` of the face isn't seen, it is at most
    `_TIMES` times what is left of the motion beside the nearest similarity of the plane.

    >>> y, x = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")
    >>> moved = torch.stack([2 + 0.1 * x - 0.2 * y, 0.2 * x + 0.1 * y])[None]
    >>> turned = torch.stack([5 * torch.sin(x / 8), 0 * y])[None]
    >>> face, seen = torch.ones(2, 1, 1, 48, 48)
    >>> seen[..., 40:] = 0
    >>> [round(float(head_turning(each, face, seen)), 2) for each in (moved, turned)]
    [0.0, 3.22]
    >>> round(float(head_turning(moved, face, face)), 1)
    7.8
    """
    size = (min(_SIDE, rigid.shape[2]), min(_SIDE, rigid.shape[3]))
    x, y = pool_to(rigid, size).flatten(2).double().unbind(1)
    moved = torch.complex(x, y)
    means = pool_to(face, size), pool_weighted(face, seen, size)
    whole, part = (each.flatten(2)[:, 0].double() for each in means)
    hidden = 1 - part.sum(1) / whole.sum(1).clamp(min=_LEAST)
    share = part / part.sum(1, keepdim=True).clamp(min=_LEAST)
    found = (share * moved.abs()).sum(1)
    rest = _beside_similarity(moved, share, (rigid.shape[2], rigid.shape[3]), size)
    return torch.where(hidden > _HIDDEN, torch.minimum(found, _TIMES * rest), found).to(rigid)


def _beside_similarity(moved: Tensor, share: Tensor, shape: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Return the mean size of what no similarity of the plane explains of motion [N, P], complex px, by shares [N, P].

    shape: of the picture, px; size: of the grid of P cells (height, width).
    """
    steps = (torch.arange(cells).to(share) * px / cells for cells, px in zip(size, shape, strict=True))
    down, across = torch.meshgrid(*steps, indexing="ij")
    motion = _centred(moved, share)
    place = _centred(torch.complex(across, down).flatten().expand_as(motion), share)
    spread = (share * place.abs().square()).sum(1).clamp(min=_LEAST)
    factor = (share * place.conj() * motion).sum(1) / spread
    return (share * (motion - factor[:, None] * place).abs()).sum(1)


def _centred(values: Tensor, share: Tensor) -> Tensor:
    return values - (share * values).sum(1, keepdim=True)
