# SPDX-License-Identifier: GPL-3.0-or-later
"""Dense motion: the estimator's output."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Motion:
    """Motion of N frames against one reference.

    flow: [N, 2, H, W] float32 px, x right, y down: what was at p in the reference is at p + flow(p) in the frame.
    confidence: [N, 1, H, W] float32 in [0, 1], 0 where the equations leave the motion undetermined (`to_motion`).

    >>> import torch
    >>> motion = Motion(torch.ones(1, 2, 4, 4), torch.ones(1, 1, 4, 4))
    >>> float(motion.scaled(8).flow.max()), float(motion.scaled(8).confidence.max())
    (8.0, 1.0)
    """

    flow: Tensor
    confidence: Tensor

    def scaled(self, factor: float | Tensor) -> Motion:
        """Return the same motion `factor` times as large; a tensor factor is [1 or N, 1, H, W]."""
        return Motion(self.flow * factor, self.confidence)
