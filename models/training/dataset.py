# SPDX-License-Identifier: GPL-3.0-or-later
"""The training set: rendered pairs, filmed a few times, and what the solver saw of them, kept on disk."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from models.magnification.filters import resize
from models.magnification.solver import QUANTISATION, Observation, estimate

from .scenes import HELD_OUT, MICRO_EXPRESSIONS, FaceScenes, random_shot, warped_pair

UNUSED_UNITS = ("tongueOut",)  # MakeHuman's tongue passes through the closed lips
PAIRS_A_PERSON = 8
PEAKS = (0.1, 10.0)  # px at 256 px, the largest motion of a pair
HEIGHTS = (0.19, 0.33)  # m, what the picture shows of a head, from the face alone to all of it
HEAD = 1.5  # px at 256 px, the head's own motion in a third of the pairs


UNITS_GRID = 64  # places along a side at which it is kept how a person's units move the picture


def render_pairs(scenes: FaceScenes, people: Sequence[int], seed: int, folder: Path) -> None:
    """Render each person's pairs into `folder`, two files a person; what is there already is kept.

    A person sits under several lights, with a micro-expression or a random mixture of units, the head still or moving.
    `<person>.npz` holds references and frames [P, 3, S, S], flows [P, 2, S, S] float16 and known [P, 1, S, S] bool;
    `<person>-units.npy` how each unit would move the reference, [P, K, 2, g, g] float16, the largest motion being 1.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = [name for name in map(str, scenes.model.unit_names) if name not in UNUSED_UNITS]
    (folder / "units.json").write_text(json.dumps(names))
    for count, person in enumerate(people):
        path = folder / f"{person:05d}.npz"
        if path.is_file():
            continue
        if person >= HELD_OUT:
            raise ValueError(f"person {person} is held out for the benchmark; train on people below {HELD_OUT}")
        rng = np.random.default_rng((seed, person))
        scenes.meet(person)
        pairs, fields = [], []
        for _ in range(PAIRS_A_PERSON):
            units = list(rng.choice(names, rng.integers(1, 7), replace=False))
            if rng.random() < 0.5:
                units = list(MICRO_EXPRESSIONS[str(rng.choice(list(MICRO_EXPRESSIONS)))])
            peak = float(np.exp(rng.uniform(*np.log(PEAKS))))
            head = random_head_motion(rng, HEAD) if rng.random() < 1 / 3 else None
            shot = random_shot(rng).framed(rng.uniform(*HEIGHTS))
            pairs.append(scenes.pair({unit: rng.uniform(0.3, 1) for unit in units}, peak, 1.0, shot, head))
            fields.append(scenes.unit_fields(names, shot, UNITS_GRID))
        _write(folder / f"{person:05d}-units.npy", np.stack(fields).astype(np.float16))
        partial = path.with_suffix(".partial.npz")
        np.savez(
            partial,
            reference=torch.cat([pair.reference for pair in pairs]).half().numpy(),
            frame=torch.cat([pair.frame for pair in pairs]).half().numpy(),
            flow=torch.cat([pair.flow for pair in pairs]).half().numpy(),
            known=torch.cat([pair.known for pair in pairs]).numpy(),
        )
        partial.replace(path)
        print(f"\rrendered {count + 1}/{len(people)} people", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def _write(path: Path, values: NDArray[np.generic]) -> None:
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.save(file, values)
    partial.replace(path)


def random_head_motion(rng: np.random.Generator, largest: float) -> NDArray[np.floating]:
    """Return a small rigid motion, [4, 4]: up to `largest` px at 256 px for a picture that is 0.23 m high."""
    metres = largest * 0.23 / 256
    turn = rng.uniform(-1, 1, 3) * metres / 0.1  # the face's outline is 0.1 m from the axis
    motion = np.eye(4)
    motion[:3, :3] = cv2.Rodrigues(turn)[0]
    motion[:3, 3] = rng.uniform(-1, 1, 3) * metres * np.array([1, 1, 0.3])
    return motion


@dataclass(frozen=True)
class Role:
    """What a magnifier's role is trained on.

    peaks: px at 256 px, the pairs it is shown; generated: the frames are what a generator makes of a face (soft, with a
    grain of its own) rather than what a camera films.
    """

    peaks: tuple[float, float]
    generated: bool


ROLES = {"magplus": Role((0.1, 3.0), False), "demagplus": Role((0.5, 10.0), True)}

CHANNELS = 13
NO_PAIR = -1
UNIT = 64.0  # of the kept equations, so that float16 holds them


def observe(pairs: Path, films: Path, role: Role, people: Sequence[int], takes: int, seed: int) -> None:
    """Film every pair of `people` `takes` times, let the solver look, and keep what it saw: a file a person.

    The solver has nothing to learn, so what it says of a film is computed once, not in every step of the training. A
    file holds [T, CHANNELS, h, w] float16, as `Films` reads it, and `<person>-shown.npy` which of the pairs each film
    shows. Next to a person's pairs stand a warped texture and a face that doesn't move.
    """
    films.mkdir(parents=True, exist_ok=True)
    for count, person in enumerate(people):
        path = films / f"{person:05d}.npy"
        if path.is_file():
            continue
        rng = np.random.default_rng((seed, person, 1))
        kept = []
        with np.load(pairs / f"{person:05d}.npz", allow_pickle=False) as data:
            values = [torch.from_numpy(data[name]) for name in ("reference", "frame", "flow", "known")]
        reference, frame, flow, known = (value.float() for value in values)
        size = flow.shape[-1]
        within = [i for i in range(len(flow)) if role.peaks[0] <= flow[i].norm(dim=0).max() <= role.peaks[1]]
        for i in within * takes:
            kept.append(_observed(*_film(reference[[i]], frame[[i]], flow[[i]], known[[i]], role, rng)))
        still = reference[[int(rng.integers(len(reference)))]]
        kept.append(_observed(*_film(still, still, torch.zeros_like(flow[:1]), torch.ones_like(known[:1]), role, rng)))
        clean = warped_pair(size, float(np.exp(rng.uniform(*np.log(role.peaks)))), 1.0, rng)
        kept.append(_observed(*_film(clean.reference, clean.frame, clean.flow, clean.known.float(), role, rng)))
        _write(films / f"{person:05d}-shown.npy", np.array([*(within * takes), NO_PAIR, NO_PAIR]))
        _write(path, torch.cat(kept).numpy())
        print(f"\rfilmed {count + 1}/{len(people)} people", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def _observed(reference: Tensor, frame: Tensor, flow: Tensor, known: Tensor) -> Tensor:
    """Return what the solver saw, the reference's brightness and the truth, [1, CHANNELS, h, w] float16."""
    seen = estimate(reference, frame)
    grid = (seen.motion.shape[2], seen.motion.shape[3])
    certain = (F.avg_pool2d(known, 2) > 0.999).float()
    brightness = resize(reference.mean(1, keepdim=True), grid)
    values = (seen.equations / UNIT, seen.motion, seen.stiffness, seen.noise / QUANTISATION, brightness)
    return torch.cat([*values, F.avg_pool2d(flow, 2), certain], 1).clamp(-65000, 65000).half()


@dataclass(frozen=True)
class Batch:
    """Films that the network learns from.

    observed: what the solver saw; brightness: [N, 1, h, w]; truth: [N, 2, h, w] px; certain: [N, 1, h, w], 1 where the
    truth is known; units: [N, K, 2, h / 2, w / 2], how the action units would move the picture, largest motion 1;
    taught: [N], 1 where units are known.
    """

    observed: Observation
    brightness: Tensor
    truth: Tensor
    certain: Tensor
    units: Tensor
    taught: Tensor

    def to(self, device: torch.device) -> Batch:
        """Return the same on another device."""
        others = (self.brightness, self.truth, self.certain, self.units, self.taught)
        return Batch(self.observed.to(device), *(values.to(device) for values in others))


class Films:
    """Observations of filmed pairs, read from disk as they are needed."""

    def __init__(self, films: Path, pairs: Path) -> None:
        people = [path.stem for path in sorted(films.glob("*.npy")) if path.stem.isdigit()]
        if not people:
            raise FileNotFoundError(f"{films} holds no films; `observe` makes them")
        names = json.loads((pairs / "units.json").read_text())
        self._mirrored = [names.index(_other_side(name)) for name in names]
        self._people = [
            (
                np.load(films / f"{person}.npy", mmap_mode="r"),
                np.load(films / f"{person}-shown.npy"),
                np.load(pairs / f"{person}-units.npy", mmap_mode="r"),
            )
            for person in people
        ]

    def batch(self, size: int, crop: int, rng: np.random.Generator) -> Batch:
        """Return crops of `crop` grid points along a side (even); half of them are mirrored."""
        samples = [self._sample(crop, rng) for _ in range(size)]
        values, units, taught = (torch.stack(each) for each in zip(*samples, strict=True))
        seen = Observation(UNIT * values[:, :5], values[:, 5:7], values[:, 7:8], QUANTISATION * values[:, 8:9])
        return Batch(seen, values[:, 9:10], values[:, 10:12], values[:, 12:13], units, taught)

    def _sample(self, crop: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        films, shown, fields = self._people[int(rng.integers(len(self._people)))]
        number = int(rng.integers(len(films)))
        top, left = (2 * int(rng.integers((films.shape[-1] - crop) // 2 + 1)) for _ in range(2))
        values = torch.from_numpy(films[number, :, top : top + crop, left : left + crop].astype(np.float32))
        rows, columns = (slice(start // 2, (start + crop) // 2) for start in (top, left))
        units = torch.from_numpy(fields[max(shown[number], 0), :, :, rows, columns].astype(np.float32))
        if rng.random() < 0.5:
            values = values.flip(2) * MIRRORED
            units = units[self._mirrored].flip(3) * torch.tensor([-1.0, 1.0]).view(1, 2, 1, 1)
        return values, units, torch.tensor(float(shown[number] != NO_PAIR))


def _other_side(unit: str) -> str:
    """Return the unit on the other side of the face."""
    for side, other in (("Left", "Right"), ("Right", "Left")):
        if unit.endswith(side):
            return unit.removesuffix(side) + other
    return unit


# What a mirror does to the channels: products and motions along x change their sign.
MIRRORED = torch.tensor([1.0, -1, 1, -1, 1, -1, 1, 1, 1, 1, -1, 1, 1]).view(-1, 1, 1)


def _film(
    reference: Tensor, frame: Tensor, flow: Tensor, known: Tensor, role: Role, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the pair as it comes from a camera, or the frame from a generator; flow and known as they are."""
    contrast, level = rng.uniform(0.6, 1.1), rng.uniform(-0.1, 0.1)
    reference, frame = (((image - 0.5) * contrast + 0.5 + level).clamp(0, 1) for image in (reference, frame))
    if role.generated and rng.random() < 0.8:
        frame = _blurred(frame, rng.uniform(0.3, 1.2))
    if rng.random() < 0.3:
        frame = frame * rng.uniform(0.97, 1.03)
    # A generator works on the clean source and has a grain of its own.
    noises = (0.0 if role.generated and rng.random() < 0.5 else rng.uniform(0, 3), rng.uniform(0, 3))
    if not role.generated:
        noises = (noises[1], noises[1])
    images = [
        image + noise / 255 * torch.from_numpy(rng.standard_normal(image.shape, np.float32))
        for image, noise in zip((reference, frame), noises, strict=True)
    ]
    if rng.random() < 0.25:
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
