# SPDX-License-Identifier: GPL-3.0-or-later
"""What is made of the equations that were read off a clip, on a rig that has few controls."""

from inspect import signature
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from magplus.backend_bridge.job.spec import Match
from magplus.backend_bridge.rig.basis import Control
from magplus.backend_bridge.rig.curves import ControlCurves
from magplus.benchmarks._readings import Reading, _AllIsRead, _Recording
from magplus.models.pipeline.closing_lids import with_lids
from magplus.models.pipeline.outputs.curves import out_of_sight
from magplus.models.pipeline.rig_reader import ClipEquations, RigReader, better, constraints_of
from magplus.models.rig.solver import RigSolution, SolverState
from tests.models.pipeline.drawn_face import GRID, PRECISION, Reader, read, reader_of

CURVE = np.array([0, 0, 0, 0.3, 0.7, 1.0, 0.7, 0.3, 0, 0, 0])
OPEN = np.zeros((len(CURVE), 2))  # eyes


def bump(x: float, y: float, width: float) -> NDArray[np.float64]:
    return np.exp(-((GRID - [x, y]) ** 2).sum(1, keepdims=True) / (2 * width**2))


def clip_of(equations: NDArray[np.float64], **known: bool) -> ClipEquations:
    return ClipEquations(equations, list(np.arange(len(CURVE)) / 24), OPEN, **known)


def drawn_face(*names: str, matching: Match = "shape") -> Reader:
    """A face whose only controls lower its left and its right brow, drawn as thin as brows are."""
    keys = np.stack([bump(x, 24, 5) * [0, 6] for x in (66, 30)])
    return reader_of(keys, names, "Brows", {"brows": (GRID[:, 1] < 40) * 1.0}, matching)


@pytest.mark.parametrize("roll", [0.0, 0.01])
def test_what_a_rig_has_no_control_for_is_not_taken_for_the_heads_motion(roll: float) -> None:
    reader = drawn_face("browDownLeft", "browDownRight")
    brows = 0.2 * (bump(66, 24, 14) + bump(30, 24, 14)) * [0, 6]
    jaw = 1.5 * np.clip((GRID[:, 1:] - 40) / 40, 0, 1) * [0, 1]
    turn = roll * (GRID - 48) @ [[0, 1], [-1, 0]]
    curve = CURVE[:, None, None]
    found = reader.solve(clip_of(read(curve * (brows + jaw), curve * turn)))
    assert found.residual > 0.5, "the jaw"
    np.testing.assert_allclose(found.curves.values[5], 0.2, rtol=0.25)


def test_where_the_face_shows_no_event_no_peak_is_matched() -> None:
    """Noise has a peak in every region, which least squares hardly follow."""
    reader = drawn_face("browDownLeft", "browDownRight", matching="motion")
    wider = read(CURVE[:, None, None] * (bump(66, 24, 14) * [0, 1.2]), np.zeros((len(CURVE), len(GRID), 2)))
    matched, left = (reader.solve(clip_of(wider, moves=moves)) for moves in (True, False))
    assert matched.regions["brows"].gain > 1.05
    assert left.regions["brows"].gain == 1
    assert np.abs(left.curves.values).max() < np.abs(matched.curves.values).max()
    without = reader.unmatched(matched)  # where only the solved controls tell that the event is none
    assert np.array_equal(without.curves.values, left.curves.values) and without.regions == left.regions


def test_eyes_that_stay_shut_leave_an_expression_its_size() -> None:
    """The frames of a blink don't tell how large it is; where the eyes shut before it and stay so, none else would."""
    reader = drawn_face("browDownLeft", "browDownRight", matching="motion")
    equations = read(CURVE[:, None, None] * (bump(66, 24, 14) * [0, 1.2]), np.zeros((len(CURVE), len(GRID), 2)))
    awake = reader.solve(clip_of(equations))
    shut = np.stack([CURVE.cumsum() > 0] * 2, 1).astype(float)
    asleep = reader.solve(ClipEquations(equations, awake.curves.seconds, shut))
    assert awake.regions["brows"].gain > 1.05
    np.testing.assert_allclose(asleep.curves.values, awake.curves.values, atol=1e-6)


def test_what_is_told_beside_a_blink_leaves_no_control_beyond_its_range() -> None:
    """The gain that fits the frames beside a blink would bring what is larger meanwhile to twice the range."""
    reader = drawn_face("browDownLeft", "browDownRight", matching="motion")
    shut = CURVE > 0.5
    wide, thin = 0.3 * bump(66, 24, 14) * [0, 6], 0.9 * bump(66, 24, 5) * [0, 6]
    motion = CURVE[:, None, None] * np.where(shut[:, None, None], thin, wide)
    clip = ClipEquations(read(motion, np.zeros_like(motion)), list(np.arange(len(CURVE)) / 24), np.stack([shut] * 2, 1))
    found = reader.solve(clip)
    assert found.regions["brows"].gain > 1.05
    assert 0.8 < found.curves.values.max() <= 1.0


