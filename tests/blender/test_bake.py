# SPDX-License-Identifier: GPL-3.0-or-later
"""Solved curves become keys that Blender plays back, at the right time, and nobody's animation is lost."""

from __future__ import annotations

import dataclasses
import json
from fractions import Fraction
from pathlib import Path

import bpy
import numpy as np
import pytest
from bl_ext.user_default.magplus.backend_bridge.files.errors import InputError
from bl_ext.user_default.magplus.backend_bridge.job.folder import JobFolder
from bl_ext.user_default.magplus.backend_bridge.job.report import ProvenanceReport
from bl_ext.user_default.magplus.operators.animation.destination import LAYER, NEW_ACTION, REPLACE, Destination
from bl_ext.user_default.magplus.operators.animation.keyframes import Keys, assign_new_action, write_keys
from bl_ext.user_default.magplus.operators.bake import bake_controls
from bl_ext.user_default.magplus.operators.rig.controls import LiveChannel
from bl_ext.user_default.magplus.operators.rig.kinds.bone import bone_controls
from bl_ext.user_default.magplus.operators.rig.kinds.shape_key import shape_key_controls

from tests.blender.head import add_armature, dump, make_head
from tests.blender.jobs import pulse, solved

FPS = Fraction(25)


def at(frame: float, key: bpy.types.ShapeKey) -> float:
    bpy.context.scene.frame_set(int(frame // 1), subframe=frame % 1)
    return key.value


@pytest.fixture
def head() -> bpy.types.Object:
    scene = bpy.context.scene
    scene.render.fps, scene.render.fps_base = 25, 1.0
    return make_head(keys=("Ärger 怒り",))


@pytest.fixture
def keys(head: bpy.types.Object) -> bpy.types.bpy_prop_collection:
    return head.data.shape_keys.key_blocks


def bake(folder: JobFolder, skip_still: bool = True, objects: dict | None = None, **where):
    return bake_controls(bpy.context, folder, Destination(**where), skip_still=skip_still, objects=objects)


def test_the_curves_play_back(tmp_path: Path, head, keys) -> None:
    smile, anger = pulse(20, 8, 0.3), pulse(20, 10, 0.1)
    folder = solved(tmp_path, shape_key_controls((head,))[0], {"Smile": smile, "Ärger 怒り": anger}, apex=8)
    report = bake(folder, start_frame=101)
    assert report.record.keyed == ("Smile", "Ärger 怒り")
    for frame in range(20):
        assert at(101 + frame, keys["Smile"]) == pytest.approx(smile[frame], abs=1e-6)
        assert at(101 + frame, keys["Ärger 怒り"]) == pytest.approx(anger[frame], abs=1e-6)
    assert at(90, keys["Smile"]) == 0
    assert report.record.frames == (101, 120)
    assert report.record.apex_kept == 1.0
    assert report.sentences() == []


@pytest.mark.parametrize("animation", ["NEW_ACTION", "LAYER", "REPLACE"])
def test_an_action_names_the_job_that_it_is_of(tmp_path: Path, head, keys, animation: str) -> None:
    folder = solved(tmp_path, shape_key_controls((head,))[0], {"Smile": pulse(20, 8, 0.3)}, apex=8)
    identity = "urn:magplus:job:abc"
    folder.write_report(
        dataclasses.replace(folder.read_report(), provenance=ProvenanceReport(identity, "http://cv.iptc.org/x"))
    )
    [action] = [bpy.data.actions[name] for name in bake(folder, animation=animation).record.actions]
    assert (action["magplus_job"], action["magplus_job_identity"]) == (folder.path.stem, identity)


def test_between_frames_the_curve_runs_straight(tmp_path: Path, head, keys) -> None:
    folder = solved(tmp_path, shape_key_controls((head,))[0], {"Smile": pulse(20, 8, 0.4)}, apex=8)
    bake(folder)
    assert at(8.5, keys["Smile"]) == pytest.approx(0.35, abs=1e-6)


def test_a_fast_clip_is_keyed_between_frames_with_its_apex_on_one(tmp_path: Path, head, keys) -> None:
    values = pulse(80, 43, 0.5)
    folder = solved(tmp_path, shape_key_controls((head,))[0], {"Smile": values}, rate=Fraction(200), apex=43)
    report = bake(folder)
    apex = report.placement.frame(Fraction(43, 200))
    assert apex.denominator == 1
    assert at(int(apex), keys["Smile"]) == pytest.approx(0.5, abs=1e-5)
    assert report.record.apex_kept == pytest.approx(1.0)
    for index in (30, 41, 47):
        frame = float(report.placement.frame(Fraction(index, 200)))
        assert at(frame, keys["Smile"]) == pytest.approx(values[index], abs=1e-4)
    loose = bake(folder, keep_apex=False)
    assert loose.placement.shift == 0
    assert loose.record.apex_kept < 0.9
    assert "of the apex" in loose.sentences()[-1]


def test_23_976_is_exact(tmp_path: Path, head, keys) -> None:
    bpy.context.scene.render.fps, bpy.context.scene.render.fps_base = 24, 1.001
    values = np.linspace(0, 1, 3000)
    folder = solved(tmp_path, shape_key_controls((head,))[0], {"Smile": values}, rate=Fraction(24000, 1001))
    bake(folder)
    assert at(2500, keys["Smile"]) == pytest.approx(values[2499], abs=1e-6)


def test_the_range_is_widened_not_the_curve_cut(tmp_path: Path, head, keys) -> None:
    folder = solved(
        tmp_path, shape_key_controls((head,))[0], {"Smile": pulse(20, 8, 2.53), "Nod": -pulse(20, 8, 0.44)}, apex=8
    )
    report = bake(folder)
    assert at(9, keys["Smile"]) == pytest.approx(2.53, abs=1e-5)
    assert at(9, keys["Nod"]) == pytest.approx(-0.44, abs=1e-5)
    assert keys["Smile"].slider_max == pytest.approx(2.6)
    assert keys["Nod"].slider_min == pytest.approx(-0.5)
    assert set(report.raised) == {"Smile", "Nod"}
    assert "range was widened of 'Smile', 'Nod'" in " ".join(report.sentences())


def test_existing_animation_is_kept(tmp_path: Path, head, keys) -> None:
    keys["Smile"].value = 0.7
    keys["Smile"].keyframe_insert("value", frame=5)
    old = head.data.shape_keys.animation_data.action
    folder = solved(tmp_path, shape_key_controls((head,))[0], {"Smile": 0.7 + pulse(20, 8, 0.2)}, apex=8)
    report = bake(folder)
    new = head.data.shape_keys.animation_data.action
    assert new != old and new.name in report.record.actions
    assert old.use_fake_user and report.kept == (old.name,)
    assert old.name in report.sentences()[0]
    bpy.context.scene.frame_set(5)
    head.data.shape_keys.animation_data.action = old
    if hasattr(old, "slots"):
        head.data.shape_keys.animation_data.action_slot = old.slots[0]
    assert at(5, keys["Smile"]) == pytest.approx(0.7)


def test_into_the_action_only_the_clips_interval_changes(tmp_path: Path, head, keys) -> None:
    for frame, value in ((1, 0.1), (40, 0.2), (50, 0.9), (90, 0.3)):
        keys["Smile"].value = value
        keys["Smile"].keyframe_insert("value", frame=frame)
        keys["Nod"].keyframe_insert("value", frame=frame)
    action = head.data.shape_keys.animation_data.action
    folder = solved(tmp_path, shape_key_controls((head,))[0], {"Smile": pulse(20, 8, 0.25)}, apex=8)
    outside = [*range(-5, 45), 20.3, *range(65, 95)]
    before = [at(frame, keys["Smile"]) for frame in outside]
    report = bake(folder, start_frame=45, animation=REPLACE)
    assert report.record.actions == (action.name,) and report.kept == ()
    assert head.data.shape_keys.animation_data.action == action
    assert at(53, keys["Smile"]) == pytest.approx(0.25, abs=1e-6)
    assert at(50, keys["Smile"]) == pytest.approx(pulse(20, 8, 0.25)[5], abs=1e-6)
    assert [at(frame, keys["Smile"]) for frame in outside] == pytest.approx(before, abs=1e-5)
    again = bake(folder, start_frame=45, animation=REPLACE)
    assert again.record.actions == (action.name,)
    assert at(53, keys["Smile"]) == pytest.approx(0.25, abs=1e-6)
    assert [at(frame, keys["Smile"]) for frame in outside] == pytest.approx(before, abs=1e-5)


def test_into_the_action_without_one_makes_one(tmp_path: Path, head, keys) -> None:
    folder = solved(tmp_path, shape_key_controls((head,))[0], {"Smile": pulse(20, 8, 0.25)}, apex=8)
    bake(folder, animation=REPLACE)
    assert at(9, keys["Smile"]) == pytest.approx(0.25, abs=1e-6)


def test_a_locked_curve_is_respected(tmp_path: Path, head, keys) -> None:
    curves = {"Smile": pulse(20, 8, 0.25), "Nod": pulse(20, 8, 1.7)}
    folder = solved(tmp_path, shape_key_controls((head,))[0], curves, apex=8)
    bake(folder)
    _curves(head.data.shape_keys)[1].lock = True
    keys["Nod"].slider_max = 1.0
    with pytest.raises(InputError, match="is locked"):
        bake(folder, start_frame=10, animation=REPLACE)
    assert at(9, keys["Smile"]) == pytest.approx(0.25, abs=1e-6)  # nothing is written half
    assert keys["Nod"].slider_max == 1.0


def _curves(id_block: bpy.types.ID) -> list[bpy.types.FCurve]:
    action = id_block.animation_data.action
    if not hasattr(action, "slots"):
        return list(action.fcurves)
    return list(action.layers[0].strips[0].channelbag(id_block.animation_data.action_slot).fcurves)


def test_a_layer_adds_to_a_performance_and_its_strength_can_be_set(tmp_path: Path, head, keys) -> None:
    keys["Smile"].value = 0.2
    keys["Smile"].keyframe_insert("value", frame=1)
    keys["Smile"].value = 0.6
    keys["Smile"].keyframe_insert("value", frame=41)
    for curve in _curves(head.data.shape_keys):
        for point in curve.keyframe_points:
            point.interpolation = "LINEAR"
    keys["Brow Up"].value = 0.3  # set, but not animated
    bpy.context.scene.frame_set(1)
    performance = {frame: at(frame, keys["Smile"]) for frame in (5, 20, 28, 35)}
    bpy.context.scene.frame_set(1)
    controls, _ = shape_key_controls((head,))
    rest = keys["Smile"].value
    values = {"Smile": rest + pulse(17, 8, 0.25), "Brow Up": 0.3 + pulse(17, 8, 0.1)}
    folder = solved(tmp_path, controls, values, rate=Fraction(200), apex=8)
    bake(folder, start_frame=20, animation=LAYER, keep_apex=True)
    assert at(5, keys["Smile"]) == pytest.approx(performance[5], abs=1e-5)
    assert at(35, keys["Smile"]) == pytest.approx(performance[35], abs=1e-5)
    assert at(21, keys["Smile"]) == pytest.approx(0.2 + 0.4 * 20 / 40 + 0.25, abs=1e-4)
    assert at(21, keys["Brow Up"]) == pytest.approx(0.4, abs=1e-4)
    strip = head.data.shape_keys.animation_data.nla_tracks[-1].strips[0]
    strip.fcurves.find("influence").keyframe_points[0].co.y = 0.5
    assert at(21, keys["Smile"]) == pytest.approx(0.2 + 0.4 * 20 / 40 + 0.125, abs=1e-4)


def test_what_cannot_be_keyed_any_more_is_reported(tmp_path: Path, head, keys) -> None:
    controls, _ = shape_key_controls((head,))
    values = {name: pulse(20, 8, 0.2) for name in ("Smile", "Nod", "Brow Up", "Ärger 怒り")}
    folder = solved(tmp_path, controls, values, apex=8)
    keys["Nod"].mute = True
    keys["Brow Up"].driver_add("value")
    head.shape_key_remove(keys["Ärger 怒り"])
    report = bake(folder)
    assert report.record.keyed == ("Smile",)
    assert report.record.not_keyed == {
        "Nod": "is muted",
        "Brow Up": "is driven",
        "Ärger 怒り": "is no longer on 'Head'",
    }
    assert "Not keyed: 'Nod' is muted." in report.sentences()
    keys["Smile"].mute = True
    with pytest.raises(InputError, match="None of the job's controls can be keyed"):
        bake(folder)


def test_an_object_that_was_renamed_can_be_named(tmp_path: Path, head, keys) -> None:
    folder = solved(tmp_path, shape_key_controls((head,))[0], {"Smile": pulse(20, 8, 0.2)}, apex=8)
    head.name = "Kopf"
    with pytest.raises(InputError, match="no longer in the file"):
        bake(folder)
    bake(folder, objects={"Head": head})
    assert at(9, keys["Smile"]) == pytest.approx(0.2, abs=1e-6)


def test_linked_keys_move_together(tmp_path: Path, head, keys) -> None:
    teeth = make_head("Teeth")
    folder = solved(tmp_path, shape_key_controls((head, teeth))[0], {"Smile": pulse(20, 8, 0.2)}, apex=8)
    report = bake(folder)
    assert len(report.record.actions) == 2
    assert at(9, keys["Smile"]) == pytest.approx(0.2, abs=1e-6)
    assert at(9, teeth.data.shape_keys.key_blocks["Smile"]) == pytest.approx(0.2, abs=1e-6)


def test_a_linked_character_is_baked_through_its_override(tmp_path: Path, head) -> None:
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "character.blend"))
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    scene = bpy.context.scene
    scene.render.fps = 25
    with bpy.data.libraries.load(str(tmp_path / "character.blend"), link=True) as (_, wanted):
        wanted.objects = ["Head"]
    (linked,) = wanted.objects
    scene.collection.objects.link(linked)
    controls, excluded = shape_key_controls((linked,))
    assert not controls and "library override of the object and of its mesh" in excluded["Smile"]
    hero = linked.override_hierarchy_create(scene, bpy.context.view_layer, do_fully_editable=True)
    hero.data.override_create(remap_local_usages=True)
    folder = solved(tmp_path, shape_key_controls((hero,))[0], {"Smile": pulse(20, 8, 1.5)}, apex=8)
    report = bake(folder)
    assert "does not save the wider range of 'Smile'" in " ".join(report.sentences())
    assert at(9, hero.data.shape_keys.key_blocks["Smile"]) == pytest.approx(1.5)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shot.blend"))
    hero = bpy.data.objects["Head", None]
    assert at(6, hero.data.shape_keys.key_blocks["Smile"]) == pytest.approx(1.5 / 4, abs=1e-5)


