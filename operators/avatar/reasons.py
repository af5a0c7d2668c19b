# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a character can't be keyed as it is in the file, each with the one step that comes next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import bpy

from ..blender.data import shape_keys_of
from ..rig.controls import RigControl
from ..rig.kinds import KINDS
from ..rig.kinds.control_kind import DRIVEN, LINKED
from ..rig.kinds.shape_key import ABSOLUTE
from .broken_drivers import broken_drivers


def linked_problem(avatar: bpy.types.Object) -> str:
    """Return the next step for an avatar that is linked from another file, or whose mesh is; else an empty string."""
    keys = shape_keys_of(avatar)
    if avatar.library is not None:
        return (
            f"{avatar.name!r} is linked from {_file(avatar.library)}, so it can't be keyed; select it and choose "
            "Object > Library Override > Make."
        )
    if keys is None or keys.is_editable:
        return ""
    of = f" from {_file(avatar.data.library)}" if avatar.data is not None and avatar.data.library is not None else ""
    return (
        f"The mesh of {avatar.name!r} is still linked{of}, so its shape keys can't be keyed; open Properties > Data "
        "and click the link icon beside the mesh's name with Shift held, which makes a library override of it."
    )


def override_apart(avatar: bpy.types.Object) -> str:
    """Return what is to be feared for keys on a mesh whose override is not among those of its object; else nothing.

    When something new belongs to the linked character, Blender makes its overrides anew from the root of their
    hierarchy, and gives the object the linked mesh again.
    """
    own, data = avatar.override_library, avatar.data.override_library if avatar.data is not None else None
    if own is None or data is None or own.hierarchy_root == data.hierarchy_root:
        return ""
    return (
        f"The override of the mesh of {avatar.name!r} stands apart from the character's, so its keys are lost when the "
        "linked file gets further objects; make it in Properties > Data with the link icon and Shift held, not by a "
        "script."
    )


def no_controls(avatar: bpy.types.Object, excluded: Mapping[str, str]) -> str:
    """Return why nothing of an avatar can be keyed; `excluded` says it of each shape key."""
    if not excluded:
        return f"{avatar.name!r} has no shape keys; choose the mesh that has them, or ask for the image sequence only."
    name, reason = next(iter(excluded.items()))
    if reason == LINKED and (problem := linked_problem(avatar)):
        return problem
    if reason == DRIVEN and (problem := broken_drivers(avatar, (avatar,))):
        return problem
    return (
        f"None of the shape keys of {avatar.name!r} can be keyed: {name!r} {reason}; {_step(reason)} or measure the "
        "controls of its rig and choose among them."
    )


def unkeyable(controls: Sequence[RigControl]) -> str:
    """Return why none of the controls can be keyed, or an empty string where some can."""
    first = ""
    for each in controls:
        for channel in each.channels:
            reason = KINDS[each.control.kind].key_problem(channel)
            if not reason:
                return ""
            owner = bpy.data.objects.get(each.control.owner)
            linked = linked_problem(owner) if reason == LINKED and owner is not None else ""
            first = first or linked or f"None of the controls can be keyed: {each.control.name!r} {reason}."
    return first


def _step(reason: str) -> str:
    """Return what to do about a shape key that is left out."""
    if reason.startswith("has no effect while"):
        return "switch the pin off in Properties > Data > Shape Keys,"
    if reason == "is muted":
        return "tick it in Properties > Data > Shape Keys,"
    if reason == "is muted by a driver":
        return "remove the driver from its tick in Properties > Data > Shape Keys,"
    if reason == ABSOLUTE:
        return "switch Relative on in Properties > Data > Shape Keys,"
    return "choose what drives it," if reason == DRIVEN else "change that,"


def _file(library: bpy.types.Library) -> str:
    return bpy.path.basename(library.filepath) or library.name
