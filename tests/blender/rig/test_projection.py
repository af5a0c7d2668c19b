# SPDX-License-Identifier: GPL-3.0-or-later
"""The projection says where the renderer really draws things."""

from __future__ import annotations

import math

import bpy
import numpy as np
import pytest
from bl_ext.user_default.magplus.backend_bridge.files.errors import InputError
from bl_ext.user_default.magplus.operators.rig.projection import Projection, picture_size, pixel_aspect

from tests.blender.head import add_camera, glow, quick_render, read_png

POINTS = ((0.0, 0.0, 0.0), (0.8, 0.4, 0.25), (-0.9, -0.6, -0.2))

CAMERAS = {
    "plain": {},
    "portrait format": {"size": (64, 96)},
    "half resolution": {"percentage": 50, "size": (192, 128)},
    "pixel aspect": {"aspect": (2.0, 1.0)},
    "vertical sensor": {"sensor_fit": "VERTICAL", "sensor_height": 18.0},
    "shifted lens": {"shift_x": 0.1, "shift_y": -0.05},
    "orthographic": {"type": "ORTHO", "ortho_scale": 4.5},
    "orthographic, shifted, portrait": {"type": "ORTHO", "ortho_scale": 5.0, "shift_y": 0.1, "size": (64, 96)},
}


@pytest.mark.parametrize("setup", CAMERAS.values(), ids=CAMERAS.keys())
def test_a_point_is_drawn_where_the_projection_says(setup: dict, tmp_path) -> None:
    camera = add_camera()
    camera.rotation_euler = (math.radians(88), math.radians(4), math.radians(2))
    camera.scale = (1.7, 1.7, 1.7)  # has no effect on a picture
    scene = quick_render(*setup.get("size", (96, 64)))
    scene.cycles.samples = 64
    scene.render.resolution_percentage = setup.get("percentage", 100)
    scene.render.pixel_aspect_x, scene.render.pixel_aspect_y = setup.get("aspect", (1.0, 1.0))
    for name, value in setup.items():
        if hasattr(camera.data, name):
            setattr(camera.data, name, value)
    scene.render.film_transparent = True
    scene.render.image_settings.color_mode = "RGBA"
    bpy.ops.mesh.primitive_uv_sphere_add(radius=0.12)
    dot = bpy.context.object
    glow(dot)
    for number, point in enumerate(POINTS):
        dot.location = point
        bpy.context.view_layer.update()
        scene.render.filepath = str(tmp_path / f"{number}.png")
        bpy.ops.render.render(write_still=True)
        projection = Projection.of_camera(
            camera, bpy.context.evaluated_depsgraph_get(), picture_size(scene), pixel_aspect(scene)
        )
        (expected,), _ = projection.project(np.array([point]))
        alpha = read_png(scene.render.filepath)[..., 3]
        assert alpha.shape == picture_size(scene)[::-1]
        rows, columns = np.indices(alpha.shape)
        drawn = np.array([(alpha * columns).sum(), (alpha * rows).sum()]) / alpha.sum()
        assert drawn == pytest.approx(expected, abs=0.08)


def test_the_middle_of_an_even_picture_lies_between_pixels() -> None:
    camera = add_camera()
    projection = Projection.of_camera(camera, bpy.context.evaluated_depsgraph_get(), (96, 64))
    (position,), (depth,) = projection.project(np.zeros((1, 3)))
    assert position == pytest.approx((47.5, 31.5))
    assert depth == pytest.approx(6.0)


def test_only_what_is_in_the_picture_and_between_the_clip_distances_is_seen() -> None:
    camera = add_camera()
    camera.data.clip_start, camera.data.clip_end = 1.0, 10.0
    projection = Projection.of_camera(camera, bpy.context.evaluated_depsgraph_get(), (96, 64))
    points = np.array([(0, 0, 0), (0, -5.5, 0), (0, 5, 0), (5, 0, 0), (0, -12, 0)], float)
    assert projection.sees(*projection.project(points)).tolist() == [True, False, False, False, False]


@pytest.mark.parametrize("kind", ["PERSP", "ORTHO"])
def test_every_point_of_a_view_ray_is_drawn_at_the_same_place(kind: str) -> None:
    camera = add_camera()
    camera.data.type = kind
    camera.rotation_euler = (1.5, 0.1, 0.2)
    bpy.context.view_layer.update()
    projection = Projection.of_camera(camera, bpy.context.evaluated_depsgraph_get(), (96, 64))
    points = np.array(POINTS)
    halfway = points + 0.5 * (projection.eye(points) - points)
    assert projection.project(halfway)[0] == pytest.approx(projection.project(points)[0], abs=1e-4)


def test_a_panoramic_camera_is_refused() -> None:
    camera = add_camera()
    camera.data.type = "PANO"
    with pytest.raises(InputError, match="not perspective or orthographic"):
        Projection.of_camera(camera, bpy.context.evaluated_depsgraph_get(), (96, 64))
