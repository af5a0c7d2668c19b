# SPDX-License-Identifier: GPL-3.0-or-later
"""What is before the face, and what is worn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np

from magplus.models.training.actors import Actor

from .fault import COUNT, HIDDEN, LATE, SIZE, Fault, Picture, Spoil, drawn, place


def caption(height: float, start: int, stop: int, size: float, lines: int = 1) -> Spoil:
    """Write a subtitle, white with a black edge, whose first line stands at a height in px."""

    def written(picture: Picture, _: int) -> Picture:
        for line, text in enumerate(("I never said that", "and you know it")[:lines]):
            left = (SIZE - cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 2)[0][0]) // 2
            for ink, thickness in ((0.0, 4), (1.0, 2)):
                place = (left, round(height + 36 * size * line))
                cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, (ink,) * 3, thickness, cv2.LINE_AA)
        return picture

    return drawn(written, start, stop)


def hand(radius: float, middle: tuple[float, float], start: int, stop: int, travel: float = 1.0) -> Spoil:
    """Move something round, textured and of the skin's colour before the mouth at `middle` px; travel: 1 is across."""
    rng = np.random.default_rng(1)
    texture = 0.12 * cv2.GaussianBlur(rng.standard_normal((SIZE, SIZE)).astype(np.float32), (0, 0), 2)
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)

    def covered(picture: Picture, index: int) -> Picture:
        share = (index - start) / max(stop - start - 1, 1)
        across = middle[0] + travel * 50 * np.cos(share * np.pi)
        down = middle[1] + 5 + travel * 30 * np.cos(2 * np.pi * share)
        away = np.hypot((x - across) / 1.4, y - down) / radius
        cover = np.clip((1 - away) * 8, 0, 1)[..., None]
        skin = picture[140, 128] * (0.75 + 0.25 * np.clip(1 - away, 0, 1) + texture)[..., None]
        return np.asarray(picture * (1 - cover) + cover * skin, np.float32)

    return drawn(covered, start, stop)


def glasses(eyes: tuple[tuple[float, float], ...], glint: bool) -> Spoil:
    """Put dark rims round the eyes at these px; glint: a reflection wanders over one of them."""

    def worn(picture: Picture, index: int) -> Picture:
        for x, y in eyes:
            cv2.ellipse(picture, (round(x), round(y)), (25, 19), 0, 0, 360, (0.08,) * 3, 3, cv2.LINE_AA)
        if glint:
            x, y = eyes[0]
            place = (round(x - 8 + 0.8 * index), round(y - 3 + 2 * np.sin(index / 3)))
            cv2.ellipse(picture, place, (6, 3), 20, 0, 360, (0.9, 0.95, 1.0), -1, cv2.LINE_AA)
        return picture

    return drawn(worn)


def timecode(height: float, changing: bool) -> Spoil:
    """Burn a box with letters into the picture, at a height in px; changing: a clock rather than a name."""

    def burnt(picture: Picture, index: int) -> Picture:
        text = f"00:00:{index // 30:02d}:{index % 30:02d}" if changing else "(c) A Studio"
        top, left = round(height), SIZE // 2 - 62
        picture[top : top + 22, left : left + 124] *= 0.3
        place_of = (left + 4, top + 16)
        cv2.putText(picture, text, place_of, cv2.FONT_HERSHEY_SIMPLEX, 0.55, (1.0,) * 3, 1, cv2.LINE_AA)
        return picture

    return drawn(burnt)


def mosaic(middle: tuple[float, float], start: int) -> Spoil:
    """Pixelate what is round a place in px."""
    x, y = (round(value) for value in middle)
    there = np.s_[y - 20 : y + 20, x - 36 : x + 36]

    def pixelated(picture: Picture, _: int) -> Picture:
        coarse = cv2.resize(picture[there], (9, 5), interpolation=cv2.INTER_AREA)
        picture[there] = cv2.resize(coarse, (72, 40), interpolation=cv2.INTER_NEAREST)
        return picture

    return drawn(pixelated, start)


