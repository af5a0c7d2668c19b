# SPDX-License-Identifier: GPL-3.0-or-later
"""Frame rates as people write them."""

from __future__ import annotations

import re
from fractions import Fraction

from .errors import InputError

SLOWEST, FASTEST = Fraction(1, 1000), 10000  # frames a second
NTSC = tuple(Fraction(whole * 1000, 1001) for whole in (24, 30, 48, 60, 120, 240))
STANDARD = (*NTSC, *map(Fraction, (10, 12, 15, 20, 24, 25, 30, 48, 50, 60, 72, 90, 100, 120, 144, 200, 240)))
_RATE = re.compile(r"[0-9]{1,9}(/[0-9]{1,9}|\.[0-9]{1,9})?")


def parse_frame_rate(text: str) -> Fraction:
    """Return frames a second from "25", "23.976" or "24000/1001". Raises `InputError` for what is no frame rate.

    No exponents: "1e999999999" is a number that takes longer than anyone waits.

    >>> parse_frame_rate("24000/1001"), parse_frame_rate("12.5")
    (Fraction(24000, 1001), Fraction(25, 2))
    """
    rate = Fraction(0)
    if _RATE.fullmatch(text):
        numerator, _, denominator = text.partition("/")
        if not denominator or int(denominator):
            rate = Fraction(numerator) / int(denominator or 1)
    if not SLOWEST <= rate <= FASTEST:
        raise InputError(
            f"The frame rate of an image sequence must be a number such as 25 or 24000/1001, not {text[:40]!r}."
        )
    return rate
