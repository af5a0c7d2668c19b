# SPDX-License-Identifier: GPL-3.0-or-later
"""The square of the avatar's picture that a backend is shown, and the way between its px and the picture's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..magnification.filters import gaussian
from ..warp import pixel_grid, sample_spline
from .similarity import Similarity
from .square import Beyond, Square

_BORDER = 16  # px; farther away a picture has no part in an interpolated value


@dataclass(frozen=True)
class Window:
    """A square of the avatar's picture, sampled by a crop of `crop_size` px; centres of pixels at integers in both."""

    square: Square
    crop_size: int
    beyond: Beyond = "repeated"

    @classmethod
    def around(cls, centre: tuple[float, float], side: float, crop_size: int, angle: float = 0.0) -> Window:
        """Return the window of `side` px around `centre`, turned by `angle` (rad)."""
        return cls(Square(centre, side, angle), crop_size)

    @cached_property
    def _similarity(self) -> Similarity:
        """From px of the picture to px of the crop."""
        return Similarity(self.crop_size, 0, -0.5, -0.5) @ self.square.to_unit

    @property
    def scale(self) -> float:
        """How many px of the picture a px of the crop is."""
        return self.square.side / self.crop_size

    @property
    def origin(self) -> tuple[float, float]:
        """Where the crop's pixel (0, 0) lies in the picture."""
        x, y = self._similarity.inverse()(np.zeros(2))
        return float(x), float(y)

    def cut(self, picture: Tensor) -> Tensor:
        """Return the crop [1, C, S, S] of a picture [1, C, H, W], without aliasing when it shrinks."""
        height, width = picture.shape[-2:]
        positions = self.to_picture(pixel_grid(self.crop_size, self.crop_size, picture.device))
        # Averaging over the footprint of a crop pixel before sampling; a Gaussian of half the step's spread passes what
        # the crop can hold.
        spread = 0.5 * self.scale if self.scale > 1 else 0.0
        border = _BORDER + math.ceil(3 * spread)
        # Only the part of the picture that the crop covers is blurred and prepared for looking up.
        (low_x, low_y), (high_x, high_y) = positions.amin((0, 2, 3)).tolist(), positions.amax((0, 2, 3)).tolist()
        left, top = (max(0, min(int(low) - border, last)) for low, last in ((low_x, width - 1), (low_y, height - 1)))
        right, bottom = max(int(high_x) + border, left + 1), max(int(high_y) + border, top + 1)
        seen = picture[..., top:bottom, left:right]
        if spread:
            seen = gaussian(seen, spread, max(1, int(3 * spread + 0.5)))
        there = positions - positions.new_tensor([left, top]).view(1, 2, 1, 1)
        crop = sample_spline(seen, there).clamp(0, 1)
        if self.beyond == "black":
            limit = positions.new_tensor([width, height]).view(1, 2, 1, 1) - 0.5
            crop = crop * ((positions >= -0.5) & (positions <= limit)).all(1, keepdim=True)
        return crop

    def to_crop(self, positions: Tensor) -> Tensor:
        """Return positions [N, 2, H, W] of the picture as positions of the crop."""
        return _mapped(self._similarity, positions)

    def to_picture(self, positions: Tensor) -> Tensor:
        """Return positions [N, 2, H, W] of the crop as positions of the picture."""
        return _mapped(self._similarity.inverse(), positions)

    def turned_back(self, shifts: Tensor) -> Tensor:
        """Return shifts [N, 2, H, W] along the crop's axes, in px of the crop, as shifts in the picture."""
        return _mapped(Similarity(*self.turn_back), shifts)

    @property
    def turn_back(self) -> tuple[float, float]:
        """The turn and scale (a, b) of that."""
        back = self._similarity.inverse()
        return back.a, back.b

    def to_crop_affine(self) -> NDArray[np.float64]:
        """Return the [2, 3] affine map that takes a point of the picture to a point of the crop."""
        s = self._similarity
        return np.array([[s.a, -s.b, s.tx], [s.b, s.a, s.ty]])

    def landmarks(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return landmarks [478, 3] of the picture in px of the crop, depth scaled alike."""
        return self._similarity(points.astype(np.float64)).astype(np.float32)

    def box(self, face: Tensor, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Return the part of a picture of `size` that a mask of the crop covers: left, top, right, bottom px."""
        inside = face[0, 0] > 0
        rows, columns = inside.nonzero().unbind(1)
        if not len(columns):
            return 0, 0, 0, 0
        # A soft edge reaches one crop pixel beyond the last one inside.
        reach = (abs(math.cos(self.square.angle)) + abs(math.sin(self.square.angle))) * self.scale
        places = self.to_picture(torch.stack([columns, rows]).float().view(1, 2, -1, 1))[0, :, :, 0]
        (low_x, low_y), (high_x, high_y) = places.amin(1).tolist(), places.amax(1).tolist()
        left, top = max(0, int(low_x - reach)), max(0, int(low_y - reach))
        right, bottom = min(size[0], int(high_x + reach) + 2), min(size[1], int(high_y + reach) + 2)
        return left, top, max(left, right), max(top, bottom)


def _mapped(similarity: Similarity, points: Tensor) -> Tensor:
    x, y = points[:, :1], points[:, 1:]
    s = similarity
    return torch.cat([s.a * x - s.b * y + s.tx, s.b * x + s.a * y + s.ty], 1)