@pytest.mark.parametrize("shut", [False, True])
def test_lids_and_gaze_rest_where_the_eyes_are_shut_in_the_reference(shut: bool) -> None:
    names = ("browDownLeft", "eyeBlinkLeft", "eyeWideLeft", "eyeLookUpLeft", "eyeSquintLeft", "Own")
    basis = reader_of(np.zeros((len(names), len(GRID), 2)), names, "Face", {}).basis
    clip: Any = SimpleNamespace(eyes_shut=shut, eyes_part=False, gaze_reach=np.zeros(4), widening=0.0)
    spec: Any = SimpleNamespace(rig=SimpleNamespace(locked=("Own",), mirrored=()))
    assert constraints_of(basis, clip, spec).locked == ({1, 2, 3, 5} if shut else {5})


def test_eyes_turn_no_farther_than_the_irises_show() -> None:
    """What a lid that rises, or a head that turns, leaves around an eye looks like a turn of the whole eye."""
    names = ("eyeLookUpLeft", "eyeLookUpRight", "eyeLookOutLeft", "eyeLookInRight", "browDownLeft")
    lid, other = (bump(x, 40, 6) * [0, -6] for x in (66, 30))
    keys = np.stack([lid, other, 0 * lid, 0 * lid, bump(66, 20, 6) * [0, 6]])
    reader = reader_of(keys, names, "Face", {"lids": np.ones(len(GRID))})
    reach = np.array([0.15, 0, 0.01, 0])
    clip: Any = SimpleNamespace(eyes_shut=False, eyes_part=False, gaze_reach=reach, widening=0.0)
    spec: Any = SimpleNamespace(rig=SimpleNamespace(locked=(), mirrored=()))
    known = constraints_of(reader.basis, clip, spec)
    assert known.shares == {
        0: pytest.approx(0.2),
        1: pytest.approx(0.2),
        2: pytest.approx(0.76),
        3: pytest.approx(0.76),
    }
    raised = read(CURVE[:, None, None] * (lid + other), np.zeros((len(CURVE), len(GRID), 2)))
    reader._constraints = known
    looked = reader.solve(clip_of(raised)).curves.values.max(0)
    assert looked[0] == looked[1] == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize(("widening", "share"), [(0.0, 0.2), (0.03, 0.5), (0.2, 1.0)])
def test_lids_rise_no_farther_than_the_eyes_open(widening: float, share: float) -> None:
    """What a head that turns or a brow leaves above an eye looks like a lid that rises."""
    names = ("eyeWideLeft", "eyeWideRight", "browDownLeft")
    lids = [bump(x, 40, 6) * [0, -2] for x in (66, 30)]
    reader = reader_of(np.stack([*lids, bump(66, 20, 6) * [0, 6]]), names, "Face", {"lids": np.ones(len(GRID))})
    clip: Any = SimpleNamespace(eyes_shut=False, eyes_part=False, gaze_reach=np.zeros(4), widening=widening)
    spec: Any = SimpleNamespace(rig=SimpleNamespace(locked=(), mirrored=()))
    reader._constraints = constraints_of(reader.basis, clip, spec)
    raised = read(CURVE[:, None, None] * sum(lids), np.zeros((len(CURVE), len(GRID), 2)))
    assert reader.solve(clip_of(raised)).curves.values.max(0)[:2] == pytest.approx(min(share, 1.0), abs=0.03)


def test_the_head_is_only_left_free_where_that_is_better_by_both_measures() -> None:
    """A free head may take what no control shows, so that little is left, or be wrong, with more to explain."""

    def solution(moved: float, left: float, value: float = 0.1) -> RigSolution:
        names, each = ("browDown",), np.ones((len(CURVE), 5))
        values = (value * CURVE[:, None]).astype(np.float32)
        curves = ControlCurves(names, np.arange(len(CURVE)) / 24, values, each[:, 0], np.ones(1))
        state = SolverState(0, 0.0, each[:, 0], 1.0)
        return RigSolution(curves, each[0], each, moved * each, left * each, state, each, np.ones(1))

    known = solution(moved=5.0, left=4.0)
    assert better(wrong := solution(moved=9.0, left=5.0), known) is known, wrong
    assert better(solution(moved=3.0, left=2.9), known) is known
    assert better(right := solution(moved=5.0, left=3.0), known) is right
    assert better(wrong, solution(moved=5.0, left=4.0, value=0.0)) is wrong