def test_bones_and_properties_are_keyed_alike(tmp_path: Path) -> None:
    bpy.context.scene.render.fps = 25
    armature = add_armature({"jaw": (0, 0, 0)})
    controls, _ = bone_controls(armature, ("jaw",))
    folder = solved(tmp_path, controls, {"jaw location Z": pulse(20, 8, 0.2), "jaw rotation X": pulse(20, 8, 0.1)})
    report = bake(folder)
    assert report.record.keyed == ("jaw location Z", "jaw rotation X")
    bpy.context.scene.frame_set(9)
    bone = armature.pose.bones["jaw"]
    assert bone.location.z == pytest.approx(0.2, abs=1e-6)
    assert bone.rotation_quaternion.x == pytest.approx(0.1, abs=1e-6)


def test_still_controls_have_no_keys_unless_asked_for(tmp_path: Path, head) -> None:
    folder = solved(tmp_path, shape_key_controls((head,))[0], {"Smile": pulse(20, 8, 0.2)}, apex=8)
    assert len(_curves(head.data.shape_keys) if bake(folder) else []) == 1
    bake(folder, skip_still=False)
    assert len(_curves(head.data.shape_keys)) == 4


def test_events_become_markers_once(tmp_path: Path, head) -> None:
    folder = solved(tmp_path, shape_key_controls((head,))[0], {"Smile": pulse(20, 8, 0.2)}, apex=8)
    bake(folder, start_frame=11)
    bake(folder, start_frame=11)
    markers = {marker.name: marker.frame for marker in bpy.context.scene.timeline_markers}
    assert markers == {"MagPlus onset": 16, "MagPlus apex": 19, "MagPlus offset": 22}
    assert len(bpy.context.scene.timeline_markers) == 3


