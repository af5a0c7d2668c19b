# SPDX-License-Identifier: GPL-3.0-or-later
"""A clip that is run again replaces what its earlier run has left in the file, and nothing that somebody works with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bpy
import pytest
from bl_ext.user_default.magplus.operators.animation.destination import NEW_ACTION, REPLACE
from bl_ext.user_default.magplus.operators.animation.keyframes import all_curves
from bl_ext.user_default.magplus.operators.animation.strength import set_strength
from bl_ext.user_default.magplus.operators.rig.kinds.shape_key import shape_key_controls

from tests.blender.animation.baking import MODES, at, bake, job
from tests.blender.head import make_head
from tests.blender.jobs import pulse

pytestmark = pytest.mark.usefixtures("rate")
EARLIER, JOB = "MagPlus Head", Path("プロジェクト é.magplus")


def move_a_key(action: bpy.types.Action) -> None:
    all_curves(action)[0].keyframe_points[2].co[1] += 0.1


def use_it_elsewhere(action: bpy.types.Action) -> None:
    make_head("Other").data.shape_keys.animation_data_create().action = action


CHANGES = {
    "a key": move_a_key,
    "its name": lambda action: setattr(action, "name", "Take 3"),
    "its strength": lambda _: set_strength(bpy.context.scene.magplus.bakes[0].name, 2.0),
    "kept": lambda action: setattr(action, "use_fake_user", True),
    "used": use_it_elsewhere,
    "an asset": lambda action: action.asset_mark(),
}


@pytest.mark.parametrize("mode", MODES)
def test_any_number_of_runs_leave_one_result(tmp_path: Path, head, keys, mode: str) -> None:
    controls, _ = shape_key_controls((head,))
    for number in range(1, 6):
        report = bake(job(tmp_path / str(number), controls, Smile=pulse(20, 8, number / 10)), animation=mode)
        assert report.sentences() == [] and report.record.actions == (EARLIER,)
        listed = [record.name for record in bpy.context.scene.magplus.bakes]
        assert listed == [report.name] == [JOB.stem], "one slider, under one name"
        bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "file.blend"))
        bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "file.blend"))
        head = bpy.data.objects["Head"]
    assert at(28, head.data.shape_keys.key_blocks["Smile"]) == pytest.approx(0.5, abs=1e-5)
    assert {action.name for action in bpy.data.actions} - {"MagPlus rest"} == {EARLIER}, "some series need a rest"


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_result_that_somebody_has_changed_or_keeps_stays(
    tmp_path: Path, head, keys, change: Callable[[bpy.types.Action], None]
) -> None:
    controls, _ = shape_key_controls((head,))
    bake(job(tmp_path, controls, Smile=pulse(20, 8, 0.25)))
    action = head.data.shape_keys.animation_data.action
    change(action)
    report = bake(job(tmp_path, controls, Smile=pulse(20, 8, 0.5)))
    assert report.kept == (action.name,) and action.use_fake_user
    assert at(28, keys["Smile"]) == pytest.approx(0.5, abs=1e-5)


def test_the_result_of_another_clip_stays(tmp_path: Path, head, keys) -> None:
    controls, _ = shape_key_controls((head,))
    bake(job(tmp_path, controls, Smile=pulse(20, 8, 0.25)))
    action = head.data.shape_keys.animation_data.action
    action["magplus_video"] = "another.mp4"
    assert bake(job(tmp_path, controls, Smile=pulse(20, 8, 0.5))).kept == (action.name,)
    later = job(tmp_path, controls, Smile=pulse(20, 8, 0.25), video_start=60.0)
    action = head.data.shape_keys.animation_data.action
    assert bake(later).kept == (action.name,), "of another part of the same video"


def test_keys_in_an_animators_action_make_it_no_result_of_ours(tmp_path: Path, head, keys) -> None:
    keys["Smile"].value = 0.7
    keys["Smile"].keyframe_insert("value", frame=25)
    own = head.data.shape_keys.animation_data.action
    folder = job(tmp_path, shape_key_controls((head,))[0], Smile=pulse(20, 8, 0.25))
    bake(folder, animation=REPLACE)
    assert bake(folder, animation=NEW_ACTION).kept == (own.name,)
