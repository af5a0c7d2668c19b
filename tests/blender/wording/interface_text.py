# SPDX-License-Identifier: GPL-3.0-or-later
"""Every text that a person can see in Blender, gathered from the source and from what is registered."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
from bl_ext.user_default.magplus.backend_bridge.backends import BACKENDS
from bl_ext.user_default.magplus.backend_bridge.job.stages import Stage, in_words
from bl_ext.user_default.magplus.backend_bridge.rig.action_units import UNIT_NAMES
from bl_ext.user_default.magplus.backend_bridge.rig.anchors import FACE_ANCHORS
from bl_ext.user_default.magplus.backend_bridge.rig.regions import REGIONS

ROOT = Path(__file__).resolve().parents[3]
MODULE = "bl_ext.user_default.magplus"
# What Blender's side says, and how a run is judged. The command line and logs are English, for programs read them, and
# so are the worker's own sentences on files that it can't use.
SOURCES = (
    "operators", "magplus_addon", "backend_bridge/environment", "backend_bridge/worker_client",
    "backend_bridge/files/locks.py", "backend_bridge/job/judgement.py", "backend_bridge/job/stages.py",
    "backend_bridge/rig/anchors.py", "backend_bridge/rig/footage.py",
)  # fmt: skip
LEFT_OUT = (
    "magplus_addon/commands/", "magplus_addon/translations/", "backend_bridge/environment/__main__.py",
    "operators/sample/character.py", "operators/rig/features.py",
)  # fmt: skip
SHOWN_AS = {"text", "heading", "bl_label", "title", "label", "confirm_text"}
# Names of things, the same in every language.
NAMES = {
    "MagPlus", "FOMM", "FSRT", "MetaPortrait", "MetaPortrait SR", "EMOPortraits", "LivePortrait", "PyTorch", "Python",
    "LivePortrait (Animals)", "MIT", "CC BY-NC-SA 4.0",
}  # fmt: skip

# What is written like text and is none: names of data, settings of nodes, words of other programs, programming faults.
NO_TEXT = {
    "AgX Base sRGB", "Filmic sRGB", "MagPlus Anchors", "MagPlus Result", "MagPlus capture", "MagPlus rest",
    "MagPlus view", "MagPlus {0}", "MagPlus [{0}]", "MagPlus Sample", "MagPlus Sample {0}", "AU{0} {1}{2}",
    "MagPlus Identity", "MagPlus ST-Map", "MagPlus ST-map", "Extension X", "Extension Y", "{0} Strip",
    "Transmission Weight", "XYZ Euler", "{0} to {1}", "Python {0}", "{0} (MB)", "sudo apt install", "sudo dnf install",
    "sudo zypper install", "do not match the hashes", "Warning: {0}", "import sys; print(sys.executable)",
    "the worker already has a job", "keys need an action to be in", "a file of anchors", "an avatar has faces",
    "face landmark {0}", "MagPlus Comparison", "MagPlus Curves",
    "{0} x {1} px",
    "How much of the magnification reaches the {0}. 0 keeps them still, 1 is the full factor",
}  # fmt: skip

WORDS = ("good", "check", "failed", "left", "right", "automatic", "given")  # values in sentences

_LETTERS = re.compile(r"[^\W\d_]{2}")
_CODE = re.compile(r"[|\\]|\.\+|magplus-")
_PROSE = re.compile(r"(?:[A-Z{'\"][^\s]*) +\S.*|[a-z']+( [a-z'{]\S*)+", re.DOTALL)


def from_source() -> dict[str, str]:
    """Return each message that the source holds, with where it is; values in it are {0}, {1} ..."""
    places = [ROOT / name for name in SOURCES]
    files = [path for place in places for path in ([place] if place.is_file() else sorted(place.rglob("*.py")))]
    found: dict[str, str] = {}
    for path in files:
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(LEFT_OUT):
            for node, message in _messages(ast.parse(path.read_text("utf-8"))):
                found.setdefault(message, f"{name}:{node.lineno}")
    for name in (*FACE_ANCHORS, *UNIT_NAMES.values(), *REGIONS, *WORDS, *map(in_words, Stage)):
        found.setdefault(name, "backend_bridge/rig")
    for entry in BACKENDS:
        found.setdefault(entry.weights_licence, "backend_bridge/backends")
    return {message: place for message, place in found.items() if message not in NAMES}


def _messages(tree: ast.Module) -> Iterator[tuple[ast.expr, str]]:
    """Return what is prose in a module, or is given to something that shows it."""

    def look(node: ast.AST, shown: bool) -> Iterator[tuple[ast.expr, str]]:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return  # a docstring: those of operators come from what is registered
        if isinstance(node, (ast.Constant, ast.JoinedStr)):
            text = _template(node)
            if _is_text(text, shown):
                yield node, text
            for value in getattr(node, "values", ()):
                if isinstance(value, ast.FormattedValue):
                    yield from look(value.value, False)
            return
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Reason":
            yield from look(node.args[1], False)  # before it stands what programs know the reason by
            return
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.keyword):
                yield from look(child.value, child.arg in SHOWN_AS)
            elif isinstance(child, ast.Assign) and getattr(child.targets[0], "id", "") in SHOWN_AS:
                yield from look(child.value, True)
            else:
                chosen = isinstance(node, ast.IfExp) and child is not node.test
                told = isinstance(node, ast.Call) and getattr(node.func, "id", "") == "translated"
                yield from look(child, told or (shown and chosen))

    return look(tree, False)


def _is_text(text: str, shown: bool) -> bool:
    if text in NO_TEXT or not _LETTERS.search(re.sub(r"\{\d+\}", "", text)):
        return False
    return shown or (_PROSE.fullmatch(text) is not None and not _CODE.search(text))


def _template(node: ast.Constant | ast.JoinedStr) -> str:
    """Return a string with its values as numbered places."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    parts, count = [], 0
    for value in node.values:
        if isinstance(value, ast.Constant):
            parts.append(str(value.value))
        else:
            parts.append(f"{{{count}}}")
            count += 1
    return "".join(parts)


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
