# SPDX-License-Identifier: GPL-3.0-or-later
"""Rigs whose shapes are not the driver's: what is chosen, how far it moves, and what can't be true of any rig."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from magplus.backend_bridge.rig.basis import Control, RigBasis
from magplus.models.rig.classified import Classified
from magplus.models.rig.homes import Homes
from magplus.models.rig.matching import as_measured, match
from magplus.models.rig.measurement import Measurement
from magplus.models.rig.misfit import hidden_by_noise, marginalised, misfit_variance
from magplus.models.rig.selection import Hypotheses, SelectionData, choose
from magplus.models.rig.sites import Sites
from magplus.models.rig.solver import RigSolution, solve

SIDE = 24
GRID = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), -1).reshape(-1, 2) * 4.0
CURVE = np.concatenate([np.zeros(4), [0.3, 0.7, 1.0, 0.7, 0.3], np.zeros(4)])


def push(x: float, y: float, direction: tuple[float, float], width: float = 12.0) -> NDArray[np.float64]:
    """A soft push [S, 2] of 6 px around a point of the face."""
    bump = np.exp(-((GRID - [x, y]) ** 2).sum(1) / (2 * width**2))
    return 6 * bump[:, None] * np.array(direction) / np.linalg.norm(direction)


def rig(**keys: NDArray[np.float64]) -> RigBasis:
    """A rig with these keys."""
    return RigBasis(
        image_size=(96, 96),
        controls=tuple(Control(name, "shape_key", "Head", name, 0.0, 0.0, 1.0) for name in keys),
        positions=GRID.astype(np.float32),
        depth=np.hypot(*(GRID - 48).T).astype(np.float32),
        visible=np.ones(len(GRID), bool),
        displacement=np.stack(list(keys.values())).astype(np.float32),
        triangles=np.zeros((0, 3), np.int32),
    )


def solved(
    basis: RigBasis,
    motion: NDArray[np.float64],
    changed: NDArray[np.bool_] | None = None,
    regions: dict[str, NDArray[np.floating]] | None = None,
    scores: dict[str, NDArray[np.float64]] | None = None,
) -> RigSolution:
    """Solve from motion [N, S, 2]; places that are not `changed` [S] are known a thousandth as surely."""
    here = np.ones(len(GRID), bool) if changed is None else changed
    weight = np.broadcast_to(400.0 * np.where(here, 1.0, 1 / 1024), motion.shape[:2])
    seen = np.stack(
        [weight, 0 * weight, weight, *(motion * weight[..., None]).transpose(2, 0, 1), 0 * weight + here], -1
    )
    columns = basis.displacement.astype(np.float64)
    sites = Sites(GRID, basis.depth.astype(np.float64), columns, csr_matrix((len(GRID), 1)))
    return solve(basis, sites, seen, np.arange(len(motion)) / 30, regions=regions, scores=scores)


def acted(key: NDArray[np.float64], amount: float = 0.2) -> NDArray[np.float64]:
    return amount * CURVE[:, None, None] * key


BROWS = push(30, 24, (0, -1)) + push(66, 24, (0, -1))


@given(angle=st.floats(-50, 50), narrower=st.floats(0.7, 1.4))
@settings(max_examples=12, deadline=None)
def test_a_key_that_fits_half_way_is_the_nearest_that_the_rig_can_do(angle: float, narrower: float) -> None:
    """As plain least squares have it: no share of it is starved."""
    way = (float(np.sin(np.deg2rad(angle))), -float(np.cos(np.deg2rad(angle))))
    key = push(30, 26, way, 12 * narrower) + push(66, 26, way, 12 * narrower)
    basis = rig(browInnerUp=key, jawOpen=push(48, 80, (0, 1)), mouthLeft=push(48, 68, (1, 0)))
    found = solved(basis, acted(BROWS)).curves.values
    nearest = 0.2 * (key * BROWS).sum() / (key**2).sum()
    assert found[6, 0] == pytest.approx(nearest, rel=0.25)
    assert found[:, 1:].max() < 0.02


@pytest.mark.parametrize("names", [("brow_raise_L", "brow_raise_R"), ("Brow.L: Up", "Brow.R: Up"), ("左眉", "右眉")])
def test_both_sides_are_one_hypothesis_whatever_they_are_called(names: tuple[str, str]) -> None:
    """Other keys have names that are known; a name that isn't stands for what those leave over."""
    keys = [push(30, 26, (0.6, -1), 10), push(66, 26, (-0.6, -1), 10)]
    others = {"jawOpen": push(48, 80, (0, 1)), "eyeBlinkLeft": push(66, 40, (0, 1), 4)}
    basis = rig(**dict(zip(names, keys, strict=True)), **others)
    found = solved(basis, acted(push(30, 26, (0, -1), 13) + 0.6 * push(66, 26, (0, -1), 13)))
    assert found.curves.values[6, 1] > 0.4 * found.curves.values[6, 0] > 0.02
    assert found.state.converged


