# SPDX-License-Identifier: GPL-3.0-or-later
"""Arbitration takes the network's motion within the noise of the equations, and the solver's beyond."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from magplus.models.magnification.arbitration import CODED_SHARE, arbitrate, chi_squared_test
from magplus.models.magnification.camera_state import STATES, camera_state
from magplus.models.magnification.copied_blocks import coded, copied_share, weight_of
from magplus.models.magnification.refinement import Refinement
from magplus.models.magnification.solver import Observation, estimate
from magplus.models.training.camera import h264
from magplus.models.training.scenes import filmed, random_pulls, warped_pair

SIDE = 160
SEEDS = range(6)


def shot(seed: int, noise: float = 2 / 255) -> tuple[Observation, Tensor]:
    """Return what the solver saw of a noisy texture under known pulls, and the truth on its grid."""
    clean = warped_pair(SIDE, 0.8, 1.0, np.random.default_rng(seed))
    generator = torch.Generator().manual_seed(seed)
    observed = estimate(filmed(clean.reference, noise, generator), filmed(clean.frame, noise, generator))
    return observed, F.avg_pool2d(clean.flow, 2)


def wrong_motions(truth: Tensor, seed: int) -> dict[str, Tensor]:
    """Return wrong motions that a network could propose."""
    other = F.avg_pool2d(random_pulls(SIDE, 0.8, np.random.default_rng(100 + seed)), 2)
    return {
        "at rest": torch.zeros_like(truth),
        "the other way": -truth,
        "twice as far": 2 * truth,
        "beside it": truth.roll((9, 7), (2, 3)),
        "turned by 60 degrees": torch.cat(
            [0.5 * truth[:, :1] - 0.87 * truth[:, 1:], 0.87 * truth[:, :1] + 0.5 * truth[:, 1:]], 1
        ),
        "something else": other,
        "something else as well": truth + other,
        "half of it missing": truth * (torch.arange(truth.shape[3]) < truth.shape[3] // 2),
    }


def error(motion: Tensor, truth: Tensor) -> float:
    return float((motion - truth).norm() / truth.norm())


@pytest.mark.parametrize("kind", list(wrong_motions(torch.zeros(1, 2, 80, 80), 0)))
def test_a_network_that_is_wrong_does_no_harm(kind: str) -> None:
    solver, ours = [], []
    for seed in SEEDS:
        observed, truth = shot(seed)
        solver.append(error(observed.motion, truth))
        ours.append(error(arbitrate(observed, wrong_motions(truth, seed)[kind]).motion, truth))
    assert np.mean(ours) <= 1.03 * np.mean(solver)
    assert max(mine / its for mine, its in zip(ours, solver, strict=True)) <= 1.11


@pytest.mark.parametrize("noise", [1 / 255, 2 / 255, 4 / 255])
def test_a_network_that_is_right_is_followed(noise: float) -> None:
    ratios = []
    for seed in SEEDS:
        observed, truth = shot(seed, noise)
        ratios.append(error(arbitrate(observed, truth).motion, truth) / error(observed.motion, truth))
    assert max(ratios) < 1 and np.mean(ratios) < 0.85


@pytest.mark.parametrize("kind", ["at rest", "beside it", "something else as well"])
def test_without_noise_the_equations_are_hardly_overruled(kind: str) -> None:
    solver, ours = [], []
    for seed in SEEDS:
        observed, truth = shot(seed, 0.0)
        solver.append(error(observed.motion, truth))
        ours.append(error(arbitrate(observed, wrong_motions(truth, seed)[kind], rounded=1.0).motion, truth))
        assert error(arbitrate(observed, truth, rounded=1.0).motion, truth) <= error(observed.motion, truth)
    assert np.mean(ours) <= 1.04 * np.mean(solver)
    assert max(mine / its for mine, its in zip(ours, solver, strict=True)) <= 1.10


CODED_INFLATION = 2.5  # noise inflation factor that the camera's state has after H.264, between 2 and 3


@cache
def coded_shot(seed: int) -> tuple[Observation, Tensor, Tensor]:
    """Return what the solver saw of a texture under known pulls after H.264, how clearly that was coded, and the truth.

    The detail is faint, as on skin, so that the codec copies most of it.
    """
    clean = warped_pair(SIDE, 0.8, 1.0, np.random.default_rng(seed))
    generator = torch.Generator().manual_seed(seed)
    pictures = [filmed(0.5 + 0.4 * (image - 0.5), 2 / 255, generator) for image in (clean.reference, clean.frame)]
    reference, frame = h264(pictures, 24)
    copied = copied_share(reference, frame)
    observed = estimate(reference, frame, weight=weight_of(copied, (SIDE // 2, SIDE // 2)))
    return observed, coded(copied), F.avg_pool2d(clean.flow, 2)


def test_after_a_codec_a_network_that_is_right_is_followed_in_part() -> None:
    for seed in SEEDS:
        observed, certain, truth = coded_shot(seed)
        assert float(certain) == 1
        ours = arbitrate(observed, truth, CODED_INFLATION, coded=certain).motion
        assert error(ours, truth) < 0.85 * error(observed.motion, truth)
        limit = CODED_SHARE * (truth - observed.motion).norm(dim=1).amax()
        assert float((ours - observed.motion).norm(dim=1).amax()) <= float(limit) + 1e-5


@pytest.mark.parametrize("kind", [*wrong_motions(torch.zeros(1, 2, 80, 80), 0), "25 times as far as it can be"])
def test_a_network_that_is_wrong_does_little_harm_after_a_codec(kind: str) -> None:
    solver, ours = [], []
    for seed in SEEDS:
        observed, certain, truth = coded_shot(seed)
        wrong = wrong_motions(truth, seed)
        wrong["25 times as far as it can be"] = 25 * wrong["something else"]
        solver.append(error(observed.motion, truth))
        ours.append(error(arbitrate(observed, wrong[kind], CODED_INFLATION, coded=certain).motion, truth))
    assert np.mean(ours) <= 1.2 * np.mean(solver)
    assert max(mine / its for mine, its in zip(ours, solver, strict=True)) <= 1.65


def test_a_network_that_is_right_in_one_place_and_wrong_in_another_is_followed_there() -> None:
    gains = []
    for seed in SEEDS:
        observed, truth = shot(seed)
        right = (torch.arange(truth.shape[3]) < truth.shape[3] // 2).float()
        proposed = right * truth + (1 - right) * wrong_motions(truth, seed)["something else"]
        ours = arbitrate(observed, proposed).motion
        assert error(ours, truth) <= 1.15 * error(observed.motion, truth)
        gains.append(error(right * ours, right * truth) / error(right * observed.motion, right * truth))
    assert np.mean(gains) < 0.9


def test_a_large_noise_inflation_leaves_the_network_as_it_is() -> None:
    observed, truth = shot(0)
    nothing_moves = observed.equations * torch.tensor([1.0, 1, 1, 0, 0]).view(1, 5, 1, 1)
    misled = replace(observed, equations=nothing_moves, motion=0 * truth)
    shares = [error(arbitrate(misled, truth, inflation).motion, truth) for inflation in (0.5, 30.0, 1000.0)]
    assert shares == sorted(shares, reverse=True) and shares[0] > 0.5 and shares[-1] < 0.01


def test_without_texture_the_motion_is_the_solvers() -> None:
    observed, truth = shot(0)
    blind = replace(observed, equations=torch.zeros_like(observed.equations))
    assert torch.equal(arbitrate(blind, truth).motion, blind.motion)


def test_the_answer_does_not_depend_on_the_unit_of_length() -> None:
    observed, truth = shot(1)
    precision = torch.tensor([0.25, 0.25, 0.25, 0.5, 0.5]).view(1, 5, 1, 1)
    twice = Observation(precision * observed.equations, 2 * observed.motion, 0.25 * observed.stiffness, observed.noise)
    wrong = wrong_motions(truth, 1)["beside it"]
    assert torch.allclose(2 * arbitrate(observed, wrong).motion, arbitrate(twice, 2 * wrong).motion, atol=1e-4)


def test_the_truth_is_not_contradicted_by_white_noise_and_a_wrong_motion_is() -> None:
    observed, truth = shot(2)
    assert float(chi_squared_test(observed, truth)[1].mean()) < 1.5
    assert float(chi_squared_test(observed, -truth)[1].mean()) > 10


def states(kind: str) -> Tensor:
    """Return the camera's states over some textures that move a little."""
    found = []
    for seed in SEEDS:
        clean = warped_pair(128, 0.5, 1.0, np.random.default_rng(seed))
        generator = torch.Generator().manual_seed(seed)
        pictures = [
            filmed(image, 0.0 if kind == "clean" else 2 / 255, generator) for image in (clean.reference, clean.frame)
        ]
        reference, frame = h264(pictures, 20) if kind == "H.264" else pictures
        found.append(camera_state(reference, frame))
    return torch.cat(found)


