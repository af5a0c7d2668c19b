# SPDX-License-Identifier: GPL-3.0-or-later
"""EMOPortraits as a backend.

Where it departs from the authors' inference, and why:

* The source's mask is published as a face parser's (head, hair and neck on black). Where its checkpoint has not been
  added, the mask is drawn from the face landmarks, grown to where ears and hair are. Matting of the driver (MODNet) is
  left out altogether: the published code computes it, but doesn't use it.
* The face detector's box is worked out from the landmarks, and both faces are level (see `framing`).
* By default the expression is driven by its change since the reference, added to the avatar's own expression vector,
  and the head stays in the avatar's pose, because the pipeline has taken the driver's head motion out. The driver's
  face is then aligned by the reference's pose in all frames, so that the pose regressor's jitter stays out.
  `relative=False, pose="driver"` is the published way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ....backend_bridge.backends import find_backend
from ....backend_bridge.files.errors import InputError
from ..base import DrivingBatch, FaceImage
from ..framing import Framing
from ..published import PublishedBackend, PublishedOptions
from .framing import PublishedFraming, head_mask
from .networks import IMAGE_SIZE, EncodedSource, VolumetricAvatar
from .parsing import FaceParser
from .pose import HeadPoseRegressor, Pose, mixed

POSES = ("source", "driver", "mixed", "mixed_unscaled")


@dataclass(frozen=True)
class EmoPortraitsOptions(PublishedOptions):
    """How to drive and what to show.

    `relative`: transfer the change since the reference, not the driver's own expression and pose.
    `pose`: "source" keeps the avatar's head still; "driver" turns it as the driver's; "mixed", which is absolute, gives
    it the driver's rotation and translation but its own proportions, at the driver's size ("mixed_unscaled": its own).
    `crop`: the published crops around the faces; False takes the pipeline's own.
    """

    relative: bool = True
    pose: str = "source"
    crop: bool = True

    def __post_init__(self) -> None:
        if self.pose not in POSES:
            raise InputError(f"EMOPortraits' pose must be one of {', '.join(POSES)}.")
        if self.relative and self.pose.startswith("mixed"):
            raise InputError(f"EMOPortraits' pose {self.pose!r} is absolute: it needs relative to be false.")


class Face(NamedTuple):
    """A neutral face: its head's pose and its expression [1, 128]."""

    pose: Pose
    expression: Tensor


class EmoPortraitsState(NamedTuple):
    """The avatar, encoded, and both neutral faces."""

    encoded: EncodedSource
    source: Face
    reference: Face


class EmoPortraits(PublishedBackend):
    """EMOPortraits; parts `model`, `head_pose_regressor` and, if the user added it, `face_parsing`."""

    info = find_backend("emoportraits")
    Options = EmoPortraitsOptions
    optional_parts = frozenset({"face_parsing"})
    parts_with_training_networks = frozenset({"model"})
    channels_last = False  # group norm loses digits in that layout: predictions were off by 0.006 instead of 0.0001

    @classmethod
    def build_parts(cls) -> dict[str, nn.Module]:
        """The networks of the published files."""
        return {
            "model": VolumetricAvatar(),
            "head_pose_regressor": HeadPoseRegressor(),
            "face_parsing": FaceParser(),
        }

    @property
    def framing(self) -> Framing:
        """The squares of the two pictures that it is shown."""
        return PublishedFraming() if self.options.crop else Framing()

    @torch.inference_mode()
    def encode_source(self, source: FaceImage, reference: FaceImage) -> EmoPortraitsState:
        """Encode the avatar, which takes several times as long as a frame, and look at both neutral faces."""
        shown = self._shown(source.image)
        head = shown * self._mask(shown, _scaled(source.landmarks, IMAGE_SIZE / source.image.shape[-1]))
        pose = self.head_pose_regressor(head)
        encoded = self.model.encode(head, pose.matrix())
        neutral = self._shown(reference.image)
        neutral_pose = self.head_pose_regressor(neutral)
        expression = self.model.expression_embedder_nw(neutral, neutral_pose.matrix())
        return EmoPortraitsState(encoded, Face(pose, encoded.expression), Face(neutral_pose, expression))

    def generate(self, state: EmoPortraitsState, driving: DrivingBatch) -> Tensor:
        """N driving frames -> [N, 3, 512, 512]."""
        frames = self._shown(driving.frames)
        shown, aligned_by = self._poses(state, frames)
        expression = self.model.expression_embedder_nw(frames, aligned_by)
        if self.options.relative:
            expression = state.source.expression + (expression - state.reference.expression)
        drawn: Tensor = self.model.draw(state.encoded, expression, shown)
        return drawn

    def _poses(self, state: EmoPortraitsState, frames: Tensor) -> tuple[Tensor, Tensor]:
        """The poses [N, 4, 4] in which the head is drawn, and those by which the driver's frames are aligned."""
        source, reference = state.source.pose, state.reference.pose
        if self.options.pose == "source":
            return source.expand(len(frames)).matrix(), reference.expand(len(frames)).matrix()
        driving = self.head_pose_regressor(frames)
        if self.options.pose == "driver":
            moved = driving.relative_to(reference, source) if self.options.relative else driving
            return moved.matrix(), driving.matrix()
        pose = mixed(source.matrix(), driving.matrix(), rescale=self.options.pose == "mixed")
        return pose, pose  # as published: the driver's face, too, is aligned by the mixed pose

    def _shown(self, image: Tensor) -> Tensor:
        image = image.to(self.device, torch.float32)
        if image.shape[-1] == IMAGE_SIZE:
            return image
        return F.interpolate(image, (IMAGE_SIZE, IMAGE_SIZE), mode="bicubic", align_corners=False)

    def _mask(self, shown: Tensor, landmarks: NDArray[np.float32]) -> Tensor:
        if "face_parsing" in self.parts:
            return self.face_parsing.head_mask(shown)
        self.warnings.append(
            "EMOPortraits cut the avatar's head out by its face landmarks, so hair and ears may be cut off; "
            "with 79999_iter.pth added, the authors' face parser does it."
        )
        return head_mask(landmarks, IMAGE_SIZE).to(self.device)


def _scaled(landmarks: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Landmarks [478, 2 or 3] px of a picture -> [478, 2] px of the picture at `factor` times its size."""
    return ((landmarks[:, :2] + 0.5) * factor - 0.5).astype(np.float32)
