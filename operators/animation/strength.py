# SPDX-License-Identifier: GPL-3.0-or-later
"""How strongly a baked expression plays, without touching its keys.

Every curve of a bake has an Envelope modifier that scales it about rest. So the keys stay as they were solved, any
strength can be set and set back, and an animator finds it where modifiers of a curve are, in the Graph Editor. By its
modifiers a curve is known as one of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import bpy
import numpy as np

from ..rig.kinds import KINDS, ControlKind
from .ends import Window
from .keyframes import all_curves, animated_channel, bare
from .nla import REST, Address, Playing, is_muted, playing, takes_of
from .scene_time import LAST_FRAME
from .stack import bounds_below

STILL = 1e-4  # in units of a control: a curve that departs less from rest is still
LONGEST_NAME = 48  # bytes of a bake's name; with what is put around it, it is a modifier's name
_OURS = re.compile(r"MagPlus \[(?P<bake>.*)\](?:\.\d{3,})?", re.DOTALL)  # Blender numbers a name's second on a curve
_LEAST = 1e-6  # nothing, for a modifier that divides by the strength


def add_strength(curve: bpy.types.FCurve, bake: str, rest: float, window: Window | None) -> None:
    """Make the strength of a curve adjustable; it is 1 to begin with.

    `window` is the part of the curve that is scaled, all of it where it is None. Beside it the scaling fades, so that
    the whole frames next to it stay as they are.
    """
    modifier = _new_modifier(curve, _modifier_name(bake), rest)
    _scale(modifier, 1.0)
    if window is not None:
        _restrict(modifier, window.before, window.after)
        modifier.blend_in, modifier.blend_out = window.first - window.before, window.after - window.held


def set_strength(bake: str, strength: float) -> None:
    """Set the strength of all curves of a bake; widens the ranges that need it."""
    for kind in KINDS.values():
        for id_block in kind.ids_with_ranges():
            for each in playing(id_block):
                for curve in each.curves:
                    if ours := _ours(curve, bake):
                        _widen(kind, id_block, each, curve, ours[0].reference_value, strength)
    for action, modifier in _modifiers(bake):
        if action.is_editable:
            _scale(modifier, strength)


def rename_bake(bake: str, name: str) -> None:
    """Give a bake another name, which no other one has."""
    for _, modifier in _modifiers(bake):
        modifier.name = _modifier_name(name)


def rest_of(curve: bpy.types.FCurve) -> float | None:
    """Return the value at rest of a curve of ours, None for one that no bake has keyed."""
    ours = _ours(curve)
    return ours[0].reference_value if ours else None


def foreign_modifiers(curve: bpy.types.FCurve) -> list[bpy.types.FModifier]:
    """Return the modifiers of a curve that act and are no bake's strength."""
    ours = {each.as_pointer() for each in _ours(curve)}
    return [each for each in curve.modifiers if not each.mute and each.as_pointer() not in ours]


def covers(curve: bpy.types.FCurve, first: float, last: float) -> bool:
    """Whether a part of a curve, from one frame to another, is an earlier bake's."""
    return any(
        not each.use_restricted_range or (each.frame_start <= first and last <= each.frame_end) for each in _ours(curve)
    )


def make_room(curve: bpy.types.FCurve, window: Window) -> None:
    """Take a window out of what the strengths of earlier bakes scale, as new keys are coming there."""
    for modifier in _ours(curve):
        old = (modifier.frame_start, modifier.frame_end) if modifier.use_restricted_range else (-LAST_FRAME, LAST_FRAME)
        parts = ((old[0], min(old[1], window.before)), (max(old[0], window.after), old[1]))
        left = [part for part in parts if part[0] < part[1]]
        if not left:
            curve.modifiers.remove(modifier)
            continue
        _restrict(modifier, *left[0])
        for part in left[1:]:
            copy = _new_modifier(curve, modifier.name, modifier.reference_value)
            copy.default_min, copy.default_max, copy.mute = modifier.default_min, modifier.default_max, modifier.mute
            _restrict(copy, *part)


def drop_idle(curve: bpy.types.FCurve) -> None:
    """Remove the strengths of earlier bakes of which nothing is left on a curve."""
    keys = [(point.co[0], point.co[1]) for point in curve.keyframe_points]
    for modifier in _ours(curve):
        limits = (
            (modifier.frame_start, modifier.frame_end) if modifier.use_restricted_range else (-LAST_FRAME, LAST_FRAME)
        )
        values = [value for frame, value in keys if limits[0] <= frame <= limits[1]]
        values += [bare(curve, frame) for frame in limits if abs(frame) < LAST_FRAME]
        if all(abs(value - modifier.reference_value) < STILL for value in values):
            curve.modifiers.remove(modifier)


