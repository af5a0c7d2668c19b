# SPDX-License-Identifier: GPL-3.0-or-later
"""What was keyed goes through the files that other programs read, exported as the manual says."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
import pytest
from bl_ext.user_default.magplus.operators.animation.destination import LAYER, NEW_ACTION, Destination
from bl_ext.user_default.magplus.operators.bake import bake_controls
from bl_ext.user_default.magplus.operators.rig.kinds.shape_key import shape_key_controls

from tests.blender.head import make_head
from tests.blender.jobs import pulse, solved

# Blender 5.3's own exporters use what NumPy is about to take away.
pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning")

FPS, START, COUNT, APEX = 25, 5, 20, 8


def _fbx(path: str) -> None:
    bpy.ops.export_scene.fbx(filepath=path, bake_anim_use_all_actions=False, bake_anim_use_nla_strips=False)


def _fbx_back(path: str) -> None:
    bpy.ops.import_scene.fbx(filepath=path, anim_offset=0.0)  # by default its importer is a frame late


def _gltf(path: str) -> None:
    bpy.ops.export_scene.gltf(filepath=path, export_animation_mode="SCENE")


def _gltf_back(path: str) -> None:
    bpy.ops.import_scene.gltf(filepath=path)


def _usd(path: str) -> None:
    bpy.ops.wm.usd_export(filepath=path, export_animation=True)


def _usd_back(path: str) -> None:
    bpy.ops.wm.usd_import(filepath=path)


def _alembic(path: str) -> None:
    bpy.ops.wm.alembic_export(filepath=path, start=1, end=30)


def _alembic_back(path: str) -> None:
    bpy.ops.wm.alembic_import(filepath=path, as_background_job=False)


WAYS = {
    "fbx": (_fbx, _fbx_back),
    "glb": (_gltf, _gltf_back),
    "usdc": (_usd, _usd_back),
    "abc": (_alembic, _alembic_back),
}


@pytest.mark.parametrize("mode", [NEW_ACTION, LAYER])
@pytest.mark.parametrize("suffix", WAYS)
def test_a_bake_survives(tmp_path: Path, mode: str, suffix: str) -> None:
    export, bring_back = WAYS[suffix]
    scene = _scene()
    head = make_head()
    still = _shape(head)
    job = solved(tmp_path, shape_key_controls((head,))[0], {"Smile": pulse(COUNT, APEX, 0.5)}, apex=APEX)
    bake_controls(bpy.context, job, Destination(START, animation=mode))
    expected = {frame: np.abs(_moved(head, frame) - still).max() for frame in (1, START + APEX - 2, START + APEX, 28)}
    assert expected[1] == expected[28] == 0 and expected[START + APEX] > 0.05
    scene.frame_set(1)
    path = str(tmp_path / f"head.{suffix}")
    export(path)
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    _scene()
    bring_back(path)
    mesh = next(obj for obj in bpy.data.objects if obj.type == "MESH")
    back = {frame: np.abs(_moved(mesh, frame) - _moved(mesh, 1)).max() for frame in expected}
    size = np.ptp(_moved(mesh, 1), axis=0).max() / np.ptp(still, axis=0).max()
    for frame, motion in expected.items():
        assert back[frame] / size == pytest.approx(motion, abs=0.005), frame


def _scene() -> bpy.types.Scene:
    scene = bpy.context.scene
    scene.render.fps, scene.frame_start, scene.frame_end = FPS, 1, 30
    return scene


def _shape(obj: bpy.types.Object) -> np.ndarray:
    evaluated = obj.evaluated_get(bpy.context.evaluated_depsgraph_get())
    mesh = evaluated.to_mesh()
    found = np.empty((len(mesh.vertices), 3), np.float32)
    mesh.vertices.foreach_get("co", found.ravel())
    evaluated.to_mesh_clear()
    return found


def _moved(obj: bpy.types.Object, frame: int) -> np.ndarray:
    bpy.context.scene.frame_set(frame)
    return _shape(obj)
