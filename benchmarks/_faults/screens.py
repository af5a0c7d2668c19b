# SPDX-License-Identifier: GPL-3.0-or-later
"""What a screen, a call and their effects do to a face: pointers, moiré, dropped blocks, stickers, titles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import torch
from torch import Tensor

from magplus.models.training.actors import Actor

from .fault import COUNT, HIDDEN, LATE, SIZE, Fault, Picture, Spoil, drawn, place

_BLOCK = 16  # px, of a call's codec
_ARROW = np.array([(0, 0), (0, 17), (4, 13), (7, 19), (10, 18), (7, 12), (12, 12)], np.float64)


def pointed(middle: tuple[float, float]) -> Spoil:
    """Move a mouse's pointer over the face, as in a recording of the screen."""

    def shown(picture: Picture, index: int) -> Picture:
        share = index / COUNT
        tip = np.array(middle) + np.array((70 * np.cos(5 * share), 45 * np.sin(7 * share)))
        outline = np.round(16 * (tip + _ARROW)).astype(np.int32)
        cv2.fillPoly(picture, [outline], (0.02,) * 3, cv2.LINE_AA, 4)
        cv2.polylines(picture, [outline], True, (0.98,) * 3, 1, cv2.LINE_AA, 4)
        return picture

    return drawn(shown)


def moire(amount: float) -> Spoil:
    """Film a screen by a hand: its lines and the sensor's make waves of light that wander."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)

    def waved(picture: Picture, index: int) -> Picture:
        turn = 0.12 * np.sin(index / 6)
        phase = (x * np.cos(turn) + y * np.sin(turn)) / 7 + (y * np.cos(turn) - x * np.sin(turn)) / 31 + 0.7 * index
        tints = np.stack([np.sin(phase + shift) for shift in (0.0, 0.5, 1.0)], -1)
        return np.asarray(picture * (1 + amount * tints), np.float32)

    return drawn(waved)


def dropped(start: int, stop: int, seed: int = 4) -> Spoil:
    """Freeze half of the blocks of some frames, as a call does that loses packets; then all of them jump."""
    rng = np.random.default_rng(seed)
    lost = rng.random((SIZE // _BLOCK, SIZE // _BLOCK)) < 0.5
    held = torch.from_numpy(np.kron(lost, np.ones((_BLOCK, _BLOCK), bool)))

    def spoil(frames: Tensor) -> Tensor:
        result = frames.clone()
        for index in range(start, stop):
            result[index] = torch.where(held, frames[start - 1], frames[index])
        return result

    return spoil


def coarser(factor: int, start: int) -> Spoil:
    """Show a picture of a lower resolution from a frame on, enlarged again."""

    def enlarged(picture: Picture, _: int) -> Picture:
        small = cv2.resize(picture, (SIZE // factor,) * 2, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(small, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC), np.float32)

    return drawn(enlarged, start)


def stickers(eyes: tuple[tuple[float, float], ...], mouth: tuple[float, float], start: int) -> Spoil:
    """Put a filter's ears, nose and whiskers on the face from a frame on, which jitter as its tracker does."""
    rng = np.random.default_rng(5)
    jitter = rng.normal(0, 0.7, (COUNT, 2))

    def worn(picture: Picture, index: int) -> Picture:
        x, y = np.array(mouth) + jitter[index]
        nose = y - 24
        for side in (-1, 1):
            ear = (x + 42 * side, min(at for _, at in eyes) - 52 + jitter[index, 1])
            cv2.ellipse(picture, _at(*ear), _at(14, 22), 20 * side, 0, 360, (0.35, 0.22, 0.12), -1, cv2.LINE_AA, 4)
            for lift in (-4, 2, 8):
                ends = _at(x + 14 * side, nose + 4 + lift / 2), _at(x + 48 * side, nose + 2 * lift)
                cv2.line(picture, *ends, (0.95,) * 3, 1, cv2.LINE_AA, 4)
        cv2.ellipse(picture, _at(x, nose), _at(11, 8), 0, 0, 360, (0.08, 0.05, 0.05), -1, cv2.LINE_AA, 4)
        return picture

    return drawn(worn, start)


def chyron(height: float, start: int) -> Spoil:
    """Slide a banner with a name in from the left, over the chin, within half a second."""

    def slid(picture: Picture, index: int) -> Picture:
        right = round(float(np.interp(index, [start, start + 12], [0, SIZE])))
        banner = np.full((34, SIZE, 3), (0.55, 0.05, 0.08), np.float32)
        cv2.putText(banner, "A. Person, expert", (52, 23), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (1.0,) * 3, 1, cv2.LINE_AA)
        top = round(height)
        shown = picture[top : top + 34, :right]
        shown[:] = banner[: len(shown), SIZE - right :]
        return picture

    return drawn(slid, start)


def _at(x: float, y: float) -> tuple[int, int]:
    """Return a place in sixteenths of a px."""
    return round(16 * x), round(16 * y)


def of_screens(driver: Actor, other: Actor) -> Iterator[Fault]:
    """Yield what a screen, a call and their effects do to a face."""
    mouth = place(driver, "mouthSmile")
    eyes = (place(driver, "eyeBlinkLeft"), place(driver, "eyeBlinkRight"))
    yield Fault("a mouse's pointer", "over the face", pointed((mouth[0], mouth[1] - 40)), (), "")
    for amount in (0.05, 0.12):
        yield Fault("moire", f"{amount:.0%}", moire(amount), (), "")
    yield Fault("blocks of a call freeze", "6 frames", dropped(LATE, LATE + 6), (), "")
    yield Fault("blocks of a call freeze", "at the apex", dropped(10, 16), tuple(range(10, 16)), "")
    yield Fault("resolution of a call falls", "to a half", coarser(2, 15), (), "")
    yield Fault("stickers of a filter", "put on", stickers(eyes, mouth, 6), (), "")
    yield Fault("stickers of a filter", "from the start", stickers(eyes, mouth, 0), (), "")
    yield replace(Fault("a title slides in", "over the chin", chyron(mouth[1] + 12, 5), (), HIDDEN), may_hold=True)
