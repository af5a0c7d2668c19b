# SPDX-License-Identifier: GPL-3.0-or-later
"""Live Link Face CSV: the 61 columns that face capture tools exchange, written from solved controls and read back."""

from __future__ import annotations

import codecs
import csv
import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

import numpy as np

from ..files.errors import InputError
from .action_units import recognise
from .basis import Control
from .curves import ControlCurves
from .timecode import Count, Timecode, count_of, regular, unwrapped

TIMECODE_RATE = Fraction(60)  # the app's own; the frames field carries thousandths, so any time can be written

_EYE = ("eyeBlink", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp", "eyeSquint", "eyeWide")
_MOUTH = ("Smile", "Frown", "Dimple", "Stretch")
SHAPES: tuple[str, ...] = (
    *(f"{shape}Left" for shape in _EYE),
    *(f"{shape}Right" for shape in _EYE),
    *("jawForward", "jawRight", "jawLeft", "jawOpen"),
    *("mouthClose", "mouthFunnel", "mouthPucker", "mouthRight", "mouthLeft"),
    *(f"mouth{shape}{side}" for shape in _MOUTH for side in ("Left", "Right")),
    *("mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"),
    *(f"mouth{shape}{side}" for shape in ("Press", "LowerDown", "UpperUp") for side in ("Left", "Right")),
    *("browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    *("cheekPuff", "cheekSquintLeft", "cheekSquintRight", "noseSneerLeft", "noseSneerRight", "tongueOut"),
)
ROTATIONS = tuple(f"{what}{axis}" for what in ("Head", "LeftEye", "RightEye") for axis in ("Yaw", "Pitch", "Roll"))
_COLUMNS = tuple(shape[0].upper() + shape[1:] for shape in SHAPES) + ROTATIONS
_TIMECODE = "timecode"  # in small letters, as names are compared
_KNOWN_COLUMNS = {_TIMECODE, "blendshapecount", *map(str.lower, _COLUMNS)}


_STILL = "0.0"  # what we write for a rotation
_OWN_VALUE = re.compile(r"\d+\.\d{8}")
_DRIFT = Fraction(1, 25)  # seconds; a frame
_GAP = 1  # seconds without a row, more than any recorder drops
_BACK = Fraction(1, 4)  # seconds by which a row may come too late: networks change their order
_HIGH = 2.0  # of a blend shape, more than anybody makes of 1
_LARGEST = 10.0  # of a blend shape, whose range is 0 to 1
_BEFORE = re.compile(r"\ufeff?(?:[ \t]*(?:sep=.)?\r?\n)*", re.IGNORECASE)  # what may stand before the names


def to_live_link(curves: ControlCurves, start: Fraction = Fraction(0)) -> str:
    """Return curves whose rest is 0 (`as_shapes`) as a Live Link Face CSV: 61 columns behind timecode and count.

    Controls are recognised by name; what stands for no ARKit shape is left out, and head and eyes don't turn. Where a
    rig splits what ARKit doesn't (browInnerUp by side), the larger side is written; where it has one control for both
    sides, both columns get it. The timecode begins at `start`, in seconds from midnight.
    """
    table = np.zeros((len(curves.seconds), len(SHAPES)))
    for name, values in zip(curves.names, curves.values.T, strict=True):
        for column in _columns_of(name):
            table[:, column] = np.maximum(table[:, column], values)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["Timecode", "BlendShapeCount", *_COLUMNS])
    still = [_STILL] * len(ROTATIONS)
    for seconds, row in zip(curves.seconds, table, strict=True):
        writer.writerow(
            [_timecode(start + Fraction(float(seconds))), len(_COLUMNS), *(f"{value:.8f}" for value in row), *still]
        )
    return text.getvalue()


def stands_for_arkit(name: str) -> bool:
    """Whether a control's name is that of an ARKit shape, so that it has a column."""
    return bool(_columns_of(name))


@dataclass(frozen=True)
class Recording:
    """A Live Link Face CSV as it was read.

    curves: of the ARKit shapes, named as ARKit names them ("mouthSmileLeft"). seconds: exact, from the first sample.
    rotates: whether the head or the eyes turn. remarks: what a person should know of it, a sentence each.
    """

    curves: ControlCurves
    seconds: tuple[Fraction, ...]
    rotates: bool
    remarks: tuple[str, ...] = ()


def text_of(data: bytes) -> str:
    """Return the text of a CSV file: UTF-8, or UTF-16 as spreadsheets save it. Raises `UnicodeDecodeError`.

    >>> text_of("Timecode".encode("utf-16"))
    'Timecode'
    """
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if wide else "utf-8-sig")


