# SPDX-License-Identifier: GPL-3.0-or-later
"""What comes and goes while an expression is shown: what people do with their hands, and what is laid over pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
from torch import Tensor

from magplus.models.training.actors import Actor

from .covers import caption, hand, sunglasses
from .fault import COUNT, HIDDEN, LATE, LIGHT, SIZE, Fault, Picture, Spoil, drawn, place
from .light import lit


def both(first: Spoil, second: Spoil) -> Spoil:
    """Do one thing after the other."""
    return lambda frames: second(first(frames))


def cup(middle: tuple[float, float]) -> Spoil:
    """Raise a white cup to the lips, hold it there and lower it, from the sixth frame on."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)

    def drunk(picture: Picture, index: int) -> Picture:
        away = float(np.interp(index, [5, 14, 20, COUNT], [1, 0, 0, 1]))
        top = middle[1] + 2 + 90 * away
        inside = (np.abs(x - middle[0]) < 24 - 0.1 * (y - top)) & (y > top) & (y < top + 60)
        soft = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 0.8)[..., None]
        shaded = (0.85 - 0.25 * np.abs(x - middle[0]) / 24)[..., None] * np.ones(3, np.float32)
        return np.asarray(picture * (1 - soft) + soft * shaded, np.float32)

    return drawn(drunk)


def strands(brow: tuple[float, float]) -> Spoil:
    """Blow a lock of hair over the face, from one side to the other, within half a second."""
    rng = np.random.default_rng(6)
    roots = rng.uniform(-10, 10, 30)

    def blown(picture: Picture, index: int) -> Picture:
        swing = float(np.interp(index, [4, LATE], [-60, 60]))
        for root in roots:
            ends = (brow[0] + root, brow[1] - 50), (brow[0] + root + swing, brow[1] + 70)
            first, last = (tuple(round(16 * value) for value in end) for end in ends)
            cv2.line(picture, first, last, (0.12, 0.08, 0.05), 1, cv2.LINE_AA, 4)
        return picture

    return drawn(blown, 4, LATE)


def flare(height: float) -> Spoil:
    """Let a soft spot of light travel over the picture at a height in px."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)

    def glaring(picture: Picture, index: int) -> Picture:
        across = SIZE * (index + 0.5) / COUNT
        spot = 0.25 * np.exp(-0.5 * ((x - across) ** 2 + (y - height) ** 2) / 28**2)
        return np.asarray(picture + spot[..., None] * np.array([1.0, 0.9, 0.7], np.float32), np.float32)

    return drawn(glaring)


def watermark(height: float) -> Spoil:
    """Fade a half transparent mark in and out, at a height in px."""

    def pulsing(picture: Picture, index: int) -> Picture:
        ink = np.zeros((SIZE, SIZE), np.float32)
        cv2.putText(ink, "SAMPLE", (SIZE // 2 - 62, round(height)), cv2.FONT_HERSHEY_DUPLEX, 1.0, 1.0, 2, cv2.LINE_AA)
        share = (0.25 * (0.5 + 0.5 * np.sin(index / 3)) * ink)[..., None]
        return np.asarray(picture * (1 - share) + share, np.float32)

    return drawn(pulsing)


def barred(start: int) -> Spoil:
    """Let black bars appear above and below."""

    def spoil(frames: Tensor) -> Tensor:
        result = frames.clone()
        result[start:, :, :20] = 0
        result[start:, :, -20:] = 0
        return result

    return spoil


def of_passing(driver: Actor, other: Actor) -> Iterator[Fault]:
    """Yield what comes and goes."""
    mouth, brow = place(driver, "mouthSmile"), place(driver, "browOuterUpLeft")
    eyes = (place(driver, "eyeBlinkLeft"), place(driver, "eyeBlinkRight"))
    cheek = (mouth[0] + 34, mouth[1] - 22)
    yield Fault("a hand scratches the cheek", "and goes", hand(16.0, cheek, 3, LATE, 0.15), (), "")
    yield Fault("a cup at the lips", "", cup(mouth), (), HIDDEN)
    yield replace(Fault("hair blown across", "", strands(brow), (), ""), expression="AU15")
    put_on = Fault("sunglasses put on", "midway", lambda frames: _put_on(frames, eyes), (), "")
    yield replace(put_on, expression="AU15")
    yield Fault("harmless: a flare travels", "25%", flare(mouth[1] - 30))
    yield Fault("watermark", "pulses", watermark(mouth[1] + 8), (), "")
    yield Fault("harmless: bars appear", "20 px", barred(14))
    flash = lit({LATE + 4: 3.0}, 0.15)
    yield Fault("flash and subtitle", "together", both(caption(mouth[1], 4, LATE, 0.7), flash), (LATE + 4,), LIGHT)


def _put_on(frames: Tensor, eyes: tuple[tuple[float, float], ...]) -> Tensor:
    """Return frames in which dark glasses come down on the nose from the apex on, within five frames."""
    result = frames.clone()
    for index in range(14, len(frames)):
        above = float(np.interp(index, [14, 19], [60, 0]))
        result[index] = sunglasses(tuple((x, y - above) for x, y in eyes))(frames)[index]
    return result