def test_a_brow_that_the_camera_does_not_see_is_named_and_a_tongue_is_not() -> None:
    names = ("brow_raise_L", "brow_raise_R", "tongueOut", "ear_back_R")
    controls = [Control(name, "shape_key", "Wolf", name, 0.0, 0.0, 1.0, part=name) for name in names]
    curves = ControlCurves(
        names=names,
        seconds=np.zeros(1),
        values=np.zeros((1, 4), np.float32),
        residual=np.zeros(1, np.float32),
        visibility=np.array([1, 0, 0, 0], np.float32),
    )
    (warning,) = out_of_sight(curves, controls)
    assert ": brow_raise_R. Turn the character" in warning
    assert out_of_sight(curves, [controls[0], *controls[2:]]) == []


def test_what_a_benchmark_reads_of_several_rigs_is_in_the_order_of_the_clip_not_of_the_work() -> None:
    """A job makes its probe frames first."""

    def reads(sites: int, rig: float) -> SimpleNamespace:
        def read(batch: SimpleNamespace) -> NDArray[np.float64]:
            return np.stack([np.full((sites, 10), frame + rig) for frame in batch.frames])

        return SimpleNamespace(basis=None, read_from="", read=read)

    recording = _Recording([reads(2, 0.0), reads(3, 0.5)])
    files = {}
    for frames in ([2, 0], [1, 3]):
        files |= dict(zip(frames, recording.read(SimpleNamespace(frames=frames)), strict=True))
    with pytest.raises(_AllIsRead):
        recording.solve(
            ClipEquations(np.stack([files[frame] for frame in range(4)]), range(4), np.full((4, 2), 0.1), sparse=True)
        )
    one, other = recording.clips
    assert one.sparse and (other.closed == 0.1).all()
    assert (one.equations.shape, other.equations.shape) == ((4, 2, 10), (4, 3, 10))
    assert one.equations[:, 0, 0].tolist() == [0, 1, 2, 3]
    assert other.equations[:, 0, 0].tolist() == [0.5, 1.5, 2.5, 3.5]


@pytest.mark.parametrize("sparse", [True, False])
def test_a_benchmark_leaves_out_what_a_codec_may_have_moved_as_a_job_does(sparse: bool) -> None:
    """HEVC's copies count as rest, so that the peak is matched; a small motion may be the codec's all the same."""
    reader = drawn_face("browDownLeft", "browDownRight", matching="motion")
    strong, weak = (bump(x, 24, 5) * [0, 6] for x in (66, 30))
    motion = read(CURVE[:, None, None] * (0.5 * strong + 0.05 * weak), np.zeros((len(CURVE), len(GRID), 2)))
    as_filmed, compressed = (
        Reading(reader, clip_of(motion, sparse=sparse, compressed=each), 0.0).solve().values for each in (False, True)
    )
    assert as_filmed[5, 1] > 0.02 and not compressed[:, 1].any()
    assert np.array_equal(as_filmed[:, 0], compressed[:, 0])


def test_the_course_of_an_expression_is_none_of_what_a_codec_leaves_elsewhere() -> None:
    """The controls' pattern rises and falls at a quarter of the places; others keep some of their own."""
    rng = np.random.default_rng(0)
    columns = np.zeros((1, 40, 2))
    columns[0, :10] = rng.normal(size=(10, 2))
    amounts = np.array([0.0, 0.5, 1.0, 0.4, 0.0])
    motion = amounts[:, None, None] * columns
    motion[2:, 10:] = rng.normal(size=(30, 2))
    head = rng.normal(size=(5, 40, 2))
    equations = np.zeros((5, 40, 10))
    equations[..., [0, 2]] = 4.0
    equations[..., 3:5] = 4.0 * (motion + head)
    equations[..., 7:9] = head
    reader = SimpleNamespace(columns=columns, _unit=100.0)
    course = RigReader.course(reader, equations, amounts[:, None])  # type: ignore[arg-type]
    largest = np.linalg.norm(columns[0], axis=1).max() / 100
    np.testing.assert_allclose(course, amounts * largest, atol=1e-9)