def test_the_unit_that_explains_a_region_is_preferred_to_a_coalition_of_strangers() -> None:
    smile = push(30, 66, (-1, -1))
    bent = push(31, 68, (-1.2, -0.7), 13)
    strangers = {f"viseme_{n}": 0.5 * smile + push(30 + 5 * n, 66, (n, 1 - n), 14) for n in (-1, 0, 1)}
    found = solved(rig(mouthSmileRight=bent, **strangers), acted(smile)).curves.values[6]
    shown = found * [np.linalg.norm(bent), *(np.linalg.norm(each) for each in strangers.values())]
    assert shown[0] > 0.8 * shown.sum()


def test_one_side_of_the_upper_face_is_rarer_than_both_and_one_side_of_the_mouth_is_not() -> None:
    names = ("browDownLeft", "browDownRight", "noseSneerLeft", "noseSneerRight", "mouthSmileLeft", "mouthSmileRight")
    found = Hypotheses.named((*names, "eyeWide"), np.eye(7))
    assert [found.alone(each) for each in ([0], [0, 1], [0, 3], [0, 1, 3], [4], [6])] == [1, 0, 2, 1, 0, 0]
    without_the_other = Hypotheses.named(("browDownLeft", "mouthSmileLeft"), np.eye(2))
    assert without_the_other.alone([0]) == 0, "a rig that has one side alone has no choice"


@pytest.mark.parametrize(("wrinkled", "chosen"), [(0.0, 0), (1.0, 1)])
def test_a_lowered_brow_is_no_wrinkled_nose_as_long_as_the_nose_keeps_still(wrinkled: float, chosen: int) -> None:
    """Though the nose's key moves the brows more as this driver does than the brows' own."""
    regions = {"brows": (GRID[:, 1] < 40).astype(float), "nose": (GRID[:, 1] >= 48).astype(float)}
    brows, nose = push(48, 20, (0, 1), 10), push(48, 58, (0, -1), 6)
    key = push(49, 21, (0.32, 1), 11.5) + 0.4 * nose
    basis = rig(browDown=push(50, 21, (0.4, 1), 12), noseSneer=key, jawOpen=push(48, 84, (0, 1), 5))
    driver = acted(brows + wrinkled * nose)
    assert solved(basis, driver).curves.values[6].argmax() == 1
    found = solved(basis, driver, regions=regions).curves.values[6]
    assert found.argmax() == chosen and found[1 - chosen] < 0.02


def test_the_home_of_a_unit_is_compared_with_what_its_key_moves() -> None:
    regions = {
        "brows": (GRID[:, 1] < 40).astype(float),
        "mouth": (GRID[:, 1] > 60).astype(float),
        "chin": np.zeros(576),
    }
    columns = np.stack([BROWS, BROWS + push(48, 72, (0, 1)), push(48, 72, (0, 1)), BROWS]).swapaxes(1, 2)
    homes = Homes.of(("browDown", "AU4", "jawOpen", "strange"), np.eye(4), columns, regions)
    motion = (0.1 * BROWS + 0.4 * push(48, 72, (0, 1))).T[None]
    np.testing.assert_allclose(homes.shares(motion), [[1, 0.25, 1, 1]], atol=0.02)
    assert Homes.of(("browDown",), np.eye(1), columns[:1], {}).shares(motion).tolist() == [[1]]


