# SPDX-License-Identifier: GPL-3.0-or-later
"""Drivers of a character that don't work: what they move keeps still, and Blender says so in its console alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import bpy

from ..blender.data import drivers_of
from ..rig.face_rig import FaceRig

MOST_NAMES = 3  # that are said


def broken_drivers(avatar: bpy.types.Object, objects: Sequence[bpy.types.Object]) -> str:
    """Return what to say of drivers of an avatar's meshes and rig that don't work, or an empty string.

    Most often Blender keeps scripts of the file from running, as it does with files that nobody has called trusted.
    """
    bpy.context.view_layer.update()  # Blender finds out when it evaluates them
    rig = FaceRig.around(objects)
    broken = list(dict.fromkeys(_broken_in((*rig.meshes, *rig.acting))))
    if not broken:
        return ""
    names = ", ".join(broken[:MOST_NAMES]) + (" …" if len(broken) > MOST_NAMES else "")
    if bpy.app.autoexec_fail:
        return (
            f"Blender keeps the scripts of this file from running, so drivers of {avatar.name!r} don't work ({names}); "
            "if you trust the file, open it again with Trusted Source ticked or, on the command line, after "
            "--enable-autoexec."
        )
    return (
        f"Drivers of {avatar.name!r} don't work ({names}), so what they move keeps still; mend or remove them in the "
        "Drivers Editor."
    )


def _broken_in(objects: Iterable[bpy.types.Object]) -> Iterator[str]:
    for obj in objects:
        for curve in drivers_of(obj):
            if not (curve.driver.is_valid or curve.mute):
                yield f"{obj.name}: {curve.data_path}"
