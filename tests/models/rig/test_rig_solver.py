# SPDX-License-Identifier: GPL-3.0-or-later
"""The solver on bases whose truth is known: smooth bumps on a round face, as muscles are."""

import dataclasses

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from magplus.backend_bridge.files.errors import InputError
from magplus.backend_bridge.rig.basis import Control, RigBasis
from magplus.models.rig.evidence import variances
from magplus.models.rig.measurement import Measurement, Patches
from magplus.models.rig.sites import Sites
from magplus.models.rig.solver import RigSolution, solve

FPS = 60.0


def bump_face(controls: int, vertices: int = 2000, seed: int = 0, low: float = 0.0, high: float = 1.0) -> RigBasis:
    """A round face of 120 px radius; each control pushes one soft bump of it by 6 px at value 1."""
    random = np.random.default_rng(seed)
    disc = random.uniform(-1, 1, (3 * vertices, 2))
    disc = disc[(disc**2).sum(1) < 1][:vertices]
    centre, width = random.uniform(-0.7, 0.7, (controls, 1, 2)), random.uniform(0.1, 0.3, (controls, 1))
    direction = random.normal(size=(controls, 1, 2))
    direction /= np.linalg.norm(direction, axis=2, keepdims=True)
    bump = np.exp(-((disc - centre) ** 2).sum(2) / (2 * width**2))
    return RigBasis(
        image_size=(512, 512),
        controls=tuple(Control(f"c{k}", "shape_key", "Head", f"k{k}", 0.0, low, high) for k in range(controls)),
        positions=(120 * disc + 256).astype(np.float32),
        depth=(5 - np.sqrt(1 - 0.8 * (disc**2).sum(1))).astype(np.float32),
        visible=np.ones(len(disc), bool),
        displacement=(6 * bump[..., None] * direction).astype(np.float32),
        triangles=np.zeros((0, 3), np.int32),
    )


def pulse(frames: int, at: float, length: float) -> NDArray[np.float64]:
    """A raised cosine of height 1 around `at` seconds."""
    apart = np.arange(frames) / FPS - at
    return np.where(np.abs(apart) < length / 2, 0.5 * (1 + np.cos(2 * np.pi * apart / length)), 0.0)


def seen(basis: RigBasis, values: NDArray[np.float64]) -> NDArray[np.float64]:
    rest = np.array([control.rest for control in basis.controls])
    return np.einsum("nk,kvc->nvc", values - rest, basis.displacement)


def run(basis: RigBasis, motion: NDArray[np.float64], confidence: NDArray[np.float64] | None = None) -> RigSolution:
    """Solve from motion [N, V, 2] px that is measured at every vertex; those in one place count as one site does."""
    place = np.floor(basis.positions / 3.4).astype(int)
    _, place, members = np.unique(place, axis=0, return_inverse=True, return_counts=True)
    weight = np.tile(1 / members[place.ravel()], (len(motion), 1)) * (1 if confidence is None else confidence)
    equations = np.concatenate(
        [np.stack([weight, np.zeros_like(weight), weight], -1), motion * weight[..., None]], axis=2
    )
    return solved(basis, equations)


def solved(basis: RigBasis, equations: NDArray[np.float64]) -> RigSolution:
    """Solve from equations [N, V, 5] at every vertex."""
    cells = csr_matrix((len(basis.positions), 1))
    sites = Sites(*(each.astype(np.float64) for each in (basis.positions, basis.depth, basis.displacement)), cells)
    return solve(basis, sites, equations, np.arange(len(equations)) / FPS)


def cross_talk(found: NDArray[np.float32], truth: NDArray[np.float64]) -> float:
    """Share of all solved movement that belongs to controls at rest."""
    resting = np.abs(truth).max(0) == 0
    return float(np.abs(found[:, resting]).sum() / np.abs(found).sum())


@pytest.fixture
def smile() -> tuple[RigBasis, NDArray[np.float64]]:
    """52 controls, three of them in a one-second clip; the last for a single tenth of a second."""
    values = np.zeros((60, 52))
    values[:, 3], values[:, 7] = 0.2 * pulse(60, 0.4, 0.4), 0.12 * pulse(60, 0.45, 0.4)
    values[:, 20] = 0.1 * pulse(60, 0.7, 0.1)
    return bump_face(52), values


def test_a_control_that_bends_may_show_what_it_shows_at_the_end_of_its_range() -> None:
    basis = bump_face(6)
    bending = dataclasses.replace(basis.controls[2], response=((0.0, 0.0), (0.5, 0.8), (1.0, 2.0)))
    basis = dataclasses.replace(basis, controls=(*basis.controls[:2], bending, *basis.controls[3:]))
    amounts = np.zeros((60, 6))
    amounts[:, 2] = 1.6 * pulse(60, 0.5, 0.4)
    found = basis.posed(run(basis, seen(basis, amounts)).curves.values)
    assert found[:, 2].max() == pytest.approx(0.5 + 0.5 * 0.8 / 1.2, abs=0.01)
    amounts[:, 2] = 2.6 * pulse(60, 0.5, 0.4)
    assert basis.posed(run(basis, seen(basis, amounts)).curves.values)[:, 2].max() == pytest.approx(1.0)


