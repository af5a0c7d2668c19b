# SPDX-License-Identifier: GPL-3.0-or-later
"""What the backends with published checkpoints share: named parts, strict loading, batches that fit the memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from backend_bridge.errors import InputError, MachineError
from models.backends.base import Animated, BackendInfo, DrivingBatch, FaceImage
from models.backends.store import CheckpointStore, StateDict
from models.magnification.motion import Motion


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
        options: Mapping[str, Any] | None = None,
    ) -> Self:
        """Build the backend from {part: state dict}, strictly: every name and every shape must be the published one.

        Raises `InputError` for a missing part, names or shapes of another model, and weights that are not finite.
        """
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
            network.to(torch.device(device)).eval().requires_grad_(False)
            if cls.channels_last:
                convert_layout(network)
        return cls(parts, parse_options(cls.Options, options or {}, title=cls.info.title))

    @classmethod
    def load(cls, device: torch.device, checkpoints: Path, options: Mapping[str, Any] | None = None) -> Self:
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
            except torch.OutOfMemoryError:
                self._halve_batch()
            else:
                first += len(generated[-1])
        return Animated(torch.cat(generated))

    def _halve_batch(self) -> None:
        torch.cuda.empty_cache()
        if self.batch_size == 1:
            raise MachineError(
                f"{self.info.title} does not fit into the memory of {self.device}; "
                "close other programs that use it, or choose the CPU in the preferences."
            ) from None
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


def convert_layout(network: nn.Module) -> None:
    """Store 4-D weights channels last."""
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def parse_options(options: type, given: Mapping[str, Any], *, title: str) -> Any:
    """Return the options dataclass filled from a job's `backend_options`; `InputError` for a name it does not have."""
    assert is_dataclass(options)
    known = [field.name for field in fields(options)]
    for name in given:
        if name not in known:
            raise InputError(f"{title} has no option {name!r}; its options are {', '.join(known)}.")
    return options(**given)
