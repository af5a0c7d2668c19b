# SPDX-License-Identifier: GPL-3.0-or-later
"""Beside its window a bake leaves everything at rest, and within it nothing else of ours plays."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import bpy
import numpy as np
import pytest
from bl_ext.user_default.magplus.backend_bridge.job.folder import JobFolder
from bl_ext.user_default.magplus.operators.animation.destination import LAYER, NEW_ACTION, REPLACE
from bl_ext.user_default.magplus.operators.animation.keyframes import find_curve
from bl_ext.user_default.magplus.operators.avatar.bare_scene import bare_scene
from bl_ext.user_default.magplus.operators.rig.controls import LiveChannel
from bl_ext.user_default.magplus.operators.rig.kinds.bone import bone_controls
from bl_ext.user_default.magplus.operators.rig.kinds.property import property_controls
from bl_ext.user_default.magplus.operators.rig.kinds.shape_key import shape_key_controls

from tests.blender.animation.baking import MODES, OUTSIDE, at, bake, job
from tests.blender.head import add_armature, bind, make_head
from tests.blender.jobs import pulse, solved

pytestmark = pytest.mark.usefixtures("rate")


def own_take(key: bpy.types.ShapeKey, muted: bool) -> bpy.types.NlaTrack:
    """An animator's take of a shape key, pushed down into a track."""
    before = key.value
    for frame, value in ((1, 0.6), (60, 0.8)):
        key.value = value
        key.keyframe_insert("value", frame=frame)
    animation = key.id_data.animation_data
    track = animation.nla_tracks.new()
    slot = getattr(animation, "action_slot", None)
    strip = track.strips.new("Take", 1, animation.action)
    if slot is not None:
        strip.action_slot = slot
    animation.action = None
    track.mute = muted
    if muted:
        key.value = before
    return track


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rest", [0.0, 0.4])
@pytest.mark.parametrize("there", ["nothing", "a muted take", "another key's take", "a take of its own, muted curve"])
def test_a_shape_key_stays_at_rest_beside_the_clip(
    tmp_path: Path, head, keys, mode: str, rest: float, there: str
) -> None:
    keys["Smile"].value = rest
    if there == "a muted take":
        own_take(keys["Smile"], muted=True)
    elif there == "another key's take":
        own_take(keys["Nod"], muted=False)
    elif there.startswith("a take of its own"):
        keys["Nod"].keyframe_insert("value", frame=3)
    controls, _ = shape_key_controls((head,))
    bake(job(tmp_path, controls, Smile=pulse(20, 8, 0.25)), animation=mode)
    assert [at(frame, keys["Smile"]) for frame in OUTSIDE] == pytest.approx([rest] * len(OUTSIDE), abs=1e-5)
    assert at(28, keys["Smile"]) == pytest.approx(rest + 0.25, abs=1e-5)
    assert at(26, keys["Smile"]) == pytest.approx(rest + 0.125, abs=1e-5)


def test_a_layer_on_a_muted_curve_stays_at_rest(tmp_path: Path, head, keys) -> None:
    keys["Smile"].keyframe_insert("value", frame=1)
    _curves(head.data.shape_keys)[0].mute = True
    keys["Smile"].value = 0.3
    bake(job(tmp_path, shape_key_controls((head,))[0], Smile=pulse(20, 8, 0.25)), animation=LAYER)
    assert [at(frame, keys["Smile"]) for frame in OUTSIDE] == pytest.approx([0.3] * len(OUTSIDE), abs=1e-5)
    assert at(28, keys["Smile"]) == pytest.approx(0.55, abs=1e-5)


GOES_ON = {
    "repeats": lambda curve, _: curve.modifiers.new("CYCLES"),
    "shakes": lambda curve, _: curve.modifiers.new("NOISE"),
    "rises on": lambda curve, _: setattr(curve, "extrapolation", "LINEAR"),
    "has a range by hand": lambda _, action: _set_range(action),
}


def _set_range(action: bpy.types.Action) -> None:
    action.use_frame_range, action.frame_start, action.frame_end = True, 3, 6


