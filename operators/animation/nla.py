# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's stack of tracks: what of it plays, and layers on top of it.

The NLA starts every number from a neutral value of its own (for a shape key 0, but 1 in Blender 5.0), not from what was
set by hand, wherever no strip plays. So what nothing below a layer animates gets a track that holds its rest value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import bpy

from .keyframes import Keys, animation_of, assign, curves_of, write_keys

REST = "MagPlus rest"
QUATERNION = "rotation_quaternion"
_BESIDE = 10_000  # frames that are played beside keys where a curve goes on there; more would cost fractions of a frame
_GO_ON = {"CYCLES", "NOISE", "GENERATOR", "FNGENERATOR"}  # modifiers that move a curve where it has no keys
Address = tuple[str, int]  # data path and index, as an F-Curve has them


@dataclass(frozen=True)
class Playing:
    """An action that plays on an ID.

    slot: None where actions have none. strip: None for the active action. nested: whether the strip is in a meta strip.
    inherited: whether its track is a linked file's, so that what is changed of it is not saved.
    """

    action: bpy.types.Action
    slot: Any
    strip: bpy.types.NlaStrip | None = None
    nested: bool = False
    inherited: bool = False

    @property
    def curves(self) -> list[bpy.types.FCurve]:
        """Its F-Curves for this ID."""
        return list(curves_of(self.action, self.slot, ensure=False))

    def plain(self) -> bool:
        """Whether it plays at its own speed, once and forwards, so that its frames are the scene's but for a shift."""
        strip = self.strip
        return strip is None or (strip.scale == 1.0 and strip.repeat == 1.0 and not strip.use_reverse)

    def own_frame(self, frame: float) -> float:
        """Return the frame of the action that plays at a frame of the scene; it has to be `plain`."""
        return frame if self.strip is None else frame - self.strip.frame_start + self.strip.action_frame_start

    def scene_frame(self, frame: float) -> float:
        """Return the frame of the scene at which a frame of the action plays, of one that is `plain`."""
        return frame if self.strip is None else frame + self.strip.frame_start - self.strip.action_frame_start

    def reaches(self, first: float, last: float) -> bool:
        """Whether it shows anything between two frames of the scene."""
        strip = self.strip
        if strip is None or strip.extrapolation == "HOLD":
            return True
        after = strip.extrapolation == "HOLD_FORWARD" or first <= strip.frame_end
        return after and last >= strip.frame_start


def playing(id_block: bpy.types.ID) -> list[Playing]:
    """Return what plays on an ID, from the lowest track up to the active action: nothing muted, nothing stashed."""
    animation = id_block.animation_data
    if animation is None:
        return []
    found: list[Playing] = []
    tracks = list(animation.nla_tracks) if animation.use_nla else []
    solo = any(track.is_solo for track in tracks)
    for track in tracks:
        if track.is_solo if solo else not track.mute:
            found += (replace(take, inherited=track.is_override_data) for take in _takes(track.strips, muted=False))
    if animation.action is not None and not solo:
        found.append(Playing(animation.action, getattr(animation, "action_slot", None)))
    return found


def is_muted(curve: bpy.types.FCurve) -> bool:
    """Whether a curve is switched off, itself or with its group."""
    return bool(curve.mute) or (curve.group is not None and bool(curve.group.mute))


def animated(id_block: bpy.types.ID) -> set[Address]:
    """Return what of an ID is animated: all four numbers of a quaternion as soon as the NLA animates one of them."""
    found: set[Address] = set()
    for each in playing(id_block):
        addresses = {(curve.data_path, curve.array_index) for curve in each.curves if not is_muted(curve)}
        found |= whole_quaternions(addresses) if each.strip is not None else addresses
    return found


def whole_quaternions(addresses: Iterable[Address]) -> set[Address]:
    """Return the addresses, with all four numbers of every quaternion among them."""
    found = set(addresses)
    for path, _ in tuple(found):
        if path.endswith(QUATERNION):
            found |= {(path, index) for index in range(4)}
    return found


