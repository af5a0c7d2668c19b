# SPDX-License-Identifier: GPL-3.0-or-later
"""Shape keys, the kind of control that most faces have."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import cast

import bpy

from ....backend_bridge.rig.basis import SHAPE_KEY, Channel, Control
from ...blender.data import shape_keys_of, wearers
from ..controls import LiveChannel, RigControl
from ..face_rig import FaceRig
from .control_kind import DRIVEN, LINKED, ControlKind, Found, channel_at

ABSOLUTE = "is an absolute shape key, which has no value of its own"
SLIDER_LIMIT = 10.0  # Blender's own limit of a shape key's range


class ShapeKeys(ControlKind):
    """The values of relative shape keys. The ID is the `Key` of a mesh, a lattice or a curve; its owner the object."""

    name = SHAPE_KEY
    label = "Shape key"
    proportional = True
    made_for_the_face = True
    limits = (-SLIDER_LIMIT, SLIDER_LIMIT)
    # No icon: that is what most are, and names are long.

    def find(self, rig: FaceRig) -> Found:
        """Return the shape keys of the meshes, and of what acts on them: other meshes, lattices, curves."""
        return shape_key_controls([*rig.meshes, *rig.acting])

    def find_channel(self, owner: bpy.types.Object, data_path: str) -> LiveChannel | None:
        """Return the key's value."""
        key = shape_keys_of(owner)
        return channel_at(key, data_path) if key is not None else None

    def key_problem(self, channel: LiveChannel) -> str:
        """Beside what holds for all: a muted key shows nothing, nor do those beside one that is shown alone."""
        if problem := super().key_problem(channel):
            return problem
        key = _key(channel)
        problems = [_without_effect(obj, key, _block(channel)) for obj in wearers(key)]
        return problems[0] if all(problems) and problems else ""

    def owner_name(self, channel: LiveChannel) -> str:
        """Return the mesh's name: that of its keys is always `Key`."""
        return str(_key(channel).user.name)

    def range_of(self, channel: LiveChannel) -> tuple[float, float]:
        """Return the slider's range."""
        block = _block(channel)
        return block.slider_min, block.slider_max

    def widen(self, channel: LiveChannel, low: float, high: float) -> tuple[float, float] | None:
        """Widen the slider's range: Blender cuts values off at it, animated ones too."""
        block = _block(channel)
        if low >= block.slider_min and high <= block.slider_max:
            return None
        # Rounded outwards to tenths: a range that a person would have set.
        if high > block.slider_max:
            block.slider_max = min(math.ceil(high * 10) / 10, SLIDER_LIMIT)
        if low < block.slider_min:
            block.slider_min = max(math.floor(low * 10) / 10, -SLIDER_LIMIT)
        return block.slider_min, block.slider_max

    def keeps_range(self, channel: LiveChannel) -> bool:
        """Whether it is; not in a library override, which leaves ranges out."""
        return _key(channel).user.override_library is None

    def ids_with_ranges(self) -> Iterable[bpy.types.ID]:
        """Give the keys of all meshes."""
        return bpy.data.shape_keys


def shape_key_controls(objects: Sequence[bpy.types.Object]) -> Found:
    """Return a control for every shape key that can be keyed, and why the others can't, by name.

    Keys of the same name at the same value on several meshes (head, teeth, lashes) are one control that moves them all:
    that is how such characters are made to be animated. On the left brow and the right one they are two. Objects that
    share a mesh share its keys.
    """
    pairs = {obj.name for obj in objects} & {bpy.utils.flip_name(obj.name) for obj in objects}
    pairs -= {name for name in pairs if bpy.utils.flip_name(name) == name}
    found: dict[str, RigControl] = {}
    excluded: dict[str, str] = {}
    known: set[bpy.types.Key] = set()
    for obj in objects:
        key = shape_keys_of(obj)
        if key is None or key in known:
            continue
        known.add(key)
        for block in key.key_blocks:
            if block == key.reference_key:
                continue
            # The name alone where that is clear; what another mesh has under the same name says whose it is.
            sided = obj.name in pairs
            taken = sided or block.name in found or block.name in excluded
            name = f"{obj.name}: {block.name}" if taken else block.name
            channel = LiveChannel(key, block.path_from_id("value"))
            if reason := _problem(obj, key, block, channel):
                excluded[name] = reason
                continue
            twin = None if sided else found.get(block.name)
            if twin is not None and twin.control.rest == block.value:
                found[block.name] = _joined(twin, obj, channel)
                continue
            control = Control(
                name=name,
                kind=ShapeKeys.name,
                owner=obj.name,
                data_path=channel.path,
                rest=block.value,
                low=block.slider_min,
                high=block.slider_max,
                part=f"{block.name} {obj.name}" if sided else block.name,
            )
            # A quarter of the usual range is what a micro-expression uses: near enough to its motion where the rig is
            # not linear, and far enough from rounding.
            found[name] = RigControl(control, (channel,), min(0.25, (control.high - control.low) / 4))
    return list(found.values()), excluded


def _problem(obj: bpy.types.Object, key: bpy.types.Key, block: bpy.types.ShapeKey, channel: LiveChannel) -> str:
    if not key.is_editable:
        return LINKED
    if problem := _without_effect(obj, key, block):
        return problem
    if channel.driven:
        return DRIVEN
    if block.slider_max <= block.slider_min:
        return "can't be moved: its range is empty"
    return ""


def _without_effect(obj: bpy.types.Object, key: bpy.types.Key, block: bpy.types.ShapeKey) -> str:
    if not key.use_relative:
        return ABSOLUTE
    if obj.show_only_shape_key:
        return f"has no effect while {obj.name!r} shows only its active shape key"
    if not block.mute:
        return ""
    return "is muted by a driver" if LiveChannel(key, block.path_from_id("mute")).driven else "is muted"


def _joined(twin: RigControl, obj: bpy.types.Object, channel: LiveChannel) -> RigControl:
    linked = (*twin.control.linked, Channel(obj.name, channel.path))
    return RigControl(replace(twin.control, linked=linked), (*twin.channels, channel), twin.step)


def _key(channel: LiveChannel) -> bpy.types.Key:
    return cast(bpy.types.Key, channel.id)


def _block(channel: LiveChannel) -> bpy.types.ShapeKey:
    block: bpy.types.ShapeKey = channel.id.path_resolve(channel.path.removesuffix(".value"))
    return block
