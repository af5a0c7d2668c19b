# SPDX-License-Identifier: GPL-3.0-or-later
"""Cuts, dissolves, and other pictures in the picture."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from magplus.models.training.actors import Actor

from .fault import COUNT, LATE, LIGHT, SIZE, Fault, Spoil, at_rest, filmed


def inserted(other: Tensor, start: int, count: int) -> Spoil:
    """Put other frames in the place of some."""

    def spoil(frames: Tensor) -> Tensor:
        result = frames.clone()
        result[start : start + count] = other[:count]
        return result

    return spoil


def dissolved(other: Tensor, start: int, count: int) -> Spoil:
    """Blend over to other frames within `count` frames, and stay there."""

    def spoil(frames: Tensor) -> Tensor:
        result = frames.clone()
        for index in range(start, len(frames)):
            share = min(1.0, (index - start + 1) / count)
            result[index] = (1 - share) * frames[index] + share * other[index % len(other)]
        return result

    return spoil


def beside(other: Tensor, scale: float, start: int) -> Spoil:
    """Widen the picture; from `start` on, somebody is seen there, `scale` times as large."""
    middle = round(SIZE * scale / 2)
    near = slice(middle - SIZE // 2, middle + SIZE // 2)
    larger = torch.nn.functional.interpolate(other[:1], scale_factor=scale, mode="bilinear")[:, :, near, near]

    def spoil(frames: Tensor) -> Tensor:
        room = frames[:, :, :, -1:].expand(-1, -1, -1, SIZE).clone()
        room[start:] = larger
        return torch.cat([frames, room], 3)

    return spoil


def inset(other: Tensor, start: int) -> Spoil:
    """Show somebody else in a small picture in the upper corner."""
    small = torch.nn.functional.interpolate(other, size=SIZE // 4, mode="area")

    def spoil(frames: Tensor) -> Tensor:
        result = frames.clone()
        for index in range(start, len(frames)):
            result[index, :, 4 : 4 + SIZE // 4, 4 : 4 + SIZE // 4] = small[index % len(small)]
        return result

    return spoil


def mirrored(start: int, count: int) -> Spoil:
    """Mirror some frames."""

    def spoil(frames: Tensor) -> Tensor:
        result = frames.clone()
        result[start : start + count] = frames[start : start + count].flip(3)
        return result

    return spoil


def of_cuts(driver: Actor, other: Actor) -> Iterator[Fault]:
    """Yield cuts and dissolves."""
    rest = at_rest(driver)
    stranger = filmed(other, [rest] * 8, 3)
    for frames in (1, 5):
        put = inserted(stranger, LATE, frames)
        yield Fault("another person", f"{frames} frames", put, tuple(range(LATE, LATE + frames)), LIGHT)
    late = tuple(range(LATE, COUNT))
    for frames in (3, 6):
        yield Fault("dissolve to another", f"{frames} frames", dissolved(stranger, LATE, frames), late, LIGHT)
    for angle in (3.0, 6.0):
        head = np.r_[np.deg2rad([angle / 2, angle, angle / 3]), [0.002 * angle, 0.001 * angle, 0.0]]
        jumped = filmed(driver, [rest] * 8, 4, (head,))
        yield Fault("jump cut", f"{angle:g} degrees", inserted(jumped, LATE, 8), late, LIGHT)
    yield Fault("dissolve to oneself", "4 frames", dissolved(jumped, LATE, 4), late, LIGHT)
    yield Fault("mirrored", "5 frames", mirrored(LATE, 5), tuple(range(LATE, LATE + 5)), LIGHT)
    yield Fault("harmless: a larger face beside", "x1.3", beside(stranger, 1.3, 10))
    yield Fault("harmless: inset", "a quarter", inset(stranger, 10))