def test_exact_motion_gives_exact_values(smile: tuple[RigBasis, NDArray[np.float64]]) -> None:
    basis, values = smile
    found = run(basis, seen(basis, values)).curves
    np.testing.assert_allclose(found.values, values, atol=1e-4)
    assert found.residual.max() < 1e-6


@given(seed=st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_any_sparse_mixture_is_recovered(seed: int) -> None:
    """Where controls undo each other more than the hard bounds allow for, one mixture in some 200, it can't be."""
    random = np.random.default_rng(seed)
    basis = bump_face(30, vertices=800, seed=seed)
    values = random.uniform(0, 0.3, (12, 30)) * (random.random(30) < 0.2)
    solution = run(basis, seen(basis, values))
    assume((values.max(0) <= solution.most).all())
    np.testing.assert_allclose(solution.curves.values, values, atol=5e-3)


def test_noise_costs_little_and_does_not_wake_other_controls(smile: tuple[RigBasis, NDArray[np.float64]]) -> None:
    basis, values = smile
    noise = 0.1 * np.random.default_rng(1).normal(size=seen(basis, values).shape)  # against 1.2 px at the apex
    found = run(basis, seen(basis, values) + noise).curves.values
    for active in (3, 7, 20):
        assert np.corrcoef(found[:, active], values[:, active])[0, 1] > 0.98
        assert found[:, active].max() == pytest.approx(values[:, active].max(), rel=0.1)
    assert cross_talk(found, values) < 0.02


def test_an_apex_of_a_single_frame_stays(smile: tuple[RigBasis, NDArray[np.float64]]) -> None:
    basis, values = smile
    values = np.zeros_like(values)
    values[30, 5] = 0.3
    noise = 0.05 * np.random.default_rng(2).normal(size=seen(basis, values).shape)
    found = run(basis, seen(basis, values) + noise).curves.values
    assert found[30, 5] == pytest.approx(0.3, rel=0.05)
    assert np.abs(np.delete(found[:, 5], 30)).max() < 0.03


def test_a_hand_before_the_face_is_overruled(smile: tuple[RigBasis, NDArray[np.float64]]) -> None:
    basis, values = smile
    motion = seen(basis, values)
    hand = (np.abs(basis.positions - [200, 330]) < 40).all(1)
    assert hand.mean() > 0.08
    motion[20:40, hand] += [3.0, -1.5]
    found = run(basis, motion).curves.values
    visible_controls = [k for k in range(52) if np.abs(basis.displacement[k, hand]).max() < 0.5]
    tenth_of_apex = 0.1 * values.max()
    np.testing.assert_allclose(found[:, visible_controls], values[:, visible_controls], atol=tenth_of_apex)


def test_missing_regions_are_not_read(smile: tuple[RigBasis, NDArray[np.float64]]) -> None:
    basis, values = smile
    motion, confidence = seen(basis, values), np.ones((60, len(basis.positions)))
    hidden = basis.positions[:, 0] < 200
    motion[:, hidden], confidence[:, hidden] = np.nan, 0.0
    found = run(basis, motion, confidence)
    in_sight = [k for k in range(52) if np.abs(basis.displacement[k, ~hidden]).max() > 2]
    np.testing.assert_allclose(found.curves.values[:, in_sight], values[:, in_sight], atol=1e-3)
    assert np.isfinite(found.curves.values).all()


def test_confidence_between_zero_and_one_does_not_bend_exact_motion(
    smile: tuple[RigBasis, NDArray[np.float64]],
) -> None:
    basis, values = smile
    confidence = np.random.default_rng(4).uniform(0.1, 1, (60, len(basis.positions)))
    np.testing.assert_allclose(run(basis, seen(basis, values), confidence).curves.values, values, atol=1e-3)


def test_one_sided_expressions_stay_on_their_side() -> None:
    half = bump_face(20, vertices=1000, seed=5)
    x = half.positions - 256
    left = dataclasses.replace(
        half,
        positions=256 + np.concatenate([x, x * [-1, 1]]).astype(np.float32),
        depth=np.tile(half.depth, 2),
        visible=np.tile(half.visible, 2),
        displacement=np.concatenate([half.displacement, 0 * half.displacement], 1),
    )
    right = left.displacement[:, np.roll(np.arange(2000), 1000)] * np.array([-1, 1], np.float32)
    basis = dataclasses.replace(
        left, controls=left.controls * 2, displacement=np.concatenate([left.displacement, right])
    )
    values = np.zeros((30, 40))
    values[:, 2], values[:, 22] = 0.3 * pulse(30, 0.25, 0.3), 0.1 * pulse(30, 0.25, 0.3)
    noise = 0.05 * np.random.default_rng(5).normal(size=(30, len(left.positions), 2))
    found = run(basis, seen(basis, values) + noise).curves.values
    assert found[:, 2].max() / found[:, 22].max() == pytest.approx(3.0, rel=0.15)


def test_head_motion_is_separated_from_the_face(smile: tuple[RigBasis, NDArray[np.float64]]) -> None:
    basis, values = smile
    centred = basis.positions - basis.positions.mean(0)
    depth = (basis.depth - basis.depth.mean())[:, None] * [1.0, 0.0]
    sway = np.sin(np.arange(60) / 9)[:, None, None]
    head = sway * (np.array([0.8, -0.3]) + 0.004 * centred + 0.005 * centred[:, ::-1] * [-1, 1] + 1.5 * depth)
    found = run(basis, seen(basis, values) + head)
    np.testing.assert_allclose(found.curves.values, values, atol=0.025 * values.max())
    assert np.abs(found.head_motion).max() > 0.5


def test_ranges_with_negative_values_and_a_rest_off_zero() -> None:
    basis = bump_face(12, low=-1.0, high=1.0)
    basis = dataclasses.replace(basis, controls=tuple(dataclasses.replace(c, rest=0.25) for c in basis.controls))
    values = np.full((30, 12), 0.25)
    values[:, 4] -= 0.6 * pulse(30, 0.25, 0.4)
    values[:, 9] += 0.2 * pulse(30, 0.25, 0.4)
    np.testing.assert_allclose(run(basis, seen(basis, values)).curves.values, values, atol=1e-3)


def test_values_never_leave_their_range() -> None:
    basis = bump_face(12, low=0.0, high=0.4)
    found = run(basis, -seen(basis, np.full((20, 12), 0.9)) * np.linspace(-1, 1, 20)[:, None, None]).curves.values
    assert found.min() >= 0.0
    assert found.max() <= np.float32(0.4)


def test_controls_that_look_the_same_share_the_motion() -> None:
    basis = bump_face(10)
    twin = dataclasses.replace(
        basis,
        controls=(*basis.controls, dataclasses.replace(basis.controls[4], name="twin")),
        displacement=np.concatenate([basis.displacement, basis.displacement[4:5]]),
    )
    values = np.zeros((30, 10))
    values[:, 4] = 0.3 * pulse(30, 0.25, 0.4)
    found = run(twin, seen(basis, values)).curves.values
    np.testing.assert_allclose(found[:, 4], found[:, 10], atol=1e-4)
    np.testing.assert_allclose(found[:, 4] + found[:, 10], values[:, 4], atol=1e-3)


def test_a_control_out_of_sight_rests_and_is_reported(smile: tuple[RigBasis, NDArray[np.float64]]) -> None:
    basis, values = smile
    displacement = basis.displacement.copy()
    displacement[11] = 0.0  # a tongue behind closed lips
    displacement[12] *= 1e-3
    noise = 0.1 * np.random.default_rng(6).normal(size=seen(basis, values).shape)
    found = run(dataclasses.replace(basis, displacement=displacement), seen(basis, values) + noise).curves
    assert found.visibility[11] == 0.0
    assert found.visibility[12] == 0.0
    assert not found.values[:, 11:13].any()
    assert found.visibility.max() == 1.0
    assert found.visibility[3] > 0.05


def test_a_rig_that_shows_nothing_rests() -> None:
    """All of it is behind the head, say, or its modifier is switched off."""
    basis = bump_face(3)
    motion = seen(basis, np.outer(pulse(20, 0.15, 0.2), [0.2, 0.1, 0.0]))
    still = dataclasses.replace(basis, displacement=np.zeros_like(basis.displacement))
    found = run(still, motion)
    assert not found.curves.values.any()
    assert not found.curves.visibility.any()
    assert found.curves.residual.max() > 0.99


def test_a_single_control() -> None:
    basis = bump_face(1)
    values = 0.3 * pulse(30, 0.25, 0.4)[:, None]
    np.testing.assert_allclose(run(basis, seen(basis, values)).curves.values, values, atol=1e-4)


def test_a_still_face_gives_the_rest_pose() -> None:
    basis = bump_face(8)
    found = run(basis, np.zeros((5, len(basis.positions), 2))).curves
    assert not found.values.any()
    assert not found.residual.any()


def test_variances_are_those_of_the_inverses_and_no_control_at_all_says_nothing(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """LAPACK prints its complaints to standard output, which the worker's messages take."""
    root = np.random.default_rng(0).normal(size=(4, 6, 6))
    precision = root @ root.transpose(0, 2, 1) + np.eye(6)
    np.testing.assert_allclose(variances(precision), np.linalg.inv(precision).diagonal(axis1=1, axis2=2))
    assert variances(precision[:, :0, :0]).shape == (4, 0)
    assert capfd.readouterr() == ("", "")


def test_a_single_frame_is_enough() -> None:
    basis = bump_face(8)
    values = np.zeros((1, 8))
    values[0, 2] = 0.2
    np.testing.assert_allclose(run(basis, seen(basis, values)).curves.values, values, atol=1e-4)


def test_a_rig_without_controls_is_a_sentence() -> None:
    basis = bump_face(0)
    with pytest.raises(InputError, match="no controls"):
        run(basis, np.zeros((3, len(basis.positions), 2)))


def test_a_frame_without_any_sight_rests() -> None:
    basis = bump_face(8)
    values = np.full((10, 8), 0.1)
    confidence = np.ones((10, len(basis.positions)))
    confidence[4] = 0.0
    found = run(basis, seen(basis, values), confidence).curves.values
    assert not found[4].any()
    np.testing.assert_allclose(np.delete(found, 4, 0), 0.1, atol=2e-3)


def test_the_residual_names_the_region_that_no_control_explains(smile: tuple[RigBasis, NDArray[np.float64]]) -> None:
    basis, values = smile
    motion = seen(basis, values)
    corner = np.exp(-((basis.positions - [256, 340]) ** 2).sum(1) / 400)
    motion[30] += 2.0 * corner[:, None] * [np.cos(0.3), np.sin(0.3)] * np.sin(basis.positions[:, :1] / 3)
    found = run(basis, motion)
    near = np.exp(-((found.positions - [256, 340]) ** 2).sum(1) / 400)
    assert found.residual_in(near)[30] > 0.8
    assert found.residual_in((found.positions[:, 1] < 200).astype(float))[30] < 0.1


@given(seed=st.integers(0, 10_000), information=st.floats(-14, 0), size=st.floats(-6, 2))
@settings(max_examples=40, deadline=None)
def test_motion_of_which_hardly_anything_is_known_leaves_numbers(seed: int, information: float, size: float) -> None:
    """As where nearly all of a face is hidden; along edges it is known in one direction only."""
    random = np.random.default_rng(seed)
    basis, shape = bump_face(6, vertices=300, seed=seed), (5, 300)
    known = 10 ** (information + random.uniform(-6, 0, shape)) * (random.random(shape) < 0.7)
    across = np.array([np.cos(angle := random.uniform(0, np.pi, shape)), np.sin(angle)])
    xx, yy, xy = known * across[0] ** 2, known * across[1] ** 2, known * across[0] * across[1]
    x, y = 10**size * random.normal(size=(2, *shape))
    found = solved(basis, np.stack([xx, xy, yy, xx * x + xy * y, xy * x + yy * y], -1))
    assert np.isfinite(found.curves.values).all() and np.isfinite(found.motion).all()
    assert found.curves.values.min() >= -1e-6 and found.curves.values.max() <= 1 + 1e-6


@pytest.mark.slow
def test_many_controls() -> None:
    basis = bump_face(200, vertices=4000)
    values = np.zeros((60, 200))
    values[:, [10, 60, 150]] = 0.2 * pulse(60, 0.5, 0.4)[:, None]
    noise = 0.02 * np.random.default_rng(7).normal(size=seen(basis, values).shape)
    found = run(basis, seen(basis, values) + noise).curves.values
    for active in (10, 60, 150):
        assert found[:, active].max() == pytest.approx(0.2, rel=0.15)
    assert cross_talk(found, values) < 0.1


@pytest.mark.parametrize(("own", "shared", "expected"), [(1.0, 0.0, 0.0), (1.0, 1.0, 0.5), (0.0, 1.0, 1.0)])
def test_how_much_errors_persist_is_their_correlation(own: float, shared: float, expected: float) -> None:
    random = np.random.default_rng(8)
    position = random.uniform(0, 100, (2000, 2))
    precision = np.tile(np.array([2.0, 0.5, 1.0])[:, None], (40, 1, len(position)))
    pull = own * random.normal(size=(40, 2, len(position))) + shared * random.normal(size=(1, 2, len(position)))
    precision[::7, :, :300] = 0  # where nothing was seen, nothing can be said
    pull[::7, :, :300] = 0
    error = Measurement(position, np.zeros(len(position)), precision, pull)
    errors = Patches(position, 10.0).errors(error, np.ones((40, len(position))))
    assert errors.persistence() == pytest.approx(expected, abs=0.1)
