# SPDX-License-Identifier: GPL-3.0-or-later
"""Where one clip ends and another begins: what is held, what is eased into, and what is left of either."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
import pytest
from bl_ext.user_default.magplus.operators.animation.destination import LAYER, NEW_ACTION, REPLACE
from bl_ext.user_default.magplus.operators.animation.strength import set_strength
from bl_ext.user_default.magplus.operators.avatar.bare_scene import bare_scene
from bl_ext.user_default.magplus.operators.rig.kinds.bone import bone_controls
from bl_ext.user_default.magplus.operators.rig.kinds.shape_key import shape_key_controls

from tests.blender.animation.baking import MODES, at, bake, job
from tests.blender.head import add_armature
from tests.blender.jobs import pulse

pytestmark = pytest.mark.usefixtures("rate")


@pytest.mark.parametrize("first", MODES)
@pytest.mark.parametrize("second", MODES)
@pytest.mark.parametrize("start", [10, 20, 30])
def test_what_is_held_is_all_that_plays_from_there_on(
    tmp_path: Path, head, keys, first: str, second: str, start: int
) -> None:
    """Whatever an earlier clip did there: it was held, too, or it ends later."""
    controls, _ = shape_key_controls((head,))
    bake(job(tmp_path / "a", controls, Smile=0.3 * np.arange(20) / 19), animation=first, release=None)
    bake(job(tmp_path / "b", controls, Smile=0.2 * np.arange(20) / 19), start, animation=second, release=None)
    for frame in (start + 19, start + 20, start + 21, 60, 1000):
        assert at(frame, keys["Smile"]) == pytest.approx(0.2, abs=1e-5), frame


WAVE = 0.3 * np.sin(np.pi * np.arange(20) / 19)  # moves from its first frame to its last


@pytest.mark.parametrize(
    ("first", "second"),
    [(NEW_ACTION, LAYER), (NEW_ACTION, REPLACE), (LAYER, LAYER), (REPLACE, LAYER), (REPLACE, REPLACE)],
)
@pytest.mark.parametrize("control", ["Smile", "Nod"])
def test_what_is_held_stays_until_the_next_clip_begins(
    tmp_path: Path, head, keys, first: str, second: str, control: str
) -> None:
    """Of the same control or of another one of the face: a clip that was baked before is not lost."""
    controls, _ = shape_key_controls((head,))
    bake(job(tmp_path / "a", controls, **{control: WAVE}), 100, animation=first)
    held = job(tmp_path / "b", controls, Smile=0.2 * np.arange(20) / 19)
    report = bake(held, 20, animation=second, release=None)
    values = np.array([at(frame, keys["Smile"]) for frame in range(39, 101)])
    assert values[:50] == pytest.approx(0.2, abs=1e-5) and values[-1] == pytest.approx(0, abs=1e-5)
    assert np.abs(np.diff(values)).max() < 0.1
    later = [at(frame, keys[control]) for frame in range(100, 120)]
    assert later == pytest.approx(WAVE.tolist(), abs=1e-5)
    assert at(1000, keys["Smile"]) == pytest.approx(0, abs=1e-5)
    assert any("goes back before frame" in each for each in report.sentences())


RISING = 0.2 * np.arange(20) / 19  # ends in the middle of an expression


@pytest.mark.parametrize(
    ("first", "second"), [(NEW_ACTION, LAYER), (NEW_ACTION, REPLACE), (LAYER, LAYER), (REPLACE, REPLACE)]
)
@pytest.mark.parametrize("control", ["Smile", "Nod"])
@pytest.mark.parametrize("begins", [40, 43, 50])
def test_what_is_held_stays_until_the_next_clip_begins_whichever_was_baked_first(
    tmp_path: Path, head, keys, first: str, second: str, control: str, begins: int
) -> None:
    """Of the same control or of another one."""
    controls, _ = shape_key_controls((head,))
    held = job(tmp_path / "held", controls, Smile=RISING)
    after = job(tmp_path / "after", controls, **{control: WAVE})
    found = []
    for order in (("held", "after"), ("after", "held")):
        keys.id_data.animation_data_clear()
        for key in keys:
            key.value = 0.0
        for which, animation in zip(order, (first, second), strict=True):
            if which == "held":
                bake(held, 20, animation=animation, release=None)
            else:
                bake(after, begins, animation=animation)
        found.append([at(frame, keys[name]) for name in ("Smile", "Nod") for frame in (*range(15, 75), 1000)])
    assert found[0] == pytest.approx(found[1], abs=1e-5)
    smile = dict(zip((*range(15, 75), 1000), found[0], strict=False))
    assert smile[39] == pytest.approx(0.2, abs=1e-5) and smile[1000] == pytest.approx(0, abs=1e-5)
    if begins == 50:
        values = np.array([smile[frame] for frame in range(39, 51)])
        assert values[:7] == pytest.approx(0.2, abs=1e-5) and np.abs(np.diff(values)).max() < 0.07


@pytest.mark.parametrize("mode", [LAYER, REPLACE])
@pytest.mark.parametrize(("control", "start"), [("Smile", 20), ("Smile", 25), ("Nod", 20), ("Nod", 15)])
def test_a_run_over_one_that_was_held_ends_the_hold(
    tmp_path: Path, head, keys, mode: str, control: str, start: int
) -> None:
    """It may be the same clip, run again without Hold the End."""
    controls, _ = shape_key_controls((head,))
    bake(job(tmp_path / "a", controls, Smile=RISING, Nod=RISING), 20, animation=mode, release=None)
    bake(job(tmp_path / "b", controls, **{control: RISING}), start, animation=mode)
    last = start + 19
    assert at(last, keys[control]) == pytest.approx(0.2, abs=1e-5)
    if start >= 20:
        for name in ("Smile", "Nod"):
            assert [at(frame, keys[name]) for frame in (last + 5, last + 9, 1000)] == pytest.approx([0] * 3, abs=1e-5)


@pytest.mark.parametrize(
    ("first", "second"), [(NEW_ACTION, LAYER), (NEW_ACTION, REPLACE), (LAYER, LAYER), (REPLACE, REPLACE)]
)
@pytest.mark.parametrize("control", ["Smile", "Nod"])
def test_a_clip_that_begins_in_the_middle_of_an_earlier_one_is_eased_into(
    tmp_path: Path, head, keys, first: str, second: str, control: str
) -> None:
    """The earlier one went from its apex to rest in one frame there."""
    controls, _ = shape_key_controls((head,))
    bake(job(tmp_path / "a", controls, Smile=WAVE), 20, animation=first)
    bake(job(tmp_path / "b", controls, **{control: WAVE}), 30, animation=second)
    values = np.array([at(frame, keys["Smile"]) for frame in range(15, 60)])
    assert values[5:11] == pytest.approx(WAVE[:6], abs=1e-5), "it stays as it was until then"
    assert np.abs(np.diff(values)).max() < 0.1
    assert [at(frame, keys[control]) for frame in range(30, 50)] == pytest.approx(WAVE.tolist(), abs=1e-5)
    if control == "Nod":
        assert values[15:] == pytest.approx([0.0] * 30, abs=1e-5)


@pytest.mark.parametrize("last", [15, 60])
def test_an_animators_pose_stays_where_a_bake_beside_another_begins(tmp_path: Path, head, keys, last: int) -> None:
    """The curve has a bake, but what shows where the next one begins is the animator's, held or in motion."""
    for frame, value in ((1, 0.2), (last, 0.6)):
        keys["Smile"].value = value
        keys["Smile"].keyframe_insert("value", frame=frame)
    controls, _ = shape_key_controls((head,))
    beside = [*range(-3, 3), 8, 12, 15, 20, 25, 28, 29, 50, 51, 60, 90]
    before = [at(frame, keys["Smile"]) for frame in beside]
    with bare_scene(bpy.context, 3):
        controls, _ = shape_key_controls((head,))
    bake(job(tmp_path / "a", controls, Smile=pulse(5, 2, 0.1)), 3, animation=REPLACE)
    bake(job(tmp_path / "b", controls, Smile=pulse(20, 8, 0.1)), 30, animation=REPLACE)
    assert [at(frame, keys["Smile"]) for frame in beside] == pytest.approx(before, abs=2e-3)


