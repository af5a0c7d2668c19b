# SPDX-License-Identifier: GPL-3.0-or-later
"""Every text that a person can see in Blender, gathered from the source of Blender's side and of the worker's.

What reads like text counts as shown, wherever it is written: a new sentence can't be forgotten. Left out is what is
seen to go elsewhere by the way it is used: help of the command line, programming faults, what is only compared.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
ROOMS = ("operators", "magplus_addon", "backend_bridge", "models")
# The command line is English, for programs read it; nothing that runs a job knows `training`,
# and what is written in `loops` is for a compiler.
ELSEWHERE = re.compile(r"/__main__\.py|/command_line\.py|/commands/|/translations/|^models/(training|loops)/")
HELP = {"ArgumentParser", "add_argument", "add_parser", "add_subparsers"}
SHOWN_AS = {"text", "heading", "bl_label", "title", "label", "confirm_text"}
# What is written like text and is none: names of data, settings of nodes, words of other programs, what is drawn into
# pictures, printed by the command line or kept in a log.
NO_TEXT = {
    # names of data, settings of nodes, words of other programs
    "AgX Base {display}", "Filmic {display}", "{0} / now",
    "MagPlus Anchors", "MagPlus Result", "MagPlus camera", "MagPlus capture",
    "MagPlus rest", "MagPlus view", "MagPlus {0}", "MagPlus [{0}]", "MagPlus Sample", "MagPlus Sample {0}",
    "MagPlus Comparison", "MagPlus Identity", "MagPlus ST-Map", "MagPlus ST-map", "MagPlus Curves",
    "Extension X", "Extension Y", "{0} Strip",
    "Transmission Weight", "Base Color", "Specular IOR Level", "Subsurface Weight", "Subsurface Radius",
    "Subsurface Scale", "Radial Roughness", "Random Roughness", "Sheen Weight", "Backdrop light",
    "{0} {1}, outer {2}", "{0} {1}, inner {2}", "XYZ Euler", "{0} to {1}", "Python {0}", "{0} (MB)",
    "face landmark {0}", "sudo apt install", "sudo dnf install", "sudo zypper install", "do not match the hashes",
    "import sys; print(sys.executable)", "{0} x {1} px", "perspective yaw", "perspective pitch",
    "nearer by depth", "yaw by depth", "pitch by depth",
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
    "the job folder or the file to save is in use by another run: try again later", "a kept clip", "a measured clip",
    "delete the folder of measurements",
    "checkpoint missing", "{0} code {1}, weights {2}{3}", ", NOT FOR COMMERCIAL USE",
    "GPL-3.0-or-later here; the authors' own code has no licence",
    "GPL-3.0-or-later here; the authors' own code is CC BY-NC-SA 4.0", "{0} is not NAME=VALUE.",
}  # fmt: skip

_LETTERS = re.compile(r"[^\W\d_]{2}")
_CODE = re.compile(r"[|\\]|\.\+|magplus-")
_PROSE = re.compile(r"[ ,;:(]*(?:(?:[A-Z{'\"][^\s]*) +\S.*|[a-z']+( (?:[a-zA-Z'{(]\S*|>))+) *", re.DOTALL)


@cache
def messages() -> dict[str, str]:
    """Return each message that the source holds, its values as {0}, {1} ..., with where it is."""
    found: dict[str, str] = {}
    for name, node in texts_in(modules()):
        found.setdefault(template(node)[0], f"{name}:{node.lineno}")
    return found


def texts_in(trees: Mapping[str, ast.Module]) -> Iterator[tuple[str, ast.Constant | ast.JoinedStr]]:
    """Yield the strings in modules that are shown, each with the module's name."""
    quoted = {module for name, tree in trees.items() for module in _faults_shown(name, tree)}
    for name, tree in trees.items():
        yield from ((name, node) for node in _Texts(name in quoted, _is_program(tree)).of(tree, False))


