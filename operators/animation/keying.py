# SPDX-License-Identifier: GPL-3.0-or-later
"""Keying all numbers of one ID: in a new action, in a layer on top, or into the action that is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import bpy
import numpy as np

from ..rig.controls import LiveChannel
from .destination import LAYER, REPLACE
from .earlier_run import ClipOfRun
from .ends import Window
from .keyframes import Keys, animation_of, assign_new_action, bare, curves_of, cut_after, find_curve, write_keys
from .nla import (
    QUATERNION,
    Address,
    add_layer,
    animated,
    has_tracks,
    hold,
    muted_takes,
    play_whole,
    push_down,
    whole_quaternions,
)
from .performance import STILL, ControlKeys
from .strength import add_strength, covers, drop_idle, make_room, muted_layers, rest_of, tracks_below


@dataclass(frozen=True)
class Written:
    """What was written, by name.

    action: that has the keys. replaced: the one in whose place it is. overruled: muted tracks below a layer that it
    would overrule, were they to play again. adding: muted layers of earlier bakes that would add up with the keys.
    hidden: tracks that played what is keyed, and that the keys overrule on all frames.
    """

    action: str
    replaced: str | None = None
    overruled: tuple[str, ...] = ()
    adding: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()


@dataclass(frozen=True)
class Keying:
    """How the keys of an ID are written.

    animation: as `Destination` has it. bake: the name of the bake, for its strength. window: what it fills. rests: what
    is known of numbers of the ID at rest. over: whether it is released over a bake that begins there, which stays whole
    below it. clip: whose result of an earlier run a new action replaces.
    """

    animation: str
    bake: str
    window: Window
    rests: Mapping[Address, float]
    over: bool = False
    clip: ClipOfRun | None = None

    def key(self, id_block: bpy.types.ID, entries: Sequence[ControlKeys]) -> Written:
        """Write the keys of one ID."""
        addresses = whole_quaternions(address_of(entry.keys.channel) for entry in entries)
        adding = muted_layers(id_block, addresses, self.window.first, self.window.end)
        below = addresses - _in_active(id_block)
        hidden = [] if self.animation == LAYER else tracks_below(id_block, below, self.window)
        return replace(self._key(id_block, entries), adding=tuple(adding), hidden=tuple(hidden))

    def _key(self, id_block: bpy.types.ID, entries: Sequence[ControlKeys]) -> Written:
        name = f"MagPlus {entries[0].kind.owner_name(entries[0].keys.channel)}"
        if self.animation == LAYER:
            return self._layer(id_block, entries, name)
        active = id_block.animation_data.action if id_block.animation_data is not None else None
        if self.animation == REPLACE and active is not None:
            self._into_active(id_block, entries)
            return Written(active.name)
        left = self._left_by(id_block)
        earlier = active is not None and self.clip is not None and self.clip.is_replaced(active)
        action, replaced = assign_new_action(id_block, name)
        if replaced is None:
            play_whole(animation_of(id_block))
        for address, value in left.items():
            _stand(id_block, address, value)
        self._into_active(id_block, entries)
        if replaced is not None and earlier:
            name = replaced.name
            bpy.data.actions.remove(replaced)
            action.name, replaced = name, None
        return Written(action.name, replaced.name if replaced is not None else None)

    def _into_active(self, id_block: bpy.types.ID, entries: Sequence[ControlKeys]) -> None:
        """Write keys into the active action.

        Curves that are new stay at rest beside the window. In those that are there it is the clip's interval alone that
        changes where an animator's own keys go on after it.
        """
        for entry in entries:
            channel, rest = entry.keys.channel, entry.control.rest
            curve = find_curve(id_block, channel.path, channel.index)
            if curve is None or not len(curve.keyframe_points):
                add_strength(write_keys(self._with_ends(entry.keys, rest)), self.bake, rest, None)
            else:
                self._over(curve, entry)
        for address in _missing(entries):
            if find_curve(id_block, *address) is None:
                write_keys(self._constant(id_block, address, self._rest(id_block, address)))

    def _over(self, curve: bpy.types.FCurve, entry: ControlKeys) -> None:
        """Write keys over those of a curve that is there."""
        keys, rest = entry.keys, entry.control.rest
        if self.window.holds:
            released = _is_ours(keys.channel, curve, rest) and self._nothing_follows(curve, rest)
        elif self.over or self._rests_after(curve, rest):
            released = self._ends_away(keys, rest)
        else:  # an earlier clip's rest is eased into, or it would pop up where this one ends; an animator's keys stay
            released = covers(curve, self.window.last, self.window.end)
        window = self.window if released else self.window.unreleased
        if released:
            keys = self._fading(keys, curve, rest) if self.over else self._eased(keys, partial(bare, curve))
        write_keys(keys)
        if window.endless:  # also the key that has kept what comes after the window as it was
            cut_after(curve, window.last)
        make_room(curve, window)
        drop_idle(curve)
        add_strength(curve, self.bake, rest, window)

    def _layer(self, id_block: bpy.types.ID, entries: Sequence[ControlKeys], name: str) -> Written:
        """Write keys into an NLA track that adds to what is below it."""
        keyed = whole_quaternions(address_of(entry.keys.channel) for entry in entries)
        unheld = {
            address: self._rest(id_block, address) for address in sorted(keyed - whole_quaternions(animated(id_block)))
        }
        unheld |= {
            address_of(entry.keys.channel): entry.control.rest
            for entry in entries
            if address_of(entry.keys.channel) in unheld
        }
        held = {address: rest for address, rest in unheld.items() if rest != _channel(id_block, address).default}
        overruled = muted_takes(id_block, set(held)) if held else []
        mixed = has_tracks(id_block)
        if held:
            hold(id_block, [self._constant(id_block, address, rest) for address, rest in held.items()])
        push_down(id_block, mixed)
        keys = [
            self._released(replace(entry.keys, values=entry.keys.values - entry.control.rest), 0.0, lambda _: 0.0)
            for entry in entries
        ]
        missing = [self._constant(id_block, address, 0.0) for address in _missing(entries)]
        action, curves = add_layer(id_block, name, [*keys, *missing], self.window.endless)
        for curve in curves[: len(entries)]:
            add_strength(curve, self.bake, 0.0, None)
        return Written(action.name, overruled=tuple(overruled))

    def _with_ends(self, keys: Keys, rest: float) -> Keys:
        """Return keys for a curve that has none: at rest before the window, and after it."""
        keys = self._released(keys, rest, lambda _: rest)
        if abs(keys.values[0] - rest) <= STILL:
            return keys
        return replace(keys, frames=np.append(self.window.before, keys.frames), values=np.append(rest, keys.values))

    def _released(self, keys: Keys, rest: float, to: Callable[[float], float]) -> Keys:
        """Return keys that end where the curve goes on, if they end away from rest."""
        return self._eased(keys, to) if self._ends_away(keys, rest) else keys

    def _eased(self, keys: Keys, to: Callable[[float], float]) -> Keys:
        """Return keys that go over to where the curve goes on."""
        frames, values = self.window.released(keys.frames, keys.values, to)
        return replace(keys, frames=frames, values=values)

    def _fading(self, keys: Keys, curve: bpy.types.FCurve, rest: float) -> Keys:
        """Return keys of which the last fades away over what the curve does there, which is added to it."""
        faded = self._eased(keys, lambda _: rest)
        frames, values = faded.frames, faded.values
        below = np.array([bare(curve, float(frame)) - rest if frame > keys.frames[-1] else 0.0 for frame in frames])
        return replace(faded, values=values + below)

    def _rests_after(self, curve: bpy.types.FCurve, rest: float) -> bool:
        """Whether a curve does nothing while the window is released."""
        frames = np.linspace(self.window.last, self.window.end, 9)
        return all(abs(bare(curve, float(frame)) - rest) <= STILL for frame in frames)

    def _nothing_follows(self, curve: bpy.types.FCurve, rest: float) -> bool:
        """Whether a curve of ours has nothing but rest and earlier bakes while its last value is held."""
        keys = [point.co for point in curve.keyframe_points if self.window.last < point.co[0] <= self.window.end]
        return all(abs(value - rest) <= STILL or covers(curve, frame, frame) for frame, value in keys)

    @staticmethod
    def _ends_away(keys: Keys, rest: float) -> bool:
        return bool(abs(keys.values[-1] - rest) > STILL)

    def _constant(self, id_block: bpy.types.ID, address: Address, value: float) -> Keys:
        return Keys(_channel(id_block, address), np.array([self.window.first]), np.array([value]))

    def _rest(self, id_block: bpy.types.ID, address: Address) -> float:
        known = self.rests.get(address)
        return _channel(id_block, address).read() if known is None else known

    def _left_by(self, id_block: bpy.types.ID) -> dict[Address, float]:
        """Return the active action's values where the window begins: the pose that stays when it plays no more."""
        data = id_block.animation_data
        if data is None or data.action is None:
            return {}
        found = {}
        for curve in curves_of(data.action, getattr(data, "action_slot", None), ensure=False):
            rest = rest_of(curve)
            found[curve.data_path, curve.array_index] = curve.evaluate(self.window.first) if rest is None else rest
        return found | {address: rest for address, rest in self.rests.items() if address in found}


