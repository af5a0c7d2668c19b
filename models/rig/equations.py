# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion equations J u = h of a picture: brightness constancy with the precision of each direction, without a prior."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..device import fits_loops
from ..magnification.filters import binomial, box, gaussian, gaussian_kernel, gradient, max_pool_2x2, mean_pool
from ..magnification.solver import CHI_SQUARED_MEDIAN, median_where_seen
from ..warp import pixel_grid, sample_spline
from .measurement import UNCHANGED

_LEAST_NOISE = (0.3 / 255) ** 2  # variance of log brightness; 8-bit rounding of a channel has 1 / (12 x 255^2)
_CODED = 0.5  # least share of coded pixels in a place that has changed
_BLACK = 0.1  # of full scale, added to brightness so that the logarithm doesn't magnify the noise of shadows


@dataclass(frozen=True)
class EquationSettings:
    """How pictures are turned into equations.

    texture_size: px, standard deviation of the high-pass filter. A turning head and a raised cheek change their
        shading, which varies more slowly; unfiltered, that change would be estimated as motion.
    smoothings: 3 x 3 binomial filters before the gradient, which sensor noise would bias.
    least_change: of a colour, below which a place counts as unchanged. An encoder drops small changes (skipped blocks,
        the quantiser's dead zone), and 8 bit those of less than half a code. Four fifths of a face under H.264 are
        exact repeats: their change was small, not zero.
    unchanged: share of its precision that an unchanged place keeps. An encoder leaves out blocks of 8 x 8 px, each of
        which is one measurement, not 64. At H.264's CRF 20 (QP 23) the quantiser's step is 2^((23 - 4) / 6) = 9 codes
        and the dead zone of an inter block 5/6 of it, so that a coefficient just inside it is 7.5 / 8 = 0.94 code rms
        over the block; with one or two of them the variance is 10 or 20 times that of rounding, (0.3 code)², and the
        share 1/630 or 1/1260. It is small: controls of unchanged places are bounded by `support`, not by this.
    """

    texture_size: float = 12.0
    smoothings: int = 1
    least_change: float = 0.5 / 255
    unchanged: float = UNCHANGED


def motion_equations(
    reference: Tensor,
    frames: Tensor,
    flow: Tensor,
    settings: EquationSettings | None = None,
    copied: Tensor | None = None,
    base: Tensor | None = None,
) -> Tensor:
    """Linearise brightness constancy around a motion that is known to about a pixel.

    With g the gradient of the mean of reference and warped frame and d their difference,

        J = sum g g^T / noise,    h = sum g (g . flow - d) / noise    over 2 x 2 px.

    Args:
        reference: [1, 3, H, W] RGB in [0, 1].
        frames: [N, 3, H, W].
        flow: [N, 2, H, W] px, motion of the frames against the reference, the head's included.
        settings: how brightness is filtered.
        copied: [N, 1, H, W] in [0, 1], what a codec copied from the reference (`copied_share`): unchanged places, also
            where the frames are resampled, so that they differ from the reference; the noise is that of the others.
        base: [1, 1, H, W], `texture_of` the reference, where it is known.

    Returns:
        [N, 6, H/2, W/2]: Jxx, Jxy, Jyy (1 / px^2), hx, hy (1 / px) of J u = h for the whole motion u, in px of the
        frames, divided by the noise variance, so that J is the precision of the motion; and 1 where the picture has
        changed, else 0. H and W are even.

    >>> y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    >>> def picture(shift: float) -> Tensor:
    ...     waves = torch.sin((x - shift) / 3) + torch.sin((x - shift) / 5 - y / 4) + torch.sin((x - shift) / 9 + y / 3)
    ...     return (0.5 + 0.1 * waves).expand(1, 3, -1, -1)
    >>> equations = motion_equations(picture(0), picture(0.5), torch.zeros(1, 2, 64, 64))
    >>> jxx, jxy, jyy, hx, hy, _ = equations.sum((0, 2, 3))  # of all places: one motion of 0.5 px along x
    >>> motion = torch.linalg.solve(torch.tensor([[jxx, jxy], [jxy, jyy]]), torch.tensor([hx, hy]))
    >>> bool((motion - torch.tensor([0.5, 0.0])).abs().max() < 0.02)
    True
    """
    settings = settings or EquationSettings()
    base = texture_of(reference, settings) if base is None else base
    grid = pixel_grid(frames.shape[2], frames.shape[3], frames.device)
    warped = _fine(sample_spline(_smooth_brightness(frames, settings), grid + flow), settings)
    products = (_compiled_products if fits_loops(base, warped, flow) else _products)(base, warped, flow)
    squared = products[:, 5:]
    coded = None if copied is None else 1 - mean_pool(copied, 2)
    typical = median_where_seen(squared, coded) / CHI_SQUARED_MEDIAN
    # Outliers (highlights, occlusions) have a local variance above the picture's.
    noise = torch.maximum(typical + _LEAST_NOISE, box(squared, 5))
    change = (_compiled_change if fits_loops(reference, frames) else _change)(reference, frames)
    changed = change > settings.least_change
    if coded is not None:
        changed &= coded > _CODED
    weight = torch.where(changed, 1.0, settings.unchanged)
    return torch.cat([products[:, :5] * weight / noise, changed.to(products)], 1)


