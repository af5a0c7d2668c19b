# SPDX-License-Identifier: GPL-3.0-or-later
"""DeMagPlus on a full-size picture: the clean avatar, moved by the restored motion.

The avatar itself is moved, not the generated frame: at one eighth of the motion that measured 63 dB against 40 dB,
and it is what lets the result come at the avatar's own resolution with its own transparency, whatever size the
backend works at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from models.avatar import AvatarPicture
from models.magnification.motion import Motion
from models.warp import STILL, SplineImage, backward_displacement, pixel_grid, sample, sample_spline

REACH = 0.1  # of the crop; nothing in a face moves farther


@dataclass(frozen=True)
class Window:
    """The square of the avatar's picture that the backend sees: px = origin + scale * crop px (centres at integers)."""

    origin: tuple[float, float]
    scale: float
    crop_size: int

    @classmethod
    def around(cls, centre: tuple[float, float], side: float, crop_size: int) -> Window:
        """Return the window of `side` px around `centre` that a crop of `crop_size` px samples."""
        scale = side / crop_size
        offset = 0.5 * (crop_size - 1) * scale
        return cls((centre[0] - offset, centre[1] - offset), scale, crop_size)

    def cut(self, picture: Tensor) -> Tensor:
        """Return the crop [1, C, S, S] of a picture [1, C, H, W], without aliasing when it shrinks."""
        if self.scale > 1:
            # Averaging over the footprint of a crop pixel before sampling; a Gaussian of half the step's spread
            # passes what the crop can hold.
            picture = _blur(picture, 0.5 * self.scale)
        origin = picture.new_tensor(self.origin).view(1, 2, 1, 1)
        positions = origin + self.scale * pixel_grid(self.crop_size, self.crop_size, picture.device)
        return sample_spline(picture, positions).clamp(0, 1)

    def to_crop(self, positions: Tensor) -> Tensor:
        """Return positions [..., 2] of the picture as positions of the crop."""
        return (positions - positions.new_tensor(self.origin)) / self.scale

    def to_crop_affine(self) -> NDArray[np.float64]:
        """Return the [2, 3] affine map that takes a point of the picture to a point of the crop."""
        x, y = self.origin
        return np.array([[1, 0, -x], [0, 1, -y]]) / self.scale

    def box(self, face: Tensor, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Return the part of a picture of `size` that a mask of the crop covers: left, top, right, bottom px."""
        inside = face[0, 0] > 0
        columns, rows = inside.any(0).nonzero().flatten(), inside.any(1).nonzero().flatten()
        if not len(columns):
            return 0, 0, 0, 0
        # A soft edge reaches one crop pixel beyond the last one inside.
        low = [float(edge[0] - 1) * self.scale + at for edge, at in zip((columns, rows), self.origin, strict=True)]
        high = [float(edge[-1] + 1) * self.scale + at for edge, at in zip((columns, rows), self.origin, strict=True)]
        left, top = max(0, int(low[0])), max(0, int(low[1]))
        right, bottom = min(size[0], int(high[0]) + 2), min(size[1], int(high[1]) + 2)
        return left, top, max(left, right), max(top, bottom)


class Restoration:
    """Carries generated motion, brought back to micro intensity, to one clean avatar."""

    def __init__(self, avatar: AvatarPicture, window: Window, face: Tensor, device: torch.device) -> None:
        """`face` [1, 1, S, S] in [0, 1] says where the crop may move."""
        self._avatar = avatar.premultiplied[0]
        self._face = face.to(device)
        self._scale = window.scale
        self._region = left, top, right, bottom = window.box(face, avatar.size)
        # What moves into the region comes from around it.
        border = int(REACH * face.shape[-1] * window.scale) + 1
        x, y = max(0, left - border), max(0, top - border)
        around = avatar.premultiplied[:, :, y : bottom + border, x : right + border].to(device)
        self._picture = SplineImage(around)
        self._still = around[:, :, top - y : bottom - y, left - x : right - x]
        grid = pixel_grid(bottom - top, right - left, device)
        self._here = grid + _column(grid, (left - x, top - y))
        self._in_crop = (grid + _column(grid, (left, top)) - _column(grid, window.origin)) / window.scale

    def restored(self, motion: Motion, factor: float) -> Motion:
        """Return the generated motion [N, 2, S, S] at `factor` of its size, confined to the face."""
        return Motion(motion.flow * (factor * self._face), motion.confidence)

    def frames(self, motion: Motion, appearance: Tensor | None = None) -> list[Tensor]:
        """Return the avatar moved by restored motion (crop px): N pictures [4, H, W], premultiplied.

        `appearance` [N, 3, S, S] is what the motion can't explain (a wrinkle, teeth), seen at the reference's place
        and already at its restored share. Pixels that nothing moves or changes are the avatar's, bit by bit.
        """
        left, top, right, bottom = self._region
        # The motion is smooth, so it is inverted at the crop's resolution and only then brought to the picture's.
        displacement = backward_displacement(motion.flow)
        pictures = []
        for index in range(motion.flow.shape[0]):
            shift = sample(displacement[index : index + 1], self._in_crop)
            changed = shift.abs().amax(1, keepdim=True) > STILL
            moved = self._picture.at(self._here - shift * self._scale)
            if appearance is not None:
                change = sample(appearance[index : index + 1] * self._face, self._in_crop - shift)
                changed = changed | (change.abs().amax(1, keepdim=True) > 0)
                moved = torch.cat([moved[:, :3] + change * moved[:, 3:], moved[:, 3:]], 1)
            alpha = moved[:, 3:].clamp(0, 1)
            moved = torch.cat([torch.minimum(moved[:, :3].clamp_min(0), alpha), alpha], 1)
            picture = self._avatar.clone()
            picture[:, top:bottom, left:right] = torch.where(changed, moved, self._still)[0].cpu()
            pictures.append(picture)
        return pictures


def _column(like: Tensor, point: tuple[float, float]) -> Tensor:
    return like.new_tensor(point).view(1, 2, 1, 1)


def unexplained_appearance(generated: Tensor, neutral: Tensor, motion: Motion, factor: float) -> Tensor:
    """Return `factor` times what changed in the generated frames besides motion, at the neutral frame's place.

    generated: [N, 3, S, S]; neutral: [1, 3, S, S], what the backend makes of the driver's reference: its own error of
    reconstruction is in both and cancels. Only where the motion is trusted does the difference mean appearance.
    """
    grid = pixel_grid(generated.shape[-2], generated.shape[-1], generated.device)
    pulled_back = sample_spline(generated, grid + motion.flow)
    return factor * motion.confidence * (pulled_back - neutral)


def _blur(image: Tensor, sigma: float) -> Tensor:
    radius = max(1, int(3 * sigma + 0.5))
    offsets = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1).expand(image.shape[1], 1, 1, -1)
    padded = F.pad(image, (radius, radius, radius, radius), mode="replicate")
    rows = F.conv2d(padded, kernel, groups=image.shape[1])
    return F.conv2d(rows, kernel.transpose(2, 3), groups=image.shape[1])
