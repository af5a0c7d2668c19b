# SPDX-License-Identifier: GPL-3.0-or-later
"""The two faces of the pipeline: the driver that MagPlus magnifies, the avatar that DeMagPlus brings back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from models.avatar import AvatarPicture
from models.backends import Animated, Backend, DrivingBatch, FaceImage
from models.driving_clip import DrivingClip
from models.face import face_mask, face_width, magnified_part
from models.magnification import Magnifier
from models.magnification.motion import Motion
from models.placement import AvatarFace, in_crop
from models.report import Notes
from models.restoration import Restoration, Window, unexplained_appearance


class Driver:
    """The driving face: its local motion, head motion taken out, and MagPlus."""

    def __init__(
        self, clip: DrivingClip, magnifier: Magnifier, regions: dict[str, float], device: torch.device
    ) -> None:
        self.clip = clip
        self.magnifier = magnifier
        self.reference = FaceImage(clip.reference.image.to(device), clip.reference.landmarks)
        self.mask = clip.mask.to(device)
        self.region = clip.region_map(regions).to(device)
        self._shown_part = magnified_part(clip.reference.landmarks, (clip.size, clip.size)).to(device)
        self.face_width = face_width(clip.reference.landmarks)

    def observe(self, frames: Tensor) -> tuple[Motion, Tensor]:
        """Return the face's own motion in frames [N, 3, S, S], and the head's [N, 2, S, S] px."""
        motion = self.magnifier.motion(self.reference.image, frames)
        rigid, local = self.clip.split_head_motion(motion)
        return Motion(local * self.mask, motion.confidence), rigid

    def magnified(self, frames: Tensor, local: Motion, rigid: Tensor, alpha: float) -> DrivingBatch:
        """Return what the backend is shown: the face in the reference's head pose, its motion magnified."""
        total = Motion(local.flow + rigid, local.confidence)
        # Towards the hairline the picture keeps the driver's own motion; what is carried to the avatar is not limited.
        region = (1 + (alpha * self.region - 1) * self._shown_part) / alpha
        shown = self.magnifier.apply(self.reference.image, frames, alpha, region=region, motion=total, rigid=rigid)
        return DrivingBatch(shown, local.scaled(alpha * self.region))

    def still(self) -> DrivingBatch:
        """Return the reference itself as driving frame."""
        nothing = torch.zeros_like(self.reference.image[:, :2])
        return DrivingBatch(self.reference.image, Motion(nothing, torch.ones_like(nothing[:, :1])))


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