def muted_layers(id_block: bpy.types.ID, addresses: set[Address], first: float, last: float) -> list[str]:
    """Return the names of the muted tracks in which an earlier bake adds to an address between two frames."""
    animation = id_block.animation_data
    return [
        track.name
        for track in (animation.nla_tracks if animation is not None else ())
        for take in takes_of(track)
        if take.strip is not None
        and (track.mute or take.strip.mute)
        and take.strip.blend_type == "ADD"
        and take.strip.frame_start <= last
        and first <= take.strip.frame_end
        and any((curve.data_path, curve.array_index) in addresses and _ours(curve) for curve in take.curves)
    ]


def tracks_below(id_block: bpy.types.ID, addresses: set[Address], window: Window) -> list[str]:
    """Return the names of the tracks in which an address is animated: an animator's, and bakes beside the window."""
    animation = id_block.animation_data
    playing_now = {take.strip.as_pointer() for take in playing(id_block) if take.strip is not None}
    return [
        track.name
        for track in (animation.nla_tracks if animation is not None else ())
        if any(
            (curve.data_path, curve.array_index) in addresses and not is_muted(curve) and _shows(take, curve, window)
            for take in takes_of(track)
            if take.strip is not None and take.strip.as_pointer() in playing_now and take.action.name != REST
            for curve in take.curves
        )
    ]


def _shows(take: Playing, curve: bpy.types.FCurve, window: Window) -> bool:
    """Whether a curve is an animator's, or a bake's that leaves its rest beside a window, which is cleared of it."""
    if (rest := rest_of(curve)) is None:
        return True
    return any(
        abs(value - rest) >= STILL and not (take.plain() and window.first <= frame <= window.end)
        for frame, value in ((take.scene_frame(point.co[0]), point.co[1]) for point in curve.keyframe_points)
    )


@contextmanager
def silenced() -> Iterator[None]:
    """Let every bake of the file stay at rest inside, and play again as it did afterwards."""
    before = _silence()
    try:
        yield
    finally:
        # Found anew: an undo or another file in the meantime would leave us with the addresses of what is gone.
        for place, modifier in _places():
            if place in before:
                modifier.default_min, modifier.default_max, modifier.mute = before[place]


def _silence() -> dict[tuple[int, int, str], tuple[float, float, bool]]:
    """Let every bake stay at rest; return what its modifiers were set to, by their places."""
    before = {}
    for place, modifier in _places():
        before[place] = modifier.default_min, modifier.default_max, modifier.mute
        _scale(modifier, 0.0)
    return before


def _places() -> Iterator[tuple[tuple[int, int, str], bpy.types.FModifierEnvelope]]:
    """Give the modifiers of all bakes with what tells them apart as long as Blender runs."""
    for action in bpy.data.actions:  # those of linked files, too: what is set there is not saved, and put back
        for number, curve in enumerate(all_curves(action)):
            yield from (((action.session_uid, number, each.name), each) for each in _ours(curve))


def bakes_on_curves(used: bool = True) -> set[str]:
    """Return the names of the bakes that have curves in this file; with `used` only in actions that something uses."""
    found = set()
    for action, modifier in _modifiers():
        if not used or action.users > action.use_fake_user:
            found.add(_bake_of(modifier.name))
    return found


def _modifier_name(bake: str) -> str:
    return f"MagPlus [{bake}]"


def _bake_of(name: str) -> str:
    """Return the name of the bake that a modifier is of, an empty string for another's."""
    match = _OURS.fullmatch(name)
    return match["bake"] if match is not None else ""


def _modifiers(bake: str = "") -> Iterator[tuple[bpy.types.Action, bpy.types.FModifierEnvelope]]:
    for action in bpy.data.actions:
        for curve in all_curves(action):
            yield from ((action, modifier) for modifier in _ours(curve, bake))


def _ours(curve: bpy.types.FCurve, bake: str = "") -> list[bpy.types.FModifierEnvelope]:
    """Return the modifiers of a curve that set a strength, all of them or those of one bake."""
    envelopes = [cast(bpy.types.FModifierEnvelope, each) for each in curve.modifiers if each.type == "ENVELOPE"]
    return [each for each in envelopes if (of := _bake_of(each.name)) and (not bake or of == bake)]


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


def _widen(
    kind: ControlKind, id_block: bpy.types.ID, take: Playing, curve: bpy.types.FCurve, rest: float, strength: float
) -> None:
    """Widen the range of what a curve animates, so that Blender does not cut the stronger curve off."""
    channel = animated_channel(id_block, curve)
    points = np.array([tuple(point.co) for point in curve.keyframe_points]).reshape(-1, 2)
    if channel is None or not len(points):
        return
    values = rest + strength * (points[:, 1] - rest)
    low, high = values, values
    if take.strip is not None:  # it adds to what is below it
        frames = points[:, 0] + (take.strip.frame_start - take.strip.action_frame_start)
        below = bounds_below(id_block, (curve.data_path, curve.array_index), frames, take.action)
        lowest, highest = below or (np.array(channel.default), np.array(channel.default))
        low, high = values + lowest, values + highest
    kind.widen(channel, float(min(low)), float(max(high)))
