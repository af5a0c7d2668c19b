# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing many keys at once, and the differences between Blender's actions: legacy to 4.3, with slots from 4.4 on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ..rig.controls import LiveChannel

FCurves = Any  # bpy_prop_collection of F-Curves; its type differs between legacy actions and channel bags

# What a key consists of: foreach name, numbers per key, type.
_KEY_PARTS: tuple[tuple[str, int, type], ...] = (
    ("co", 2, np.float32),
    ("handle_left", 2, np.float32),
    ("handle_right", 2, np.float32),
    ("amplitude", 1, np.float32),
    ("back", 1, np.float32),
    ("period", 1, np.float32),
    ("interpolation", 1, np.int32),
    ("easing", 1, np.int32),
    ("handle_left_type", 1, np.int32),
    ("handle_right_type", 1, np.int32),
    ("type", 1, np.int32),
)


@dataclass(frozen=True)
class Keys:
    """The keys of one channel: frames [N] and values [N], frames increasing."""

    channel: LiveChannel
    frames: NDArray[np.floating]
    values: NDArray[np.floating]


def _animation(id_block: bpy.types.ID) -> bpy.types.AnimData:
    return id_block.animation_data or id_block.animation_data_create()


def assign_new_action(id_block: bpy.types.ID, name: str) -> tuple[bpy.types.Action, bpy.types.Action | None]:
    """Give an ID a new, empty action. Returns it and the action it replaces, which stays in the file."""
    animation = _animation(id_block)
    previous = animation.action
    if previous is not None:
        previous.use_fake_user = True  # nothing uses it any more, and Blender drops what nothing uses
    action = bpy.data.actions.new(name)
    _assign(animation, action, id_block)
    return action, previous


def add_nla_layer(id_block: bpy.types.ID, name: str) -> bpy.types.Action:
    """Return a new action for a track on top of all animation of an ID; call `finish_nla_layer` when it has its keys.

    An active action is pushed down into a track of its own first, as Blender's Push Down does: otherwise it would
    overrule the tracks.
    """
    animation = _animation(id_block)
    active = animation.action
    if active is not None:
        track = animation.nla_tracks.new()
        track.name = active.name
        slot = getattr(animation, "action_slot", None)
        strip = track.strips.new(active.name, round(active.frame_range[0]), active)
        if slot is not None:
            strip.action_slot = slot
        strip.extrapolation = animation.action_extrapolation
        strip.blend_type = animation.action_blend_type
        strip.influence = animation.action_influence
        _fit_strip(strip, active)
    action = bpy.data.actions.new(name)
    _assign(animation, action, id_block)
    return action


def finish_nla_layer(id_block: bpy.types.ID, action: bpy.types.Action) -> None:
    """Move the action made by `add_nla_layer` from the ID into a track that adds to the tracks below."""
    animation = _animation(id_block)
    slot = getattr(animation, "action_slot", None)
    animation.action = None
    track = animation.nla_tracks.new()
    track.name = action.name
    strip = track.strips.new(action.name, int(action.frame_range[0]), action)
    if slot is not None:
        strip.action_slot = slot
    strip.blend_type, strip.extrapolation = "ADD", "NOTHING"
    _fit_strip(strip, action)
    # The strength of the expression, to be changed by hand; Blender resets an influence that has no key.
    strip.use_animated_influence = True
    strip.fcurves.find("influence").keyframe_points.insert(action.frame_range[0], 1.0)


def animated_paths(id_block: bpy.types.ID) -> set[tuple[str, int]]:
    """Return data path and index of everything that the active action and the NLA tracks of an ID animate."""
    return {
        (curve.data_path, curve.array_index)
        for action, slot in _used(id_block)
        for curve in _curves(action, slot, ensure=False)
    }


def animated_channel(id_block: bpy.types.ID, curve: bpy.types.FCurve) -> LiveChannel | None:
    """Return the number of an ID that a curve animates, or None when the ID has it no longer."""
    for index in (-1, curve.array_index):
        channel = LiveChannel(id_block, curve.data_path, index)
        if channel.exists:
            return channel
    return None


def used_actions(id_block: bpy.types.ID) -> list[bpy.types.Action]:
    """Return the active action of an ID and those of its NLA tracks, each once."""
    return list(dict.fromkeys(action for action, _ in _used(id_block)))


def all_curves(action: bpy.types.Action) -> list[bpy.types.FCurve]:
    """Return the F-Curves of an action, whatever they animate."""
    if not hasattr(action, "slots"):  # 4.2 and 4.3
        return list(action.fcurves)
    bags = [bag for layer in action.layers for strip in layer.strips for bag in strip.channelbags]
    return [curve for bag in bags for curve in bag.fcurves]


def _used(id_block: bpy.types.ID) -> list[tuple[bpy.types.Action, Any]]:
    """Return the actions of an ID with their slots, None where actions have none."""
    animation = id_block.animation_data
    if animation is None:
        return []
    used = [(animation.action, getattr(animation, "action_slot", None))]
    for track in animation.nla_tracks:
        used += [(strip.action, getattr(strip, "action_slot", None)) for strip in track.strips]
    return [(action, slot) for action, slot in used if action is not None]


def action_problem(channel: LiveChannel) -> str:
    """Return why nothing can be written into the active action of a channel, as a sentence, or an empty string."""
    animation = channel.id.animation_data
    action = animation.action if animation is not None else None
    if action is None:
        return ""
    if not action.is_editable:
        return f"The action {action.name!r} belongs to a linked file; bake into a new action."
    for curve in _curves(action, getattr(animation, "action_slot", None), ensure=False):
        if curve.lock and (curve.data_path, curve.array_index) == (channel.path, max(channel.index, 0)):
            return (
                f"The animation of {channel.path} is locked; unlock it in the Graph Editor or bake into a new action."
            )
    return ""


