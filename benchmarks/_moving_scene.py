# SPDX-License-Identifier: GPL-3.0-or-later
"""An animated shot with exact truth (Python with bpy), for `bench moving` and the test of moving shots.

The demo's character turns its head by 40 degrees and talks while the camera comes nearer and an occluder passes; on top
of that, in the truth, is a micro-expression in the same keys. The driver is the character itself, looking straight on.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import bpy
import numpy as np
from mathutils import Vector

NEUTRAL = 200  # the frame of the scene that looks into the camera, mouth closed
TURN, DOLLY = 40.0, 0.25  # degrees; share of the camera's distance
EVERY = 3  # of the evaluated vertices one is looked at
EXPRESSIONS: Mapping[str, Mapping[str, float]] = {
    "AU4": {"browDownLeft": 0.5, "browDownRight": 0.5},
    "AU1+2": {"browInnerUp": 0.4, "browOuterUpLeft": 0.35, "browOuterUpRight": 0.35},
    "AU12": {"mouthSmileLeft": 0.22, "mouthSmileRight": 0.22, "cheekSquintLeft": 0.2, "cheekSquintRight": 0.2},
    "AU15": {"mouthFrownLeft": 0.3, "mouthFrownRight": 0.3},
    "AU9": {"noseSneerLeft": 0.3, "noseSneerRight": 0.3},
}
TALK = {
    "jawOpen": (0.16, 5.0),
    "mouthFunnel": (0.2, 7.0),
    "mouthLowerDownLeft": (0.15, 6.0),
    "browInnerUp": (0.1, 11.0),
}


def main() -> None:
    """Make the driver's frames, the shot with and without the expression, the truth, and the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="the demo's character")
    parser.add_argument("out", type=Path)
    parser.add_argument("--expression", choices=EXPRESSIONS, default="AU4")
    parser.add_argument("--frames", type=int, default=13)
    parser.add_argument("--size", type=int, default=360)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--driver-samples", type=int, default=64, help="of a pixel of the driver; see `film`")
    parser.add_argument("--no-pictures", action="store_true", help="make the file and the truth alone")
    parser.add_argument("--occluder", action="store_true", help="let something pass before the face")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    bpy.ops.wm.open_mainfile(filepath=str(options.file))
    scene, head = bpy.context.scene, bpy.data.objects["Head"]
    light_plainly(scene)
    scene.render.resolution_x = scene.render.resolution_y = options.size
    scene.render.fps, scene.render.film_transparent = 24, True
    scene.cycles.samples, scene.cycles.use_denoising, scene.cycles.max_bounces = options.samples, False, 0
    pulse = [math.sin(math.pi * n / (options.frames - 1)) ** 2 for n in range(options.frames)]
    micro = EXPRESSIONS[options.expression]

    shown = () if options.no_pictures else range(1, options.frames + 1)
    key(head, {name: dict(enumerate((v * p for p in pulse), 1)) for name, v in micro.items()})
    film(scene, shown, options.out / "driver", options.driver_samples)
    clear(head)

    numbers = range(1, options.frames + 1)
    talking = {
        name: {n: value * abs(math.sin(2 * (n - 1) / slow)) for n in numbers} | {NEUTRAL: 0.0}
        for name, (value, slow) in TALK.items()
    }
    move(scene, head, options.frames, options.occluder)
    key(head, talking)
    plain = positions(scene, head, [*numbers, NEUTRAL])
    render(scene, shown, options.out / "plain")
    bpy.ops.wm.save_as_mainfile(filepath=str(options.out / "shot.blend"), compress=True)
    height = dict(zip(numbers, pulse, strict=True)) | {NEUTRAL: 1.0}
    both = {
        name: {n: talking.get(name, {}).get(n, 0.0) + micro.get(name, 0.0) * height[n] for n in height}
        for name in {*talking, *micro}
    }
    clear(head)
    key(head, both)
    moved = positions(scene, head, [*numbers, NEUTRAL])
    render(scene, shown, options.out / "truth")
    seen = (plain[..., 3] > 0) & (moved[..., 3] > 0)
    np.savez(options.out / "truth.npz", plain=plain[..., :3], moved=moved[..., :3], seen=seen, pulse=pulse)
    (options.out / "shot.json").write_text(json.dumps({"frames": options.frames, "neutral": NEUTRAL}))