@pytest.mark.parametrize("names", [("mouthLeft", "mouthRight"), ("Jaw_L", "Jaw_R")])
def test_opposite_ways_of_one_axis_are_no_pair(names: tuple[str, str]) -> None:
    left, right = push(48, 64, (-1, 0.5), width=14), push(48, 64, (1, 0.5), width=14)
    basis = rig(**{"jawOpen": push(48, 84, (0, 1), width=6)}, **dict(zip(names, (left, right), strict=True)))
    down = push(48, 64, (0, 1), width=14) + push(30, 30, (1, -1))
    found = solved(basis, acted(down)).curves.values[6, 1:]
    assert np.count_nonzero(found > 0.01) <= 1


def test_keys_that_were_merged_show_what_they_showed_apart() -> None:
    left, right = push(30, 24, (0, -1)), push(66, 24, (0, -1))
    apart = solved(rig(left=left, right=right), acted(left + right)).curves.values
    together = solved(rig(both=left + right), acted(left + right)).curves.values
    np.testing.assert_allclose(apart, np.repeat(together, 2, 1), atol=2e-3)


@pytest.mark.parametrize(("share", "chosen"), [(0.4, True), (0.2, False)])
def test_a_unit_that_shows_much_of_all_that_the_rig_could_is_in_play_however_little_that_is(
    share: float, chosen: bool
) -> None:
    """Landmarks miss a lid, a strip of a few pixels, so that its key explains less than a tenth of how it moves."""
    of_clip = 0.2  # of the energy, that all controls together explain
    target = np.sqrt(share * of_clip) * np.array([1.0, 0.0])
    found = choose(choice_between(("eyeWide", "jawOpen"), target, of_clip, alike=0.0))
    assert found.in_play.tolist() == [[chosen, False]] * 6


@pytest.mark.parametrize(("pressed", "chosen"), [(0.21, 1), (0.15, 0)])
def test_of_keys_that_hardly_fit_a_rare_unit_s_goes_before_a_frequent_one_s_if_it_alone_moves_as_the_driver_does(
    pressed: float, chosen: int
) -> None:
    """A shrugged lip is a unit of micro-expressions and a press is none; neither is likelier than none at all."""
    target = np.sqrt([0.13, pressed])
    found = choose(choice_between(("mouthShrugLower", "mouthPressLeft"), target, 0.3, float(target[0] / target[1])))
    assert found.in_play.tolist() == [[chosen == 0, chosen == 1]] * 6


@pytest.mark.parametrize(("score", "chosen"), [(0.0, 1), (0.1, 1), (0.7, 0)])
def test_of_keys_that_move_skin_alike_a_large_expression_is_the_one_that_its_classifier_sees(
    score: float, chosen: int
) -> None:
    """A score that rises as little as beside a micro-expression decides nothing."""
    names = ("mouthSmileLeft", "mouthDimpleLeft")
    data = choice_between(names, np.array([0.78, 0.85]), 0.95, alike=0.95, scores={"mouthSmileLeft": score})
    assert choose(data).in_play[:, chosen].all() and not choose(data).in_play[:, 1 - chosen].any()


def test_a_classifier_measures_the_controls_that_are_named_as_its_shapes() -> None:
    names = ("mouthSmileLeft", "MouthSmile", "mouthDimpleLeft", "strange", "eyeBlinkLeft", "jawOpen")
    scores = {
        "mouthSmileLeft": 0.4,
        "mouthSmileRight": 0.2,
        "mouthDimpleLeft": 0.1,
        "eyeBlinkLeft": 1.0,
        "jawOpen": -0.3,
    }
    rises = {name: np.array([0.0, score]) for name, score in scores.items()}
    found = Classified.of(rises, names, np.eye(6), np.array([1, 1, 1, 1, 1, 20.0]), 2)
    np.testing.assert_allclose(found.amounts[1], [0.4, 0.3, 0, 0, 0, 0])
    assert (found.precision > 0).tolist() == [True, True, True, False, False, True]
    assert found.precision[0] > found.precision[2] > 0
    assert found.precision[5] == pytest.approx(found.precision[0] / 400)
    assert found.clear and not Classified.of({}, names, np.eye(6), np.ones(6), 2).clear


