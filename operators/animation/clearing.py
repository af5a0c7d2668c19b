# SPDX-License-Identifier: GPL-3.0-or-later
"""Making room for a new bake: within its window nothing of an earlier one plays on."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import bpy
import numpy as np

from .ends import Window
from .keyframes import bare, cut_after, splice
from .nla import Address, Playing, is_muted, playing, plays_again, sharing, single_user, strips_of
from .scene_time import LAST_FRAME
from .strength import STILL, covers, drop_idle, make_room, rest_of


def clear(
    id_block: bpy.types.ID,
    window: Window,
    kept: Collection[Address] = (),
    own: Mapping[Address, Window] = MappingProxyType({}),
) -> list[str]:
    """Put what earlier bakes have keyed on an ID to rest within a window; their keys beside it stay.

    `kept` are numbers whose curves in the active action are left alone, as they get new keys themselves; `own`, the
    windows of numbers that have another one. Returns what is to be said of strips with which this can't be done.
    """
    stuck = []
    last = max(each.end for each in (window, *own.values()))
    for each in playing(id_block):
        if not each.reaches(window.first, last):
            continue
        curves = [
            curve
            for curve in each.curves
            if rest_of(curve) is not None
            and not is_muted(curve)
            and not (each.strip is None and _address(curve) in kept)
        ]
        if curves and not each.plain() and each.strip is not None:
            stuck.append(
                f"The strip {each.strip.name!r} of an earlier bake plays at another speed and could not be cleared; "
                "mute it in the NLA editor."
            )
            continue
        windows = {_address(curve): _shifted(own.get(_address(curve), window), each) for curve in curves}
        moving = [curve for curve in curves if _moves(curve, windows[_address(curve)])]
        if moving and each.inherited and each.strip is not None:
            if any(_address(curve) not in kept for curve in moving):  # keys in the active action hide it
                stuck.append(
                    f"The strip {each.strip.name!r} of an earlier bake comes from a linked file and could not be "
                    "cleared; mute it in the NLA editor."
                )
            continue
        moving = _by_themselves(each, id_block, moving)
        for curve in moving:
            _clear_curve(curve, windows[_address(curve)])
        if moving and each.strip is not None and not each.nested:
            _stretch(each.strip, max(windows[_address(curve)].last_key for curve in moving))
    _drop_empty_tracks(id_block)
    return stuck


def end_before(id_block: bpy.types.ID, window: Window, ease: float, kept: Collection[Address] = ()) -> None:
    """Let what earlier bakes show of an ID where a new window begins go over the `ease` frames before it.

    What they hold for good ends there, so that it is the same whichever of the two clips was baked first. `kept` is as
    `clear` has it.
    """
    for each in playing(id_block):
        if not each.plain() or each.inherited:
            continue
        own = _shifted(window, each)
        shown = [
            curve
            for curve in each.curves
            if rest_of(curve) is not None and not is_muted(curve) and len(curve.keyframe_points)
            if _holds(curve, own.last) or _shows(curve, own)
            if not (each.strip is None and _address(curve) in kept)
        ]
        for curve in _by_themselves(each, id_block, shown):
            _end_before(curve, own, ease)
        if shown and each.strip is not None and not each.nested:
            _stretch(each.strip, own.last)


def _holds(curve: bpy.types.FCurve, last: float) -> bool:
    """Whether a bake has a curve's last key, which is up to a frame, and stays away from rest after it."""
    frame, value = curve.keyframe_points[-1].co
    held = frame <= last and abs(value - (rest_of(curve) or 0.0)) >= STILL
    return held and covers(curve, frame, last + 1)  # what lies beside a bake is an animator's


def _shows(curve: bpy.types.FCurve, window: Window) -> bool:
    """Whether a bake is in the middle of an expression on a curve where a window begins."""
    rest = rest_of(curve) or 0.0
    just_before = window.before - 0.5  # a bake that begins with the window covers the frame before it, too
    begun = curve.keyframe_points[0].co[0] <= window.before and covers(curve, just_before, window.first)
    return begun and all(abs(bare(curve, frame) - rest) >= STILL for frame in (window.before, window.first))


def _end_before(curve: bpy.types.FCurve, window: Window, ease: float) -> None:
    rest, held = rest_of(curve) or 0.0, _holds(curve, window.last)
    first, last = curve.keyframe_points[0].co[0], curve.keyframe_points[-1].co[0]
    if held and last >= window.first:  # what it does within the window is cleared, or written over
        splice(curve, np.array([window.last]), np.array([rest]))
        cut_after(curve, window.last)  # also the key that keeps what comes after it as it was
    if not _shows(curve, window):
        return
    start = max(last if last < window.first else first, window.first - ease)  # what is held goes after its clip
    fading = Window(start, start, start, window.first)
    frames, shares = fading.eased(1.0, lambda _: 0.0)
    values = [rest + share * (bare(curve, float(frame)) - rest) for frame, share in zip(frames, shares, strict=True)]
    splice(curve, np.append(start, frames), np.append(bare(curve, start), values))
    if held and last < window.first:
        cut_after(curve, window.first)


