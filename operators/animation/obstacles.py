# SPDX-License-Identifier: GPL-3.0-or-later
"""What would keep keys from playing, as sentences that say what to do: asked before a run, and again before a bake."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import bpy

from ..rig.controls import LiveChannel
from .destination import LAYER, REPLACE
from .ends import Window
from .keyframes import find_curve
from .nla import Playing, is_muted, sharing
from .strength import foreign_modifiers


def animation_problem(channels: Sequence[LiveChannel], animation: str, window: Window | None = None) -> str:
    """Return why keys of these channels would not play, or can't be written; `animation` is as `Destination` has it.

    `window`: which frames they fill, where it is known. An empty string: nothing is in the way.
    """
    ids = dict.fromkeys(channel.id for channel in channels)
    problems = [_id_problem(id_block, animation) for id_block in ids]
    if animation == REPLACE:
        problems += [_action_problem(id_block) for id_block in ids]
        problems += _curve_problems(channels, window)
    return next((problem for problem in problems if problem), "")


def _id_problem(id_block: bpy.types.ID, animation: str) -> str:
    data = id_block.animation_data
    if data is None:
        return ""
    name = _name(id_block)
    if data.use_tweak_mode:
        return f"The NLA of {name} is in tweak mode; leave it (Tab in the NLA editor) and start again."
    tracks = [track for track in data.nla_tracks if len(track.strips)]
    if not data.use_nla:
        if animation == LAYER:
            return (
                f"The NLA of {name} is switched off, so a layer would not play; tick the box beside its name in the "
                "NLA editor, or bake into a new action."
            )
        return ""
    solo = next((track.name for track in data.nla_tracks if track.is_solo), None)
    if solo is not None:
        return (
            f"Of {name} only the track {solo!r} plays, as its star in the NLA editor is on; switch the star off and "
            "start again."
        )
    mixed = data.action_blend_type != "REPLACE" or data.action_influence < 1.0 or data.action_extrapolation != "HOLD"
    if tracks and mixed and data.action is not None and animation != LAYER:
        return (
            f"The active action of {name} is only mixed into its NLA tracks; set its blending to Replace, its "
            "influence to 1 and its extrapolation to Hold in the NLA editor, or bake as a layer on top."
        )
    return ""


def _action_problem(id_block: bpy.types.ID) -> str:
    action = id_block.animation_data.action if id_block.animation_data is not None else None
    if action is None:
        return ""
    if not action.is_editable:
        return f"The action {action.name!r} belongs to a linked file; bake into a new action."
    if others := sharing(Playing(action, getattr(id_block.animation_data, "action_slot", None)), id_block):
        return (
            f"The action {action.name!r} plays on {_name(others[0])} as well, which would move with "
            f"{_name(id_block)}; click the number beside the action's name to make it single-user, or bake into a new "
            "action."
        )
    return ""


def _curve_problems(channels: Iterable[LiveChannel], window: Window | None) -> list[str]:
    problems = []
    for channel in channels:
        curve = find_curve(channel.id, channel.path, channel.index)
        if curve is None:
            continue
        if curve.lock or (curve.group is not None and curve.group.lock):
            problems.append(
                f"The animation of {channel.path} is locked; unlock it in the Graph Editor or bake into a new action."
            )
        elif is_muted(curve):
            problems.append(
                f"The animation of {channel.path} is muted, so its keys would not play; tick it in the Graph Editor "
                "or bake into a new action."
            )
        elif any(modifier.type == "CYCLES" and not modifier.mute for modifier in curve.modifiers):
            problems.append(
                f"The animation of {channel.path} repeats, so keys in it would change all of it; remove its Cycles "
                "modifier in the Graph Editor or bake as a layer on top."
            )
        elif changed := _changed_by(curve, window):
            problems.append(
                f"The animation of {channel.path} has the modifier {changed!r}, which would change its keys; mute it "
                "in the Graph Editor or bake as a layer on top."
            )
    return problems


def _changed_by(curve: bpy.types.FCurve, window: Window | None) -> str:
    """Return the name of an animator's modifier that would change keys in the window; else an empty string.

    One that is restricted to a range of frames is in the way where the window is known to reach into it.
    """
    for modifier in foreign_modifiers(curve):
        reaches = window is not None and modifier.frame_start <= window.last_key and window.first <= modifier.frame_end
        if reaches or not modifier.use_restricted_range:
            return modifier.name or modifier.type.title()
    return ""


def _name(id_block: bpy.types.ID) -> str:
    """Return what a person calls the ID: the mesh of shape keys, which are all called `Key`."""
    return repr(id_block.user.name) if isinstance(id_block, bpy.types.Key) else repr(id_block.name)