def test_what_a_layer_holds_goes_where_a_new_action_begins(tmp_path: Path, head, keys) -> None:
    controls, _ = shape_key_controls((head,))
    bake(job(tmp_path / "a", controls, Nod=RISING), 20, animation=LAYER, release=None)
    bake(job(tmp_path / "b", controls, Smile=WAVE), 50, animation=NEW_ACTION)
    assert [at(frame, keys["Nod"]) for frame in (39, 45, 50, 60, 1000)] == pytest.approx([0.2] * 2 + [0] * 3, abs=1e-5)


QUIET = np.concatenate([np.zeros(8), 0.3 * np.sin(np.pi * np.arange(12) / 11)])


@pytest.mark.parametrize(
    ("first", "second"), [(NEW_ACTION, LAYER), (NEW_ACTION, REPLACE), (LAYER, LAYER), (REPLACE, REPLACE)]
)
@pytest.mark.parametrize("begins", [32, 34, 36])
@pytest.mark.parametrize("release", [0.2, None])
def test_a_clip_over_the_quiet_beginning_of_another_fades_away_over_it(
    tmp_path: Path, head, keys, first: str, second: str, begins: int, release: float | None
) -> None:
    """There is no time to go back before the other one moves, and one that goes back in one frame pops."""
    controls, _ = shape_key_controls((head,))
    bake(job(tmp_path / "a", controls, Smile=QUIET, Nod=QUIET), begins, animation=first)
    alone = {name: [at(frame, keys[name]) for frame in range(20, 70)] for name in ("Smile", "Nod")}
    bake(job(tmp_path / "b", controls, Smile=RISING), 20, animation=second, release=release)
    smile = np.array([at(frame, keys["Smile"]) for frame in range(20, 70)])
    assert smile[:20] == pytest.approx(RISING, abs=1e-5)
    fading = smile[19:] - alone["Smile"][19:]
    assert np.diff(fading).min() > -0.07 and np.diff(fading).max() < 1e-5, "it goes, and never in one frame"
    assert smile[25:] == pytest.approx(alone["Smile"][25:], abs=1e-5)
    assert [at(frame, keys["Nod"]) for frame in range(20, 70)] == pytest.approx(alone["Nod"], abs=1e-5)


