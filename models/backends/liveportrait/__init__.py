# SPDX-License-Identifier: GPL-3.0-or-later
"""LivePortrait as a backend.

Where it departs from the authors' inference: the crop is worked out from the face mesh instead of their own 203
landmarks, is not turned upright (the pipeline's crops are level already) and is filled in where it leaves the picture;
the source's lips are not closed before it is animated, as the avatar's neutral face is what everything is measured
against; and by default the face moves but not the head (`region="exp"`), since the pipeline has taken the driver's
head motion out. Neither InsightFace's detector nor the landmark model is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ....backend_bridge.backends import find_backend
from ...face.mesh import FACE_OVAL, REGION_GROUPS
from ..base import DrivingBatch, FaceImage
from ..framing import Framing
from ..precision import like_weights
from ..published import PublishedBackend, PublishedOptions
from .motion import K, Keypoints, MotionExtractor, Region, transferred
from .networks import (
    IMAGE_SIZE,
    AppearanceFeatureExtractor,
    KeypointMlp,
    SpadeGenerator,
    WarpingModule,
    stitched,
)

CROP_SCALE = 2.3  # of the landmarks' extent
CROP_RAISED = 0.125  # of the crop's side


@dataclass(frozen=True)
class LivePortraitOptions(PublishedOptions):
    """How to drive and what to show.

    `relative`: transfer the change since the reference, not the driver's own motion. `region`: what moves, "exp" the
    face, "all" face and head, "pose" the head, "lip" and "eyes" these alone. `stitching`: let the published network
    keep the shoulders in place. `crop`: show the network the published crop of the avatar; False shows it the picture
    as it is.
    """

    relative: bool = True
    region: Region = "exp"
    stitching: bool = True
    crop: bool = True


class LivePortraitState(NamedTuple):
    """The avatar's feature volume [1, 32, 16, 64, 64], both neutral faces' keypoints, and the avatar's framing."""

    volume: Tensor
    source: Keypoints
    reference: Keypoints
    framing: Framing
    size: int


class LivePortrait(PublishedBackend):
    """LivePortrait (the human model); seven parts in five files."""

    info = find_backend("liveportrait")
    Options = LivePortraitOptions
    painting = ("spade_generator",)
    channels_last = False  # no faster here, and what is prepared for that layout took twice the memory

    @classmethod
    def build_parts(cls) -> dict[str, nn.Module]:
        """The networks of the published files; `lip` and `eye` are kept but not used."""
        return {
            "appearance_feature_extractor": AppearanceFeatureExtractor(),
            "motion_extractor": MotionExtractor(),
            "warping_module": WarpingModule(),
            "spade_generator": SpadeGenerator(),
            "stitching": KeypointMlp(6 * K, 128, 128, 64, 3 * K + 2),
            "lip": KeypointMlp(3 * K + 2, 128, 128, 64, 3 * K),
            "eye": KeypointMlp(3 * K + 3, 256, 256, 128, 128, 64, 3 * K),
        }

    @torch.inference_mode()
    def encode_source(self, source: FaceImage, reference: FaceImage) -> LivePortraitState:
        """Encode the avatar once and find the keypoints of both neutral faces."""
        framing = published_crop(source.landmarks) if self.options.crop else Framing.whole(source.image)
        image = shown(source.image.to(self.device, torch.float32), framing)
        return LivePortraitState(
            self.appearance_feature_extractor(image),
            self.motion_extractor(image),
            self.motion_extractor(self._driving(reference.image)),
            framing,
            source.image.shape[-1],
        )

    def generate(self, state: LivePortraitState, driving: DrivingBatch) -> Tensor:
        """N driving frames -> [N, 3, 512, 512]."""
        keypoints = self.motion_extractor(self._driving(driving.frames))
        reference = state.reference if self.options.relative else None
        driven = transferred(state.source, keypoints, reference, self.options.region).composed()
        source = state.source.composed()
        if self.options.stitching:
            driven = stitched(self.stitching, source, driven)
        warped = self.warping_module(state.volume, source, driven).features
        generated = self.spade_generator(like_weights(warped, self.spade_generator))
        return state.framing.put_back(generated.float(), state.size)

    def _driving(self, frames: Tensor) -> Tensor:
        """The driver's crop is square, and square videos are only resized."""
        return Framing.whole(frames).cut(frames.to(self.device, torch.float32), IMAGE_SIZE)


def shown(image: Tensor, framing: Framing) -> Tensor:
    """Cut the source out at twice the network's size, and take the mean of squares, as published."""
    if framing.side == IMAGE_SIZE:
        return framing.cut(image, IMAGE_SIZE)
    return F.avg_pool2d(framing.cut(image, 2 * IMAGE_SIZE), 2)


def published_crop(landmarks: NDArray[np.floating[Any]]) -> Framing:
    """The crop around a face, landmarks [478, 2 or 3] in px; the authors' end at the brows."""
    brows = [point for group in REGION_GROUPS["brows"] for point in group]
    oval, top = landmarks[list(FACE_OVAL), :2], float(landmarks[brows, 1].min())
    left, right, bottom = float(oval[:, 0].min()), float(oval[:, 0].max()), float(oval[:, 1].max())
    side = CROP_SCALE * max(right - left, bottom - top)
    return Framing.around(((left + right) / 2, (top + bottom) / 2 - CROP_RAISED * side), side)
