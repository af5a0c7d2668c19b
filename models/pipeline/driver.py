# SPDX-License-Identifier: GPL-3.0-or-later
"""The driving face of a job: its own motion with the head's taken out, magnified."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...backend_bridge.files.arrays import checked
from ..backends import DrivingBatch, FaceImage
from ..face import FarSkin, HeadMotion, LidModel, MovingCover, eased, face_width, magnified_part, regions
from ..magnification import Magnifier
from ..magnification.motion import Motion
from .driving_clip import DrivingClip
from .even_field import distinct, without_repeats
from .motion_store import MotionStore
from .packed_field import PackedField, PackedHead
from .seen import Seen

MOST_MOTION = 1e5  # px; no picture has as many
# Of the arrays that are kept.
_CHANNELS = {"flow": 2, "confidence": 1, "rigid": 2, "from_mesh": 1, "skin": 1, "far": 1, "before": 1}


@dataclass(frozen=True)
class DriverMotion:
    """The motion of N frames of the driver.

    local: the face's own, 0 where it is out of sight. rigid: the head's, [N, 2, S, S] px. from_mesh: [N, 1, S, S] in
    [0, 1], share of the lids' motion that is taken from the mesh's closure instead of the picture; skin: the same of
    the lids' skin alone. far: [N, 1, S, S] in [0, 1], share of the motion that is the mesh's, as skin goes far there
    (`face.FarSkin`). before: [N, 1, S, S], 1 where something moves before the face (`face.MovingCover`), else 0.
    head: what `rigid` is of, where it was measured here.
    """

    local: Motion
    rigid: Tensor
    from_mesh: Tensor
    skin: Tensor
    far: Tensor
    before: Tensor
    head: HeadMotion | None = None

    @property
    def total(self) -> Tensor:
        """The face's motion with the head's, [N, 2, S, S] px."""
        return self.local.flow + self.rigid

    def uncovered(self, weight: Tensor) -> Tensor:
        """Return how far each pixel shows the face with nothing before it that moves, of a `weight` [N, 1, S, S]."""
        return (distinct(weight) * (1 - distinct(self.before))).expand_as(weight)

    def part(self, at: slice) -> DriverMotion:
        """Return the motion of some of the frames."""
        local = Motion(self.local.flow[at], self.local.confidence[at])
        return DriverMotion(local, self.rigid[at], self.from_mesh[at], self.skin[at], self.far[at], self.before[at])

    def packed(self) -> PackedMotion:
        """Return it as it is kept for other jobs."""
        return PackedMotion(
            flow=PackedField.of(self.local.flow),
            confidence=PackedField.of(self.local.confidence),
            rigid=PackedHead.of(self.head) if self.head else PackedField.of(self.rigid),
            from_mesh=PackedField.of(self.from_mesh),
            skin=PackedField.of(self.skin),
            far=PackedField.of(self.far),
            before=PackedField.of(self.before),
        )

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Return it as arrays, for another worker."""
        parts = (self.local.flow, self.local.confidence, self.rigid, self.from_mesh, self.skin, self.far, self.before)
        return {name: part.numpy() for name, part in zip(_CHANNELS, parts, strict=True)}

    @classmethod
    def of(cls, arrays: dict[str, NDArray[Any]]) -> DriverMotion:
        """Return the motion that was left as arrays. Raises `ValueError` for arrays that none has left."""
        count, _, height, width = checked(arrays, "flow", "f", (None, 2, None, None), MOST_MOTION).shape
        flow, confidence, rigid, from_mesh, skin, far, before = (
            torch.from_numpy(checked(arrays, name, "f", (count, channels, height, width), MOST_MOTION)).float()
            for name, channels in _CHANNELS.items()
        )
        return cls(Motion(flow, confidence), rigid, from_mesh, skin, far, before)


@dataclass(frozen=True)
class PackedMotion:
    """A `DriverMotion` without its zeros, and the head's as what it is computed from."""

    flow: PackedField
    confidence: PackedField
    rigid: PackedHead | PackedField
    from_mesh: PackedField
    skin: PackedField
    far: PackedField
    before: PackedField

    @property
    def nbytes(self) -> int:
        """How many bytes it takes."""
        fields = (self.flow, self.confidence, self.rigid, self.from_mesh, self.skin, self.far, self.before)
        return sum(each.nbytes for each in fields)

    def unpacked(self) -> DriverMotion:
        """Return the motion, bit by bit as it was."""
        local = Motion(self.flow.whole(), self.confidence.whole())
        head = self.rigid.head() if isinstance(self.rigid, PackedHead) else None
        shares = (self.from_mesh, self.skin, self.far, self.before)
        from_mesh, skin, far, before = (without_repeats(each.whole()) for each in shares)
        return DriverMotion(local, self.rigid.whole(), from_mesh, skin, far, before, head)