def test_noise_compression_and_clean_pictures_are_distinguished_by_the_pictures_alone() -> None:
    noisy, compressed, clean = (states(kind) for kind in ("noise", "H.264", "clean"))
    colour = 2  # grain of colour, which 4:2:0 takes away
    assert float(noisy[:, colour].min()) > float(compressed[:, colour].max())
    level = 0
    assert float(clean[:, level].max()) < float(noisy[:, level].min())
    for state in (noisy, compressed, clean):
        assert state.shape == (len(SEEDS), STATES) and torch.isfinite(state).all() and float(state.abs().max()) < 5


@pytest.mark.parametrize("start", [0, 3, 5])
def test_video_is_recognised_by_its_blocks_wherever_it_was_cut_out(start: int) -> None:
    blocks = 9  # ends of exact repeats on a grid
    clean = warped_pair(128, 0.5, 1.0, np.random.default_rng(1))
    generator = torch.Generator().manual_seed(1)
    pictures = [filmed(image, 2 / 255, generator) for image in (clean.reference, clean.frame)]
    cut = (slice(None), slice(None), slice(start, start + 120), slice(start, start + 120))
    noisy, compressed = (camera_state(*(image[cut] for image in pair)) for pair in (pictures, h264(pictures, 20)))
    assert float(compressed[0, blocks]) > float(noisy[0, blocks]) + 0.3