def read_live_link(text: str, timecode_rate: Fraction | None = None, least: float = 0.0) -> Recording:
    """Read a Live Link Face CSV. All of it can be read, or none.

    Times count from the first row; rows that repeat a time are left out: recorders repeat it where they dropped a
    frame. Columns may be in any order, shapes may be missing; cells may be separated by semicolons, with decimal
    commas. `timecode_rate` in frames a second is found from the rows where it is not given; a rotation of more than
    `least` radians is one. Raises `InputError` for text that is no such file, names the line of a broken one.
    """
    table = _Table.read(text)
    ours = timecode_rate is None and table.ours
    count = count_of(table.codes, TIMECODE_RATE if ours else timecode_rate)
    times = unwrapped(map(count.seconds, table.codes), count.day)
    _check_one_take(times, table.lines)
    order = sorted(range(len(times)), key=times.__getitem__)
    order = [number for place, number in enumerate(order) if not place or times[number] > times[order[place - 1]]]
    seconds = tuple(times[number] - times[order[0]] for number in order)
    if any(code.frame.denominator > 1 for code in table.codes):
        seconds = regular(seconds, count.nominal)
    curves = ControlCurves(
        names=table.names,
        seconds=np.array([float(time) for time in seconds]),
        values=np.array(table.values, np.float32)[order],
        residual=np.zeros(len(order), np.float32),
        visibility=np.ones(len(table.names), np.float32),
    )
    remarks = _of_times(seconds, count, timecode_rate is not None) + _of_values(curves, table)
    return Recording(curves, seconds, table.turned > least, remarks)


def _check_one_take(times: Sequence[Fraction], lines: Sequence[int]) -> None:
    """Raise `InputError` where the times begin anew: rows of two takes can't be put in one order."""
    for number, (one, two) in enumerate(pairwise(times), start=1):
        if one - two > _BACK:
            raise InputError(
                f"In line {lines[number]} the Live Link Face CSV goes back by {float(one - two):.1f} s, so these are "
                "two takes; split the file there."
            )


def _of_times(seconds: Sequence[Fraction], count: Count, given: bool) -> tuple[str, ...]:
    """Return what a person should know of a recording's times."""
    remarks = []
    drift = seconds[-1] / 1001
    if not given and count.rate in (24, 30) and drift > _DRIFT:
        slower = f"{count.nominal * 1000 / 1001:.2f}"
        remarks.append(
            f"The timecode counts {count.nominal} frames a second and was taken at exactly that; if it runs at "
            f"{slower}, give that as the timecode rate: it makes {float(drift):.2f} s by the end."
        )
    longest, before = max(((two - one, one) for one, two in pairwise(seconds)), default=(Fraction(0), Fraction(0)))
    if longest > _GAP:
        remarks.append(
            f"{float(before):.1f} s after its beginning the recording has a gap of {float(longest):.1f} s, in which "
            "the face goes straight from one pose to the next; split the file there if these are two takes."
        )
    return tuple(remarks)


def _of_values(curves: ControlCurves, table: _Table) -> tuple[str, ...]:
    """Return what a person should know of a recording's columns and values."""
    remarks = []
    if table.unknown:
        names = ", ".join(table.unknown[:6]) + (" ..." if len(table.unknown) > 6 else "")
        remarks.append(f"The recording has columns that are no ARKit shapes: {names}; what they do is left out.")
    if (highest := float(np.abs(curves.values).max(initial=0.0))) > _HIGH:
        remarks.append(
            f"The recording's values go up to {highest:.1f}, and those of a blend shape from 0 to 1; if these are "
            "percent, divide them by 100."
        )
    if table.broken_off:
        remarks.append(
            "The recording's last line has no line end, so the file may be cut off there; if frames are missing, copy "
            "it anew."
        )
    return tuple(remarks)


