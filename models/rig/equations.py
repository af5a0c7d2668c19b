# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion equations of a picture: what it says about the motion, and how surely, with nothing guessed in between."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..magnification.filters import binomial, box, gaussian, gradient, max_pool_2x2, mean_pool
from ..warp import pixel_grid, sample_spline

_NORMAL_QUARTILE_SQUARED = 0.455  # median of the square of a standard normal variable
_QUANTISATION = (0.3 / 255) ** 2  # variance of 8-bit rounding, the least noise any frame has


@dataclass(frozen=True)
class EquationSettings:
    """How pictures are turned into equations.

    texture_size: px; brightness that varies more slowly than this is light, not skin. A head that turns, and a cheek
        that is raised, change their shading; without this the change passes for motion of the skin.
    smoothings: 3 x 3 binomial filters in front of the gradient, which is worth nothing in the sensor's noise.
    least_change: of a colour, below which a place counts as unchanged. An encoder leaves out what isn't worth its bits
        (skipped blocks, the quantiser's dead zone), and 8 bit what is less than half a code. Four fifths of a face
        under H.264 are exactly as they were, which says that their change was small, not that there was none.
    unchanged: share of its precision that an unchanged place keeps. An encoder leaves out blocks of 8 x 8 px, each of
        which is one measurement, not 64. At H.264's CRF 20 (QP 23) the quantiser's step is 2^((23 - 4) / 6) = 9 codes
        and the dead zone of an inter block 5/6 of it, so that a coefficient just inside it is 7.5 / 8 = 0.94 code rms
        over the block; with one or two of them the variance is 10 or 20 times that of rounding, (0.3 code)², and the
        share 1/630 or 1/1260. It is small: what holds still where nothing was seen is `support`, not this.
    """

    texture_size: float = 12.0
    smoothings: int = 1
    least_change: float = 0.5 / 255
    unchanged: float = 1 / 1024


def motion_equations(
    reference: Tensor, frames: Tensor, flow: Tensor, settings: EquationSettings | None = None
) -> Tensor:
    """Linearise brightness constancy around a motion that is known roughly (to about a pixel).

    Args:
        reference: [1, 3, H, W] RGB in [0, 1].
        frames: [N, 3, H, W].
        flow: [N, 2, H, W] px, motion of the frames against the reference, the head's included.
        settings: how brightness is filtered.

    Returns:
        [N, 6, H/2, W/2]: Jxx, Jxy, Jyy (1 / px^2), hx, hy (1 / px) of J u = h for the whole motion u, in px of the
        frames, divided by the noise variance, so that J is the precision of the motion; and 1 where the picture has
        changed, else 0. H and W are even.
    """
    settings = settings or EquationSettings()
    base, moved = (_texture_ready(images, settings.smoothings) for images in (reference, frames))
    grid = pixel_grid(frames.shape[2], frames.shape[3], frames.device)
    warped = sample_spline(moved, grid + flow)
    sigma, reach = settings.texture_size, max(1, round(3 * settings.texture_size))
    base, warped = (image - gaussian(image, sigma, reach) for image in (base, warped))
    difference = warped - base
    gx, gy = gradient(0.5 * (warped + base))
    along = gx * flow[:, :1] + gy * flow[:, 1:] - difference
    pairs = ((gx, gx), (gx, gy), (gy, gy), (gx, along), (gy, along), (difference, difference))
    products = torch.cat([mean_pool(one * other, 2) for one, other in pairs], 1)
    squared = products[:, 5:]
    typical = squared.flatten(1).median(1).values.view(-1, 1, 1, 1) / _NORMAL_QUARTILE_SQUARED
    # Highlights, occlusions and whatever else the motion can't explain count less.
    noise = torch.maximum(typical + _QUANTISATION, box(squared, 5))
    changed = max_pool_2x2((frames - reference).abs().amax(1, keepdim=True)) > settings.least_change
    weight = torch.where(changed, 1.0, settings.unchanged)
    return torch.cat([products[:, :5] * weight / noise, changed.to(products)], 1)


def _texture_ready(images: Tensor, smoothings: int) -> Tensor:
    """Return brightness as its logarithm, in which shading is a sum, smoothed."""
    # sRGB's curve is a power of the light; the offset keeps the noise of shadows from being blown up.
    brightness = torch.log(images.mean(1, keepdim=True) + 0.1)
    for _ in range(smoothings):
        brightness = binomial(brightness)
    return brightness
