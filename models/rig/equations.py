# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion equations J u = h of a picture: brightness constancy with the precision of each direction, without a prior."""

from __future__ import annotations

import torch
from torch import Tensor

from ..device import fits_loops
from ..magnification.filters import binomial, box, gaussian, gaussian_kernel, gradient, max_pool_2x2, mean_pool
from ..magnification.solver import CHI_SQUARED_MEDIAN, median_where_seen
from ..warp import SplineImage
from .measurement import UNCHANGED

_LEAST_NOISE = (0.3 / 255) ** 2  # variance of log brightness; 8-bit rounding of a channel has 1 / (12 x 255^2)
_CODED = 0.5  # least share of coded pixels in a place that has changed
_BLACK = 0.1  # of full scale, added to brightness so that the logarithm doesn't magnify the noise of shadows


# px, standard deviation of the high-pass filter. A turning head and a raised cheek change their shading, which varies
# more slowly; unfiltered, that change would be estimated as motion.
_TEXTURE_SIZE = 12.0
# Of a colour, below which a place counts as unchanged. An encoder drops small changes (skipped blocks, the quantiser's
# dead zone), and 8 bit those of less than half a code. Four fifths of a face under H.264 are exact repeats: their
# change was small, not zero.
_LEAST_CHANGE = 0.5 / 255


def motion_equations(
    reference: Tensor,
    frames: Tensor,
    flow: Tensor,
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
    base = texture_of(reference) if base is None else base
    warped = _fine(SplineImage(_smooth_brightness(frames)).displaced(flow))
    products = (_compiled_products if fits_loops(base, warped, flow) else _products)(base, warped, flow)
    squared = products[:, 5:]
    coded = None if copied is None else 1 - mean_pool(copied, 2)
    typical = median_where_seen(squared, coded) / CHI_SQUARED_MEDIAN
    # Outliers (highlights, occlusions) have a local variance above the picture's.
    noise = torch.maximum(typical + _LEAST_NOISE, box(squared, 5))
    change = (_compiled_change if fits_loops(reference, frames) else _change)(reference, frames)
    changed = change > _LEAST_CHANGE
    if coded is not None:
        changed &= coded > _CODED
    weight = torch.where(changed, 1.0, UNCHANGED)
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
    from ..loops.motion import pool_products

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
    from ..loops.motion import pool_change

    result = frames.new_empty(len(frames), 1, frames.shape[2] // 2, frames.shape[3] // 2)
    pool_change(reference.contiguous().numpy(), frames.contiguous().numpy(), result.numpy())
    return result


def texture_of(images: Tensor) -> Tensor:
    """Return the detail of images [N, 3, H, W] that their motion is seen in, [N, 1, H, W]."""
    return _fine(_smooth_brightness(images))


def _smooth_brightness(images: Tensor) -> Tensor:
    """Return log brightness, [N, 1, H, W]: shading, a factor of the light, is a term of its logarithm.

    It is smoothed by 3 x 3 px, or sensor noise would bias its gradient.
    """
    return binomial(torch.log(images.mean(1, keepdim=True) + _BLACK))


def _fine(image: Tensor) -> Tensor:
    reach = round(3 * _TEXTURE_SIZE)
    return image - (_compiled_gaussian if fits_loops(image) else gaussian)(image, _TEXTURE_SIZE, reach)


def _compiled_gaussian(image: Tensor, sigma: float, reach: int) -> Tensor:
    """Return what `gaussian` does on a CPU, in half of the time where it reaches far."""
    from ..loops.filters import blur

    blurred = torch.empty_like(image, memory_format=torch.contiguous_format)
    blur(image.contiguous().numpy(), gaussian_kernel(sigma, reach)[reach:].numpy(), blurred.numpy())
    return blurred
