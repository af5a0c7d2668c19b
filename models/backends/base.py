# SPDX-License-Identifier: GPL-3.0-or-later
"""What a facial-animation backend is: encode the source once, animate many times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...backend_bridge.backends import BackendInfo
from ..face.correspondence import Correspondence
from ..magnification.motion import Motion
from .framing import Framing


@dataclass(frozen=True)
class FaceImage:
    """A steady face crop.

    image: [1, 3, H, W] RGB in [0, 1]. landmarks: [478, 3] float32 px of this image (z towards the viewer negative, as
    MediaPipe's); where no detector accepted the face, the pipeline has placed a mesh by the rig, with a warning.
    """

    image: Tensor
    landmarks: NDArray[np.float32]


@dataclass(frozen=True)
class Pictures:
    """N frames, [N, 3, H, W] RGB in [0, 1], or the function that makes them: called when `frames` is first read.

    Where only the motion beside them is used, they are never computed.
    """

    source: Tensor | Callable[[], Tensor]

    @cached_property
    def frames(self) -> Tensor:
        """The frames, [N, 3, H, W]."""
        return self.source if isinstance(self.source, Tensor) else self.source()


@dataclass(frozen=True)
class DrivingBatch(Pictures):
    """Magnified frames of the driver's crop, and the magnified motion that MagPlus estimated.

    motion: against the reference, in px of the driver's crop, head motion taken out and already magnified.
    """

    motion: Motion


@dataclass(frozen=True)
class Animated(Pictures):
    """Generated frames of the avatar's crop.

    `motion` is set by a backend that applies a motion field (in px of the avatar's crop, against the neutral
    frame it generates); otherwise DeMagPlus estimates it from the frames. `correspondence` is set as well where that
    motion is the driver's own, carried: a rig is then solved from the driver's picture, which shows it more clearly.
    """

    motion: Motion | None = None
    correspondence: Correspondence | None = None


class Backend(Protocol):
    """A backend. `State` is private to it."""

    info: ClassVar[BackendInfo]
    Options: ClassVar[type[Any]]  # a frozen dataclass of what a job may set, see `models.backends.options`
    warnings: list[str]  # sentences for the report, for example that the GPU's memory forced smaller batches

    @classmethod
    def load(cls, device: torch.device, checkpoints: Path, options: Any = None) -> Self:
        """Build the backend from the files in the user's `checkpoints` folder; `options` are an instance of `Options`.

        Raises `InputError` that says which file is missing, where it goes and where its authors publish it.
        """
        ...

    @property
    def framing(self) -> Framing:
        """The squares of the avatar's and the driver's picture that it is shown; left out, the pipeline's own."""
        ...

    def encode_source(self, source: FaceImage, reference: FaceImage) -> Any:
        """Prepare the avatar (`source`) to be driven relative to the driver's neutral frame (`reference`)."""
        ...

    def animate(self, state: Any, driving: DrivingBatch) -> Animated:
        """Animate one batch. With the reference itself as driving frame it generates the neutral frame."""
        ...
