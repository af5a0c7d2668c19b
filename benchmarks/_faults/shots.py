# SPDX-License-Identifier: GPL-3.0-or-later
"""What a camera and what is around a person do: jolts, steps of the zoom, breath, weather, moving lamps, mirrors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import torch
from torch import Tensor

from magplus.models.training.actors import Actor

from .covers import caption, glasses
from .fault import COUNT, LATE, SIZE, Fault, Picture, Spoil, drawn, place
from .light import banded, lit
from .passing import both


def jolted(start: int, px: float) -> Spoil:
    """Push the camera: within two frames off by so many px, and swinging back; the frames are blurred by it."""
    course = np.array([0.0, 0.6, 1.0, -0.5, 0.25, -0.1, 0.0]) * px

    def pushed(picture: Picture, index: int) -> Picture:
        before, here = course[index - start], course[index - start + 1]
        moved = [_shifted(picture, 0.4 * at, at) for at in np.linspace(before, here, 5)[2:]]
        return np.asarray(np.mean(moved, 0), np.float32)

    return drawn(pushed, start, start + len(course) - 1)


def breathed(px: float) -> Spoil:
    """Move all of the person up and down and a little nearer, as heavy breath does."""

    def lifted(picture: Picture, index: int) -> Picture:
        swing = np.sin(2 * np.pi * index / 22)
        return _shifted(picture, 0.2 * px * swing, px * swing, 1 + 0.004 * px * swing)

    return drawn(lifted)


def stepped(amount: float, at: tuple[int, ...]) -> Spoil:
    """Zoom in by a step at each of some frames."""
    return drawn(lambda picture, index: _shifted(picture, 0, 0, (1 + amount) ** sum(index >= each for each in at)))


def falling(count: int, colour: float, length: float, speed: float, opacity: float) -> Spoil:
    """Let flakes, drops or dust fall before the face: so many in sight, of a length and a speed in px."""
    rng = np.random.default_rng(11)
    places = rng.uniform(0, SIZE, (count, 2))
    drift = rng.normal(0, 1, count) + 0.2 * speed

    def fell(picture: Picture, index: int) -> Picture:
        ink = np.zeros((SIZE, SIZE), np.float32)
        for (x, y), aside in zip(places, drift, strict=True):
            left, top = (x + aside * index) % SIZE, (y + speed * index) % SIZE
            ends = (round(16 * left), round(16 * top)), (round(16 * (left + 0.15 * length)), round(16 * (top + length)))
            cv2.line(ink, *ends, 1.0, 2, cv2.LINE_AA, 4)
        cover = opacity * cv2.GaussianBlur(ink, (0, 0), 0.7)[..., None]
        return np.asarray(picture * (1 - cover) + cover * colour, np.float32)

    return drawn(fell)


def crossed_by_light(gain: float, angle: float = 0.0, softness: float = 10.0) -> Spoil:
    """Let the edge of a light move across the face, as of a car or a blind, at an angle, rad; softness: px."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32) - SIZE / 2
    along = x * np.cos(angle) + y * np.sin(angle)
    reach = SIZE / 2 + 4 * softness

    def moved(picture: Picture, index: int) -> Picture:
        edge = float(np.interp(index, [2, COUNT - 3], [-reach, reach]))
        share = 1 / (1 + np.exp((along - edge) / softness))
        return np.asarray(picture * (1 + (gain - 1) * share)[..., None], np.float32)

    return drawn(moved)


def put_on(eyes: tuple[tuple[float, float], ...], start: int) -> Spoil:
    """Put glasses with rims on: they come down within five frames from a frame on."""

    def spoil(frames: Tensor) -> Tensor:
        result = frames.clone()
        for index in range(start, len(frames)):
            above = float(np.interp(index, [start, start + 5], [60, 0]))
            worn = glasses(tuple((x, y - above) for x, y in eyes), glint=False)
            result[index] = worn(frames[index : index + 1])[0]
        return result

    return spoil


def mirrored(frames: Tensor) -> Tensor:
    """Show the face in a mirror: the other way round, in a frame, with a second, faint picture of the glass."""
    shown = frames.flip(3)
    ghost = torch.roll(shown, (2, 3), (2, 3))
    result = 0.94 * (0.93 * shown + 0.07 * ghost)
    for edge in (np.s_[..., :10], np.s_[..., -10:], np.s_[..., :10, :], np.s_[..., -10:, :]):
        result[edge] = 0.25
    return result


def _shifted(picture: Picture, right: float, down: float, zoom: float = 1.0) -> Picture:
    matrix = cv2.getRotationMatrix2D((SIZE / 2, SIZE / 2), 0, zoom)
    matrix[:, 2] += right, down
    moved = cv2.warpAffine(picture, matrix, (SIZE, SIZE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32)


def of_shots(driver: Actor, other: Actor) -> Iterator[Fault]:
    """Yield what a camera and what is around a person do."""
    mouth = place(driver, "mouthSmile")
    eyes = (place(driver, "eyeBlinkLeft"), place(driver, "eyeBlinkRight"))
    for name, start in (("after the apex", LATE), ("in the onset", 8)):
        yield Fault("a jolt of the camera", name, jolted(start, 8.0), tuple(range(start, start + 6)), "")
    yield Fault("heavy breath", "5 px", breathed(5.0), (), "")
    yield Fault("zoom by steps", "3 x 4%", stepped(0.04, (6, 11, 19)), (), "")
    for name, flakes in (
        ("dust", falling(60, 0.9, 1.0, 0.6, 0.5)),
        ("rain", falling(40, 0.85, 14.0, 23.0, 0.45)),
        ("snow", falling(50, 0.95, 2.0, 6.0, 0.9)),
    ):
        yield Fault(name, "before the face", flakes, (), "")
    yield Fault("a light moves across", "x1.5", crossed_by_light(1.5), (), "")
    yield Fault("a light moves obliquely", "x1.3", crossed_by_light(1.3, 0.8, 15.0), (), "")
    yield replace(Fault("glasses put on", "midway", put_on(eyes, 14), (), ""), expression="AU15")
    yield Fault("in a mirror", "", mirrored, (), "")
    yield Fault("breath and bands", "together", both(breathed(3.0), banded(0.1)), (), "")
    dim = lit(dict.fromkeys(range(10, COUNT), 0.7))
    words = both(caption(mouth[1] + 4, 4, LATE, 0.6), both(dim, stepped(0.03, (9,))))
    yield Fault("subtitle, dimmed, zoomed", "together", words, (), "")
