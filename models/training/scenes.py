# SPDX-License-Identifier: GPL-3.0-or-later
"""Pairs of pictures whose motion is exactly known: rendered faces, and textures under muscle-like warps.

A pair is a reference, a frame, the motion between them, and the same face with `alpha` times that motion, rendered
again rather than warped. Identities from `HELD_OUT` on are never trained on; the benchmark uses nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..warp import move
from .head_mesh import Part
from .heads import HeadModel
from .rasteriser import Rasteriser, Render, Shot
from .skin import SkinPainter

HELD_OUT = 9000
UNSEEN = 1e-4  # share of the picture; a unit at a tenth of its strength that moves less is not seen from here

# What micro-expressions are made of: the action units that spontaneous ones are coded with, as ARKit units.
MICRO_EXPRESSIONS: dict[str, tuple[str, ...]] = {
    "AU1+2": ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    "AU4": ("browDownLeft", "browDownRight"),
    "AU5": ("eyeWideLeft", "eyeWideRight"),
    "AU6+12": ("cheekSquintLeft", "cheekSquintRight", "mouthSmileLeft", "mouthSmileRight"),
    "AU12 L": ("mouthSmileLeft",),
    "AU14 R": ("mouthDimpleRight",),
    "AU15": ("mouthFrownLeft", "mouthFrownRight"),
    "AU9+10": ("noseSneerLeft", "noseSneerRight", "mouthUpperUpLeft", "mouthUpperUpRight"),
}
# With the other side of those that move on one: what a benchmark can film. The training draws from those above.
EXPRESSIONS: dict[str, tuple[str, ...]] = {
    **MICRO_EXPRESSIONS,
    "AU12 R": ("mouthSmileRight",),
    "AU14 L": ("mouthDimpleLeft",),
}


@dataclass(frozen=True)
class Pair:
    """Two frames, their motion, and what magnifying should give.

    reference, frame, magnified: [1, 3, S, S] RGB in [0, 1] without noise; flow: [1, 2, S, S] px from reference to
    frame; known: [1, 1, S, S] bool, where the flow is known and the face is.
    """

    reference: Tensor
    frame: Tensor
    magnified: Tensor
    flow: Tensor
    known: Tensor


class FaceScenes:
    """Renders of MakeHuman heads."""

    def __init__(self, model: HeadModel, size: int = 256, texture_size: int = 1024) -> None:
        self.model = model
        self._rasteriser = Rasteriser(model, size)
        self._painter = SkinPainter(model, texture_size)
        self._paint = lru_cache(maxsize=16)(lambda seed: self._painter.paint(seed).albedo)
        self._vertices: NDArray[np.floating] = model.base
        self._units: NDArray[np.floating] = model.units
        self._flow: NDArray[np.floating] = np.zeros_like(model.base)

    def meet(self, seed: int) -> None:
        """Make person `seed` sit for the next pairs."""
        self.seat(self.model.identity(seed), seed)

    def seat(self, vertices: NDArray[np.floating], skin: int) -> None:
        """Make somebody sit for the next pairs whose head is `vertices` [V, 3], in the skin of person `skin`."""
        self._rasteriser.dress(self._paint(skin))
        self.act(vertices, self.model.units, np.zeros_like(self.model.base), np.eye(3))

    def act(
        self,
        vertices: NDArray[np.floating],
        units: NDArray[np.floating],
        flow: NDArray[np.floating],
        turn: NDArray[np.floating],
    ) -> None:
        """Give the head a form [V, 3], units [K, V, 3] in place of its own, a flow [V, 3] and a turn, [3, 3].

        The flow joins every expression, for its share of the largest motion of the expression's own.
        """
        neck = np.array([0.0, -0.03, -0.08])
        self._vertices = (vertices - neck) @ turn.T + neck
        self._units, self._flow = units @ turn.T, flow @ turn.T

    def pair(
        self,
        units: dict[str, float],
        peak: float,
        alpha: float,
        shot: Shot,
        head_motion: NDArray[np.floating] | None = None,
    ) -> Pair:
        """Return the person with an expression whose largest motion is `peak` px, and `alpha` times that expression.

        units: mixture of units, scaled to reach the peak. head_motion: [4, 4] rigid motion of the frame, metres; the
        magnified picture stays in the reference's head pose, but with alpha = 1 it is the frame itself.
        """
        neutral = self._vertices
        names = list(self.model.unit_names)
        shape = sum(weight * self._units[names.index(name)] for name, weight in units.items())
        shape = shape + self._flow * np.linalg.norm(shape, axis=1).max()
        probe = self._rasteriser.render(neutral, neutral + 0.1 * shape, shot)
        reached = np.linalg.norm(probe.flow[probe.face], axis=-1).max(initial=1e-6)
        shape = shape * (0.1 * peak / reached)
        moved = neutral + shape
        if head_motion is not None:
            moved = moved @ head_motion[:3, :3].T + head_motion[:3, 3]
        reference = self._rasteriser.render(neutral, moved, shot)
        frame = self._rasteriser.picture(moved, shot)
        magnified = frame if alpha == 1 else self._rasteriser.picture(neutral + alpha * shape, shot)
        return _pair(reference, frame, magnified)

    def unit_fields(self, names: Sequence[str], shot: Shot, points: int) -> NDArray[np.float32]:
        """Return how each unit moves the person's picture, [K, 2, points, points], the largest motion being 1."""
        surface = self._rasteriser.surface(self._vertices, shot, points)
        camera = shot.camera()

        def projected(places: NDArray[np.floating]) -> NDArray[np.floating]:
            """[..., 3] metres -> [..., 2], the picture spanning 2, y down."""
            clip = places @ camera[:, :3].T + camera[:, 3]
            return clip[..., :2] / clip[..., 3:] * np.array([1, -1])

        here = surface.shares @ self._vertices
        known = list(self.model.unit_names)
        units = np.stack([self._units[known.index(name)] for name in names], 1)
        there = here[:, None] + 0.1 * (surface.shares @ units.reshape(len(units), -1)).reshape(-1, len(names), 3)
        motion = projected(there) - projected(here)[:, None]
        largest = np.linalg.norm(motion, axis=-1).max(0, initial=0)
        motion /= np.maximum(largest, UNSEEN)[:, None]
        return surface.picture(motion.reshape(len(motion), -1)).reshape(len(names), 2, points, points)

    def eyes(self, shot: Shot, size: int) -> NDArray[np.float32]:
        """Return where the person's eyes are in a picture of `size` px: [2, 2] (x, y), from left to right."""
        places = [self._vertices[self.model.vertices_of(eye)].mean(0) for eye in (Part.RIGHT_EYE, Part.LEFT_EYE)]
        clip = np.c_[np.stack(places), np.ones(2)] @ shot.camera().T
        flat = clip[:, :2] / clip[:, 3:] * [1, -1]
        return np.asarray((0.5 + 0.5 * flat) * size - 0.5, np.float32)


