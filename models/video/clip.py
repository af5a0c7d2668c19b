# SPDX-License-Identifier: GPL-3.0-or-later
"""What a video is to the rest of the pipeline: a few facts and a stream of timed frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Picture: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True)
class VideoInfo:
    """Facts about the trimmed clip.

    width, height: px of the frames as they are yielded: upright and with square pixels. average_rate: frames a second;
    exact for a constant rate, else frames over time. rotation: degrees by which the coded picture was turned
    counter-clockwise to be upright. bit_depth: bits of a stored sample. frame_count: how many frames the container
    announces within the trim range, or None if it does not say. lossy: whether a video codec that leaves out what is
    hardly seen has coded it. start: time of the first frame on the video's own timeline, whose zero is the first frame
    of the untrimmed video.
    """

    width: int
    height: int
    average_rate: Fraction
    variable_rate: bool
    rotation: int
    bit_depth: int
    frame_count: int | None
    start: Fraction
    lossy: bool = False


@dataclass(frozen=True)
class VideoFrame:
    """One frame of the trimmed clip.

    index: counts from 0. seconds: from the clip's first frame. picture: `image`, or what makes it of a decoded frame,
    which takes longer than decoding; many a pass through a clip is for one frame.
    """

    index: int
    seconds: Fraction
    picture: Picture | Callable[[], Picture] = field(repr=False)

    @cached_property
    def image(self) -> Picture:
        """[H, W, 3] float32 RGB in [0, 1], encoded as the video is (no change of transfer function)."""
        return self.picture() if callable(self.picture) else self.picture


class Clip(Protocol):
    """A video that can be read any number of times.

    files: what it is read from. warnings: complete after it was read once to its end.
    """

    info: VideoInfo
    files: tuple[Path, ...]
    warnings: list[str]

    def __iter__(self) -> Iterator[VideoFrame]: ...

    def forget(self) -> None:
        """Let go of decoded frames that are kept for the next pass."""
        ...


Trim = tuple[Fraction, Fraction]

# A person types times with three decimals, as they are shown: 0.500 and 0.501 s must both mean the frame at 0.5005 s.
TYPED_PRECISION = Fraction(6, 10000)


def within(seconds: Fraction, trim: Trim | None) -> bool:
    """Return whether a time lies in the half-open range [start, end), up to the precision a person types.

    >>> [within(Fraction(n, 25), (0.04, 0.12)) for n in range(4)]
    [False, True, True, False]
    """
    return trim is None or trim[0] - TYPED_PRECISION <= seconds < trim[1] - TYPED_PRECISION
