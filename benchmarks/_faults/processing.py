# SPDX-License-Identifier: GPL-3.0-or-later
"""What a camera's or a call's processing makes of a face: tone curves, noise filters, sharpness, slimmer faces."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import torch
from torch import Tensor

from magplus.models.training.actors import Actor

from .fault import COUNT, Fault, Picture, Spoil, drawn, place
from .light import lit, smoothed

_MIDDLE = 10  # a frame within the onset


def pumping(amount: float, pace: float = 0.5) -> Spoil:
    """Bend the tone curve to and fro, by an exponent; pace: rad a frame. What is between black and white pumps."""

    def bent(picture: Picture, index: int) -> Picture:
        return np.asarray(np.clip(picture, 0, 1) ** (1 + amount * np.sin(pace * index)), np.float32)

    return drawn(bent)


def contrasted(amount: float) -> Spoil:
    """Raise the contrast little by little around the middle, as an S: black and white stay."""

    def raised(picture: Picture, index: int) -> Picture:
        share = amount * float(np.interp(index, [6, 16], [0, 1]))
        value = np.clip(picture, 0, 1)
        return np.asarray(value + share * (value**2 * (3 - 2 * value) - value), np.float32)

    return drawn(raised)


def brightened(exponent: float) -> Spoil:
    """Lift the darks from the middle of the clip on, as a night mode or HDR that switches on."""
    return drawn(lambda picture, _: np.asarray(np.clip(picture, 0, 1) ** exponent, np.float32), _MIDDLE)


def averaged(share: float) -> Spoil:
    """Mix each frame with a share of what was shown before, as a noise filter over time does."""

    def spoil(frames: Tensor) -> Tensor:
        shown = [frames[0]]
        for frame in frames[1:]:
            shown.append(share * shown[-1] + (1 - share) * frame)
        return torch.stack(shown)

    return spoil


def sharpened(amount: float, sigma: float = 1.5) -> Spoil:
    """Add what a blur takes away, from the middle of the clip on."""

    def sharper(picture: Picture, _: int) -> Picture:
        return np.asarray(picture + amount * (picture - cv2.GaussianBlur(picture, (0, 0), sigma)), np.float32)

    return drawn(sharper, _MIDDLE)


def slimmed(middle: tuple[float, float], share: float) -> Spoil:
    """Pull cheeks and jaw in by a share of their distance from the middle, which jitters as the filter's tracker."""
    rng = np.random.default_rng(7)
    jitter = rng.normal(0, 0.5, (COUNT, 2))
    y, x = np.mgrid[:256, :256].astype(np.float32)

    def slimmer(picture: Picture, index: int) -> Picture:
        across, down = x - middle[0] - np.float32(jitter[index, 0]), y - middle[1] - np.float32(jitter[index, 1])
        near = np.exp(-((across / 55) ** 4) - ((down / 60) ** 4))
        return np.asarray(cv2.remap(picture, x + share * across * near, y, cv2.INTER_CUBIC, None, cv2.BORDER_REPLICATE))

    return drawn(slimmer)


def of_processing(driver: Actor, other: Actor) -> Iterator[Fault]:
    """Yield what processing does, the strongest of a kind last."""
    for amount in (0.12, 0.25):
        yield Fault("harmless: gamma pumps", f"{amount:.0%}", pumping(amount))
    yield Fault("harmless: gamma pumps", "25%, slowly", pumping(0.25, 0.3))
    ebb = {index: 1 - 0.4 * float(np.exp(-(((index - 14) / 4) ** 2))) for index in range(COUNT)}
    yield Fault("harmless: light ebbs", "to x0.6", lit(ebb))
    for amount in (0.4, 0.8):
        yield Fault("harmless: contrast rises", f"{amount:g}", contrasted(amount))
    for exponent in (0.8, 0.65):
        yield Fault("harmless: night mode", f"gamma {exponent:g}", brightened(exponent))
    for share in (0.3, 0.5):
        yield Fault("averaged over time", f"{share:g} of before", averaged(share), (), "")
    for amount in (0.5, 1.0):
        yield Fault("sharpened midway", f"{amount:g}", sharpened(amount), (), "")
    yield Fault("beauty filter midway", "", drawn(smoothed, _MIDDLE), (), "")
    yield Fault("slimmer face", "8%", slimmed(place(driver, "mouthSmile"), 0.08), (), "")
