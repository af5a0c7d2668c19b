# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers that a page quotes from the code: `eight<!-- models.face.crop._ROBUST_ROUNDS -->`.

Nobody who reads the page sees the comment. Before it stands a number, a percentage or a number word; in it the
constant, an entry of a dictionary or of a sequence, or a dataclass's default: `PASSES[demagplus]`, `INTENSITY[0]`,
`len(HEAD_MOTIONS)`, `SolverSettings.rounds`. Constants are read from the source, so that neither torch nor Blender is
needed.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_COUNTS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_WORDS: dict[str, float] = {
    **{word: number for number, word in enumerate(_COUNTS)},
    **{"half": 0.5, "third": 1 / 3, "quarter": 0.25, "fifth": 0.2, "tenth": 0.1},
    **{"two thirds": 2 / 3, "three quarters": 0.75, "four fifths": 0.8, "nine tenths": 0.9},
}
_NUMBER = r"-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?(?: ?%|/\d+)?"
_QUOTE = re.compile(
    rf"(?P<quoted>{_NUMBER}|{'|'.join(sorted(_WORDS, key=len, reverse=True))})(?P<unit>[^\s<]*)"
    r"<!-- (?:(?P<of>len)\()?(?P<module>[a-z_.]+)\.(?P<name>[A-Z_]\w*(?:\.\w+)?)(?:\[(?P<key>\w+)\])?\)? -->"
)
_MARK = re.compile(r"<!-- (?:len\()?[a-z_]+\.[a-z_.]+\.")


@dataclass(frozen=True)
class Quote:
    """A number that a page quotes, where, and what the code has."""

    where: str
    quoted: float
    meant: float

    @property
    def right(self) -> bool:
        """Whether both are the same."""
        return math.isclose(self.quoted, self.meant, rel_tol=1e-6)


def quotes(page: Path) -> Iterator[Quote]:
    """Give what a page quotes. Raises `ValueError` for a comment that looks like a quotation and is none."""
    text = page.read_text("utf-8")
    found = list(_QUOTE.finditer(text))
    if len(found) != len(_MARK.findall(text)):
        raise ValueError(f"{page.name} has a quotation that can't be read; see {Path(__file__).name}")
    for match in found:
        value = _value(match["module"], match["name"], match["key"])
        meant = len(value) if match["of"] else value
        yield Quote(f"{page.name}: {match[0]}", _number(match["quoted"]), float(meant))


def _number(quoted: str) -> float:
    if quoted in _WORDS:
        return _WORDS[quoted]
    plain = quoted.replace(",", "").rstrip("% ")
    return float(Fraction(plain) if "/" in plain else plain) / (100 if quoted.endswith("%") else 1)


def _value(module: str, name: str, key: str | None) -> object:
    tree = ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text("utf-8"))
    body: list[ast.stmt] = tree.body
    *owner, last = name.split(".")
    for each in owner:
        [body] = [node.body for node in body if isinstance(node, ast.ClassDef) and node.name == each]
    known: dict[str, ast.expr] = {}
    for node in body:
        match node:
            case ast.Assign(targets=[ast.Name(id=target)], value=value):
                known[target] = value
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
                known |= {ast.unparse(each): value for each, value in zip(targets, values, strict=True)}
            case ast.AnnAssign(target=ast.Name(id=target), value=ast.expr() as value):
                known[target] = value
    if last not in known:
        raise ValueError(f"{module} has no {name}")
    value = _evaluated(known[last], known)
    if key is None:
        return value
    return value[key if isinstance(value, dict) else int(key)]


def _evaluated(node: ast.expr, known: dict[str, ast.expr]) -> object:
    """Evaluate what constants are made of."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name) if name in known:
            return _evaluated(known[name], known)
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            return [each for part in parts for each in _spread(part, known)]
        case ast.Dict(keys=keys, values=values):
            return {
                _evaluated(key, known): _evaluated(value, known)
                for key, value in zip(keys, values, strict=True)
                if key is not None
            }
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_evaluated(operand, known)
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _OPERATORS:
            return _OPERATORS[type(operator)](_evaluated(left, known), _evaluated(right, known))
        case ast.Call(func=ast.Name(id="Fraction"), args=arguments):
            return Fraction(*[_evaluated(each, known) for each in arguments])
        case ast.Call(func=ast.Attribute(attr="radians"), args=[angle]):  # quoted in degrees
            return _evaluated(angle, known)
        case ast.Call(func=ast.Attribute(attr="log"), args=[number]):
            return math.log(_evaluated(number, known))
        case ast.Call(func=ast.Name(id="MappingProxyType"), args=[mapping]):
            return _evaluated(mapping, known)
    raise ValueError(f"{ast.unparse(node)} is no constant that can be read")


def _spread(node: ast.expr, known: dict[str, ast.expr]) -> list[object]:
    if isinstance(node, ast.Starred):
        return list(_evaluated(node.value, known))
    return [_evaluated(node, known)]


_OPERATORS: dict[type[ast.operator], Callable[[object, object], object]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Pow: lambda a, b: a**b,
    ast.LShift: lambda a, b: a << b,
}
