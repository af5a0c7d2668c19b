# SPDX-License-Identifier: GPL-3.0-or-later
"""The avatar of a job: the backend animates it, and DeMagPlus carries the motion to the clean picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import torch
from torch import Tensor

from ..backends import Backend, DrivingBatch, FaceImage
from ..face import Window, face_mask, face_width
from ..magnification import Magnifier
from ..magnification.motion import Motion
from .avatar import AvatarPicture
from .driver import Driver
from .generated import Generated, Observer
from .notes import Notes
from .placement import AvatarFace
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
        landmarks = window.landmarks(face.landmarks)
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
        self._clean = window.cut(avatar.over()).to(device)
        self._state = backend.encode_source(FaceImage(self._clean, landmarks), driver.reference, *more)
        self._still = backend.animate(self._state, driver.still())
        self.correspondence = self._still.correspondence
        self.gives_motion = self._still.motion is not None  # then nothing is measured in its frames
        self._pass_warnings_on()

    @property
    def neutral(self) -> Tensor:
        """The backend's own picture of the neutral face, [1, 3, S, S].

        Its error of reconstruction is in every generated frame, too, so that measuring against it cancels the error.
        """
        return self._still.frames

    @cached_property
    def _observe(self) -> Observer:
        """What measures motion in generated frames, for a backend that doesn't give it."""
        return Observer(self.neutral, self.landmarks, self.mask, self.magnifier)

    def animate(self, driving: DrivingBatch) -> Generated:
        """Generate frames, with their motion as the backend gives it or as it is measured in them."""
        animated = self.backend.animate(self._state, driving)
        self._pass_warnings_on()
        if animated.motion is None:
            return self._observe(animated.frames)
        still = animated.motion.flow.new_zeros(1, 1, 1, 1).expand_as(animated.motion.flow)
        return Generated(lambda: animated.frames, animated.motion, still, still.new_zeros(len(still)), given=True)

    def _pass_warnings_on(self) -> None:
        for warning in self.backend.warnings:
            self.notes.warning(warning)

    def restore(self, generated: Generated, factor: float) -> Iterator[Tensor]:
        """Yield the `restored_region` with the face's motion at `factor` of its size: N pictures [4, h, w]."""
        appearance = None
        if not generated.given:
            appearance = unexplained_appearance(generated.frames, self.neutral, generated.total, factor)
        return self._restoration.frames(self._restoration.restored(generated.motion, factor), appearance)

    def restored(self, generated: Generated, factor: float) -> Motion:
        """Return the face's motion at `factor` of its size, confined to the face, in px of the crop."""
        return self._restoration.restored(generated.motion, factor)

    @property
    def restored_region(self) -> tuple[int, int, int, int]:
        """The part of the avatar's picture that the face's motion can change: left, top, right, bottom px."""
        return self._restoration.region

    def change_at_rest(self, generated: Generated) -> Tensor:
        """Return [N], by how much of white the face differs from the neutral frame in what motion does not explain."""
        flow = generated.total.flow
        motion = Motion(flow, torch.ones_like(flow[:, :1]))  # a face that became another one has no confidence anywhere
        change = unexplained_appearance(generated.frames, self.neutral, motion, 1.0)
        inside = self.mask / self.mask.sum().clamp_min(1e-6)
        return (change.abs().mean(1, keepdim=True) * inside).sum((1, 2, 3))

    def motion_of(self, picture: AvatarPicture) -> Motion:
        """Return the motion that a finished picture shows against the clean avatar, in crop px."""
        return self.magnifier.motion(self._clean, self.window.cut(picture.over()).to(self.device))