def test_markers_that_were_moved_are_the_trim_of_the_next_run(tmp_path: Path, head) -> None:
    scene = bpy.context.scene
    with pytest.raises(RuntimeError, match=r"poll\(\) There is no result"):
        bpy.ops.magplus.trim_from_markers()
    folder = solved(tmp_path, shape_key_controls((head,))[0], {"Smile": pulse(20, 8, 0.2)}, apex=8, video_start=2.0)
    bake(folder, start_frame=11)
    scene.timeline_markers["MagPlus onset"].frame = 14
    scene.timeline_markers["MagPlus offset"].frame = 24
    assert bpy.ops.magplus.trim_from_markers() == {"FINISHED"}
    settings = scene.magplus
    assert settings.use_trim and settings.start_frame == 14
    assert settings.trim_start == pytest.approx(2 + 3 / 25) and settings.trim_end == pytest.approx(2 + 13 / 25)
    scene.timeline_markers["MagPlus offset"].frame = 13
    with pytest.raises(RuntimeError, match="does not come after"):
        bpy.ops.magplus.trim_from_markers()


def test_the_trim_is_that_of_the_result_at_the_playhead(tmp_path: Path, head) -> None:
    scene, control = bpy.context.scene, shape_key_controls((head,))[0]
    for name, start, frame in (("one", 2.0, 11), ("two", 7.0, 111)):
        (tmp_path / name).mkdir()
        folder = solved(tmp_path / name, control, {"Smile": pulse(20, 8, 0.2)}, apex=8, video_start=start)
        bake(folder, start_frame=frame)
    found = {}
    for frame in (11, 115, 60):
        scene.frame_set(frame)
        bpy.ops.magplus.trim_from_markers()
        found[frame] = scene.magplus.trim_start, scene.magplus.start_frame
    assert found[11] == (pytest.approx(2 + 5 / 25), 16)
    assert found[115] == found[60] == (pytest.approx(7 + 5 / 25), 116)