@pytest.mark.parametrize(("amount", "believed"), [(0.03, False), (0.5, True)])
def test_scores_that_rise_while_the_skin_hardly_moves_are_not_believed(amount: float, believed: bool) -> None:
    """Of a face behind a hand the mesh makes up a part."""
    precision = np.tile([400.0, 0.0, 400.0], (13, len(GRID), 1)).swapaxes(1, 2)
    motion = acted(BROWS, amount).swapaxes(1, 2)
    seen = Measurement(GRID, np.zeros(len(GRID)), precision, 400 * motion)
    found = Classified.of({"jawOpen": CURVE}, ("jawOpen",), np.eye(1), np.ones(1), 13)
    assert found.clear and found.beside(motion, seen).clear == believed


def test_a_smile_that_other_keys_show_more_exactly_is_keyed_as_a_smile_if_the_classifier_sees_one() -> None:
    """As real ones are, which move the lips in other ways than the artist's key."""
    corner, lips = push(30, 66, (-1, -1)), push(44, 60, (0, -1))
    basis = rig(
        mouthSmileRight=push(31, 68, (-1.2, -0.5), 15),
        mouthDimpleRight=push(30, 66, (-1, -0.7), 12),
        mouthShrugUpper=push(44, 61, (0.2, -1), 13),
    )
    driver = acted(corner + 0.8 * lips, amount=0.5)
    rise = {"mouthSmileRight": 0.6 * np.abs(driver).max((1, 2)) / np.abs(driver).max()}
    without, found = (solved(basis, driver, scores=scores).curves.values[6] for scores in ({}, rise))
    assert without[1] > 0.4 > 0.01 > without[0]
    assert found[0] > 0.3 > 0.01 > found[1]


def choice_between(
    names: tuple[str, str],
    target: NDArray[np.float64],
    explainable: float,
    alike: float,
    scores: dict[str, float] | None = None,
) -> SelectionData:
    """Six frames of two controls that explain target ** 2 of the motion's energy each, and move `alike`."""
    frames, gram = np.ones(6), np.tile([[1.0, alike], [alike, 1.0]], (6, 1, 1))
    targets = np.tile(target, (6, 1))
    return SelectionData(
        gram,
        targets,
        low=np.zeros((6, 2)),
        high=np.ones((6, 2)),
        noise=np.zeros((6, 2)),
        misfit=(1 - explainable) * frames,
        unexplained=(1 - explainable) * frames,
        explainable=explainable * frames,
        measurements=20 * frames,
        active=np.zeros((6, 2), bool),
        window=np.full((6, 6), 1 / 6),
        hypotheses=Hypotheses.named(names, np.eye(2)),
        moving=(gram, targets),
        at_home=np.ones((6, 2)),
        classified=Classified.of(
            {name: np.full(6, score) for name, score in (scores or {}).items()}, names, np.eye(2), np.ones(2), 6
        ),
    )


@given(factor=st.floats(0.5, 4))
@settings(max_examples=6, deadline=None)
def test_a_driver_that_moves_farther_moves_the_keys_as_much_farther(factor: float) -> None:
    basis = rig(browInnerUp=push(32, 27, (0.3, -1), 14) + push(66, 24, (0, -1)), jawOpen=push(48, 80, (0, 1)))
    once = solved(basis, acted(BROWS, 0.1)).curves.values
    more = solved(basis, acted(BROWS, 0.1 * factor)).curves.values
    np.testing.assert_allclose(more, factor * once, atol=0.02 * factor * once.max())


def test_a_mouth_that_keeps_still_can_not_be_woken_by_what_its_key_spills_onto_the_lids() -> None:
    lids = push(30, 36, (0, -1), 5) + push(66, 36, (0, -1), 5)
    spilling = push(48, 72, (0, 1), 12) + 0.06 * lids
    changed = np.linalg.norm(lids, axis=1) > 0.3
    basis = rig(jawOpen=spilling, eyeWide=0.8 * push(31, 37, (0.6, -1), 6) + 0.8 * push(66, 37, (-0.6, -1), 6))
    found = solved(basis, acted(lids), changed)
    shown = np.linalg.norm(found.curves.values[6, 0] * spilling, axis=1).max()
    assert shown < 0.05 * np.linalg.norm(acted(lids)[6], axis=1).max()
    assert found.curves.values[6, 1] > 0.1


def test_the_solver_returns_its_state() -> None:
    state = solved(rig(browInnerUp=BROWS, jawOpen=push(48, 80, (0, 1))), acted(BROWS)).state
    assert state.converged
    assert state.iterations > 0
    assert state.explained == pytest.approx(1.0, abs=0.01)


