# SPDX-License-Identifier: GPL-3.0-or-later
"""Which camera a scene is looked through at which frame: markers of the timeline cut from one to another."""

from __future__ import annotations

import bpy


def camera_at(scene: bpy.types.Scene, frame: int) -> bpy.types.Object | None:
    """Return the camera that a scene is looked through at a frame; before the first cut it is that cut's."""
    cuts = _cuts(scene)
    if not cuts:
        return scene.camera
    return next((marker.camera for marker in reversed(cuts) if marker.frame <= frame), cuts[0].camera)


def cut_within(scene: bpy.types.Scene, first: int, last: int) -> int | None:
    """Return the first frame of a range at which another camera is looked through than at its beginning, or None."""
    camera = camera_at(scene, first)
    between = (marker for marker in _cuts(scene) if first < marker.frame <= last)
    return next((marker.frame for marker in between if marker.camera != camera), None)


def _cuts(scene: bpy.types.Scene) -> list[bpy.types.TimelineMarker]:
    """Return the markers that cut, in time; Blender passes over a camera that renders leave out."""
    binding = [each for each in scene.timeline_markers if each.camera is not None and not each.camera.hide_render]
    return sorted(binding, key=lambda marker: marker.frame)