def test_markers_of_another_video_are_no_trim_of_this_one(tmp_path: Path, head) -> None:
    scene = bpy.context.scene
    bake(solved(tmp_path, shape_key_controls((head,))[0], {"Smile": pulse(20, 8, 0.2)}, apex=8), start_frame=11)
    scene.magplus.driving = str(tmp_path / "frown.mp4")
    with pytest.raises(RuntimeError, match=r"of clip\.mp4, but the driving video is frown\.mp4; choose clip\.mp4"):
        bpy.ops.magplus.trim_from_markers()
    scene.magplus.driving = str(tmp_path / "elsewhere" / "clip.mp4")
    assert bpy.ops.magplus.trim_from_markers() == {"FINISHED"}


def test_a_muted_layer_of_an_earlier_bake_is_reported_where_it_would_add_up(tmp_path: Path, head) -> None:
    folder = solved(tmp_path, shape_key_controls((head,))[0], {"Smile": pulse(20, 8, 0.2)}, apex=8)
    bake(folder, start_frame=11, animation=LAYER)
    track = head.data.shape_keys.animation_data.nla_tracks[-1]
    track.mute = True
    for animation in (LAYER, NEW_ACTION):
        beside, elsewhere = (bake(folder, start_frame=frame, animation=animation).sentences() for frame in (15, 211))
        assert any(f"{track.name!r} holds an earlier" in line for line in beside)
        assert not any("holds an earlier" in line for line in elsewhere)


