# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be wrong with frames of a driving video: found by the worker, shown by Blender."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias


class Fault(StrEnum):
    """Why a frame of the driver can't be trusted; the values are what a person reads."""

    MISSING = "no face"
    DARK = "too dark"
    BRIGHT = "over-exposed"
    FLASH = "a flash"
    CUT = "another shot"
    STRANGER = "another person"
    SOFT = "out of focus"


FaultName: TypeAlias = Literal[
    "no face", "too dark", "over-exposed", "a flash", "another shot", "another person", "out of focus"
]


@dataclass(frozen=True)
class Untrusted:
    """A run of frames that hold the last good frame before them (at the clip's start: the first one after them).

    start, end: seconds from the clip's first frame, of the first and the last of them.
    """

    start: float
    end: float
    fault: FaultName

    def __str__(self) -> str:
        """Return "0.400-0.533 s (a flash)"."""
        return f"{Span(self.start, self.end)} ({self.fault})"


@dataclass(frozen=True)
class Span:
    """From when to when, in seconds from the clip's first frame, both frames included."""

    start: float
    end: float

    def __str__(self) -> str:
        """Return "0.400-0.533 s"."""
        return f"{self.start:.3f} s" if self.start == self.end else f"{self.start:.3f}-{self.end:.3f} s"


@dataclass(frozen=True)
class Unseen:
    """A region of the driver's face that isn't seen in a share of the frames, between start and end, in seconds.

    It is beyond the picture's edge, over-exposed, or behind something (a hand, a caption); there the face is at rest.
    """

    region: str
    start: float
    end: float
    share: float

    def __str__(self) -> str:
        """Return "mouth (0.333-0.900 s)"."""
        return f"{self.region} ({self.start:.3f}-{self.end:.3f} s)"


def listed(runs: Sequence[Untrusted | Span], most: int = 6) -> str:
    """Return the runs as a person reads them, at most so many of them."""
    return ", ".join(map(str, runs[:most])) + (" …" if len(runs) > most else "")
