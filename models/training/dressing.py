# SPDX-License-Identifier: GPL-3.0-or-later
"""What is before and behind a face: glasses, strands of hair, a beard, a room."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..warp import move
from .scenes import random_texture

BORDER = 0.02  # share of a layer from which on what is under it counts as not seen
BEARD = (0.05, 0.2)  # contrast of a beard, where white is 1


@dataclass(frozen=True)
class Layer:
    """Something before the face that doesn't move with the skin.

    colour: [1, 3, S, S] in [0, 1]; cover: [1, 1, S, S], how much of what is behind it hides.
    """

    colour: Tensor
    cover: Tensor

    def over(self, image: Tensor, shift: Tensor | None = None) -> Tensor:
        """Return an image [1, 3, S, S] with the layer before it, moved by [1, 2, 1, 1] px with the head."""
        colour, cover = self.colour, self.cover
        if shift is not None:
            flow = shift.expand(-1, -1, *image.shape[2:])
            colour, cover = move(colour, flow), move(cover, flow).clamp(0, 1)
        return (image + cover * (colour - image)).clamp(0, 1)

    @property
    def clear(self) -> Tensor:
        """Return where nothing is hidden, [1, 1, S, S] 1 or 0."""
        return (F.max_pool2d(self.cover, 5, 1, 2) < BORDER).float()


def glasses(eyes: NDArray[np.floating], side: int, rng: np.random.Generator) -> Layer:
    """Return a pair of glasses before two eyes, [2, 2] px (x, y)."""
    apart = float(np.linalg.norm(eyes[1] - eyes[0]))
    tilt = float(np.degrees(np.arctan2(*(eyes[1] - eyes[0])[::-1])))
    axes = apart * rng.uniform(0.36, 0.47), apart * rng.uniform(0.26, 0.42)
    down = np.array([0, apart * rng.uniform(0, 0.1)])
    rim: NDArray[np.float32] = np.zeros((side, side), np.float32)
    lens: NDArray[np.float32] = np.zeros((side, side), np.float32)
    thickness = int(rng.integers(1, max(2, round(apart / 14)) + 1))
    outward = (eyes[1] - eyes[0]) / apart
    for eye, sign in zip(eyes, (-1, 1), strict=True):
        middle = tuple(((eye + down) * 16).astype(int).tolist())
        size = tuple(int(16 * axis) for axis in axes)
        cv2.ellipse(rim, middle, size, tilt, 0, 360, (1.0,), thickness, cv2.LINE_AA, 4)
        cv2.ellipse(lens, middle, size, tilt, 0, 360, (1.0,), -1, cv2.LINE_AA, 4)
        start = eye + down + sign * outward * axes[0]
        end = start + sign * outward * apart * 0.6 - [0, 0.1 * apart]
        _line(rim, start, end, thickness)
    _line(rim, eyes[0] + down + outward * axes[0], eyes[1] + down - outward * axes[0], thickness)
    bright = np.zeros((side, side), np.float32)
    if rng.random() < 0.5:  # a window in the glass
        where = eyes.mean(0) + rng.normal(size=2) * apart * 0.4
        reach = rng.uniform(0.05, 0.2, 2) * apart
        y, x = np.mgrid[:side, :side]
        bright = np.exp(-(((x - where[0]) / reach[0]) ** 2) - ((y - where[1]) / reach[1]) ** 2).astype(np.float32)
        bright *= lens * rng.uniform(0.2, 0.7)
    frame = np.clip(rng.uniform(0.03, 0.7) + rng.normal(0, 0.08, 3), 0, 1).astype(np.float32)
    tint = lens * rng.choice([0.0, 0.0, rng.uniform(0.05, 0.4)])
    cover = np.clip(rim + (1 - rim) * np.maximum(tint, bright), 0, 1)
    colour = np.where(rim[..., None] > 0.05, frame, bright[..., None] / np.maximum(cover, 1e-3)[..., None])
    return Layer(_image(colour.clip(0, 1)), _image(cover[..., None]))


def strands(eyes: NDArray[np.floating], side: int, rng: np.random.Generator) -> Layer:
    """Return hair that hangs into the forehead or along the cheeks."""
    apart = float(np.linalg.norm(eyes[1] - eyes[0]))
    middle = eyes.mean(0)
    cover: NDArray[np.float32] = np.zeros((side, side), np.float32)
    shade: NDArray[np.float32] = np.zeros((side, side), np.float32)
    curtains = rng.random() < 0.5  # along the sides, else a fringe
    for _ in range(int(rng.integers(20, 160))):
        if curtains:
            sign = rng.choice([-1, 1])
            root = middle + apart * np.array([sign * rng.uniform(0.9, 1.5), -rng.uniform(0.9, 1.6)])
            tip = middle + apart * np.array([sign * rng.uniform(0.95, 1.6), rng.uniform(0.3, 2.0)])
        else:
            root = middle + apart * np.array([rng.uniform(-1.1, 1.1), -rng.uniform(1.2, 1.7)])
            tip = root + apart * np.array([rng.normal(0, 0.3), rng.uniform(0.3, 1.0)])
        bow = rng.normal(0, 0.12, 2) * apart
        t = np.linspace(0, 1, 12)[:, None]
        curve = (1 - t) * root + t * tip + 4 * t * (1 - t) * bow
        stroke: NDArray[np.float32] = np.zeros((side, side), np.float32)
        points = (curve * 16).round().astype(np.int32)
        cv2.polylines(stroke, [points], False, (1.0,), int(rng.integers(1, 4)), cv2.LINE_AA, 4)
        stroke *= rng.uniform(0.4, 1)
        shade += stroke * (rng.uniform(0.6, 1.4) - shade)
        cover = np.maximum(cover, stroke)
    hair = np.clip(rng.choice([0.06, 0.15, 0.3, 0.55, 0.75]) * np.array([1.15, 0.95, 0.75]), 0, 1)
    colour = np.clip(shade[..., None] * hair, 0, 1).astype(np.float32)
    return Layer(_image(colour), _image(cover[..., None]))


def beard(eyes: NDArray[np.floating], side: int, rng: np.random.Generator) -> Tensor:
    """Return a beard as what it adds to the skin's brightness, [1, 1, S, S]."""
    apart = float(np.linalg.norm(eyes[1] - eyes[0]))
    across = (eyes[1] - eyes[0]) / apart
    down = np.array([-across[1], across[0]])
    y, x = np.mgrid[:side, :side]
    place = np.stack([x, y], -1) - eyes.mean(0)
    u, v = (place @ across) / apart, (place @ down) / apart
    low = 1 / (1 + np.exp(-(v - 0.95 - 0.5 * np.clip(0.75 - np.abs(u), 0, 1) * rng.uniform(0, 0.6)) / 0.06))
    mouth = np.exp(-((u / 0.42) ** 2) - ((v - 1.15) / 0.14) ** 2)
    low = low / (1 + np.exp((v - rng.uniform(1.5, 2.0)) / 0.08))
    there = low * (1 - 0.9 * mouth) * np.exp(-((u / 1.1) ** 4))
    grain = rng.standard_normal((side, side)).astype(np.float32)
    length = int(rng.integers(3, 9))
    turn = cv2.getRotationMatrix2D((length / 2, length / 2), float(rng.uniform(50, 130)), 1.0)
    kernel = np.zeros((length + 1, length + 1), np.float32)
    kernel[length // 2] = 1
    kernel = cv2.warpAffine(kernel, turn, (length + 1, length + 1))
    grain = cv2.filter2D(grain, -1, kernel / max(float(kernel.sum()), 1e-6))
    contrast = rng.uniform(*BEARD)
    return _image((there * contrast * (0.8 * grain / grain.std() - 1.0))[..., None].astype(np.float32))


def before_a_room(image: Tensor, face: Tensor, room: Tensor) -> Tensor:
    """Return a picture [1, 3, S, S] with a room [1, 3, S, S] behind the face, where `face` [1, 1, S, S] is 0."""
    there = F.max_pool2d(face, 3, 1, 1)
    return there * image + (1 - there) * room


def random_room(side: int, rng: np.random.Generator) -> Tensor:
    """Return a background, sharp or out of focus: [1, 3, side, side]."""
    room = random_texture(side, rng)
    if rng.random() < 0.5:
        pixels = cv2.GaussianBlur(room[0].permute(1, 2, 0).numpy(), (0, 0), float(rng.uniform(1, 8)))
        room = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    return room


def _line(image: NDArray[np.float32], start: NDArray[np.floating], end: NDArray[np.floating], thickness: int) -> None:
    ends = [tuple((point * 16).astype(int).tolist()) for point in (start, end)]
    cv2.line(image, ends[0], ends[1], (1.0,), thickness, cv2.LINE_AA, 4)


def _image(pixels: NDArray[np.floating]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels, np.float32)).permute(2, 0, 1)[None]
