# SPDX-License-Identifier: GPL-3.0-or-later
"""Every control that may move a face: found on the rig, judged by what it does to the picture, chosen by a person."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import bpy
import numpy as np
from numpy.typing import NDArray

from ...backend_bridge.files.errors import InputError
from ...backend_bridge.rig.action_units import Side, recognise
from ...backend_bridge.rig.basis import RigBasis
from .controls import BONE, PROPERTY, SHAPE_KEY, RigControl, bone_controls, property_controls, shape_key_controls
from .projection import Projection

UNSEEN = 0.05  # px over its whole range; a control that moves nothing further can't be told from noise
WHOLE, STILL = 0.75, 0.15  # what moves that share of the face by this share of its largest motion poses the head
SIDEWAYS = 0.4  # of a bone's furthest motion in the picture; its axes with less point towards the camera
# Of two mirrored bones these channels move opposite ways, as their axes are mirror images.
_OPPOSED = {"location X", "rotation Y", "rotation Z"}


@dataclass(frozen=True)
class ControlChoice:
    """Which controls are used, by name.

    used: those that are measured and handed to the solver, None for every shape key. locked: those of them that keep
    their present value. mirrored: pairs (left, right) that move alike.
    """

    used: tuple[str, ...] | None = None
    locked: tuple[str, ...] = ()
    mirrored: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Appraisal:
    """What a control does to the picture.

    pixels: how far it moves the visible part of the face at most, over its range. visibility: the same as a share of
    the most visible control's. note: why it is better not solved, or an empty string.
    """

    pixels: float
    visibility: float
    note: str = ""


def search_controls(
    objects: Sequence[bpy.types.Object], projection: Projection | None = None
) -> tuple[list[RigControl], dict[str, str]]:
    """Return every control that may move a face, with unique names, and why others can't be used.

    Shape keys of the meshes and of those that drive them; location and rotation of the bones that an animator sees on
    their armatures; custom properties of the armatures, of those bones, of the meshes and of whatever else acts on
    them. With a `projection`, of the bones only those in the picture: the others move something else.
    """
    rig = _rig(objects)
    found, excluded = shape_key_controls([*objects, *(obj for obj in rig if obj.type == "MESH")])
    for armature in (obj for obj in rig if obj.type == "ARMATURE"):
        names = [bone.name for bone in armature.pose.bones if _is_shown(armature, bone)]
        if projection is not None:
            names = [name for name in names if _in_picture(armature, armature.pose.bones[name], projection)]
        bones, no_bones = bone_controls(armature, names)
        properties, no_properties = property_controls(armature, _property_paths(armature, names))
        _add(found, [*bones, *properties], armature.name)
        excluded |= no_bones | no_properties
    for obj in (*objects, *(obj for obj in rig if obj.type != "ARMATURE")):
        properties, no_properties = property_controls(obj, _property_paths(obj))
        _add(found, properties, obj.name)
        excluded |= no_properties
    return found, excluded


def appraise(basis: RigBasis) -> dict[str, Appraisal]:
    """Return what each control of a basis does to the picture, by name.

    Bones and properties that move nothing visible are left out: a body has hundreds that are not about the face.
    """
    moved = np.where(basis.visible, np.linalg.norm(basis.displacement, axis=2), 0.0)  # [K, V]
    shown = basis.triangles[basis.visible[basis.triangles].all(axis=1)]
    first, second = (basis.positions[shown[:, corner]] - basis.positions[shown[:, 0]] for corner in (1, 2))
    area = np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])  # a mesh may be dense in places
    ranges = np.array([control.high - control.low for control in basis.controls])
    pixels: NDArray[np.floating] = moved.max(axis=1, initial=0.0) * ranges
    most = float(pixels.max(initial=0.0)) or 1.0
    found = {}
    for control, reach, column in zip(basis.controls, pixels, moved, strict=True):
        if reach < UNSEEN and control.kind != SHAPE_KEY:
            continue
        note = "can't be seen from here" if reach < UNSEEN else ""
        along = (column > STILL * column.max())[shown].all(axis=1)
        if control.kind != SHAPE_KEY and not note and area[along].sum() > WHOLE * area.sum():
            note = "moves the whole head"
        found[control.name] = Appraisal(float(reach), float(reach) / most, note)
    return found


def solved_by_default(controls: Sequence[RigControl], appraisals: dict[str, Appraisal]) -> set[str]:
    """Return the names of the controls to solve as long as nobody chooses.

    Shape keys and properties, whatever is visible of them; bones where there is neither. Of a bone that can be moved
    not its rotation, which would do much the same, nor its way towards the camera, which the picture hardly shows:
    solved from so little it would go anywhere.
    """
    seen = {c.control.name: c.control for c in controls if c.control.name in appraisals}
    seen = {name: control for name, control in seen.items() if not appraisals[name].note}
    plain = {name for name, control in seen.items() if control.kind in {SHAPE_KEY, PROPERTY}}
    if plain:
        return plain
    furthest: dict[str, float] = {}
    for name in seen:
        bone, motion = _bone_and_motion(name)
        if motion == "location":
            furthest[bone] = max(furthest.get(bone, 0.0), appraisals[name].pixels)
    chosen = set()
    for name in seen:
        bone, motion = _bone_and_motion(name)
        if bone not in furthest or (motion == "location" and appraisals[name].pixels >= SIDEWAYS * furthest[bone]):
            chosen.add(name)
    return chosen


def _bone_and_motion(name: str) -> tuple[str, str]:
    """Take the name of a bone's control apart: "lip.L location X" is ("lip.L", "location")."""
    words = name.rsplit(" ", 2)
    return words[0], words[1]


