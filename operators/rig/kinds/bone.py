# SPDX-License-Identifier: GPL-3.0-or-later
"""Pose bones: each axis of their location and of their rotation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence, Set

import bpy
import numpy as np

from ....backend_bridge.rig.basis import Control
from ...blender.data import pose_bones_of
from ..controls import LiveChannel, RigControl
from ..face_rig import FaceRig
from ..projection import Projection
from .control_kind import DRIVEN, ControlKind, Found

SIDEWAYS = 0.4  # of a bone's furthest motion in the picture; its axes with less point towards the camera
_PREFERRED = {False: ("location", "rotation"), True: ("rotation", "location")}
_INDICES = {"location": (0, 1, 2), "rotation_euler": (0, 1, 2), "rotation_quaternion": (1, 2, 3)}
# Of two mirrored bones these move opposite ways, as their axes are mirror images.
_OPPOSED = {("location", "X"), ("rotation", "Y"), ("rotation", "Z")}


class Bones(ControlKind):
    """Location and rotation of pose bones. `part` is the bone, `motion` "location" or "rotation", `axis` X, Y or Z."""

    name = "bone"
    label = "Bone"
    icon = "BONE_DATA"
    last_resort = True
    guesses_range = True

    def find(self, rig: FaceRig) -> Found:
        """Return the bones that an animator sees on the armatures, as far as they lie in the picture or move others."""
        found: list[RigControl] = []
        excluded: dict[str, str] = {}
        for armature in (obj for obj in rig.acting if obj.type == "ARMATURE"):
            controls, reasons = bone_controls(armature, shown_bones(armature, rig))
            found += controls
            excluded |= reasons
        return found, excluded

    def chosen(self, seen: Sequence[tuple[Control, float]], turning: Set[tuple[str, str]] = frozenset()) -> set[str]:
        """Choose, of a bone that can be moved, not its rotation, which would do much the same, but for one that turns.

        A jaw or a lid is made to turn about its joint, an eye about its middle: moved along, it would come off. Of
        either motion not what points towards the camera, and is hardly seen: solved from so little it would go
        anywhere.
        """
        bones: dict[tuple[str, str], dict[str, list[tuple[Control, float]]]] = {}
        for control, pixels in seen:
            motions = bones.setdefault((control.owner, control.part), {})
            motions.setdefault(control.motion, []).append((control, pixels))
        names = set()
        for bone, motions in bones.items():
            motion = next(each for each in _PREFERRED[bone in turning] if each in motions)
            furthest = max(pixels for _, pixels in motions[motion])
            names |= {control.name for control, pixels in motions[motion] if pixels >= SIDEWAYS * furthest}
        return names

    def key_problem(self, channel: LiveChannel) -> str:
        """Beside what holds for all: only the rotation of the bone's own mode turns it."""
        attribute = channel.path.rpartition(".")[2]
        if attribute.startswith("rotation") and channel.exists:
            bone = channel.id.path_resolve(channel.path.rpartition(".")[0])
            if attribute != _rotation_of(bone):
                mode = "Quaternion" if attribute == "rotation_quaternion" else "XYZ Euler"
                return f"does nothing in the bone's rotation mode; set it back to {mode}"
        return super().key_problem(channel)

    def counterpart(self, control: Control) -> tuple[str, str, str] | None:
        """Return what moves alike on the bone of the other side."""
        return None if (control.motion, control.axis) in _OPPOSED else super().counterpart(control)


def shown_bones(armature: bpy.types.Object, rig: FaceRig) -> list[str]:
    """Return the names of the bones that an animator sees, with a projection those in its picture, and its handles."""
    bones = [bone for bone in pose_bones_of(armature) if _is_shown(bone)]
    if (projection := rig.projection) is not None:
        handles = rig.handles(armature)
        bones = [bone for bone in bones if bone.name in handles or _in_picture(armature, bone, projection)]
    return [bone.name for bone in bones]


def bone_controls(
    armature: bpy.types.Object, bones: Iterable[str], motions: Sequence[str] = ("location", "rotation")
) -> Found:
    """Return controls for the location and rotation of pose bones, and why some can't be used, by name.

    Locations may go as far as the bone is long, rotations 45 degrees to each side. A quaternion is turned by its three
    imaginary parts; Blender normalises it.
    """
    found: list[RigControl] = []
    excluded: dict[str, str] = {}
    for bone_name in bones:
        bone = pose_bones_of(armature)[bone_name]
        quaternion = _rotation_of(bone) == "rotation_quaternion"
        if bone.rotation_mode == "AXIS_ANGLE" and "rotation" in motions:
            excluded[f"{bone_name} rotation"] = "turns by axis and angle; change its rotation mode"
        for motion in motions:
            if motion == "rotation" and bone.rotation_mode == "AXIS_ANGLE":
                continue
            attribute = motion if motion == "location" else _rotation_of(bone)
            reach = bone.length if motion == "location" else math.pi / 4 * (0.5 if quaternion else 1.0)
            for number, index in enumerate(_INDICES[attribute]):
                axis = "XYZ"[number]
                name = f"{bone_name} {motion} {axis}"
                channel = LiveChannel(armature, bone.path_from_id(attribute), index)
                if getattr(bone, f"lock_{motion}")[number]:
                    excluded[name] = "is locked"
                elif channel.driven:
                    excluded[name] = DRIVEN
                else:
                    rest = channel.read()
                    control = Control(
                        name=name,
                        kind=Bones.name,
                        owner=armature.name,
                        data_path=f"{channel.path}[{index}]",
                        rest=rest,
                        low=rest - reach,
                        high=rest + reach,
                        part=bone_name,
                        motion=motion,
                        axis=axis,
                    )
                    found.append(RigControl(control, (channel,), reach / 10))
    return found, excluded


def _rotation_of(bone: bpy.types.PoseBone) -> str:
    """Return the property that turns a bone."""
    others = {"QUATERNION": "rotation_quaternion", "AXIS_ANGLE": "rotation_axis_angle"}
    return others.get(bone.rotation_mode, "rotation_euler")


def _is_shown(bone: bpy.types.PoseBone) -> bool:
    collections = bone.bone.collections
    hidden = bone.bone.hide or getattr(bone, "hide", False)
    return not hidden and (not collections or any(c.is_visible_effectively for c in collections))


def _in_picture(armature: bpy.types.Object, bone: bpy.types.PoseBone, projection: Projection) -> bool:
    ends = np.array([armature.matrix_world @ bone.head, armature.matrix_world @ bone.tail], np.float64)
    return bool(projection.sees(*projection.project(ends)).any())