def microphone(middle: tuple[float, float]) -> Spoil:
    """Hold a dark ball on a stick before the mouth, not quite still."""

    def held(picture: Picture, index: int) -> Picture:
        x, y = middle[0] + 6 + 3 * np.sin(index / 5), middle[1] + 14 + 2 * np.cos(index / 4)
        at = (round(16 * x), round(16 * y))  # in sixteenths of a px
        cv2.line(picture, at, (round(16 * (x + 30)), 16 * SIZE), (0.15,) * 3, 10, cv2.LINE_AA, 4)
        cv2.circle(picture, at, 16 * 18, (0.1,) * 3, -1, cv2.LINE_AA, 4)
        cv2.circle(picture, (at[0] - 80, at[1] - 96), 16 * 5, (0.3,) * 3, -1, cv2.LINE_AA, 4)
        return picture

    return drawn(held)


def cloth(
    top: float, middle: float, moves: float, start: int, colour: tuple[float, float, float] = (0.45, 0.6, 0.75)
) -> Spoil:
    """Hang patterned cloth over all below `top` px, which moves up and down by so many px."""
    rng = np.random.default_rng(2)
    weave = 0.06 * cv2.GaussianBlur(rng.standard_normal((SIZE, SIZE)).astype(np.float32), (0, 0), 1.5)
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)

    def hung(picture: Picture, index: int) -> Picture:
        shift = moves * float(np.sin(index / 4))
        edge = top + 0.0015 * (x - middle) ** 2 + shift
        cover = (np.clip(y - edge, 0, 1) * (np.abs(x - middle) < 75))[..., None]
        folds = 0.05 * np.sin((y - edge) / 5)
        woven = cv2.warpAffine(weave, np.array([[1, 0, 0], [0, 1, shift]]), (SIZE, SIZE))
        shaded = np.array(colour, np.float32) * (1 + (folds + woven) / 0.6)[..., None]
        return np.asarray(picture * (1 - cover) + cover * shaded, np.float32)

    return drawn(hung, start)