def takes_of(track: bpy.types.NlaTrack) -> list[Playing]:
    """Return the actions of a track's strips and of those in its meta strips, muted or not."""
    return list(_takes(track.strips, muted=True))


def _takes(strips: Iterable[bpy.types.NlaStrip], muted: bool, nested: bool = False) -> Iterator[Playing]:
    for strip in strips:
        if strip.mute and not muted:
            continue
        if strip.type == "META":
            yield from _takes(strip.strips, muted, nested=True)
        elif strip.action is not None:
            yield Playing(strip.action, getattr(strip, "action_slot", None), strip, nested)


def muted_takes(id_block: bpy.types.ID, addresses: set[Address]) -> list[str]:
    """Return the names of the muted tracks that have one of the addresses."""
    animation = id_block.animation_data
    found = []
    for track in animation.nla_tracks if animation is not None else ():
        curves = [curve for take in takes_of(track) for curve in take.curves]
        if track.mute and any((curve.data_path, curve.array_index) in addresses for curve in curves):
            found.append(track.name)
    return found


def hold(id_block: bpy.types.ID, keys: Iterable[Keys]) -> None:
    """Hold numbers of an ID at their values on all frames, in a track that whatever lies above it overrules."""
    animation = animation_of(id_block)
    action = bpy.data.actions.new(REST)
    with _active(animation, action, id_block) as slot:
        for each in keys:
            write_keys(each)
    strip = _add_strip(animation, action, slot)
    strip.blend_type, strip.extrapolation = "REPLACE", "HOLD"


def has_tracks(id_block: bpy.types.ID) -> bool:
    """Whether an ID has NLA tracks: without any its action plays as it is, whatever its blending and extrapolation."""
    animation = id_block.animation_data
    return animation is not None and len(animation.nla_tracks) > 0


def play_whole(animation: bpy.types.AnimData) -> None:
    """Let the next active action play as it is: how the last one was mixed into tracks was a setting of that one."""
    animation.action_blend_type, animation.action_influence = "REPLACE", 1.0
    animation.action_extrapolation = "HOLD"


def push_down(id_block: bpy.types.ID, mixed: bool) -> None:
    """Move the active action into a track of its own, as Blender's Push Down does; on top it would overrule the tracks.

    `mixed`: whether it has played mixed into tracks (`has_tracks`), so that its blending is that of its strip. An
    action that has no slot for this ID plays nothing; it only makes room and stays in the file.
    """
    animation = animation_of(id_block)
    active = animation.action
    if active is None:
        return
    slot = getattr(animation, "action_slot", None)
    if hasattr(active, "slots") and slot is None:
        active.use_fake_user = True
    else:
        strip = _add_strip(animation, active, slot)
        strip.extrapolation, strip.blend_type = "HOLD", "REPLACE"
        if mixed:
            strip.extrapolation, strip.blend_type = animation.action_extrapolation, animation.action_blend_type
            _set_influence(strip, animation.action_influence)
    animation.action = None
    play_whole(animation)


def add_layer(
    id_block: bpy.types.ID, name: str, keys: Iterable[Keys], hold: bool
) -> tuple[bpy.types.Action, list[bpy.types.FCurve]]:
    """Add keys to all that plays on an ID, in a track on top; returns their action, and curves in the keys' order.

    The track's strip adds to what is below it. After its last key it adds nothing or, with `hold`, its value there.
    """
    animation = animation_of(id_block)
    action = bpy.data.actions.new(name)
    with _active(animation, action, id_block) as slot:
        curves = [write_keys(each) for each in keys]
    strip = _add_strip(animation, action, slot)
    strip.blend_type, strip.extrapolation = "ADD", "HOLD_FORWARD" if hold else "NOTHING"
    _set_influence(strip, 1.0)  # the strength of the expression, to be changed by hand
    return action, curves


