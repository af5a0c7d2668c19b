# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts that are trained, and what they are trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from models.magnification.filters import binomial, box, resize
from models.magnification.refinement import Refinement, features
from models.magnification.solver import Observation, estimate, smooth_solve
from models.training.dataset import Dataset, Motions
from models.training.scenes import filmed, random_pulls, warped_pair
from models.training.train import Config, learning_rate, loss_of, train
from models.warp import move


@pytest.fixture(scope="module")
def pair() -> tuple[Tensor, Tensor, Tensor]:
    """A noisy reference and frame under a known warp, and the warp."""
    clean = warped_pair(64, 0.8, 1.0, np.random.default_rng(3))
    generator = torch.Generator().manual_seed(0)
    return filmed(clean.reference, 2 / 255, generator), filmed(clean.frame, 2 / 255, generator), clean.flow


def brightness(reference: Tensor) -> Tensor:
    return resize(reference.mean(1, keepdim=True), (reference.shape[2] // 2, reference.shape[3] // 2))


def test_before_training_the_network_is_the_solver(pair: tuple[Tensor, Tensor, Tensor]) -> None:
    observed = estimate(pair[0], pair[1])
    assert torch.equal(Refinement()(observed, brightness(pair[0])).motion, observed.motion)


def test_what_the_network_sees_does_not_depend_on_the_noise_s_unit(pair: tuple[Tensor, Tensor, Tensor]) -> None:
    observed = estimate(pair[0], pair[1])
    brighter = Observation(observed.equations, observed.motion, observed.stiffness, 9 * observed.noise)
    scale, grey = observed.stiffness.rsqrt(), brightness(pair[0])
    assert torch.allclose(features(observed, grey, scale), features(brighter, grey, scale), atol=1e-4)


def test_motion_is_corrected_in_proportion_to_its_size(pair: tuple[Tensor, Tensor, Tensor]) -> None:
    network = Refinement()
    torch.nn.init.normal_(network.last.weight, std=0.1)
    observed, grey = estimate(pair[0], pair[1]), brightness(pair[0])
    # Twice the motion, measured with half the precision: the same picture in another unit of length.
    precision = torch.tensor([0.25, 0.25, 0.25, 0.5, 0.5]).view(1, 5, 1, 1)
    twice = Observation(precision * observed.equations, 2 * observed.motion, 0.25 * observed.stiffness, observed.noise)
    assert torch.allclose(2 * network(observed, grey).motion, network(twice, grey).motion, atol=1e-4)


def test_gradients_flow_through_the_small_pieces() -> None:
    torch.manual_seed(0)
    field = torch.rand(1, 2, 8, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(binomial, field)
    assert torch.autograd.gradcheck(lambda x: box(x, 3), field)
    tensor = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    right = torch.rand(1, 2, 8, 8, dtype=torch.float64, requires_grad=True)
    stiffness = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    data = torch.cat([tensor[:, :1] + 1, 0.2 * tensor[:, 1:2], tensor[:, 2:] + 1], 1)
    assert torch.autograd.gradcheck(lambda h: smooth_solve(torch.cat([data, h], 1), stiffness, 2), right)


def test_the_smooth_solve_returns_what_all_equations_agree_on() -> None:
    motion = torch.tensor([0.7, -0.4]).view(1, 2, 1, 1).expand(1, 2, 16, 20)
    seen = (torch.rand(1, 1, 16, 20, generator=torch.Generator().manual_seed(0)) > 0.9).float()
    equations = 100 * torch.cat([seen, 0 * seen, seen, seen * motion], 1)
    assert torch.allclose(smooth_solve(equations, torch.ones(1, 1, 16, 20), relaxations=60), motion, atol=0.05)


def test_the_loss_is_zero_for_the_truth_only(pair: tuple[Tensor, Tensor, Tensor]) -> None:
    truth = torch.nn.functional.avg_pool2d(pair[2], 2)
    known = torch.ones(1, 1, 64, 64, dtype=torch.bool)
    right, short, none = (float(loss_of(factor * truth, pair[2], known)) for factor in (1.0, 0.8, 0.0))
    assert right < 0.01 < short < none


def test_warped_textures_move_as_they_say() -> None:
    rng = np.random.default_rng(0)
    clean = warped_pair(96, 2.0, 3.0, rng)
    assert clean.flow.norm(dim=1).max() <= 2.0 + 1e-4
    inner = (..., slice(12, -12), slice(12, -12))
    assert (move(clean.reference, clean.flow) - clean.frame)[inner].abs().mean() < 0.002
    assert (move(clean.reference, 3 * clean.flow) - clean.magnified)[inner].abs().mean() < 0.01


def test_pulls_reach_their_peak_and_no_further() -> None:
    for seed in range(5):
        flow = random_pulls(64, 1.5, np.random.default_rng(seed))
        assert flow.norm(dim=1).max() == pytest.approx(1.5, rel=1e-4)


def test_the_learning_rate_warms_up_and_comes_down() -> None:
    config = Config(steps=1000, warmup=100)
    rates = [learning_rate(step, config) for step in range(1000)]
    assert rates[0] < rates[50] < rates[99] == pytest.approx(config.learning_rate, rel=0.02)
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert rates[-1] == pytest.approx(config.smallest_rate, rel=0.1)


@pytest.fixture
def small_set(tmp_path: Path) -> Path:
    """Twelve warped textures in the file that rendered faces usually come in."""
    rng = np.random.default_rng(1)
    pairs = [warped_pair(64, float(rng.uniform(0.5, 3)), 1.0, rng) for _ in range(12)]
    path = tmp_path / "pairs.npz"
    np.savez(
        path,
        reference=torch.cat([pair.reference for pair in pairs]).half().numpy(),
        frame=torch.cat([pair.frame for pair in pairs]).half().numpy(),
        flow=torch.cat([pair.flow for pair in pairs]).half().numpy(),
        known=torch.cat([pair.known for pair in pairs]).numpy(),
    )
    return path


def test_crops_are_filmed_anew_each_time(small_set: Path) -> None:
    dataset = Dataset(small_set, Motions((0.5, 3.0), 0.0), 48)
    rng = np.random.default_rng(0)
    references, frames, flows, known = dataset.batch(3, rng, degrade=True)
    assert references.shape == frames.shape == (3, 3, 48, 48)
    assert flows.shape == (3, 2, 48, 48) and known.shape == (3, 1, 48, 48)
    assert torch.equal((255 * frames).round(), 255 * frames)
    assert not torch.equal(references, dataset.batch(3, rng, degrade=True)[0])


@pytest.mark.slow
def test_sixty_steps_lower_the_loss_and_a_stopped_run_goes_on(small_set: Path, tmp_path: Path) -> None:
    config = Config(crop=64, batch=2, steps=60, warmup=5, checkpoint_every=30, learning_rate=5e-3)
    rng = np.random.default_rng(7)
    references, frames, flows, known = Dataset(small_set, Motions((0.5, 3.0), 0.0), 64).batch(8, rng, degrade=False)
    weights = train("magplus", config, small_set, tmp_path, None, torch.device("cpu"))
    observed = estimate(references, frames)
    before = loss_of(observed.motion, flows, known)
    with torch.no_grad():
        after = loss_of(Refinement.load(weights)(observed, brightness(references)).motion, flows, known)
    assert after < before
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 60