@pytest.mark.parametrize("act", GOES_ON.values(), ids=GOES_ON.keys())
def test_a_performance_goes_on_under_layers_as_it_did(tmp_path: Path, head, keys, act) -> None:
    for frame, value in ((1, 0.1), (11, 0.3)):
        keys["Smile"].value = value
        keys["Smile"].keyframe_insert("value", frame=frame)
    act(_curves(head.data.shape_keys)[0], head.data.shape_keys.animation_data.action)
    frames = (-13, -5.5, 1, 4, 8, 15, 60, 75.25, 400)
    before = [at(frame, keys["Smile"]) for frame in frames]
    assert at(1, keys["Nod"]) == 0
    folder = job(tmp_path, shape_key_controls((head,))[0], Smile=pulse(20, 8, 0.2), Nod=pulse(20, 8, 0.3))
    for _ in range(2):
        bake(folder, animation=LAYER)
        assert [at(frame, keys["Smile"]) for frame in frames] == pytest.approx(before, abs=2e-3)
        assert at(28, keys["Nod"]) == pytest.approx(0.3, abs=1e-5)


def test_a_muted_take_can_come_back_under_a_layer(tmp_path: Path, head, keys) -> None:
    neutral = keys["Smile"].bl_rna.properties["value"].default
    keys["Smile"].value = neutral  # then the layer needs nothing below it
    track = own_take(keys["Smile"], muted=True)
    bake(job(tmp_path, shape_key_controls((head,))[0], Smile=-pulse(20, 8, 0.25)), animation=LAYER)
    track.mute = False
    assert at(1, keys["Smile"]) == pytest.approx(0.6, abs=1e-5)
    keys["Smile"].value = neutral
    track.mute = True
    keys["Smile"].value = 0.4
    other = job(tmp_path / "b", shape_key_controls((head,))[0], Brow_Up=pulse(20, 8, 0.25))
    own_take(keys["Brow Up"], muted=True)
    keys["Brow Up"].value = 0.35
    other = job(tmp_path / "b", shape_key_controls((head,))[0], Brow_Up=pulse(20, 8, 0.25))
    sentences = " ".join(bake(other, animation=LAYER).sentences())
    assert "To play the muted track" in sentences and "'MagPlus rest'" in sentences


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("below", [False, True])
def test_bones_and_properties_stay_as_they_were_posed(tmp_path: Path, mode: str, below: bool) -> None:
    rig = add_armature({"jaw": (0, 0, 0), "brow": (0, 0, 1)})
    jaw, brow = rig.pose.bones["jaw"], rig.pose.bones["brow"]
    jaw.rotation_quaternion = (0.9, 0.1, 0.3, 0.2)
    jaw.location = (0.1, 0.2, 0.3)
    brow.rotation_mode = "XYZ"
    brow.rotation_euler = (0.1, 0.2, 0.3)
    rig["wide"] = 0.25
    rig.id_properties_ui("wide").update(soft_min=0.0, soft_max=1.0)
    if below:  # the NLA is in use
        rig.keyframe_insert("location", frame=1)
        animation = rig.animation_data
        strip = animation.nla_tracks.new().strips.new("Body", 1, animation.action)
        if hasattr(strip, "action_slot"):
            strip.action_slot = animation.action_slot
        animation.action = None
    bpy.context.view_layer.update()
    controls = [*bone_controls(rig, ("jaw", "brow"))[0], *property_controls(rig, ('["wide"]',))[0]]

    def pose() -> list[float]:
        return [*jaw.rotation_quaternion, *jaw.location, *brow.rotation_euler, rig["wide"]]

    before = pose()
    moving = {
        "jaw_rotation_X": pulse(20, 8, 0.1),
        "jaw_location_Z": pulse(20, 8, 0.2),
        "brow_rotation_Y": pulse(20, 8, 0.3),
        "wide": pulse(20, 8, 0.4),
    }
    bake(job(tmp_path, controls, **moving), animation=mode)
    for frame in OUTSIDE:
        bpy.context.scene.frame_set(frame)
        assert pose() == pytest.approx(before, abs=1e-5), frame
    bpy.context.scene.frame_set(28)
    expected = list(before)
    for index, height in ((1, 0.1), (6, 0.2), (8, 0.3), (10, 0.4)):
        expected[index] += height
    assert pose() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_what_a_replaced_take_animated_stays_as_it_was_at_the_start(tmp_path: Path, head, keys, mode: str) -> None:
    controls, _ = shape_key_controls((head,))
    bake(job(tmp_path / "a", controls, Smile=pulse(20, 8, 0.5), Nod=pulse(20, 8, 0.5)), animation=NEW_ACTION)
    bpy.context.scene.frame_set(28)  # the apex; and the next one moves the smile alone
    bake(job(tmp_path / "b", controls, Smile=pulse(20, 8, 0.25)), animation=mode)
    for frame in (*OUTSIDE, 28):
        assert at(frame, keys["Nod"]) == pytest.approx(0.0, abs=1e-5)
        assert at(frame, keys["Smile"]) == pytest.approx(0.25 if frame == 28 else 0.0, abs=1e-5)


