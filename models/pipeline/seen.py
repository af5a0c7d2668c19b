# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames of the driver as they are measured: in the reference's light, with how far each pixel shows the face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Seen:
    """N frames of the driver in the reference's light, and how far each pixel shows the face.

    frames: [N, 3, S, S], the reference's pixels where the face isn't seen. weight: [N, 1, S, S] in [0, 1]. copied:
    [N, 1, S, S] in [0, 1], what the codec copied from the reference for certain (`CopiedPixels`). repeated: [N], the
    share of the face that it copied, known of whole frames, too. closures: [N, 2], how far each eye has closed
    (`face.closures`). name: identifies the frames and how they were cut out, in any worker; None where nothing does.
    """

    frames: Tensor
    weight: Tensor
    copied: Tensor
    repeated: NDArray[np.float64]
    closures: NDArray[np.float64]
    name: str | None = None

    def to(self, device: torch.device) -> Seen:
        """Return the same on a device."""
        frames, weight, copied = (values.to(device) for values in (self.frames, self.weight, self.copied))
        return Seen(frames, weight, copied, self.repeated, self.closures, self.name)

    def part(self, at: slice) -> Seen:
        """Return some of the frames."""
        images = self.frames[at], self.weight[at], self.copied[at]
        return Seen(*images, self.repeated[at], self.closures[at])
