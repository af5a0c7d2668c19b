# SPDX-License-Identifier: GPL-3.0-or-later
"""How far what plays below a layer takes a number: what is added to it must still lie in the number's range."""

from __future__ import annotations

from collections.abc import Iterable

import bpy
import numpy as np
from numpy.typing import NDArray

from .keyframes import animated_channel, animation_of
from .nla import Address, Playing, has_tracks, is_muted, playing

Bounds = tuple[NDArray[np.float64], NDArray[np.float64]]
_ADDING = {"ADD", "COMBINE", "SUBTRACT"}


def bounds_below(
    id_block: bpy.types.ID, address: Address, frames: NDArray[np.floating], layer: bpy.types.Action | None = None
) -> Bounds | None:
    """Return between which values a number is at frames [N] by what plays below a layer, or None where nothing does.

    `layer` is None for one that lies on top of everything. Strips that show less than all of themselves (they are
    blended, retimed, or end before a frame) widen the bounds, so that they hold whatever Blender makes of them.
    """
    found: Bounds | None = None
    for take in _below(playing(id_block), layer):
        for curve in take.curves:
            if (curve.data_path, curve.array_index) == address and not is_muted(curve):
                values, blend = _bounds_of(take, curve, frames), _blend_of(take, id_block)
                shown = np.array([take.nested or take.reaches(frame, frame) for frame in frames])
                if found is None and (blend != "REPLACE" or not shown.all()):
                    found = _neutral(id_block, curve, frames)
                mixed = values if found is None else _mixed(found, values, blend)
                below = mixed if found is None else found  # what plays where this doesn't
                found = np.where(shown, mixed[0], below[0]), np.where(shown, mixed[1], below[1])
    return found


def _below(takes: Iterable[Playing], layer: bpy.types.Action | None) -> Iterable[Playing]:
    for take in takes:
        if take.action == layer:
            return
        yield take


def _bounds_of(take: Playing, curve: bpy.types.FCurve, frames: NDArray[np.floating]) -> Bounds:
    if take.plain():
        values = np.array([curve.evaluate(take.own_frame(float(frame))) for frame in frames])
        return values, values
    keys = [curve.evaluate(point.co[0]) for point in curve.keyframe_points] or [0.0]
    return np.full(len(frames), min(keys)), np.full(len(frames), max(keys))


def _blend_of(take: Playing, id_block: bpy.types.ID) -> str:
    """Return how a take is mixed into what is below it; an active action is only where there are tracks."""
    if take.strip is not None:
        return str(take.strip.blend_type)
    return str(animation_of(id_block).action_blend_type) if has_tracks(id_block) else "REPLACE"


def _neutral(id_block: bpy.types.ID, curve: bpy.types.FCurve, frames: NDArray[np.floating]) -> Bounds | None:
    """Return what the NLA mixes its lowest strip into: the value that a number is defined with."""
    channel = animated_channel(id_block, curve)
    if channel is None:
        return None
    values = np.full(len(frames), channel.default)
    return values, values


def _mixed(below: Bounds, values: Bounds, blend: str) -> Bounds:
    """Return the bounds of a take over what is below it, whatever part of it shows."""
    if blend in _ADDING:
        reach = np.maximum(abs(values[0]), abs(values[1]))
        low, high = values if blend == "ADD" else (-reach, reach)
        return below[0] + np.minimum(low, 0), below[1] + np.maximum(high, 0)
    if blend == "MULTIPLY":
        products = [one * other for one in below for other in values]
        return np.minimum.reduce([below[0], *products]), np.maximum.reduce([below[1], *products])
    return np.minimum(below[0], values[0]), np.maximum(below[1], values[1])
