# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an avatar moves in its camera's picture while a clip plays: an image sequence shows it as it was captured."""

from __future__ import annotations

from collections.abc import Generator

import bpy
import numpy as np

from ...backend_bridge.worker_client.messages import Progress
from ..rig.projection import Points, present_projection, usable_camera
from ..rig.surface import LOOKING, read_points
from .bare_scene import bare_scene

SEEN = 0.5  # px; less shows nowhere
LOOKS = 5  # frames that are looked at


def movement(
    context: bpy.types.Context, target: bpy.types.Object, frame: int | None, frames: tuple[float, float]
) -> Generator[Progress, None, str]:
    """Return what to say of an avatar that moves between two frames of the scene, by itself or with the camera.

    A frame is looked at in each step. `frame` is the one at which it is captured, None for the present one. An empty
    string: it stays where it is.
    """
    if frame is None:
        frame = context.scene.frame_current
    still, topology = _places(context, target, frame)
    furthest = 0.0
    for other in sorted({round(each) for each in np.linspace(*frames, LOOKS)} - {frame}):
        yield LOOKING
        places, now = _places(context, target, other)
        if now == topology:
            furthest = max(furthest, float(np.abs(places - still).max(initial=0.0)))
    if furthest < SEEN:
        return ""
    return (
        f"{target.name!r} moves by up to {furthest:.0f} px in the picture between frames {frames[0]:.0f} and "
        f"{frames[1]:.0f}, but the image sequence shows it as it is at frame {frame}; key its controls instead, or let "
        "it and the camera rest."
    )


def _places(context: bpy.types.Context, target: bpy.types.Object, frame: int) -> tuple[Points, tuple[bytes, ...]]:
    with bare_scene(context, frame):
        points, topology = read_points((target,), context.evaluated_depsgraph_get())
        return present_projection(context, usable_camera(context.scene.camera)).project(points)[0], topology
