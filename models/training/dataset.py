# SPDX-License-Identifier: GPL-3.0-or-later
"""The training set: rendered pairs, filmed a few times, and what the solver saw of them, kept on disk."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..magnification.camera_state import camera_state
from ..magnification.copied_blocks import weight_of
from ..magnification.filters import resize
from ..magnification.solver import QUANTISATION, Observation, estimate, estimate_near
from ..warp import move, pixel_grid, sample
from .bending import bent_units, reshaped, wide_flow
from .camera import film
from .dressing import beard, before_a_room, glasses, random_room, strands
from .ingredients import EVERYTHING, Ingredients
from .rasteriser import Shot
from .scenes import (
    HELD_OUT,
    MICRO_EXPRESSIONS,
    FaceScenes,
    random_pulls,
    random_shot,
    random_texture,
    rotation,
    warped_pair,
)

UNUSED_UNITS = ("tongueOut",)  # MakeHuman's tongue passes through the closed lips
PAIRS_A_PERSON = 8
PEAKS = (0.1, 10.0)  # px at 256 px, the largest motion of a pair
HEIGHTS = (0.19, 0.33)  # m, what the picture shows of a head, from the face alone to all of it
HEAD = 1.5  # px at 256 px, the head's own motion in a third of the pairs
TURNS = (15.0, 28.0, 12.0)  # degrees by which it pitches, yaws and rolls at most
DETAIL = (0.01, 0.10)  # contrast of the texture that a skin gets, where white is 1
STILL = 3  # films a person of a face that does not move

UNITS_GRID = 64  # places along a side at which it is kept how a person's units move the picture


def render_pairs(
    scenes: FaceScenes, people: Sequence[int], seed: int, folder: Path, shares: Ingredients = EVERYTHING
) -> None:
    """Render each person's pairs into `folder`, two files a person; what is there already is kept.

    A person sits under several lights, with a micro-expression or a random mixture of units, the head still or moving.
    In `shares.bent` of the pairs the units are not the head's own (`bending`), and then more of them move at once.
    `<person>.npz` holds references and frames [P, 3, S, S], flows [P, 2, S, S] float16, known [P, 1, S, S] bool and
    where the eyes are, [P, 2, 2] px; `<person>-units.npy` how each unit would move the reference, [P, K, 2, g, g]
    float16, the largest motion being 1.
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
        head = scenes.model.identity(person)
        if rng.random() < shares.reshaped:
            head = reshaped(scenes.model, head, rng)
        scenes.seat(head, person)
        pairs, fields, eyes = [], [], []
        for _ in range(PAIRS_A_PERSON):
            units = _acts(scenes, head, names, shares, rng)
            peak = float(np.exp(rng.uniform(*np.log(PEAKS))))
            motion = random_head_motion(rng, HEAD) if rng.random() < 1 / 3 else None
            shot = _lit(random_shot(rng), shares, rng).framed(rng.uniform(*HEIGHTS))
            pairs.append(scenes.pair(units, peak, 1.0, shot, motion))
            fields.append(scenes.unit_fields(names, shot, UNITS_GRID))
            eyes.append(scenes.eyes(shot, pairs[-1].flow.shape[-1]))
        _write(folder / f"{person:05d}-units.npy", np.stack(fields).astype(np.float16))
        partial = path.with_suffix(".partial.npz")
        np.savez(
            partial,
            reference=torch.cat([pair.reference for pair in pairs]).half().numpy(),
            frame=torch.cat([pair.frame for pair in pairs]).half().numpy(),
            flow=torch.cat([pair.flow for pair in pairs]).half().numpy(),
            known=torch.cat([pair.known for pair in pairs]).numpy(),
            eyes=np.stack(eyes),
        )
        partial.replace(path)
        print(f"\rrendered {count + 1}/{len(people)} people", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def _acts(
    scenes: FaceScenes,
    head: NDArray[np.floating],
    names: Sequence[str],
    shares: Ingredients,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Give a head the units, flow and turn of its next pair; return how much of which units there is in it."""
    bent = rng.random() < shares.bent
    flow = np.zeros_like(head)
    if bent and rng.random() < shares.wide:
        flow = rng.uniform(0.15, 1.0) * wide_flow(scenes.model, rng)
    turn = np.eye(3)
    if rng.random() < shares.turned:
        turn = rotation(np.deg2rad(rng.uniform(-1, 1, 3) * TURNS))
    scenes.act(head, bent_units(scenes.model, rng) if bent else scenes.model.units, flow, turn)
    units = list(rng.choice(names, rng.integers(1, 11 if bent else 7), replace=False))
    if rng.random() < 0.5:
        units = list(MICRO_EXPRESSIONS[str(rng.choice(list(MICRO_EXPRESSIONS)))])
    return {unit: rng.uniform(0.3, 1) for unit in units}


def _lit(shot: Shot, shares: Ingredients, rng: np.random.Generator) -> Shot:
    """Return a shot in its own light, or in light from one side that leaves the other dark."""
    if rng.random() >= shares.harsh:
        return shot
    side = rng.choice([-1.0, 1.0])
    key = (side * rng.uniform(0.8, 2.5), rng.uniform(-0.5, 1.5), rng.uniform(0.2, 0.8))
    fill = (side * rng.uniform(0.2, 1.0), rng.uniform(0, 1), 0.6)
    return replace(shot, key=key, fill=fill, ambient=rng.uniform(0.03, 0.15), gloss=rng.uniform(0.02, 0.35))


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
class Scene:
    """What is filmed.

    reference, frame: [1, 3, S, S] in [0, 1], clean; flow: [1, 2, S, S] px between them; known: [1, 1, S, S], 1 where
    it is known; eyes: [2, 2] px (x, y), None where there is no face.
    """

    reference: Tensor
    frame: Tensor
    flow: Tensor
    known: Tensor
    eyes: NDArray[np.floating] | None = None

    def still(self) -> Scene:
        """Return the reference, not moving."""
        return replace(self, frame=self.reference, flow=torch.zeros_like(self.flow), known=torch.ones_like(self.known))

    def detailed(self, contrast: float, rng: np.random.Generator) -> Scene:
        """Return the scene with a random texture on it, which moves along; contrast: its standard deviation."""
        texture = random_texture(self.flow.shape[-1], rng).mean(1, keepdim=True)
        return self.painted(contrast * (texture - texture.mean()) / texture.std())

    def painted(self, paint: Tensor) -> Scene:
        """Return the scene with something added to its brightness [1, 1, S, S] that moves along with the skin."""
        reference, frame = self.reference + paint, self.frame + move(paint, self.flow)
        return replace(self, reference=reference.clamp(0, 1), frame=frame.clamp(0, 1))

    def pulled(self, peak: float, rng: np.random.Generator) -> Scene:
        """Return the scene with smooth pulls of up to `peak` px after its own motion."""
        pulls = random_pulls(self.flow.shape[-1], peak, rng)
        there = pixel_grid(*self.flow.shape[2:]) + self.flow
        return replace(self, frame=move(self.frame, pulls), flow=self.flow + sample(pulls, there))

    def in_a_room(self, face: Tensor, rng: np.random.Generator) -> Scene:
        """Return the scene before a random background, where `face` [1, 1, S, S] is 0."""
        room = random_room(self.flow.shape[-1], rng)
        return replace(
            self,
            reference=before_a_room(self.reference, face, room),
            frame=before_a_room(self.frame, face, room),
        )

    def dressed(self, shares: Ingredients, rng: np.random.Generator) -> Scene:
        """Return the scene with glasses, hair before the face or a beard, or none of them.

        What the head carries moves as its nose does; under it the motion is not known.
        """
        if self.eyes is None:
            return self
        side, scene = self.flow.shape[-1], self
        if rng.random() < shares.in_a_beard:
            scene = scene.painted(beard(self.eyes, side, rng))
        x, y = self.eyes.mean(0).round().astype(int).clip(0, side - 1)
        shift = self.flow[:, :, y : y + 1, x : x + 1]
        for share, worn in ((shares.in_glasses, glasses), (shares.in_hair, strands)):
            if rng.random() < share:
                layer = worn(self.eyes, side, rng)
                scene = replace(
                    scene,
                    reference=layer.over(scene.reference),
                    frame=layer.over(scene.frame, shift),
                    known=scene.known * layer.clear,
                )
        return scene


@dataclass(frozen=True)
class Role:
    """What a magnifier's role is trained on.

    peaks: px at 256 px, the pairs it is shown; generated: the frames are what a generator makes of a face (soft, with a
    grain of its own) rather than what a camera films; later_pass: the share of the films in which the solver starts as
    in a later pass, from a motion that is nearer to the truth than its own.
    """

    peaks: tuple[float, float]
    generated: bool
    later_pass: float = 0.0

    def shows(self, scene: Scene) -> bool:
        """Return whether a motion of that size is among what it is shown."""
        return self.peaks[0] <= float(scene.flow.norm(dim=1).max()) <= self.peaks[1]

    def some_peak(self, rng: np.random.Generator) -> float:
        """Return a size of motion, px, small ones as often as large ones."""
        return float(np.exp(rng.uniform(*np.log(self.peaks))))


ROLES = {"magplus": Role((0.1, 3.0), False), "demagplus": Role((0.5, 10.0), True, later_pass=0.5)}

CHANNELS = 13
NO_PAIR = -1
UNIT = 64.0  # of the kept equations, so that float16 holds them


def scenes_of(pairs: Path, person: int) -> list[Scene]:
    """Return what `render_pairs` rendered of a person."""
    with np.load(pairs / f"{person:05d}.npz", allow_pickle=False) as data:
        values = [torch.from_numpy(data[name]).float() for name in ("reference", "frame", "flow", "known")]
        eyes = data["eyes"]
    reference, frame, flow, known = values
    return [Scene(reference[[i]], frame[[i]], flow[[i]], known[[i]], eyes[i]) for i in range(len(reference))]


def varied(scene: Scene, role: Role, shares: Ingredients, rng: np.random.Generator) -> Scene:
    """Return the scene as it is, or pulled, with its own motion or without; more textured, dressed, elsewhere."""
    face = scene.known
    if rng.random() < shares.pulled:
        scene = (scene if rng.random() < 0.5 else scene.still()).pulled(role.some_peak(rng), rng)
    if rng.random() < shares.detailed:
        scene = scene.detailed(float(np.exp(rng.uniform(*np.log(DETAIL)))), rng)
    if rng.random() < shares.in_a_room:
        scene = scene.in_a_room(face, rng)
    return scene.dressed(shares, rng)


def observe(
    pairs: Path,
    films: Path,
    role: Role,
    people: Sequence[int],
    takes: int,
    seed: int,
    shares: Ingredients = EVERYTHING,
) -> None:
    """Film every pair of `people` `takes` times, run the solver, and keep its result: a file a person.

    The solver has nothing to learn, so its result for a film is computed once, not in every step of the training. A
    file holds [T, CHANNELS, h, w] float16, as `Films` reads it, `<person>-shown.npy` which of the pairs each film
    shows, and `<person>-states.npy` the state of its camera. In `shares.pulled` of the films the skin is pulled as no
    unit does, in half of those instead of the expression: what the units don't explain is to be left to the solver.
    Next to them stand a face that doesn't move and a warped texture.
    """
    films.mkdir(parents=True, exist_ok=True)
    for count, person in enumerate(people):
        path = films / f"{person:05d}.npy"
        if path.is_file():
            continue
        rng = np.random.default_rng((seed, person, 1))
        scenes = scenes_of(pairs, person)
        shown = [i for i, scene in enumerate(scenes) if role.shows(scene)] * takes
        filmed = [varied(scenes[i], role, shares, rng) for i in shown]
        for _ in range(STILL):
            shown.append(int(rng.integers(len(scenes))))
            filmed.append(scenes[shown[-1]].still().dressed(shares, rng))
        texture = warped_pair(scenes[0].flow.shape[-1], role.some_peak(rng), 1.0, rng)
        shown.append(NO_PAIR)
        filmed.append(Scene(texture.reference, texture.frame, texture.flow, texture.known.float()))
        _write(films / f"{person:05d}-shown.npy", np.array(shown))
        films_of_them = [_observed(scene, role, shares, rng) for scene in filmed]
        _write(states_file(films, person), np.stack([state for _, state in films_of_them]))
        _write(path, torch.cat([seen for seen, _ in films_of_them]).numpy())
        print(f"\rfilmed {count + 1}/{len(people)} people", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def states_file(films: Path, person: int) -> Path:
    """Return where the cameras' states in the films of a person are kept."""
    return films / f"{person:05d}-states.npy"


def _observed(
    scene: Scene, role: Role, shares: Ingredients, rng: np.random.Generator
) -> tuple[Tensor, NDArray[np.float32]]:
    """Film a scene; return what the solver saw, the brightness and the truth, [1, CHANNELS, h, w] float16.

    And the state of the camera [STATES], followed by 1 for what was compressed, else 0.
    """
    filmed = film(scene.reference, scene.frame, scene.flow, role.generated, shares, rng)
    reference, frame = filmed.reference, filmed.frame
    state = np.append(camera_state(reference, frame)[0].numpy(), np.float32(filmed.compressed))
    grid = (frame.shape[2] // 2, frame.shape[3] // 2)
    weight = weight_of(filmed.copied, grid)
    seen = estimate(reference, frame, weight=weight)
    certain = (F.avg_pool2d(scene.known, 2) > 0.999).float()
    truth = F.avg_pool2d(scene.flow, 2)
    if rng.random() < role.later_pass:
        closer = certain * rng.uniform()  # a first look takes most of the solver's error away, or hardly any
        seen = estimate_near(reference, frame, seen.motion + closer * (truth - seen.motion), weight=weight)
    brightness = resize(reference.mean(1, keepdim=True), grid)
    values = (seen.equations / UNIT, seen.motion, seen.stiffness, seen.noise / QUANTISATION, brightness)
    return torch.cat([*values, truth, certain], 1).clamp(-65000, 65000).half(), state


@dataclass(frozen=True)
class Batch:
    """Films that the network learns from.

    observed: what the solver saw; brightness: [N, 1, h, w]; truth: [N, 2, h, w] px; certain: [N, 1, h, w], 1 where the
    truth is known; units: [N, K, 2, h / 2, w / 2], how the action units would move the picture, largest motion 1;
    taught: [N], 1 where units are known; state: [N, STATES], of the camera; compressed: [N], 1 where the film was.
    """

    observed: Observation
    brightness: Tensor
    truth: Tensor
    certain: Tensor
    units: Tensor
    taught: Tensor
    state: Tensor
    compressed: Tensor


class Films:
    """Observations of filmed pairs: read from disk as they are needed, or kept on a GPU."""

    def __init__(self, films: Path, pairs: Path, device: torch.device, people: int) -> None:
        """Take the films of the first so many people."""
        stems = [path.stem for path in sorted(films.glob("*.npy")) if path.stem.isdigit()]
        known = [stem for stem in stems if int(stem) < people]
        if not known:
            raise FileNotFoundError(f"{films} holds no films; `observe` makes them")
        names = json.loads((pairs / "units.json").read_text())
        self._mirrored = torch.tensor([names.index(_other_side(name)) for name in names], device=device)
        self._flipped = torch.tensor([-1.0, 1.0], device=device).view(1, 2, 1, 1)
        self._signs = MIRRORED.to(device)
        self._people = [
            (
                _opened(films / f"{person}.npy", device),
                np.load(films / f"{person}-shown.npy"),
                _opened(pairs / f"{person}-units.npy", device),
                torch.from_numpy(np.load(states_file(films, int(person)))).to(device),
            )
            for person in known
        ]

    def batch(self, size: int, crop: int, rng: np.random.Generator) -> Batch:
        """Return crops of `crop` grid points along a side (even); half of them are mirrored."""
        films, fields, known, states = zip(*(self._sample(crop, rng) for _ in range(size)), strict=True)
        values, state = torch.stack(films), torch.stack(states)
        taught = torch.tensor(known, device=values.device)
        return Batch(
            _observation(values),
            values[:, 9:10],
            values[:, 10:12],
            values[:, 12:13],
            torch.stack(fields),
            taught,
            state[:, :-1],
            state[:, -1],
        )

    def seen(self) -> Iterator[tuple[Observation, Tensor, Tensor, Tensor, Tensor]]:
        """Yield each person's films, whole, as in `Batch`: observed, truth, certain, state and compressed."""
        for films, _, _, states in self._people:
            values = films.float()
            yield _observation(values), values[:, 10:12], values[:, 12:13], states[:, :-1], states[:, -1]

    def _sample(self, crop: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, float, Tensor]:
        films, shown, fields, states = self._people[int(rng.integers(len(self._people)))]
        number = int(rng.integers(len(films)))
        top, left = (2 * int(rng.integers((films.shape[-1] - crop) // 2 + 1)) for _ in range(2))
        values = films[number, :, top : top + crop, left : left + crop].float()
        rows, columns = (slice(start // 2, (start + crop) // 2) for start in (top, left))
        units = fields[max(shown[number], 0), :, :, rows, columns].float()
        if rng.random() < 0.5:
            values = values.flip(2) * self._signs
            units = units[self._mirrored].flip(3) * self._flipped
        return values, units, float(shown[number] != NO_PAIR), states[number]


def _observation(values: Tensor) -> Observation:
    return Observation(UNIT * values[:, :5], values[:, 5:7], values[:, 7:8], QUANTISATION * values[:, 8:9])


def _opened(path: Path, device: torch.device) -> Tensor:
    """Return an array of a file: mapped into memory for the CPU, read for a GPU, which is too fast for the disk."""
    if device.type == "cpu":
        return torch.from_numpy(np.load(path, mmap_mode="c"))
    return torch.from_numpy(np.load(path)).to(device)


def _other_side(unit: str) -> str:
    """Return the unit on the other side of the face."""
    for side, other in (("Left", "Right"), ("Right", "Left")):
        if unit.endswith(side):
            return unit.removesuffix(side) + other
    return unit


# What a mirror does to the channels: products and motions along x change their sign.
MIRRORED = torch.tensor([1.0, -1, 1, -1, 1, -1, 1, 1, 1, 1, -1, 1, 1]).view(-1, 1, 1)
