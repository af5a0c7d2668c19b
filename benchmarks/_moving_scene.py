# SPDX-License-Identifier: GPL-3.0-or-later
"""An animated shot with exact truth (Python with bpy), for `bench moving` and the test of moving shots.

The demo's character turns its head by 40 degrees and talks while the camera comes nearer and an occluder passes; on top
of that, in the truth, is a micro-expression in the same keys. The driver is the character itself, looking straight on.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from pathlib import Path

import bpy
import numpy as np
from bpy_extras.object_utils import world_to_camera_view

NEUTRAL = 200  # the frame of the scene that looks into the camera, mouth closed
TURN, DOLLY = 40.0, 0.25  # degrees; share of the camera's distance
EXPRESSIONS: Mapping[str, Mapping[str, float]] = {
    "AU4": {"browDownLeft": 0.5, "browDownRight": 0.5},
    "AU1+2": {"browInnerUp": 0.4, "browOuterUpLeft": 0.35, "browOuterUpRight": 0.35},
    "AU12": {"mouthSmileLeft": 0.22, "mouthSmileRight": 0.22, "cheekSquintLeft": 0.2, "cheekSquintRight": 0.2},
    "AU15": {"mouthFrownLeft": 0.3, "mouthFrownRight": 0.3},
    "AU9": {"noseSneerLeft": 0.3, "noseSneerRight": 0.3},
}
TALK = {"jawOpen": (0.16, 5.0), "mouthFunnel": (0.2, 7.0), "mouthLowerDownLeft": (0.15, 6.0), "browInnerUp": (0.1, 11.0)}


def main() -> None:
    """Make the driver's frames, the shot with and without the expression, the truth, and the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="the demo's character")
    parser.add_argument("out", type=Path)
    parser.add_argument("--expression", choices=EXPRESSIONS, default="AU4")
    parser.add_argument("--frames", type=int, default=13)
    parser.add_argument("--size", type=int, default=360)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--occluder", action="store_true", help="let something pass before the face")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    bpy.ops.wm.open_mainfile(filepath=str(options.file))
    scene, head = bpy.context.scene, bpy.data.objects["Head"]
    for each in [each for each in bpy.data.objects if each.type == "CURVES" or each.name == "Sweater"]:
        bpy.data.objects.remove(each)
    scene.render.resolution_x = scene.render.resolution_y = options.size
    scene.render.fps, scene.render.film_transparent = 24, True
    scene.cycles.samples, scene.cycles.use_denoising, scene.cycles.use_animated_seed = options.samples, False, False
    pulse = [math.sin(math.pi * n / (options.frames - 1)) ** 2 for n in range(options.frames)]
    micro = EXPRESSIONS[options.expression]

    key(head, scene, {name: dict(enumerate((v * p for p in pulse), 1)) for name, v in micro.items()})
    render(scene, range(1, options.frames + 1), options.out / "driver")
    clear(head)

    talking = {name: {n + 1: v * abs(math.sin(n / t * 2)) for n in range(options.frames)} for name, (v, t) in TALK.items()}
    for curve in talking.values():
        curve[NEUTRAL] = 0.0
    move(scene, head, options.frames, options.occluder)
    key(head, scene, talking)
    plain = positions(scene, head, options.frames)
    render(scene, range(1, options.frames + 1), options.out / "plain")
    bpy.ops.wm.save_as_mainfile(filepath=str(options.out / "shot.blend"), compress=True)
    both = {
        name: {n + 1: talking.get(name, {}).get(n + 1, 0.0) + micro.get(name, 0.0) * pulse[n] for n in range(options.frames)}
        for name in {*talking, *micro}
    }
    clear(head)
    key(head, scene, both)
    moved = positions(scene, head, options.frames)
    render(scene, range(1, options.frames + 1), options.out / "truth")
    np.savez(options.out / "truth.npz", plain=plain, moved=moved)
    (options.out / "shot.json").write_text(json.dumps({"frames": options.frames, "neutral": NEUTRAL}))


def move(scene: bpy.types.Scene, head: bpy.types.Object, count: int, occluder: bool) -> None:
    """Animate the head's turn, the camera's way and the occluder's."""
    camera = scene.camera
    assert camera is not None
    if bpy.app.version >= (5, 0) or True:
        bpy.context.preferences.edit.keyframe_new_interpolation_type = "LINEAR"
    start = camera.location.copy()
    for frame, turn, near in ((1, -0.5, 0.0), (count, 0.5, DOLLY), (NEUTRAL, 0.0, 0.0)):
        head.rotation_euler.z = math.radians(TURN) * turn
        head.keyframe_insert("rotation_euler", frame=frame)
        camera.location = start * (1 - near)
        camera.keyframe_insert("location", frame=frame)
    if occluder:
        bpy.ops.mesh.primitive_cylinder_add(radius=0.012, depth=0.5, location=(0, -0.25, 0))
        bar = bpy.context.object
        bar.name = "Bar"
        for frame, x in ((1, -0.12), (count, 0.12), (NEUTRAL, 2.0)):
            bar.location.x = x
            bar.keyframe_insert("location", frame=frame)


def key(head: bpy.types.Object, scene: bpy.types.Scene, curves: Mapping[str, Mapping[int, float]]) -> None:
    """Key shape keys."""
    for name, values in curves.items():
        block = head.data.shape_keys.key_blocks[name]
        for frame, value in values.items():
            block.value = value
            block.keyframe_insert("value", frame=frame)


def clear(head: bpy.types.Object) -> None:
    """Take all keys off the face."""
    head.data.shape_keys.animation_data_clear()
    for block in head.data.shape_keys.key_blocks:
        block.value = 0.0


def render(scene: bpy.types.Scene, frames: range, folder: Path) -> None:
    """Render frames as PNG."""
    scene.render.image_settings.file_format, scene.render.image_settings.color_mode = "PNG", "RGBA"
    scene.render.image_settings.color_depth = "8"
    for frame in frames:
        scene.frame_set(frame)
        scene.render.filepath = str(folder / f"{frame:04d}.png")
        bpy.ops.render.render(write_still=True)


def positions(scene: bpy.types.Scene, head: bpy.types.Object, count: int) -> np.ndarray:
    """Return where each vertex of the evaluated head is in each frame's picture, [F, V, 3]: px, and depth."""
    found = []
    width, height = scene.render.resolution_x, scene.render.resolution_y
    for frame in range(1, count + 1):
        scene.frame_set(frame)
        evaluated = head.evaluated_get(bpy.context.evaluated_depsgraph_get())
        mesh = evaluated.to_mesh()
        matrix = evaluated.matrix_world
        seen = [world_to_camera_view(scene, scene.camera, matrix @ vertex.co) for vertex in mesh.vertices]
        found.append([(v.x * width - 0.5, (1 - v.y) * height - 0.5, v.z) for v in seen])
        evaluated.to_mesh_clear()
    return np.array(found)


if __name__ == "__main__":
    main()