@pytest.mark.parametrize("animation, hides", [(NEW_ACTION, True), (REPLACE, True), (LAYER, False)])
def test_a_track_that_the_keys_hide_is_named(tmp_path: Path, head, keys, animation: str, hides: bool) -> None:
    for frame in (1, 60):
        keys["Smile"].value = 0.2
        keys["Smile"].keyframe_insert("value", frame=frame)
    data = head.data.shape_keys.animation_data
    track = data.nla_tracks.new()
    track.strips.new("take", 1, data.action)
    data.action = None
    folder = solved(tmp_path, shape_key_controls((head,))[0], {"Smile": pulse(20, 8, 0.3)}, apex=8)
    line = f"The keys hide the track {track.name!r}; to play both, choose Layer on Top instead."
    assert (line in bake(folder, start_frame=11, animation=animation).sentences()) is hides
    again = bake(folder, start_frame=41, animation=animation).sentences()
    assert line not in again, "it is hidden already"
    track.mute = True
    assert line not in bake(folder, start_frame=41, animation=animation).sentences()


@pytest.mark.parametrize("rate, fps", [(200, 24), (24, 60)])
def test_slow_motion_is_an_exact_multiple_of_real_time(tmp_path: Path, head, keys, rate: int, fps: int) -> None:
    bpy.context.scene.render.fps = fps
    values = pulse(40, 13, 0.4)
    folder = solved(tmp_path, shape_key_controls((head,))[0], {"Smile": values}, rate=Fraction(rate), apex=13)
    real = bake(folder, start_frame=5)
    assert real.record.frames[1] - real.record.frames[0] == pytest.approx(39 * fps / rate)
    slow = bake(folder, start_frame=5, stretch=Fraction(5))
    assert slow.placement.frame(Fraction(13, rate)).denominator == 1 and slow.record.apex_kept == pytest.approx(1)
    for index in range(40):
        assert at(float(slow.placement.frame(Fraction(index, rate))), keys["Smile"]) == pytest.approx(
            values[index], abs=1e-4
        )
    assert slow.record.frames[1] - slow.record.frames[0] == pytest.approx(5 * 39 * fps / rate)


