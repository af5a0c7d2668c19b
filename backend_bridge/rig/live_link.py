# SPDX-License-Identifier: GPL-3.0-or-later
"""Live Link Face CSV: the 61 columns that face capture tools exchange, written from solved controls and read back."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ..files.errors import InputError
from .action_units import Side, recognise
from .basis import Control
from .curves import ControlCurves

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


def to_live_link(curves: ControlCurves, rest: NDArray[np.floating] | None = None) -> str:
    """Return solved curves as a Live Link Face CSV: 61 columns behind timecode and count.

    Controls are told by name; what stands for no ARKit shape is left out, and head and eyes don't turn. Where a rig
    splits what ARKit doesn't (browInnerUp by side), the larger side is written; where it has one control for both
    sides, both columns get it. `rest` [K] is taken off the values.
    """
    excursion = curves.values - (0.0 if rest is None else np.asarray(rest)[None])
    table = np.zeros((len(curves.seconds), len(SHAPES)))
    for name, values in zip(curves.names, excursion.T, strict=True):
        for column in _columns_of(name):
            table[:, column] = np.maximum(table[:, column], values)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["Timecode", "BlendShapeCount", *_COLUMNS])
    still = ["0.0"] * len(ROTATIONS)
    for seconds, row in zip(curves.seconds, table, strict=True):
        writer.writerow([_timecode(float(seconds)), len(_COLUMNS), *(f"{value:.8f}" for value in row), *still])
    return text.getvalue()


def speaks_for_shapes(name: str) -> bool:
    """Whether a control's name says which of the columns it stands for."""
    return bool(_columns_of(name))


def from_live_link(text: str, timecode_rate: Fraction = TIMECODE_RATE) -> ControlCurves:
    """Read a Live Link Face CSV as curves of the ARKit shapes, named as ARKit names them ("mouthSmileLeft").

    Times count from the first row. Columns may be in any order and shapes may be missing; head and eye rotations are
    not read. Raises `InputError` for text that is no such file, names the line of a broken one.
    """
    rows = list(csv.reader(io.StringIO(text.lstrip("\ufeff"))))
    header = [cell.strip() for cell in rows[0]] if rows else []
    lower = [cell.lower() for cell in header]
    wanted = [(shape, lower.index(shape.lower())) for shape in SHAPES if shape.lower() in lower]
    if "timecode" not in lower or not wanted:
        raise InputError("This is no Live Link Face CSV: its first line must name Timecode and the blend shapes.")
    times, values = [], []
    for number, row in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in row):
            continue
        try:
            times.append(_seconds(row[lower.index("timecode")], timecode_rate))
            values.append([float(row[column]) for _, column in wanted])
        except (IndexError, ValueError) as error:
            raise InputError(f"Line {number} of the Live Link Face CSV can't be read ({error}).") from error
    if not times:
        raise InputError("The Live Link Face CSV has no frames.")
    order = sorted(range(len(times)), key=times.__getitem__)
    seconds = np.array([float(times[index] - times[order[0]]) for index in order])
    return ControlCurves(
        names=tuple(shape for shape, _ in wanted),
        seconds=seconds,
        values=np.array(values, np.float32)[order],
        residual=np.zeros(len(times), np.float32),
        visibility=np.ones(len(wanted), np.float32),
    )


def onto_controls(curves: ControlCurves, controls: Sequence[Control]) -> ControlCurves:
    """Return curves of ARKit shapes as curves of a rig's own controls, matched by what their names mean.

    A control for both sides gets the larger of the two; controls that split a shape by side get the same each. Values
    count from the control's rest, in units of its range above rest. Controls without a counterpart stay at rest and
    have visibility 0. Raises `InputError` when nothing matches.
    """
    values = np.tile([control.rest for control in controls], (len(curves.seconds), 1))
    visibility = np.zeros(len(controls), np.float32)
    for index, control in enumerate(controls):
        sources = _sources_of(control.name, curves.names)
        if sources:
            values[:, index] += (control.high - control.rest) * curves.values[:, sources].max(1)
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


def unmatched(curves: ControlCurves, names: Sequence[str], least: float = 0.0) -> tuple[str, ...]:
    """Return the shapes that move by more than `least` and that none of the rig's controls stands for."""
    matched = {index for name in names for index in _sources_of(name, curves.names)}
    moving = np.abs(curves.values).max(axis=0, initial=0.0) > least
    return tuple(shape for index, shape in enumerate(curves.names) if moving[index] and index not in matched)


def has_rotations(text: str, least: float = 0.0) -> bool:
    """Return whether a Live Link Face CSV turns the head or the eyes by more than `least` radians."""
    rows = list(csv.DictReader(io.StringIO(text.lstrip("\ufeff"))))
    names = {name for name in (rows[0] if rows else {}) if name and name.strip() in ROTATIONS}
    return any(abs(float(row[name] or 0.0)) > least for row in rows for name in names)


def _columns_of(name: str) -> list[int]:
    """Return the columns that a control of the rig speaks for."""
    meaning = recognise(name)
    if meaning is None or not meaning.shape:
        return []
    both = [meaning.shape + side for side in ("Left", "Right")] if meaning.side is Side.BOTH else []
    return [SHAPES.index(shape) for shape in (meaning.arkit, *both) if shape in SHAPES]


def _sources_of(name: str, shapes: Sequence[str]) -> list[int]:
    """Return which of the ARKit shapes a control of the rig follows."""
    meaning = recognise(name)
    if meaning is None or not meaning.shape:
        return []
    wanted = (
        {meaning.arkit} if meaning.side is not Side.BOTH else {meaning.shape + side for side in ("", "Left", "Right")}
    )
    return [index for index, shape in enumerate(shapes) if shape in wanted]


def _timecode(seconds: float) -> str:
    """Return HH:MM:SS:FF.mmm."""
    thousandths = round(Fraction(seconds) * TIMECODE_RATE * 1000)
    frames, thousandth = divmod(thousandths, 1000)
    whole, frame = divmod(frames, int(TIMECODE_RATE))
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours:02d}:{minute:02d}:{second:02d}:{frame:02d}.{thousandth:03d}"


def _seconds(timecode: str, rate: Fraction) -> Fraction:
    match = re.fullmatch(r"\s*(\d+):(\d+):(\d+)[:;](\d+(?:\.\d+)?)\s*", timecode)
    if match is None:
        raise ValueError(f"{timecode!r} is no timecode")
    hours, minutes, whole = (int(part) for part in match.groups()[:3])
    return 3600 * hours + 60 * minutes + whole + Fraction(match[4]) / rate
