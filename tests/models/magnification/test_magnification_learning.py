# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts that are trained, and what they are trained on."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from magplus.models.magnification.camera_state import camera_state
from magplus.models.magnification.filters import binomial, box, resize
from magplus.models.magnification.refinement import (
    IRLS_ITERATIONS,
    UNITS,
    Refinement,
    features,
    fuse,
    motion_extent,
    sparse_amounts,
)
from magplus.models.magnification.solver import Observation, estimate, smooth_solve
from magplus.models.training.camera import film, h264
from magplus.models.training.config import Config
from magplus.models.training.dataset import ROLES, Films, Scene, observe, states_file
from magplus.models.training.flowmag import Painter
from magplus.models.training.flowmag import loss_of as loss_of_painting
from magplus.models.training.ingredients import EVERYTHING, FILMED, RENDERED
from magplus.models.training.losses import loss_of
from magplus.models.training.scenes import filmed, random_pulls, warped_pair
from magplus.models.training.train import TrainingSet, learning_rate, train
from magplus.models.warp import move


@pytest.fixture(scope="module")
def pair() -> tuple[Tensor, Tensor, Tensor]:
    """A noisy reference and frame under a known warp, and the warp."""
    clean = warped_pair(64, 0.8, 1.0, np.random.default_rng(3))
    generator = torch.Generator().manual_seed(0)
    return filmed(clean.reference, 2 / 255, generator), filmed(clean.frame, 2 / 255, generator), clean.flow


