# SPDX-License-Identifier: GPL-3.0-or-later
"""A fault of footage, and what faults are made with. Frames are [N, 3, S, S] in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from magplus.models.training.actors import CURVE, NOISE, RATE, Actor

from .._codecs import Codec

SIZE = 256  # px a side of the driver's picture
PEAK = 0.7  # px, the expression's largest motion
LIGHT, HIDDEN, COMPRESSION = "untrusted frames", "unseen regions", "compression"  # concerns of the report's quality
APEX = np.flatnonzero(CURVE >= 1)
LATE = 20  # a frame after the expression
COUNT = len(CURVE)

Values = NDArray[np.float64]
Picture = NDArray[np.float32]
Spoil: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Fault:
    """A fault at one strength: what it makes of frames [N, 3, S, S], which frames it spoils, and how it is named.

    concern: what the report's quality must say, None for a harmless one, "" for what may be said or not, "refused" for
    a clip that must be refused. truth: of the clip in the end, None where it is the film's. expression: of
    `MICRO_EXPRESSIONS`. numbers: the frames' places in time, None for one after the other. rate: frames a second.
    codec: what it is coded by, None where nothing is lost. strongest: of its kind.
    """

    name: str
    strength: str
    spoil: Spoil
    faulty: tuple[int, ...] = ()
    concern: str | None = None
    truth: Values | None = None
    expression: str = "AU4"
    numbers: tuple[int, ...] | None = None
    rate: int = RATE
    codec: Codec | None = None
    strongest: bool = False
    may_hold: bool = False


def drawn(draw: Callable[[Picture, int], Picture], start: int = 0, stop: int = COUNT) -> Spoil:
    """Return what draws on the frames from `start` to before `stop`; `draw` may change the [S, S, 3] it is given."""

    def spoil(frames: Tensor) -> Tensor:
        result = frames.clone()
        for index in range(start, min(stop, len(frames))):
            picture = np.ascontiguousarray(frames[index].permute(1, 2, 0).numpy())
            result[index] = torch.from_numpy(draw(picture, index)).permute(2, 0, 1)
        return result

    return spoil


def filmed(actor: Actor, values: Sequence[Values], seed: int, heads: Sequence[Values | None] = (None,)) -> Tensor:
    """Return pictures of control values [K] with a camera's noise; heads: motions [6], one for all or one for each."""
    rng = np.random.default_rng(seed)
    posed = list(heads) * (len(values) if len(heads) == 1 else 1)
    frames = torch.cat([actor.picture(row, head) for row, head in zip(values, posed, strict=True)])
    return frames + NOISE * torch.from_numpy(rng.standard_normal(frames.shape).astype(np.float32))


def at_rest(actor: Actor) -> Values:
    """Return the control values [K] of a face at rest."""
    return np.zeros(len(actor.stage.controls))


def place(actor: Actor, control: str) -> tuple[float, float]:
    """Return where controls whose names begin so move the face, px of the actor's picture."""
    chosen = [number for number, name in enumerate(actor.stage.controls) if name.startswith(control)]
    size = np.linalg.norm(actor.basis.displacement[chosen], axis=2).sum(0) * actor.basis.visible
    x, y = (size[:, None] * actor.basis.positions).sum(0) / size.sum()
    return float(x), float(y)
