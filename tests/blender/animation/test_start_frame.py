# SPDX-License-Identifier: GPL-3.0-or-later
"""A clip starts where the scene does, until somebody says otherwise."""

from __future__ import annotations

from pathlib import Path

import bpy
import pytest
from bl_ext.user_default.magplus.backend_bridge.job.folder import JobFolder
from bl_ext.user_default.magplus.magplus_addon.commands.scene_settings import settings_kept
from bl_ext.user_default.magplus.operators.avatar.bare_scene import captured_frame
from bl_ext.user_default.magplus.operators.rig.kinds.shape_key import shape_key_controls

from tests.blender.jobs import pulse, solved


@pytest.fixture
def scene() -> bpy.types.Scene:
    found = bpy.context.scene
    found.frame_start, found.frame_end = 1001, 1100
    return found


def reopened(path: Path) -> bpy.types.Scene:
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    bpy.ops.wm.open_mainfile(filepath=str(path))
    return bpy.context.scene


def test_it_is_the_scenes_first_frame_and_follows_that(scene: bpy.types.Scene, tmp_path: Path) -> None:
    assert scene.magplus.start_frame == captured_frame(scene.magplus) == 1001
    scene.frame_start = 950
    assert scene.magplus.start_frame == 950
    scene = reopened(tmp_path / "shot.blend")
    scene.frame_start = 900
    assert scene.magplus.start_frame == 900


@pytest.mark.parametrize("chosen", [1, 1001, 1050])
def test_one_that_was_set_stays_whatever_the_scene_does(scene: bpy.types.Scene, tmp_path: Path, chosen: int) -> None:
    scene.magplus.start_frame = chosen
    scene.frame_start = 950
    assert scene.magplus.start_frame == chosen
    assert reopened(tmp_path / "shot.blend").magplus.start_frame == chosen


def test_a_command_that_sets_it_for_itself_alone_leaves_it_to_follow_the_scene(scene: bpy.types.Scene) -> None:
    with settings_kept(scene.magplus):
        scene.magplus.start_frame = 1020
    scene.frame_start = 950
    assert scene.magplus.start_frame == 950
    scene.magplus.start_frame = 1010
    with settings_kept(scene.magplus):
        scene.magplus.start_frame = 1020
    assert scene.magplus.start_frame == 1010


def test_a_bake_by_operator_starts_with_the_scene_too(
    scene: bpy.types.Scene, head: bpy.types.Object, tmp_path: Path, rate: None
) -> None:
    folder: JobFolder = solved(tmp_path, shape_key_controls((head,))[0], {"Smile": pulse(20, 8, 0.2)}, apex=8)
    for given, first in (({}, 1001), ({"start_frame": 1}, 1)):
        assert bpy.ops.magplus.bake_shape_keys(folder=str(folder.path), **given) == {"FINISHED"}
        markers = {marker.name.rpartition(" ")[2].lower(): marker.frame for marker in scene.timeline_markers}
        assert markers["apex"] == first + 8, markers