def _set_influence(strip: bpy.types.NlaStrip, influence: float) -> None:
    """Key the influence of a strip, since Blender resets one that has no key."""
    strip.use_animated_influence = True
    strip.fcurves.find("influence").keyframe_points.insert(strip.action_frame_start, influence)


def fit(strip: bpy.types.NlaStrip, action: bpy.types.Action) -> None:
    """Play an action in its strip at the very frames its keys have, fractions included.

    Beside them the strip holds the values of its ends. A curve that goes on by itself there (it repeats, or rises on)
    gets a strip that reaches beyond its keys and beyond all scenes.
    """
    first, last = action.curve_frame_range  # an action's range that was set by hand is no limit to what it plays
    if any(_goes_on(curve) for curve in curves_of(action, getattr(strip, "action_slot", None), ensure=False)):
        first = min(first, *(scene.frame_start for scene in bpy.data.scenes)) - _BESIDE
        last = max(last, *(scene.frame_end for scene in bpy.data.scenes)) + _BESIDE
    strip.action_frame_start, strip.action_frame_end = first, last
    strip.frame_end = max(last, strip.frame_start + 1)
    strip.frame_start = first
    strip.frame_end = last


def _goes_on(curve: bpy.types.FCurve) -> bool:
    """Whether a curve does more beside its keys than to stay as they leave it."""
    rises = curve.extrapolation == "LINEAR" and len(curve.keyframe_points) > 0
    return rises or any(modifier.type in _GO_ON and not modifier.mute for modifier in curve.modifiers)


@contextmanager
def _active(animation: bpy.types.AnimData, action: bpy.types.Action, id_block: bpy.types.ID) -> Iterator[Any]:
    """Make an action the active one while keys are written into it; gives its slot."""
    before, slot_before = animation.action, getattr(animation, "action_slot", None)
    assign(animation, action, id_block)
    yield getattr(animation, "action_slot", None)
    animation.action = before
    if slot_before is not None:
        animation.action_slot = slot_before


def _add_strip(animation: bpy.types.AnimData, action: bpy.types.Action, slot: Any) -> bpy.types.NlaStrip:
    track = animation.nla_tracks.new()
    track.name = action.name
    strip = track.strips.new(action.name, int(action.frame_range[0]), action)
    if slot is not None:
        strip.action_slot = slot
    fit(strip, action)
    return strip


def plays_again(take: Playing, id_block: bpy.types.ID) -> bool:
    """Whether an action plays in another place of the same ID as well, as that of a strip which was duplicated does."""
    animation = animation_of(id_block)
    active = animation.action == take.action and take.strip is not None
    strips = [each.strip for track in animation.nla_tracks for each in takes_of(track) if each.action == take.action]
    return active or len(strips) > (take.strip is not None)


def sharing(take: Playing, id_block: bpy.types.ID) -> list[bpy.types.ID]:
    """Return the other IDs on which what plays on this one plays as well."""
    users: Iterable[bpy.types.ID] = ()
    if take.slot is not None:
        users = take.slot.users()
    elif not hasattr(take.action, "slots"):
        users = bpy.data.user_map(subset={take.action})[take.action]
    return [user for user in users if user != id_block and getattr(user, "animation_data", None) is not None]


def single_user(take: Playing, id_block: bpy.types.ID) -> Playing:
    """Let an ID play a copy of an action that plays on others as well."""
    copy = take.action.copy()
    player = take.strip or animation_of(id_block)
    player.action = copy
    if take.slot is None:
        return replace(take, action=copy)
    player.action_slot = copy.slots[take.slot.identifier]
    return replace(take, action=copy, slot=player.action_slot)


def strips_of(id_block: bpy.types.ID) -> Iterator[tuple[bpy.types.NlaTrack, bpy.types.NlaStrip]]:
    """Give the strips of an ID with their tracks."""
    animation = id_block.animation_data
    for track in animation.nla_tracks if animation is not None else ():
        yield from ((track, strip) for strip in track.strips)
