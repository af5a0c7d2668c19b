# SPDX-License-Identifier: GPL-3.0-or-later
"""Custom properties, of objects and of bones: what a rigger has put there for the animator."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import bpy

from ....backend_bridge.rig.basis import Control
from ...blender.data import pose_bones_of
from ..controls import Address, LiveChannel, RigControl
from ..face_rig import FaceRig
from .bone import shown_bones
from .control_kind import DRIVEN, ControlKind, Found

_ROUNDING = 1e-6  # of single precision
WIDEST = 1e6  # a range beyond this is none that anybody has set


class CustomProperties(ControlKind):
    """Decimal custom properties with soft limits. `part` is the property's own name."""

    name = "property"
    label = "Property"
    icon = "PROPERTIES"

    def find(self, rig: FaceRig) -> Found:
        """Return the properties of armatures, of the bones that an animator sees, of the meshes and of what acts."""
        found: list[RigControl] = []
        excluded: dict[str, str] = {}
        armatures = [obj for obj in rig.acting if obj.type == "ARMATURE"]
        others = [obj for obj in (*rig.meshes, *rig.acting) if obj.type != "ARMATURE"]
        for obj in (*armatures, *others):
            bones = shown_bones(obj, rig) if obj in armatures else []
            controls, reasons = property_controls(obj, _paths(obj, bones))
            found += controls
            excluded |= reasons
        return found, excluded

    def range_of(self, channel: LiveChannel) -> tuple[float, float]:
        """Return the hard limits; an object has other numbers, too, that have none."""
        if not channel.custom:
            return super().range_of(channel)
        limits = channel.limits
        return limits["min"], limits["max"]

    def widen(self, channel: LiveChannel, low: float, high: float) -> tuple[float, float] | None:
        """Widen the hard limits: Blender cuts values off at them, animated ones too."""
        lowest, highest = self.range_of(channel)
        if low >= lowest - _ROUNDING and high <= highest + _ROUNDING:
            return None
        # Rounded outwards to tenths: a range that a person would have set.
        new = min(lowest, math.floor(low * 10) / 10), max(highest, math.ceil(high * 10) / 10)
        channel.set_limits(*new)
        return new

    def keeps_range(self, channel: LiveChannel) -> bool:
        """Whether it is; not in a library override, which leaves ranges out."""
        return channel.id.override_library is None

    def ids_with_ranges(self) -> Iterable[bpy.types.ID]:
        """Give all objects."""
        return bpy.data.objects


def property_controls(obj: bpy.types.Object, paths: Iterable[str]) -> Found:
    """Return controls for custom properties of an object or of its bones, and why some can't be used, by name.

    `paths` are data paths as Blender copies them: `["smile"]` or `pose.bones["face"]["smile"]`.
    """
    found: list[RigControl] = []
    excluded: dict[str, str] = {}
    for path in paths:
        address = Address.of(path)
        if address is None or not address.custom:
            excluded[path] = "is no custom property"
            continue
        channel, name = LiveChannel(obj, path), address.name
        parent = obj.path_resolve(address.parent) if address.parent else obj
        if not isinstance(parent.get(name), float):
            excluded[name] = "is no decimal number"
            continue
        limits = channel.limits
        low, high = limits["soft_min"], limits["soft_max"]
        if channel.driven:
            excluded[name] = DRIVEN
        elif not low < high or high - low > WIDEST:
            excluded[name] = "has no soft limits; set them, so that it can be solved"
        else:
            control = Control(name, CustomProperties.name, obj.name, path, channel.read(), low, high, part=name)
            found.append(RigControl(control, (channel,), (high - low) / 4))
    return found, excluded


def _paths(obj: bpy.types.Object, bones: Iterable[str]) -> Iterator[str]:
    """Give the data paths of the decimal custom properties of an object and of its bones."""
    owners: list[tuple[bpy.types.bpy_struct, str]] = [(obj, "")]
    owners += [(bone, bone.path_from_id()) for bone in (pose_bones_of(obj)[name] for name in bones)]
    for owner, prefix in owners:
        for key, value in owner.items():
            if isinstance(value, float) and not key.startswith("_"):
                yield f'{prefix}["{bpy.utils.escape_identifier(key)}"]'
