# SPDX-License-Identifier: GPL-3.0-or-later
"""What kind of noise two pictures have, measured on the pictures alone.

A sensor's noise is white: independent from pixel to pixel. Then the equations of motion are unbiased, however noisy,
and their mean can be relied on. Video compression drops what it takes for invisible, micro-motion first, and copies
what it takes for unchanged: its errors are correlated in space and biased towards rest. What tells one from the other
is the spectrum of the difference of the two pictures: fine grain or smooth patches, all colours or brightness alone
(4:2:0 halves the resolution of colour), everywhere or in places, and how much of it is exactly zero.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .filters import binomial

STATES = 11
FLOOR = (0.05 / 255) ** 2  # variance below which there is nothing
SAME = 0.4 / 255  # pixels that differ by less are exact repeats
EVERY = 3  # pixels of which one is looked at, in either direction
BLOCK = 8  # px, side of the blocks in which H.264 decides whether to copy
RARE = 1e-3  # share of the pixels below which the ends of exact repeats are not counted


def camera_state(reference: Tensor, frames: Tensor) -> Tensor:
    """Return what kind of noise N frames have against a reference: [N, STATES], of the order of one.

    reference: [1 or N, 3, H, W], frames: [N, 3, H, W], in [0, 1]. In turn: the level of the fine grain of the
    difference; how much smooth difference there is to it; how much grain of colour; the share of exact repeats; how
    much less the quietest and how much more the liveliest places differ than most; fine detail of the reference, and of
    its colour; how much of the reference's fine colour the difference has where there is one, which motion carries
    along and compression leaves out; how much oftener exact repeats end on a grid of blocks than elsewhere; and how
    much the reference's colour differs from row to row, which 4:2:0 does not keep, to how much its brightness does. All
    but the repeats are logarithms of ratios of variances or of frequencies. The levels of grain and detail are medians
    over the picture, so that what moves counts little.
    """
    change = frames - reference
    bright, colour = change.mean(1, keepdim=True), change[:, :1] - change[:, 2:]
    grain, smooth = _fine(bright), _smooth(bright)
    grey, tint = reference.mean(1, keepdim=True), reference[:, :1] - reference[:, 2:]
    places = F.avg_pool2d(bright.square(), 8)
    level = _typical(grain)
    repeats = change.abs().amax(1) < SAME
    busy = _log(places.flatten(1).quantile(torch.tensor([0.1, 0.5, 0.9], device=places.device), 1))
    detail = _typical(_fine(grey)).expand_as(level)
    values = [
        level + 10,
        _typical(smooth) - level,
        _typical(_fine(colour)) - level,
        10 * repeats.float().mean((1, 2)),
        busy[0] - busy[1],
        busy[2] - busy[1],
        detail + 10,
        _typical(_fine(tint)).expand_as(level) - detail,
        _colour_carried(change, reference),
        5 * _blocks(repeats),
        _colour_between_rows(reference).expand_as(level),
    ]
    return 0.2 * torch.stack(values, 1)


def _colour_carried(change: Tensor, reference: Tensor) -> Tensor:
    """Return how much fine colour there is to the fine brightness of a change, against the same of the reference: [N].

    Only what changes counts.
    """
    moved = (change.abs().amax(1, keepdim=True) >= SAME).float()
    near = (F.avg_pool2d(moved, 5, 1, 2) > 0.2).float()
    amount = near.sum((1, 2, 3)) + 1

    def energy(image: Tensor) -> Tensor:
        return _log((_fine(image).square() * near).sum((1, 2, 3)) / amount)

    bright, colour = (energy(image.mean(1, keepdim=True)) for image in (change, reference))
    tints = [energy(image[:, :1] - image[:, 2:]) for image in (change, reference)]
    return tints[0] - bright - (tints[1] - colour)


def _blocks(repeats: Tensor) -> Tensor:
    """Return the logarithm of how much oftener regions of exact repeats [N, H, W] end on a grid than elsewhere: [N].

    Where the grid begins is not known, because a picture may be cut out of a video: it is looked for.
    """
    found = []
    for values in (repeats, repeats.mT):
        ends = (values[..., 1:] != values[..., :-1]).float().mean(1)
        folded = ends[:, : ends.shape[1] // BLOCK * BLOCK].unflatten(1, (-1, BLOCK)).mean(1)
        most = folded.amax(1)
        others = (folded.sum(1) - most) / (BLOCK - 1)
        found.append(torch.log((most + RARE) / (others + RARE)))
    return (found[0] + found[1]) / 2


def _colour_between_rows(image: Tensor) -> Tensor:
    """Return the logarithm of the variance of colour to that of brightness, from one row to the next: [N]."""
    bright, colour = image.mean(1, keepdim=True), image[:, :1] - image[:, 2:]

    def variance(values: Tensor) -> Tensor:
        height = values.shape[2] // 2 * 2
        return _log((values[..., 1:height:2, :] - values[..., :height:2, :]).square().mean((1, 2, 3)))

    return variance(colour) - variance(bright)


def _fine(image: Tensor) -> Tensor:
    return image - binomial(image)


def _smooth(image: Tensor) -> Tensor:
    """Return what is between some 4 and 16 px, at a resolution of a quarter."""
    coarse = F.avg_pool2d(image, 4)
    return coarse - binomial(binomial(coarse))


def _typical(image: Tensor) -> Tensor:
    """Return the logarithm of the median square, [N]."""
    step = EVERY if image.shape[2] > 100 else 1
    return _log(image[..., ::step, ::step].square().flatten(1).median(1).values)


def _log(values: Tensor) -> Tensor:
    return torch.log(values + FLOOR)