def _by_themselves(each: Playing, id_block: bpy.types.ID, curves: list[bpy.types.FCurve]) -> list[bpy.types.FCurve]:
    """Return curves of what plays on an ID, those of a copy where it plays elsewhere, too, or is a linked file's."""
    if not curves or (each.action.is_editable and not sharing(each, id_block) and not plays_again(each, id_block)):
        return curves
    places = {_address(curve) for curve in curves}
    return [curve for curve in single_user(each, id_block).curves if _address(curve) in places]


def _shifted(window: Window, each: Playing) -> Window:
    frames = (window.first, window.last, window.held, window.end)
    return Window(*(frame if frame >= LAST_FRAME else each.own_frame(frame) for frame in frames))


def _address(curve: bpy.types.FCurve) -> Address:
    return curve.data_path, curve.array_index


def _moves(curve: bpy.types.FCurve, window: Window) -> bool:
    """Whether a curve of ours leaves its rest within the window."""
    rest = rest_of(curve)
    assert rest is not None
    end = min(window.end, max(window.last, curve.range()[1]))
    inside = np.array([window.first, *range(int(np.ceil(window.first)), int(end) + 1), end])
    keys = [point.co[1] for point in curve.keyframe_points if window.first <= point.co[0] <= window.end]
    shown = [*(bare(curve, float(frame)) for frame in inside), *keys]
    return max(abs(value - rest) for value in shown) >= STILL


def _clear_curve(curve: bpy.types.FCurve, window: Window) -> None:
    """Put a curve of ours to rest within the window; what is left of it then is eased into, if it lasts longer."""
    rest = rest_of(curve)
    assert rest is not None
    frames = np.unique([window.first, window.settled])
    ends = abs(bare(curve, window.end) - rest) < STILL
    frames, values = window.released(
        frames, np.full(len(frames), rest), lambda frame: rest if ends else bare(curve, frame)
    )
    splice(curve, frames, values)
    if window.endless:
        cut_after(curve, window.last)
    make_room(curve, replace(window, end=window.held))  # what it is eased into is the earlier bake's
    drop_idle(curve)


@dataclass(frozen=True)
class Next:
    """The bake that comes next: the last frame at which it is at rest yet, and whether it has begun before.

    covered: whether what is baked lies over its quiet beginning, so that there may be no time to go back before it.
    """

    at_rest: float
    covered: bool


def next_after(id_blocks: Iterable[bpy.types.ID], frame: float) -> Next | None:
    """Return the next bake that moves anything after a frame; None where there is no other.

    What plays at that frame and goes on has begun earlier; it counts from where it has come to rest.
    """
    found = [
        following
        for id_block in id_blocks
        for each in playing(id_block)
        for curve in each.curves
        if rest_of(curve) is not None and not is_muted(curve)
        if (following := _next(curve, each, frame)) is not None
    ]
    first = min((each.at_rest for each in found), default=None)
    return None if first is None else Next(first, any(each.covered for each in found if each.at_rest == first))


def _next(curve: bpy.types.FCurve, each: Playing, frame: float) -> Next | None:
    rest = rest_of(curve)
    assert rest is not None
    starts = -math.inf if each.strip is None else each.strip.frame_start
    if not each.plain():
        return Next(starts - 1, False) if starts > frame else None
    if starts > frame:
        at_rest = starts - 1
    else:
        at_rest = frame if abs(bare(curve, each.own_frame(frame)) - rest) < STILL else math.inf
    for point in curve.keyframe_points:
        own, value = point.co
        if (key := each.scene_frame(own)) <= frame or not each.reaches(key, key):
            continue
        if abs(value - rest) < STILL:
            at_rest = key
        elif at_rest < key:
            return Next(at_rest, _is_one(curve, each.own_frame(frame), own))
    return None


def _is_one(curve: bpy.types.FCurve, frame: float, key: float) -> bool:
    """Whether a frame and a later key of a curve of ours are of the same bake."""
    beyond = float(np.nextafter(np.float32(key), np.float32(np.inf)))  # where one ends, another may begin
    return curve.keyframe_points[0].co[0] < frame and covers(curve, frame, beyond)


def _stretch(strip: bpy.types.NlaStrip, last: float) -> None:
    """Let a strip that holds its last value reach as far as the keys that it got behind its end."""
    if strip.extrapolation != "NOTHING" and last > strip.action_frame_end:
        longer = strip.frame_end + last - strip.action_frame_end
        strip.action_frame_end = last
        strip.frame_end = longer


def _drop_empty_tracks(id_block: bpy.types.ID) -> None:
    """Remove the tracks of earlier layers of which nothing is left, with their actions unless somebody uses them."""
    animation = id_block.animation_data
    if animation is None:
        return
    for track, strip in list(strips_of(id_block)):
        if track.is_override_data or track.mute or len(track.strips) > 1:
            continue
        if strip.action is None or strip.blend_type != "ADD":
            continue
        curves = Playing(strip.action, getattr(strip, "action_slot", None)).curves
        values = [point.co[1] for curve in curves for point in curve.keyframe_points]
        if curves and strip.action.name.startswith("MagPlus ") and max(map(abs, values), default=0.0) < STILL:
            action = strip.action
            animation.nla_tracks.remove(track)
            if not action.users and action.is_editable:
                bpy.data.actions.remove(action)
