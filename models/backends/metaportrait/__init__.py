# SPDX-License-Identifier: GPL-3.0-or-later
"""MetaPortrait as a backend, without and with its temporal super-resolution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ....backend_bridge.backends import find_backend
from ....backend_bridge.backends.known import METAPORTRAIT_LINES
from ....backend_bridge.files.errors import InputError
from ...face.correspondence import Correspondence
from ...warp import sample
from ..base import DrivingBatch, FaceImage
from ..convolution import let_go
from ..metaportrait_sr import CLIP, TemporalSuperResolution
from ..options import file_option
from ..preprocess import resize
from ..published import PublishedBackend, PublishedOptions, part_of
from .lines import POINTS, Connectivity, Layout, describe, mesh_layout, published_layout
from .networks import IDENTITY, SIZE, EncodedSource, Generator


@dataclass(frozen=True)
class MetaPortraitOptions(PublishedOptions):
    """Files in the published format, made for the avatar's crop; without them the mode is approximate.

    `landmarks`: a .npy of 669 × 2 in [0, 1], as the authors' tracker gives them (it was never released).
    `identity`: a .npy of 256 numbers from their face recognition network (neither was that).
    """

    landmarks: str | None = file_option()
    identity: str | None = file_option()


class MetaPortraitState(NamedTuple):
    """The avatar, encoded; its landmarks [P, 2] px of its crop; and how motion comes to it."""

    encoded: EncodedSource
    landmarks: NDArray[np.float32]
    layout: Layout
    size: tuple[int, int]
    correspondence: Correspondence


class MetaPortrait(PublishedBackend):
    """MetaPortrait's base model; part `generator`, and `connectivity` for landmarks in the published format.

    The model is driven by landmarks alone. They are not tracked from frame to frame, which would bring a tracker's
    jitter in: the avatar's own landmarks are moved by the motion that MagPlus measured, carried to the avatar's face.
    """

    info = find_backend("metaportrait")
    Options = MetaPortraitOptions
    painting = ("generator.SPDAE_G",)
    optional_parts = frozenset({"connectivity"})

    @classmethod
    def build_parts(cls) -> dict[str, nn.Module]:
        """The network of the published checkpoint, and the table of lines."""
        return {"generator": Generator(), "connectivity": Connectivity()}

    @torch.inference_mode()
    def encode_source(self, source: FaceImage, reference: FaceImage) -> MetaPortraitState:
        """Encode the avatar once, with its landmarks and identity from files, or approximately without them."""
        height, width = source.image.shape[-2:]
        landmarks, layout = self._landmarks(source)
        line = describe(_in_unit(landmarks, (width, height))[None], layout, self.device).line
        image = resize(source.image.to(self.device, torch.float32), SIZE)
        encoded = self.generator.encode(image, line, self._identity())
        correspondence = Correspondence(source.landmarks, reference.landmarks, (width, height))
        return MetaPortraitState(encoded, landmarks, layout, (width, height), correspondence)

    def generate(self, state: MetaPortraitState, driving: DrivingBatch) -> Tensor:
        """N driving frames -> [N, 3, 256, 256]."""
        flow = state.correspondence.carry(driving.motion.flow)
        at = torch.from_numpy(state.landmarks).to(flow).T[None, :, None]  # [1, 2, 1, P]
        moved = state.landmarks + sample(flow, at)[:, :, 0].transpose(1, 2).cpu().numpy()  # [N, P, 2]
        drawn = describe(_in_unit(moved, state.size), state.layout, self.device)
        return self.generator(state.encoded, drawn).prediction.clamp(0, 1)

    def _landmarks(self, source: FaceImage) -> tuple[NDArray[np.float32], Layout]:
        if self.options.landmarks is None:
            self.warnings.append(
                "MetaPortrait runs in its approximate mode: its lines are drawn from the face mesh's contours, "
                "not from the 669 landmarks of the authors' unreleased tracker."
            )
            return source.landmarks[:, :2].astype(np.float32), mesh_layout(source.landmarks)
        if "connectivity" not in self.parts:
            raise InputError(
                f"MetaPortrait needs {METAPORTRAIT_LINES.name} to draw landmarks from a file; its authors publish it "
                f"at {METAPORTRAIT_LINES.published_at}; add it with `blender --command magplus backends add FILE`."
            )
        size = source.image.shape[-1], source.image.shape[-2]
        points = _read_array(self.options.landmarks, (POINTS, 2), "MetaPortrait's landmarks")
        return points * np.asarray(size, np.float32) - 0.5, published_layout(self.connectivity)

    def _identity(self) -> Tensor:
        if self.options.identity is None:
            self.warnings.append(
                "MetaPortrait has no identity vector of the avatar and takes a neutral one; the likeness may suffer."
            )
            return torch.zeros(1, IDENTITY, device=self.device)
        identity = _read_array(self.options.identity, (IDENTITY,), "MetaPortrait's identity vector")
        return torch.from_numpy(identity)[None].to(self.device)


class MetaPortraitSR(MetaPortrait):
    """The same with super-resolution to 512 px behind it; part `params` besides.

    Frames are restored in clips of 16, independent of each other, as in the authors' test.
    """

    info = find_backend("metaportrait_sr")

    @classmethod
    def build_parts(cls) -> dict[str, nn.Module]:
        """The base model's parts and the super-resolution network."""
        return {**super().build_parts(), "params": TemporalSuperResolution()}

    def __init__(self, parts: Mapping[str, nn.Module], options: Any) -> None:
        super().__init__(parts, options)
        self.base_batch_size, self.batch_size = self.batch_size, CLIP

    def generate(self, state: MetaPortraitState, driving: DrivingBatch) -> Tensor:
        """N driving frames -> [N, 3, 512, 512]."""
        few = (
            part_of(driving, first, self.base_batch_size)
            for first in range(0, len(driving.frames), self.base_batch_size)
        )
        small = torch.cat([super(MetaPortraitSR, self).generate(state, frames) for frames in few])
        let_go(self.generator)  # the two never work together, and what both have prepared is a third of the memory
        restored: Tensor = self.params(small).frames.clamp(0, 1)
        let_go(self.params)
        return restored


def _in_unit(points: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Pixels, centres at integers, -> [0, 1] from edge to edge."""
    return ((points + 0.5) / size).astype(np.float32)


def _read_array(path: str, shape: tuple[int, ...], what: str) -> NDArray[np.float32]:
    try:
        array = np.load(Path(path), allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{what} can't be read from {path}: it is missing or no .npy file.") from error
    if array.shape != shape or not np.isfinite(array).all():
        raise InputError(f"{what} in {path} must be {' × '.join(map(str, shape))} finite numbers, not {array.shape}.")
    return array.astype(np.float32)
