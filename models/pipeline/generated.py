# SPDX-License-Identifier: GPL-3.0-or-later
"""What a backend made of the driver, and what it added of its own: brightness and head motion, which are taken out."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from ..backends.base import Pictures
from ..face import face_depth, rigid_mask, split_rigid
from ..face.regions import Landmarks
from ..magnification import Magnifier
from ..magnification.motion import Motion

_CELLS = 32  # a side; brightness is compared as means over them
_LIGHT_ROUNDS = 6  # of IRLS
_LEAST_OFF = 0.004  # of white; differences below it all count in full


@dataclass(frozen=True)
class Generated(Pictures):
    """N generated frames of the avatar's crop, as bright as the neutral frame.

    motion: the face's own against the neutral frame. rigid: the head's motion, [N, 2, S, S] px, which the backend
    added, as the driver's head is still. light: [N], how far each frame's brightness was off, as a share of white.
    given: whether the backend gave the motion; then nothing was taken out.
    """

    motion: Motion
    rigid: Tensor
    light: Tensor
    given: bool

    @property
    def total(self) -> Motion:
        """The face's motion with the head's, as the frames show it."""
        return Motion(self.motion.flow + self.rigid, self.motion.confidence)

    def one(self, index: int) -> Generated:
        """Return frame number `index` alone."""
        at = slice(index, index + 1)
        motion = Motion(self.motion.flow[at], self.motion.confidence[at])
        return Generated(self.frames[at], motion, self.rigid[at], self.light[at], self.given)


class Observer:
    """Measures generated frames against the backend's neutral frame, and takes out what is not the face's motion."""

    def __init__(self, neutral: Tensor, landmarks: Landmarks, mask: Tensor, magnifier: Magnifier) -> None:
        """neutral: [1, 3, S, S]; landmarks: [478, 3] px of it; mask: [1, 1, S, S], where the face is."""
        size = (neutral.shape[-2], neutral.shape[-1])
        self._neutral = neutral
        self._mask = mask
        self._magnifier = magnifier
        self._depth = face_depth(landmarks, size).to(neutral.device)
        self._skull = rigid_mask(landmarks, size).to(neutral.device)

    def __call__(self, frames: Tensor) -> Generated:
        """Look at frames [N, 3, S, S]."""
        frames, light = evened(frames, self._neutral, self._mask)
        motion = self._magnifier.motion(self._neutral, frames)
        split = split_rigid(motion, self._depth, self._skull)
        return Generated(frames, Motion(split.local, motion.confidence), split.rigid, light, given=False)


def evened(frames: Tensor, neutral: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return frames [N, 3, S, S] as bright and as contrasty in the face as `neutral` is, and how far they were off.

    A gain and an offset for each channel, fitted to means over cells under a Geman-McClure kernel, so that what changes
    in a part of the face (a wrinkle, teeth) is left alone. The second result is [N], the largest correction of the
    face's mean over the channels, as a share of white.
    """
    weight = F.interpolate(mask, (_CELLS, _CELLS), mode="area").flatten(1)  # [1, P]
    here, there = (F.interpolate(each, (_CELLS, _CELLS), mode="area").flatten(2) for each in (frames, neutral))
    weight = weight[:, None].expand_as(here)
    there = there.expand_as(here)
    robust = weight
    for _ in range(_LIGHT_ROUNDS):
        total = robust.sum(-1, keepdim=True).clamp_min(1e-6)
        mean_here, mean_there = ((robust * each).sum(-1, keepdim=True) / total for each in (here, there))
        off_here, off_there = here - mean_here, there - mean_there
        spread = (robust * off_here**2).sum(-1, keepdim=True)
        gain = ((robust * off_here * off_there).sum(-1, keepdim=True) + 1e-4 * total) / (spread + 1e-4 * total)
        residual = (mean_there + gain * off_here - there).abs()
        width = residual.median(-1, keepdim=True).values.clamp_min(_LEAST_OFF)
        robust = weight / (1 + (residual / width) ** 2) ** 2
    offset = mean_there - gain * mean_here
    corrected = frames * gain[..., None] + offset[..., None]
    face = (weight * here).sum(-1, keepdim=True) / weight.sum(-1, keepdim=True).clamp_min(1e-6)
    light = (face * gain + offset - face).abs().amax((1, 2))
    return corrected.clamp(0, 1), light
