# SPDX-License-Identifier: GPL-3.0-or-later
"""When a region's motion can't be told from that of something passing before it: a hand, a cup, hair.

Of a thing of the skin's own colour only parts are found by `visibility`. What is missed of it moves as skin does, and
farther from the parts that are found than a margin around them reaches. So where a region has large motion while what
hides a part of it wanders, none of its motion is taken for the face's, nor what is large just before the thing was
found there and just after.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

COVER_SIDE = 32  # px of the pictures that say where a frame doesn't show the face
_WANDERS = 0.05  # of a region: what is newly hidden or seen again from a frame to the next, at least
_PAUSE = 0.1  # s; a hand that turns round keeps still for so long
_LARGE = 5e-3  # of the face's width: more than a micro-expression; what is missed of a hand has 1e-2 and more
_APPROACH = 0.2  # s for which it may be before a region without being found there


def passing(covers: Mask, region: Mask, motion: NDArray[np.floating], seconds: Sequence[float]) -> Mask:
    """Return the frames [T] in which something passes before a region.

    covers: [T, H, W], where each frame doesn't show the face. region: [H, W]. motion: [T], of the region, as a share
    of the face's width.

    >>> covers = np.zeros((9, 4, 4), bool)
    >>> for index in range(4):
    ...     covers[3 + index, :, index] = True  # it crosses in four frames
    >>> motion = np.array([0, 0, 0, 0, 2e-2, 0, 0, 0, 0])
    >>> passing(covers, np.ones((4, 4), bool), motion, np.arange(9) / 30).astype(int)
    array([0, 0, 1, 1, 1, 1, 1, 1, 0])
    >>> passing(covers, np.ones((4, 4), bool), 0.1 * motion, np.arange(9) / 30).any()
    np.False_
    """
    hidden, times = covers & region, np.asarray(seconds, np.float64)
    steps = np.flatnonzero((hidden[1:] ^ hidden[:-1]).sum((1, 2)) >= _WANDERS * region.sum())
    large = motion > _LARGE
    found = np.zeros(len(covers), np.bool_)
    for run in np.split(steps, np.flatnonzero(np.diff(times[steps]) > _PAUSE) + 1):
        if not len(run):
            continue
        first, last = int(run[0]), int(run[-1]) + 1
        start, end = times[first] - _APPROACH, times[last] + _APPROACH
        while first > 0 and large[first - 1] and times[first - 1] >= start:
            first -= 1
        while last < len(times) - 1 and large[last + 1] and times[last + 1] <= end:
            last += 1
        found[first : last + 1] = large[first : last + 1].any()
    return found


def packed_cover(cover: Mask) -> str:
    """Return where a frame doesn't show the face, [`COVER_SIDE`, `COVER_SIDE`], in letters: none where it shows all."""
    return np.packbits(cover).tobytes().hex() if cover.any() else ""


def cover_of(packed: str) -> Mask:
    """Return what `packed_cover` was given."""
    bits = np.frombuffer(bytes.fromhex(packed or "00" * (COVER_SIDE**2 // 8)), np.uint8)
    return np.unpackbits(bits).reshape(COVER_SIDE, COVER_SIDE).astype(np.bool_)
