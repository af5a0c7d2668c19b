# SPDX-License-Identifier: GPL-3.0-or-later
"""What no control may show, whatever it would explain: motion where none was seen, or farther than was seen."""

from __future__ import annotations

import dataclasses
import doctest
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from magplus.backend_bridge.rig.basis import Control, RigBasis
from magplus.models.rig import support
from magplus.models.rig.head_motion import head_columns, orthonormal, robust_head, turning_error
from magplus.models.rig.measurement import UNCHANGED, Measurement, motion_of
from magplus.models.rig.sites import Sites
from magplus.models.rig.solver import RigSolution, solve
from magplus.models.rig.support import still_precision

SIDE, RATE = 24, 30
GRID = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), -1).reshape(-1, 2) * 4.0
CURVE = np.concatenate([np.zeros(4), [0.3, 0.7, 1.0, 0.7, 0.3], np.zeros(4)])
Effect = NDArray[np.float64]


def bump(random: np.random.Generator, low: float, high: float) -> Effect:
    """A soft push [S, 2] of up to 6 px, somewhere between two heights of the face, in some direction."""
    middle = [random.uniform(16, 80), random.uniform(low, high)]
    way = random.normal(size=2)
    size = np.exp(-((GRID - middle) ** 2).sum(1) / (2 * random.uniform(5, 12) ** 2))
    return 6 * size[:, None] * way / np.linalg.norm(way)


def rig(effects: list[Effect], hidden: Effect | None = None) -> RigBasis:
    """A rig with these keys; `hidden` [K] px is how far each moves a vertex that is out of sight."""
    count = len(effects)
    out = np.zeros((count, 1, 2)) if hidden is None else np.stack([hidden, 0 * hidden], 1)[:, None]
    return RigBasis(
        image_size=(96, 96),
        controls=tuple(Control(f"c{k}", "shape_key", "Head", f"c{k}", 0.0, 0.0, 1.0) for k in range(count)),
        positions=np.concatenate([GRID, [[48, 48]]]).astype(np.float32),
        depth=np.hypot(*(np.concatenate([GRID, [[48, 48]]]) - 48).T).astype(np.float32),
        visible=np.arange(len(GRID) + 1) < len(GRID),
        displacement=np.concatenate([np.stack(effects), out], 1).astype(np.float32),
        triangles=np.zeros((0, 3), np.int32),
    )


def solved(basis: RigBasis, motion: NDArray[np.float64], weight: float = 1 / 1024) -> RigSolution:
    """Solve from motion [N, S, 2]; places that move by less than 0.02 px at the apex are unchanged."""
    changed = np.linalg.norm(motion, axis=2).max(0) > 0.02
    precision = np.broadcast_to(400.0 * np.where(changed, 1.0, weight), motion.shape[:2])
    seen = motion * changed[:, None]
    parts = [precision, 0 * precision, precision, *(seen * precision[..., None]).transpose(2, 0, 1)]
    columns = basis.displacement[:, : len(GRID)].astype(np.float64)
    sites = Sites(GRID, basis.depth[:-1].astype(np.float64), columns, csr_matrix((len(GRID), 1)))
    equations = np.stack([*parts, 0 * precision + changed], -1)
    return solve(basis, sites, equations, np.arange(len(motion)) / RATE)


@given(seed=st.integers(0, 10_000), spill=st.floats(0, 0.2))
@settings(max_examples=25, deadline=None)
def test_no_control_shows_motion_where_none_was_seen(seed: int, spill: float) -> None:
    """Random rigs: what the upper face does is explained by nothing of the lower, whatever that spills upwards."""
    random = np.random.default_rng(seed)
    upper = [bump(random, 12, 30) for _ in range(4)]
    lower = [bump(random, 66, 84) + spill * bump(random, 12, 30) for _ in range(4)]
    driver = 0.2 * bump(random, 14, 28)
    found = solved(rig([*upper, *lower]), CURVE[:, None, None] * driver)
    still = np.linalg.norm(driver, axis=1) < 1e-3
    shown = np.abs(np.einsum("nk,ksc->nsc", found.curves.values[:, 4:], np.stack(lower))[:, still])
    assert shown.max() < 0.05 * np.linalg.norm(driver, axis=1).max()


@given(seed=st.integers(0, 10_000), hidden=st.floats(20, 400))
@settings(max_examples=20, deadline=None)
def test_a_control_whose_visible_effect_is_tiny_can_not_be_large(seed: int, hidden: float) -> None:
    random = np.random.default_rng(seed)
    seen = bump(random, 20, 70)
    driver = CURVE[:, None, None] * 0.2 * seen
    basis = rig([0.05 * seen, 0.7 * bump(random, 20, 70), bump(random, 20, 70)], np.array([hidden, 0.0, 0.0]))
    found = solved(basis, driver)
    farthest = np.linalg.norm(driver, axis=2).max()
    assert found.curves.values[:, 0].max() * hidden <= 1.05 * support.HEADROOM * farthest


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_what_is_true_is_supported(seed: int) -> None:
    random = np.random.default_rng(seed)
    effects = [bump(random, 14, 80) for _ in range(10)]
    true, amount = int(random.integers(10)), random.uniform(0.05, 0.3)
    found = solved(rig(effects), CURVE[:, None, None] * amount * effects[true])
    assert found.most[true] > 1.2 * amount