def test_the_state_is_that_of_each_frame() -> None:
    rng = np.random.default_rng(0)
    clean = warped_pair(96, 0.5, 1.0, rng)
    frames = torch.cat([clean.reference, filmed(clean.frame, 2 / 255, torch.Generator().manual_seed(0))])
    together = camera_state(clean.reference, frames)
    apart = [camera_state(clean.reference, frame[None]) for frame in frames]
    assert torch.allclose(together, torch.cat(apart), atol=1e-5)


def test_a_network_that_contradicts_the_picture_is_overruled_by_it() -> None:
    """The whole of the refinement, with a last layer that makes things up."""
    clean = warped_pair(256, 1.0, 1.0, np.random.default_rng(0))
    generator = torch.Generator().manual_seed(0)
    reference, frame = (filmed(image, 2 / 255, generator) for image in (clean.reference, clean.frame))
    observed = estimate(reference, frame)
    brightness = F.avg_pool2d(reference.mean(1, keepdim=True), 2)
    truth = F.avg_pool2d(clean.flow, 2)
    torch.manual_seed(0)
    network = Refinement()
    torch.nn.init.normal_(network.last.weight, std=4.0)
    with torch.no_grad():
        state = camera_state(reference, frame)
        wild = network.estimate(observed, brightness, state).refined.motion
        ours = network(observed, brightness, state).motion
    assert error(wild, truth) > 2.5 * error(observed.motion, truth)
    assert error(ours, truth) <= 1.3 * error(observed.motion, truth)