def write_keys(keys: Keys) -> bpy.types.FCurve:
    """Write keys into the active action of the channel's ID, in place of those from the first to the last frame.

    Returns the curve.

    The keys are linear: what was measured is what plays, at every frame rate and in the blur between frames, and
    nothing can overshoot the apex. Ask `action_problem` first.
    """
    animation = _animation(keys.channel.id)
    action = animation.action
    assert action is not None, "keys need an action to be in"
    _assign(animation, action, keys.channel.id)
    curves = _curves(action, getattr(animation, "action_slot", None))
    path, index = keys.channel.path, max(keys.channel.index, 0)
    curve = curves.find(path, index=index)
    if curve is None:
        curve = curves.new(path, index=index)
    first, last = np.float32(keys.frames[0]), np.float32(keys.frames[-1])
    _freeze_outside(curve, float(first), float(last))
    points = curve.keyframe_points
    parts = _read(points)
    outside = (parts["co"][:, 0] < first) | (parts["co"][:, 0] > last)
    new = _linear_keys(keys.frames, keys.values)
    merged = {name: np.concatenate((part[outside], new[name])) for name, part in parts.items()}
    order = np.argsort(merged["co"][:, 0], kind="stable")
    points.clear()
    points.add(len(order))
    for name, part in merged.items():
        points.foreach_set(name, part[order].ravel())
    curve.update()
    return curve


def _freeze_outside(curve: bpy.types.FCurve, first: float, last: float) -> None:
    """Keep a curve as it is on the frames before `first` and after `last`, whatever is done to it in between.

    It gets a key on the whole frame next to either end, and the handles there stop following their neighbours.
    """
    points = curve.keyframe_points
    if not len(points):
        return
    guards = (np.ceil(first) - 1, np.floor(last) + 1)
    for frame, value in [(frame, _bare(curve, frame)) for frame in guards]:
        points.insert(frame, value)
    frames = _read(points)["co"][:, 0]
    before, after = np.searchsorted(frames, guards)
    free = bpy.types.Keyframe.bl_rna.properties["handle_left_type"].enum_items["FREE"].value
    for side in ("handle_left_type", "handle_right_type"):
        types = np.empty(len(points), np.int32)
        points.foreach_get(side, types)
        types[[max(before - 1, 0), before, after, min(after + 1, len(points) - 1)]] = free
        points.foreach_set(side, types)


def _bare(curve: bpy.types.FCurve, frame: float) -> float:
    """Return what the keys of a curve say at a frame, without its modifiers, which will act on new keys, too."""
    acting = [modifier for modifier in curve.modifiers if not modifier.mute]
    for modifier in acting:
        modifier.mute = True
    value = float(curve.evaluate(frame))
    for modifier in acting:
        modifier.mute = False
    return value


def _linear_keys(frames: NDArray[np.floating], values: NDArray[np.floating]) -> dict[str, NDArray]:
    properties = bpy.types.Keyframe.bl_rna.properties
    count = len(frames)
    co = np.stack((frames, values), axis=1).astype(np.float32)
    chosen = {"interpolation": "LINEAR", "easing": "AUTO", "type": "KEYFRAME"}
    # Only for whoever turns the keys into curves later: handles that do not overshoot.
    chosen |= {"handle_left_type": "AUTO_CLAMPED", "handle_right_type": "AUTO_CLAMPED"}
    parts: dict[str, NDArray] = {"co": co, "handle_left": co, "handle_right": co}
    for name, width, kind in _KEY_PARTS:
        if name in chosen:
            parts[name] = np.full((count, width), properties[name].enum_items[chosen[name]].value, kind)
        elif name not in parts:
            parts[name] = np.full((count, width), properties[name].default, kind)
    return parts


def _read(points: bpy.types.FCurveKeyframePoints) -> dict[str, NDArray]:
    parts: dict[str, NDArray] = {}
    for name, width, kind in _KEY_PARTS:
        flat: NDArray = np.empty(len(points) * width, kind)
        points.foreach_get(name, flat)
        parts[name] = flat.reshape(-1, width)
    return parts


def _assign(animation: bpy.types.AnimData, action: bpy.types.Action, id_block: bpy.types.ID) -> None:
    """Make `action` the active one of an ID, with a slot for it where actions have slots."""
    if animation.action != action:
        animation.action = action
    if hasattr(action, "slots") and animation.action_slot is None:
        animation.action_slot = action.slots.new(id_type=id_block.id_type, name=id_block.name)


def _curves(action: bpy.types.Action, slot: Any, ensure: bool = True) -> FCurves:
    """Return the F-Curves of an action for a slot; nothing is made for them unless `ensure`."""
    if not hasattr(action, "slots"):  # 4.2 and 4.3
        return action.fcurves
    if not ensure:
        bags = [strip.channelbag(slot) for layer in action.layers for strip in layer.strips] if slot else []
        return [curve for bag in bags if bag is not None for curve in bag.fcurves]
    layer = action.layers[0] if action.layers else action.layers.new("Layer")
    strip = layer.strips[0] if layer.strips else layer.strips.new(type="KEYFRAME")
    return strip.channelbag(slot, ensure=True).fcurves


def _fit_strip(strip: bpy.types.NlaStrip, action: bpy.types.Action) -> None:
    """Play an action in its strip at the very frames its keys have, fractions included."""
    first, last = action.frame_range
    strip.action_frame_start, strip.action_frame_end = first, last
    strip.frame_end = max(last, strip.frame_start + 1)
    strip.frame_start = first
    strip.frame_end = last
