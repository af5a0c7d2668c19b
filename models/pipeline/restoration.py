# SPDX-License-Identifier: GPL-3.0-or-later
"""DeMagPlus on a full-size picture: the clean avatar, moved by the restored motion.

The avatar itself is moved, not the generated frame: at one eighth of the motion that measured 63 dB against 40 dB,
and it is what lets the result come at the avatar's own resolution with its own transparency, whatever size the
backend works at.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..device import fits_loops
from ..face import Window
from ..magnification.motion import Motion
from ..warp import STILL, SplineImage, backward_displacement, pixel_grid, sample, sample_spline
from .avatar import AvatarPicture

REACH = 0.1  # of the crop; nothing in a face moves farther
_TOLERANCE = 1e-3  # px of the picture, that an edge between black and white turns into a quarter of a code


class Restoration:
    """Carries generated motion, brought back to micro intensity, to one clean avatar."""

    def __init__(self, avatar: AvatarPicture, window: Window, face: Tensor, device: torch.device) -> None:
        """`face`: [1, 1, S, S] in [0, 1], where the crop may move.

        `region` (left, top, right, bottom) px is the part of the avatar's picture that this can change.
        """
        self._face = face.to(device)
        self._moving = _around(face)
        self._window = window
        self.region = left, top, right, bottom = window.box(face, avatar.size)
        # What moves into the region comes from around it.
        border = int(REACH * face.shape[-1] * window.scale) + 1
        x, y = max(0, left - border), max(0, top - border)
        around = avatar.premultiplied[:, :, y : bottom + border, x : right + border].to(device)
        self._opaque = bool((around[:, 3:] == 1).all())
        self._picture = SplineImage(around[:, :3] if self._opaque else around)
        self._still = around[:, :, top - y : bottom - y, left - x : right - x].contiguous()
        grid = pixel_grid(bottom - top, right - left, device)
        self._here = grid + _column(grid, (left - x, top - y))
        self._in_crop = window.to_crop(grid + _column(grid, (left, top)))

    def restored(self, motion: Motion, factor: float) -> Motion:
        """Return the generated motion [N, 2, S, S] at `factor` of its size, confined to the face."""
        return Motion(motion.flow * (factor * self._face), motion.confidence)

    def frames(self, motion: Motion, appearance: Tensor | None = None) -> Iterator[Tensor]:
        """Yield the `region` of the avatar moved by restored motion (crop px): N pictures [4, h, w], premultiplied.

        `appearance` [N, 3, S, S] is what the motion can't explain (a wrinkle, teeth), seen at the reference's place
        and already at its restored share. Pixels that nothing moves or changes are the avatar's, bit by bit.
        """
        # The motion is smooth, so it is inverted at the crop's resolution and only then brought to the picture's.
        displacement = torch.zeros_like(motion.flow)
        tolerance = _TOLERANCE / max(1.0, self._window.scale)
        displacement[self._moving] = backward_displacement(motion.flow[self._moving], tolerance=tolerance).displacement
        if appearance is None and fits_loops(displacement, self._here):
            turn = self._window.turn_back
            for each in displacement.split(1):
                yield self._picture.moved(self._still, each, self._in_crop, self._here, turn)[0]
            return
        for index in range(motion.flow.shape[0]):
            shift = sample(displacement[index : index + 1], self._in_crop)
            changed = shift.abs().amax(1, keepdim=True) > STILL
            moved = self._picture.at(self._here - self._window.turned_back(shift))
            if self._opaque:
                moved = torch.cat([moved, torch.ones_like(moved[:, :1])], 1)
            if appearance is not None:
                change = sample(appearance[index : index + 1] * self._face, self._in_crop - shift)
                changed = changed | (change.abs().amax(1, keepdim=True) > 0)
                moved = torch.cat([moved[:, :3] + change * moved[:, 3:], moved[:, 3:]], 1)
            alpha = moved[:, 3:].clamp(0, 1)
            moved = torch.cat([torch.minimum(moved[:, :3].clamp_min(0), alpha), alpha], 1)
            yield torch.where(changed, moved, self._still)[0]


def _around(mask: Tensor) -> tuple[slice, slice, slice, slice]:
    """Return the part of a field like a mask [1, 1, S, S] that holds all of it, with an edge where it is zero."""
    inside = (mask[0, 0].amax(axis).nonzero().flatten().tolist() or [0] for axis in (1, 0))
    rows, columns = (slice(max(0, each[0] - 1), each[-1] + 2) for each in inside)
    return slice(None), slice(None), rows, columns


def _column(like: Tensor, point: tuple[float, float]) -> Tensor:
    return like.new_tensor(point).view(1, 2, 1, 1)


def unexplained_appearance(generated: Tensor, neutral: Tensor, motion: Motion, factor: float) -> Tensor:
    """Return `factor` times what changed in the generated frames besides motion, at the neutral frame's place.

    generated: [N, 3, S, S]; neutral: [1, 3, S, S], what the backend makes of the driver's reference: its own error of
    reconstruction is in both and cancels. The difference is weighted by the motion's confidence.
    """
    grid = pixel_grid(generated.shape[-2], generated.shape[-1], generated.device)
    pulled_back = sample_spline(generated, grid + motion.flow)
    return factor * motion.confidence * (pulled_back - neutral)