def test_a_key_that_moves_both_brows_may_show_one() -> None:
    one, other = (6 * np.exp(-((GRID - [x, 24]) ** 2).sum(1) / 200)[:, None] * [0, -1] for x in (24, 72))
    found = solved(rig([one + other]), CURVE[:, None, None] * 0.2 * one)
    assert found.most[0] > 0.15


@given(seed=st.integers(0, 10_000), share=st.floats(0, 0.25))
@settings(max_examples=20, deadline=None)
def test_an_expression_is_not_taken_for_the_head_s_motion(seed: int, share: float) -> None:
    random = np.random.default_rng(seed)
    columns = head_columns(GRID, np.hypot(*(GRID - 48).T)).astype(np.float32)
    head = np.zeros((3, len(columns)))
    head[1:, :6] = 0.3 * random.normal(size=6)
    motion = motion_of(head, columns).astype(np.float64)
    near = np.argsort(((GRID - random.uniform(10, 86, 2)) ** 2).sum(1))[: int(share * len(GRID))]
    motion[1:, :, near] += 0.8 * random.normal(size=(2, 1))
    precision = np.stack([np.full(motion.shape[::2], 400.0), np.zeros(motion.shape[::2])] * 2, 1)[:, [0, 1, 2]]
    seen = Measurement(GRID, np.zeros(len(GRID)), precision, 400 * motion)
    fit = robust_head(seen, columns)
    assert fit.converged
    left = motion_of(fit.values - head, columns)
    assert np.abs(left).max() < 0.08


@given(seed=st.integers(0, 2**31))
@settings(max_examples=5, deadline=None)
def test_an_error_that_follows_the_turning_is_no_motion_of_the_head(seed: int) -> None:
    random = np.random.default_rng(seed)
    columns = head_columns(GRID, np.hypot(*(GRID - 48).T))
    head = random.normal(size=(6, len(columns)))
    one = np.ones((6, len(GRID)))
    own = 0.2 * random.normal(size=(2, len(GRID)))  # what each place errs by, per px of roll
    error = head[:, 2, None, None] * own + motion_of(0.2 * head, columns)
    seen = Measurement(GRID, 0 * GRID[:, 0], 400 * np.stack([one, 0 * one, one], 1), 400 * error)
    found = turning_error(seen, one, head, np.ones(6), 0.3, orthonormal(columns))
    assert np.abs(np.einsum("njs,pjs->np", found, columns)).max() < 1e-6 * np.abs(found).sum()
    left = error - found - motion_of(0.2 * head, columns)
    assert np.square(left).sum() < 0.2 * np.square(head[:, 2, None, None] * own).sum()


def test_two_thousand_controls_that_look_alike_are_one_unknown_that_they_share() -> None:
    random = np.random.default_rng(0)
    one, other = bump(random, 20, 30), bump(random, 66, 80)
    effects = [one] * 2000 + [other]
    start = time.process_time()
    found = solved(rig(effects), CURVE[:, None, None] * 0.2 * one)
    assert time.process_time() - start < 5
    values = found.curves.values[6]
    assert values[:2000] == pytest.approx(np.full(2000, 0.2 / 2000), rel=0.05)
    assert values[2000] < 0.01


def test_controls_that_look_alike_but_have_other_ranges_keep_within_them() -> None:
    one = bump(np.random.default_rng(1), 20, 30)
    basis = rig([one, one])
    narrow = dataclasses.replace(basis.controls[0], high=0.05)
    basis = dataclasses.replace(basis, controls=(narrow, basis.controls[1]))
    values = solved(basis, CURVE[:, None, None] * 0.2 * one).curves.values[6]
    assert values[0] <= 0.05 + 1e-6
    assert values.sum() == pytest.approx(0.2, rel=0.05)


def test_what_is_still_by_rounding_is_still_and_what_an_encoder_left_out_is_not() -> None:
    position = np.stack(np.meshgrid(np.arange(40.0), np.arange(40.0)), -1).reshape(-1, 2)
    moves = position[:, 0] < 20

    def factors(codes: NDArray[np.float64], changed: NDArray[np.bool_]) -> NDArray[np.floating]:
        precision = (codes / 0.3) ** 2 * np.where(changed, 1.0, UNCHANGED)
        one = np.stack([precision, 0 * precision, precision])[None].astype(np.float32)
        pull = np.stack([precision * np.where(moves & changed, 0.5, 0.0), 0 * precision])[None].astype(np.float32)
        return still_precision(Measurement(position, np.zeros(len(moves)), one, pull, changed[None]))[0]

    codes = np.where(position[:, 1] % 2, 8.0, 0.5)  # per px: half a pixel changes the first by 4, the others by 1/4
    rounded = factors(codes, moves & (codes > 1))
    left_out = factors(np.full(len(moves), 8.0), moves & (position[:, 1] % 2 > 0))
    still = ~moves
    assert rounded[still].min() > 0.5 / UNCHANGED
    assert left_out[still].max() < 0.02 / UNCHANGED
    assert (rounded[moves & (codes > 1)] == 1).all()


def test_the_examples_in_the_text_are_true() -> None:
    assert doctest.testmod(support).failed == 0