@pytest.mark.parametrize("first", MODES)
@pytest.mark.parametrize("second", MODES)
def test_a_new_window_clears_what_earlier_bakes_made_there(tmp_path: Path, head, keys, first: str, second: str) -> None:
    controls, _ = shape_key_controls((head,))
    held = 0.4 * np.minimum(np.arange(20) / 10, 1)
    bake(job(tmp_path / "a", controls, Smile=held, Nod=held), start_frame=1, animation=first, release=None)
    assert at(60, keys["Nod"]) == pytest.approx(0.4, abs=1e-5)
    bake(job(tmp_path / "b", controls, Smile=pulse(20, 8, 0.25)), start_frame=30, animation=second)
    for index, expected in enumerate(pulse(20, 8, 0.25)):
        assert at(30 + index, keys["Smile"]) == pytest.approx(expected, abs=1e-5)
        assert at(30 + index, keys["Nod"]) == pytest.approx(0.0, abs=1e-5)
    if second == LAYER or first == second == REPLACE:  # elsewhere a new action lies over the first
        assert at(25, keys["Smile"]) == pytest.approx(0.4, abs=1e-5)
        assert at(25, keys["Nod"]) == pytest.approx(0.4, abs=1e-5)
    assert at(200, keys["Smile"]) == pytest.approx(0, abs=1e-5)
    assert at(200, keys["Nod"]) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("first", MODES)
@pytest.mark.parametrize("second", MODES)
def test_a_new_window_clears_other_controls_of_the_character_too(
    tmp_path: Path, head, keys, first: str, second: str
) -> None:
    rig, other = add_armature({"jaw": (0, 0, 0)}), add_armature({"jaw": (0, 0, 0)})
    bind(head, rig, "jaw")
    everything = [*shape_key_controls((head,))[0], *bone_controls(rig, ("jaw",), ("location",))[0]]
    moving = {"Smile": pulse(20, 8, 0.25), "jaw_location_Z": pulse(20, 8, 0.5)}
    bake(job(tmp_path / "a", everything, **moving), animation=first)
    beside = job(tmp_path / "b", bone_controls(other, ("jaw",), ("location",))[0], jaw_location_Z=pulse(20, 8, 0.5))
    bake(beside, animation=first)
    bpy.context.scene.frame_set(28)
    assert rig.pose.bones["jaw"].location.z == pytest.approx(0.5, abs=1e-5)
    bpy.context.scene.frame_set(1)
    bake(job(tmp_path / "c", shape_key_controls((head,))[0], Nod=pulse(20, 8, 0.25)), animation=second)
    assert at(28, keys["Nod"]) == pytest.approx(0.25, abs=1e-5) and keys["Smile"].value == pytest.approx(0, abs=1e-5)
    assert rig.pose.bones["jaw"].location.z == pytest.approx(0, abs=1e-5)
    assert other.pose.bones["jaw"].location.z == pytest.approx(0.5, abs=1e-5), "another character"


