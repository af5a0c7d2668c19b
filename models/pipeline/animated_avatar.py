# SPDX-License-Identifier: GPL-3.0-or-later
"""The avatar of a job: the backend animates it, and DeMagPlus carries the motion to the clean picture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..backends import Animated, Backend, DrivingBatch, FaceImage
from ..face import Window, face_mask, face_width
from ..magnification import Magnifier
from ..magnification.motion import Motion
from .avatar import AvatarPicture
from .driver import Driver
from .notes import Notes
from .placement import AvatarFace, in_crop
from .restoration import Restoration, unexplained_appearance


class AnimatedAvatar:
    """The avatar: the backend that animates it, and DeMagPlus that carries the motion to the clean picture."""

    def __init__(
        self,
        avatar: AvatarPicture,
        face: AvatarFace,
        window: Window,
        backend: Backend,
        magnifier: Magnifier,
        driver: Driver,
        device: torch.device,
        notes: Notes,
        more: Sequence[FaceImage] = (),
    ) -> None:
        landmarks = in_crop(face.landmarks, window)
        size = (window.crop_size, window.crop_size)
        self.picture = avatar
        self.window = window
        self.backend = backend
        self.magnifier = magnifier
        self.device = device
        self.notes = notes
        self.landmarks = landmarks
        self.mask = face_mask(landmarks[:, :2], size).to(device)
        self.face_width = face_width(landmarks)
        self._restoration = Restoration(avatar, window, self.mask, device)
        source = FaceImage(window.cut(avatar.over()).to(device), landmarks)
        self._state = backend.encode_source(source, driver.reference, *more)
        # The backend's own picture of the neutral face: its error of reconstruction is in every generated frame, too,
        # so that measuring against it cancels the error.
        still = backend.animate(self._state, driver.still())
        self.neutral = still.frames
        self.correspondence = still.correspondence
        self.tells_motion = still.motion is not None  # then nothing is measured in its frames
        self._pass_warnings_on()

    def animate(self, driving: DrivingBatch) -> tuple[Animated, Motion]:
        """Generate frames; return them with their motion, as the backend tells it or as DeMagPlus measures it."""
        animated = self.backend.animate(self._state, driving)
        self._pass_warnings_on()
        return animated, animated.motion or self.magnifier.motion(self.neutral, animated.frames)

    def _pass_warnings_on(self) -> None:
        for warning in self.backend.warnings:
            self.notes.warning(warning)

    def restore(self, animated: Animated, motion: Motion, factor: float) -> list[Tensor]:
        """Return the pictures that show the motion at `factor` of its size, confined to the face."""
        appearance = None
        if animated.motion is None:
            appearance = unexplained_appearance(animated.frames, self.neutral, motion, factor)
        return self._restoration.frames(self._restoration.restored(motion, factor), appearance)

    def motion_of(self, picture: AvatarPicture) -> Motion:
        """Return the motion that a finished picture shows against the clean avatar, in crop px."""
        clean, moved = (self.window.cut(each.over()).to(self.device) for each in (self.picture, picture))
        return self.magnifier.motion(clean, moved)