@given(gain=st.floats(0.4, 1.0))
@settings(max_examples=10, deadline=None)
def test_matching_brings_the_shown_peak_to_the_driver_s(gain: float) -> None:
    columns = np.stack([BROWS, push(48, 80, (0, 1))]).swapaxes(1, 2)
    regions = {"brows": (GRID[:, 1] < 40).astype(float), "chin": (GRID[:, 1] > 64).astype(float)}
    asked = acted(BROWS).swapaxes(1, 2)
    excursions = np.stack([0.2 * gain * CURVE, 0 * CURVE], 1)
    found = match(excursions, columns, asked, regions)
    assert found.gains[0] == pytest.approx(1 / gain, rel=0.03)
    assert found.regions.keys() == {"brows"}
    assert found.regions["brows"].shown == pytest.approx(found.regions["brows"].asked, rel=0.03)
    as_it_was = match(excursions, columns, asked, regions, adjusted=False)
    assert as_it_was.gains.tolist() == [1, 1]
    assert as_it_was.regions["brows"].shown == pytest.approx(gain * as_it_was.regions["brows"].asked, rel=0.01)


@pytest.mark.parametrize(("angle", "most"), [(0, 6.0), (45, 3.0), (80, 1.0)])
def test_matching_blows_up_no_other_motion_than_the_one_asked_for(angle: float, most: float) -> None:
    turned = np.array([[math.cos(math.radians(angle)), -math.sin(math.radians(angle))],
                       [math.sin(math.radians(angle)), math.cos(math.radians(angle))]])  # fmt: skip
    columns = np.stack([BROWS @ turned.T]).swapaxes(1, 2)
    regions = {"brows": (GRID[:, 1] < 40).astype(float)}
    found = match(np.stack([0.03 * CURVE], 1), columns, acted(BROWS).swapaxes(1, 2), regions)
    assert found.gains[0] == pytest.approx(most, rel=0.03)


@pytest.mark.parametrize("width", [4.0, 8.0, 16.0])
def test_a_key_that_moves_far_more_of_the_face_than_the_driver_shows_as_much_motion_of_a_lid(width: float) -> None:
    """Least squares hold it back by all that keeps still around the lid; matching undoes that, and no more of it."""
    lid, key = push(30, 36, (0, -1), 4), push(30, 36, (0.3, -1), width)
    nearest = 0.2 * (key * lid).sum() / (key**2).sum()
    regions = {"lids": (np.abs(GRID[:, 1] - 36) < 8).astype(float), "chin": (GRID[:, 1] > 64).astype(float)}
    found = match(nearest * CURVE[:, None], key.T[None], acted(lid).swapaxes(1, 2), regions)
    assert found.regions["lids"].shown == pytest.approx(found.regions["lids"].asked, rel=0.05)


def test_the_edge_of_a_lid_is_asked_as_far_as_it_moves_though_all_around_it_keeps_still() -> None:
    """A smooth estimate mixes a strip as thin as that with the eye below it and the brow above."""
    lid = np.where((GRID[:, 1:] == 36) & (np.abs(GRID[:, :1] - 48) < 30), [0.0, -6.0], 0.0)
    basis = rig(eyeWide=push(30, 40, (0.8, -1), 10) + push(66, 40, (-0.8, -1), 10), jawOpen=push(48, 80, (0, 1)))
    regions = {"lids": (np.abs(GRID[:, 1] - 36) < 10).astype(float)}
    found = solved(basis, acted(lid, 0.07), regions=regions)
    asked = np.linalg.norm(found.motion[6], axis=0)[regions["lids"] > 0]
    assert np.sort(asked)[-7:].mean() == pytest.approx(0.42, rel=0.1)


def test_a_control_that_shows_the_shape_of_a_lid_is_one_for_it_however_little_was_solved() -> None:
    """Where a key moves far more of the face than a lid its prior holds it back, too."""
    lid, key = push(30, 36, (0, -1), 4), push(30, 36, (0, -1), 9)
    regions = {"lids": (np.abs(GRID[:, 1] - 36) < 8).astype(float)}
    found = match(0.012 * CURVE[:, None], key.T[None], acted(lid).swapaxes(1, 2), regions)
    assert found.regions["lids"].shown == pytest.approx(found.regions["lids"].asked, rel=0.05)