@dataclass(frozen=True)
class _Table:
    """What stands in a CSV, row by row: codes [N], values [N][K] of the shapes `names`, and the largest rotation.

    unknown: names of further columns. lines [N]: of the file, from 1. ours: whether it is written as `to_live_link`
    does. broken_off: whether the last line has no end.
    """

    names: tuple[str, ...]
    unknown: tuple[str, ...]
    lines: list[int]
    codes: list[Timecode]
    values: list[list[float]]
    turned: float
    ours: bool
    broken_off: bool

    @classmethod
    def read(cls, text: str) -> _Table:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        before = _BEFORE.match(text)
        skipped = before.group() if before is not None else ""
        text = text.removeprefix(skipped)
        written, delimiter = _header(text)
        header = [name.lower() for name in written]
        shapes = [(shape, header.index(shape.lower())) for shape in SHAPES if shape.lower() in header]
        rotations = [header.index(name.lower()) for name in ROTATIONS if name.lower() in header]
        _check_names(header, [shape for shape, _ in shapes])
        lines, codes, values, turned, ours = [], [], [], 0.0, True
        for number, row in enumerate(_rows(text, delimiter)[1:], start=2 + skipped.count("\n")):
            if not any(cell.strip() for cell in row):
                continue
            _check_row(number, row, header)
            try:
                codes.append(Timecode.parse(row[header.index(_TIMECODE)]))
                values.append([_weight(row[column]) for _, column in shapes])
                angles = [_number(row[column] or "0") for column in rotations]
            except ValueError as error:
                raise InputError(f"Line {number} of the Live Link Face CSV can't be read ({error}).") from error
            lines.append(number)
            turned = max(turned, *map(abs, angles), 0.0)
            ours &= all(_OWN_VALUE.fullmatch(row[column]) is not None for _, column in shapes)
            ours &= all(row[column] == _STILL for column in rotations)
        if not codes:
            raise InputError("The Live Link Face CSV has no frames.")
        whole = len(rotations) == len(ROTATIONS) and len(shapes) == len(SHAPES)
        names = tuple(shape for shape, _ in shapes)
        unknown = tuple(name for name in written if name and name.lower() not in _KNOWN_COLUMNS)
        return cls(names, unknown, lines, codes, values, turned, ours and whole, not text.endswith("\n"))


def _check_names(header: Sequence[str], shapes: Sequence[str]) -> None:
    """Raise `InputError` where the first line of a file names no recording's columns, or one of them twice."""
    if _TIMECODE not in header or not shapes:
        raise InputError("This is no Live Link Face CSV: its first line must name Timecode and the blend shapes.")
    if twice := [name for name in ("Timecode", *shapes) if header.count(name.lower()) > 1]:
        raise InputError(f"The Live Link Face CSV names {twice[0]} twice; remove the column that is not meant.")


def _check_row(number: int, row: Sequence[str], header: Sequence[str]) -> None:
    """Raise `InputError` where a line has not the cells that the first one names."""
    if [cell.strip().lower() for cell in row[: len(header)]] == header:
        raise InputError(
            f"Line {number} of the Live Link Face CSV names the columns again, so these are two takes; split the file "
            "there."
        )
    if len(row) < len(header):
        raise InputError(
            f"Line {number} of the Live Link Face CSV can't be read (it ends after {len(row)} of "
            f"{len(header)} values); the file is cut off there: remove the line, or copy the file anew."
        )
    if any(cell.strip() for cell in row[len(header) :]):
        raise InputError(
            f"Line {number} of the Live Link Face CSV can't be read (it has {len(row)} values for {len(header)}"
            " names); save it again with decimal points, or with semicolons between its values."
        )


def _rows(text: str, delimiter: str) -> list[list[str]]:
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise InputError(f"The Live Link Face CSV can't be read ({error}); export the recording anew.") from error


def _header(text: str) -> tuple[list[str], str]:
    """Return the names in the first line, and what separates them."""
    first = text.partition("\n")[0]
    for delimiter in (",", ";", "\t"):
        names = [cell.strip() for cell in next(csv.reader([first.rstrip()], delimiter=delimiter), [])]
        while names and not names[-1]:  # some writers end each line with a separator, some the first one alone
            names.pop()
        if _TIMECODE in map(str.lower, names):
            return names, delimiter
    return [], ","


