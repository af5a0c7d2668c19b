# SPDX-License-Identifier: GPL-3.0-or-later
"""An ST-map moves a picture in Blender's compositor, and from 5.3 in its sequencer, by as much as it says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest
from bl_ext.user_default.magplus.operators import st_map
from bl_ext.user_default.magplus.operators.frames.clip import Clip
from numpy.typing import NDArray

from tests.blender.head import add_camera, quick_render

WIDTH, HEIGHT = 64, 48


def places(times: int = 1) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the x and y of each pixel of a picture that is rendered so many times as large."""
    y, x = np.mgrid[0 : HEIGHT * times, 0 : WIDTH * times].astype(float)
    return (x + 0.5) / times - 0.5, (y + 0.5) / times - 0.5


def come(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how far the content of places has come, to the right and down."""
    right = 1.5 * np.exp(-((x - 30) ** 2 + (y - 20) ** 2) / 80)
    return right, -0.6 * right


X, Y = places()
RIGHT, DOWN = come(X, Y)
# Blender 4 has no cubic interpolation here, and 4.5 filters most softly.
TOLERANCE = 0.006 if bpy.app.version >= (5, 0, 0) else 0.03 if bpy.app.version >= (4, 5, 0) else 0.02


def pattern(strength: float, times: int = 1) -> NDArray[np.float64]:
    """A wave that is moved by exactly that much, [H, W, 2]."""
    x, y = places(times)
    right, down = come(x, y)
    return np.stack(
        [0.5 + 0.4 * np.sin((x - strength * right) / 5), 0.5 + 0.4 * np.sin((y - strength * down) / 4)], axis=-1
    )


def write_exr(path: Path, red_green: NDArray[np.float64]) -> Path:
    height, width = red_green.shape[:2]
    pixels = np.ones((height, width, 4), np.float32)
    pixels[..., :2] = red_green
    image = bpy.data.images.new("x", width, height, alpha=True, float_buffer=True)
    image.colorspace_settings.name = "Non-Color"
    image.pixels.foreach_set(pixels[::-1].ravel())
    image.filepath_raw, image.file_format = str(path), "OPEN_EXR"
    image.save()
    bpy.data.images.remove(image)
    return path


@pytest.fixture
def maps(tmp_path: Path) -> Clip:
    """ST-maps of frames 7 and 8; nothing moves in the second."""
    moved = np.stack([(X - RIGHT + 0.5) / WIDTH, 1 - (Y - DOWN + 0.5) / HEIGHT], axis=-1)
    still = np.stack([(X + 0.5) / WIDTH, 1 - (Y + 0.5) / HEIGHT], axis=-1)
    files = [write_exr(tmp_path / f"{7 + n:06d}.exr", field) for n, field in enumerate((moved, still))]
    return Clip(files, (WIDTH, HEIGHT), 7)


@pytest.fixture
def rendered(tmp_path: Path) -> Callable[[int], NDArray[np.float32]]:
    """Render a frame without a view transform and return its red and green."""
    scene = quick_render(WIDTH, HEIGHT)
    scene.view_settings.view_transform = "Raw"
    scene.camera = scene.camera or add_camera()
    output = scene.render.image_settings
    output.file_format, output.color_depth = "OPEN_EXR", "32"

    def render(frame: int) -> NDArray[np.float32]:
        scene.frame_set(frame)
        scene.render.filepath = str(tmp_path / f"out_{frame}.exr")
        bpy.ops.render.render(write_still=True)
        image = bpy.data.images.load(scene.render.filepath, check_existing=False)
        width, height = image.size
        pixels = np.empty(width * height * 4, np.float32)
        image.pixels.foreach_get(pixels)
        bpy.data.images.remove(image)
        return pixels.reshape(height, width, 4)[::-1, :, :2]

    return render


def off(found: NDArray[np.float32], strength: float, times: int = 1) -> float:
    inner = slice(4 * times, -4 * times)
    return float(np.abs(found - pattern(strength, times))[inner, inner].max())


def through(group: bpy.types.Node, plate: Path) -> None:
    """Let a picture go through the group."""
    tree = group.id_data
    node = tree.nodes.new("CompositorNodeImage")
    node.image = bpy.data.images.load(str(plate))
    node.image.colorspace_settings.name = "Non-Color"
    tree.links.new(node.outputs["Image"], group.inputs["Image"])


def test_strength_says_how_far_the_compositor_moves_a_picture(
    maps: Clip, rendered: Callable[[int], NDArray[np.float32]], tmp_path: Path
) -> None:
    scene = bpy.context.scene
    group = st_map.in_the_compositor(scene, maps)
    through(group, write_exr(tmp_path / "plate.exr", pattern(0.0)))
    assert off(pattern(0.0), 1.0) > 0.08, "the test sees when nothing moves"
    for strength in (1.0, 0.5, 0.0):
        group.inputs["Strength"].default_value = strength
        assert off(rendered(7), strength) < TOLERANCE
    group.inputs["Strength"].default_value = 1.0
    assert off(rendered(8), 0.0) < TOLERANCE, "each frame has its own map"


def test_a_map_of_another_percentage_moves_a_picture_likewise(
    maps: Clip, rendered: Callable[[int], NDArray[np.float32]], tmp_path: Path
) -> None:
    scene = bpy.context.scene
    through(st_map.in_the_compositor(scene, maps), write_exr(tmp_path / "plate.exr", pattern(0.0, 2)))
    scene.render.resolution_percentage = 200
    assert off(rendered(7), 1.0, 2) < 2 * TOLERANCE
    assert off(rendered(8), 0.0, 2) < 2 * TOLERANCE


@pytest.mark.skipif(not st_map.KNOWS_PLACES, reason="from 4.5 on Blender knows where a part of a picture lies")
def test_a_render_that_is_cropped_to_a_region_is_moved_by_that_part_of_the_map(
    maps: Clip, rendered: Callable[[int], NDArray[np.float32]], tmp_path: Path
) -> None:
    """The region, whose pixels Blender cuts off towards 0, may be chosen after the group was made."""
    scene = bpy.context.scene
    group = st_map.in_the_compositor(scene, maps)
    part = (0.123, 0.871), (0.249, 0.956)
    (scene.render.border_min_x, scene.render.border_max_x), (scene.render.border_min_y, scene.render.border_max_y) = (
        part
    )
    scene.render.use_border = scene.render.use_crop_to_border = True
    plates = tmp_path / "plate_1.exr", tmp_path / "plate_2.exr"
    for times, plate in enumerate(plates, 1):
        sides = WIDTH * times, HEIGHT * times
        (left, right), (low, high) = (
            [int(share * side) for share in each] for each, side in zip(part, sides, strict=True)
        )
        where = slice(sides[1] - high, sides[1] - low), slice(left, right)
        through(group, write_exr(plate, pattern(0.0, times)[where]))
        scene.render.resolution_percentage = 100 * times
        for frame, strength in ((7, 1.0), (8, 0.0)):
            found = rendered(frame)
            assert found.shape[:2] == (high - low, right - left)
            inner = slice(4 * times, -4 * times)
            assert np.abs(found - pattern(strength, times)[where])[inner, inner].max() < times * TOLERANCE


@pytest.mark.skipif(st_map.KNOWS_PLACES, reason="from 4.5 on Blender knows where a part of a picture lies")
def test_a_render_that_is_cropped_is_refused(maps: Clip) -> None:
    scene = bpy.context.scene
    scene.render.use_border = scene.render.use_crop_to_border = True
    with pytest.raises(Exception, match="switch off Crop to Render Region"):
        st_map.in_the_compositor(scene, maps)


def test_what_the_compositor_did_before_goes_through_the_group(maps: Clip) -> None:
    scene = bpy.context.scene
    group = st_map.in_the_compositor(scene, maps)
    again = st_map.in_the_compositor(scene, maps)
    assert again.inputs["Image"].links[0].from_node == group
    source = group.inputs["Image"].links[0].from_node
    while source.bl_idname == "NodeReroute":  # 4.5's new compositor has one
        source = source.inputs[0].links[0].from_node
    assert source.bl_idname == "CompositorNodeRLayers"


@pytest.mark.skipif(not st_map.HAS_STRIPS, reason="strips take node groups from 5.3 on")
def test_a_strip_is_moved_by_the_same_group(
    maps: Clip, rendered: Callable[[int], NDArray[np.float32]], tmp_path: Path
) -> None:
    scene = bpy.context.scene
    editor = scene.sequence_editor_create()
    plates = [write_exr(tmp_path / f"plate_{n}.exr", pattern(0.0)) for n in (1, 2)]
    strip = editor.strips.new_image("plate", str(plates[0]), channel=1, frame_start=7, fit_method="ORIGINAL")
    strip.elements.append(plates[1].name)
    strip.colorspace_settings.name = "Non-Color"
    st_map.on_a_strip(scene, strip, maps)
    assert off(rendered(7), 1.0) < TOLERANCE
    assert off(rendered(8), 0.0) < TOLERANCE
