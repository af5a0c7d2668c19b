# SPDX-License-Identifier: GPL-3.0-or-later
"""Every text that a person can see in Blender, gathered from the source of Blender's side and of the worker's.

What reads like text counts as shown, wherever it is written: a new sentence can't be forgotten. Left out is what is
seen to go elsewhere by the way it is used: help of the command line, programming faults, what is only compared.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[3]
ROOMS = ("operators", "magplus_addon", "backend_bridge", "models")
# The command line is English, for programs read it; nothing that runs a job knows `training`.
ELSEWHERE = re.compile(r"/__main__\.py|/command_line\.py|/commands/|/translations/|^models/training/")
HELP = {"ArgumentParser", "add_argument", "add_parser", "add_subparsers"}
SHOWN_AS = {"text", "heading", "bl_label", "title", "label", "confirm_text"}
# What is written like text and is none: names of data, settings of nodes, words of other programs, what is drawn into
# pictures, printed by the command line or kept in a log.
NO_TEXT = {
    # names of data, settings of nodes, words of other programs
    "AgX Base sRGB", "Filmic sRGB", "MagPlus Anchors", "MagPlus Result", "MagPlus capture", "MagPlus rest",
    "MagPlus view", "MagPlus {0}", "MagPlus [{0}]", "MagPlus Sample", "MagPlus Sample {0}", "MagPlus Comparison",
    "MagPlus Identity", "MagPlus ST-Map", "MagPlus ST-map", "MagPlus Curves", "Extension X", "Extension Y", "{0} Strip",
    "Transmission Weight", "Base Color", "Specular IOR Level", "Subsurface Weight", "Subsurface Radius",
    "Subsurface Scale", "Radial Roughness", "Random Roughness", "Sheen Weight", "Backdrop light",
    "{0} {1}, outer {2}", "{0} {1}, inner {2}", "XYZ Euler", "{0} to {1}", "Python {0}", "{0} (MB)",
    "face landmark {0}", "sudo apt install", "sudo dnf install", "sudo zypper install", "do not match the hashes",
    "Warning: {0}",
    "import sys; print(sys.executable)", "{0} x {1} px", "AU{0}{1} {2}", "perspective yaw", "perspective pitch",
    "nearer by depth", "yaw by depth", "pitch by depth",
    "l left links linke linkes gauche izquierda izquierdo sinistra sinistro sx esquerda esquerdo",
    "r right rechts rechte rechtes droite droit derecha derecho destra destro dx direita direito",
    "How much of the magnification reaches the {0}. 0 keeps them still, 1 is the full factor",
    "NNN_model.pth (in logs.zip, the first stage's checkpoints; NNN is the epoch)",
    # what their whole texts are gathered of, from what is known of the backends
    "{0}, in liveportrait_animals", "{0}, and by its authors at github.com/zllrunning/face-parsing.PyTorch",
    # drawn into pictures, and columns and entries of files
    "magnified x{0}", "result x{0}", "axes fraction", "offset points", "upper left", "no control moved",
    "seconds of the clip", "MagPlus, sheet of a check", "avatar's crop", "driver's crop, at rest",
    "driver's apex, magnified", "generated at rest", "generated apex, as filmed (x1)", "generated apex, magnified",
    "motion shown, on the avatar", "motion generated", "{0} (up to {1} px)", "likeness {0}", "agreement {0}",
    "gain {0}",
    "shake {0} of the face's width", "flicker {0} of white", "own motion at rest {0} of the face's width",
    "change at rest {0} of white", "residual {0}", "best frame", "the driver's picture", "the generated frames",
    # of the command line, of the log
    "a fault of MagPlus", "the input can't be used: whoever asked has to mend it",
    "this machine can't do it (environment, memory, disk, driver): another may",
    "the job folder is in use by another run: try again later", "not a message ({0}): {1}",
    "The job did not stop by itself, so the worker ends with it.",
    "checkpoint missing", "{0} code {1}, weights {2}{3}", ", NOT FOR COMMERCIAL USE",
    "GPL-3.0-or-later here; the authors' own code has no licence",
    "GPL-3.0-or-later here; the authors' own code is CC BY-NC-SA 4.0", "{0} is not NAME=VALUE.",
}  # fmt: skip

_LETTERS = re.compile(r"[^\W\d_]{2}")
_CODE = re.compile(r"[|\\]|\.\+|magplus-")
_PROSE = re.compile(r"[ ,;:(]*(?:(?:[A-Z{'\"][^\s]*) +\S.*|[a-z']+( [a-zA-Z'{(]\S*)+) *", re.DOTALL)


class Message(NamedTuple):
    """A text with its values as {0}, {1} ...; the expressions that give them; and where it is."""

    text: str
    values: tuple[ast.expr, ...]
    place: str


def messages() -> Iterator[Message]:
    """Yield each message that the source holds."""
    trees = {
        name: ast.parse(path.read_text("utf-8"))
        for room in ROOMS
        for path in sorted((ROOT / room).rglob("*.py"))
        if not ELSEWHERE.search(name := path.relative_to(ROOT).as_posix())
    }
    quoted = {name.rpartition("/")[0] for name, tree in trees.items() if any(map(_quotes_faults, ast.walk(tree)))}
    for name, tree in trees.items():
        for node in _Texts(name.rpartition("/")[0] in quoted).of(tree, False):
            text, values = template(node)
            yield Message(text, values, f"{name}:{node.lineno}")


def _quotes_faults(node: ast.AST) -> bool:
    """Whether it catches a ValueError and puts what that says into a sentence of its own."""
    if not isinstance(node, ast.ExceptHandler) or node.type is None or "ValueError" not in ast.unparse(node.type):
        return False
    said = [each for each in ast.walk(node) if isinstance(each, ast.FormattedValue)]
    return any(isinstance(name, ast.Name) and name.id == node.name for each in said for name in ast.walk(each))


class _Texts:
    """Finds what is text in a module. faults: whether what a ValueError says is shown by its room."""

    def __init__(self, faults: bool) -> None:
        self._faults = faults

    def of(self, node: ast.AST, shown: bool) -> Iterator[ast.Constant | ast.JoinedStr]:
        """Yield the strings in a node that are shown; `shown`: given to something that shows it."""
        if isinstance(node, ast.Constant | ast.JoinedStr):
            if _is_text(template(node)[0], shown):
                yield node
            for value in getattr(node, "values", ()):
                if isinstance(value, ast.FormattedValue):
                    yield from self.of(value.value, False)
            return
        for child in ast.iter_child_nodes(node):
            if self._leads_on(node, child):
                yield from self.of(child, _shows(node, child, shown))

    def _leads_on(self, node: ast.AST, child: ast.AST) -> bool:
        match node:
            case ast.Expr(value=ast.Constant()) | ast.Compare() | ast.Assert():  # a docstring; those of operators
                return not isinstance(child, ast.Constant)  # come from what is registered
            case ast.Dict():
                return child not in node.keys
            case ast.Subscript(value=ast.Name(id="Literal")) | ast.AnnAssign(annotation=ast.Name(id="TypeAlias")):
                return False
            case ast.AnnAssign():
                return child is not node.annotation
            case ast.arg():
                return False
            case ast.FunctionDef():
                return child is not node.returns
            case ast.Raise(exc=ast.Call(func=ast.Name(id=name))) if hasattr(builtins, name):
                return name == "ValueError" and self._faults
            case ast.Call(func=ast.Name(id="Reason")):
                return child is not node.args[0]  # what programs know it by
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
                return name not in HELP
        return True


def _shows(node: ast.AST, child: ast.AST, shown: bool) -> bool:
    match node:
        case ast.keyword(arg=name):
            return name in SHOWN_AS
        case ast.Assign(targets=[ast.Name(id=name), *_]):
            return name in SHOWN_AS
        case ast.Call(func=ast.Name(id="translated")):
            return True
        case ast.IfExp():
            return shown and child is not node.test
    return False


def _is_text(text: str, shown: bool) -> bool:
    if not _LETTERS.search(re.sub(r"\{\d+\}", "", text)):
        return False
    return shown or (_PROSE.fullmatch(text) is not None and not _CODE.search(text))


def template(node: ast.Constant | ast.JoinedStr) -> tuple[str, tuple[ast.expr, ...]]:
    """Return a string with its values as numbered places, and what stands in them."""
    if isinstance(node, ast.Constant):
        return (node.value if isinstance(node.value, str) else ""), ()
    parts, values = [], []
    for value in node.values:
        if isinstance(value, ast.FormattedValue):
            parts.append(f"{{{len(values)}}}")
            values.append(value.value)
        else:
            parts.append(str(getattr(value, "value", "")))
    return "".join(parts), tuple(values)
