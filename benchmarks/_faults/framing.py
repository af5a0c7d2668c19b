# SPDX-License-Identifier: GPL-3.0-or-later
"""What the picture's edges cut off, how it lies, and what the lens does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import torch
from torch import Tensor

from magplus.models.training.actors import NOISE, Actor

from .fault import COUNT, HIDDEN, LATE, LIGHT, SIZE, Fault, Picture, Spoil, drawn, place


def cropped(rows: slice) -> Spoil:
    """Keep some rows of the picture."""
    return lambda frames: frames[:, :, rows]


def across(columns: slice) -> Spoil:
    """Keep some columns of the picture."""
    return lambda frames: frames[..., columns]


def zoomed(amount: float) -> Spoil:
    """Zoom in over the clip, as smoothly as a lens does."""

    def nearer(picture: Picture, index: int) -> Picture:
        scale = 1 + amount * (0.5 - 0.5 * np.cos(np.pi * index / (COUNT - 1)))
        matrix = cv2.getRotationMatrix2D((SIZE / 2, SIZE / 2), 0, scale)
        grown = cv2.warpAffine(picture, matrix, (SIZE, SIZE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(grown, np.float32)

    return drawn(nearer)


def defocused(sigma: float) -> Spoil:
    """Pull the focus away and back after the expression: a blur of up to `sigma` px."""
    last = COUNT - 1

    def soft(picture: Picture, index: int) -> Picture:
        here = sigma * np.sin(np.pi * (index - 16) / (last - 16))
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), max(here, 0.1)), np.float32)

    return drawn(soft, 17, last)


def turned(driver: Actor, pitch: float, yaw: float) -> Spoil:
    """Turn the head away and back within six frames after the expression, with the motion blur of half a frame.

    pitch, yaw: degrees.
    """
    course = np.interp(np.arange(LATE - 1, LATE + 6, 0.125), [LATE, LATE + 2, LATE + 3, LATE + 5], [0, 1, 1, 0])
    rest = np.zeros(len(driver.stage.controls))
    heads = [np.r_[np.deg2rad([pitch * share, yaw * share, 0.0]), np.zeros(3)] for share in course]

    def spoil(frames: Tensor) -> Tensor:
        result = frames.clone()
        rng = np.random.default_rng(7)
        for number in range(LATE, LATE + 6):
            exposed = heads[8 * (number - LATE + 1) - 2 : 8 * (number - LATE + 1) + 3]
            blurred = torch.cat([driver.picture(rest, head) for head in exposed]).mean(0)
            noise = torch.from_numpy(rng.standard_normal(blurred.shape).astype(np.float32))
            result[number] = blurred + NOISE * noise
        return result

    return spoil


def of_framing(driver: Actor, other: Actor) -> Iterator[Fault]:
    """Yield what the picture's edges cut off, and how it lies."""
    mouth, brows = place(driver, "mouthSmile")[1], place(driver, "brow")[1]
    for share in (0.08, 0.0):
        row = round(mouth + share * (mouth - brows))
        yield Fault("mouth out of the picture", f"from row {row}", cropped(np.s_[:row]), (), HIDDEN)
    for share in (0.0, 0.15):
        row = round(brows + share * (mouth - brows))
        cut = Fault("brows out of the picture", f"above row {row}", cropped(np.s_[row:]), (), HIDDEN)
        yield replace(cut, expression="AU15")
    corner = max(place(driver, "mouthSmileLeft")[0], place(driver, "mouthSmileRight")[0])
    for beyond, concern in ((14, ""), (-2, HIDDEN)):
        column = round(corner) + beyond - (round(corner) + beyond) % 2
        cut = Fault("smile at the edge", f"up to column {column}", across(np.s_[:column]), (), concern)
        yield replace(cut, expression="AU6+12")
    bars = (0, 0, 40, 40)
    yield Fault("harmless: letterbox", "40 px", lambda frames: torch.nn.functional.pad(frames, bars))
    yield Fault("on its side", "90 degrees", lambda frames: frames.rot90(1, (2, 3)), (), "")
    yield Fault("upside down", "", lambda frames: frames.flip(2, 3), (), "refused")
    yield Fault("harmless: zoom", "12%", zoomed(0.12))
    for sigma in (1.5, 3.0):
        yield Fault("focus pulled", f"{sigma:g} px", defocused(sigma), (), "" if sigma < 2 else LIGHT)
    for name, pitch, yaw in (("fast nod", 8.0, 0.0), ("fast nod and turn", 6.0, 8.0), ("fast turn", 0.0, 10.0)):
        strength = f"{max(pitch, yaw):g} degrees"
        yield Fault(name, strength, turned(driver, pitch, yaw), tuple(range(LATE, LATE + 6)), "")
