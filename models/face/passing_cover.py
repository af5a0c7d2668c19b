# SPDX-License-Identifier: GPL-3.0-or-later
"""When a region's motion can't be told from that of something passing before it: a hand, a cup, hair.

Of a thing of the skin's own colour only parts are found by `visibility`. What is missed of it moves as skin does, and
farther from the parts that are found than a margin around them reaches. So where a region has large motion while what
hides a part of it wanders, none of its motion is taken for the face's, nor what is large just before the thing was
found there and just after, nor that of the other regions that it passes before meanwhile.

Drops, flakes and dust hide another part in each frame, and what is missed of one is no larger than it: the rest of the
region shows the face. A fold or a shadow that an expression makes comes and goes in its place, and is small.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .masks import Mask

COVER_SIDE = 32  # px of the pictures that say where a frame doesn't show the face
_WANDERS = 0.05  # of a region: what is newly hidden or seen again from a frame to the next, at least
_PAUSE = 0.1  # s; a hand that turns round keeps still for so long
# Of a region: up to this much is hidden where a real person's skin folds (crying 0.09, smiling 0.3), and in the same
# place in all frames: what is hidden in any of them over what is hidden in one.
_FOLD, _IN_PLACE = 0.35, 1.3
_LARGE = 7e-3  # of the face's width: more than a micro-expression; what is missed of a hand has 1e-2 and more
_APPROACH = 0.2  # s for which it may be before a region without being found there
# Of what is hidden, the share that still is so soon (the overlap coefficient): hands have 0.66 and more, as they are
# larger than their way meanwhile, rain and snow 0.42 and less.
_SOON, _STILL = 0.06, 0.53  # s; share
_ALWAYS = 0.5  # of the frames: what is hidden in more of them doesn't pass, as where a drop is before the reference
_EVERYWHERE = 0.8  # of the regions, that drops fall before in any frame; around a smile's mouth four of six are
_MOSTLY = 0.5  # of the frames in which something is hidden, at least, where drops fall; a fast hand passes in a few


def passing(
    covers: Mask, regions: Mapping[str, Mask], motion: Mapping[str, NDArray[np.floating]], seconds: Sequence[float]
) -> dict[str, Mask]:
    """Return the frames [T] in which something passes before each region, of the regions before which it does.

    covers: [T, H, W], where each frame doesn't show the face. regions: [H, W] each. motion: [T] of each region, as a
    share of the face's width. What passes is no specks (`are_specks`).

    >>> covers = np.zeros((9, 4, 4), bool)
    >>> for index in range(4):
    ...     covers[3 + index, :, index] = True  # it crosses in four frames
    >>> regions, hand = {"mouth": np.ones((4, 4), bool)}, np.array([0, 0, 0, 0, 2e-2, 0, 0, 0, 0])
    >>> passing(covers, regions, {"mouth": hand}, np.arange(9) / 30)["mouth"].astype(int)
    array([0, 0, 1, 1, 1, 1, 1, 1, 0])
    >>> passing(covers, regions, {"mouth": 0.3 * hand}, np.arange(9) / 30)  # no more than a micro-expression
    {}
    >>> fold = np.isin(np.arange(9), [3, 4, 6])[:, None, None] & (np.arange(16).reshape(4, 4) == 5)
    >>> passing(fold, regions, {"mouth": hand}, np.arange(9) / 30)  # it comes and goes in its place
    {}
    """
    times = np.asarray(seconds, np.float64)
    runs = [
        _Run(name, first, last, bool((motion[name][first : last + 1] > _LARGE).any()), fold)
        for name, region in regions.items()
        for first, last, fold in _wandering(covers & region, region, motion[name] > _LARGE, times)
    ]
    # What is hidden in its place is a part of a hand, too, if that hides another region more meanwhile.
    things = [run for run in runs if not run.fold]
    runs = [run for run in runs if any(run.meets(other) for other in things)]
    missed = [run for run in runs if run.large]
    found: dict[str, Mask] = {}
    for run in runs:
        if any(run.meets(other) for other in missed):  # it is one thing
            frames = found.setdefault(run.region, np.zeros(len(covers), np.bool_))
            frames[run.first : run.last + 1] = True
    return found


@dataclass(frozen=True)
class _Run:
    """A region in the frames from `first` to `last` in which what hides it wanders.

    large: it has large motion then. fold: what hides it is small and comes and goes in its place.
    """

    region: str
    first: int
    last: int
    large: bool
    fold: bool

    def meets(self, other: _Run) -> bool:
        """Return whether they have frames in common."""
        return self.first <= other.last and other.first <= self.last


def are_specks(covers: Mask, regions: Mapping[str, Mask], seconds: Sequence[float]) -> bool:
    """Return whether drops or flakes pass before the face and nothing larger; arguments as `passing` has them.

    They fall everywhere; what a smile shows of teeth and folds changes as fast, around the mouth.

    >>> def crossing(width: int) -> Mask:  # something that moves by a px a frame
    ...     return np.array([[[0 <= x - index < width for x in range(16)]] * 16 for index in range(12)])
    >>> mouth = {"mouth": np.ones((16, 16), bool)}
    >>> [are_specks(crossing(width), mouth, np.arange(12) / 30) for width in (2, 6)]
    [True, False]
    """
    times, hidden = np.asarray(seconds, np.float64), covers & np.any([*regions.values()], axis=0)
    passes = hidden & (hidden.mean(0) <= _ALWAYS)
    soon = np.searchsorted(times, times + _SOON)
    early = soon < len(times)
    now, then = passes[early], passes[soon[early]]
    smaller = np.minimum(now.sum((1, 2)), then.sum((1, 2)))
    before = [passes[:, region].any() for region in regions.values() if region.any()]
    everywhere = sum(before) > _EVERYWHERE * len(before)
    return bool(everywhere and passes.any((1, 2)).mean() > _MOSTLY and (now & then).sum() < _STILL * smaller.sum())


def _wandering(hidden: Mask, region: Mask, large: Mask, times: NDArray[np.float64]) -> Iterator[tuple[int, int, bool]]:
    """Yield the first and last frame of each run in which what hides a region wanders, with large motion beside it.

    And whether it may be a fold, which comes and goes in its place.
    """
    steps = np.flatnonzero((hidden[1:] ^ hidden[:-1]).sum((1, 2)) >= _WANDERS * max(region.sum(), 1))
    if not len(steps):
        return
    for run in np.split(steps, np.flatnonzero(np.diff(times[steps]) > _PAUSE) + 1):
        first, last = int(run[0]), int(run[-1]) + 1
        most, ever = hidden[first : last + 1].sum((1, 2)).max(), hidden[first : last + 1].any(0).sum()
        fold = bool(most <= _FOLD * region.sum() and ever <= _IN_PLACE * most)
        start, end = times[first] - _APPROACH, times[last] + _APPROACH
        while first > 0 and large[first - 1] and times[first - 1] >= start:
            first -= 1
        while last < len(times) - 1 and large[last + 1] and times[last + 1] <= end:
            last += 1
        yield first, last, fold


def packed_cover(cover: Mask) -> str:
    """Return where a frame doesn't show the face, [`COVER_SIDE`, `COVER_SIDE`], in letters: none where it shows all."""
    return np.packbits(cover).tobytes().hex() if cover.any() else ""


def cover_of(packed: str) -> Mask:
    """Return what `packed_cover` was given."""
    bits = np.frombuffer(bytes.fromhex(packed or "00" * (COVER_SIDE**2 // 8)), np.uint8)
    return np.unpackbits(bits).reshape(COVER_SIDE, COVER_SIDE).astype(np.bool_)
