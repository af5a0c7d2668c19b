# SPDX-License-Identifier: GPL-3.0-or-later
"""Actions that earlier runs of a clip have left: one that nobody has changed or uses is replaced by the next run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import bpy
import numpy as np

from .event_markers import VideoPart
from .keyframes import all_curves
from .scene_time import SourceTime

_VIDEO, _PART, _CONTENT = "magplus_video", "magplus_part", "magplus_content"  # custom properties of actions


@dataclass(frozen=True)
class ClipOfRun:
    """Which clip an action is of: the video (of a recording its name), and from when to when in it, in seconds."""

    video: str
    start: float
    end: float

    @classmethod
    def of(cls, name: str, part: VideoPart, source: SourceTime) -> ClipOfRun:
        """Return the clip of a performance; `name` stands for a video that isn't known."""
        return cls(part.path or name, float(part.start), float(part.start + source.end))

    def mark(self, action: bpy.types.Action) -> None:
        """Let an action that was made for this clip say so, and what is in it now."""
        action[_VIDEO], action[_PART] = self.video, (self.start, self.end)
        action[_CONTENT] = _content(action)

    def is_replaced(self, action: bpy.types.Action) -> bool:
        """Whether a new action of this clip replaces an active one: an earlier run's, of the same part of the video.

        Not one that somebody has renamed, changed, keeps or uses elsewhere.
        """
        kept = action.use_fake_user or action.users > 1 or action.asset_data is not None or not action.is_editable
        if kept or action.get(_VIDEO) != self.video or action.get(_CONTENT) != _content(action):
            return False
        start, end = action[_PART]
        return bool(start < self.end and self.start < end)


def _content(action: bpy.types.Action) -> str:
    """Return a hash of what a person may have changed of an action: its name, its curves and their strengths."""
    digest = hashlib.sha256(action.name.encode())
    for curve in all_curves(action):
        points = curve.keyframe_points
        for name, width in (("co", 2), ("interpolation", 1)):
            values = np.empty(len(points) * width, np.float32 if width == 2 else np.int32)
            points.foreach_get(name, values)
            digest.update(values.tobytes())
        modifiers = [
            (each.type, each.mute, *(getattr(each, name, None) for name in ("default_min", "default_max")))
            for each in curve.modifiers
        ]
        own = (curve.data_path, curve.array_index, curve.mute, curve.lock, curve.extrapolation, modifiers)
        digest.update(repr(own).encode())
    return digest.hexdigest()
