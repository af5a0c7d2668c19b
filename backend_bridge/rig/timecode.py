# SPDX-License-Identifier: GPL-3.0-or-later
"""SMPTE timecode: how many frames a second it counts, by a recording's own rows, and what time it stands for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from statistics import median

from ..files.errors import InputError

_KNOWN = (24, 25, 30, 48, 50, 60, 100, 120)  # frames a second that timecodes count
_DROPS = {30: 2, 60: 4}  # frame numbers that drop-frame leaves out each minute but every tenth
_CODE = re.compile(r"\s*(\d+)[:;](\d+)[:;](\d+)([:;])(\d+(?:[.,]\d+)?)\s*")
# Rates of cameras, to recognise times that were rounded to thousandths of a frame.
_CAMERAS = tuple(
    Fraction(rate) * factor
    for factor in (Fraction(1), Fraction(1000, 1001))
    for rate in (12, 15, 24, 25, 30, 48, 50, 60, 90, 100, 120, 150, 180, 200, 240, 250, 300, 480, 500, 1000)
)
_ROUNDED = Fraction(6, 10_000)  # of a frame, what writing it with three decimals may take off, and a little


@dataclass(frozen=True)
class Timecode:
    """HH:MM:SS:FF, with a fraction of the frame; `drop`: written with a semicolon, as drop-frame timecode is."""

    minutes: int
    second: int
    frame: Fraction
    drop: bool = False

    @classmethod
    def parse(cls, text: str) -> Timecode:
        """Read one. Raises `ValueError` for what is none.

        >>> Timecode.parse("01:02:03;04.500")
        Timecode(minutes=62, second=3, frame=Fraction(9, 2), drop=True)
        """
        match = _CODE.fullmatch(text)
        if match is None or int(match[2]) > 59 or int(match[3]) > 59:
            raise ValueError(f"{text!r} is no timecode")
        return cls(
            60 * int(match[1]) + int(match[2]), int(match[3]), Fraction(match[5].replace(",", ".")), match[4] == ";"
        )

    @property
    def whole_seconds(self) -> int:
        """What stands before the frame, in seconds."""
        return 60 * self.minutes + self.second


@dataclass(frozen=True)
class Count:
    """How a timecode counts: `nominal` frame numbers a second that pass at `rate`; `drop`: some are left out."""

    nominal: int
    rate: Fraction
    drop: bool = False

    @property
    def day(self) -> Fraction:
        """The seconds after which it begins anew."""
        return self.seconds(Timecode(24 * 60, 0, Fraction(0)))

    def seconds(self, code: Timecode) -> Fraction:
        """Return the time that a code stands for, from midnight."""
        frames = code.whole_seconds * self.nominal + code.frame
        if self.drop:
            frames -= _DROPS[self.nominal] * (code.minutes - code.minutes // 10)
        return frames / self.rate


def count_of(codes: Sequence[Timecode], given: Fraction | None = None) -> Count:
    """Return how the timecodes of consecutive rows count; `given` is the rate in frames a second, if it is known.

    Raises `InputError` where the rows leave it open and nothing is given, or where they contradict what is given.

    >>> count_of([Timecode(0, 0, Fraction(frame)) for frame in range(24)] + [Timecode(0, 1, Fraction(0))])
    Count(nominal=24, rate=Fraction(24, 1), drop=False)
    """
    counted, drop = _counted(codes)
    if given is None:
        if counted is None:
            raise InputError(
                "The recording does not tell how many frames a second its timecode counts; give the timecode rate (60 "
                "in the Live Link Face app unless it was changed there)."
            )
        return Count(counted, Fraction(counted) * (Fraction(1000, 1001) if drop else 1), drop)
    rate = exact_rate(given)
    nominal = -(-rate.numerator // rate.denominator)
    if (counted is not None and counted != nominal) or any(code.frame >= nominal for code in codes):
        counts = counted or int(max(code.frame for code in codes)) + 1
        raise InputError(
            f"The recording's timecode counts {counts} frames a second, which does not go with a timecode rate of "
            f"{_shown(rate)}; leave the rate out or correct it."
            if counted
            else f"The recording's timecode counts at least {counts} frames a second, which does not go with a "
            f"timecode rate of {_shown(rate)}; leave the rate out or correct it."
        )
    if drop and rate == nominal:
        raise InputError(
            f"The recording's timecode is drop-frame, so its rate is {nominal * 1000 / 1001:.2f} and not {nominal}; "
            "leave the timecode rate out or correct it."
        )
    return Count(nominal, rate, drop)


def exact_rate(rate: Fraction) -> Fraction:
    """Return the rate that is meant: 23.976, 29.97 and 59.94 stand for n * 1000 / 1001."""
    for nominal in _KNOWN:
        if abs(rate - (ntsc := Fraction(nominal * 1000, 1001))) < Fraction(5, 1000):
            return ntsc
    return rate


def unwrapped(seconds: Iterable[Fraction], day: Fraction) -> list[Fraction]:
    """Return times of day in the order of recording as times that go on after midnight."""
    found: list[Fraction] = []
    days = Fraction(0)
    for time in seconds:
        if found and time + days < found[-1] - day / 2:
            days += day
        found.append(time + days)
    return found


def regular(seconds: Sequence[Fraction], nominal: int) -> tuple[Fraction, ...]:
    """Return times, of which the first is 0, as they were before they were rounded to thousandths of a frame.

    They are multiples of a camera's frame where all of them are near enough; otherwise they stay as they are.
    """
    for rate in _CAMERAS:
        numbers = [round(time * rate) for time in seconds]
        if all(
            abs(number / rate - time) * nominal <= 2 * _ROUNDED for number, time in zip(numbers, seconds, strict=True)
        ):
            return tuple(number / rate for number in numbers)
    return tuple(seconds)


def _counted(codes: Sequence[Timecode]) -> tuple[int | None, bool]:
    """Return how many frames a second the codes count, None where that is open, and whether they are drop-frame."""
    within = [
        float(two.frame - one.frame)
        for one, two in pairwise(codes)
        if one.whole_seconds == two.whole_seconds and two.frame > one.frame
    ]
    highest = int(max(code.frame for code in codes))
    semicolons = any(code.drop for code in codes)
    plain: list[float] = []
    at_minutes: list[float] = []
    for one, two in pairwise(codes) if within else ():
        if (two.whole_seconds - one.whole_seconds) % 86_400 == 1:
            counted = float(one.frame - two.frame) + median(within)
            (at_minutes if two.second == 0 and two.minutes % 10 else plain).append(counted)
    nominal = _nearest(median(plain)) if plain else None
    if nominal is None and at_minutes:
        counted = median(at_minutes)
        nominal = next((n for n, left in _DROPS.items() if abs(counted + left - n) <= 0.5), _nearest(counted))
    if nominal is None or nominal <= highest:
        nominal = 60 if 50 <= highest < 60 else None
    if nominal not in _DROPS:
        return nominal, False
    left_out = bool(at_minutes) and abs(median(at_minutes) + _DROPS[nominal] - nominal) <= 0.5
    return nominal, semicolons or left_out


def _nearest(counted: float) -> int | None:
    nearest = min(_KNOWN, key=lambda known: abs(known - counted))
    return nearest if abs(nearest - counted) <= 0.5 else None


def _shown(rate: Fraction) -> str:
    return f"{float(rate):.5g}"
