# SPDX-License-Identifier: GPL-3.0-or-later
"""Bakes on a character that is linked from another file, which may hold bakes of its own."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import bpy
import pytest
from bl_ext.user_default.magplus.operators.animation.destination import LAYER, NEW_ACTION, REPLACE, Destination
from bl_ext.user_default.magplus.operators.avatar.bare_scene import bare_scene
from bl_ext.user_default.magplus.operators.avatar.reasons import override_apart
from bl_ext.user_default.magplus.operators.bake import bake_controls
from bl_ext.user_default.magplus.operators.rig.kinds.shape_key import shape_key_controls

from tests.blender.head import make_head
from tests.blender.jobs import pulse, solved

CLIP = (1, 19, 26, 28, 30, 60)  # the clip lies on frames 20 to 39, its apex on 28


def bake(folder: Path, head: bpy.types.Object, height: float, animation: str) -> list[str]:
    folder.mkdir()
    bpy.context.scene.render.fps = 25
    with bare_scene(bpy.context, 20):
        controls, _ = shape_key_controls((head,))
    job = solved(folder, controls, {"Smile": pulse(20, 8, height)}, Fraction(25))
    return bake_controls(bpy.context, job, Destination(20, animation=animation)).sentences()


def smile(head: bpy.types.Object) -> list[float]:
    found = []
    for frame in CLIP:
        bpy.context.scene.frame_set(frame)
        found.append(head.data.shape_keys.key_blocks["Smile"].value)
    return found


def playing(height: float) -> object:
    return pytest.approx([0, 0, height / 2, height, height / 2, 0], abs=1e-5)


def library(path: Path, act: Callable[[bpy.types.Object], object] = lambda _: None) -> Path:
    """A file with a head in a collection."""
    head = make_head()
    collection = bpy.data.collections.new("Hero")
    bpy.context.scene.collection.children.link(collection)
    collection.objects.link(head)
    bpy.context.scene.collection.objects.unlink(head)
    act(head)
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    return path


def override(path: Path) -> bpy.types.Object:
    """The head of a file, linked, with overrides of it and of its mesh, as a script makes them."""
    with bpy.data.libraries.load(str(path), link=True) as (_, wanted):
        wanted.collections = ["Hero"]
    (collection,) = wanted.collections
    scene = bpy.context.scene
    scene.collection.children.link(collection)
    hero = collection.override_hierarchy_create(scene, bpy.context.view_layer, do_fully_editable=True)
    head = next(obj for obj in hero.all_objects if obj.type == "MESH")
    if head.data.library is not None:
        head.data.override_create(remap_local_usages=True)
    return head


def reopened(path: Path) -> bpy.types.Object:
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    bpy.ops.wm.open_mainfile(filepath=str(path))
    return bpy.data.objects["Head", None]


@pytest.mark.parametrize("there", [NEW_ACTION, LAYER])
@pytest.mark.parametrize("animation", [NEW_ACTION, LAYER])
def test_a_bake_of_the_linked_file_neither_shows_in_a_capture_nor_adds_up(
    tmp_path: Path, there: str, animation: str
) -> None:
    head = override(library(tmp_path / "hero.blend", lambda head: bake(tmp_path / "a", head, 0.4, there)))
    assert smile(head) == playing(0.4)
    with bare_scene(bpy.context, 28):
        assert head.data.shape_keys.key_blocks["Smile"].value == pytest.approx(0, abs=1e-5)
    assert smile(head) == playing(0.4)
    said = bake(tmp_path / "b", head, 0.1, animation)
    if there == animation == LAYER:  # a track of the linked file can't be changed here
        assert any("'MagPlus Head' of an earlier bake comes from a linked file" in each for each in said)
        head.data.shape_keys.animation_data.nla_tracks["MagPlus Head"].strips[0].mute = True
    else:
        assert not any("comes from a linked file" in each for each in said)
    assert smile(head) == playing(0.1)
    assert smile(reopened(tmp_path / "shot.blend")) == playing(0.1)


def test_a_bake_on_an_override_of_an_override_lasts(tmp_path: Path) -> None:
    head = override(library(tmp_path / "hero.blend"))
    bake(tmp_path / "a", head, 0.4, NEW_ACTION)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "sequence.blend"))
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    head = override(tmp_path / "sequence.blend")
    assert smile(head) == playing(0.4)
    bake(tmp_path / "b", head, 0.1, LAYER)
    head = reopened(tmp_path / "shot.blend")
    assert smile(head) == playing(0.1)
    bake(tmp_path / "c", head, 0.2, REPLACE)
    assert smile(reopened(tmp_path / "shot.blend")) == playing(0.2)


def test_an_override_of_a_mesh_that_stands_apart_is_said_to_be_in_danger(tmp_path: Path) -> None:
    """A script that overrides the mesh by itself leaves it out of the character's hierarchy, and Blender drops it."""
    head = override(library(tmp_path / "hero.blend"))
    said = bake(tmp_path / "a", head, 0.2, NEW_ACTION)
    assert sum("stands apart from the character's" in each for each in said) == 1
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "hero.blend"))
    bpy.data.collections["Hero"].objects.link(make_head("Hat"))
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shot.blend"))
    head = bpy.data.objects["Head", None]
    assert head.data.library is not None, "Blender keeps it by now, so that nothing need be said"


def test_a_mesh_of_ones_own_is_in_no_danger(tmp_path: Path) -> None:
    head = make_head()
    assert override_apart(head) == ""
    assert not any("stands apart" in each for each in bake(tmp_path / "a", head, 0.2, NEW_ACTION))
