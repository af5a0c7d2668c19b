# SPDX-License-Identifier: GPL-3.0-or-later
"""LivePortrait as a backend.

Where it departs from the authors' inference: the crop is worked out from the face mesh instead of their own landmarks
(see `framing`). Stitching, which keeps the shoulders in place, is off: the pipeline moves nothing but the face, and it
adds a little to every frame. The source's lips are not closed before it is animated, as the avatar's neutral face is
what everything is measured against. By default the face moves but not the head (`region="exp"`), since the pipeline has
taken the driver's head motion out. Neither InsightFace's detector nor the landmark model is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....backend_bridge.backends import find_backend
from ....backend_bridge.files.errors import InputError
from ..base import DrivingBatch, FaceImage
from ..framing import Framing
from ..precision import like_weights
from ..published import PublishedBackend, PublishedOptions
from ..store import how_to_get
from .framing import PublishedFraming
from .motion import K, Keypoints, MotionExtractor, Region, transferred
from .networks import (
    IMAGE_SIZE,
    AppearanceFeatureExtractor,
    KeypointMlp,
    SpadeGenerator,
    WarpingModule,
    stitched,
)

MOST_MULTIPLIED = 32.0  # a network that was trained on faces paints none far before that


@dataclass(frozen=True)
class LivePortraitOptions(PublishedOptions):
    """How to drive and what to show.

    `relative`: transfer the change since the reference, not the driver's own motion. `region`: what moves, "exp" the
    face, "all" face and head, "pose" the head, "lip", "eyes" and "brows" these alone. `driving_multiplier`: how many
    times as far the keypoints move, instead of or besides magnified pixels. `stitching`: let the published network keep
    the shoulders in place. `crop`: the published crops of avatar and driver; False takes the pipeline's own.
    """

    relative: bool = True
    region: Region = "exp"
    driving_multiplier: float = 1.0
    stitching: bool = False
    crop: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.driving_multiplier <= MOST_MULTIPLIED:
            raise InputError(f"LivePortrait's driving_multiplier must be above 0 and at most {MOST_MULTIPLIED:g}.")


class LivePortraitState(NamedTuple):
    """The avatar's feature volume [1, 32, 16, 64, 64] and both neutral faces' keypoints."""

    volume: Tensor
    source: Keypoints
    reference: Keypoints


class LivePortrait(PublishedBackend):
    """LivePortrait (the human model); seven parts in five files, of which the last is not needed."""

    info = find_backend("liveportrait")
    Options = LivePortraitOptions
    optional_parts = frozenset({"stitching", "lip", "eye"})
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

    @property
    def framing(self) -> Framing:
        """The squares of the two pictures that it is shown."""
        return PublishedFraming() if self.options.crop else Framing()

    @torch.inference_mode()
    def encode_source(self, source: FaceImage, reference: FaceImage) -> LivePortraitState:
        """Encode the avatar once and find the keypoints of both neutral faces."""
        if self.options.stitching and "stitching" not in self.parts:
            raise InputError(how_to_get(self.info, ["stitching"]))
        image = self._shown(source.image)
        return LivePortraitState(
            self.appearance_feature_extractor(image),
            self.motion_extractor(image),
            self.motion_extractor(self._shown(reference.image)),
        )

    def generate(self, state: LivePortraitState, driving: DrivingBatch) -> Tensor:
        """N driving frames -> [N, 3, 512, 512]."""
        keypoints = self.motion_extractor(self._shown(driving.frames))
        reference = state.reference if self.options.relative else None
        source = state.source.composed()
        driven = transferred(state.source, keypoints, reference, self.options.region).composed()
        driven = source + self.options.driving_multiplier * (driven - source)
        if self.options.stitching:
            driven = stitched(self.stitching, source, driven)
        warped = self.warping_module(state.volume, source, driven).features
        generated: Tensor = self.spade_generator(like_weights(warped, self.spade_generator))
        return generated.float()

    def _shown(self, image: Tensor) -> Tensor:
        """Bring a crop to the network's size; at half of its own that is the mean of squares, as published."""
        image = image.to(self.device, torch.float32)
        if image.shape[-1] == IMAGE_SIZE:
            return image
        return F.interpolate(image, (IMAGE_SIZE, IMAGE_SIZE), mode="bilinear", align_corners=False)


class LivePortraitAnimals(LivePortrait):
    """The same networks with the weights that its authors trained on animals, kept apart: names and shapes are one."""

    info = find_backend("liveportrait_animals")