def test_the_same_clip_again_does_not_add_up(tmp_path: Path, head, keys) -> None:
    controls, _ = shape_key_controls((head,))
    folder = job(tmp_path, controls, Smile=pulse(20, 8, 0.25))
    for _ in range(3):
        bake(folder, animation=LAYER)
    assert at(28, keys["Smile"]) == pytest.approx(0.25, abs=1e-5)
    assert [record.name for record in bpy.context.scene.magplus.bakes] == ["プロジェクト é"]
    names = [track.name for track in head.data.shape_keys.animation_data.nla_tracks if track.name != "MagPlus rest"]
    assert len(names) == 1


@pytest.mark.parametrize("mode", MODES)
def test_a_clip_that_ends_in_the_middle_is_eased_back(tmp_path: Path, head, keys, mode: str) -> None:
    keys["Smile"].value = 0.1
    rising = 0.44 * np.arange(20) / 19
    folder = job(tmp_path, shape_key_controls((head,))[0], Smile=rising)
    report = bake(folder, animation=mode)
    values = [at(frame, keys["Smile"]) for frame in range(39, 50)]
    assert values[0] == pytest.approx(0.54, abs=1e-5) and values[5:] == pytest.approx([0.1] * 6, abs=1e-5)
    assert max(np.abs(np.diff(values))) < 0.15 and (np.diff(values[:6]) < 0).all()
    assert "ends while 100% of the expression still shows, so it is eased back over 0.2 s" in " ".join(
        report.sentences()
    )
    slow = bake(folder, animation=mode, release=1.0)
    assert 0.15 < at(50, keys["Smile"]) < 0.5 and at(65, keys["Smile"]) == pytest.approx(0.1, abs=1e-5)
    held = bake(folder, animation=mode, release=None)
    assert at(90, keys["Smile"]) == pytest.approx(0.54, abs=1e-5)
    assert "so it stays" in " ".join(held.sentences()) and slow.record.frames == held.record.frames


