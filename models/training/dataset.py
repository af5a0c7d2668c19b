# SPDX-License-Identifier: GPL-3.0-or-later
"""The training set: clean pairs of rendered faces, kept in memory; a camera films them anew in every step."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .scenes import HELD_OUT, MICRO_EXPRESSIONS, FaceScenes, random_shot, warped_pair

UNUSED_UNITS = ("tongueOut",)  # MakeHuman's tongue passes through the closed lips
PAIRS_A_PERSON = 6


@dataclass(frozen=True)
class Motions:
    """How far things move, in px at 256 px: the range of the largest motion, and of the head's own."""

    peak: tuple[float, float]
    head: float


ROLE_MOTIONS = {"magplus": Motions((0.1, 3.0), 1.5), "demagplus": Motions((0.5, 10.0), 1.0)}


def render_pairs(scenes: FaceScenes, motions: Motions, people: int, seed: int, path: Path) -> None:
    """Render pairs of `people` training identities into a .npz: references, frames, flows, known.

    A person sits under several lights, with a micro-expression or a random mixture of units, the head still or moving.
    """
    rng = np.random.default_rng(seed)
    names = [name for name in map(str, scenes.model.unit_names) if name not in UNUSED_UNITS]
    kept: dict[str, list[NDArray[np.generic]]] = {"reference": [], "frame": [], "flow": [], "known": []}
    for person in range(people):
        scenes.meet(int(rng.integers(HELD_OUT)))
        for _ in range(PAIRS_A_PERSON):
            units = list(rng.choice(names, rng.integers(1, 7), replace=False))
            if rng.random() < 0.5:
                units = list(MICRO_EXPRESSIONS[str(rng.choice(list(MICRO_EXPRESSIONS)))])
            peak = float(np.exp(rng.uniform(*np.log(motions.peak))))
            head = random_head_motion(rng, motions.head) if rng.random() < 0.5 else None
            pair = scenes.pair({unit: rng.uniform(0.3, 1) for unit in units}, peak, 1.0, random_shot(rng), head)
            kept["frame"].append(pair.frame.half().numpy())
            kept["flow"].append(pair.flow.half().numpy())
            kept["known"].append(pair.known.numpy())
            kept["reference"].append(pair.reference.half().numpy())
        print(f"\r{person + 1}/{people} people", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, **{name: np.concatenate(values) for name, values in kept.items()})
    partial.replace(path)


def random_head_motion(rng: np.random.Generator, largest: float) -> NDArray[np.floating]:
    """Return a small rigid motion, [4, 4]: up to `largest` px at 256 px for a picture that is 0.23 m high."""
    metres = largest * 0.23 / 256
    turn = rng.uniform(-1, 1, 3) * metres / 0.1  # the face's outline is 0.1 m from the axis
    motion = np.eye(4)
    motion[:3, :3] = cv2.Rodrigues(turn)[0]
    motion[:3, 3] = rng.uniform(-1, 1, 3) * metres * np.array([1, 1, 0.3])
    return motion


class Dataset:
    """Random crops of rendered pairs and of warped textures, as a camera would film them."""

    def __init__(self, path: Path, motions: Motions, crop: int) -> None:
        with np.load(path, allow_pickle=False) as data:
            self._pairs = {name: torch.from_numpy(data[name]) for name in ("reference", "frame", "flow", "known")}
        self._motions, self._crop = motions, crop

    def batch(self, size: int, rng: np.random.Generator, degrade: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return references, frames [N, 3, c, c], flows [N, 2, c, c] px and where they are known [N, 1, c, c].

        degrade: the frames are what a generator makes of a face (soft, compressed) rather than what a camera films.
        """
        samples = [self._film(*self._clean(rng), rng, degrade) for _ in range(size)]
        references, frames, flows, known = (torch.cat(values) for values in zip(*samples, strict=True))
        return references, frames, flows, known

    def _clean(self, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        crop, kind = self._crop, rng.random()
        if kind < 0.2:
            peak = float(np.exp(rng.uniform(*np.log(self._motions.peak))))
            pair = warped_pair(crop, peak, 1.0, rng)
            return pair.reference, pair.frame, pair.flow, pair.known
        index = int(rng.integers(len(self._pairs["flow"])))
        limit = self._pairs["flow"].shape[-1] - crop
        top, left = (int(rng.integers(limit + 1)) for _ in range(2))
        window = (slice(index, index + 1), slice(None), slice(top, top + crop), slice(left, left + crop))
        reference, frame, flow = (self._pairs[name][window].float() for name in ("reference", "frame", "flow"))
        known = self._pairs["known"][window]
        if kind < 0.3:  # nothing moves, and the network has to say so
            frame, flow = reference, torch.zeros_like(flow)
        if rng.random() < 0.5:
            reference, frame, flow, known = (values.flip(3) for values in (reference, frame, flow, known))
            flow = flow * torch.tensor([-1.0, 1.0]).view(1, 2, 1, 1)
        return reference, frame, flow, known

    def _film(
        self, reference: Tensor, frame: Tensor, flow: Tensor, known: Tensor, rng: np.random.Generator, degrade: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        contrast, level = rng.uniform(0.6, 1.1), rng.uniform(-0.1, 0.1)
        reference, frame = (((image - 0.5) * contrast + 0.5 + level).clamp(0, 1) for image in (reference, frame))
        if degrade and rng.random() < 0.7:
            frame = _blurred(frame, rng.uniform(0.3, 1.0))
        if rng.random() < 0.3:
            frame = frame * rng.uniform(0.97, 1.03)
        noise = rng.uniform(0, 3 / 255)
        images = [
            image + noise * torch.from_numpy(rng.standard_normal(image.shape, np.float32))
            for image in (reference, frame)
        ]
        if rng.random() < 0.3:
            quality = int(rng.integers(75, 98))
            images = [_compressed(image, quality) for image in images]
        reference, frame = ((image.clamp(0, 1) * 255).round() / 255 for image in images)
        return reference, frame, flow, known


def _blurred(image: Tensor, sigma: float) -> Tensor:
    return _from_array(cv2.GaussianBlur(_to_array(image), (0, 0), sigma))


def _compressed(image: Tensor, quality: int) -> Tensor:
    """JPEG: the same 8 x 8 transform and chroma subsampling that a video's key frame goes through."""
    coded = cv2.imencode(
        ".jpg", _to_array(image.clamp(0, 1) * 255).round().astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )[1]
    return _from_array(cv2.imdecode(coded, cv2.IMREAD_COLOR).astype(np.float32) / 255)


def _to_array(image: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(image[0].permute(1, 2, 0).numpy())


def _from_array(image: NDArray[np.floating]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image, np.float32)).permute(2, 0, 1)[None]