@pytest.mark.parametrize("second", [LAYER, REPLACE])
def test_a_clip_that_has_ended_leaves_one_whole_whose_quiet_beginning_it_covers(
    tmp_path: Path, head, keys, second: str
) -> None:
    controls, _ = shape_key_controls((head,))
    bake(job(tmp_path / "a", controls, Smile=QUIET), 32)
    bake(job(tmp_path / "b", controls, Smile=pulse(20, 8, 0.1), Nod=RISING), 20, animation=second)
    assert [at(frame, keys["Smile"]) for frame in range(39, 52)] == pytest.approx(QUIET[7:].tolist(), abs=1e-5)


@pytest.mark.parametrize("second", [LAYER, REPLACE])
@pytest.mark.parametrize("begins", [40, 43])
def test_a_clip_that_begins_at_once_plays_whole_after_one_that_is_held(
    tmp_path: Path, head, keys, second: str, begins: int
) -> None:
    controls, _ = shape_key_controls((head,))
    bake(job(tmp_path / "a", controls, Smile=WAVE), begins, animation=second)
    held = job(tmp_path / "b", controls, Smile=0.2 * np.arange(20) / 19)
    report = bake(held, 20, animation=second, release=None)
    assert any("goes back before frame" in each for each in report.sentences()), "there is no time to hold it"
    assert at(39, keys["Smile"]) == pytest.approx(0.2, abs=1e-5)
    later = [at(frame, keys["Smile"]) for frame in range(begins, begins + 20)]
    assert later == pytest.approx(WAVE.tolist(), abs=1e-5)
    assert at(1000, keys["Smile"]) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("second", [LAYER, REPLACE])
def test_the_rest_of_an_earlier_clip_is_eased_into(tmp_path: Path, head, keys, second: str) -> None:
    """The later one has come to rest where the earlier one is in the middle: it must not pop up in one frame."""
    controls, _ = shape_key_controls((head,))
    bake(job(tmp_path / "a", controls, Smile=0.4 * np.sin(np.pi * np.arange(40) / 39)), start_frame=20)
    bake(job(tmp_path / "b", controls, Smile=pulse(20, 8, 0.1)), start_frame=20, animation=second)
    values = np.array([at(frame, keys["Smile"]) for frame in range(39, 62)])
    assert values[0] == pytest.approx(0, abs=1e-5)
    assert values[5:] == pytest.approx([*0.4 * np.sin(np.pi * np.arange(24, 40) / 39), 0, 0], abs=1e-5)
    assert np.abs(np.diff(values)).max() < 0.15