def test_strengths_are_distinguished_by_their_whole_names(tmp_path: Path, head, keys) -> None:
    controls, _ = shape_key_controls((head,))
    first = job(tmp_path, controls, Smile=pulse(20, 8, 0.2))
    for start in (20, 60, 100):
        bake(first, start_frame=start, animation=LAYER)
    bakes = bpy.context.scene.magplus.bakes
    assert [each.name for each in bakes] == ["プロジェクト é", "プロジェクト é.001", "プロジェクト é.002"]
    bakes[0].strength, bakes[1].strength = 0.5, 2.0
    path = str(tmp_path / "reopened.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.open_mainfile(filepath=path)
    smile = bpy.data.objects["Head"].data.shape_keys.key_blocks["Smile"]
    bakes = bpy.context.scene.magplus.bakes
    assert [at(frame, smile) for frame in (28, 68, 108)] == pytest.approx([0.1, 0.4, 0.2], abs=1e-5)
    bakes[2].strength = 1.5
    assert [at(frame, smile) for frame in (28, 68, 108)] == pytest.approx([0.1, 0.4, 0.3], abs=1e-5)


def test_dead_bakes_leave_the_list(tmp_path: Path, head, keys) -> None:
    controls, _ = shape_key_controls((head,))
    folder = job(tmp_path, controls, Smile=pulse(20, 8, 0.2))
    bake(folder)
    bake(folder)  # a new action: the first plays no more
    bakes = bpy.context.scene.magplus.bakes
    assert [each.name for each in bakes] == ["プロジェクト é"], "under the name of the one that it replaces"
    bakes[0].strength = 2.0
    assert at(28, keys["Smile"]) == pytest.approx(0.4, abs=1e-5)
    head.data.shape_keys.animation_data.action = None
    path = str(tmp_path / "reopened.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.open_mainfile(filepath=path)
    assert not bpy.context.scene.magplus.bakes


def test_a_bake_that_another_scene_has_replaced_leaves_the_list(tmp_path: Path, head, keys) -> None:
    scene = bpy.context.scene
    other = bpy.data.scenes.new("Other")
    other.collection.objects.link(head)
    folder = job(tmp_path, shape_key_controls((head,))[0], Smile=pulse(20, 8, 0.25))
    bake(folder)
    with bpy.context.temp_override(scene=other, view_layer=other.view_layers[0]):
        bake(folder)
    assert not scene.magplus.bakes and len(other.magplus.bakes) == 1


def test_long_names_stay_apart(tmp_path: Path, head, keys) -> None:
    controls, _ = shape_key_controls((head,))
    folder = job(tmp_path, controls, Smile=pulse(20, 8, 0.2))
    long = folder.path.rename(folder.path.with_name("怒りと喜びのあいだの長い名前を持つ仕事.magplus"))
    for start in (20, 60):
        bake(JobFolder.open(long), start_frame=start, animation=LAYER)
    first, second = bpy.context.scene.magplus.bakes
    first.strength = 0.5
    assert [at(frame, keys["Smile"]) for frame in (28, 68)] == pytest.approx([0.1, 0.2], abs=1e-5)
    assert first.name != second.name


def _curves(id_block: bpy.types.ID) -> list[bpy.types.FCurve]:
    action = id_block.animation_data.action
    if not hasattr(action, "slots"):
        return list(action.fcurves)
    return list(action.layers[0].strips[0].channelbag(id_block.animation_data.action_slot).fcurves)


def test_the_numbers_of_a_channel_are_those_of_blender(head, keys) -> None:
    channel = LiveChannel(head.data.shape_keys, 'key_blocks["Smile"].value')
    assert channel.default == (1.0 if (5, 0) <= bpy.app.version[:2] < (5, 1) else 0.0)


STRIPS = {
    "muted": lambda _, strip: setattr(strip, "mute", True),
    "half as strong": lambda _, strip: (
        setattr(strip, "use_animated_influence", True),
        setattr(strip, "influence", 0.5),
    ),
    "added": lambda _, strip: setattr(strip, "blend_type", "ADD"),
    "retimed": lambda _, strip: setattr(strip, "scale", 2.0),
    "stashed": lambda track, strip: (setattr(track, "mute", True), setattr(strip, "extrapolation", "NOTHING")),
}


@pytest.mark.parametrize("change", STRIPS.values(), ids=STRIPS.keys())
def test_a_layer_adds_to_an_animators_take_however_its_strip_plays(tmp_path: Path, head, keys, change) -> None:
    track = own_take(keys["Smile"], muted=False)
    change(track, track.strips[0])
    keys["Smile"].value = 0.2  # what shows where the take does not play
    keys["Smile"].slider_max = 3.0  # in Blender 5.0 the take is added to 1.0, and cut off at the range's end
    frames = (*OUTSIDE, 150)
    before, apex = [at(frame, keys["Smile"]) for frame in frames], at(28, keys["Smile"])
    bpy.context.scene.frame_set(20)
    bake(job(tmp_path, shape_key_controls((head,))[0], Smile=pulse(20, 8, 0.25)), animation=LAYER)
    assert [at(frame, keys["Smile"]) for frame in frames] == pytest.approx(before, abs=1e-4)
    assert at(28, keys["Smile"]) == pytest.approx(apex + 0.25, abs=1e-3)


def _in_meta_strip(animation: bpy.types.AnimData) -> None:
    """Group the strips of the lowest track, as a person does in the NLA editor."""
    window = bpy.context.window_manager.windows[0]
    area = window.screen.areas[0]
    area.type = "NLA_EDITOR"
    animation.nla_tracks[0].select = True
    for strip in animation.nla_tracks[0].strips:
        strip.select = True
    region = next(each for each in area.regions if each.type == "WINDOW")
    with bpy.context.temp_override(window=window, area=area, region=region):
        bpy.ops.nla.meta_add()
    assert [strip.type for strip in animation.nla_tracks[0].strips] == ["META"]


def test_what_plays_in_a_meta_strip_plays_on_under_a_layer(tmp_path: Path, head, keys) -> None:
    own_take(keys["Smile"], muted=False)
    _in_meta_strip(head.data.shape_keys.animation_data)
    frames = (*OUTSIDE, 28)
    before = [at(frame, keys["Smile"]) for frame in frames]
    bpy.context.scene.frame_set(20)
    controls, _ = shape_key_controls((head,))
    bake(job(tmp_path, controls, Smile=pulse(20, 8, 0.1), Nod=pulse(20, 8, 0.1)), animation=LAYER)
    assert [at(frame, keys["Smile"]) for frame in frames] == pytest.approx([*before[:-1], before[-1] + 0.1], abs=1e-5)
    bpy.context.scene.frame_set(20)
    hidden = bake(job(tmp_path / "b", controls, Smile=pulse(20, 8, 0.1)), animation=NEW_ACTION)
    assert "The keys hide the track" in " ".join(hidden.sentences())


MIXED = {
    "half as strong": {"action_influence": 0.5},
    "ends": {"action_extrapolation": "NOTHING"},
    "begins": {"action_extrapolation": "HOLD_FORWARD"},
    "added": {"action_blend_type": "ADD", "action_influence": 0.3},
    "multiplied": {"action_blend_type": "MULTIPLY"},
}


@pytest.mark.parametrize("tracks", [False, True])
@pytest.mark.parametrize("settings", MIXED.values(), ids=MIXED.keys())
def test_an_active_action_plays_on_under_a_layer_as_it_did(
    tmp_path: Path, head, keys, settings: dict[str, object], tracks: bool
) -> None:
    if tracks:
        own_take(keys["Smile"], muted=False)
    for frame, value in ((1, 0.1), (60, 0.3)):
        keys["Smile"].value = value
        keys["Smile"].keyframe_insert("value", frame=frame)
    for name, value in settings.items():
        setattr(head.data.shape_keys.animation_data, name, value)
    keys["Smile"].slider_max = 2.0
    frames = (*OUTSIDE, 59.5, 75, 28)
    before = [at(frame, keys["Smile"]) for frame in frames]
    bpy.context.scene.frame_set(20)
    bake(job(tmp_path, shape_key_controls((head,))[0], Smile=pulse(20, 8, 0.25)), animation=LAYER)
    expected = [*before[:-1], before[-1] + 0.25]
    assert [at(frame, keys["Smile"]) for frame in frames] == pytest.approx(expected, abs=1e-5)


def test_a_layer_over_a_performance_is_not_cut_off(tmp_path: Path, head, keys) -> None:
    for frame, value in ((20, 0.6), (28, 0.95), (60, 0.3)):
        keys["Smile"].value = value
        keys["Smile"].keyframe_insert("value", frame=frame)
    bpy.context.scene.frame_set(20)
    folder = job(tmp_path, shape_key_controls((head,))[0], Smile=pulse(20, 8, 0.25))
    report = bake(folder, animation=LAYER)
    assert at(28, keys["Smile"]) == pytest.approx(1.2, abs=1e-5) and keys["Smile"].slider_max == pytest.approx(1.2)
    assert "The range was widened of 'Smile'" in " ".join(report.sentences())


def test_what_a_range_cuts_off_below_a_layer_stays_cut_off(tmp_path: Path, head, keys) -> None:
    for frame, value in ((20, 0.9), (90, 1.4)):
        keys["Smile"].value = value
        keys["Smile"].keyframe_insert("value", frame=frame)
    curve = _curves(head.data.shape_keys)[0]
    curve.keyframe_points[1].co[1] = 1.4
    bpy.context.scene.frame_set(20)
    report = bake(job(tmp_path, shape_key_controls((head,))[0], Smile=pulse(20, 8, 0.25)), animation=LAYER)
    assert at(90, keys["Smile"]) == keys["Smile"].slider_max == 1.0
    assert "'Smile' is cut off at the end of its range, as the animation below" in " ".join(report.sentences())


def test_another_that_plays_the_same_action_keeps_what_a_layer_clears(tmp_path: Path, head, keys) -> None:
    controls, _ = shape_key_controls((head,))
    bake(job(tmp_path / "a", controls, Smile=pulse(20, 8, 0.25)))
    twin = make_head("Twin").data.shape_keys
    its, own = twin.animation_data_create(), head.data.shape_keys.animation_data
    its.action = own.action
    if hasattr(its, "action_slot"):
        its.action_slot = own.action_slot
    bpy.context.scene.frame_set(1)
    bake(job(tmp_path / "b", controls, Nod=pulse(20, 8, 0.25)), animation=LAYER)
    assert at(28, keys["Smile"]) == pytest.approx(0, abs=1e-5) and keys["Nod"].value == pytest.approx(0.25, abs=1e-5)
    assert twin.key_blocks["Smile"].value == pytest.approx(0.25, abs=1e-5)


def _copy_strip(animation: bpy.types.AnimData) -> None:
    strip = animation.nla_tracks[-1].strips[0]
    copy = animation.nla_tracks.new().strips.new("Again", 26, strip.action)
    copy.blend_type = "ADD"
    if hasattr(strip, "action_slot"):
        copy.action_slot = strip.action_slot


CHANGES = {
    "renamed": lambda animation: [setattr(track, "name", "Mine") for track in animation.nla_tracks],
    "retimed": lambda animation: setattr(animation.nla_tracks[-1].strips[0], "scale", 1.5),
    "copied": _copy_strip,
    "stronger": lambda _: setattr(bpy.context.scene.magplus.bakes[0], "strength", 3.0),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_an_earlier_bake_is_silent_in_a_capture_whatever_was_made_of_it(tmp_path: Path, head, keys, change) -> None:
    keys["Smile"].value = 0.1
    bake(job(tmp_path, shape_key_controls((head,))[0], Smile=pulse(20, 8, 0.25)), animation=LAYER)
    for action in bpy.data.actions:
        action.name = "My own"
    change(head.data.shape_keys.animation_data)
    bpy.context.scene.frame_set(28)
    for frame in (None, 20, 1):
        with bare_scene(bpy.context, frame):
            rests = {each.control.name: each.control.rest for each in shape_key_controls((head,))[0]}
        assert rests["Smile"] == pytest.approx(0.1, abs=1e-5)


@pytest.mark.skipif(bpy.app.version < (4, 4), reason="actions have no slots")
def test_two_that_share_an_action_by_its_slots_stay_apart(tmp_path: Path, head, keys) -> None:
    rig = add_armature({"jaw": (0, 0, 0)})
    bind(head, rig, "jaw")
    jaw = rig.pose.bones["jaw"]
    keys["Smile"].value = 0.3
    keys["Smile"].keyframe_insert("value", frame=1)
    action = head.data.shape_keys.animation_data.action
    rig.animation_data_create().action = action
    rig.animation_data.action_slot = action.slots.new("OBJECT", "rig")
    jaw.location.z = 0.4
    jaw.keyframe_insert("location", frame=1)
    controls = [*shape_key_controls((head,))[0], *bone_controls(rig, ("jaw",), ("location",))[0]]
    for number, mode in enumerate((LAYER, REPLACE, NEW_ACTION, LAYER)):
        folder = job(tmp_path / str(number), controls, Smile=pulse(20, 8, 0.25), jaw_location_Z=pulse(20, 8, 0.2))
        bake(folder, animation=mode)
        for frame in (*OUTSIDE, 28):
            apex = frame == 28
            assert at(frame, keys["Smile"]) == pytest.approx(0.55 if apex else 0.3, abs=1e-5)
            assert jaw.location.z == pytest.approx(0.6 if apex else 0.4, abs=1e-5)
        bpy.context.scene.frame_set(20)


def test_layers_on_a_value_that_a_property_is_defined_with_have_room(tmp_path: Path) -> None:
    """No track holds such a value: the NLA starts from it by itself, and so must the sum that the range has to hold."""
    rig = add_armature({"jaw": (0, 0, 0)})
    rig["mood"] = 0.7
    rig.id_properties_ui("mood").update(min=0.0, max=1.0, default=0.7)
    controls, _ = property_controls(rig, ('["mood"]',))
    name = controls[0].control.name
    for start, height in ((20, 0.2), (60, 0.5)):
        folder = tmp_path / str(start)
        folder.mkdir()
        bake(solved(folder, controls, {name: 0.7 + pulse(20, 8, height)}, Fraction(25)), start, animation=LAYER)
    bpy.context.scene.frame_set(68)
    assert rig["mood"] == pytest.approx(1.2, abs=1e-5)
    assert rig.id_properties_ui("mood").as_dict()["max"] >= 1.2 - 1e-5


def test_a_layer_before_a_take_begins_has_room(tmp_path: Path) -> None:
    """There the NLA plays what the property is defined with, whatever the take does later."""
    rig = add_armature({"jaw": (0, 0, 0)})
    rig["mood"] = 0.7
    rig.id_properties_ui("mood").update(min=0.0, max=1.0, default=0.7)
    rig["mood"] = 0.1
    for frame in (60, 80):
        rig.keyframe_insert('["mood"]', frame=frame)
    animation = rig.animation_data
    strip = animation.nla_tracks.new().strips.new("Take", 60, animation.action)
    strip.extrapolation, animation.action = "HOLD_FORWARD", None
    bpy.context.scene.frame_set(20)
    controls, _ = property_controls(rig, ('["mood"]',))
    bake(solved(tmp_path, controls, {controls[0].control.name: 0.7 + pulse(20, 8, 0.5)}, Fraction(25)), animation=LAYER)
    bpy.context.scene.frame_set(28)
    assert rig["mood"] == pytest.approx(1.2, abs=1e-5)


def test_a_layer_over_an_action_that_adds_to_a_track_has_room(tmp_path: Path, head, keys) -> None:
    own_take(keys["Smile"], muted=False)
    animation = keys["Smile"].id_data.animation_data
    for frame in (1, 60):
        keys["Smile"].value = 0.2
        keys["Smile"].keyframe_insert("value", frame=frame)
    animation.action_blend_type = "ADD"
    below = at(28, keys["Smile"])
    with bare_scene(bpy.context, 20):
        controls, _ = shape_key_controls((head,))
    bake(job(tmp_path, controls, Smile=pulse(20, 8, 0.3)), animation=LAYER)
    assert at(28, keys["Smile"]) == pytest.approx(below + 0.3, abs=1e-5) and below + 0.3 > 1


def test_a_strip_that_was_duplicated_is_cleared_by_itself(tmp_path: Path, head, keys) -> None:
    """An animator plays a clip a second time; a new one over the copy leaves the first alone."""
    controls, _ = shape_key_controls((head,))
    bake(job(tmp_path / "a", controls, Smile=pulse(20, 8, 0.25)), animation=LAYER)
    tracks = head.data.shape_keys.animation_data.nla_tracks
    first = tracks[-1].strips[0]
    copy = tracks.new().strips.new("again", 100, first.action)
    if hasattr(first, "action_slot"):
        copy.action_slot = first.action_slot
    copy.blend_type, copy.extrapolation = "ADD", "NOTHING"
    assert at(108, keys["Smile"]) == pytest.approx(0.25, abs=1e-4)
    bake(job(tmp_path / "b", controls, Smile=pulse(20, 8, 0.1)), 100, animation=LAYER)
    assert at(108, keys["Smile"]) == pytest.approx(0.1, abs=1e-5)
    assert at(28, keys["Smile"]) == pytest.approx(0.25, abs=1e-5)


@pytest.mark.parametrize("shape", ["BEZIER", "LINEAR", "CONSTANT", "SINE", "BACK", "ELASTIC"])
def test_beside_the_clip_an_animators_curve_keeps_its_shape(tmp_path: Path, head, keys, shape: str) -> None:
    for frame, value in ((1, 0.1), (15, 0.6), (50, 0.2), (80, 0.3)):
        keys["Smile"].value = value
        keys["Smile"].keyframe_insert("value", frame=frame)
    curve = find_curve(head.data.shape_keys, 'key_blocks["Smile"].value', -1)
    for point in curve.keyframe_points:
        point.interpolation = shape
    beside = [-5, 1, 8, 15, 18, 19, 40, 41, 45, 60, 90]
    before = [at(frame, keys["Smile"]) for frame in beside]
    with bare_scene(bpy.context, 20):
        controls, _ = shape_key_controls((head,))
    bake(job(tmp_path, controls, Smile=pulse(20, 8, 0.25)), animation=REPLACE)
    assert [at(frame, keys["Smile"]) for frame in beside] == pytest.approx(before, abs=2e-3)
