# SPDX-License-Identifier: GPL-3.0-or-later
"""What phones, lamps and editors do to a shot: strobes, wobble, colour, logos, bars; and who else is seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import torch
from torch import Tensor

from magplus.models.training.actors import Actor, film

from .covers import hand
from .fault import APEX, COUNT, HIDDEN, LATE, LIGHT, PEAK, SIZE, Fault, Picture, Spoil, at_rest, drawn, filmed, place
from .light import lit
from .passing import both

_GREY = np.array([0.2126, 0.7152, 0.0722], np.float32)  # ITU-R BT.709


def tinted(gains: tuple[float, float, float], start: int) -> Spoil:
    """Multiply red, green and blue from a frame on: a lamp of another colour temperature."""
    return drawn(lambda picture, _: np.asarray(picture * np.array(gains, np.float32), np.float32), start)


def grey(start: int) -> Spoil:
    """Take the colour away from a frame on."""
    return drawn(lambda picture, _: np.repeat((picture @ _GREY)[..., None], 3, 2), start)


def wobbling(px: float) -> Spoil:
    """Shift rows to and fro, as a rolling shutter shows a phone that shakes."""
    rows = np.arange(SIZE, dtype=np.float32)
    y, x = np.meshgrid(rows, rows, indexing="ij")

    def shaken(picture: Picture, index: int) -> Picture:
        shift = px * np.sin(2 * np.pi * (1.7 * index + rows / SIZE * 0.8)).astype(np.float32)
        return np.asarray(cv2.remap(picture, x + shift[:, None], y, cv2.INTER_CUBIC, None, cv2.BORDER_REPLICATE))

    return drawn(shaken)


def upright(spoil: Spoil) -> Spoil:
    """Do to columns what is done to rows: a phone held upright, whose sensor lies on its side."""
    return lambda frames: spoil(frames.mT.contiguous()).mT.contiguous()


def logo(middle: tuple[float, float], share: float, start: int) -> Spoil:
    """Lay a ring with letters over a place in px from a frame on; share: of it that hides what is under it."""
    ink = np.zeros((SIZE, SIZE), np.float32)
    x, y = (round(value) for value in middle)
    cv2.circle(ink, (x, y), 14, 1.0, 3, cv2.LINE_AA)
    cv2.putText(ink, "TV", (x - 9, y + 4), cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1.0, 1, cv2.LINE_AA)
    cover = share * ink[..., None]
    return drawn(lambda picture, _: np.asarray(picture * (1 - cover) + cover, np.float32), start)


def breathing(px: int) -> Spoil:
    """Let black bars above and below grow and shrink from frame to frame."""

    def spoil(frames: Tensor) -> Tensor:
        result = frames.clone()
        for index in range(len(frames)):
            size = round(px * (0.5 + 0.5 * np.sin(index / 3)))
            result[index, :, :size] = 0
            result[index, :, SIZE - size :] = 0
        return result

    return spoil


def blended(frames: Tensor) -> Tensor:
    """Show 25 frames a second at 30, each in-between frame a mixture of two; of frames or their values [N, ...]."""
    places = torch.arange(len(frames)) * 25 / 30
    first = places.long().clamp(max=len(frames) - 2)
    share = (places - first).view(-1, *[1] * (frames.ndim - 1)).to(frames)
    return (1 - share) * frames[first] + share * frames[first + 1]


def entering(other: Tensor, height: float) -> Spoil:
    """Let somebody half as large walk in behind the shoulder, from the side; height: of the face, px."""
    size = SIZE // 2
    small = torch.nn.functional.interpolate(other[:1], size=size, mode="area")
    top = round(height) - size // 2

    def spoil(frames: Tensor) -> Tensor:
        result = torch.cat([frames, frames[..., -1:].expand(-1, -1, -1, SIZE // 2).clone()], 3)
        for index in range(8, len(frames)):
            left = result.shape[3] - min(size, (index - 7) * 8)
            result[index, :, top : top + size, left:] = small[0, :, :, : result.shape[3] - left]
        return result

    return spoil


def of_editing(driver: Actor, other: Actor) -> Iterator[Fault]:
    """Yield what phones, lamps and editors do to a shot, and who else is seen."""
    mouth, brow = place(driver, "mouthSmile"), place(driver, "brow")
    cheeks = ((mouth[0] - 34, mouth[1] - 22), (mouth[0] + 34, mouth[1] - 22))
    pair = (LATE, LATE + 1)
    yield Fault("flash of two frames", "x2.5", lit(dict.fromkeys(pair, 2.5), 0.1), pair, LIGHT)
    apex = tuple(int(index) for index in APEX)
    yield Fault("flash of two frames", "at the apex", lit(dict.fromkeys(apex, 2.5), 0.1), apex, LIGHT)
    struck = tuple(range(3, COUNT, 4))
    yield Fault("strobe", "every fourth, x1.8", lit(dict.fromkeys(struck, 1.8), 0.05), struck, "", may_hold=True)
    yield Fault("harmless: colour temperature", "steps", tinted((1.12, 1.0, 0.8), 10))
    yield Fault("harmless: black and white", "", grey(0))
    yield Fault("turns black and white", "from frame 10", grey(10), (), "")
    for px in (0.5, 1.5):
        yield Fault("rolling shutter", f"{px:g} px", wobbling(px), (), "")
    yield Fault("rolling shutter, upright", "1.5 px", upright(wobbling(1.5)), (), "")
    yield Fault("harmless: a logo on the cheek", "still", logo(cheeks[1], 0.6, 0))
    yield Fault("a logo on the cheek", "put on", logo(cheeks[1], 0.6, 10), (), "")
    yield Fault("harmless: bars that change", "16 px", breathing(16))
    values = blended(torch.from_numpy(film(driver, "AU4", PEAK, 1).values)).numpy()
    yield Fault("blended frames", "25 in 30", blended, (), "", truth=values)
    rest = at_rest(driver)
    behind = entering(filmed(other, [rest], 3), mouth[1])
    yield Fault("harmless: somebody enters behind", "half as large", behind)
    two = both(hand(20.0, cheeks[0], 2, COUNT - 2, 0.3), hand(20.0, cheeks[1], 2, COUNT - 2, 0.3))
    yield Fault("two hands", "at the cheeks", two, (), HIDDEN)
    lower = both(hand(22.0, (cheeks[0][0], mouth[1] + 6), 0, COUNT, 0.2), hand(22.0, cheeks[1], 0, COUNT, 0.2))
    yield Fault("two hands", "from the start", lower, (), "")
    over = both(hand(18.0, (brow[0] - 26, brow[1]), 4, LATE, 0.2), hand(18.0, (brow[0] + 26, brow[1]), 4, LATE, 0.2))
    yield replace(Fault("two hands", "at the brows", over, (), HIDDEN), expression="AU15")