def test_what_controls_show_has_the_course_of_their_largest_motion() -> None:
    """Another control's error has no part in it, nor has what goes the other way."""
    columns = np.zeros((2, 40, 2))
    columns[0, :20, 1], columns[1, 20:, 0] = 4.0, 1.0
    amounts = np.array([0.0, 0.5, 1.0, -0.4, 0.0])
    reader = SimpleNamespace(columns=columns, _unit=100.0)
    shown = RigReader.shown(reader, np.stack([amounts, [0.3, 0, 0, 0, 0.3]], 1))  # type: ignore[arg-type]
    np.testing.assert_allclose(shown, amounts.clip(0) * 0.04, atol=1e-9)
    assert not RigReader.shown(reader, np.zeros((5, 2))).any()  # type: ignore[arg-type]


def test_where_a_head_turns_the_equations_tell_its_motion_and_not_the_whole_picture() -> None:
    """Its depth is known roughly, and what is off by that is no misfit of the rig's."""
    reader = drawn_face("browDownLeft", "browDownRight")
    turn = 0.05 * np.sin(np.arange(len(CURVE)) / 2)[:, None, None] * [0, 1]
    head = turn * np.hypot(*(GRID - 48).T)[:, None]
    off = turn * (20 * bump(66, 24, 14) + 20 * bump(48, 80, 14))
    equations = read(off, head)
    known, free = (reader.solve(clip_of(equations, turns=each)).curves.values for each in (False, True))
    assert reader.turning(equations).max() == pytest.approx(0.05, rel=0.05)
    assert 0 < np.abs(free).max() < 0.6 * np.abs(known).max()


@pytest.mark.parametrize(("degrees", "remains"), [(2.0, 0.5), (4.0, 0.25)])
def test_a_turning_head_whose_depth_is_known_roughly_moves_no_face_and_its_expression_stays(
    degrees: float, remains: float
) -> None:
    """The nose is less deep than the mesh has it, by a twentieth of the face's width; the brows lower meanwhile."""
    reader = drawn_face("browDownLeft", "browDownRight")
    angle = np.deg2rad(degrees) * np.sin(2 * np.pi * np.arange(len(CURVE)) / len(CURVE))
    turn = np.sin(angle)[:, None, None] * [0.8, 0.6]
    head = turn * np.hypot(*(GRID - 48).T)[:, None]
    off = turn * (-4.5 * bump(48, 56, 10))
    brows = 0.3 * (CURVE[:, None, None] * (bump(66, 24, 8) + bump(30, 24, 8)) * [0, 1])
    own = reader.without_depth_error(read(brows + off, head))[..., 3:5] / PRECISION - head
    nose = bump(48, 56, 10)[:, 0] > 0.5
    assert np.abs(own[:, nose]).max() < remains * np.abs(off).max()
    assert own[5, bump(66, 24, 8)[:, 0].argmax(), 1] == pytest.approx(0.3, rel=0.1), "the apex"


@pytest.mark.parametrize("shut", [(4, 5, 6), (7, 8, 9)])
def test_an_expression_beside_a_blink_is_keyed_as_it_is(shut: tuple[int, ...]) -> None:
    """The lids move thirty times as far, and draw along what is around them."""
    names = ("browDownLeft", "browDownRight", "eyeBlinkLeft", "eyeBlinkRight")
    sides = (66, 30)
    brows = np.stack([bump(x, 24, 5) * [0, 3] for x in sides])
    lids = np.stack([(bump(x, 44, 4) + 0.03 * bump(x, 52, 14)) * [0, 15] for x in sides])
    regions = {"brows": (GRID[:, 1] < 36) * 1.0, "lids": (np.abs(GRID[:, 1] - 44) < 8) * 1.0}
    reader = reader_of(np.concatenate([brows, lids]), names, "Face", regions, "motion")
    closed = np.zeros((len(CURVE), 2))
    closed[list(shut)] = [[0.6], [1.0], [0.6]]
    wrong_lids = 1.2 * (closed[:, :1, None] * lids.sum(0))  # the driver's are larger than the avatar's
    motion = read(CURVE[:, None, None] * 0.15 * brows.sum(0) + wrong_lids, np.zeros((len(CURVE), len(GRID), 2)))
    clip = ClipEquations(reader.without_blinks(motion, closed), list(np.arange(len(CURVE)) / 24), closed)
    values = reader.solve(clip).curves.values
    np.testing.assert_allclose(values[5, :2], 0.15, rtol=0.1)
    np.testing.assert_allclose(values[:, 2:], closed, atol=0.01)