def surgical_mask(middle: tuple[float, float], top: float, colour: tuple[float, float, float]) -> Spoil:
    """Put a pleated mask over nose tip, mouth and chin, which breath and jaw move by a px."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)

    def worn(picture: Picture, index: int) -> Picture:
        down = 1.0 * float(np.sin(index / 5))
        across, depth = (x - middle[0]) / 52, (y - top - down) / 62
        inside = np.clip(6 * (1.05 - np.abs(across) - 0.25 * np.maximum(depth - 0.6, 0)), 0, 1)
        cover = (inside * np.clip(y - top - down - 4 * across**2, 0, 1) * np.clip(20 * (1.1 - depth), 0, 1))[..., None]
        pleats = 0.07 * np.sign(np.sin(2 * np.pi * depth * 3.5)) * (np.abs(across) < 0.9)
        light = (1 - 0.25 * across**2 + cv2.GaussianBlur(pleats, (0, 0), 1.0))[..., None]
        for side in (-1, 1):
            edge = (round(16 * (middle[0] + 50 * side)), round(16 * (top + 8 + down)))
            ear = (round(16 * (middle[0] + 75 * side)), round(16 * (top - 12)))
            cv2.line(picture, edge, ear, (0.85,) * 3, 1, cv2.LINE_AA, 4)
        return np.asarray(picture * (1 - cover) + cover * light * np.array(colour, np.float32), np.float32)

    return drawn(worn)


def sunglasses(eyes: tuple[tuple[float, float], ...]) -> Spoil:
    """Put dark glasses over the eyes, over which a reflection wanders."""

    def worn(picture: Picture, index: int) -> Picture:
        (left, right), height = sorted(x for x, _ in eyes), sum(y for _, y in eyes) / 2
        for x in (left, right):
            cv2.ellipse(picture, (round(x), round(height)), (24, 17), 0, 0, 360, (0.04, 0.04, 0.06), -1, cv2.LINE_AA)
            shine = (round(x - 10 + 0.7 * index), round(height - 6))
            cv2.ellipse(picture, shine, (7, 3), 15, 0, 360, (0.35, 0.4, 0.45), -1, cv2.LINE_AA)
        cv2.line(picture, (round(left), round(height - 4)), (round(right), round(height - 4)), (0.04,) * 3, 3)
        return picture

    return drawn(worn)


def hair(brow: tuple[float, float], start: int) -> Spoil:
    """Let strands fall over a brow, which swing."""
    rng = np.random.default_rng(6)
    roots = rng.uniform(-14, 14, 40)

    def fallen(picture: Picture, index: int) -> Picture:
        for root in roots:
            swing = 4 * np.sin((index - start) / 4 + root / 20)
            ends = (brow[0] + root, brow[1] - 45), (brow[0] + 1.1 * root + swing, brow[1] + 16)
            first, last = (tuple(round(16 * value) for value in end) for end in ends)
            cv2.line(picture, first, last, (0.12, 0.08, 0.05), 2, cv2.LINE_AA, 4)
        return picture

    return drawn(fallen, start)


def before_the_face(driver: Actor, other: Actor) -> Iterator[Fault]:
    """Yield what hides the mouth, and what is worn."""
    mouth = place(driver, "mouthSmile")
    for size in (0.5, 0.8):
        yield Fault("subtitle", f"size {size:g}", caption(mouth[1] + 4, LATE, COUNT, size), (), HIDDEN)
    yield Fault("subtitle", "two lines", caption(mouth[1], 4, LATE, 0.7, 2), (), HIDDEN)
    for radius in (26.0, 38.0):
        yield Fault("hand", f"{radius:g} px", hand(radius, mouth, 2, COUNT - 2), (), HIDDEN)
    for name, travel in (("held", 0.06), ("moves across", 1.0)):
        yield Fault("hand from the start", name, hand(38.0, mouth, 0, COUNT, travel), (), HIDDEN)
    eyes = (place(driver, "eyeBlinkLeft"), place(driver, "eyeBlinkRight"))
    yield Fault("harmless: glasses", "rims", glasses(eyes, glint=False))
    yield Fault("glasses", "a glint", glasses(eyes, glint=True), (), "")
    brow = place(driver, "browOuterUpLeft")
    yield Fault("harmless: a name on the chin", "", timecode(mouth[1] + 16, changing=False))
    yield Fault("timecode on the chin", "", timecode(mouth[1] + 16, changing=True), (), "")
    for start in (LATE, 0):
        yield Fault("mosaic on the mouth", f"from frame {start}", mosaic(mouth, start), (), "")
    yield Fault("microphone", "", microphone(mouth), (), "")
    yield Fault("face mask", "moves by 1 px", cloth(mouth[1] - 26, mouth[0], 1.0, 0), (), "")
    yield Fault("scarf", "moves by 3 px", cloth(mouth[1] + 14, mouth[0], 3.0, 0), (), "")
    for name, colour in (("white", (0.9, 0.92, 0.93)), ("blue", (0.55, 0.72, 0.82))):
        yield Fault("medical mask", name, surgical_mask(mouth, mouth[1] - 30, colour), (), HIDDEN)
    for name, colour in (("brown", (0.42, 0.27, 0.18)), ("red", (0.62, 0.1, 0.12))):
        yield Fault("coloured cloth", name, cloth(mouth[1] - 26, mouth[0], 1.5, 0, colour), (), HIDDEN)
    yield Fault("face mask", "put on", cloth(mouth[1] - 26, mouth[0], 0.5, LATE), (), HIDDEN, may_hold=True)
    yield replace(Fault("sunglasses", "", sunglasses(eyes), (), ""), expression="AU15")
    yield replace(Fault("hair over a brow", "", hair(brow, 10), (), ""), expression="AU15")
