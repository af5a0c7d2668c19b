# SPDX-License-Identifier: GPL-3.0-or-later
"""Magnified and restored frames from known motion.

With the motion u of a frame against the reference, the rigid part v to be removed and the magnification factor alpha,
a point at p in the reference is at y = p + alpha (u - v)(p) in the output. `magnify` computes at every output pixel y

    1. Inversion      p(y) = y - e(y), where e is the backward displacement of alpha (u - v) (`backward_displacement`)
    2. Look-up        R = reference(p), F = frame(p + u(p)), by interpolating cubic splines; change of appearance F - R
    3. Blend          R + share (F - R); share is alpha below 1, and above 1 falls to 1/2 where F - R is noise alone
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..warp import backward_displacement, pixel_grid, sample, sample_spline
from .filters import box
from .motion import Motion

UNITY = 1e-5  # alpha this close to 1 is 1; float32 interpolates constant maps less exactly
MEDIAN_DEVIATION = 0.6745  # median absolute value of a standard normal variable
NOISE_RATIO = 1.3  # energy over noise variance up to which a change counts as noise alone; chosen by hand
MOST_REFERENCE = 0.5  # largest share of the reference above alpha 1, which halves the noise variance; from alpha 2 on
NOISE_STRIDE = 4  # px, between the samples of the noise estimate
LEAST_NOISE = 1e-12  # variance, so that identical pictures have a ratio


def magnify(reference: Tensor, frames: Tensor, motion: Motion, alpha: Tensor, rigid: Tensor | None) -> Tensor:
    """Return frames whose motion against `reference` is `alpha` times as large.

    reference: [1, 3, H, W]; frames: [N, 3, H, W]; alpha: [1 or N, 1, H, W] > 0 on the reference's pixels, or
    [1, 1, 1, 1]; rigid: [1 or N, 2, H, W] px, motion of the head as a whole; it is removed, not magnified. Where alpha
    is 1 and nothing rigid is removed, the frame's pixels are returned unchanged.

    >>> x = torch.arange(32.0).expand(1, 1, 16, 32)
    >>> def edge(place: float) -> Tensor:
    ...     return torch.sigmoid(x - place).expand(-1, 3, -1, -1)
    >>> flow = torch.cat([torch.full((1, 1, 16, 32), 0.5), torch.zeros(1, 1, 16, 32)], 1)
    >>> motion = Motion(flow, torch.ones(1, 1, 16, 32))
    >>> fourfold = magnify(edge(15), edge(15.5), motion, torch.full((1, 1, 1, 1), 4.0), None)
    >>> bool((fourfold - edge(17)).abs()[..., 4:-4].max() < 0.01)
    True
    """
    local = motion.flow if rigid is None else motion.flow - rigid
    # 1. Inversion
    backward = backward_displacement(alpha * local).displacement
    origin = pixel_grid(frames.shape[2], frames.shape[3], frames.device) - backward
    # 2. Look-up
    from_reference = sample_spline(reference, origin)
    from_frame = sample_spline(frames, origin + sample(motion.flow, origin))
    # 3. Blend
    alpha = alpha if alpha.shape[2:] == (1, 1) else sample(alpha, origin)
    change = from_frame - from_reference
    share = torch.where(alpha <= 1, alpha, 1 - _noise_share(change) * MOST_REFERENCE * torch.log2(alpha).clamp(0, 1))
    result = (from_reference + share * change).clamp(0, 1)
    return result if rigid is not None else torch.where((alpha - 1).abs() < UNITY, frames, result)


def compressed(alpha: Tensor, local: Tensor, limit: float) -> Tensor:
    """Return alpha lowered where alpha x motion would exceed `limit` px (a blink, a word), never below 1.

    alpha: [1 or N, 1, H, W]; local: [N, 2, H, W] px. Above the limit alpha is 1 + (alpha - 1) limit / (alpha |local|).

    >>> local = torch.tensor([0.5, 0.0]).view(1, 2, 1, 1), torch.tensor([5.0, 0.0]).view(1, 2, 1, 1)
    >>> [float(compressed(torch.full((1, 1, 1, 1), 9.0), motion, 6.0)) for motion in local]
    [9.0, 2.066...]
    """
    reach = alpha * local.norm(dim=1, keepdim=True)
    gain = 1 + (alpha - 1) * (limit / reach.clamp(min=limit))
    return torch.where(alpha > 1, gain, alpha)


def _noise_share(change: Tensor) -> Tensor:
    """Return 1 where the change of appearance [N, 3, H, W] is noise alone, towards 0 where it exceeds it: [N, 1, H, W].

    1 / (1 + excess), excess being the mean square over 5 x 5 px in units of the noise variance, less `NOISE_RATIO`. The
    noise is the picture's median absolute deviation.
    """
    energy = (change * change).mean(1, keepdim=True)
    deviation = change[..., ::NOISE_STRIDE, ::NOISE_STRIDE].abs().flatten(1).median(1).values / MEDIAN_DEVIATION
    noise = deviation.view(-1, 1, 1, 1) ** 2
    excess = (box(energy, 5) / noise.clamp(min=LEAST_NOISE) - NOISE_RATIO).clamp(min=0)
    return 1 / (1 + excess)