def test_lids_that_are_open_are_measured_and_so_is_the_other_eye_of_a_wink() -> None:
    names, keys = ("eyeBlinkLeft", "eyeBlinkRight"), np.stack([bump(x, 44, 4) * [0, 15] for x in (66, 30)])
    reader = reader_of(keys, names, "Face", {})
    motion = read(np.broadcast_to(0.1 * keys.sum(0), (3, *keys.shape[1:])), np.zeros((3, len(GRID), 2)))
    left = reader.without_blinks(motion, np.array([[0.0, 0.0], [0.1, 0.1], [0.0, 1.0]]))
    assert np.array_equal(left[:2], motion[:2])
    winking, other = (np.linalg.norm(key, axis=1) > 3 for key in keys)
    assert not left[2, winking, :6].any() and np.array_equal(left[2, winking, 6:], motion[2, winking, 6:])
    np.testing.assert_allclose(left[2, other], motion[2, other], rtol=1e-4)


def test_a_lid_that_is_hidden_does_not_close_by_what_the_mesh_guesses_of_it() -> None:
    """A hand before the brows and eyes pulls the mesh's lids shut."""
    controls = [Control(name, "property", "Rig", "", 0.0, 0.0, 1.0) for name in ("eyeBlinkLeft", "eyeBlinkRight")]
    closed, shown = np.full((3, 2), 0.8), np.array([[1.0, 1.0], [0.1, 0.9], [0.0, 0.0]])
    found = with_lids(np.zeros((3, 2)), np.ones(2), controls, closed, (), shown, np.eye(2)[..., None])
    np.testing.assert_allclose(found, [[0.8, 0.8], [0.0, 0.8], [0.0, 0.0]])


@pytest.mark.parametrize(
    ("names", "closing"),
    [
        (("Blink", "Blink_L", "Blink_R"), {"Blink_L", "Blink_R"}),
        (("まばたき", "ウィンク", "ウィンク右", "ウィンク２", "ｳｨﾝｸ２右"), {"ウィンク", "ウィンク右"}),
        (("eyeBlinkLeft", "eyeBlinkRight"), {"eyeBlinkLeft", "eyeBlinkRight"}),
        (("Lids Shut", "なごみ"), {"Lids Shut"}),
    ],
)
def test_a_rig_with_a_key_for_both_lids_and_one_for_each_closes_them_once(
    names: tuple[str, ...], closing: set[str]
) -> None:
    controls = [Control(name, "shape_key", "Face", name, 0.0, 0.0, 1.0) for name in names]
    left, right = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    lids = [right if "右" in name or name.endswith(("R", "Right")) else left for name in names]
    both = {"Blink", "まばたき", "Lids Shut", "なごみ"}
    columns = np.stack([left + right if name in both else lid for name, lid in zip(names, lids, strict=True)])[
        ..., None
    ]
    shown = np.ones((1, len(names)))
    found = with_lids(
        np.zeros((1, len(names))), np.ones(len(names)), controls, np.full((1, 2), 0.9), (), shown, columns
    )
    assert {name for name, value in zip(names, found[0], strict=True) if value > 0.5} == closing
    np.testing.assert_allclose(np.tensordot(found[0], columns[..., 0], 1), 0.9, err_msg="no lid goes twice as far")


def test_lashes_with_keys_of_their_own_close_with_the_lids_and_a_lower_lid_with_the_upper_one() -> None:
    names = ("eyeBlinkLeft", "Lashes: eyeBlinkLeft", "Lid.L: Shut", "Lower lid.L: Shut")
    owners = ("Head", "Lashes", "Toon", "Toon")
    controls = [Control(name, "shape_key", each, name, 0.0, 0.0, 1.0) for name, each in zip(names, owners, strict=True)]
    columns = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])[..., None]
    closed, shown = np.full((1, 2), 0.9), np.ones((1, 4))
    np.testing.assert_allclose(with_lids(np.zeros((1, 4)), np.ones(4), controls, closed, (), shown, columns), 0.9)


@pytest.mark.parametrize(("reach", "ends"), [(0.6, ()), (3.0, ("browDownLeft", "browDownRight"))])
def test_a_control_that_shows_the_drivers_motion_at_the_end_of_its_range_is_named(
    reach: float, ends: tuple[str, ...]
) -> None:
    reader = drawn_face("browDownLeft", "browDownRight", matching="motion")
    brows = reach * (bump(66, 24, 5) + bump(30, 24, 5)) * [0, 6]
    motion = read(CURVE[:, None, None] * brows, np.zeros((len(CURVE), len(GRID), 2)))
    found = reader.solve(clip_of(motion))
    assert found.at_limit == ends


def test_what_stands_in_for_a_reader_takes_all_that_a_job_gives_one() -> None:
    """The benchmark's recording ends a job where it would solve: a new argument there must reach it, too."""
    for name in ("solve", "without", "without_blinks", "turning", "without_depth_error"):
        given, taken = (signature(getattr(each, name)).parameters for each in (RigReader, _Recording))
        assert list(given) == list(taken), name
