# SPDX-License-Identifier: GPL-3.0-or-later
"""Making room for keys that go beyond a control's range, where Blender cuts values off at it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .destination import LAYER
from .performance import STILL, ControlKeys
from .stack import Bounds, bounds_below


def raise_ranges(
    entries: Sequence[ControlKeys], animation: str, scene_frames: NDArray[np.floating]
) -> tuple[dict[str, tuple[float, float]], tuple[str, ...], dict[str, str]]:
    """Widen the ranges that need it, before anything is keyed; `animation` is as `Destination` has it.

    A range that cuts off what plays below a layer somewhere on `scene_frames` stays as it is, or that would change.

    Returns the new ranges, by name; the names of those that are not saved with the file; and what is to be told of
    those that are cut off all the same.
    """
    raised: dict[str, tuple[float, float]] = {}
    not_saved: list[str] = []
    cut_off: dict[str, str] = {}
    for entry in entries:
        name, kind, channel = entry.control.name, entry.kind, entry.keys.channel
        low, high = _reach(entry, animation)
        lowest, highest = kind.limits
        if high > highest or low < lowest:
            limit = highest if high > highest else lowest
            cut_off[name] = f"goes beyond Blender's limit of {limit:g} and is cut off there"
        if animation == LAYER and _cuts_below(entry, (low, high), scene_frames):
            cut_off[name] = "is cut off at the end of its range, as the animation below the layer is"
        elif (now := kind.widen(channel, low, high)) is not None:
            raised[name] = now
            if not kind.keeps_range(channel):
                not_saved.append(name)
    return raised, tuple(not_saved), cut_off


def _reach(entry: ControlKeys, animation: str) -> tuple[float, float]:
    """Return the least and the highest value that a control is to take: of a layer, with what it is added to."""
    low = high = entry.keys.values
    if animation == LAYER and (below := _below(entry, entry.keys.frames)) is not None:
        low, high = (entry.keys.values - entry.control.rest + bound for bound in below)
    return float(low.min()), float(high.max())


def _cuts_below(entry: ControlKeys, reach: tuple[float, float], scene_frames: NDArray[np.floating]) -> bool:
    """Whether a layer goes beyond an end of a range that what is below it goes beyond as well."""
    range_low, range_high = entry.kind.range_of(entry.keys.channel)
    below = _below(entry, scene_frames)
    if below is None:
        return False
    range_low, range_high = range_low - STILL, range_high + STILL  # what only touches an end is not cut off
    return (reach[1] > range_high and below[1].max() > range_high) or (
        reach[0] < range_low and below[0].min() < range_low
    )


def _below(entry: ControlKeys, frames: NDArray[np.floating]) -> Bounds | None:
    channel = entry.keys.channel
    return bounds_below(channel.id, (channel.path, max(channel.index, 0)), frames)