@given(size=st.floats(0.4, 1.9), seed=st.integers(0, 100))
@settings(max_examples=12, deadline=None)
def test_a_smooth_motion_gets_the_size_that_the_equations_say(size: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    true = acted(BROWS).swapaxes(1, 2)
    noisy = true + 0.03 * random.normal(size=true.shape)
    weight = np.full((len(true), len(GRID)), 400.0)
    seen = Measurement(GRID, np.zeros(len(GRID)), np.stack([weight, 0 * weight, weight], 1), 400 * noisy)
    brows = np.flatnonzero(GRID[:, 1] < 40)
    found = as_measured(size * true, seen, [brows])
    np.testing.assert_allclose(found[:, :, brows], true[:, :, brows], atol=0.03 * np.abs(true).max())


def test_the_less_the_home_of_a_unit_moves_the_less_likely_it_is() -> None:
    moved = {"brows": push(30, 20, (0, -1), 6), "lids": push(30, 36, (0, -1), 6)}
    regions = {"brows": (GRID[:, 1] < 28).astype(float), "lids": (np.abs(GRID[:, 1] - 36) < 8).astype(float)}
    basis = rig(browInnerUp=moved["brows"] + moved["lids"], eyeWide=0.6 * push(30, 36, (0.9, -1), 6))
    found = solved(basis, acted(moved["lids"] + 0.02 * moved["brows"]), regions=regions).curves.values[6]
    assert found[0] < 0.01 < found[1]


def test_where_noise_hides_the_shapes_nothing_is_concluded_from_what_keeps_still() -> None:
    lid, key = push(30, 36, (0, -1), 4), push(30, 36, (0, -1), 16)
    regions = {"lids": (np.abs(GRID[:, 1] - 36) < 8).astype(float)}
    found = match(0.01 * CURVE[:, None], key.T[None], acted(lid).swapaxes(1, 2), regions, noisy=True)
    assert found.gains.tolist() == [1]


def test_matching_keeps_pairs_together_and_controls_within_their_range() -> None:
    left, right = push(30, 24, (0, -1)), push(66, 24, (0, -1))
    columns = np.stack([left, right]).swapaxes(1, 2)
    regions = {"brows": (GRID[:, 1] < 40).astype(float)}
    excursions = 0.5 * np.stack([CURVE, CURVE], 1)
    asked = acted(left + right, 1.0).swapaxes(1, 2)
    found = match(excursions, columns, asked, regions, pairs=((0, 1),), most=np.array([0.6, 2.0]))
    assert found.gains[0] == found.gains[1]
    assert (excursions * match(excursions, columns, asked, regions, most=np.array([0.6, 2.0])).gains)[
        :, 0
    ].max() <= 0.6001


def test_a_still_face_is_not_matched() -> None:
    columns = BROWS.T[None]
    regions = {"brows": (GRID[:, 1] < 40).astype(float)}
    found = match(1e-4 * CURVE[:, None], columns, acted(BROWS, 3e-4).swapaxes(1, 2), regions, least=0.05)
    assert found.gains.tolist() == [1]
    assert not found.regions


@given(more=st.floats(1.0, 2.0), less=st.floats(0.5, 1.0))
@settings(max_examples=10, deadline=None)
def test_a_control_that_two_regions_ask_different_amounts_of_ends_between(more: float, less: float) -> None:
    chin = push(48, 72, (0, -1), width=9)
    columns = np.stack([push(48, 24, (0, -1), width=9) + chin]).swapaxes(1, 2)
    regions = {"brows": (GRID[:, 1] < 48).astype(float), "chin": (GRID[:, 1] >= 48).astype(float)}
    wanted = np.where(GRID[:, 1:] < 48, more, less) * columns[0].T
    found = match(0.2 * CURVE[:, None], columns, acted(wanted).swapaxes(1, 2), regions)
    assert found.gains[0] == pytest.approx(math.sqrt(more * less), rel=0.03), "half of its energy lies in each"


def test_a_region_that_the_rig_has_no_control_for_is_not_blown_up() -> None:
    columns = np.stack([0.02 * BROWS + push(48, 80, (0, 1))]).swapaxes(1, 2)
    regions = {"brows": (GRID[:, 1] < 40).astype(float)}
    found = match(0.1 * CURVE[:, None], columns, acted(BROWS).swapaxes(1, 2), regions)
    assert found.gains.tolist() == [1]
    assert found.regions["brows"].shown < 0.1 * found.regions["brows"].asked


@given(variance=st.floats(0, 10), seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_a_misfit_makes_no_place_surer_and_leaves_its_motion(variance: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    root = random.normal(size=(5, 2, 2))
    j = np.einsum("sij,skj->sik", root, root) + 0.1 * np.eye(2)
    motion = random.normal(size=(5, 2))
    h = np.einsum("sij,sj->si", j, motion)
    precision = np.stack([j[:, 0, 0], j[:, 0, 1], j[:, 1, 1]])[None]
    seen = Measurement(random.uniform(0, 9, (5, 2)), np.zeros(5), precision, h.T[None])
    soft = marginalised(seen, np.array([variance]))
    expected = np.linalg.inv(np.linalg.inv(j) + variance * np.eye(2))
    np.testing.assert_allclose(soft.precision[0].T, expected[:, [0, 0, 1], [0, 1, 1]], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(soft.pull[0].T, np.einsum("sij,sj->si", expected, motion), rtol=1e-3, atol=1e-4)


def test_the_misfit_s_variance_is_found() -> None:
    random = np.random.default_rng(1)
    amount = np.full((1, 3000), 50.0)
    motion = random.normal(size=(1, 2, 3000)) * 0.3 + random.normal(size=(1, 2, 3000)) / np.sqrt(50)
    seen = Measurement(
        random.uniform(0, 9, (3000, 2)), np.zeros(3000), np.stack([amount, 0 * amount, amount], 1), 50 * motion
    )
    variance = np.array([0.02])
    for _ in range(60):
        variance = misfit_variance(seen, variance, np.ones((1, 3000)))
    assert np.sqrt(variance[0]) == pytest.approx(0.3, rel=0.05)


def test_places_that_did_not_change_are_no_sample_of_the_errors() -> None:
    seen = Measurement(GRID, np.zeros(len(GRID)), np.ones((1, 3, len(GRID))), np.zeros((1, 2, len(GRID))))
    changed = np.zeros((1, len(GRID)), bool)
    assert seen.valid.all()
    assert not dataclasses.replace(seen, changed=changed).valid.any()


@pytest.mark.parametrize(("aside", "smiling"), [(0.4, 0.12), (0.7, 0.12)])
def test_a_faint_smile_is_keyed_beside_a_strong_frown_of_other_shape(aside: float, smiling: float) -> None:
    """What the brows miss is about as large as all that the mouth moves, but it isn't the mouth's."""
    frown = push(30, 24, (aside, 1)) + push(66, 24, (-aside, 1))
    smile = push(30, 66, (-1, -1)) + push(66, 66, (1, -1))
    keys = {
        "browDownLeft": push(67, 25, (0, 1), 14),
        "browDownRight": push(29, 25, (0, 1), 14),
        "mouthSmileLeft": push(65, 66, (0.6, -1), 13),
        "mouthSmileRight": push(31, 66, (-0.6, -1), 13),
        "jawOpen": push(48, 80, (0, 1)),
    }
    found = solved(rig(**keys), acted(frown, 0.5) + acted(smile, smiling)).curves.values[6]
    assert found[:2].min() > 0.25
    assert found[2:4].min() > 0.4 * smiling
    assert found[4] < 0.01


@pytest.mark.parametrize(("misfit", "noise", "expected"), [(0.2, 0.01, False), (0.05, 0.01, True), (0.0, 0.01, True)])
def test_a_misfit_is_told_from_noise_by_growing_with_the_motion(misfit: float, noise: float, expected: bool) -> None:
    """The misfit is that much of the shown energy, which is 0.1 px² at most; noise is in every frame."""
    shown, sway = 0.1 * CURVE**2, 0.3 * np.linspace(0, 1, len(CURVE))
    variance = noise + 0.02 * sway + misfit * shown
    assert hidden_by_noise(variance, shown, sway, np.ones(len(CURVE))) == expected
    assert not hidden_by_noise(variance, shown, sway, np.full(len(CURVE), 0.01)), "a rendered picture has no noise"
