# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of the motion that was observed is an event."""

import json
from dataclasses import replace
from fractions import Fraction
from functools import partial
from types import MappingProxyType, SimpleNamespace

import numpy as np
import pytest
import torch

from magplus.backend_bridge.job.artefacts import OBSERVED
from magplus.backend_bridge.job.report import ReferenceReport
from magplus.backend_bridge.rig.basis import Control
from magplus.backend_bridge.rig.curves import ControlCurves
from magplus.backend_bridge.rig.events import MotionEvent
from magplus.backend_bridge.rig.footage import Compression
from magplus.backend_bridge.rig.regions import REGIONS
from magplus.models.face import COVER_SIDE, packed_cover, regions
from magplus.models.pipeline.neutral_reference import WHOLE_FACE
from magplus.models.pipeline.outputs.curves import Curves, shows_at
from magplus.models.pipeline.outputs.observed import PARALLAX, Observed

COUNT, APEX = 28, 12
EXPRESSION = 4e-3 * np.exp(-(((np.arange(COUNT) - APEX) / 3) ** 2))
CLOTH = 1.5e-2 * np.abs(np.sin(np.arange(COUNT) / 4))


def observed(
    tmp_path,
    parallax=0.0,
    present=(True,) * COUNT,
    before=MappingProxyType({}),
    unseen=MappingProxyType({}),
    covers=MappingProxyType({}),
    closed=0.0,
    whole=None,
    copied=0.0,
    missing=None,
    **motion,
):
    """What was left of a clip: motion [T] by region, as shares of the face's width, the head's parallax [T].

    present: which frames can be trusted. before: shares of regions that something moves before; unseen: that aren't
    seen. covers: of
    frames by number, where they don't show the face (`packed_cover`). closed: how far the eyes have closed, [T]. whole:
    the motion of the whole face [T], the largest region's by default. copied: by the codec, of the face; missing: for
    certain, the same by default.
    """
    parallax = np.broadcast_to(parallax, COUNT)
    for index in range(COUNT):
        by_region = {name: float(motion.get(name, np.zeros(COUNT))[index]) for name in REGIONS}
        peak = max(by_region.values()) if whole is None else float(whole[index])
        (tmp_path / str(index)).write_text(
            json.dumps(
                {
                    "peak": peak,
                    "certain": peak,
                    "regions": by_region,
                    "parallax": float(parallax[index]),
                    "before": {name: before.get(name, 0.0) for name in REGIONS},
                    "unseen": {name: unseen.get(name, 0.0) for name in REGIONS},
                    "cover": covers.get(index, ""),
                    "copied": float(np.broadcast_to(copied, COUNT)[index]),
                    "closed": [float(np.broadcast_to(closed, COUNT)[index])] * 2,
                    "missing": float(np.broadcast_to(copied if missing is None else missing, COUNT)[index]),
                }
            )
        )
    seconds = tuple(Fraction(index, 30) for index in range(COUNT))
    clip = SimpleNamespace(
        count=COUNT,
        outside=None,
        times=seconds,
        chosen=SimpleNamespace(index=0),
        copied_pixels=SimpleNamespace(block_edges=1.0),
        track=SimpleNamespace(seconds=seconds, present=present),
        shows_plainly=lambda index: False,
    )
    folder = SimpleNamespace(file_of=lambda kind, index: tmp_path / str(index) if kind is OBSERVED else None)
    masks = regions(np.random.default_rng(0).uniform(0, 8, (478, 3)).astype(np.float32), (8, 8))
    return Observed(folder, SimpleNamespace(clip=clip, mask=torch.ones(1, 1, 8, 8), regions=masks))


def unexplained(**of):
    return {**dict.fromkeys(REGIONS, 1.0), **of}


def test_a_scarf_that_moves_is_no_event_and_the_brows_are(tmp_path):
    seen = observed(tmp_path, brows=EXPRESSION, chin=CLOTH)
    assert seen.event.apex != pytest.approx(APEX / 30, abs=0.02)
    assert seen.explained_event(unexplained(brows=0.1)).apex == pytest.approx(APEX / 30)


def test_a_scarf_that_moves_before_a_still_face_is_no_event(tmp_path):
    assert observed(tmp_path, chin=CLOTH).explained_event(unexplained()) is None


def test_an_expression_that_controls_follow_is_the_event_as_it_was_found(tmp_path):
    seen = observed(tmp_path, mouth=EXPRESSION, brows=EXPRESSION / 4)
    assert seen.explained_event(unexplained(mouth=0.6)) == seen.event


