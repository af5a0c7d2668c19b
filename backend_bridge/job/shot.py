# SPDX-License-Identifier: GPL-3.0-or-later
"""A moving shot: which frames of the scene an image sequence follows, and where the clip lies in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from ..files.errors import InputError
from ..files.plain import check_plain

FIRST, LAST = 1, 1_048_574  # Blender's last frame; files are numbered from 1
MOST_FRAMES = 5_000  # each has its evidence, some 0.2 MB, and pictures in the scene's resolution
SUFFIXES = (".png", ".exr")
SLOWEST, FASTEST = Fraction(1, 1000), Fraction(100_000)  # frames per second
MOST_STRETCH = 1000  # times as slow
MOST_RELEASE = 3600.0  # seconds
_NUMBER = re.compile("#+")


@dataclass(frozen=True)
class Shot:
    """Frames of a scene in which the avatar, its head or the camera moves.

    frames: the first and the last one. start_frame, rate, stretch, keep_apex: where the clip lies, as
    `scene_time.place` takes them; rate is the scene's, in frames per second. release: seconds of the clip in which the
    motion of its last frame goes back to none after its end; None holds it. plates: path of the studio's own rendered
    sequence with # for the digits of a frame's number; empty where Blender has rendered it into the job folder.
    """

    frames: tuple[int, int]
    start_frame: int
    rate: Fraction
    stretch: Fraction = Fraction(1)
    keep_apex: bool = True
    release: float | None = 0.2
    plates: str = ""

    @property
    def numbers(self) -> range:
        """The numbers of its frames."""
        return range(self.frames[0], self.frames[1] + 1)

    def check(self) -> None:
        """Raise `InputError` for an interval or a placement that makes no sense."""
        check_interval(*self.frames)
        if not SLOWEST <= self.rate <= FASTEST or not 0 < self.stretch <= MOST_STRETCH:
            raise InputError("The moving shot's frame rate or time stretch is out of range; capture the avatar again.")
        if not -LAST <= self.start_frame <= LAST or not 0 <= (self.release or 0.0) <= MOST_RELEASE:
            raise InputError("The moving shot's start frame or release is out of range; capture the avatar again.")
        if self.plates:
            check_pattern(self.plates)


def check_interval(first: int, last: int) -> None:
    """Raise `InputError` for an interval of frames that can't be a moving shot."""
    if not FIRST <= first <= last <= LAST:
        raise InputError(
            f"A moving shot starts at frame {FIRST} or later and ends not before it starts; {first} to {last} does not."
        )
    if last - first >= MOST_FRAMES:
        raise InputError(f"A moving shot has at most {MOST_FRAMES} frames, not {last - first + 1}; cut it.")


def check_pattern(plates: str) -> None:
    """Raise `InputError` for what names no sequence of plates."""
    name = Path(plates).name
    if len(_NUMBER.findall(name)) != 1 or Path(name).suffix.lower() not in SUFFIXES or "#" in str(Path(plates).parent):
        raise InputError(
            f"{name[:80]!r} names no sequence of plates; write # for each digit of the frame's number, as in "
            "shot.####.exr, and use PNG or EXR files."
        )


def plate_of(plates: str, number: int) -> Path:
    """Return the file of a frame in a sequence, "shot.####.exr" -> shot.1001.exr."""
    path = Path(plates)
    return path.with_name(_NUMBER.sub(lambda found: f"{number:0{len(found[0])}d}", path.name))


def check_plates(plates: str, numbers: range) -> None:
    """Raise `InputError` for a sequence that lacks frames or names something else than files."""
    check_pattern(plates)
    missing = list(_missing(plates, numbers))
    if missing:
        raise InputError(
            f"{len(missing)} of {len(numbers)} plates are missing, {plate_of(plates, missing[0])} first; render them, "
            "or give the frames that are there."
        )


def _missing(plates: str, numbers: range) -> Iterator[int]:
    for number in numbers:
        path = plate_of(plates, number)
        try:
            there = path.is_file()
        except (OSError, ValueError):  # no file can have such a name
            there = False
        if not there:
            if path.exists():
                check_plain(path)
            yield number
