# SPDX-License-Identifier: GPL-3.0-or-later
"""Backends with known faults: they move the avatar as flow transfer does, do not tell so, and add something."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from magplus.backend_bridge.backends import BackendInfo
from magplus.models.backends import Animated, FlowTransfer
from magplus.models.warp import move

Fault = Callable[[Tensor, torch.Generator], Tensor]  # a frame [1, 3, S, S] and something random -> the frame it makes


def shake(pixels: float) -> Fault:
    """The head shifted by `pixels` in a random direction."""

    def fault(frame: Tensor, random: torch.Generator) -> Tensor:
        angle = 6.2832 * torch.rand(1, generator=random)
        shift = pixels * torch.stack([angle.cos(), angle.sin()]).view(1, 2, 1, 1)
        return move(frame, shift.expand(1, 2, *frame.shape[-2:]))

    return fault


def flicker(share: float) -> Fault:
    """Brighter or darker by up to `share`."""
    return lambda frame, random: (frame * (1 + share * (2 * torch.rand(1, generator=random) - 1))).clamp(0, 1)


def drift(share: float) -> Fault:
    """Another face shows through, a little more in every frame."""
    seen = 0

    def fault(frame: Tensor, _: torch.Generator) -> Tensor:
        nonlocal seen
        seen += 1
        return (1 - share * seen) * frame + share * seen * frame.flip(-1)

    return fault


def wobble(pixels: float) -> Fault:
    """The face's parts pushed about at random, as smoothly as an expression would."""

    def fault(frame: Tensor, random: torch.Generator) -> Tensor:
        coarse = torch.randn(1, 2, 7, 7, generator=random)
        return move(frame, pixels * F.interpolate(coarse, frame.shape[-2:], mode="bicubic", align_corners=False))

    return fault


class Substitute(FlowTransfer):
    """Answers with `gain` times the motion that it is shown. Counts the frames that it generates."""

    info = BackendInfo("substitute", "Substitute", "For tests", 256, "none", "none", True)
    gain: float = 1.0
    fault: Fault | None = None

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self.generated = 0
        self._random = torch.Generator().manual_seed(1)

    def animate(self, state, driving):
        """The frames alone; the first, which is the reference's, is without fault."""
        still = self.generated == 0
        self.generated += len(driving.frames)
        flow = state.correspondence.carry(driving.motion.flow)
        frames = move(state.image, self.gain * flow).clamp(0, 1)
        if self.fault is not None and not still:
            frames = torch.cat([type(self).fault(frame[None], self._random) for frame in frames])
        return Animated(frames)


def substitute(fault: Fault | None = None, gain: float = 1.0) -> type[Substitute]:
    """Return a kind of backend with a fault."""
    return type("Faulty", (Substitute,), {"fault": staticmethod(fault) if fault else None, "gain": gain})
