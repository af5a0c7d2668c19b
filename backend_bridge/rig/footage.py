# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be wrong with frames of a driving video: found by the worker, shown by Blender."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias

_MOSTLY_COPIED, _COPIED_WITH_EDGES, _EDGES = 0.5, 0.2, 1.6  # see `Compression`


class Fault(StrEnum):
    """Why a frame of the driver can't be trusted; the values are what a person reads."""

    MISSING = "no face"
    DARK = "too dark"
    BRIGHT = "over-exposed"
    FLASH = "a flash"
    CUT = "another shot"
    STRANGER = "another or a covered face"
    SOFT = "out of focus"


FaultName: TypeAlias = Literal[
    "no face", "too dark", "over-exposed", "a flash", "another shot", "another or a covered face", "out of focus"
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


@dataclass(frozen=True)
class Compression:
    """What the driving video's codec did to the face.

    copied: the share of the face, in [0, 1], that is copied from the reference frame rather than coded, the median of
    the frames that tell. block_edges: how much larger steps of brightness are at the edges of blocks than elsewhere; 1
    where none are seen.
    """

    copied: float = 0.0
    block_edges: float = 1.0

    @property
    def strong(self) -> bool:
        """Whether a micro-expression may be missing, false or too strong for it.

        Rendered people (two, 0.5 px, noise of 2/255): copied is 0.23 to 0.34 after H.264 at CRF 18, 0.65 to 0.70 at 23,
        0.82 to 0.89 at 28, where amounts were up to 2.7 times too large, 0.83 to 0.89 after VP9 at 34, and 0.1 after
        MJPEG at quantiser 4, which is still measured well. MPEG-4 at quantiser 5 copies 0.27 and isn't: it has edges of
        blocks (2.0), which H.264 smooths (1.1 to 1.2).
        """
        with_edges = self.copied >= _COPIED_WITH_EDGES and self.block_edges >= _EDGES
        return self.copied >= _MOSTLY_COPIED or with_edges


def listed(runs: Sequence[Untrusted | Span], most: int = 6) -> str:
    """Return the runs as a person reads them, at most so many of them."""
    return ", ".join(map(str, runs[:most])) + (" …" if len(runs) > most else "")
