# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import lsq_linear

from magplus.models.rig.box_least_squares import solve_boxed


@given(seed=st.integers(0, 2**32 - 1), unknowns=st.integers(1, 12), count=st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_agrees_with_scipy_on_each_problem(seed: int, unknowns: int, count: int) -> None:
    random = np.random.default_rng(seed)
    matrices = random.normal(size=(count, unknowns + 3, unknowns))
    sides = random.normal(size=(count, unknowns + 3))
    low = random.uniform(-0.5, 0.2, unknowns)
    high = low + random.uniform(0.1, 0.6, unknowns)

    gram = matrices.transpose(0, 2, 1) @ matrices
    solved = solve_boxed(gram, np.einsum("nij,ni->nj", matrices, sides), low, high)

    assert solved.converged.all() and solved.rounds <= 4 * unknowns + 4
    for matrix, side, own in zip(matrices, sides, solved.values, strict=True):
        expected = lsq_linear(matrix, side, (low, high), method="bvls", tol=1e-14).x
        np.testing.assert_allclose(own, expected, atol=1e-6)


def test_an_unbounded_problem_is_plain_least_squares() -> None:
    gram = np.array([[[2.0, 0.5], [0.5, 1.0]]])
    target = np.array([[1.0, -3.0]])
    open_ended = np.full(2, np.inf)
    np.testing.assert_allclose(
        solve_boxed(gram, target, -open_ended, open_ended).values[0], np.linalg.solve(gram[0], target[0])
    )


def test_a_range_without_width_fixes_the_unknown() -> None:
    solved = solve_boxed(np.eye(2)[None], np.array([[5.0, 5.0]]), np.array([0.3, 0.0]), np.array([0.3, 9.0])).values
    np.testing.assert_allclose(solved, [[0.3, 5.0]])


@pytest.mark.parametrize("offset", [-1e-3, 1e-3, 1.0])
def test_a_good_or_bad_first_guess_changes_nothing(offset: float) -> None:
    random = np.random.default_rng(3)
    matrix = random.normal(size=(4, 20, 8))
    gram, target = matrix.transpose(0, 2, 1) @ matrix, random.normal(size=(4, 8)) * 9
    low, high = np.zeros(8), np.full(8, 0.4)
    plain = solve_boxed(gram, target, low, high).values
    np.testing.assert_allclose(
        solve_boxed(gram, target, low, high, np.clip(plain + offset, low, high)).values, plain, atol=1e-9
    )


def test_a_problem_that_is_cut_off_is_in_its_box_and_marked() -> None:
    random = np.random.default_rng(1)
    matrix = random.normal(size=(8, 42, 40))
    gram, target = matrix.transpose(0, 2, 1) @ matrix, random.normal(size=(8, 40)) * 9
    low, high = np.zeros(40), np.full(40, 0.4)
    cut, whole = solve_boxed(gram, target, low, high, max_rounds=1), solve_boxed(gram, target, low, high)
    assert cut.rounds == 1 and whole.rounds > 1 and whole.converged.all()
    assert ((cut.values >= low) & (cut.values <= high)).all()
    far = np.abs(cut.values - whole.values).max(1) > 1e-6
    assert far.any() and (~cut.converged)[far].all()


@pytest.mark.parametrize("unknowns", [60, 155])
def test_controls_that_look_nearly_alike_are_solved_too(unknowns: int) -> None:
    """Far more controls than can be told apart, as 150 on a small face: no bound is given up on."""
    random = np.random.default_rng(unknowns)
    apart = (np.linspace(0, 1, 40)[:, None] - random.uniform(0, 1, unknowns)) / 0.1
    columns = np.exp(-0.5 * apart**2) * random.uniform(0.5, 2, unknowns)
    moved = columns @ (random.uniform(0, 1, unknowns) * (random.uniform(size=unknowns) < 0.1))
    gram = columns.T @ columns + 1e-6 * np.eye(unknowns)
    target = columns.T @ (moved + 0.05 * random.normal(size=40))
    solved = solve_boxed(gram[None], target[None], np.zeros(unknowns), np.ones(unknowns))
    values, slope = solved.values[0], gram @ solved.values[0] - target
    assert solved.converged.all()
    np.testing.assert_allclose(slope[(values > 0) & (values < 1)], 0, atol=1e-8)
    assert (slope[values == 0] > -1e-8).all() and (slope[values == 1] < 1e-8).all()
