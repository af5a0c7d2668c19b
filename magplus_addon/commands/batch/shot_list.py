# SPDX-License-Identifier: GPL-3.0-or-later
"""A list of shots as text: TOML or CSV, into rows that know their lines. What a row means is `shots`' matter."""

from __future__ import annotations

import csv
import io
import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ....backend_bridge.files.disk import explained
from ....backend_bridge.files.errors import InputError

LARGEST = 16 << 20  # bytes; a list of ten thousand shots has about four million
DEFAULTS = "*"  # the name of the CSV row that holds for all the others
_HEADER = re.compile(r"\s*\[\[?\s*(?P<name>[^\]]+?)\s*\]\]?\s*(#.*)?")
_NUMBER = re.compile(r"[-+]?\d+(,\d+)?")
_SEPARATOR = re.compile(r'"?sep=(?P<delimiter>[,;\t])"?[,;\t]*', re.IGNORECASE)  # a line for spreadsheets
_TELLS = re.compile(r'"?sep=', re.IGNORECASE)
_KEY = re.compile(r"\s*(?P<key>[A-Za-z0-9_-]+)\s*(\.[^=]*)?=")


@dataclass(frozen=True)
class Row:
    """One shot as it is written: its values by key, with what the list's defaults add.

    file: the list. lines: the line of each key that is written for this shot or in the defaults, from 1. line: where
    the shot begins.
    """

    file: Path
    line: int
    values: Mapping[str, Any]
    lines: Mapping[str, int]

    def refuse(self, problem: str, key: str | None = None) -> NoReturn:
        """Raise `InputError` that says where in the list something is wrong."""
        line = self.line if key is None else self.lines.get(key, self.line)
        raise InputError(f"{self.file.name}, line {line}: {problem}")


def read_rows(path: Path) -> list[Row]:
    """Return the shots of a list, in its order.

    Raises `InputError` for a file that can't be read, that is neither TOML nor CSV, or that holds no shot.
    """
    readers = {".toml": _toml_rows, ".csv": _csv_rows}
    reader = readers.get(path.suffix.lower())
    with explained(path):
        if not path.is_file():
            raise InputError(f"There is no list of shots at {path}; `magplus batch --template` prints one.")
        if reader is None:
            raise InputError(f"{path.name} is no list of shots: its name must end in .toml or .csv.")
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path.name} is too large for a list of shots; is it the right file?")
        encoded = path.read_bytes()
    try:
        text = encoded.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name} is not UTF-8 text (byte {error.start}); save it as UTF-8.") from error
    rows = reader(path, text)
    if not rows:
        raise InputError(f"{path.name} holds no shot; `magplus batch --template` shows how one is written.")
    return rows


def has_decimal_commas(path: Path) -> bool:
    """Whether a list is a table of a program that writes decimal commas, so that its results are read there, too."""
    with suppress(OSError, UnicodeDecodeError):
        return path.suffix.lower() == ".csv" and _delimiter(path.read_text("utf-8-sig")) == ";"
    return False


def _toml_rows(path: Path, text: str) -> list[Row]:
    """Read `[defaults]` and the `[[shot]]` tables."""
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        windows = " Write folders with / or put the path in single quotes." if "'\\'" in str(error) else ""
        raise InputError(f"{path.name} is no valid TOML: {error}.{windows}") from error
    for name in data.keys() - {"defaults", "shot"}:
        raise InputError(f"{path.name} has an entry {name!r}; a list of shots has [defaults] and [[shot]] tables.")
    defaults, shots = data.get("defaults", {}), data.get("shot", [])
    if not isinstance(defaults, dict):
        raise InputError(f"{path.name}: `defaults` must be a table, written as [defaults].")
    if not (isinstance(shots, list) and all(isinstance(shot, dict) for shot in shots)):
        raise InputError(f"{path.name}: each shot must be a table of its own, written as [[shot]].")
    default_lines, places = _lines_of(text, len(shots))
    return [
        Row(path, line, _spelled({**defaults, **shot}), _spelled({**default_lines, **lines}))
        for shot, (line, lines) in zip(shots, places, strict=True)
    ]