def test_what_a_turning_head_leaves_is_no_event_and_an_expression_beside_it_is(tmp_path):
    """The estimate of a head's motion leaves up to as much of its parallax as `PARALLAX` allows."""
    turn = 0.02 * np.exp(-(((np.arange(COUNT) - 22) / 2) ** 2))
    left = PARALLAX[1] * np.maximum(turn - PARALLAX[0], 0)
    assert observed(tmp_path, turn, nose=left).event is None
    assert observed(tmp_path, turn, nose=left, brows=EXPRESSION).event.apex == pytest.approx(APEX / 30)


def test_what_untrusted_frames_hold_is_neither_rest_nor_an_apex(tmp_path):
    """A clip of which a stranger takes the last third: those frames repeat a large motion, and show no rest."""
    held = np.where(np.arange(COUNT) < 18, 3 * EXPRESSION, 3 * EXPRESSION[17])
    present = tuple(np.arange(COUNT) < 18)
    assert observed(tmp_path, present=present, brows=held).event.apex == pytest.approx(APEX / 30)


def test_an_expression_that_all_of_a_clip_shows_is_an_event(tmp_path):
    """Measured against its first frame: a part of a longer expression, as most parts of real recordings are."""
    away = np.r_[0, 4e-3, 7e-3, 9e-3 + 2e-3 * np.sin(np.pi * np.arange(COUNT - 3) / (COUNT - 3))]
    event = observed(tmp_path, mouth=away).event
    assert event is not None and event.apex == pytest.approx(15.5 / 30, abs=0.02)


@pytest.mark.parametrize(
    ("turning", "held"), [([2.5e-3, 5e-3, 5e-3, 2.5e-3], []), ([8e-3] * 4, [18] * 6)], ids=["slow", "fast"]
)
def test_frames_in_which_the_head_turns_away_fast_and_back_show_the_one_before(tmp_path, turning, held):
    """So do those from and to which it does: all of these are blurred. A slow turn is measured as it is."""
    turned = np.zeros(COUNT)
    turned[20:24] = turning
    seen = observed(tmp_path, parallax=turned, cheeks=0.8 * turned, brows=EXPRESSION)
    assert seen.held.tolist() == [*range(19), *(held or range(19, 25)), *range(25, COUNT)]
    assert seen.event.apex == pytest.approx(APEX / 30)


def test_motion_is_left_by_a_head_that_turns_far_enough_for_it(tmp_path):
    """The brows move by 0.45 % of the face's width: as much as a degree leaves, and no more than three tenths."""
    seen = observed(tmp_path, brows=EXPRESSION)
    turning = np.sin(np.linspace(0, np.pi, COUNT)) * EXPRESSION.max() / 0.3
    assert seen.left_by(1.1 * turning) and not seen.left_by(0.9 * turning)
    assert not observed(tmp_path, brows=EXPRESSION / 10).left_by(np.full(COUNT, 0.005)), "an error of the fit"
    assert not observed(tmp_path, brows=EXPRESSION, unseen={"chin": 1.0}).left_by(1.1 * turning)


def test_what_is_hardly_more_than_a_large_turn_leaves_may_all_be_left_by_it(tmp_path):
    """The head turns by 17 degrees, and what it leaves is an event in the frame in which it has hardly begun to."""
    turn = np.linspace(0, 0.03, COUNT) ** 2 / 0.03
    left = np.maximum(1.2 * turn, np.where(np.arange(COUNT) == 6, 4e-3, 0.0))
    assert observed(tmp_path, turn, cheeks=left).left_by(0.3 * turn / turn.max())
    assert not observed(tmp_path, turn, cheeks=left, mouth=6 * EXPRESSION).left_by(0.3 * turn / turn.max())


@pytest.mark.parametrize(
    ("shown", "hidden", "plain"), [(True, {}, True), (False, {}, False), (True, {"chin": 1.0}, False)]
)
def test_anybody_sees_what_the_mesh_shows_at_the_apex_too(tmp_path, shown, hidden, plain):
    seen = observed(tmp_path, mouth=10 * EXPRESSION, unseen=hidden)
    seen._clip.shows_plainly = lambda index: shown and index == APEX
    assert seen.plain(seen.event) is plain