def _number(cell: str) -> float:
    """Return the number in a cell, written with a point or a comma. Raises `ValueError` for what is none."""
    text = cell.strip()
    if not text:
        raise ValueError("a value is missing")
    try:
        value = float(text.replace(",", ".").replace("_", "no"))  # Python's own numbers may have underscores
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is no number")
    return value


def _weight(cell: str) -> float:
    """Return the value of a blend shape. Raises `ValueError` for what can be none."""
    value = _number(cell)
    if abs(value) > _LARGEST:
        raise ValueError(f"{cell.strip()} is no value of a blend shape, which goes from 0 to 1; are these percent?")
    return value


def onto_controls(curves: ControlCurves, controls: Sequence[Control], others: Iterable[str] = ()) -> ControlCurves:
    """Return curves of ARKit shapes as curves of a rig's own controls, matched by what their names mean.

    A control for both sides gets the larger of the two; controls that split a shape by side get the same each. A brow
    that rises as one follows what the rig has no control of its own for, among `others` neither. Values
    count from the control's rest, in units of its `full_excursion`. Controls without a counterpart stay at rest and
    have visibility 0. Raises `InputError` when nothing matches.
    """
    values = np.tile([control.rest for control in controls], (len(curves.seconds), 1))
    visibility = np.zeros(len(controls), np.float32)
    names = [*(control.name for control in controls), *others]
    separate = {source for name in names if not _is_joint(name) for source in _sources_of(name, curves.names)}
    for index, control in enumerate(controls):
        sources = _sources_of(control.name, curves.names)
        if _is_joint(control.name):
            sources = [source for source in sources if source not in separate]
        if sources:
            values[:, index] += full_excursion(control) * curves.values[:, sources].max(1)
            visibility[index] = 1.0
    if not visibility.any():
        raise InputError("None of the rig's controls has a name that is known to stand for an ARKit shape.")
    return ControlCurves(
        names=tuple(control.name for control in controls),
        seconds=curves.seconds,
        values=values.astype(np.float32),
        residual=curves.residual,
        visibility=visibility,
    )


def as_shapes(curves: ControlCurves, controls: Sequence[Control]) -> ControlCurves:
    """Return curves of a rig's controls as a recording has them: 0 at rest and below, 1 where all of a shape shows."""
    rest = np.array([control.rest for control in controls])
    full = np.array([full_excursion(control) for control in controls])
    shares = (curves.values - rest) / np.where(full > 0, full, np.inf)
    return replace(curves, values=np.clip(shares, 0, 1).astype(np.float32))


def full_excursion(control: Control) -> float:
    """Return how far from rest a control shows all of a shape."""
    return control.modelled[1] - control.rest


def unmatched(curves: ControlCurves, names: Sequence[str], least: float = 0.0) -> tuple[str, ...]:
    """Return the shapes that move by more than `least` and that none of the rig's controls stands for."""
    matched = {index for name in names for index in _sources_of(name, curves.names)}
    moving = np.abs(curves.values).max(axis=0, initial=0.0) > least
    return tuple(shape for index, shape in enumerate(curves.names) if moving[index] and index not in matched)


def _columns_of(name: str) -> list[int]:
    """Return the columns that a control of the rig stands for."""
    meaning = recognise(name)
    if meaning is None or not meaning.shape:
        return []
    names = meaning.arkit_names
    return [index for index, shape in enumerate(SHAPES) if shape in names]


def _is_joint(name: str) -> bool:
    meaning = recognise(name)
    return meaning is not None and meaning.is_joint


def _sources_of(name: str, shapes: Sequence[str]) -> list[int]:
    """Return which of the ARKit shapes a control of the rig follows."""
    meaning = recognise(name)
    if meaning is None or not meaning.shape:
        return []
    return [index for index, shape in enumerate(shapes) if shape in meaning.arkit_names]


def _timecode(seconds: Fraction) -> str:
    """Return HH:MM:SS:FF.mmm."""
    thousandths = round(seconds * TIMECODE_RATE * 1000)
    frames, thousandth = divmod(thousandths, 1000)
    whole, frame = divmod(frames, int(TIMECODE_RATE))
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours % 24:02d}:{minute:02d}:{second:02d}:{frame:02d}.{thousandth:03d}"
