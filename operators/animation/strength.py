# SPDX-License-Identifier: GPL-3.0-or-later
"""How strongly a baked expression plays, without touching its keys.

Every curve of a bake has an Envelope modifier that scales it about rest. So the keys stay as they were solved, any
strength can be set and set back, and an animator finds it where modifiers of a curve are, in the Graph Editor.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import cast

import bpy

from ..rig.kinds import KINDS, ControlKind
from .keyframes import all_curves, animated_channel, used_actions

PREFIX = "MagPlus "
_NAME_LENGTH = 63  # bytes that Blender keeps of a modifier's name
_FAR = 1_048_574.0  # Blender's last frame
_LEAST = 1e-6  # nothing, for a modifier that divides by the strength


def modifier_name(bake: str) -> str:
    """Return what the modifiers of a bake are called."""
    return (PREFIX + bake).encode()[:_NAME_LENGTH].decode(errors="ignore")


def add_strength(curve: bpy.types.FCurve, name: str, rest: float, interval: tuple[float, float] | None) -> None:
    """Make the strength of a curve adjustable; it is 1 to begin with.

    `interval` (first, last) is the part of the curve that is scaled, all of it where it is None. Beside it the scaling
    fades, so that the whole frames next to it stay as they are.
    """
    modifier = _new_modifier(curve, name, rest)
    _scale(modifier, 1.0)
    if interval is not None:
        before, after = math.ceil(interval[0]) - 1, math.floor(interval[1]) + 1
        _restrict(modifier, before, after)
        modifier.blend_in, modifier.blend_out = interval[0] - before, after - interval[1]


def set_strength(name: str, strength: float) -> None:
    """Set the strength of all curves that have the modifier `name`; widens the ranges that need it."""
    for kind in KINDS.values():
        for id_block in kind.ids_with_ranges():
            for curve in _curves_of(id_block, name):
                _widen(kind, id_block, curve, name, strength)
    for _, modifier in _modifiers(name):
        _scale(modifier, strength)


def make_room(curve: bpy.types.FCurve, first: float, last: float) -> None:
    """Take the interval out of what the strengths of earlier bakes scale, as new keys are coming there."""
    for modifier in _ours(curve):
        old = (modifier.frame_start, modifier.frame_end) if modifier.use_restricted_range else (-_FAR, _FAR)
        before, after = math.ceil(first) - 1, math.floor(last) + 1
        left = [part for part in ((old[0], min(old[1], before)), (max(old[0], after), old[1])) if part[0] < part[1]]
        if not left:
            curve.modifiers.remove(modifier)
            continue
        _restrict(modifier, *left[0])
        for part in left[1:]:
            copy = _new_modifier(curve, modifier.name, modifier.reference_value)
            copy.default_min, copy.default_max, copy.mute = modifier.default_min, modifier.default_max, modifier.mute
            _restrict(copy, *part)


def plays(name: str) -> bool:
    """Whether the strength `name` still acts on something."""
    return any(action.users > action.use_fake_user for action, _ in _modifiers(name))


def _modifiers(name: str) -> Iterator[tuple[bpy.types.Action, bpy.types.FModifierEnvelope]]:
    for action in bpy.data.actions:
        if action.is_editable:
            for curve in all_curves(action):
                yield from ((action, modifier) for modifier in _ours(curve, name))


def _curves_of(id_block: bpy.types.ID, name: str) -> Iterator[bpy.types.FCurve]:
    for action in used_actions(id_block):
        yield from (curve for curve in all_curves(action) if _ours(curve, name))


def _ours(curve: bpy.types.FCurve, name: str = "") -> list[bpy.types.FModifierEnvelope]:
    """Return the modifiers of a curve that set a strength, all of them or those of one bake."""
    envelopes = [cast(bpy.types.FModifierEnvelope, each) for each in curve.modifiers if each.type == "ENVELOPE"]
    # Blender numbers a second modifier of one name on a curve.
    return [modifier for modifier in envelopes if modifier.name.startswith(name or PREFIX)]


def _new_modifier(curve: bpy.types.FCurve, name: str, rest: float) -> bpy.types.FModifierEnvelope:
    """Add a modifier that scales a curve about `rest`, and has yet to be told how much."""
    modifier = cast(bpy.types.FModifierEnvelope, curve.modifiers.new("ENVELOPE"))
    modifier.name = name
    modifier.control_points.add(0.0)
    modifier.reference_value = rest
    return modifier


def _scale(modifier: bpy.types.FModifierEnvelope, strength: float) -> None:
    """Let a modifier turn a value v into rest + strength * (v - rest), where rest is its reference value.

    It maps the band from rest + minimum to rest + maximum onto the band of its control point, -1 to 1, and what is
    beside it alike. The control point itself must be left alone: Blender (5.0 and 5.2 at least) takes it for a modifier
    when it is written to, and crashes.
    """
    rest, strength = modifier.reference_value, max(strength, _LEAST)
    modifier.default_min, modifier.default_max = -(1.0 + rest) / strength, (1.0 - rest) / strength
    modifier.mute = strength == 1.0


def _restrict(modifier: bpy.types.FModifier, first: float, last: float) -> None:
    modifier.use_restricted_range = True
    modifier.frame_start, modifier.frame_end = first, last
    modifier.blend_in = modifier.blend_out = 0.0


def _widen(kind: ControlKind, id_block: bpy.types.ID, curve: bpy.types.FCurve, name: str, strength: float) -> None:
    """Widen the range of what a curve animates, so that Blender does not cut the stronger curve off."""
    channel = animated_channel(id_block, curve)
    points = [tuple(point.co) for point in curve.keyframe_points]
    if channel is None or not points:
        return
    rest = _ours(curve, name)[0].reference_value
    values = [rest + strength * (value - rest) + _below(id_block, curve, frame) for frame, value in points]
    kind.widen(channel, min(values), max(values))


def _below(id_block: bpy.types.ID, curve: bpy.types.FCurve, frame: float) -> float:
    """Return what a curve in an NLA strip is added to at a frame; 0 for one of the active action, which is all."""
    animation = id_block.animation_data
    if animation is None or curve.id_data == animation.action:
        return 0.0
    below = [other for action in used_actions(id_block) if action != curve.id_data for other in all_curves(action)]
    animated = curve.data_path, curve.array_index
    return float(sum(other.evaluate(frame) for other in below if (other.data_path, other.array_index) == animated))
