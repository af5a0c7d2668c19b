# SPDX-License-Identifier: GPL-3.0-or-later
"""What a video codec copied is missing data, not a measurement of rest.

H.264 codes a block only where it changes visibly, and otherwise copies it: there the two decoded pictures are exactly
equal, whatever the face did below the codec's dead zone. The solver estimates the noise by the difference's variance,
which is zero there, so that zero motion would have the highest precision of all. An exact repeat alone proves nothing,
as 8-bit pictures without noise are equal where nothing moves; the noise inflation factor of `refinement.Camera`
distinguishes the two. So the equations' variance in copied blocks is multiplied by `COPIED_SHARE` of the inflation, at
least by 1.
"""

from __future__ import annotations

from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor

from .camera_state import SAME
from .filters import box, resize
from .solver import Observation, smooth_solve

AROUND = 7  # px along a side of the squares in which exact repeats are counted, about a block of 8 px
COPIED_SHARE = 0.2  # of the noise inflation factor; chosen on photographs, own and bent family
SWEEPS = 3  # of `smooth_solve` on each scale, as in the solver


def repeated_share(reference: Tensor, frames: Tensor) -> Tensor:
    """Return the share of pixels around each that repeat the reference's exactly, in [0, 1]: [N, 1, H / 2, W / 2].

    reference: [1, 3, H, W]; frames: [N, 3, H, W], in [0, 1]; H and W even.

    >>> import torch
    >>> still = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> half = still.clone()
    >>> half[..., 16:] += 1 / 255
    >>> share = repeated_share(still, half)
    >>> float(share[..., :6].min()), float(share[..., 10:].max())
    (1.0, 0.0)
    """
    repeats = ((frames - reference).abs().amax(1, keepdim=True) < SAME).to(frames.dtype)
    return resize(box(repeats, AROUND), (frames.shape[2] // 2, frames.shape[3] // 2))


def discounted(observed: Observation, repeated: Tensor, inflation: Tensor) -> Observation:
    """Return the observation with the equations of copied blocks discounted, and solved again.

    repeated: [N, 1, h, w], see `repeated_share`; inflation: [N, 1, 1, 1], the noise inflation factor. Frames that
    nothing was discounted of keep their solution.

    >>> import torch
    >>> one = torch.ones(1, 1, 32, 32)
    >>> rest, moves = (torch.cat([one, 0 * one, one, size * one, 0 * one], 1) for size in (0.0, 0.5))
    >>> copied = (torch.arange(32) % 8 > 0).float().expand_as(one)
    >>> seen = Observation(copied * rest + (1 - copied) * moves, torch.zeros(1, 2, 32, 32), 100 * one, one)
    >>> [round(float(discounted(seen, copied, torch.full((1, 1, 1, 1), each)).motion[:, 0].mean()), 2)
    ...  for each in (0.6, 10.0, 100.0)]
    [0.0, 0.1, 0.35]
    """
    variance = (COPIED_SHARE * inflation).clamp(min=1)
    lost = repeated * (1 - 1 / variance)
    equations = observed.equations * (1 - lost)
    solution = smooth_solve(equations, observed.stiffness, SWEEPS).motion
    change = F.hardtanh(solution - observed.motion, -1.0, 1.0)
    touched = (lost.amax((1, 2, 3), keepdim=True) > 0).to(change.dtype)
    return replace(observed, equations=equations, motion=observed.motion + touched * change)