def partner(name: str, kind: str, names: Iterable[str]) -> str:
    """Return the control of the other side that moves alike, or an empty string."""
    if kind == BONE:
        bone, _ = _bone_and_motion(name)
        motion = name[len(bone) + 1 :]
        other = f"{bpy.utils.flip_name(bone)} {motion}"
        return other if motion not in _OPPOSED and other != name and other in set(names) else ""
    other = bpy.utils.flip_name(name)
    return other if other != name and other in set(names) else ""


def is_left(name: str) -> bool:
    """Whether a control's name is that of the character's left side."""
    if (meaning := recognise(name)) is not None and meaning.side is not Side.BOTH:
        return meaning.side is Side.LEFT
    other = bpy.utils.flip_name(name.split(" location ")[0].split(" rotation ")[0])
    mine = next((a for a, b in zip(name, other, strict=False) if a != b), "")
    return mine in {"L", "l"}


def describe(name: str) -> str:
    """Return what a control's name says about action units, for people: "AU12 lip corner puller, left"."""
    meaning = recognise(name)
    if meaning is None or not meaning.units:
        return ""
    units = " + ".join(f"AU{unit.number}{' (about)' if unit.approximate else ''} {unit.name}" for unit in meaning.units)
    return units if meaning.side is Side.BOTH else f"{units}, {meaning.side.value}"


def chosen_controls(
    objects: Sequence[bpy.types.Object], choice: ControlChoice
) -> tuple[list[RigControl], dict[str, str]]:
    """Return the controls of a choice, and why others can't be used.

    Raises `InputError` when a chosen one is no longer there.
    """
    if choice.used is None:
        return shape_key_controls(objects)
    found, excluded = search_controls(objects)
    there = {control.control.name: control for control in found}
    for name in choice.used:
        if name not in there:
            reason = excluded.get(name, "is no longer on the rig")
            raise InputError(f"The control {name!r} {reason}; measure the controls again, or leave it out.")
    return [there[name] for name in choice.used], {}


def _add(found: list[RigControl], more: Iterable[RigControl], owner: str) -> None:
    """Add controls, those whose name is taken with their owner's."""
    taken = {control.control.name for control in found}
    for control in more:
        name = control.control.name
        found.append(control.renamed(f"{owner}: {name}") if name in taken else control)
        taken.add(found[-1].control.name)


def _rig(objects: Sequence[bpy.types.Object]) -> list[bpy.types.Object]:
    """Return what acts on the meshes at any remove: through modifiers, parents, constraints and drivers."""
    found = list(objects)
    for obj in found:  # grows
        found += [other for other in dict.fromkeys(_acting_on(obj)) if other not in found]
    return found[len(objects) :]


def _acting_on(obj: bpy.types.Object) -> Iterator[bpy.types.Object]:
    """Give the objects that an object depends on directly."""
    bones = obj.pose.bones if obj.pose is not None else ()
    users = [*obj.modifiers, *obj.constraints, *(c for bone in bones for c in bone.constraints)]
    users += [target for user in users for target in getattr(user, "targets", ())]  # of armature constraints
    pointers = [obj.parent, *(getattr(user, name, None) for user in users for name in ("object", "target"))]
    for block in (obj, obj.data, getattr(obj.data, "shape_keys", None)):
        animation = block.animation_data if block is not None else None
        drivers = animation.drivers if animation is not None else ()
        pointers += [target.id for curve in drivers for v in curve.driver.variables for target in v.targets]
    for pointer in pointers:
        if isinstance(pointer, bpy.types.Object):
            yield pointer
        elif isinstance(pointer, bpy.types.Key):
            yield from (other for other in bpy.data.objects if getattr(other.data, "shape_keys", None) == pointer)


def _is_shown(armature: bpy.types.Object, bone: bpy.types.PoseBone) -> bool:
    collections = bone.bone.collections
    hidden = bone.bone.hide or getattr(bone, "hide", False)
    return not hidden and (not collections or any(c.is_visible_effectively for c in collections))


def _in_picture(armature: bpy.types.Object, bone: bpy.types.PoseBone, projection: Projection) -> bool:
    ends = np.array([armature.matrix_world @ bone.head, armature.matrix_world @ bone.tail], np.float64)
    return bool(projection.sees(*projection.project(ends)).any())


def _property_paths(obj: bpy.types.Object, bones: Iterable[str] = ()) -> Iterator[str]:
    """Give the data paths of the decimal custom properties of an object and of its bones."""
    for owner, prefix in [(obj, ""), *((obj.pose.bones[name], obj.pose.bones[name].path_from_id()) for name in bones)]:
        for key, value in owner.items():
            if isinstance(value, float) and not key.startswith("_"):
                yield f'{prefix}["{bpy.utils.escape_identifier(key)}"]'