def random_shot(rng: np.random.Generator) -> Shot:
    """Return a camera and lights as one meets them indoors."""
    side = rng.choice([-1.0, 1.0])
    return replace(
        Shot(),
        distance=rng.uniform(0.7, 1.6),
        field_of_view=0.0,
        key=(side * rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9), 0.8),
        fill=(-side * rng.uniform(0.3, 1.0), rng.uniform(-0.2, 0.4), 0.6),
        ambient=rng.uniform(0.12, 0.35),
        gloss=rng.uniform(0.02, 0.14),
        background=tuple(rng.uniform(0.1, 0.8, 3)),
    ).framed(rng.uniform(0.20, 0.26))


def rotation(angles: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the matrix that pitches, yaws and rolls by angles [3], radians."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    pitch = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    roll = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return yaw @ pitch @ roll


def _pair(reference: Render, frame: NDArray[np.float32], magnified: NDArray[np.float32]) -> Pair:
    def image(pixels: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None]

    flow = torch.from_numpy(np.ascontiguousarray(reference.flow)).permute(2, 0, 1)[None]
    known = torch.from_numpy(np.ascontiguousarray(reference.face))[None, None]
    return Pair(image(reference.image), image(frame), image(magnified), flow * known, known)


def warped_pair(size: int, peak: float, alpha: float, rng: np.random.Generator) -> Pair:
    """Return a random texture under a few muscle-like pulls, moved by an interpolating spline."""
    border = 24
    side = size + 2 * border
    picture = random_texture(side, rng)
    flow = random_pulls(side, peak, rng)
    inner = (..., slice(border, -border), slice(border, -border))
    known = torch.ones(1, 1, size, size, dtype=torch.bool)
    frame, magnified = (move(picture, factor * flow).clamp(0, 1)[inner] for factor in (1.0, alpha))
    return Pair(picture[inner], frame, magnified, flow[inner], known)


def random_texture(side: int, rng: np.random.Generator) -> Tensor:
    """Return noise with a natural spectrum, some soft edges and flat parts: [1, 3, side, side]."""
    slope = rng.uniform(0.9, 1.6)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    weight = frequency.clip(1.5 / side) ** -slope * np.exp(-((frequency / rng.uniform(0.12, 0.35)) ** 2))
    planes = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((4, side, side))) * weight, (side, side))
    planes /= planes.std((1, 2), keepdims=True)
    luminance = planes[0]
    if rng.random() < 0.5:  # plateaus with edges, as features on skin
        luminance = np.tanh(rng.uniform(1, 4) * luminance)
    colour = rng.uniform(0.25, 0.75, 3)[:, None, None] * (1 + rng.uniform(0.05, 0.5) * luminance + 0.05 * planes[1:])
    return torch.from_numpy(colour.clip(0, 1).astype(np.float32))[None]


def random_pulls(side: int, peak: float, rng: np.random.Generator) -> Tensor:
    """Return a sum of one to five smooth pulls, the largest motion `peak` px: [1, 2, side, side]."""
    y, x = np.mgrid[:side, :side] / side
    flow = np.zeros((2, side, side))
    for _ in range(rng.integers(1, 6)):
        centre, angle = rng.uniform(0.1, 0.9, 2), rng.uniform(0, np.pi)
        radii = rng.uniform(0.04, 0.18) * np.array([1, rng.uniform(0.5, 1)])
        along = (x - centre[0]) * np.cos(angle) + (y - centre[1]) * np.sin(angle)
        across = (y - centre[1]) * np.cos(angle) - (x - centre[0]) * np.sin(angle)
        bell = np.exp(-0.5 * ((along / radii[0]) ** 2 + (across / radii[1]) ** 2))
        flow += rng.normal(size=2)[:, None, None] * bell
    flow *= peak / np.linalg.norm(flow, axis=0).max()
    return torch.from_numpy(flow.astype(np.float32))[None]


def filmed(images: Tensor, noise: float, generator: torch.Generator) -> Tensor:
    """Return what a camera would record: sensor noise of standard deviation `noise`, rounded to 8 bit."""
    noisy = images + noise * torch.randn(images.shape, generator=generator)
    return (noisy.clamp(0, 1) * 255).round() / 255
