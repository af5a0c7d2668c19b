# SPDX-License-Identifier: GPL-3.0-or-later
"""The square of a picture that a network is shown, where that is not the pipeline's own crop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Framing:
    """A square of a picture: `left`, `top` and `side` in px; it may reach beyond the picture."""

    left: int
    top: int
    side: int

    @classmethod
    def whole(cls, image: Tensor) -> Framing:
        """A square picture [N, C, H, H] as it is."""
        return cls(0, 0, image.shape[-1])

    @classmethod
    def around(cls, centre: tuple[float, float], side: float) -> Framing:
        """A square of about `side` px (an even number of them) around a point."""
        half = round(side / 2)
        return cls(round(centre[0]) - half, round(centre[1]) - half, 2 * half)

    def cut(self, image: Tensor, size: int, mode: str = "bilinear") -> Tensor:
        """[N, C, H, W] -> [N, C, size, size]; beyond the picture's edge its last pixels go on."""
        height, width = image.shape[-2:]
        right, bottom = self.left + self.side, self.top + self.side
        missing = [max(-self.left, 0), max(right - width, 0), max(-self.top, 0), max(bottom - height, 0)]
        rows, columns = slice(max(self.top, 0), max(bottom, 0)), slice(max(self.left, 0), max(right, 0))
        seen = F.pad(image[..., rows, columns], missing, mode="replicate")
        return seen if self.side == size else F.interpolate(seen, (size, size), mode=mode, align_corners=False)

    def landmarks(self, points: NDArray[np.floating[Any]], size: int) -> NDArray[np.float32]:
        """Landmarks [L, 2 or more] in px of the picture -> [L, 2] in px of what was cut out at `size`."""
        inside = points[:, :2] - [self.left, self.top] + 0.5
        return (inside * (size / self.side) - 0.5).astype(np.float32)

    def put_back(self, generated: Tensor, picture_size: int) -> Tensor:
        """[N, 3, S, S], made of what was cut out -> the picture of `picture_size` px, at S px: [N, 3, S, S]."""
        size = generated.shape[-1]
        left, top, side = (round(size / picture_size * length) for length in (self.left, self.top, self.side))
        if side != size:
            generated = F.interpolate(generated, (side, side), mode="bicubic", align_corners=False).clamp(0, 1)
        missing = [max(left, 0), max(size - left - side, 0), max(top, 0), max(size - top - side, 0)]
        rows, columns = slice(max(-top, 0), size - top), slice(max(-left, 0), size - left)
        return F.pad(generated[..., rows, columns], missing, mode="replicate")
