# SPDX-License-Identifier: GPL-3.0-or-later
"""What kind of noise two pictures have, read from the pictures alone.

A sensor's noise is white: every pixel has its own. Then the equations of the motion are right on average, however noisy
they are, and enough of them are to be believed. Video compression throws away what it holds to be unseen, micro-motion
first, and copies what it holds to be unchanged: its errors are smooth, alike in neighbours, and pull towards rest. What
tells one from the other is how the difference of two pictures is made up: of fine grain or of smooth patches, of all
colours alike or of brightness only (4:2:0 halves the resolution of colour), everywhere or in places, and how much of it
is exactly nothing.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .filters import binomial

STATES = 8
FLOOR = (0.05 / 255) ** 2  # variance below which there is nothing
SAME = 0.4 / 255  # pixels that differ by less are exact repeats
EVERY = 3  # pixels of which one is looked at, in either direction


def camera_state(reference: Tensor, frames: Tensor) -> Tensor:
    """Return what kind of noise N frames have against a reference: [N, STATES], of the order of one.

    reference: [1 or N, 3, H, W], frames: [N, 3, H, W], in [0, 1]. In turn: the level of the fine grain of the
    difference; how much smooth difference there is to it; how much grain of colour; the share of exact repeats; how
    much less the quietest and how much more the liveliest places differ than most; fine detail of the reference, and of
    its colour. All but the repeats are logarithms of ratios of variances, medians over the picture, so that what moves
    counts little.
    """
    change = frames - reference
    bright, colour = change.mean(1, keepdim=True), change[:, :1] - change[:, 2:]
    grain, smooth = _fine(bright), _smooth(bright)
    grey, tint = reference.mean(1, keepdim=True), reference[:, :1] - reference[:, 2:]
    places = F.avg_pool2d(bright.square(), 8)
    level = _typical(grain)
    same = (change.abs().amax(1) < SAME).float().mean((1, 2))
    busy = _log(places.flatten(1).quantile(torch.tensor([0.1, 0.5, 0.9], device=places.device), 1))
    detail = _typical(_fine(grey)).expand_as(level)
    values = [
        level + 10,
        _typical(smooth) - level,
        _typical(_fine(colour)) - level,
        10 * same,
        busy[0] - busy[1],
        busy[2] - busy[1],
        detail + 10,
        _typical(_fine(tint)).expand_as(level) - detail,
    ]
    return 0.2 * torch.stack(values, 1)


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
