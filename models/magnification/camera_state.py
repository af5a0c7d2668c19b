# SPDX-License-Identifier: GPL-3.0-or-later
"""Camera state: statistics of two pictures that distinguish a sensor's noise from compression.

Sensor noise is white: the motion equations are unbiased, however noisy, and averaging helps. Video compression discards
what is below its visibility threshold, micro-motion first, and copies blocks that it takes for unchanged: its errors
are correlated in space and biased towards zero motion. They differ in the spectrum of the difference of two pictures
(fine grain or smooth patches), in colour (4:2:0 subsampling halves its resolution), in how evenly the difference is
spread, and in its exact zeros. The noise inflation factor is a function of these statistics (`refinement.Camera`).
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..device import fits_loops
from .filters import binomial, channel_max, median

STATES = 11  # statistics, the inputs of `refinement.Camera`
FLOOR = (0.05 / 255) ** 2  # variance added to all others, far below 8-bit rounding, (0.29 / 255)^2
SAME = 0.4 / 255  # of full scale; pixels that differ by less are exact repeats: 8-bit codes differ by 1 / 255
STRIDE = 3  # px between the samples of medians, in either direction
BLOCK = 8  # px, side of the transform blocks that H.264 copies or codes
GRAIN, GRID = 0, 9  # statistics that distinguish pictures without noise, and copied blocks
CLEAN_GRAIN = (-1.2, -0.2)  # of statistic 0: no noise, and enough; 8 bit only -1.4, noise of 1/255 -0.5, 2/255 -0.2
CODED_GRID = (0.2, 0.3)  # of statistic 9: not from a video, and from one; H.264 has 0.33 and more
RARE = 1e-3  # frequency added to both, so that the ratio of rare ends of repeats is about 1


def camera_state(reference: Tensor, frames: Tensor) -> Tensor:
    """Return the camera state of N frames against a reference: [N, STATES], of the order of one.

    reference: [1 or N, 3, H, W], frames: [N, 3, H, W], in [0, 1]. With d the difference of the two, in turn:

        0   level of the fine grain of d
        1   smooth part of d (4 to 16 px), against 0
        2   fine grain of d's colour (red - blue), against 0
        3   share of exact repeats
        4   quietest tenth of the 8 x 8 blocks against the median block
        5   liveliest tenth against the median block
        6   fine detail of the reference
        7   fine detail of its colour, against 6
        8   fine colour in d, against that of the reference: motion carries colour along, compression leaves it out
        9   ends of exact repeats on a grid of 8 px, against elsewhere
        10  colour from row to row in the reference, against brightness: 4:2:0 doesn't keep it

    All but 3 are logarithms of variances or of frequencies, or differences of such. Levels are medians over the
    picture, so that moving parts hardly count.

    >>> generator = torch.Generator().manual_seed(0)
    >>> still = torch.full((1, 3, 64, 64), 0.5)
    >>> quiet, noisy = (still + level / 255 * torch.randn(1, 3, 64, 64, generator=generator) for level in (1, 4))
    >>> bool(camera_state(still, noisy)[0, 0] > camera_state(still, quiet)[0, 0]), camera_state(still, noisy).shape
    (True, torch.Size([1, 11]))
    """
    bright, colour, repeats = colour_changes(reference, frames)
    grain, smooth, fine_colour = _fine(bright), _smooth(bright), _fine(colour)
    grey, tint = (_fine(image) for image in (reference.mean(1, keepdim=True), reference[:, :1] - reference[:, 2:]))
    places = F.avg_pool2d(bright.square(), 8)
    level = _typical(grain)
    busy = _log(places.flatten(1).quantile(torch.tensor([0.1, 0.5, 0.9], device=places.device), 1))
    detail = _typical(grey).expand_as(level)
    values = [
        level + 10,
        _typical(smooth) - level,
        _typical(fine_colour) - level,
        10 * repeats.float().mean((1, 2)),
        busy[0] - busy[1],
        busy[2] - busy[1],
        detail + 10,
        _typical(tint).expand_as(level) - detail,
        _colour_carried(repeats, (grain, fine_colour), (grey, tint)),
        5 * ends_on_grid(repeats),
        _colour_between_rows(reference).expand_as(level),
    ]
    return 0.2 * torch.stack(values, 1)


def rounding_only(state: Tensor) -> Tensor:
    """Return how far pictures have no noise but their rounding to 8 bit, in [0, 1]: [N, 1, 1, 1].

    state: [N, STATES]. A sensor's noise is all over the picture, so that there is none where the median pixel has no
    grain; blocks that a codec copied have none either, and end on a grid. The limits are from photographs, own and bent
    family.

    >>> reference = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    >>> changed = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(1)) < 0.05
    >>> noise = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    >>> clean, noisy = reference + changed / 255, reference + 2 / 255 * noise
    >>> [round(float(rounding_only(camera_state(reference, frame))), 1) for frame in (clean, noisy)]
    [1.0, 0.0]
    """
    (clean, grainy), (plain, coded) = CLEAN_GRAIN, CODED_GRID
    grainless = ((grainy - state[:, GRAIN]) / (grainy - clean)).clamp(0, 1)
    return (grainless * ((coded - state[:, GRID]) / (coded - plain)).clamp(0, 1)).view(-1, 1, 1, 1)


def _colour_carried(repeats: Tensor, change: tuple[Tensor, Tensor], reference: tuple[Tensor, Tensor]) -> Tensor:
    """Return the log ratio of fine colour to fine brightness in a change, less that of the reference: [N].

    Both are taken near pixels that have changed. repeats: [N, H, W], those that have not. change, reference: fine
    brightness and fine colour, [N, 1, H, W] and [1 or N, 1, H, W].
    """
    near = (_around((~repeats).float()[:, None]) > 5).float()
    amount = near.sum((1, 2, 3)) + 1

    def ratio(bright: Tensor, colour: Tensor) -> Tensor:
        of_bright, of_colour = (_log((fine.square() * near).sum((1, 2, 3)) / amount) for fine in (bright, colour))
        return of_colour - of_bright

    return ratio(*change) - ratio(*reference)


def _around(mask: Tensor) -> Tensor:
    """Return how many px of a mask [N, 1, H, W] are set in the 5 x 5 around each; beyond the border there are none."""
    if not fits_loops(mask):
        return (25 * F.avg_pool2d(mask, 5, 1, 2)).round()
    counts = [  # in a tenth of the time
        cv2.boxFilter(plane, -1, (5, 5), normalize=False, borderType=cv2.BORDER_CONSTANT)
        for plane in mask[:, 0].numpy()
    ]
    return torch.from_numpy(np.stack(counts))[:, None]


def ends_on_grid(repeats: Tensor) -> Tensor:
    """Return the log ratio of the ends of exact repeats [N, H, W] on a grid of `BLOCK` px to those elsewhere: [N].

    The grid's phase is unknown, as a picture may be cut out of a video: the most frequent one is taken.
    """
    found = []
    for ends in (_compiled_ends if fits_loops(repeats, dtype=torch.bool) else _ends)(repeats):
        folded = ends[:, : ends.shape[1] // BLOCK * BLOCK].unflatten(1, (-1, BLOCK)).mean(1)
        most = folded.amax(1)
        others = (folded.sum(1) - most) / (BLOCK - 1)
        found.append(torch.log((most + RARE) / (others + RARE)))
    return (found[0] + found[1]) / 2


def colour_changes(reference: Tensor, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the change of brightness and of colour, [N, 1, H, W] each, and which pixels are the same, [N, H, W].

    reference: [1 or N, 3, H, W], frames: [N, 3, H, W]; colour is red less blue.

    >>> changed = torch.tensor([0.2, 0.1, 0.0]).view(1, 3, 1, 1)
    >>> [round(float(each), 3) for each in colour_changes(torch.zeros(1, 3, 1, 1), changed)]
    [0.1, 0.2, 0.0]
    """
    if fits_loops(reference, frames):
        return _compiled_changes(reference, frames)
    change = frames - reference
    same = channel_max(change.abs())[:, 0] < SAME
    return change.mean(1, keepdim=True), change[:, :1] - change[:, 2:], same