def _in_active(id_block: bpy.types.ID) -> set[Address]:
    """Return what the active action of an ID has curves for: it overrules the tracks there already."""
    data = id_block.animation_data
    if data is None or data.action is None or data.action_blend_type != "REPLACE":
        return set()
    curves = curves_of(data.action, getattr(data, "action_slot", None), ensure=False)
    return {(curve.data_path, curve.array_index) for curve in curves}


def _is_ours(channel: LiveChannel, curve: bpy.types.FCurve, rest: float) -> bool:
    """Whether a bake has made a curve: of the number itself, or at rest for another one of the same quaternion."""
    if rest_of(curve) is not None:
        return True
    if not channel.path.endswith(QUATERNION) or any(abs(key.co[1] - rest) > STILL for key in curve.keyframe_points):
        return False
    others = (find_curve(channel.id, channel.path, index) for index in range(4))
    return any(other is not None and rest_of(other) is not None for other in others)


def _missing(entries: Sequence[ControlKeys]) -> list[Address]:
    """Return what has no keys of the quaternions that are keyed in part: the NLA plays them as a whole."""
    keyed = {address_of(entry.keys.channel) for entry in entries}
    return sorted(whole_quaternions(keyed) - keyed)


def address_of(channel: LiveChannel) -> Address:
    """Return where the curve of a channel is found."""
    return channel.path, max(channel.index, 0)


def _channel(id_block: bpy.types.ID, address: Address) -> LiveChannel:
    path, index = address
    value = id_block.path_resolve(path)
    return LiveChannel(id_block, path, index if hasattr(value, "__len__") else -1)


def _stand(id_block: bpy.types.ID, address: Address, value: float) -> None:
    """Put a number where the action that goes has left it, if the ID has it still."""
    path, index = address
    for channel in (LiveChannel(id_block, path), LiveChannel(id_block, path, index)):
        if channel.exists and isinstance(channel.raw, float):
            channel.write(value)
            return