def test_the_record_of_a_bake_says_how_much_of_the_apex_is_kept(tmp_path: Path, head) -> None:
    folder = solved(
        tmp_path, shape_key_controls((head,))[0], {"Smile": pulse(80, 43, 0.5)}, rate=Fraction(200), apex=43
    )
    report = bake(folder, keep_apex=False)
    record = json.loads((folder.path / "bake.json").read_text(encoding="utf-8"))
    assert record["apex_kept"] == report.record.apex_kept < 0.9
    assert (record["scene_rate"], record["shift"], record["stretch"]) == ("25", "0", "1")


@pytest.mark.parametrize("mode", [NEW_ACTION, LAYER, REPLACE])
def test_the_strength_can_be_set_after_the_bake_and_set_back(tmp_path: Path, head, keys, mode: str) -> None:
    for frame, value in ((1, 0.1), (60, 0.2)):
        keys["Smile"].value = value
        keys["Smile"].keyframe_insert("value", frame=frame)
    bpy.context.scene.frame_set(20)
    controls, _ = shape_key_controls((head,))
    rest = keys["Smile"].value
    folder = solved(tmp_path, controls, {"Smile": rest + pulse(20, 8, 0.4)}, apex=8)
    bake(folder, start_frame=20, animation=mode)
    frames = range(15, 45)
    solved_as = {frame: at(frame, keys["Smile"]) for frame in frames}
    base = rest if mode == NEW_ACTION else None
    record = bpy.context.scene.magplus.bakes[-1]
    record.strength = 0.0
    still = {frame: at(frame, keys["Smile"]) for frame in frames}
    assert max(abs(still[frame] - (base or rest)) for frame in range(20, 40)) < 0.05
    record.strength = 3.0
    assert at(28, keys["Smile"]) == pytest.approx(still[28] + 3 * (solved_as[28] - still[28]), abs=1e-4)
    assert at(28, keys["Smile"]) > 1  # the range was widened with it
    for frame in (15, 19, 40, 44):
        assert at(frame, keys["Smile"]) == pytest.approx(solved_as[frame], abs=1e-5)
    for strength in (0.25, 0.0, 1.0):
        record.strength = strength
    assert {frame: at(frame, keys["Smile"]) for frame in frames} == pytest.approx(solved_as, abs=1e-6)


