# SPDX-License-Identifier: GPL-3.0-or-later
"""What would keep keys from playing is said before anything is run or written, with what to do about it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import bpy
import pytest
from bl_ext.user_default.magplus.backend_bridge.files.errors import InputError
from bl_ext.user_default.magplus.operators.animation.destination import LAYER, NEW_ACTION, REPLACE, Destination
from bl_ext.user_default.magplus.operators.bake import bake_controls
from bl_ext.user_default.magplus.operators.rig.kinds.bone import bone_controls
from bl_ext.user_default.magplus.operators.rig.kinds.shape_key import shape_key_controls

from tests.blender.head import add_armature, add_camera, dump, make_head
from tests.blender.jobs import pulse, solved

ALL = (NEW_ACTION, LAYER, REPLACE)


@pytest.fixture
def head() -> bpy.types.Object:
    """A head with a take in an NLA track and an active action, and its settings."""
    bpy.context.scene.render.fps = 25
    head = make_head()
    add_camera()
    keys = head.data.shape_keys
    keys.key_blocks["Smile"].keyframe_insert("value", frame=1)
    animation = keys.animation_data
    strip = animation.nla_tracks.new().strips.new("Take", 1, animation.action)
    if hasattr(strip, "action_slot"):
        strip.action_slot = animation.action_slot
    animation.action = None
    keys.key_blocks["Smile"].keyframe_insert("value", frame=1)
    return head


def _tweak(animation: bpy.types.AnimData) -> None:
    animation.action = None
    animation.nla_tracks[0].strips[0].select = True
    animation.nla_tracks[0].select = True
    animation.nla_tracks.active = animation.nla_tracks[0]
    animation.use_tweak_mode = True


def _curve(animation: bpy.types.AnimData) -> bpy.types.FCurve:
    if not hasattr(animation.action, "slots"):
        return animation.action.fcurves[0]
    return animation.action.layers[0].strips[0].channelbag(animation.action_slot).fcurves[0]


def _group(animation: bpy.types.AnimData) -> bpy.types.ActionGroup:
    curve = _curve(animation)
    if curve.group is None:
        owner = animation.action
        if hasattr(owner, "slots"):
            owner = owner.layers[0].strips[0].channelbag(animation.action_slot)
        curve.group = owner.groups.new("Keys")
    return curve.group


def _share(animation: bpy.types.AnimData) -> None:
    its = make_head("Twin").data.shape_keys.animation_data_create()
    its.action = animation.action
    if hasattr(its, "action_slot"):
        its.action_slot = animation.action_slot


STATES = {
    "tweak mode": (_tweak, ALL, "is in tweak mode; leave it"),
    "solo": (lambda a: setattr(a.nla_tracks[0], "is_solo", True), ALL, "switch the star off"),
    "nla off": (lambda a: setattr(a, "use_nla", False), (LAYER,), "tick the box"),
    "muted curve": (lambda a: setattr(_curve(a), "mute", True), (REPLACE,), "is muted"),
    "muted group": (lambda a: setattr(_group(a), "mute", True), (REPLACE,), "is muted"),
    "locked curve": (lambda a: setattr(_curve(a), "lock", True), (REPLACE,), "is locked"),
    "locked group": (lambda a: setattr(_group(a), "lock", True), (REPLACE,), "is locked"),
    "half influence": (lambda a: setattr(a, "action_influence", 0.5), (NEW_ACTION, REPLACE), "only mixed"),
    "repeating curve": (lambda a: _curve(a).modifiers.new("CYCLES"), (REPLACE,), "repeats, so keys in it"),
    "limited curve": (lambda a: _curve(a).modifiers.new("LIMITS"), (REPLACE,), "which would change its keys"),
    "shaking curve": (lambda a: _curve(a).modifiers.new("NOISE"), (REPLACE,), "which would change its keys"),
    "shared action": (lambda a: _share(a), (REPLACE,), "plays on 'Twin' as well"),
    "stretched time": (lambda _: setattr(bpy.context.scene.render, "frame_map_new", 200), ALL, "Time Stretching"),
    "added": (lambda a: setattr(a, "action_blend_type", "ADD"), (NEW_ACTION, REPLACE), "only mixed"),
}


@pytest.mark.parametrize(
    ("spoil", "mode", "message"),
    [(spoil, mode, message) for spoil, modes, message in STATES.values() for mode in modes],
    ids=[f"{name}-{mode}" for name, (_, modes, _) in STATES.items() for mode in modes],
)
def test_it_is_reported_before_the_run_and_before_a_bake(
    tmp_path: Path, head, extension: str, spoil: Callable[..., None], mode: str, message: str
) -> None:
    folder = solved(tmp_path, shape_key_controls((head,))[0], {"Smile": pulse(20, 8, 1.5)}, apex=8)
    spoil(head.data.shape_keys.animation_data)
    before = dump()
    with pytest.raises(InputError, match=message) as caught:
        bake_controls(bpy.context, folder, Destination(animation=mode))
    assert str(caught.value).count(". ") == 0
    assert dump() == before

    order = importlib.import_module(f"{extension}.operators.order")
    settings = bpy.context.scene.magplus
    settings.avatar, settings.animation, settings.shape_keys = head, mode, True
    clip = tmp_path / "clip.mp4"
    clip.touch()
    settings.driving = str(clip)
    with pytest.raises(InputError, match=message):
        order.make_order(bpy.context, folder=tmp_path / "job.magplus", python=Path("python"))


@pytest.mark.parametrize("mode", [NEW_ACTION, REPLACE])
@pytest.mark.parametrize("layer", [True, False], ids=["after our layer", "after a push down"])
def test_how_an_action_that_is_gone_was_mixed_is_no_obstacle(tmp_path: Path, head, mode: str, layer: bool) -> None:
    animation = head.data.shape_keys.animation_data
    animation.action_blend_type, animation.action_influence = "ADD", 0.5
    animation.action_extrapolation = "NOTHING"
    controls, smile = shape_key_controls((head,))[0], head.data.shape_keys.key_blocks["Smile"]
    if layer:
        first = solved(tmp_path / "a", controls, {"Smile": pulse(20, 8, 0.1)}, apex=8)
        bake_controls(bpy.context, first, Destination(40, animation=LAYER))
    else:
        animation.action = None
    bake_controls(
        bpy.context, solved(tmp_path / "b", controls, {"Smile": pulse(20, 8, 0.4)}, apex=8), Destination(animation=mode)
    )
    bpy.context.scene.frame_set(9)
    assert smile.value == pytest.approx(0.4, abs=1e-5)


def test_a_modifier_of_other_frames_is_no_obstacle(tmp_path: Path, head) -> None:
    noise = _curve(head.data.shape_keys.animation_data).modifiers.new("NOISE")
    noise.use_restricted_range, noise.frame_start, noise.frame_end = True, 30, 90
    folder = solved(tmp_path, shape_key_controls((head,))[0], {"Smile": pulse(20, 8, 0.4)}, apex=8)
    bake_controls(bpy.context, folder, Destination(animation=REPLACE))
    bpy.context.scene.frame_set(9)
    assert head.data.shape_keys.key_blocks["Smile"].value == pytest.approx(0.4, abs=1e-5)
    with pytest.raises(InputError, match="which would change its keys"):
        bake_controls(bpy.context, folder, Destination(15, animation=REPLACE))


@pytest.mark.parametrize("mode", ALL)
def test_locked_and_muted_tracks_are_no_obstacle(tmp_path: Path, head, mode: str) -> None:
    smile = head.data.shape_keys.key_blocks["Smile"]
    folder = solved(tmp_path, shape_key_controls((head,))[0], {"Smile": pulse(20, 8, 0.4)}, apex=8)
    for track in head.data.shape_keys.animation_data.nla_tracks:
        track.mute = track.lock = True
    bake_controls(bpy.context, folder, Destination(animation=mode))
    bpy.context.scene.frame_set(9)
    assert smile.value == pytest.approx(0.4, abs=1e-5)


def test_a_new_action_plays_with_the_nla_switched_off(tmp_path: Path, head) -> None:
    folder = solved(tmp_path, shape_key_controls((head,))[0], {"Smile": pulse(20, 8, 0.4)}, apex=8)
    head.data.shape_keys.animation_data.use_nla = False
    bake_controls(bpy.context, folder, Destination(animation=NEW_ACTION))
    bpy.context.scene.frame_set(9)
    assert head.data.shape_keys.key_blocks["Smile"].value == pytest.approx(0.4, abs=1e-5)


def test_keys_that_show_nothing_any_more_are_reported(tmp_path: Path, head) -> None:
    folder = solved(tmp_path, shape_key_controls((head,))[0], {"Smile": pulse(20, 8, 0.4)}, apex=8)
    before = len(bpy.data.actions)
    head.show_only_shape_key = True
    with pytest.raises(InputError, match="'Smile' has no effect while 'Head' shows only its active shape key"):
        bake_controls(bpy.context, folder, Destination())
    head.show_only_shape_key = False
    head.data.shape_keys.use_relative = False
    with pytest.raises(InputError, match="is an absolute shape key"):
        bake_controls(bpy.context, folder, Destination())
    assert len(bpy.data.actions) == before


@pytest.mark.parametrize(("was", "now", "back"), [("QUATERNION", "ZYX", "Quaternion"), ("XYZ", "AXIS_ANGLE", "XYZ")])
def test_a_bone_in_another_rotation_mode_is_reported(tmp_path: Path, was: str, now: str, back: str) -> None:
    jaw = add_armature({"jaw": (0, 0, 0)}).pose.bones["jaw"]
    jaw.rotation_mode = was
    controls, _ = bone_controls(jaw.id_data, ("jaw",))
    turned = solved(tmp_path, controls, {"jaw rotation X": pulse(20, 8, 0.1), "jaw location Z": pulse(20, 8, 0.1)})
    jaw.rotation_mode = "YXZ" if was == "XYZ" else was
    assert not bake_controls(bpy.context, turned, Destination()).record.not_keyed
    jaw.rotation_mode = now
    bake = bake_controls(bpy.context, turned, Destination()).record
    assert bake.keyed == ("jaw location Z",) and f"set it back to {back}" in bake.not_keyed["jaw rotation X"]


def test_what_is_keyed_beyond_the_limit_and_what_does_not_move_are_reported_as_that(tmp_path: Path, head) -> None:
    controls, _ = shape_key_controls((head,))
    bake = bake_controls(bpy.context, solved(tmp_path, controls, {"Smile": pulse(20, 8, 12.0)}), Destination())
    assert bake.record.keyed == ("Smile",) and not bake.record.not_keyed
    sentences = " ".join(bake.sentences())
    assert "Keyed, but 'Smile' goes beyond Blender's limit of 10" in sentences and "Not keyed" not in sentences
    bake = bake_controls(bpy.context, solved(tmp_path, controls, {"Smile": pulse(20, 8, 0.0)}), Destination())
    assert "No control moves, so nothing was keyed" in bake.sentences()[0]


def test_controls_of_an_earlier_run_are_not_baked(tmp_path: Path, head) -> None:
    folder = solved(tmp_path, shape_key_controls((head,))[0], {"Smile": pulse(20, 8, 0.4)})
    spec = folder.read_spec()
    folder.write_spec(replace(spec, outputs=replace(spec.outputs, frames=True, weights=False)))
    with pytest.raises(InputError, match="no solved controls"):
        bake_controls(bpy.context, folder, Destination())
