# SPDX-License-Identifier: GPL-3.0-or-later
"""Making room for a new bake: within its window nothing of an earlier one plays on."""

from __future__ import annotations

from collections.abc import Collection

import bpy
import numpy as np

from .ends import LAST_FRAME, Window
from .keyframes import bare, cut_after, splice
from .nla import Address, Playing, is_muted, playing, plays_again, sharing, single_user, strips_of
from .strength import STILL, drop_idle, make_room, rest_of


def clear(
    id_block: bpy.types.ID, window: Window, kept: Collection[Address] = (), held: Collection[Address] = ()
) -> list[str]:
    """Put what earlier bakes have keyed on an ID to rest within a window; their keys beside it stay.

    `kept` are numbers whose curves in the active action are left alone, as they get new keys themselves; `held`, that
    stay from the window on as new keys leave them: there earlier bakes rest for good. Returns the names of strips that
    were retimed so that this can't be done.
    """
    stuck = []
    for each in playing(id_block):
        if not each.reaches(window.first, LAST_FRAME if held else window.end) or not each.action.is_editable:
            continue
        curves = [
            curve
            for curve in each.curves
            if rest_of(curve) is not None
            and not is_muted(curve)
            and not (each.strip is None and _address(curve) in kept)
        ]
        if curves and not each.plain() and each.strip is not None:
            stuck.append(each.strip.name)
            continue
        own_window = _shifted(window, each)
        moving = [curve for curve in curves if _moves(curve, own_window, _address(curve) in held)]
        if moving and (sharing(each, id_block) or plays_again(each, id_block)):
            places = {_address(curve) for curve in moving}
            moving = [curve for curve in single_user(each, id_block).curves if _address(curve) in places]
        for curve in moving:
            _clear_curve(curve, own_window)
            if _address(curve) in held:
                cut_after(curve, own_window.last)
        if moving and each.strip is not None and not each.nested:
            _stretch(each.strip, own_window.end)
    _drop_empty_tracks(id_block)
    return stuck


def _shifted(window: Window, each: Playing) -> Window:
    return Window(*(each.own_frame(frame) for frame in (window.first, window.last, window.end)))


def _address(curve: bpy.types.FCurve) -> Address:
    return curve.data_path, curve.array_index


def _moves(curve: bpy.types.FCurve, window: Window, for_good: bool) -> bool:
    """Whether a curve of ours leaves its rest within the window, or, `for_good`, after it."""
    rest = rest_of(curve)
    assert rest is not None
    inside = np.array([window.first, *range(int(np.ceil(window.first)), int(window.end) + 1), window.end])
    end = LAST_FRAME if for_good else window.end
    keys = [point.co[1] for point in curve.keyframe_points if window.first <= point.co[0] <= end]
    held = [*(bare(curve, float(frame)) for frame in inside), *keys]
    return max(abs(value - rest) for value in held) >= STILL


def _clear_curve(curve: bpy.types.FCurve, window: Window) -> None:
    """Put a curve of ours to rest within the window."""
    rest = rest_of(curve)
    assert rest is not None
    frames, values = np.array([window.first, window.last]), np.array([rest, rest])
    if window.first == window.last:
        frames, values = frames[:1], values[:1]
    frames, values = window.released(frames, values, lambda frame: bare(curve, frame))
    splice(curve, frames, values)
    make_room(curve, window)
    drop_idle(curve)


def _stretch(strip: bpy.types.NlaStrip, last: float) -> None:
    """Let a strip that holds its last value reach as far as the keys that it got behind its end."""
    if strip.extrapolation != "NOTHING" and last > strip.action_frame_end:
        longer = strip.frame_end + last - strip.action_frame_end
        strip.action_frame_end = last
        strip.frame_end = longer


def _drop_empty_tracks(id_block: bpy.types.ID) -> None:
    """Remove the tracks of earlier layers of which nothing is left."""
    animation = id_block.animation_data
    if animation is None:
        return
    for track, strip in list(strips_of(id_block)):
        if strip.action is None or strip.blend_type != "ADD" or len(track.strips) > 1 or track.mute:
            continue
        curves = Playing(strip.action, getattr(strip, "action_slot", None)).curves
        values = [point.co[1] for curve in curves for point in curve.keyframe_points]
        if curves and strip.action.name.startswith("MagPlus ") and max(map(abs, values), default=0.0) < STILL:
            animation.nla_tracks.remove(track)