def _compiled_changes(reference: Tensor, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the same on a CPU, in one pass."""
    from ..loops.comparison import compare_colours

    count, _, height, width = frames.shape
    bright, colour = frames.new_empty(2, count, 1, height, width)
    same = torch.empty(count, height, width, dtype=torch.bool)
    pictures = reference.contiguous().numpy(), frames.contiguous().numpy()
    compare_colours(pictures[0], pictures[1], np.float32(SAME), bright.numpy(), colour.numpy(), same.numpy())
    return bright, colour, same


def _ends(repeats: Tensor) -> list[Tensor]:
    """Return how often repeats [N, H, W] begin or end after each column, [N, W - 1], and after each row, [N, H - 1]."""
    found = []
    for along, across in ((2, 1), (1, 2)):
        after, before = (repeats.narrow(along, start, repeats.shape[along] - 1) for start in (1, 0))
        found.append((after != before).float().mean(across))
    return found


def _compiled_ends(repeats: Tensor) -> list[Tensor]:
    """Return the same on a CPU, in a fraction of the time."""
    from ..loops.comparison import count_ends

    count, height, width = repeats.shape
    columns, rows = (torch.empty(count, size - 1, dtype=torch.int64) for size in (width, height))
    count_ends(repeats.contiguous().numpy(), columns.numpy(), rows.numpy())
    return [columns.float() / height, rows.float() / width]


def _colour_between_rows(image: Tensor) -> Tensor:
    """Return the log ratio of the variances of colour and of brightness between pairs of rows: [N]."""
    bright, colour = image.mean(1, keepdim=True), image[:, :1] - image[:, 2:]

    def variance(values: Tensor) -> Tensor:
        height = values.shape[2] // 2 * 2
        return _log((values[..., 1:height:2, :] - values[..., :height:2, :]).square().mean((1, 2, 3)))

    return variance(colour) - variance(bright)


def _fine(image: Tensor) -> Tensor:
    """Return the high-pass image, below some 4 px."""
    return image - binomial(image)


def _smooth(image: Tensor) -> Tensor:
    """Return the band of some 4 to 16 px, at a quarter of the resolution."""
    coarse = F.avg_pool2d(image, 4)
    return coarse - binomial(binomial(coarse))


def _typical(image: Tensor) -> Tensor:
    """Return the logarithm of the median square, [N]."""
    step = STRIDE if image.shape[2] > 100 else 1
    return _log(median(image[..., ::step, ::step].square().flatten(1)))


def _log(values: Tensor) -> Tensor:
    return torch.log(values + FLOOR)
