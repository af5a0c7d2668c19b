# SPDX-License-Identifier: GPL-3.0-or-later
"""Frame rates from presentation timestamps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction

import numpy as np

from ...backend_bridge.files.frame_rates import STANDARD

_NEAR = 4e-4  # of a rate: less than half of what 29.97 and 30 differ by


def constant_rate(ticks: Sequence[int], time_base: Fraction, candidates: Iterable[Fraction | None]) -> Fraction | None:
    """Return the first candidate rate that explains every timestamp, or None if the rate varies.

    ticks: presentation timestamps in ascending order, in units of `time_base` seconds. A timestamp is explained if it
    is less than about one tick from its place, because containers round to their clock: 29.97 frames a second in
    Matroska's milliseconds stand at 0, 33, 67, 100 ... ms.

    >>> constant_rate([0, 33, 67, 100], Fraction(1, 1000), [Fraction(25), Fraction(30000, 1001)])
    Fraction(30000, 1001)

    A rate that was worked out from such timestamps is the standard rate that explains them, too, if there is one near.

    >>> constant_rate([0, 17, 33, 50, 67, 83, 100], Fraction(1, 1000), [Fraction(19001, 317)])
    Fraction(60000, 1001)
    >>> constant_rate([0, 33, 90, 100], Fraction(1, 1000), [Fraction(30)]) is None
    True
    """
    if len(ticks) < 2:
        return next((rate for rate in candidates if rate), None)
    seconds = (np.asarray(ticks, np.float64) - ticks[0]) * float(time_base)
    index = np.arange(len(ticks))

    def explains(rate: Fraction) -> bool:
        return bool(np.abs(seconds - index / float(rate)).max() <= 1.001 * float(time_base))

    rounding = max(_NEAR, float(time_base) / seconds[-1])  # of the rate, as a share of it
    for rate in (*candidates, average_rate(ticks, time_base)):
        if rate and explains(rate):
            if (1 / rate / time_base).denominator == 1:  # the clock has its frames exactly
                return rate
            near = [each for each in STANDARD if abs(each - rate) <= rounding * rate and explains(each)]
            return min(near, key=lambda each: abs(each - rate), default=rate)
    return None


def average_rate(ticks: Sequence[int], time_base: Fraction) -> Fraction:
    """Return frames over time, for two timestamps or more (see `constant_rate`).

    >>> average_rate([0, 40, 80], Fraction(1, 1000))
    Fraction(25, 1)
    """
    return (len(ticks) - 1) / ((ticks[-1] - ticks[0]) * time_base)
