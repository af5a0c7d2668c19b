# SPDX-License-Identifier: GPL-3.0-or-later
"""The numbers of a rig that an animator can key: shape keys, channels of pose bones, custom properties.

All of them are addressed as an F-Curve addresses them (an ID, a data path, an index), so that whatever can be measured
can also be baked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import bpy

from ...backend_bridge.rig.basis import Channel, Control

LINKED = "belongs to a linked file; make a library override of the object and of its mesh"
SHAPE_KEY, BONE, PROPERTY = "shape_key", "bone", "property"
SLIDER_LIMIT = 10.0  # Blender's own limit of a shape key's range
_BONE_CHANNELS = {"location": (0, 1, 2), "rotation_euler": (0, 1, 2), "rotation_quaternion": (1, 2, 3)}
# "key_blocks["Smile"].value" -> parent 'key_blocks["Smile"]', attribute 'value'; '["smile"]' -> key 'smile'
_LAST_STEP = re.compile(r'^(?P<parent>.*?)(?:\.?(?P<attribute>\w+)|\["(?P<key>(?:[^"\\]|\\.)*)"\])$')


@dataclass(frozen=True)
class LiveChannel:
    """One number of an ID in this file; `index` is -1 where the property is no vector."""

    id: bpy.types.ID
    path: str
    index: int = -1

    def read(self) -> float:
        """Return the present value, before drivers and animation act on it again."""
        value = self.id.path_resolve(self.path)
        return float(value if self.index < 0 else value[self.index])

    def write(self, value: float) -> None:
        """Set the value and tell the depsgraph."""
        if self.index >= 0:
            self.id.path_resolve(self.path)[self.index] = value
            return
        step = _LAST_STEP.match(self.path)
        assert step is not None, self.path
        parent = self.id.path_resolve(step["parent"]) if step["parent"] else self.id
        if step["attribute"]:
            setattr(parent, step["attribute"], value)
        else:
            parent[bpy.utils.unescape_identifier(step["key"])] = value
            self.id.update_tag()  # unlike properties defined in C, custom ones don't tell by themselves

    @property
    def default(self) -> float:
        """The value from which the NLA starts where nothing below animates this number."""
        step = _LAST_STEP.match(self.path)
        assert step is not None, self.path
        parent = self.id.path_resolve(step["parent"]) if step["parent"] else self.id
        if step["key"] is not None:
            name = bpy.utils.unescape_identifier(step["key"])
            return float(parent.id_properties_ui(name).as_dict().get("default", 0.0))
        definition = parent.bl_rna.properties[step["attribute"]]
        return float(definition.default if self.index < 0 else definition.default_array[self.index])

    @property
    def driven(self) -> bool:
        """Whether a driver sets this number, so that a written value would not last."""
        animation = self.id.animation_data
        return animation is not None and any(
            driver.data_path == self.path and driver.array_index == max(self.index, 0) for driver in animation.drivers
        )


@dataclass(frozen=True)
class RigControl:
    """A control together with the numbers in this file that it moves, all of them alike.

    `step` is how far it is moved when its effect is measured.
    """

    control: Control
    channels: tuple[LiveChannel, ...]
    step: float

    def write(self, value: float) -> None:
        """Set all numbers of the control."""
        for channel in self.channels:
            channel.write(value)

    def renamed(self, name: str) -> RigControl:
        """Return the same control under another name."""
        return replace(self, control=replace(self.control, name=name))


@contextmanager
def restored(controls: Iterable[RigControl], view_layer: bpy.types.ViewLayer) -> Iterator[None]:
    """Put every number back to exactly what it was, whatever happens inside, and let the depsgraph know."""
    before = [(channel, channel.read()) for control in controls for channel in control.channels]
    try:
        yield
    finally:
        for channel, value in before:
            channel.write(value)
        view_layer.update()


def shape_key_controls(objects: Sequence[bpy.types.Object]) -> tuple[list[RigControl], dict[str, str]]:
    """Return a control for every shape key that can be keyed, and why the others can't, by name.

    Keys of the same name at the same value on several meshes (head, teeth, lashes) are one control that moves them all:
    that is how such characters are made to be animated. Objects that share a mesh share its keys.
    """
    found: dict[str, RigControl] = {}
    excluded: dict[str, str] = {}
    known: set[bpy.types.Key] = set()
    for obj in objects:
        key = obj.data.shape_keys
        if key is None or key in known:
            continue
        known.add(key)
        for block in key.key_blocks:
            if block == key.reference_key:
                continue
            # The name alone where that is clear; what another mesh has under the same name says whose it is.
            name = block.name if block.name not in found and block.name not in excluded else f"{obj.name}: {block.name}"
            channel = LiveChannel(key, block.path_from_id("value"))
            if reason := _shape_key_problem(obj, key, block, channel):
                excluded[name] = reason
                continue
            twin = found.get(block.name)
            if twin is not None and twin.control.rest == block.value:
                found[block.name] = _joined(twin, obj, channel)
                continue
            control = Control(
                name=name,
                kind=SHAPE_KEY,
                owner=obj.name,
                data_path=channel.path,
                rest=block.value,
                low=block.slider_min,
                high=block.slider_max,
            )
            # A quarter of the usual range is what a micro-expression uses: near enough to its motion where the rig is
            # not linear, and far enough from rounding.
            found[name] = RigControl(control, (channel,), min(0.25, (control.high - control.low) / 4))
    return list(found.values()), excluded


def _shape_key_problem(
    obj: bpy.types.Object, key: bpy.types.Key, block: bpy.types.ShapeKey, channel: LiveChannel
) -> str:
    if not key.is_editable:
        return LINKED
    if not key.use_relative:
        return "is an absolute shape key, which has no value of its own"
    if obj.show_only_shape_key:
        return f"has no effect while {obj.name!r} shows only its active shape key"
    if block.mute:
        return "is muted"
    if channel.driven:
        return "is driven"
    if block.slider_max <= block.slider_min:
        return "can't be moved: its range is empty"
    return ""


def _joined(twin: RigControl, obj: bpy.types.Object, channel: LiveChannel) -> RigControl:
    control = twin.control
    return RigControl(
        Control(**{**vars(control), "linked": (*control.linked, Channel(obj.name, channel.path))}),
        (*twin.channels, channel),
        twin.step,
    )


def bone_controls(
    armature: bpy.types.Object, bones: Iterable[str], channels: Sequence[str] = ("location", "rotation")
) -> tuple[list[RigControl], dict[str, str]]:
    """Return controls for the location and rotation of pose bones, and why some can't be used, by name.

    Locations may go as far as the bone is long, rotations 45 degrees to each side. A quaternion is turned by its three
    imaginary parts; Blender normalises it.
    """
    found: list[RigControl] = []
    excluded: dict[str, str] = {}
    for bone_name in bones:
        bone = armature.pose.bones[bone_name]
        quaternion = bone.rotation_mode == "QUATERNION"
        if bone.rotation_mode == "AXIS_ANGLE" and "rotation" in channels:
            excluded[f"{bone_name} rotation"] = "turns by axis and angle; change its rotation mode"
        for kind in channels:
            attribute = kind if kind == "location" else "rotation_quaternion" if quaternion else "rotation_euler"
            if kind == "rotation" and bone.rotation_mode == "AXIS_ANGLE":
                continue
            reach = bone.length if kind == "location" else math.pi / 4 * (0.5 if quaternion else 1.0)
            for index in _BONE_CHANNELS[attribute]:
                axis = index - 1 if quaternion and kind == "rotation" else index
                name = f"{bone_name} {kind} {'XYZ'[axis]}"
                channel = LiveChannel(armature, bone.path_from_id(attribute), index)
                if getattr(bone, f"lock_{kind}")[axis]:
                    excluded[name] = "is locked"
                elif channel.driven:
                    excluded[name] = "is driven"
                else:
                    rest = channel.read()
                    path = f"{channel.path}[{index}]"
                    control = Control(name, BONE, armature.name, path, rest, rest - reach, rest + reach)
                    found.append(RigControl(control, (channel,), reach / 10))
    return found, excluded


def property_controls(obj: bpy.types.Object, paths: Iterable[str]) -> tuple[list[RigControl], dict[str, str]]:
    """Return controls for custom properties of an object or of its bones, and why some can't be used, by name.

    `paths` are data paths as Blender copies them: `["smile"]` or `pose.bones["face"]["smile"]`.
    """
    found: list[RigControl] = []
    excluded: dict[str, str] = {}
    for path in paths:
        step = _LAST_STEP.match(path)
        if step is None or step["key"] is None:
            excluded[path] = "is no custom property"
            continue
        channel = LiveChannel(obj, path)
        name = bpy.utils.unescape_identifier(step["key"])
        parent = obj.path_resolve(step["parent"]) if step["parent"] else obj
        if not isinstance(parent.get(name), float):
            excluded[name] = "is no decimal number"
            continue
        limits = parent.id_properties_ui(name).as_dict()
        low, high = limits["soft_min"], limits["soft_max"]
        if channel.driven:
            excluded[name] = "is driven"
        elif not low < high or high - low > 1e6:
            excluded[name] = "has no soft limits; set them, so that it can be solved"
        else:
            control = Control(name, PROPERTY, obj.name, path, channel.read(), low, high)
            found.append(RigControl(control, (channel,), (high - low) / 4))
    return found, excluded


def widen_range(block: bpy.types.ShapeKey, low: float, high: float) -> bool:
    """Widen a shape key's range to [low, high], up to `SLIDER_LIMIT`, and return whether it had to be.

    Blender cuts values off at the range, animated ones too.
    """
    if low >= block.slider_min and high <= block.slider_max:
        return False
    # Rounded outwards to tenths: a range that a person would have set.
    if high > block.slider_max:
        block.slider_max = min(math.ceil(high * 10) / 10, SLIDER_LIMIT)
    if low < block.slider_min:
        block.slider_min = max(math.floor(low * 10) / 10, -SLIDER_LIMIT)
    return True


def find_channel(obj: bpy.types.Object, kind: str, data_path: str) -> LiveChannel | None:
    """Return the number that a control recorded on `obj`, or None when the rig has it no longer."""
    id_block = getattr(obj.data, "shape_keys", None) if kind == SHAPE_KEY else obj
    if id_block is None:
        return None
    step = re.match(r"^(.*)\[(\d+)\]$", data_path) if kind == BONE else None
    channel = LiveChannel(id_block, step[1], int(step[2])) if step else LiveChannel(id_block, data_path)
    try:
        channel.read()
    except (ValueError, KeyError, IndexError, TypeError):
        return None
    return channel
