# SPDX-License-Identifier: GPL-3.0-or-later
"""Magnified and restored frames from known motion: analytic inversion, two look-ups, one blend."""

from __future__ import annotations

import torch
from torch import Tensor

from ..warp import backward_displacement, pixel_grid, sample, sample_spline
from .filters import box
from .motion import Motion

UNITY = 1e-5  # alpha this close to 1 is 1; float32 interpolates constant maps less exactly
NOISE_QUARTILE = 0.6745  # median of the absolute value of a standard normal variable


def magnify(reference: Tensor, frames: Tensor, motion: Motion, alpha: Tensor, rigid: Tensor | None) -> Tensor:
    """Return frames whose motion against `reference` is `alpha` times as large.

    reference: [1, 3, H, W]; frames: [N, 3, H, W]; alpha: [1 or N, 1, H, W] > 0 on the reference's pixels, or
    [1, 1, 1, 1]; rigid: [1 or N, 2, H, W] px, motion of the head as a whole; it is taken out, not magnified.

    What was at p goes to y = p + alpha (u - rigid)(p). The frame is looked up at p + u(p), the reference at p. Above
    1 the output is the frame's look-up, with the reference's mixed in where both differ by noise alone; below 1 the
    change of appearance is kept in the same share as the motion. Where alpha is 1 and nothing rigid is removed, the
    frame's pixels are returned as they are.
    """
    local = motion.flow if rigid is None else motion.flow - rigid
    origin = pixel_grid(frames.shape[2], frames.shape[3], frames.device) - backward_displacement(alpha * local)
    from_reference = sample_spline(reference, origin)
    from_frame = sample_spline(frames, origin + sample(motion.flow, origin))
    alpha = alpha if alpha.shape[2:] == (1, 1) else sample(alpha, origin)
    change = from_frame - from_reference
    share = torch.where(alpha <= 1, alpha, 1 - _noise_only(change) * 0.5 * torch.log2(alpha).clamp(0, 1))
    result = (from_reference + share * change).clamp(0, 1)
    return result if rigid is not None else torch.where((alpha - 1).abs() < UNITY, frames, result)


def compressed(alpha: Tensor, local: Tensor, limit: float) -> Tensor:
    """Return alpha lowered where alpha x motion would pass `limit` px (a blink, a word), never below 1.

    alpha: [1 or N, 1, H, W]; local: [N, 2, H, W] px.
    """
    reach = alpha * local.norm(dim=1, keepdim=True)
    gain = 1 + (alpha - 1) * (limit / reach.clamp(min=limit))
    return torch.where(alpha > 1, gain, alpha)


def _noise_only(change: Tensor) -> Tensor:
    """Return how surely the change of appearance is noise, in [0, 1]: [N, 1, H, W]."""
    energy = (change * change).mean(1, keepdim=True)
    noise = (change[..., ::4, ::4].abs().flatten(1).median(1).values / NOISE_QUARTILE).view(-1, 1, 1, 1) ** 2
    excess = (box(energy, 5) / noise.clamp(min=1e-12) - 1.3).clamp(min=0)
    return 1 / (1 + excess)
