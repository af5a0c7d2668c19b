# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of the light, and of what the camera makes of it."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import torch
from torch import Tensor

from magplus.models.training.actors import RATE, Actor

from .fault import APEX, COUNT, LATE, LIGHT, SIZE, Fault, Picture, Spoil, drawn

_MAINS = 100.0  # Hz: lamps brighten twice in each of the mains' 50 periods a second
_READOUT = 0.6  # of a frame's time: from the first row's exposure to the last one's


def lit(gains: dict[int, float], offset: float = 0.0) -> Spoil:
    """Multiply frames' light."""

    def spoil(frames: Tensor) -> Tensor:
        result = frames.clone()
        for index, gain in gains.items():
            result[index] = frames[index] * gain + offset
        return result

    return spoil


def dimmed(gain: float, noise: float) -> Spoil:
    """Darken, with a dark sensor's noise."""

    def spoil(frames: Tensor) -> Tensor:
        rng = np.random.default_rng(8)
        return frames * gain + noise * torch.from_numpy(rng.standard_normal(frames.shape).astype(np.float32))

    return spoil


def banded(amount: float) -> Spoil:
    """Light by the mains, read row by row: bands that wander over the picture."""
    rows = np.arange(SIZE) / SIZE * _READOUT / RATE

    def wandering(picture: Picture, index: int) -> Picture:
        gain = 1 + amount * np.sin(2 * np.pi * _MAINS * (index / RATE + rows))
        return np.asarray(picture * gain[:, None, None], np.float32)

    return drawn(wandering)


def vignetted(amount: float) -> Spoil:
    """Darken the corners by an amount that pumps."""
    y, x = np.mgrid[:SIZE, :SIZE] / (SIZE / 2) - 1
    away = (x**2 + y**2)[..., None] / 2

    def pumping(picture: Picture, index: int) -> Picture:
        return np.asarray(picture * (1 - amount * (0.5 + 0.5 * np.sin(index / 2)) * away), np.float32)

    return drawn(pumping)


def balanced(amount: float) -> Spoil:
    """Let the white balance drift from the middle of the clip on."""

    def warmer(picture: Picture, index: int) -> Picture:
        share = amount * np.clip((index - 8) / 8, 0, 1)
        return np.asarray(picture * (1 + share * np.array([1.0, 0.0, -1.0])), np.float32)

    return drawn(warmer)


def ranged(start: int) -> Spoil:
    """Show video levels (16 to 235) as they are from a frame on: greyer blacks, duller whites."""
    return drawn(lambda picture, _: np.asarray(picture * (219 / 255) + 16 / 255, np.float32), start)


def smoothed(picture: Picture, _: int) -> Picture:
    """Smooth the skin as a beauty filter does, edges kept."""
    return np.asarray(cv2.bilateralFilter(np.clip(picture, 0, 1), 9, 0.12, 6.0), np.float32)


def of_light(driver: Actor, other: Actor) -> Iterator[Fault]:
    """Yield faults of the light, the strongest of a kind last."""
    yield Fault("none", "", lambda frames: frames)
    for amount in (0.06, 0.12):
        gains = {index: 1 + amount * float(np.sin(2.1 * index)) for index in range(COUNT)}
        yield Fault("harmless: flicker", f"{amount:.0%}", lit(gains))
    for gain in (0.75, 0.6):
        yield Fault("harmless: step of light", f"x{gain:g}", lit(dict.fromkeys(range(10, COUNT), gain)))
    for gain in (0.6, 0.35):
        yield Fault("harmless: low light", f"x{gain:g}", dimmed(gain, 3 / 255))
    for gain in (1.5, 2.0, 3.0):
        yield Fault("flash", f"x{gain:g}", lit({LATE: gain}, 0.05 * gain), (LATE,), LIGHT)
    pair = (LATE, LATE + 2)
    yield Fault("flash", "two, x2.5", lit(dict.fromkeys(pair, 2.5), 0.1), pair, LIGHT)
    yield Fault("flash at the apex", "x3", lit({int(APEX[0]): 3.0}, 0.15), (int(APEX[0]),), LIGHT)
    for frames in (3, 7):
        gains = {index: index / frames for index in range(frames)}
        yield Fault("fade-in", f"{frames} frames", lit(gains), tuple(range(frames)), LIGHT)
    for frames in (3, 7):
        gains = {COUNT - 1 - index: index / frames for index in range(frames)}
        yield Fault("fade-out", f"{frames} frames", lit(gains), tuple(range(COUNT - frames, COUNT)), LIGHT)
    slow = {index: 1 - (index - 8) / (COUNT - 9) for index in range(8, COUNT)}
    yield Fault("slow fade to black", f"{COUNT - 8} frames", lit(slow), tuple(range(18, COUNT)), LIGHT)
    for gain in (1.4, 1.8):
        yield Fault("clipped step", f"x{gain:g}", lit(dict.fromkeys(range(10, COUNT), gain)), (), "")
    yield Fault("harmless: mains bands", "15%", banded(0.15))
    yield Fault("harmless: pumping vignette", "40%", vignetted(0.4))
    yield Fault("harmless: white balance drifts", "15%", balanced(0.15))
    yield Fault("harmless: video levels", "from frame 10", ranged(10))
    yield Fault("harmless: beauty filter", "", drawn(smoothed))