@pytest.mark.parametrize(
    ("first", "second"), [(NEW_ACTION, LAYER), (NEW_ACTION, REPLACE), (LAYER, LAYER), (REPLACE, REPLACE)]
)
@pytest.mark.parametrize("control", ["Smile", "Nod"])
@pytest.mark.parametrize("begins", [40, 42, 60])
def test_a_clip_baked_before_another_leaves_that_one_whole(
    tmp_path: Path, head, keys, first: str, second: str, control: str, begins: int
) -> None:
    """Also where it ends within the release, in the middle of an expression or at rest."""
    controls, _ = shape_key_controls((head,))
    bake(job(tmp_path / "a", controls, **{control: 0.1 + WAVE}), begins, animation=first)
    for name, curve in (("b", pulse(20, 8, 0.1)), ("c", 0.2 * np.arange(20) / 19)):
        report = bake(job(tmp_path / name, controls, Smile=curve), 20, animation=second)
        later = [at(frame, keys[control]) for frame in range(begins, begins + 20)]
        assert later == pytest.approx((0.1 + WAVE).tolist(), abs=1e-5), name
    short = [each for each in report.sentences() if "it goes back before frame 4" in each]
    assert len(short) == (begins < 45)
    assert at(begins - 1, keys["Smile"]) == pytest.approx(0.2 if begins == 40 else 0.0, abs=1e-5)


@pytest.mark.parametrize("second", [LAYER, REPLACE])
def test_what_is_eased_into_is_still_the_earlier_clips(tmp_path: Path, head, keys, second: str) -> None:
    """Its strength still changes it, a capture leaves it out, and a third one clears it."""
    controls, _ = shape_key_controls((head,))
    first = bake(job(tmp_path / "a", controls, Nod=pulse(20, 14, 0.4)), 10)
    smile = job(tmp_path / "b", controls, Smile=pulse(20, 8, 0.1))
    bake(smile, 0, animation=second)
    left = at(21, keys["Nod"])
    assert left > 0.01
    set_strength(first.name, 0.5)
    assert at(21, keys["Nod"]) == pytest.approx(left / 2, abs=1e-5)
    set_strength(first.name, 1.0)
    with bare_scene(bpy.context, 21):
        assert keys["Nod"].value == pytest.approx(0.0, abs=1e-5)
    bake(smile, 10, animation=second)
    assert [at(frame, keys["Nod"]) for frame in range(40)] == pytest.approx([0.0] * 40, abs=1e-5)


@pytest.mark.parametrize("second", [LAYER, REPLACE])
@pytest.mark.parametrize("mode", ["QUATERNION", "XYZ"])
def test_a_turn_is_held_where_an_earlier_clip_has_turned_the_bone_about_another_axis(
    tmp_path: Path, second: str, mode: str
) -> None:
    rig = add_armature({"jaw": (0, 0, 0)})
    jaw = rig.pose.bones["jaw"]
    jaw.rotation_mode = mode
    controls, _ = bone_controls(rig, ("jaw",))
    bake(job(tmp_path / "a", controls, jaw_rotation_X=pulse(20, 8, 0.1)), animation=second)
    bake(job(tmp_path / "b", controls, jaw_rotation_Y=0.2 * np.arange(20) / 19), 60, animation=second, release=None)
    for frame in (79, 80, 81, 1000):
        bpy.context.scene.frame_set(frame)
        turned = jaw.rotation_quaternion[2] if mode == "QUATERNION" else jaw.rotation_euler[1]
        assert turned == pytest.approx(0.2, abs=1e-5), frame


@pytest.mark.parametrize("second", [LAYER, REPLACE])
def test_of_a_clip_that_ends_within_the_release_nothing_is_left(tmp_path: Path, head, keys, second: str) -> None:
    controls, _ = shape_key_controls((head,))
    bake(job(tmp_path / "a", controls, Nod=pulse(20, 8, 0.4)), 10)
    bake(job(tmp_path / "b", controls, Smile=pulse(20, 8, 0.1)), 0, animation=second)
    assert [at(frame, keys["Nod"]) for frame in range(40)] == pytest.approx([0.0] * 40, abs=1e-5)


@pytest.mark.parametrize("second", [NEW_ACTION, REPLACE])
@pytest.mark.parametrize(("start", "named"), [(20, False), (60, True)])
def test_a_clip_in_a_layer_that_the_keys_hide_is_named(
    tmp_path: Path, head, keys, second: str, start: int, named: bool
) -> None:
    controls, _ = shape_key_controls((head,))
    bake(job(tmp_path / "a", controls, Smile=pulse(20, 8, 0.25)), animation=LAYER)
    report = bake(job(tmp_path / "b", controls, Smile=pulse(20, 8, 0.1)), start, animation=second)
    assert any("The keys hide the track 'MagPlus Head'" in each for each in report.sentences()) == named
    assert at(start + 8, keys["Smile"]) == pytest.approx(0.1, abs=1e-5)
