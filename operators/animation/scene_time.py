# SPDX-License-Identifier: GPL-3.0-or-later
"""A clip's time in a scene of Blender's, and what whole frames miss of a short event."""

from __future__ import annotations

import struct
from fractions import Fraction

import bpy
import numpy as np
from numpy.typing import NDArray

from ...backend_bridge.files.frame_rates import STANDARD
from ...backend_bridge.job.scene_time import EVENTS, Placement, SourceTime, place

__all__ = ["EVENTS", "Placement", "SourceTime", "apex_kept", "exact", "place", "remapped_problem", "scene_rate"]

_ROUNDED = 1e-6  # of a rate: by so much single precision, and a video's own times, may be off
LAST_FRAME = 1_048_574  # of a scene; the first one is as far below 0


def scene_rate(scene: bpy.types.Scene) -> Fraction:
    """Return the scene's frames per second as the fraction that was meant: 24 and 1.001 are 24000/1001.

    A standard rate is meant also where Blender has taken the scene's rate from a video with rounded times.
    """
    rate = _meant(scene.render.fps) / _meant(scene.render.fps_base)
    return next((each for each in STANDARD if abs(each - rate) < _ROUNDED * rate), rate)


def remapped_problem(scene: bpy.types.Scene) -> str:
    """Return what to do where the scene plays its animation faster or slower than its frames; else an empty string."""
    old, new = scene.render.frame_map_old, scene.render.frame_map_new
    if old == new:
        return ""
    return (
        f"The scene {scene.name!r} stretches time from {old} to {new}, so keys would play at other frames than they "
        "are on; set both to 100 in Properties > Output > Frame Rate > Time Stretching."
    )


def exact(value: float) -> Fraction:
    """Return the number a person typed: properties keep it in single precision.

    >>> exact(0.5329999923706055)
    Fraction(533, 1000)
    """
    return Fraction(str(np.float32(value)))


def apex_kept(frames: NDArray[np.floating], excursion: NDArray[np.floating]) -> float:
    """Return the share of the highest excursion that whole scene frames show, in [0, 1].

    Args:
        frames: [N] scene frames, increasing, of the samples.
        excursion: [N] distance from rest, zero or more. Between samples it runs straight, as the keys do.

    >>> apex_kept(np.array([0.5, 2.5, 4.5]), np.array([0.0, 1.0, 0.0]))
    0.75
    """
    highest = float(excursion.max(initial=0.0))
    if highest == 0.0:
        return 1.0
    whole = np.arange(np.ceil(frames[0]), np.floor(frames[-1]) + 1)
    return float(np.interp(whole, frames, excursion).max(initial=0.0)) / highest


def _meant(value: float) -> Fraction:
    """Return the simplest decimal-scale fraction that single precision stores as `value`."""
    for limit in (1, 10, 100, 1000, 10_000, 100_000, 1_000_000):
        fraction = Fraction(value).limit_denominator(limit)
        if struct.pack("f", float(fraction)) == struct.pack("f", value):
            return fraction
    return Fraction(value)
