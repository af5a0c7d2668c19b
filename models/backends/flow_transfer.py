# SPDX-License-Identifier: GPL-3.0-or-later
"""The default backend: the driver's dense motion, carried to the avatar. Needs no checkpoint.

The motion that MagPlus measured is carried to the avatar's face through the correspondence of the two neutral faces,
and the avatar's own picture is moved by it. Landmarks are taken of two still pictures only, so their jitter, which is
as large as a micro-expression, never reaches the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...backend_bridge.backends import BackendInfo, find_backend
from ..face.correspondence import Correspondence
from ..magnification.motion import Motion
from ..warp import move
from .base import Animated, DrivingBatch, FaceImage
from .framing import Framing
from .options import NoOptions


@dataclass(frozen=True)
class SourceState:
    """The avatar's crop [1, 3, H, W] and where each of its pixels lies on the driver."""

    image: Tensor
    correspondence: Correspondence


class FlowTransfer:
    """Backend with a gain of 1 by construction: it applies exactly the motion it reports."""

    info: ClassVar[BackendInfo] = find_backend("flow_transfer")
    Options: ClassVar[type] = NoOptions
    framing: ClassVar[Framing] = Framing()

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.warnings: list[str] = []

    @classmethod
    def load(cls, device: torch.device, checkpoints: Path, options: Any = None) -> FlowTransfer:
        """Return the backend; there is nothing to read."""
        return cls(device)

    def encode_source(self, source: FaceImage, reference: FaceImage) -> SourceState:
        """Fit the correspondence of the two neutral faces."""
        height, width = source.image.shape[-2:]
        correspondence = Correspondence(source.landmarks, reference.landmarks, (width, height))
        return SourceState(source.image.to(self.device), correspondence)

    def animate(self, state: SourceState, driving: DrivingBatch) -> Animated:
        """Move the avatar by the magnified motion."""
        flow = state.correspondence.carry(driving.motion.flow)
        certain = flow.new_ones(1, 1, 1, 1).expand(len(flow), 1, *flow.shape[2:])
        motion = Motion(flow, certain)
        return Animated(lambda: move(state.image, flow).clamp(0, 1), motion, state.correspondence)