def _products(base: Tensor, warped: Tensor, flow: Tensor) -> Tensor:
    """Return gx gx, gx gy, gy gy, gx a, gy a and d d as means over 2 x 2 px, [N, 6, H/2, W/2]; a = g . flow - d."""
    difference = warped - base
    gx, gy = gradient(0.5 * (warped + base))
    along = gx * flow[:, :1] + gy * flow[:, 1:] - difference
    pairs = ((gx, gx), (gx, gy), (gy, gy), (gx, along), (gy, along), (difference, difference))
    return torch.cat([mean_pool(one * other, 2) for one, other in pairs], 1)


def _compiled_products(base: Tensor, warped: Tensor, flow: Tensor) -> Tensor:
    """Return the same on a CPU, in a fifth of the time."""
    from ..loops import pool_products

    count, _, height, width = flow.shape
    result = flow.new_empty(count, 6, height // 2, width // 2)
    pictures = base.contiguous().numpy(), warped.contiguous().numpy(), flow.contiguous().numpy()
    pool_products(pictures[0], pictures[1], pictures[2], result.numpy())
    return result


def _change(reference: Tensor, frames: Tensor) -> Tensor:
    """Return the largest change of any channel in 2 x 2 px, [N, 1, H/2, W/2]."""
    return max_pool_2x2((frames - reference).abs().amax(1, keepdim=True))


def _compiled_change(reference: Tensor, frames: Tensor) -> Tensor:
    """Return the same on a CPU, in a thirtieth of the time."""
    from ..loops import pool_change

    result = frames.new_empty(len(frames), 1, frames.shape[2] // 2, frames.shape[3] // 2)
    pool_change(reference.contiguous().numpy(), frames.contiguous().numpy(), result.numpy())
    return result


def texture_of(images: Tensor, settings: EquationSettings | None = None) -> Tensor:
    """Return the detail of images [N, 3, H, W] that their motion is seen in, [N, 1, H, W]."""
    settings = settings or EquationSettings()
    return _fine(_smooth_brightness(images, settings), settings)


def _smooth_brightness(images: Tensor, settings: EquationSettings) -> Tensor:
    """Return smoothed log brightness, [N, 1, H, W]: shading, a factor of the light, is a term of its logarithm."""
    brightness = torch.log(images.mean(1, keepdim=True) + _BLACK)
    for _ in range(settings.smoothings):
        brightness = binomial(brightness)
    return brightness


def _fine(image: Tensor, settings: EquationSettings) -> Tensor:
    sigma, reach = settings.texture_size, max(1, round(3 * settings.texture_size))
    return image - (_compiled_gaussian if fits_loops(image) else gaussian)(image, sigma, reach)


def _compiled_gaussian(image: Tensor, sigma: float, reach: int) -> Tensor:
    """Return what `gaussian` does on a CPU, in half of the time where it reaches far."""
    from ..loops import blur

    blurred = torch.empty_like(image, memory_format=torch.contiguous_format)
    blur(image.contiguous().numpy(), gaussian_kernel(sigma, reach)[reach:].numpy(), blurred.numpy())
    return blurred