def _lines_of(text: str, count: int) -> tuple[dict[str, int], list[tuple[int, dict[str, int]]]]:
    """Return the lines of the defaults' keys, and for each of `count` shots its line and those of its keys.

    The standard library's TOML reader gives no positions, so the lines are looked up by what begins them. A list that
    is written in some other way (inline tables) gets line 1, never a wrong reading.
    """
    defaults: dict[str, int] = {}
    shots: list[tuple[int, dict[str, int]]] = []
    now: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.fullmatch(line):
            name, is_shot = header["name"], line.lstrip().startswith("[[")
            if is_shot and name == "shot":
                now = {}
                shots.append((number, now))
            elif name == "defaults":
                now = defaults
            elif name.startswith(("shot.", "defaults.")):
                now.setdefault(name.partition(".")[2].partition(".")[0], number)
            else:
                now = {}
        elif key := _KEY.match(line):
            now.setdefault(key["key"], number)
    return defaults, shots if len(shots) == count else [(1, {})] * count


def _csv_rows(path: Path, text: str) -> list[Row]:
    """Read a table with a header; a row named `*` holds the defaults of those below it. Empty cells say nothing."""
    delimiter = _delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[Row] = []
    header: list[str] = []
    defaults: dict[str, Any] = {}
    default_line = 0
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells) or cells[0].lstrip().startswith("#"):
                continue
            if not header and _TELLS.match(cells[0]):
                _check_separator(path, reader.line_num, delimiter.join(cells))
                continue
            if not header:
                header = _without_empty_end([cell.strip() for cell in cells])
                _check_header(path, reader.line_num, header)
                continue
            line = reader.line_num
            cells = _without_empty_end(cells)
            if len(cells) > len(header):
                raise InputError(f"{path.name}, line {line}: {len(cells)} cells under {len(header)} headings.")
            cells = [cell.strip() if delimiter == "," else _with_points(cell.strip()) for cell in cells]
            values = {key: cell for key, cell in zip(header, cells, strict=False) if cell}
            if any(_key(key) == "name" and cell == DEFAULTS for key, cell in values.items()):
                defaults, default_line = values, line
                continue
            written = dict.fromkeys(defaults, default_line) | dict.fromkeys(values, line)
            rows.append(Row(path, line, _spelled(defaults | values), _spelled(written)))
    except csv.Error as error:
        raise InputError(f"{path.name}, line {reader.line_num}: this is no valid CSV ({error}).") from error
    return rows


def _without_empty_end(cells: list[str]) -> list[str]:
    """Return cells without the empty ones at the end, which spreadsheets add where a row was longer once."""
    return cells[: max((number for number, cell in enumerate(cells, 1) if cell.strip()), default=0)]


def _check_separator(path: Path, number: int, line: str) -> None:
    if not _SEPARATOR.fullmatch(line):
        raise InputError(
            f"{path.name}, line {number}: {line[:40]!r} names no separator of a list; write sep=, or sep=; or sep= and "
            "a tab, or remove the line."
        )


def _check_header(path: Path, number: int, header: list[str]) -> None:
    if len(header) == 1:  # a shot has a file and a video at least
        raise InputError(
            f"{path.name}, line {number}: {header[0][:40]!r} is a single heading; separate the headings by commas, "
            "semicolons or tabs, and let a line `sep=` say the same one."
        )
    for name in header:
        if not name:
            raise InputError(f"{path.name}: a column has no heading; the first line names each column.")
        if [_key(each) for each in header].count(_key(name)) > 1:
            raise InputError(f"{path.name}: two columns are named {name!r}; remove one of them.")


def _delimiter(text: str) -> str:
    """Return what the heading line is cut by: programs of the decimal comma write semicolons, some write tabs."""
    heading = next((line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")), "")
    if told := _SEPARATOR.fullmatch(heading.strip()):
        return told["delimiter"]
    return max(",;\t", key=heading.count)


def _with_points(cell: str) -> str:
    """Return a cell that holds nothing but numbers, with decimal commas, as a program of the decimal point has it."""
    numbers = all(_NUMBER.fullmatch(word) for word in re.split(r"[;\s]+", cell))
    return cell.replace(",", ".") if numbers else cell


def _spelled(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return entries by key, with `start-frame`, `start_frame` and `Start Frame` as one and the same."""
    return {_key(name): value for name, value in entries.items()}


def _key(name: str) -> str:
    return re.sub(r"[-\s]+", "_", name.strip().lower())
