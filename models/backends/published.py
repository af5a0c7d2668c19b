# SPDX-License-Identifier: GPL-3.0-or-later
"""What the backends with published checkpoints share: named parts, strict loading, batches that fit the memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from ...backend_bridge.backends import BackendInfo
from ...backend_bridge.files.errors import InputError
from ..device import OutOfMemoryError, free_memory, ran_out
from ..magnification.motion import Motion
from .base import Animated, DrivingBatch, FaceImage
from .convolution import lay_out, prepare
from .framing import Framing
from .options import parse_options
from .precision import Precision, check_precision, reduce
from .store import CheckpointStore, StateDict


@dataclass(frozen=True)
class PublishedOptions:
    """`precision`: of the networks that make the picture. Half is faster where the machine has it, and not the same."""

    precision: Precision = field(default="float32", kw_only=True)


class PublishedBackend(ABC):
    """A backend whose networks are the authors' own: parts with the names that their checkpoint files use.

    `parts` holds the networks by part name; each is an attribute too (`backend.generator`). `warnings` collects
    sentences for the report, for example that the GPU's memory forced smaller batches.
    """

    info: ClassVar[BackendInfo]
    Options: ClassVar[type]
    optional_parts: ClassVar[frozenset[str]] = frozenset()
    parts_with_training_networks: ClassVar[frozenset[str]] = frozenset()  # their files hold more than is needed here
    channels_last: ClassVar[bool] = True  # the layout in which CPUs and GPUs convolve fastest
    painting: ClassVar[tuple[str, ...]] = ()  # the networks that bear half precision, "part" or "part.submodule"

    def __init__(self, parts: Mapping[str, nn.Module], options: Any) -> None:
        self.parts = dict(parts)
        self.options = options
        self.warnings: list[str] = []
        self.device = next(next(iter(self.parts.values())).parameters()).device
        self.batch_size = 1 if self.device.type == "cpu" else 16  # batching gains nothing on a CPU and costs memory

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["parts"][name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no part or attribute {name!r}") from None

    @property
    def framing(self) -> Framing:
        """The squares of the avatar's and the driver's picture that it is shown."""
        return Framing()

    @classmethod
    @abstractmethod
    def build_parts(cls) -> dict[str, nn.Module]:
        """Return the networks, untrained, by the part names of the published checkpoint."""

    @abstractmethod
    def encode_source(self, source: FaceImage, reference: FaceImage) -> Any:
        """Prepare the avatar (`source`) to be driven relative to the driver's neutral frame (`reference`)."""

    @abstractmethod
    def generate(self, state: Any, driving: DrivingBatch) -> Tensor:
        """Animate N driving frames; returns [N, 3, frame_size, frame_size] in [0, 1]."""

    @classmethod
    def from_state_dicts(
        cls,
        state_dicts: Mapping[str, StateDict],
        device: str | torch.device = "cpu",
        options: Any = None,
        *,
        prepared: bool = True,
    ) -> Self:
        """Build the backend from {part: state dict}, strictly: every name and every shape must be the published one.

        `options` are an instance of `Options`, or a job's `backend_options` to make one from. A backend that is not
        `prepared` computes plainly, as the published code does, and more slowly. Raises `InputError` for
        a missing part, names or shapes of another model, and weights that are not finite.
        """
        if not isinstance(options, cls.Options):
            options = parse_options(cls.Options, options or {}, title=cls.info.title)
        device = torch.device(device)
        check_precision(options.precision, device, cls.painting, cls.info.title)
        with torch.device("meta"):  # shapes without memory: the values come from the state dicts
            parts = cls.build_parts()
        parts = {
            part: network for part, network in parts.items() if part in state_dicts or part not in cls.optional_parts
        }
        missing = [part for part in parts if part not in state_dicts]
        if missing:
            raise InputError(f"{cls.info.title} needs the part {missing[0]!r}, which this checkpoint does not have.")
        for part, network in parts.items():
            load_strictly(network, state_dicts[part], part=part, title=cls.info.title)
            network.to(device).eval().requires_grad_(False)
            if prepared:
                lay_out(network, channels_last=cls.channels_last)
                if cls.channels_last and device.type == "cpu" and options.precision == "float32":
                    prepare(network)
        if options.precision != "float32":
            for name in cls.painting:
                part, _, submodule = name.partition(".")
                reduce(parts[part].get_submodule(submodule), options.precision)
        return cls(parts, options)

    @classmethod
    def load(cls, device: torch.device, checkpoints: Path, options: Any = None) -> Self:
        """Build the backend from what `backends add` left in the user's `checkpoints` folder.

        Raises `InputError` that says which file is missing, where its authors publish it and how to add it.
        """
        state_dicts = CheckpointStore(checkpoints).read_backend(cls.info)
        return cls.from_state_dicts(state_dicts, device, options)

    @torch.inference_mode()
    def animate(self, state: Any, driving: DrivingBatch) -> Animated:
        """Animate one batch. With the reference itself as driving frame it generates the neutral frame."""
        generated: list[Tensor] = []
        first = 0
        while first < len(driving.frames):
            try:
                generated.append(self.generate(state, part_of(driving, first, self.batch_size, self.device)))
            except RuntimeError as error:
                if not ran_out(self.device, error):
                    raise
            else:
                first += len(generated[-1])
                continue
            self._halve_batch()  # out here, where the error no longer holds on to tensors
        return Animated(torch.cat(generated))

    def _halve_batch(self) -> None:
        free_memory(self.device)
        if self.batch_size == 1:
            raise OutOfMemoryError(
                f"{self.info.title} does not fit into the memory of {self.device}; close other programs that use it, "
                "or choose the CPU in the preferences."
            )
        self.batch_size //= 2
        self.warnings.append(
            f"{self.info.title}: the memory of {self.device} was too small, batches of {self.batch_size} are used now."
        )


def part_of(driving: DrivingBatch, first: int, count: int, device: torch.device | None = None) -> DrivingBatch:
    """Return `count` frames of a batch from `first` on, on another device if one is given."""
    some = slice(first, first + count)
    flow, confidence = driving.motion.flow[some], driving.motion.confidence[some]
    return DrivingBatch(driving.frames[some].to(device), Motion(flow.to(device), confidence.to(device)))


def load_strictly(network: nn.Module, state_dict: StateDict, *, part: str, title: str) -> None:
    """Give `network` (which may be on the meta device) these tensors; `InputError` says what doesn't fit."""
    own = network.state_dict()
    missing, foreign = sorted(own.keys() - state_dict.keys()), sorted(state_dict.keys() - own.keys())
    if missing:
        raise InputError(
            f"This is no {title} checkpoint: {part} lacks {len(missing)} of {len(own)} tensors, first {missing[0]}."
        )
    if foreign:
        raise InputError(
            f"This is no {title} checkpoint: {part} has {len(foreign)} unknown tensors, first {foreign[0]}."
        )
    for name, tensor in own.items():
        given = state_dict[name]
        if given.shape != tensor.shape:
            raise InputError(
                f"This is no {title} checkpoint: {part} {name} has shape {list(given.shape)}, not {list(tensor.shape)}."
            )
        if given.is_floating_point() and not bool(torch.isfinite(given).all()):
            raise InputError(f"The {title} checkpoint is damaged: {part} {name} holds values that are not finite.")
    network.load_state_dict({name: state_dict[name].to(own[name].dtype) for name in own}, strict=True, assign=True)