def test_what_anybody_sees_in_most_of_a_clip_is_an_event_without_standing_out(tmp_path):
    """A mouth that is open and shuts as the clip ends: hardly a frame tells what rest is."""
    shuts = np.r_[0, np.tile([0.05, 0.04], COUNT // 2 - 2), 0.025, 0.002, 0.001]
    assert observed(tmp_path, mouth=shuts).event is None
    seen = observed(tmp_path, mouth=shuts)
    seen._clip.shows_plainly = lambda index: index == 1
    assert seen.event is not None and seen.event.offset == pytest.approx((COUNT - 2) / 30, abs=0.04)


@pytest.mark.parametrize("plain", [True, False])
def test_what_anybody_sees_is_an_event_whatever_the_rig_shows_of_it(plain):
    """A mouth that opens wide on a rig whose controls leave all of that motion unexplained."""
    jaw = Control("jawOpen", "property", "Rig", "", 0.0, 0.0, 1.0)
    curves = ControlCurves(("jawOpen",), np.arange(3.0), np.float32([[0.0], [0.2], [0.0]]), np.zeros(3), np.ones(1))
    residual = np.ones((3, 2), np.float32)
    solved = SimpleNamespace(curves=replace(curves, visibility=np.ones(WHOLE_FACE), region_residual=residual))
    job = SimpleNamespace(
        _observed=SimpleNamespace(speckled=False, compression=Compression(0.0, 1.0), comes_once=lambda event: False),
        _reader=SimpleNamespace(basis=SimpleNamespace(controls=[jaw]), unmatched=lambda solved: solved),
        _notes=SimpleNamespace(warning=lambda sentence: None),
        _solved=lambda equations, moves, turns: solved,
        _explained=lambda event, solved: event,
    )
    job._follow = partial(Curves._follow, job)
    event = MotionEvent(0.5, 1.0, 1.5)
    found = Curves._solved_with(job, event, np.zeros((3, 4, 10)), turns=False, plain=plain)[1]
    assert found is (event if plain else None)


@pytest.mark.parametrize(("left", "follows"), [(0.3, True), (0.5, False)])
def test_the_event_of_a_head_that_turns_is_that_of_what_its_controls_show(left, follows):
    """What the turning leaves is the largest motion, and an event of its own, which controls follow roughly."""
    brow = Control("browDownLeft", "property", "Rig", "", 0.0, 0.0, 1.0)
    values, course = np.float32([[0.0], [0.2], [0.0]]), MotionEvent(0.5, 1.0, 1.5)
    curves = ControlCurves(("browDownLeft",), np.arange(3.0), values, np.zeros(3), np.ones(1))
    residual = np.float32([[1.0, 1.0], [1.0, left], [1.0, 0.9]])
    solved = SimpleNamespace(curves=replace(curves, visibility=np.ones(WHOLE_FACE), region_residual=residual))
    job = SimpleNamespace(
        _observed=SimpleNamespace(speckled=False, event_of=lambda course: course, compression=Compression(0.0, 1.0)),
        _reader=SimpleNamespace(
            basis=SimpleNamespace(controls=[brow]), unmatched=lambda solved: solved, shown=lambda moved: course
        ),
        _solved=lambda equations, moves, turns: solved,
        _moved=lambda solved: None,
        _timed=lambda solved, equations, event: None,
        _lasts=lambda event: True,
    )
    job._follow = partial(Curves._follow, job)
    found = Curves._solved_with(job, MotionEvent(0.0, 2.0, None), np.zeros((3, 4, 10)), turns=True, plain=False)[1]
    assert found is (course if follows else None)


def test_what_a_blurred_frame_of_a_fast_turn_shows_is_no_event(tmp_path):
    """The head is on its way in the first and the last of four frames, and its turning leaves more in them."""
    turned, left = np.zeros(COUNT), np.zeros(COUNT)
    turned[20:24], left[20:24] = [8e-3, 14e-3, 14e-3, 8e-3], [14e-3, 10e-3, 10e-3, 14e-3]
    assert observed(tmp_path, parallax=turned, mouth=left).event is None


def test_a_head_that_stays_turned_is_measured_as_it_is(tmp_path):
    turned = 8e-3 * (np.arange(COUNT) >= 20)
    assert observed(tmp_path, parallax=turned, cheeks=0.8 * turned).held.tolist() == list(range(COUNT))


def test_what_moves_before_a_region_is_no_event_in_the_frames_in_which_it_hardly_moves(tmp_path):
    seen = observed(tmp_path, before={"chin": 0.3}, chin=CLOTH / 3, brows=EXPRESSION)
    assert seen.event.apex == pytest.approx(APEX / 30)


def test_a_hand_that_passes_before_the_chin_is_no_event_and_the_brows_are(tmp_path):
    """Of its own motion more is seen than of the face's, before it is found there, too."""
    lower, step = np.arange(COVER_SIDE)[:, None] >= COVER_SIDE // 2, COVER_SIDE // 8
    covers = {18 + n: packed_cover(lower & (np.arange(COVER_SIDE) // step == n)) for n in range(8)}
    passes = np.where((np.arange(COUNT) > 16) & (np.arange(COUNT) < 27), 2e-2, 0.0)
    seen = observed(tmp_path, covers=covers, chin=passes, brows=EXPRESSION)
    halves = np.broadcast_to(lower, (COVER_SIDE, COVER_SIDE))
    seen._small_regions = {name: halves if name == "chin" else ~halves for name in REGIONS}
    assert seen.doubtful["chin"].tolist() == [16 < index < 27 for index in range(COUNT)]
    assert set(seen.doubtful) == {"chin"} and seen.unseen[0].region == "chin"
    assert seen.event.apex == pytest.approx(APEX / 30)


def test_a_region_of_which_one_side_is_out_of_sight_is_named(tmp_path):
    seen = observed(tmp_path, unseen={"mouth": 0.46, "chin": 0.3}, brows=EXPRESSION)
    assert [each.region for each in seen.unseen] == ["mouth"]


def test_drops_that_fall_before_all_of_a_face_leave_it_to_the_controls_when_it_moves(tmp_path):
    """Each hides a part in one frame alone, and moves it by more than the face does."""
    rng = np.random.default_rng(3)
    covers = {index: packed_cover(rng.random((COVER_SIDE, COVER_SIDE)) < 0.1) for index in range(1, COUNT)}
    missed = np.where(rng.random(COUNT) < 0.3, 2e-2, 0.0)
    seen = observed(tmp_path, covers=covers, brows=np.maximum(EXPRESSION, missed), cheeks=np.roll(missed, 3))
    assert seen.speckled and not seen.doubtful
    assert seen.timed_by(EXPRESSION).apex == pytest.approx(APEX / 30)
    assert seen.timed_by(np.zeros(COUNT)) is None


def test_a_blink_that_is_larger_than_the_expression_is_no_event(tmp_path):
    closed = np.where(np.isin(np.arange(COUNT), (20, 21, 22)), 0.9, 0.0)
    seen = observed(tmp_path, closed=closed, lids=0.03 * closed, nose=6e-3 * closed, brows=EXPRESSION)
    assert seen.event.apex == pytest.approx(APEX / 30)


def test_a_lid_that_still_moves_where_the_mesh_has_it_open_is_no_event(tmp_path):
    closed = np.where(np.isin(np.arange(COUNT), (20, 21, 22)), 0.9, 0.0)
    on_its_way = np.where(np.arange(COUNT) == 23, 0.016, 0.0)
    seen = observed(tmp_path, closed=closed, lids=0.03 * closed + on_its_way, brows=EXPRESSION)
    assert seen.event is not None and seen.event.apex == pytest.approx(float(np.argmax(EXPRESSION)) / 30)


def test_brows_that_move_once_behind_rims_which_no_control_follows_are_an_event(tmp_path):
    assert observed(tmp_path, brows=EXPRESSION).explained_event(unexplained()).apex == pytest.approx(APEX / 30)


def test_motion_while_all_controls_rest_is_no_event(tmp_path):
    """A glint, a hand that comes and goes, dust: a still face's, as far as a rig for all of it can tell."""
    assert observed(tmp_path, brows=EXPRESSION).explained_event(unexplained(brows=0.1), shows=False) is None


def test_an_expression_that_the_noise_of_the_face_drowns_is_found_in_its_region(tmp_path):
    noise = np.random.default_rng(2).normal(0, 1e-4, (2, COUNT))
    seen = observed(tmp_path, whole=1.2e-3 + noise[0], brows=5e-4 + noise[1] + EXPRESSION / 4)
    assert abs(seen.event.apex - APEX / 30) < 0.05
    assert observed(tmp_path, whole=1.2e-3 + noise[0], brows=5e-4 + noise[1]).event is None


def test_a_key_frame_of_a_strong_codec_is_no_event_and_the_brows_are(tmp_path):
    """It is coded anew, and differs from all others as if the face had moved."""
    key_frame = np.where(np.arange(COUNT) == 20, 8e-3, 0.0)
    assert observed(tmp_path, whole=key_frame, copied=0.8).event is None
    seen = observed(tmp_path, copied=0.8, cheeks=key_frame, brows=EXPRESSION)
    assert seen.event.apex == pytest.approx(APEX / 30, abs=0.04)


def test_what_leaps_in_one_frame_farther_than_skin_does_is_no_event_and_the_brows_are(tmp_path):
    """Dark glasses that come down and are taken for skin in between."""
    leap = np.where(np.arange(COUNT) == 20, 0.1, 0.0)
    assert observed(tmp_path, lids=leap).event is None
    assert observed(tmp_path, lids=leap, brows=EXPRESSION).event.apex == pytest.approx(APEX / 30)


def test_little_motion_of_a_face_that_is_partly_hidden_is_no_event(tmp_path):
    """What hides the mouth disturbs what is measured beside it by 0.1 px."""
    weak = EXPRESSION / 5
    assert observed(tmp_path, brows=weak).event is not None
    assert observed(tmp_path, brows=weak, unseen={"mouth": 0.9}).event is None
    assert observed(tmp_path, brows=2 * weak, unseen={"mouth": 0.9}).event is not None


def test_frames_that_a_codec_repeats_as_a_whole_do_not_hide_how_strong_it_is(tmp_path):
    """Nothing changes in them, so that nothing ends on the codec's grid."""
    told = np.where(np.arange(COUNT) % 4 == 1, 0.9, 0.0)
    assert observed(tmp_path, copied=told).compression.strong
    assert not observed(tmp_path, copied=np.where(np.arange(COUNT) == 1, 0.9, 0.0)).compression.strong


def test_an_expression_that_a_codec_copies_on_ends_when_the_controls_show_it_to_end(tmp_path):
    """Blocks that were coded at the apex and copied since show half of its motion until the end of the clip."""
    left = np.maximum(EXPRESSION, np.where(np.arange(COUNT) > APEX, 0.5 * EXPRESSION[APEX], 0.0))
    seen = observed(tmp_path, brows=left, copied=0.4)
    assert seen.event.offset is None
    timed = seen.timed_by(EXPRESSION)
    assert timed.apex == pytest.approx(APEX / 30) and timed.offset is not None


def test_without_a_codec_the_motion_that_is_seen_tells_when_an_expression_ends(tmp_path):
    assert observed(tmp_path, brows=EXPRESSION).timed_by(EXPRESSION) is None


def test_an_expression_is_timed_by_its_controls_where_something_else_moves_more_than_the_face(tmp_path):
    """Dust before the face in the second frame; no control shows anything there."""
    dust = np.where(np.isin(np.arange(COUNT), (1, 2, 3)), 2e-2, 0.0)
    seen, controls = observed(tmp_path, brows=EXPRESSION, cheeks=dust), EXPRESSION[:, None] * 20
    assert seen.event.apex == pytest.approx(2 / 30, abs=0.04)
    assert not shows_at(controls, np.arange(COUNT) / 30, seen.event.apex)
    assert seen.timed_by(EXPRESSION, anyway=True).apex == pytest.approx(APEX / 30)
    assert shows_at(controls, np.arange(COUNT) / 30, APEX / 30)


def test_a_still_face_shows_no_event_whatever_the_controls_show(tmp_path):
    assert observed(tmp_path, copied=0.4).timed_by(EXPRESSION) is None


def test_an_expression_that_noise_drowns_in_the_motion_is_an_event_where_the_controls_show_it_clearly(tmp_path):
    """Their course has hardly any of the noise; one in which a frame of noise stands out has a peak by itself."""
    rng = np.random.default_rng(2)
    seen = observed(tmp_path, **{name: 5e-3 + 5e-4 * rng.standard_normal(COUNT) for name in REGIONS})
    noise = 1e-4 * rng.standard_normal(COUNT)
    assert seen.event is None
    assert seen.shown_event(np.maximum(EXPRESSION + noise, 0)).apex == pytest.approx(APEX / 30, abs=0.04)
    assert seen.shown_event(np.maximum(np.where(np.arange(COUNT) == APEX, 9e-4, noise), 0)) is None


def test_what_controls_show_of_a_face_that_is_partly_hidden_is_no_event_by_itself(tmp_path):
    seen = observed(tmp_path, unseen={"brows": 0.6})
    assert seen.event is None and seen.shown_event(EXPRESSION) is None


@pytest.mark.parametrize("event", [None, MotionEvent(0.2, 0.4, 0.6)])
def test_no_other_state_of_rest_is_left_when_the_motion_that_led_there_is_no_event_or_ends(tmp_path, event):
    """What a codec copies stays, and cloth that moves before the face stays where it was moved to."""
    seen = observed(tmp_path, brows=np.where(np.arange(COUNT) > APEX, 4e-3, 2e-4))
    doubtful = ReferenceReport(0, 0.0, "automatic", "The face goes to another state.", seen.rested)
    assert seen.rested is not None
    assert not seen.concluded(doubtful, event).not_neutral and seen.concluded(doubtful, event).better is None
    assert seen.concluded(doubtful, MotionEvent(0.2, 0.4, None)) == doubtful


def test_a_doubt_that_the_face_itself_raised_about_the_reference_stays(tmp_path):
    seen = observed(tmp_path, brows=np.where(np.arange(COUNT) > APEX, 4e-3, 2e-4))
    doubtful = ReferenceReport(0, 0.0, "automatic", "The face shows an expression.", 0.1)
    assert seen.concluded(doubtful, None) == doubtful


def test_what_a_codec_copies_on_in_a_region_is_no_event(tmp_path):
    """Its blocks keep the noise of the frame that they were coded in, so that a still face's curve has steps."""
    steps = np.repeat([0.0, 4e-4, 3e-4, 7e-4, 4e-4, 3e-4, 3e-4], 4)
    noise = np.random.default_rng(0).normal(0, 1e-4, COUNT)
    assert observed(tmp_path, whole=1.2e-3 + noise, brows=steps, copied=0.0).event is not None
    assert observed(tmp_path, whole=1.2e-3 + noise, brows=steps, copied=0.2).event is None
    assert observed(tmp_path, brows=EXPRESSION, copied=0.2).event is not None


def test_the_peak_is_matched_where_copies_are_not_known_for_certain(tmp_path):
    """HEVC's: they count as rest, and the motion's peak is no larger for them."""
    assert observed(tmp_path, copied=0.6, missing=0.1).compression.strong
    assert not observed(tmp_path, copied=0.6, missing=0.1).sparse
    assert observed(tmp_path, copied=0.6).sparse


@pytest.mark.parametrize(("shown", "event"), [(0.02, "an event"), (0.005, None)])
def test_what_resting_controls_show_of_a_face_that_shows_no_event_is_noise(shown, event):
    """Between two blinks of a still face less than a hundredth of a control's range may stand out from nothing."""
    brow = Control("browDownLeft", "property", "Rig", "", 0.0, 0.0, 1.0)
    values = np.float32([[0.0], [shown], [0.0]])
    curves = ControlCurves(("browDownLeft",), np.arange(3.0), values, np.zeros(3), np.ones(1))
    solved = SimpleNamespace(curves=replace(curves, visibility=np.ones(WHOLE_FACE)))
    job = SimpleNamespace(
        _observed=SimpleNamespace(speckled=False, shown_event=lambda course: "an event"),
        _reader=SimpleNamespace(basis=SimpleNamespace(controls=[brow]), unmatched=lambda solved: solved),
        _solved=lambda equations, moves, turns: solved,
        _course=lambda solved, equations: np.zeros(3),
    )
    assert Curves._solved_with(job, None, np.zeros((3, 4, 10)), turns=False, plain=False)[1] == event


@pytest.mark.parametrize(
    ("left", "follows"),
    [
        ([[1.0, 1.0], [1.0, 1.0], [0.95, 0.2]], True),
        ([[1.0, 1.0], [0.9, 0.4], [1.0, 1.0]], True),  # where the brow shows most
        ([[0.1, 0.1], [0.8, 0.9], [0.9, 0.8]], False),  # elsewhere nothing moves
        ([[np.nan, np.nan]] * 3, True),  # no residuals are known
    ],
)
def test_motion_that_controls_follow_in_no_region_is_no_expression(left, follows):
    """A watermark that pulses over the mouth has a control's direction here and there, and no control's shape."""
    brow = Control("browDownLeft", "property", "Rig", "", 0.0, 0.0, 1.0)
    values = np.float32([[0.0], [0.06], [0.04]])
    curves = ControlCurves(("browDownLeft",), np.arange(3.0), values, np.zeros(3), np.ones(1))
    curves = replace(curves, regions=("brows", "mouth"), region_residual=np.float32(left))
    job = SimpleNamespace(_reader=SimpleNamespace(basis=SimpleNamespace(controls=[brow])))
    assert Curves._follow(job, SimpleNamespace(curves=curves), MotionEvent(1.5, 2.0, None)) is follows