def test_each_bake_into_one_action_has_its_own_strength(tmp_path: Path, head, keys) -> None:
    keys["Smile"].keyframe_insert("value", frame=1)
    folder = solved(tmp_path, shape_key_controls((head,))[0], {"Smile": pulse(20, 8, 0.4)}, apex=8)
    bake(folder, start_frame=10, animation=REPLACE)
    bake(folder, start_frame=50, animation=REPLACE)
    first, second = bpy.context.scene.magplus.bakes
    first.strength, second.strength = 0.5, 2.0
    assert at(18, keys["Smile"]) == pytest.approx(0.2, abs=1e-5)
    assert at(58, keys["Smile"]) == pytest.approx(0.8, abs=1e-5)
    bake(folder, start_frame=25, animation=REPLACE)  # over the end of the first
    assert at(18, keys["Smile"]) == pytest.approx(0.2, abs=1e-5)
    assert at(33, keys["Smile"]) == pytest.approx(0.4, abs=1e-5)
    assert at(58, keys["Smile"]) == pytest.approx(0.8, abs=1e-5)


def test_the_operator_bakes_and_undo_takes_it_back(tmp_path: Path, head) -> None:
    folder = solved(tmp_path, shape_key_controls((head,))[0], {"Smile": pulse(20, 8, 1.5)}, apex=8)
    bpy.ops.ed.undo_push(message="before")
    assert bpy.ops.magplus.bake_shape_keys("EXEC_DEFAULT", True, folder=str(folder.path)) == {"FINISHED"}
    keys = bpy.data.objects["Head"].data.shape_keys
    assert keys.animation_data.action is not None
    assert len(bpy.context.scene.timeline_markers) == 3
    bpy.ops.ed.undo()
    keys = bpy.data.objects["Head"].data.shape_keys
    assert keys.animation_data is None
    assert keys.key_blocks["Smile"].slider_max == 1.0
    assert not bpy.context.scene.timeline_markers
    assert not bpy.data.actions


def test_a_job_without_weights_is_one_sentence(tmp_path: Path, head) -> None:
    folder = solved(tmp_path, shape_key_controls((head,))[0], {"Smile": pulse(20, 8, 0.2)})
    before = dump()
    folder.weights_npz.write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(InputError, match="not what the run wrote"):
        bake(folder)
    folder.weights_npz.unlink()
    with pytest.raises(InputError, match="no solved controls"):
        bake(folder)
    with pytest.raises(RuntimeError, match="There is no job folder"):
        bpy.ops.magplus.bake_shape_keys(folder=str(tmp_path / "nowhere"))
    assert dump() == before


def test_fifty_two_curves_of_three_hundred_keys_have_their_values_between_frames_too(head) -> None:
    key = head.data.shape_keys
    names = [head.shape_key_add(name=f"key {number}", from_mix=False).name for number in range(52)]
    values = np.random.default_rng(0).random((52, 300))
    frames = np.arange(300) * 0.5 + 1
    assign_new_action(key, "Many")
    for name, row in zip(names, values, strict=True):
        write_keys(Keys(LiveChannel(key, f'key_blocks["{name}"].value'), frames, row))
    for index in (0, 149, 298):
        for frame, expected in (
            (frames[index], values[:, index]),
            (frames[index] + 0.25, values[:, index : index + 2].mean(1)),
        ):
            at(frame, key.key_blocks[names[0]])
            assert [key.key_blocks[name].value for name in names] == pytest.approx(list(expected), abs=1e-4)


def test_modes_are_what_the_operator_offers() -> None:
    items = bpy.ops.magplus.bake_shape_keys.get_rna_type().properties["mode"].enum_items
    assert [item.identifier for item in items] == [NEW_ACTION, LAYER, REPLACE]