def light_plainly(scene: bpy.types.Scene) -> None:
    """Leave nothing in the file whose noise would stay where it is while the skin moves."""
    for each in [each for each in bpy.data.objects if each.type in {"CURVES", "LIGHT"} or each.name == "Sweater"]:
        bpy.data.objects.remove(each)
    for angles, strength in (((0.9, 0.0, -0.6), 2.5), ((1.2, 0.0, 0.9), 1.0)):
        sun = bpy.data.objects.new("Sun", bpy.data.lights.new("Sun", "SUN"))
        sun.data.energy, sun.data.angle, sun.rotation_euler = strength, 0.0, angles
        scene.collection.objects.link(sun)
    for material in bpy.data.materials:
        for node in material.node_tree.nodes if material.node_tree else ():
            if node.bl_idname == "ShaderNodeBsdfPrincipled":
                node.inputs["Subsurface Weight"].default_value = 0.0
    assert scene.camera is not None
    scene.camera.data.lens *= 1.35


def move(scene: bpy.types.Scene, head: bpy.types.Object, count: int, occluder: bool) -> None:
    """Animate the head's turn, the camera's way and the occluder's."""
    camera = scene.camera
    assert camera is not None
    bpy.context.preferences.edit.keyframe_new_interpolation_type = "LINEAR"
    start = camera.location.copy()
    for frame, turn, near in ((1, -0.5, 0.0), (count, 0.5, DOLLY), (NEUTRAL, 0.0, 0.0)):
        head.rotation_euler.z = math.radians(TURN) * turn
        head.keyframe_insert("rotation_euler", frame=frame)
        camera.location = start * (1 - near)
        camera.keyframe_insert("location", frame=frame)
    if occluder:
        bpy.ops.mesh.primitive_cylinder_add(radius=0.012, depth=0.5, location=(0, -0.3, 0))
        bar = bpy.context.object
        bar.name = "Bar"
        for frame, x in ((1, -0.12), (count, 0.12), (NEUTRAL, 2.0)):
            bar.location.x = x
            bar.keyframe_insert("location", frame=frame)


def key(head: bpy.types.Object, curves: Mapping[str, Mapping[int, float]]) -> None:
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


def film(scene: bpy.types.Scene, frames: Sequence[int], folder: Path, samples: int) -> None:
    """Render frames as a camera takes them: a pixel is the light of its whole area, and no two frames' noise is alike.

    Few samples leave speckles where one of two lights is hidden (the wings of the nose, the corners of the mouth), the
    same ones in each frame: they say that nothing moves there.
    """
    before, scene.cycles.samples, scene.cycles.use_animated_seed = scene.cycles.samples, samples, True
    render(scene, frames, folder)
    scene.cycles.samples, scene.cycles.use_animated_seed = before, False


def render(scene: bpy.types.Scene, frames: Sequence[int], folder: Path) -> None:
    """Render frames as PNG."""
    scene.render.image_settings.file_format, scene.render.image_settings.color_mode = "PNG", "RGBA"
    scene.render.image_settings.color_depth = "8"
    for frame in frames:
        scene.frame_set(frame)
        scene.render.filepath = str(folder / f"{frame:04d}.png")
        bpy.ops.render.render(write_still=True)


def positions(scene: bpy.types.Scene, head: bpy.types.Object, frames: Sequence[int]) -> np.ndarray:
    """Return where vertices of the evaluated head are in each frame's picture, [F, V, 4]: px, depth, and if seen."""
    found = []
    width, height = scene.render.resolution_x, scene.render.resolution_y
    for frame in frames:
        scene.frame_set(frame)
        evaluated = head.evaluated_get(bpy.context.evaluated_depsgraph_get())
        mesh = evaluated.to_mesh()
        flat = np.empty(len(mesh.vertices) * 3, np.float32)
        mesh.vertices.foreach_get("co", flat)
        local = flat.reshape(-1, 3)[::EVERY]
        evaluated.to_mesh_clear()
        camera = scene.camera
        assert camera is not None
        matrix = np.array(camera.matrix_world.normalized().inverted() @ evaluated.matrix_world)
        seen = local @ matrix[:3, :3].T + matrix[:3, 3]
        lens = np.array(camera.calc_matrix_camera(bpy.context.evaluated_depsgraph_get(), x=width, y=height))
        clip = seen @ lens[:, :3].T + lens[:, 3]
        x, y = (clip[:, axis] / clip[:, 3] for axis in (0, 1))
        hit = visible(scene, [evaluated.matrix_world @ Vector(each) for each in local], camera)
        found.append(np.column_stack([(x + 1) / 2 * width - 0.5, (1 - y) / 2 * height - 0.5, -seen[:, 2], hit]))
    return np.array(found)


def visible(scene: bpy.types.Scene, points: Sequence[Vector], camera: bpy.types.Object) -> list[bool]:
    """Return which points of the world nothing hides from the camera."""
    depsgraph, eye = bpy.context.evaluated_depsgraph_get(), camera.matrix_world.translation
    rays = [(point + (eye - point).normalized() * 2e-4, eye - point) for point in points]
    return [not scene.ray_cast(depsgraph, start, way, distance=way.length)[0] for start, way in rays]


if __name__ == "__main__":
    main()
