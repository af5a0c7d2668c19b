# SPDX-License-Identifier: GPL-3.0-or-later
"""The tracks: what is measured of every method, a table a setting."""

from __future__ import annotations

import argparse
import resource
import time
from collections import defaultdict
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from magplus.models.magnification import Magnifier
from magplus.models.magnification.copied_blocks import copied_share
from magplus.models.training.scenes import filmed
from magplus.models.warp import move

from .codec_left import joined, where_coded
from .goals import INSTRUMENTS, Goal, Row, psnr
from .methods import SOLVER, SOLVER_ALONE, Estimator, Method
from .tables import OURS, SOLVER_ROW, Result, save_pictures, table
from .trials import (
    CODED,
    CONDITIONS,
    CURVE,
    MORE_CONDITIONS,
    NOISE,
    NOISY,
    SIZE,
    SOFTLY,
    Family,
    Film,
    Trial,
    conditioned,
    textures,
    trials,
)

ALPHAS = (2.0, 4.0, 8.0, 16.0)
PEAKS = (0.25, 0.5, 1.0)
MORE_PEAKS = (*PEAKS, 4.0)
LARGEST = 8.0  # px; beyond it a rendered face leaves what its units were made for
GROUP = 8  # frames that a job measures together on a CPU
CLIP_ROW = "ours, as a clip"


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
                for name, row in _recorded(trial, methods, condition, number, options.recordings).items():
                    collected[name].append(row)
                ours, solver = (collected[name][-1]["error"] for name in (OURS, SOLVER_ROW))
                worst.append((ours / solver, trial.name))
            rows += table(f"motion, {condition}, peak {peak:g} px", collected)
            ratio, name = max(worst)
            print(f"  worst as a multiple of the solver's error: {name}, {ratio:.2f}")
    return rows


def _recorded(trial: Trial, methods: dict[str, Method], condition: str, seed: int, count: int) -> dict[str, Row]:
    """Return each method's mean figures of so many recordings of a trial."""
    takes: dict[str, list[Row]] = defaultdict(list)
    for index, take in enumerate(trial.recordings(count, seed)):
        reference, frame = conditioned(take, condition, seed + 1000 * index)
        flows = {name: method.motion(reference, frame) for name, method in methods.items()}
        if condition == CODED:
            flows |= _left_by_codec(trial, reference, frame)
        for name, flow in flows.items():
            takes[name].append(_compared(trial.goal, flow))
    return {
        name: {column: float(np.mean([row[column] for row in rows])) for column in rows[0]}
        for name, rows in takes.items()
    }


def _left_by_codec(trial: Trial, reference: Tensor, frame: Tensor) -> dict[str, Tensor]:
    """Return what a codec has left of a trial's motion in the decoded pictures, in three ways: motion fields.

    Exact where it coded anything and rest elsewhere; the same, joined smoothly; and what the decoded pictures show,
    joined likewise: a codec's block does not move as the face did.
    """
    copied, truth = copied_share(reference, frame), trial.goal.wanted
    # How a decoded picture lies off the clean one. Frame and reference differ in place by the motion itself, a pixel.
    off = SOLVER.motion(trial.clean.frame, frame) - SOLVER.motion(trial.clean.reference, reference)
    return {
        "truth, where coded": where_coded(truth, copied),
        "the same, joined": joined(truth, copied),
        "shown by them, joined": joined(truth + off, copied),
    }


def _compared(goal: Goal, flow: Tensor) -> Row:
    """Return the figures of a motion field."""
    return {"error": goal.error(flow), "gain": goal.gain(flow), "leak": goal.leak(flow)}


def track_parts(family: Family, parts: dict[str, Estimator], options: argparse.Namespace) -> list[Result]:
    """Measure motion fields with MagPlus whole, and without one of its parts each."""
    rows = []
    for condition in CONDITIONS:
        for peak in PEAKS:
            collected: dict[str, list[Row]] = defaultdict(list)
            for number, trial in enumerate(trials(family, options.people, peak, 1.0)):
                reference, frame = conditioned(trial, condition, number)
                for name, estimate in parts.items():
                    flow = estimate(reference, frame)
                    collected[name].append({"error": trial.goal.error(flow), "gain": trial.goal.gain(flow)})
            rows += table(f"parts, {condition}, peak {peak:g} px", collected)
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
            static = psnr(trial.frame, clean.magnified, clean.known)
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
            static = psnr(clean.reference, clean.magnified, clean.known)
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
            static = psnr(trial.reference, goal.picture, goal.known)
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
            row["PSNR"] = psnr(result, clean.reference, clean.known)
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