def state_of(pair: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    return camera_state(pair[0], pair[1])


def brightness(reference: Tensor) -> Tensor:
    return resize(reference.mean(1, keepdim=True), (reference.shape[2] // 2, reference.shape[3] // 2))


def test_before_training_the_network_is_the_solver(pair: tuple[Tensor, Tensor, Tensor]) -> None:
    observed = estimate(pair[0], pair[1])
    assert torch.equal(
        Refinement().estimate(observed, brightness(pair[0]), state_of(pair)).refined.motion, observed.motion
    )


def test_what_the_network_sees_does_not_depend_on_the_noise_s_unit(pair: tuple[Tensor, Tensor, Tensor]) -> None:
    observed = estimate(pair[0], pair[1])
    brighter = Observation(observed.equations, observed.motion, observed.stiffness, 9 * observed.noise)
    extent, grey = motion_extent(observed), brightness(pair[0])
    both = zip(features(observed, grey, extent), features(brighter, grey, extent), strict=True)
    assert all(torch.allclose(one, other, atol=1e-4) for one, other in both)


def test_motion_is_corrected_in_proportion_to_its_size(pair: tuple[Tensor, Tensor, Tensor]) -> None:
    network = Refinement()
    torch.nn.init.normal_(network.last.weight, std=0.1)
    observed, grey = estimate(pair[0], pair[1]), brightness(pair[0])
    # Twice the motion, measured with half the precision: the same picture in another unit of length.
    precision = torch.tensor([0.25, 0.25, 0.25, 0.5, 0.5]).view(1, 5, 1, 1)
    twice = Observation(precision * observed.equations, 2 * observed.motion, 0.25 * observed.stiffness, observed.noise)
    once, doubled = (network.estimate(each, grey, state_of(pair)).refined.motion for each in (observed, twice))
    assert torch.allclose(2 * once, doubled, atol=1e-4)


def test_gradients_flow_through_the_small_pieces() -> None:
    torch.manual_seed(0)
    field = torch.rand(1, 2, 8, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(binomial, field)
    assert torch.autograd.gradcheck(lambda x: box(x, 3), field)
    tensor = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    right = torch.rand(1, 2, 8, 8, dtype=torch.float64, requires_grad=True)
    stiffness = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    data = torch.cat([tensor[:, :1] + 1, 0.2 * tensor[:, 1:2], tensor[:, 2:] + 1], 1)
    assert torch.autograd.gradcheck(lambda h: smooth_solve(torch.cat([data, h], 1), stiffness, 2).motion, right)


def test_the_smooth_solve_returns_what_all_equations_agree_on() -> None:
    motion = torch.tensor([0.7, -0.4]).view(1, 2, 1, 1).expand(1, 2, 16, 20)
    seen = (torch.rand(1, 1, 16, 20, generator=torch.Generator().manual_seed(0)) > 0.9).float()
    equations = 100 * torch.cat([seen, 0 * seen, seen, seen * motion], 1)
    found = smooth_solve(equations, torch.ones(1, 1, 16, 20), relaxations=60)
    assert torch.allclose(found.motion, motion, atol=0.05)
    assert found.converged and found.iterations == (3 + 2) * 60, "three times as many on the coarsest of three scales"


def test_a_smooth_solve_that_has_not_converged_says_so() -> None:
    rough = torch.randn(1, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    weak = torch.full((1, 1, 16, 16), 0.01)  # against a stiffness of 1, so that one sweep is not enough
    once, often = (
        smooth_solve(torch.cat([weak, 0 * weak, weak, rough], 1), torch.ones(1, 1, 16, 16), relaxations)
        for relaxations in (1, 400)
    )
    assert not once.converged and often.converged
    assert float(once.residual) > 10 * float(often.residual)


def test_of_proposed_fields_there_is_as_much_as_fits_the_equations(pair: tuple[Tensor, Tensor, Tensor]) -> None:
    # A picture that moves as a whole is one of the affine fields, which the network has before any training.
    torch.manual_seed(0)
    seen = estimate(pair[0], pair[0])
    moved = torch.tensor([0.3, -0.2]).view(1, 2, 1, 1).expand_as(seen.motion)
    jxx, jxy, jyy = seen.equations[:, :3].split(1, 1)
    right = torch.cat([jxx * moved[:, :1] + jxy * moved[:, 1:], jxy * moved[:, :1] + jyy * moved[:, 1:]], 1)
    whole = Observation(torch.cat([seen.equations[:, :3], right], 1), seen.motion, seen.stiffness, seen.noise)
    explained = Refinement().estimate(whole, brightness(pair[0]), state_of(pair)).prior_mean
    assert torch.allclose(explained, moved, atol=0.03)


def test_a_field_that_is_never_there_leaves_the_motion_finite(pair: tuple[Tensor, Tensor, Tensor]) -> None:
    observed = Observation(*(resize(values, (96, 96)) for values in vars(estimate(pair[0], pair[1])).values()))
    network = Refinement()
    torch.nn.init.constant_(network.rarity.bias, 200.0)  # and so does the share that keeps out what isn't there
    with torch.no_grad():
        answer = network.estimate(observed, resize(brightness(pair[0]), (96, 96)), state_of(pair))
    assert torch.isfinite(answer.prior_mean).all() and float(answer.prior_mean.abs().max()) < 1e-3
    assert torch.isfinite(answer.refined.motion).all()


def test_of_fields_that_look_alike_the_one_that_is_there_gets_all() -> None:
    # Field 1 is there; field 0 looks much like it, field 2 a little; noise resembles 0 as well.
    fields = torch.tensor([[1.0, 0.1, 0.0, 0.05], [0.9, 0.4, 0.0, 0.0], [0.0, 0.2, 1.0, 0.0]])
    seen = fields[1] + torch.tensor([0.03, -0.02, 0.02, 0.03])
    normal, right = 100 * (fields @ fields.T)[None], 100 * (fields @ seen)[None, :, None]
    rarity, few = torch.full((1, 3), 0.01), torch.full((1, 3), 0.01)
    plain, sparse = (sparse_amounts(normal, right, rarity, share * few).amounts[0, :, 0] for share in (0.0, 1.0))
    assert (sparse - torch.tensor([0.0, 1.0, 0.0])).abs().max() < 0.5 * (plain - torch.tensor([0.0, 1, 0])).abs().max()
    assert float(sparse[1]) == pytest.approx(1.0, abs=0.05)


def test_the_amounts_settle_within_the_iterations_that_are_made() -> None:
    fields = torch.randn(12, 40, generator=torch.Generator().manual_seed(0))
    normal, right = (fields @ fields.T)[None], (fields @ fields[3])[None, :, None]
    rarity, few = torch.full((1, 12), 0.01), torch.full((1, 12), 0.01)
    found = sparse_amounts(normal, right, rarity, few)
    assert found.converged and found.iterations == IRLS_ITERATIONS and float(found.residual) < 1e-3
    once = sparse_amounts(normal, right, rarity, few, iterations=1)
    assert once.iterations == 1 and not once.converged
    assert float((once.amounts - found.amounts).norm()) > float(found.residual * found.amounts.norm())


@pytest.mark.parametrize(("precision", "followed"), [(1e4, "equations"), (1e-4, "fields")])
def test_what_is_clearly_seen_follows_the_equations_and_the_rest_the_fields(precision: float, followed: str) -> None:
    motions = {
        name: torch.tensor(motion).view(1, 2, 1, 1).expand(1, 2, 16, 16)
        for name, motion in {"equations": (0.5, 0.2), "fields": (-0.3, 0.1)}.items()
    }
    seen, none = torch.full((1, 1, 16, 16), precision), torch.zeros(1, 1, 16, 16)
    equations = torch.cat([seen, none, seen, precision * motions["equations"]], 1)
    observed = Observation(equations, motions["equations"], torch.ones(1, 1, 16, 16), torch.ones(1, 1, 16, 16))
    fused = fuse(observed, motions["fields"], torch.ones(1, 3, 16, 16), torch.full((1, 1, 1, 1), 0.5), 1.0)
    assert torch.allclose(fused, motions[followed], atol=0.01)


def test_the_loss_is_zero_for_the_truth_only(pair: tuple[Tensor, Tensor, Tensor]) -> None:
    truth = torch.nn.functional.avg_pool2d(pair[2], 2)
    certain = torch.ones(1, 1, 32, 32)
    right, short, none = (float(loss_of(factor * truth, truth, certain)) for factor in (1.0, 0.8, 0.0))
    assert right < 0.01 < short < none


def test_a_turning_head_does_not_hide_what_its_face_does(pair: tuple[Tensor, Tensor, Tensor]) -> None:
    local = torch.nn.functional.avg_pool2d(pair[2], 2)
    certain, turning = torch.ones(1, 1, 32, 32), local + torch.tensor([3.0, -1.0]).view(1, 2, 1, 1)
    assert float(loss_of(turning, turning, certain)) < 0.01
    missed = float(loss_of(turning - local, turning, certain))
    assert missed == pytest.approx(float(loss_of(0 * local, local, certain)), rel=0.05)


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


def test_a_pulled_scene_has_the_motion_of_both() -> None:
    rng = np.random.default_rng(2)
    clean = warped_pair(96, 1.0, 1.0, rng)
    scene = Scene(clean.reference, clean.frame, clean.flow, clean.known.float())
    for pulled in (scene.pulled(1.0, rng), scene.still().pulled(1.0, rng)):
        assert (pulled.flow - scene.flow).norm(dim=1).max() > 0.5
        inner = (..., slice(8, -8), slice(8, -8))
        assert (move(pulled.reference, pulled.flow) - pulled.frame)[inner].abs().mean() < 0.003


def test_detail_moves_along_with_the_skin() -> None:
    rng = np.random.default_rng(2)
    clean = warped_pair(96, 1.0, 1.0, rng)
    scene = Scene(0.5 + 0.2 * (clean.reference - 0.5), 0.5 + 0.2 * (clean.frame - 0.5), clean.flow, clean.known.float())
    detailed = scene.detailed(0.05, rng)
    assert detailed.reference.std() > 1.1 * scene.reference.std()
    inner = (..., slice(8, -8), slice(8, -8))
    assert (move(detailed.reference, scene.flow) - detailed.frame)[inner].abs().mean() < 0.003


def test_video_compression_keeps_the_picture_and_loses_detail() -> None:
    clean = warped_pair(64, 1.0, 1.0, np.random.default_rng(0))
    clips = {factor: h264([clean.reference, clean.frame], factor) for factor in (14, 28)}
    assert [image.shape for image in clips[14]] == [clean.frame.shape] * 2
    lost = {factor: float((clip[1] - clean.frame).abs().mean()) for factor, clip in clips.items()}
    assert lost[14] < lost[28] < 0.05


@pytest.mark.parametrize("generated", [False, True])
def test_a_film_is_an_8_bit_picture_of_the_scene(generated: bool) -> None:
    clean = warped_pair(64, 1.0, 1.0, np.random.default_rng(0))
    for seed in range(6):
        filmed = film(clean.reference, clean.frame, clean.flow, generated, EVERYTHING, np.random.default_rng(seed))
        for image in (filmed.reference, filmed.frame):
            assert image.shape == clean.frame.shape
            assert image.min() >= 0 and image.max() <= 1
            seen = torch.stack([image.flatten(), clean.reference.flatten()]).corrcoef()[0, 1]
            assert seen > 0.5


def test_the_painter_of_the_benchmark_begins_by_doing_nothing() -> None:
    clean = warped_pair(72, 1.0, 4.0, np.random.default_rng(0))
    painted = Painter().eval()(clean.reference, clean.frame, torch.tensor([4.0]))
    assert torch.equal(painted, clean.frame)
    static = loss_of_painting(painted, clean.frame, clean.magnified)
    assert loss_of_painting(clean.magnified, clean.frame, clean.magnified) == 0 < static < 1


def test_the_learning_rate_warms_up_and_comes_down() -> None:
    config = Config(steps=1000, warmup=100)
    rates = [learning_rate(step, config) for step in range(1000)]
    assert rates[0] < rates[50] < rates[99] == pytest.approx(config.learning_rate, rel=0.02)
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert rates[-1] == pytest.approx(config.smallest_rate, rel=0.1)


NAMES = ["browDownLeft", "browDownRight", *(f"unit{number}" for number in range(2, UNITS))]


def write_pairs(folder: Path, peaks: tuple[float, float]) -> None:
    """Write sixteen warped textures in the files that rendered faces come in."""
    rng = np.random.default_rng(1)
    folder.mkdir()
    (folder / "units.json").write_text(json.dumps(NAMES))
    for person in range(2):
        pairs = [warped_pair(64, float(rng.uniform(*peaks)), 1.0, rng) for _ in range(8)]
        np.savez(
            folder / f"{person:05d}.npz",
            reference=torch.cat([pair.reference for pair in pairs]).half().numpy(),
            frame=torch.cat([pair.frame for pair in pairs]).half().numpy(),
            flow=torch.cat([pair.flow for pair in pairs]).half().numpy(),
            known=torch.cat([pair.known for pair in pairs]).numpy(),
            eyes=np.tile(np.array([[22, 28], [42, 28]], np.float32), (8, 1, 1)),
        )
        units = rng.uniform(-1, 1, (8, UNITS, 2, 16, 16)).astype(np.float16)
        np.save(folder / f"{person:05d}-units.npy", units)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Textures that move a little, and what the solver saw of them."""
    write_pairs(tmp_path / "pairs", (0.5, 3))
    observe(tmp_path / "pairs", tmp_path / "magplus", ROLES["magplus"], range(2), takes=2, seed=0)
    return tmp_path


def test_films_come_back_as_the_solver_saw_them(data: Path) -> None:
    batch = Films(data / "magplus", data / "pairs", torch.device("cpu"), 2).batch(4, 24, np.random.default_rng(0))
    assert batch.observed.equations.shape == (4, 5, 24, 24)
    assert batch.observed.motion.shape == batch.truth.shape == (4, 2, 24, 24)
    assert batch.brightness.shape == batch.certain.shape == (4, 1, 24, 24)
    assert batch.units.shape == (4, UNITS, 2, 12, 12)
    assert (batch.observed.equations[:, :3:2] >= 0).all()
    assert (batch.observed.stiffness > 0).all() and (batch.observed.noise > 0).all()


def test_a_later_look_is_nearer_to_the_truth(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs", (7, 9))
    looks = {}
    for share in (0.0, 1.0):
        role = replace(ROLES["demagplus"], later_pass=share)
        observe(tmp_path / "pairs", tmp_path / f"{share}", role, range(2), takes=2, seed=0)
        # Of the two persons' first films, which are the same ones: motion, brightness, truth.
        first = torch.stack([torch.from_numpy(np.load(path)[0]).float() for path in films_in(tmp_path / f"{share}")])
        looks[share] = first[:, 5:7], first[:, 9], first[:, 10:12]
    (once, grey, truth), (again, same, _) = looks[0.0], looks[1.0]
    assert torch.equal(grey, same)
    assert float((again - truth).norm()) < 0.95 * float((once - truth).norm())


def test_what_is_left_out_of_a_training_set_is_not_in_it(data: Path) -> None:
    uncompressed = TrainingSet("magplus", data, without=("compression",))
    assert uncompressed.pairs == data / "pairs"  # what is left out of the films needs no other faces
    shares = EVERYTHING.without(uncompressed.without)
    observe(uncompressed.pairs, uncompressed.films, ROLES["magplus"], range(2), takes=2, seed=0, shares=shares)
    compressed = {
        folder: sum(np.load(states_file(folder, person))[:, -1].sum() for person in range(2))
        for folder in (data / "magplus", uncompressed.films)
    }
    assert compressed[data / "magplus"] > 0 == compressed[uncompressed.films]


def test_every_share_of_a_training_set_can_be_left_out() -> None:
    assert not any(asdict(EVERYTHING.without(RENDERED | FILMED)).values())


def films_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.npy") if path.stem.isdigit())


def test_a_mirrored_film_has_mirrored_motion_and_its_units_change_sides(data: Path) -> None:
    # Taken whole, a film differs between two draws only in being mirrored.
    drawn = [
        Films(data / "magplus", data / "pairs", torch.device("cpu"), 2).batch(1, 32, np.random.default_rng(seed))
        for seed in range(40)
    ]
    mirrored = [
        (one, other)
        for i, one in enumerate(drawn)
        for other in drawn[i + 1 :]
        if torch.equal(one.brightness, other.brightness.flip(3)) and not torch.equal(one.brightness, other.brightness)
    ]
    assert mirrored
    flip = torch.tensor([-1.0, 1.0]).view(2, 1, 1)
    for one, other in mirrored:
        assert torch.equal(one.truth, flip * other.truth.flip(3))
        assert torch.equal(one.observed.motion, flip * other.observed.motion.flip(3))
        assert torch.equal(one.units[:, :2], flip * other.units[:, [1, 0]].flip(4))


@pytest.mark.slow
def test_150_steps_lower_the_loss_and_a_stopped_run_goes_on(data: Path, tmp_path: Path) -> None:
    config = Config(crops=(32, 32), batch=8, steps=150, warmup=5, checkpoint_every=50, learning_rate=4e-3)
    batch = Films(data / "magplus", data / "pairs", torch.device("cpu"), 2).batch(32, 32, np.random.default_rng(7))
    train(TrainingSet("magplus", data), replace(config, steps=50), tmp_path / "run", None, torch.device("cpu"))
    weights = train(TrainingSet("magplus", data), config, tmp_path / "run", None, torch.device("cpu"))
    before = loss_of(batch.observed.motion, batch.truth, batch.certain).mean()
    with torch.no_grad():
        refined = Refinement.load(weights).estimate(batch.observed, batch.brightness, batch.state).refined
    after = loss_of(refined.motion, batch.truth, batch.certain).mean()
    assert after < 0.9 * before
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["step"] == 150


@pytest.mark.slow
def test_a_second_training_keeps_as_much_of_the_first_as_is_asked_for(data: Path, tmp_path: Path) -> None:
    config = Config(crops=(32, 32), batch=4, steps=6, warmup=2, learning_rate=4e-3)
    shown = TrainingSet("magplus", data)
    start = train(shown, config, tmp_path / "first", None, torch.device("cpu"))
    results = {
        keep: Refinement.load(train(shown, second, tmp_path / f"{keep}", start, torch.device("cpu")))
        for keep, second in ((keep, replace(config, seed=1, keep=keep)) for keep in (0.0, 0.5, 1.0))
    }
    new, both, old = (results[keep].fields[0].weight for keep in (0.0, 0.5, 1.0))
    assert torch.equal(old, Refinement.load(start).fields[0].weight) and not torch.equal(new, old)
    assert torch.allclose(both, 0.5 * (new + old), atol=1e-3)
