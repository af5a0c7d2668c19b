# SPDX-License-Identifier: GPL-3.0-or-later
"""Dense motion, as everything behind the estimator speaks of it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Motion:
    """Motion of N frames against one reference.

    flow: [N, 2, H, W] float32 px, x right, y down: what was at p in the reference is at p + flow(p) in the frame.
    confidence: [N, 1, H, W] float32 in [0, 1], 0 where the picture says nothing about the motion.
    """

    flow: Tensor
    confidence: Tensor

    def scaled(self, factor: float | Tensor) -> Motion:
        """Return the same motion `factor` times as large; a tensor factor is [1 or N, 1, H, W]."""
        return Motion(self.flow * factor, self.confidence)
