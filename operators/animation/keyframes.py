# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing many keys at once, and the differences between Blender's actions: legacy to 4.3, with slots from 4.4 on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ..rig.controls import LiveChannel

FCurves = Any  # bpy_prop_collection of F-Curves; its type differs between legacy actions and channel bags

_SPLIT = {"BEZIER", "LINEAR", "CONSTANT"}  # between keys: a key in between changes nothing
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


def animation_of(id_block: bpy.types.ID) -> bpy.types.AnimData:
    """Return the animation of an ID, which is made if there is none."""
    return id_block.animation_data or id_block.animation_data_create()


def assign_new_action(id_block: bpy.types.ID, name: str) -> tuple[bpy.types.Action, bpy.types.Action | None]:
    """Give an ID a new, empty action. Returns it and the action it replaces, which stays in the file."""
    animation = animation_of(id_block)
    previous = animation.action
    if previous is not None:
        previous.use_fake_user = True  # nothing uses it any more, and Blender drops what nothing uses
    action = bpy.data.actions.new(name)
    assign(animation, action, id_block)
    return action, previous


def animated_channel(id_block: bpy.types.ID, curve: bpy.types.FCurve) -> LiveChannel | None:
    """Return the number of an ID that a curve animates, or None when the ID has it no longer."""
    for index in (-1, curve.array_index):
        channel = LiveChannel(id_block, curve.data_path, index)
        if channel.exists:
            return channel
    return None


def all_curves(action: bpy.types.Action) -> list[bpy.types.FCurve]:
    """Return the F-Curves of an action, whatever they animate."""
    if not hasattr(action, "slots"):  # 4.2 and 4.3
        return list(action.fcurves)
    bags = [bag for layer in action.layers for strip in layer.strips for bag in strip.channelbags]
    return [curve for bag in bags for curve in bag.fcurves]


def find_curve(id_block: bpy.types.ID, path: str, index: int) -> bpy.types.FCurve | None:
    """Return the curve of the active action of an ID that animates a number, if there is one."""
    animation = id_block.animation_data
    if animation is None or animation.action is None:
        return None
    for curve in curves_of(animation.action, getattr(animation, "action_slot", None), ensure=False):
        if (curve.data_path, curve.array_index) == (path, max(index, 0)):
            return curve
    return None


def write_keys(keys: Keys) -> bpy.types.FCurve:
    """Write keys into the active action of the channel's ID; see `splice`. Returns the curve."""
    animation = animation_of(keys.channel.id)
    action = animation.action
    assert action is not None, "keys need an action to be in"
    assign(animation, action, keys.channel.id)
    curves = curves_of(action, getattr(animation, "action_slot", None))
    path, index = keys.channel.path, max(keys.channel.index, 0)
    curve = curves.find(path, index=index)
    if curve is None:
        curve = curves.new(path, index=index)
    splice(curve, keys.frames, keys.values)
    return curve


def splice(curve: bpy.types.FCurve, frames: NDArray[np.floating], values: NDArray[np.floating]) -> None:
    """Put keys [N] into a curve, in place of those from their first to their last frame; the rest of it stays.

    The keys are linear: what was measured is what plays, at every frame rate and in the blur between frames, and
    nothing can overshoot the apex.
    """
    first, last = np.float32(frames[0]), np.float32(frames[-1])
    _freeze_outside(curve, float(first), float(last))
    points = curve.keyframe_points
    parts = _read(points)
    outside = (parts["co"][:, 0] < first) | (parts["co"][:, 0] > last)
    new = _linear_keys(frames, values)
    merged = {name: np.concatenate((part[outside], new[name])) for name, part in parts.items()}
    order = np.argsort(merged["co"][:, 0], kind="stable")
    points.clear()
    points.add(len(order))
    for name, part in merged.items():
        points.foreach_set(name, part[order].ravel())
    curve.update()


def cut_after(curve: bpy.types.FCurve, frame: float) -> None:
    """Remove the keys after a frame."""
    points = curve.keyframe_points
    for point in reversed(points[:]):
        if point.co[0] > frame:
            points.remove(point, fast=True)
    curve.update()


def _freeze_outside(curve: bpy.types.FCurve, first: float, last: float) -> None:
    """Keep a curve as it is on the frames before `first` and after `last`, whatever is done to it in between.

    It gets a key on the whole frame next to either end, and the handles there stop following their neighbours.
    """
    points = curve.keyframe_points
    if not len(points):
        return
    guards = (np.ceil(first) - 1, np.floor(last) + 1)
    for frame in guards:
        _key_each_frame(curve, float(frame))
    for frame, value in [(frame, bare(curve, frame)) for frame in guards]:
        points.insert(frame, value)
    frames = _read(points)["co"][:, 0]
    before, after = np.searchsorted(frames, guards)
    free = bpy.types.Keyframe.bl_rna.properties["handle_left_type"].enum_items["FREE"].value
    for side in ("handle_left_type", "handle_right_type"):
        types = np.empty(len(points), np.int32)
        points.foreach_get(side, types)
        types[[max(before - 1, 0), before, after, min(after + 1, len(points) - 1)]] = free
        points.foreach_set(side, types)


def _key_each_frame(curve: bpy.types.FCurve, frame: float) -> None:
    """Key every whole frame between the two keys around a frame, where the curve can't be split without another shape.

    How it swings, bounces or eases there follows from how far the two are apart.
    """
    points = curve.keyframe_points
    after = next((number for number, point in enumerate(points) if point.co[0] > frame), 0)
    if after == 0 or points[after - 1].interpolation in _SPLIT:
        return
    start, end = points[after - 1], points[after]
    values = [(each, bare(curve, each)) for each in range(math.floor(start.co[0]) + 1, math.ceil(end.co[0]))]
    start.interpolation = "LINEAR"
    for each, value in values:
        points.insert(each, value).interpolation = "LINEAR"


def bare(curve: bpy.types.FCurve, frame: float) -> float:
    """Return the value of a curve's keys at a frame, without its modifiers, which will act on new keys, too."""
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


def assign(animation: bpy.types.AnimData, action: bpy.types.Action, id_block: bpy.types.ID) -> None:
    """Make `action` the active one of an ID, with a slot for it where actions have slots."""
    if animation.action != action:
        animation.action = action
    if hasattr(action, "slots") and animation.action_slot is None:
        animation.action_slot = action.slots.new(id_type=id_block.id_type, name=id_block.name)


def curves_of(action: bpy.types.Action, slot: Any, ensure: bool = True) -> FCurves:
    """Return the F-Curves of an action for a slot; nothing is made for them unless `ensure`."""
    if not hasattr(action, "slots"):  # 4.2 and 4.3
        return action.fcurves
    if not ensure:
        bags = [strip.channelbag(slot) for layer in action.layers for strip in layer.strips] if slot else []
        return [curve for bag in bags if bag is not None for curve in bag.fcurves]
    layer = action.layers[0] if action.layers else action.layers.new("Layer")
    strip = layer.strips[0] if layer.strips else layer.strips.new(type="KEYFRAME")
    return strip.channelbag(slot, ensure=True).fcurves