def words_in(trees: Mapping[str, ast.Module], known: Collection[str]) -> Iterator[tuple[str, int, str]]:
    """Yield the messages, of those that are known, that hold others at a place for a value; the place; and where.

    What a value is made of is followed as far as the function that it is in, and those that this calls.
    """
    functions = [
        (name, node) for name, tree in trees.items() for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
    ]
    saying = {
        function.name
        for _, function in functions
        for node in ast.walk(function)
        if isinstance(node, ast.Return | ast.Yield) and node.value is not None and _says(node.value, known)
    }
    for name, function in functions:
        made = [(node, template(node)) for node in ast.walk(function) if isinstance(node, ast.JoinedStr)]
        if not (made := [(node, found) for node, found in made if found[0] in known]):
            continue
        variables = {each.id for target, value in _assigned(function) if _says(value, known, saying) for each in target}
        for node, (message, values) in made:
            for place, value in enumerate(values):
                if _says(value, known, saying, variables):
                    yield message, place, f"{name}:{node.lineno}"


def _says(
    node: ast.expr, known: Collection[str], saying: Collection[str] = (), variables: Collection[str] = ()
) -> bool:
    """Whether an expression holds a message, a call of a function that returns one, or a name that stands for one."""
    for each in ast.walk(node):
        match each:
            case ast.Constant() | ast.JoinedStr() if template(each)[0] in known:
                return True
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in saying:
                return True
            case ast.Name(id=name) if name in variables:
                return True
    return False


def _assigned(function: ast.FunctionDef) -> Iterator[tuple[list[ast.Name], ast.expr]]:
    for node in ast.walk(function):
        targets = getattr(node, "targets", None) or [getattr(node, "target", None)]
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr) and node.value is not None:
            yield [name for name in targets if isinstance(name, ast.Name)], node.value


@cache
def modules() -> dict[str, ast.Module]:
    """Return the modules whose texts may be seen, by their paths."""
    return {
        name: ast.parse(path.read_text("utf-8"))
        for room in ROOMS
        for path in sorted((ROOT / room).rglob("*.py"))
        if not ELSEWHERE.search(name := path.relative_to(ROOT).as_posix())
    }


def _is_program(tree: ast.Module) -> bool:
    """Whether a module is run for what it prints, which Blender's side reads; what others print is for the log."""
    return any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body)


def _faults_shown(name: str, tree: ast.Module) -> Iterator[str]:
    """Yield the modules whose ValueErrors this one puts into sentences: itself, and those that it calls there."""
    quoting = [node for node in ast.walk(tree) if isinstance(node, ast.Try) and any(map(_quotes_faults, node.handlers))]
    if not quoting:
        return
    yield name
    imports = {
        alias.asname or alias.name: name.split("/")[: -node.level] + (node.module or "").split(".")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }
    for each in (each for node in quoting for statement in node.body for each in ast.walk(statement)):
        if isinstance(each, ast.Name) and each.id in imports:
            yield "/".join(imports[each.id]) + ".py"


def _quotes_faults(handler: ast.ExceptHandler) -> bool:
    """Whether it catches a ValueError and raises an error that says what that says."""
    if handler.type is None or "ValueError" not in ast.unparse(handler.type):
        return False
    raised = [node for statement in handler.body for node in ast.walk(statement) if isinstance(node, ast.Raise)]
    ours = [node for node in raised if node.exc is not None and not _is_builtin(node.exc)]
    quoted = [value for node in ours for value in ast.walk(node) if isinstance(value, ast.FormattedValue)]
    return any(isinstance(each, ast.Name) and each.id == handler.name for value in quoted for each in ast.walk(value))


def _is_builtin(error: ast.expr) -> bool:
    """Whether what is raised is one of Python's own exceptions, which say what is wrong with a program."""
    return isinstance(error, ast.Call) and hasattr(builtins, getattr(error.func, "id", ""))


class _Texts:
    """Finds what is text in a module. faults, prints: whether what a ValueError says and what is printed is shown."""

    def __init__(self, faults: bool, prints: bool) -> None:
        self._faults, self._prints = faults, prints

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
            case ast.Raise(exc=ast.Call(func=ast.Name(id=name)) as error) if _is_builtin(error):
                return name == "ValueError" and self._faults
            case ast.Call(func=ast.Name(id="Reason")):
                return child is not node.args[0]  # what programs know it by
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
                return name not in HELP and (name != "print" or self._prints)
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
