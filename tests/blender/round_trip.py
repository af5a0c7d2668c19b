# SPDX-License-Identifier: GPL-3.0-or-later
"""A keyed file through another format and back, in a Blender of its own without MagPlus: `round_trip.py BLEND PATH`.

PATH is written; its suffix says by which exporter. Printed as JSON: by how much the one mesh moves against frame 1, by
frame, and how large it is. Blender 4.2's glTF exporter may crash in a process that has done much else before.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import bpy
import numpy as np

FRAMES = 30


def _fbx(path: str) -> None:
    bpy.ops.export_scene.fbx(filepath=path, bake_anim_use_all_actions=False, bake_anim_use_nla_strips=False)


def _fbx_back(path: str) -> None:
    bpy.ops.import_scene.fbx(filepath=path, anim_offset=0.0)  # by default its importer is a frame late


def _gltf(path: str) -> None:
    bpy.ops.export_scene.gltf(filepath=path, export_animation_mode="SCENE", export_anim_scene_split_object=False)


def _gltf_back(path: str) -> None:
    bpy.ops.import_scene.gltf(filepath=path)


def _usd(path: str) -> None:
    bpy.ops.wm.usd_export(filepath=path, export_animation=True)


def _usd_back(path: str) -> None:
    bpy.ops.wm.usd_import(filepath=path)


def _alembic(path: str) -> None:
    bpy.ops.wm.alembic_export(filepath=path, start=1, end=FRAMES)


def _alembic_back(path: str) -> None:
    bpy.ops.wm.alembic_import(filepath=path, as_background_job=False)


WAYS: dict[str, tuple[Callable[[str], None], Callable[[str], None]]] = {
    "fbx": (_fbx, _fbx_back),
    "glb": (_gltf, _gltf_back),
    "usdc": (_usd, _usd_back),
    "abc": (_alembic, _alembic_back),
}


def shape(obj: bpy.types.Object) -> np.ndarray[Any, Any]:
    """Return the vertices of an object as it stands, modifiers and shape keys applied, [V, 3]."""
    evaluated = obj.evaluated_get(bpy.context.evaluated_depsgraph_get())
    mesh = evaluated.to_mesh()
    found = np.empty((len(mesh.vertices), 3), np.float32)
    mesh.vertices.foreach_get("co", found.ravel())
    evaluated.to_mesh_clear()
    return found


def shape_at(obj: bpy.types.Object, frame: int) -> np.ndarray[Any, Any]:
    """Return the vertices of an object at a frame of the scene, [V, 3]."""
    bpy.context.scene.frame_set(frame)
    return shape(obj)


def main(blend: str, path: str) -> None:
    """Export, import into an empty file at the same frame rate, and measure."""
    export, bring_back = WAYS[path.rpartition(".")[2]]
    bpy.ops.wm.open_mainfile(filepath=blend)
    rate = bpy.context.scene.render.fps
    export(path)
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    scene = bpy.context.scene
    scene.render.fps, scene.frame_start, scene.frame_end = rate, 1, FRAMES
    bring_back(path)
    meshes = [obj for obj in bpy.data.objects if obj.type == "MESH"]  # one importer brings a shape for bones, too
    mesh = max(meshes, key=lambda obj: len(obj.data.vertices))
    still = shape_at(mesh, 1)
    moved = {frame: float(np.abs(shape_at(mesh, frame) - still).max()) for frame in range(1, FRAMES + 1)}
    print("measured", json.dumps({"moved": moved, "size": float(np.ptp(still, axis=0).max())}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
    os._exit(0)  # Blender 4 as a module may not survive the interpreter's orderly end
