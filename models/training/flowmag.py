# SPDX-License-Identifier: GPL-3.0-or-later
"""An ablation: a U-Net that paints the magnified picture itself, as FlowMag (Pan, Geng & Owens 2023) does.

No motion field, no solver, no warp: reference, frame and alpha go in, the magnified frame comes out. It is FlowMag's
layout (a U-Net of double convolutions with batch normalisation, alpha as planes of sine waves, exponents of alpha drawn
evenly between 1 and 16) at about the cost of our network. What makes it easier than in the original, for a short
training: the truth is exact here, so that it learns from the true picture rather than from a flow network's estimate;
what it paints is added to the frame, so that it begins by doing nothing; the small
difference of the frames is shown enlarged, and the waves are slow. It learns from the pairs that
`models.training.train` rendered:

    python3 dev.py train flowmag --data runs/data --out runs/flowmag

Nothing but the `magnification` benchmark uses it.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..magnification.filters import gradient, resize
from ..warp import move
from .camera import recorded, toned
from .dataset import ROLES, scenes_of, varied
from .ingredients import EVERYTHING
from .precision import mixed_precision

WIDTHS = (16, 32, 64, 84, 96)
WAVES = 8  # planes that encode alpha
BRUSH = 0.05  # what it paints is small; so are the steps in which it learns to
CONTRAST = 10.0  # of the frame's difference to the reference, which is small
ALPHAS = (1.0, 16.0)
REACH = 8.0  # px, what alpha times the motion may come to
COARSEST = 2 ** (len(WIDTHS) - 1)


class Painter(nn.Module):
    """Paints magnified frames."""

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.down = nn.ModuleList(_double(a, b) for a, b in pairwise((6 + WAVES, *widths)))
        self.up = nn.ModuleList(_double(a + b, a) for a, b in pairwise(widths))
        self.last = nn.Conv2d(widths[0], 3, 1)
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    @classmethod
    def load(cls, weights: Path) -> Painter:
        """Return the network with the weights of a .safetensors file, ready to paint."""
        network = cls()
        network.load_state_dict(load_file(weights))
        return network.eval()

    def forward(self, reference: Tensor, frames: Tensor, alpha: Tensor) -> Tensor:
        """Return the magnified frames; images [N, 3, H, W] in [0, 1], H and W at least 32, alpha [N]."""
        height, width = frames.shape[2:]
        images = torch.cat([reference - 0.5, CONTRAST * (frames - reference)], 1)
        images = F.pad(images, (0, -width % COARSEST, 0, -height % COARSEST), mode="replicate")
        values = torch.cat([images, _waves(alpha).expand(-1, -1, *images.shape[2:])], 1)
        values = values.contiguous(memory_format=torch.channels_last)
        passed: list[Tensor] = []
        for level, block in enumerate(self.down):
            values = block(values if level == 0 else F.max_pool2d(values, 2))
            passed.append(values)
        for level in reversed(range(len(self.up))):
            there = passed[level]
            values = self.up[level](torch.cat([resize(values, (there.shape[2], there.shape[3])), there], 1))
        return frames + BRUSH * self.last(values).float()[..., :height, :width]


def _double(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before in (inputs, outputs):
        layers += [nn.Conv2d(before, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def _waves(alpha: Tensor) -> Tensor:
    """Return sines and cosines of alpha's exponent: [N, WAVES, 1, 1]."""
    phases = math.pi / 4 * torch.log2(alpha)[:, None] * torch.arange(1, WAVES // 2 + 1, device=alpha.device)
    return torch.cat([phases.sin(), phases.cos()], 1)[:, :, None, None]


@dataclass(frozen=True)
class Config:
    """A training that takes some five minutes of one CPU core. films: a person; crop: px along a side."""

    people: int = 400
    films: int = 2
    crop: int = 128
    batch: int = 8
    steps: int = 800
    learning_rate: float = 2e-3
    seed: int = 0


class Pictures:
    """Films of the pairs as pictures, kept in memory: reference and frame as filmed, the clean reference, the flow."""

    def __init__(self, pairs: Path, config: Config, device: torch.device) -> None:
        role = ROLES["magplus"]
        self._films: list[tuple[Tensor, ...]] = []
        for person in range(config.people):
            rng = np.random.default_rng((config.seed, person, 2))
            shown = [scene for scene in scenes_of(pairs, person) if role.shows(scene)]
            for _ in range(config.films if shown else 0):
                scene = varied(shown[int(rng.integers(len(shown)))], role, EVERYTHING, rng)
                clean, moved = toned((scene.reference, scene.frame), rng)
                filmed = recorded(clean, moved, scene.flow, role.generated, EVERYTHING, rng)
                pictures = ((255 * image).round().byte() for image in (filmed.reference, filmed.frame))
                kept = (*pictures, clean.half(), scene.flow.half())
                self._films.append(tuple(values.to(device) for values in kept))

    def batch(self, config: Config, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return reference, frame and the true magnified picture, [N, 3, crop, crop], and alpha, [N]."""
        samples = [self._sample(config.crop, rng) for _ in range(config.batch)]
        reference, frame, truth, alpha = (torch.cat(each) for each in zip(*samples, strict=True))
        return reference, frame, truth, alpha

    def _sample(self, crop: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        reference, frame, clean, flow = self._films[int(rng.integers(len(self._films)))]
        largest = min(ALPHAS[1], max(1.0, REACH / max(float(flow.norm(dim=1).max()), 0.01)))
        alpha = float(np.exp2(rng.uniform(0, np.log2(largest))))
        top, left = (int(rng.integers(side - crop + 1)) for side in flow.shape[2:])
        rows, columns = slice(top, top + crop), slice(left, left + crop)
        truth = move(clean.float(), alpha * flow.float())[..., rows, columns].clamp(0, 1)
        images = [*(image[..., rows, columns].float() / 255 for image in (reference, frame)), truth]
        if rng.random() < 0.5:
            images = [image.flip(3) for image in images]
        return images[0], images[1], images[2], torch.tensor([alpha], device=flow.device)


def loss_of(painted: Tensor, frame: Tensor, truth: Tensor) -> Tensor:
    """How far the picture and its gradients are off, as a share of what the frame itself is off.

    A large motion, which changes much, would otherwise drown the small ones that this is about.
    """

    def off(image: Tensor) -> Tensor:
        there, goal = (torch.cat([each, *gradient(each)], 1) for each in (image, truth))
        return (there - goal).abs().mean((1, 2, 3))

    return (off(painted) / (off(frame) + 2 / 255)).mean()


def train(config: Config, data: Path, out: Path, device: torch.device) -> Path:
    """Train on the pairs in `data/pairs`; return the path of the weights in `out`."""
    torch.set_num_threads(1)
    torch.manual_seed(config.seed)
    out.mkdir(parents=True, exist_ok=True)
    network = Painter().to(device)
    optimiser = torch.optim.AdamW(network.parameters(), config.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.learning_rate, config.steps, pct_start=0.05)
    pictures = Pictures(data / "pairs", config, device)
    rng = np.random.default_rng(config.seed)
    began, total = time.monotonic(), 0.0
    for step in range(1, config.steps + 1):
        reference, frame, truth, alpha = pictures.batch(config, rng)
        with mixed_precision(device):
            painted = network(reference, frame, alpha)
        loss = loss_of(painted, frame, truth)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0, error_if_nonfinite=True)
        optimiser.step()
        schedule.step()
        total += loss.item()
        if step % 100 == 0 or step == config.steps:
            minutes = (time.monotonic() - began) / 60
            print(
                f"step {step}/{config.steps}  loss {total / ((step - 1) % 100 + 1):.3f}  {minutes:.1f} min", flush=True
            )
            total = 0.0
    weights = out / "flowmag.safetensors"
    tensors = {
        name: (value.half().contiguous() if value.is_floating_point() else value).cpu()
        for name, value in network.state_dict().items()
    }
    save_file(tensors, weights, {"steps": str(config.steps), "seed": str(config.seed)})
    return weights


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description="Train the FlowMag-style U-Net of the benchmark.")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the rendered pairs")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    for name in ("people", "steps", "batch", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Config, name))
    options = vars(parser.parse_args())
    data, out, device = (options.pop(name) for name in ("data", "out", "device"))
    print(train(Config(**options), data, out, torch.device(device)))


if __name__ == "__main__":
    main()
