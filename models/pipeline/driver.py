# SPDX-License-Identifier: GPL-3.0-or-later
"""The driving face of a job: its own motion with the head's taken out, magnified."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..backends import DrivingBatch, FaceImage
from ..face import LidModel, face_width, magnified_part
from ..magnification import Magnifier
from ..magnification.motion import Motion
from .driving_clip import DrivingClip, Seen
from .motion_store import MotionStore


@dataclass(frozen=True)
class Observation:
    """The motion of N frames of the driver.

    local: the face's own, none where it isn't seen. rigid: the head's, [N, 2, S, S] px. told: [N, 1, S, S] in [0, 1],
    where the mesh tells how far lids have closed, and not the picture; skin: where it is the lids' skin.
    """

    local: Motion
    rigid: Tensor
    told: Tensor
    skin: Tensor

    @property
    def total(self) -> Tensor:
        """The face's motion with the head's, [N, 2, S, S] px."""
        return self.local.flow + self.rigid

    @property
    def nbytes(self) -> int:
        """How many bytes it takes."""
        return sum(each.nbytes for each in (*vars(self.local).values(), self.rigid, self.told, self.skin))


class Driver:
    """The driving face: its local motion, head motion taken out, and MagPlus."""

    def __init__(
        self,
        clip: DrivingClip,
        magnifier: Magnifier,
        regions: dict[str, float],
        device: torch.device,
        store: MotionStore[Observation] | None = None,
    ) -> None:
        """`store` keeps what was measured for other jobs."""
        self.clip = clip
        self._store = store if store is not None else MotionStore[Observation]()
        self.magnifier = magnifier
        self.reference = FaceImage(clip.reference.image.to(device), clip.reference.landmarks)
        self.mask = clip.mask.to(device)
        self.region = clip.region_map(regions).to(device)
        self._shown_part = magnified_part(clip.reference.landmarks, (clip.size, clip.size)).to(device)
        self.face_width = face_width(clip.reference.landmarks)
        self._lids = LidModel(clip.reference.landmarks, clip.size)

    def observe(self, seen: Seen) -> Observation:
        """Return the motion of N frames."""
        return self._store.get(
            (
                *(seen.frames, seen.trust, seen.closures),
                *(self.reference.image, self.reference.landmarks),
                *(self.magnifier.weights_sha256, str(self.magnifier.precision)),
            ),
            lambda: self._observe(seen),
        )

    def _observe(self, seen: Seen) -> Observation:
        motion = self.magnifier.motion(self.reference.image, seen.frames, clip=True)
        motion = Motion(motion.flow, motion.confidence * seen.trust)
        rigid, local = self.clip.split_head_motion(motion)
        closing, told, skin = (field.to(local) for field in self._lids(seen.closures))
        if bool(told.any()):
            told, skin = told * seen.trust, skin * seen.trust
            local = local * (1 - told) + closing * told
        local = local * (self.mask * seen.trust)
        return Observation(Motion(local, motion.confidence), rigid, told, skin)

    def magnified(self, frames: Tensor, observed: Observation, alpha: float) -> DrivingBatch:
        """Return what the backend is shown: the face in the reference's head pose, its motion magnified."""
        local, rigid = observed.local, observed.rigid

        def shown() -> Tensor:
            total = Motion(observed.total, local.confidence)
            # Towards the hairline the picture keeps the driver's own motion; what is carried to the avatar is not
            # limited.
            region = (1 + (alpha * self.region - 1) * self._shown_part) / alpha
            return self.magnifier.apply(self.reference.image, frames, alpha, region=region, motion=total, rigid=rigid)

        return DrivingBatch(shown, local.scaled(alpha * self.region))

    def still(self) -> DrivingBatch:
        """Return the reference itself as driving frame."""
        nothing = torch.zeros_like(self.reference.image[:, :2])
        return DrivingBatch(self.reference.image, Motion(nothing, torch.ones_like(nothing[:, :1])))