class Driver:
    """The driving face: its local motion, head motion taken out, and MagPlus."""

    def __init__(
        self,
        clip: DrivingClip,
        magnifier: Magnifier,
        gains: dict[str, float],
        device: torch.device,
        store: MotionStore[DriverMotion] | None = None,
    ) -> None:
        """`gains` of regions are 1 where none is named; `store` keeps what was measured for other jobs."""
        self.clip = clip
        self._store = store if store is not None else MotionStore[DriverMotion](DriverMotion.packed)
        self.magnifier = magnifier
        self.reference = FaceImage(clip.reference.image.to(device), clip.reference.landmarks)
        self.mask = clip.mask.to(device)
        self.region = self._gains(gains).to(device)
        self._shown_part = magnified_part(clip.reference.landmarks, (clip.size, clip.size)).to(device)
        self.face_width = face_width(clip.reference.landmarks)
        self._lids = LidModel(clip.reference.landmarks, clip.size)
        self._cover = MovingCover(clip.reference.landmarks, clip.size)
        self._far_skin = FarSkin(clip.reference.landmarks, clip.size)

    @cached_property
    def regions(self) -> dict[str, Tensor]:
        """The regions of the face, [1, 1, S, S] each, in [0, 1]."""
        return regions(self.clip.reference.landmarks, (self.clip.size, self.clip.size))

    def _gains(self, of_regions: dict[str, float]) -> Tensor:
        """Return what multiplies the magnification in space, [1, 1, S, S]; 1 where no region is named."""
        gain = torch.ones(1, 1, self.clip.size, self.clip.size)
        for name, value in of_regions.items():
            if value != 1:
                gain = gain + (value - 1) * self.regions[name]
        return gain

    def observe(self, seen: Seen) -> DriverMotion:
        """Return the motion of N frames."""
        named = seen.name is not None and seen.frames.device.type == "cpu"  # a graphics card's memory is the models'
        return self._store.get(
            f"{seen.name} {self.magnifier.weights_sha256} {self.magnifier.precision}" if named else None,
            lambda: self._observe(seen),
            lambda found: found.rigid.shape == (len(seen.frames), 2, *seen.frames.shape[2:]),
        )

    def _observe(self, seen: Seen) -> DriverMotion:
        motion = self.magnifier.motion(self.reference.image, seen.frames, clip=True, copied=seen.copied)
        motion = Motion(motion.flow, motion.confidence * seen.weight)
        split = self.clip.split_head_motion(motion)
        before = self._cover(split.local, seen.weight)
        if bool(distinct(before).amax() > 0):  # the head moves as what is seen of it does
            motion = Motion(motion.flow, motion.confidence * (1 - before))
            split = self.clip.split_head_motion(motion)
        local = split.local
        closing, from_mesh, skin = (field.to(local) for field in self._lids(seen.closures))
        if bool(distinct(from_mesh).amax() > 0):
            from_mesh, skin = from_mesh * seen.weight, skin * seen.weight
            local = local * (1 - from_mesh) + closing * from_mesh
        shown = seen.weight * (1 - distinct(before))
        by_mesh, far = self._far_skin(local, shown, seen.landmarks)
        if bool(distinct(far).amax() > 0):
            far = far * (1 - from_mesh)
            local = local * (1 - far) + by_mesh * far
        local = local * (self.mask * shown)
        from_mesh, skin, far, before = (without_repeats(each) for each in (from_mesh, skin, far, before))
        return DriverMotion(Motion(local, motion.confidence), split.rigid, from_mesh, skin, far, before, split.head)

    def magnified(self, seen: Seen, observed: DriverMotion, alpha: float) -> DrivingBatch:
        """Return what the backend is shown: the face in the reference's head pose, its motion magnified."""
        local, rigid = observed.local, observed.rigid

        def shown() -> Tensor:
            total = Motion(observed.total, local.confidence)
            # Towards the hairline the picture keeps the driver's own motion; what is carried to the avatar is not
            # limited.
            region = (1 + (alpha * self.region - 1) * self._shown_part) / alpha
            return self.magnifier.apply(self.reference.image, seen.frames, alpha, region, total, rigid)

        carried = eased(local.flow, distinct(observed.uncovered(seen.weight)))
        return DrivingBatch(shown, Motion(carried, local.confidence).scaled(alpha * self.region))

    def still(self) -> DrivingBatch:
        """Return the reference itself as driving frame."""
        nothing = torch.zeros_like(self.reference.image[:, :2])
        return DrivingBatch(self.reference.image, Motion(nothing, torch.ones_like(nothing[:, :1])))
