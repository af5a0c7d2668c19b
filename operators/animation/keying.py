# SPDX-License-Identifier: GPL-3.0-or-later
"""Keying all numbers of one ID: in a new action, in a layer on top, or into the action that is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import bpy

from .destination import LAYER, REPLACE
from .keyframes import add_nla_layer, animated_paths, assign_new_action, finish_nla_layer, write_keys
from .performance import ControlKeys
from .strength import add_strength, make_room


@dataclass(frozen=True)
class Written:
    """The names of the action that was written and of the one that it replaced, if any."""

    action: str
    replaced: str | None = None


def key(id_block: bpy.types.ID, entries: Sequence[ControlKeys], animation: str, strength: str) -> Written:
    """Write the keys of one ID, with modifiers called `strength`; `animation` is as `Destination` has it."""
    name = f"MagPlus {entries[0].kind.owner_name(entries[0].keys.channel)}"
    if animation == LAYER:
        return Written(_key_layer(id_block, entries, name, strength))
    active = id_block.animation_data.action if id_block.animation_data is not None else None
    replaced: bpy.types.Action | None = None
    if into := animation == REPLACE and active is not None:
        action = active
    else:
        action, replaced = assign_new_action(id_block, name)
    for entry in entries:
        curve = write_keys(entry.keys)
        interval = (float(entry.keys.frames[0]), float(entry.keys.frames[-1]))
        make_room(curve, *interval)
        add_strength(curve, strength, entry.control.rest, interval if into else None)
    return Written(action.name, replaced.name if replaced is not None else None)


def _key_layer(id_block: bpy.types.ID, entries: Sequence[ControlKeys], name: str, strength: str) -> str:
    """Write keys into an NLA track that adds to what is below it; returns the action's name."""
    below = animated_paths(id_block)
    action = add_nla_layer(id_block, name)
    for entry in entries:
        # What is below is at rest where the basis was measured or, where nothing is, what the NLA starts from.
        channel, rest = entry.keys.channel, entry.control.rest
        animated = (channel.path, max(channel.index, 0)) in below
        base = rest if animated else entry.kind.neutral(channel)
        curve = write_keys(replace(entry.keys, values=entry.keys.values - base))
        add_strength(curve, strength, rest - base, None)
    finish_nla_layer(id_block, action)
    return str(action.name)
