# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a camera puts the points of the world in its picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import bpy
import numpy as np
from numpy.typing import NDArray

from ...backend_bridge.files.errors import InputError
from ..blender.data import camera_of

Points: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Projection:
    """A perspective or orthographic camera at one moment, with the size of its picture.

    to_camera: [4, 4] float64, world to camera space (the camera looks along its -Z axis).
    to_clip: [4, 4] float64, camera to clip space; sensor fit, shift and pixel aspect are in it.
    size: (width, height) px. clip: nearest and farthest distance that the camera sees.
    """

    to_camera: NDArray[np.float64]
    to_clip: NDArray[np.float64]
    size: tuple[int, int]
    clip: tuple[float, float]
    perspective: bool

    @classmethod
    def of_camera(
        cls,
        camera: bpy.types.Object,
        depsgraph: bpy.types.Depsgraph,
        size: tuple[int, int],
        pixel_aspect: tuple[float, float] = (1.0, 1.0),
    ) -> Projection:
        """Read a camera. Raises `InputError` for what is no camera and for one that draws no straight lines."""
        usable_camera(camera)
        evaluated = camera.evaluated_get(depsgraph)
        lens = camera_of(evaluated)
        to_clip = camera.calc_matrix_camera(
            depsgraph, x=size[0], y=size[1], scale_x=pixel_aspect[0], scale_y=pixel_aspect[1]
        )
        return cls(
            # Blender's renderers drop the scale of the camera object; so do we.
            to_camera=np.array(evaluated.matrix_world.normalized().inverted(), np.float64),
            to_clip=np.array(to_clip, np.float64),
            size=size,
            clip=(lens.clip_start, lens.clip_end),
            perspective=lens.type == "PERSP",
        )

    def project(self, points: Points) -> tuple[Points, Points]:
        """Return where world points [V, 3] are in the picture, [V, 2] px, and how far from the camera plane, [V].

        x points right, y down, pixel centres are at integers: the middle of the top left pixel is (0, 0). Points beside
        or behind the camera get coordinates too; see `sees`.
        """
        seen = points @ self.to_camera[:3, :3].T + self.to_camera[:3, 3]
        clip = seen @ self.to_clip[:, :3].T + self.to_clip[:, 3]
        with np.errstate(divide="ignore", invalid="ignore"):
            ndc = clip[:, :2] / clip[:, 3:]
        width, height = self.size
        positions = np.stack(((ndc[:, 0] + 1) / 2 * width, (1 - ndc[:, 1]) / 2 * height), axis=1) - 0.5
        return positions, -seen[:, 2]

    def sees(self, positions: Points, depth: Points) -> NDArray[np.bool_]:
        """Return which projected points lie inside the picture and between the clip distances, [V]."""
        near, far = self.clip
        edge = np.asarray(self.size) - 0.5
        inside = ((positions >= -0.5) & (positions <= edge)).all(axis=1)
        return inside & (depth >= near) & (depth <= far)

    def ray(self, position: tuple[float, float]) -> tuple[Points, Points]:
        """Return where the view ray of a place in the picture, in px, starts in the world, and its direction."""
        width, height = self.size
        ndc = np.array([2 * (position[0] + 0.5) / width - 1, 1 - 2 * (position[1] + 0.5) / height])
        ends = np.array([[*ndc, -1.0, 1.0], [*ndc, 1.0, 1.0]]) @ np.linalg.inv(self.to_clip @ self.to_camera).T
        near, far = ends[:, :3] / ends[:, 3:]
        return near, (far - near) / np.linalg.norm(far - near)

    def eye(self, points: Points) -> Points:
        """Return where the ray from each world point [V, 3] to the camera ends: its centre, or its plane."""
        from_camera = np.linalg.inv(self.to_camera)
        if self.perspective:
            return np.broadcast_to(from_camera[:3, 3], points.shape)
        _, depth = self.project(points)
        return points + depth[:, None] * from_camera[:3, 2]


def present_projection(
    context: bpy.types.Context, camera: bpy.types.Object, size: tuple[int, int] | None = None
) -> Projection:
    """Return how a camera draws the scene now, on a picture of (width, height) px, by default of its render size."""
    scene = context.scene
    depsgraph = context.evaluated_depsgraph_get()
    return Projection.of_camera(camera, depsgraph, size or picture_size(scene), pixel_aspect(scene))


def usable_camera(camera: bpy.types.Object | None) -> bpy.types.Object:
    """Return the camera. Raises `InputError` when no picture can be taken with it; see `camera_problem`."""
    problem = camera_problem(camera)
    if problem or camera is None:
        raise InputError(problem)
    return camera


def camera_problem(camera: bpy.types.Object | None) -> str:
    """Return why no picture can be taken with this camera, as a sentence that says what to do, or an empty string."""
    if camera is None:
        return "The scene has no camera; add one that sees the avatar's face."
    if camera.type != "CAMERA":
        return f"{camera.name!r} is used as the camera but is no camera object; choose a real one."
    if camera_of(camera).type not in {"PERSP", "ORTHO"}:
        return f"The camera {camera.name!r} is not perspective or orthographic; change its lens type."
    return ""


def picture_size(scene: bpy.types.Scene) -> tuple[int, int]:
    """Return the size in px that the scene renders at, resolution percentage included."""
    render = scene.render
    share = render.resolution_percentage
    return max(render.resolution_x * share // 100, 1), max(render.resolution_y * share // 100, 1)


def pixel_aspect(scene: bpy.types.Scene) -> tuple[float, float]:
    """Return the scene's pixel aspect, (x, y)."""
    return scene.render.pixel_aspect_x, scene.render.pixel_aspect_y
