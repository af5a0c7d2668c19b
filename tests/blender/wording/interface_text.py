# SPDX-License-Identifier: GPL-3.0-or-later
"""Every text that a person can see in Blender, gathered from the source and from what is registered."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import bpy
from bl_ext.user_default.magplus.backend_bridge.backends import BACKENDS
from bl_ext.user_default.magplus.backend_bridge.job.stages import Stage, in_words
from bl_ext.user_default.magplus.backend_bridge.rig.action_units import UNIT_NAMES
from bl_ext.user_default.magplus.backend_bridge.rig.anchors import FACE_ANCHORS
from bl_ext.user_default.magplus.backend_bridge.rig.footage import Fault
from bl_ext.user_default.magplus.backend_bridge.rig.regions import REGIONS

from tests.blender.wording.source_text import NO_TEXT, messages

MODULE = "bl_ext.user_default.magplus"
# Names of things, the same in every language.
NAMES = {
    "MagPlus", "FOMM", "FSRT", "MetaPortrait", "MetaPortrait SR", "EMOPortraits", "LivePortrait", "PyTorch", "Python",
    "LivePortrait (Animals)", "MIT", "CC BY-NC-SA 4.0",
}  # fmt: skip
WORDS = ("good", "check", "failed", "left", "right", "automatic", "given")  # values in sentences

_LETTERS = re.compile(r"[^\W\d_]{2}")


def from_source() -> dict[str, str]:
    """Return each message that the source holds, with where it is; values in it are {0}, {1} ..."""
    found = {text: place for text, place in messages().items() if text not in NO_TEXT}
    for name in (*FACE_ANCHORS, *UNIT_NAMES.values(), *REGIONS, *WORDS, *Fault, *map(in_words, Stage)):
        found.setdefault(str(name), "backend_bridge/rig")
    for entry in BACKENDS:
        places = (file.published_at for file in entry.checkpoints if " " in file.published_at)
        for text in (entry.weights_licence, *places):
            found.setdefault(text, "backend_bridge/backends")
    return {message: place for message, place in found.items() if message not in NAMES}


def from_blender() -> dict[str, str]:
    """Return each name, tooltip and choice of what is registered, with the class that has it."""
    found: dict[str, str] = {}
    for cls in _classes():
        rna = _registered_as(cls)
        if issubclass(cls, (bpy.types.Operator, bpy.types.Panel, bpy.types.FileHandler, bpy.types.Menu)):
            found.setdefault(cls.bl_label, cls.__name__)
        if issubclass(cls, bpy.types.Operator):
            found.setdefault(getattr(cls, "bl_description", "") or rna.description, cls.__name__)
        own = {
            name
            for each in cls.__mro__
            if each.__module__.startswith(MODULE)
            for name in vars(each).get("__annotations__", ())
        }
        for prop in rna.properties:
            if prop.identifier in own:
                for text in _of_property(prop):
                    found.setdefault(text, f"{cls.__name__}.{prop.identifier}")
    return {text: place for text, place in found.items() if _LETTERS.search(text) and text not in NAMES}


def _registered_as(cls: Any) -> Any:
    """Return what Blender knows of a class; of an operator that is apart from the class."""
    if not issubclass(cls, bpy.types.Operator):
        return cls.bl_rna
    room, verb = cls.bl_idname.split(".")
    return getattr(getattr(bpy.ops, room), verb).get_rna_type()


def _of_property(prop: Any) -> Iterator[str]:
    if prop.is_hidden:
        return
    if prop.name != prop.identifier:  # one that got no name is never shown
        yield prop.name
    yield prop.description
    if prop.type == "ENUM":
        for item in prop.enum_items:
            yield from (item.name, item.description)


def _classes() -> Iterator[Any]:
    """Return our registered classes."""
    import sys

    seen = set()
    for name, module in sorted(sys.modules.items()):
        if name.startswith(MODULE):
            for cls in vars(module).values():
                ours = inspect.isclass(cls) and cls.__module__.startswith(MODULE)
                if ours and getattr(cls, "is_registered", False) and cls not in seen:
                    seen.add(cls)
                    yield cls
