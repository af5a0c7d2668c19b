# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a character can't be keyed is said with the one step that comes next, before anything is run."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest
from bl_ext.user_default.magplus.backend_bridge.files.errors import InputError
from bl_ext.user_default.magplus.operators.animation.destination import Destination
from bl_ext.user_default.magplus.operators.avatar.reasons import unkeyable
from bl_ext.user_default.magplus.operators.live_link import import_live_link
from bl_ext.user_default.magplus.operators.order import settings_problem
from bl_ext.user_default.magplus.operators.rig.kinds.bone import bone_controls

from tests.blender.head import add_armature, add_camera, add_key, make_head


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A jaw that opens."""
    rows = (f"00:00:{second:02}:{frame:02},61,{0.01 * frame:.3f},0.1" for second in range(2) for frame in range(24))
    path = tmp_path / "take.csv"
    path.write_text("\n".join(["Timecode,BlendShapeCount,JawOpen,BrowInnerUp", *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def head() -> bpy.types.Object:
    """A head with ARKit's names."""
    bpy.context.scene.render.fps = 24
    head = make_head()
    co = np.empty((len(head.data.vertices), 3), np.float32)
    head.data.vertices.foreach_get("co", co.ravel())
    for name in ("jawOpen", "browInnerUp"):
        add_key(head, name, co, np.full_like(co, 0.01))
    return head


def _each(head: bpy.types.Object, act: Callable[[bpy.types.ShapeKey], object]) -> None:
    for key in head.data.shape_keys.key_blocks[1:]:
        act(key)


def _mute_by_driver(key: bpy.types.ShapeKey) -> None:
    key.driver_add("mute").driver.expression = "1"
    bpy.context.view_layer.update()


UNUSABLE = {
    "driven": (lambda head: _each(head, lambda key: key.driver_add("value")), "is driven; choose what drives it"),
    "muted": (lambda head: _each(head, lambda key: setattr(key, "mute", True)), "is muted; tick it in"),
    "muted by a driver": (lambda head: _each(head, _mute_by_driver), "is muted by a driver; remove the driver"),
    "absolute": (lambda head: setattr(head.data.shape_keys, "use_relative", False), "switch Relative on in"),
    "pinned": (lambda head: setattr(head, "show_only_shape_key", True), "switch the pin off"),
}


@pytest.mark.parametrize(("spoil", "reason"), UNUSABLE.values(), ids=UNUSABLE.keys())
def test_live_link_says_why_no_control_can_be_keyed(recording: Path, head, spoil, reason: str) -> None:
    spoil(head)
    with pytest.raises(InputError, match=reason):
        import_live_link(bpy.context, recording, head, Destination())
    assert not bpy.data.actions


def test_a_driver_that_is_muted_is_no_obstacle(recording: Path, head) -> None:
    for key in head.data.shape_keys.key_blocks[1:]:
        key.driver_add("value").mute = True
    import_live_link(bpy.context, recording, head, Destination())
    bpy.context.scene.frame_set(11)
    assert head.data.shape_keys.key_blocks["jawOpen"].value == pytest.approx(0.1, abs=1e-4)


def test_live_link_says_what_is_left_out_of_it(recording: Path, head) -> None:
    head.data.shape_keys.key_blocks["browInnerUp"].mute = True
    head.data.shape_keys.key_blocks["Nod"].mute = True  # nothing of the recording
    report = import_live_link(bpy.context, recording, head, Destination())
    assert report.bake.record.keyed == ("jawOpen",)
    assert [line for line in report.sentences() if "left out" in line] == [
        "'browInnerUp' is muted, so what it does is left out."
    ]
    assert report.bake.record.frames == (1, 48)


def test_a_recording_that_breaks_off_leaves_no_keys(recording: Path, head) -> None:
    for broken in ("00:00:02:00,61,0.1", "00:00:02:00,61,0.1,nan", "00:00:02:00,61,0.1,text"):
        text = recording.read_text()
        recording.write_text(text + broken + "\n")
        with pytest.raises(InputError, match="Line 50"):
            import_live_link(bpy.context, recording, head, Destination())
        recording.write_text(text)
    assert not bpy.data.actions and head.data.shape_keys.animation_data is None


@pytest.fixture
def library(tmp_path: Path, head) -> Path:
    """A file with the head in a collection of its own."""
    collection = bpy.data.collections.new("Hero")
    bpy.context.scene.collection.children.link(collection)
    collection.objects.link(head)
    bpy.context.scene.collection.objects.unlink(head)
    path = tmp_path / "hero.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    add_camera()
    return path


def chosen(obj: bpy.types.Object, tmp_path: Path) -> str:
    """What is said of an avatar before the run."""
    clip = tmp_path / "clip.mp4"
    clip.touch()
    settings = bpy.context.scene.magplus
    settings.avatar, settings.driving, settings.shape_keys = obj, str(clip), True
    return settings_problem(bpy.context)


def test_a_linked_character_is_taken_step_by_step(tmp_path: Path, library: Path) -> None:
    with bpy.data.libraries.load(str(library), link=True) as (_, wanted):
        wanted.collections = ["Hero"]
    collection = wanted.collections[0]
    bpy.context.scene.collection.children.link(collection)
    bpy.context.view_layer.update()
    linked = collection.objects[0]
    reason = chosen(linked, tmp_path)
    assert reason.endswith("is linked from hero.blend, so it can't be keyed; select it and choose Object > Library "
                         "Override > Make.")  # fmt: skip
    entry = bpy.context.scene.magplus.controls.add()
    entry.name, entry.solve = linked.data.shape_keys.key_blocks[1].name, True
    assert settings_problem(bpy.context) == reason, "of what was chosen among its controls, too"
    bpy.context.scene.magplus.controls.clear()
    hero = linked.override_hierarchy_create(bpy.context.scene, bpy.context.view_layer)
    bpy.context.view_layer.update()
    reason = chosen(hero, tmp_path)
    assert "The mesh of 'Head' is still linked from hero.blend" in reason and "link icon" in reason
    assert reason.count("library override") == 1
    hero.data.override_create(remap_local_usages=True)
    assert chosen(hero, tmp_path) == ""


@pytest.mark.parametrize(("link", "step"), [(True, "Library Override > Make"), (False, "Make Instances Real")])
def test_an_instance_of_a_collection_is_named(
    tmp_path: Path, library: Path, extension: str, link: bool, step: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with bpy.data.libraries.load(str(library), link=link) as (_, wanted):
        wanted.collections = ["Hero"]
    instance = bpy.data.objects.new("Hero", None)
    instance.instance_type, instance.instance_collection = "COLLECTION", wanted.collections[0]
    bpy.context.scene.collection.objects.link(instance)
    bpy.context.scene.magplus.avatar = None
    assert "'Hero' shows the collection 'Hero' as an instance" in settings_problem(bpy.context)
    commands = importlib.import_module(f"{extension}.magplus_addon.commands")
    for arguments in (["animate"], ["animate", "--avatar", "Hero"]):
        assert commands.main(arguments) == 2
        assert step in capfd.readouterr().err
    bpy.context.scene.magplus.avatar = next(each for each in wanted.collections[0].all_objects if each.type == "MESH")
    assert step in settings_problem(bpy.context), "of a mesh that was chosen, too"
    bpy.data.objects.remove(instance)
    assert "is not in the scene" in settings_problem(bpy.context)


def test_bones_of_a_linked_rig_are_named_before_the_run(tmp_path: Path) -> None:
    rig = add_armature({"jaw": (0, 0, 0)})
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "rig.blend"))
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    with bpy.data.libraries.load(str(tmp_path / "rig.blend"), link=True) as (_, wanted):
        wanted.objects = ["Rig"]
    rig = wanted.objects[0]
    bpy.context.scene.collection.objects.link(rig)
    controls, _ = bone_controls(rig, ("jaw",))
    assert unkeyable(controls).startswith("'Rig' is linked from rig.blend, so it can't be keyed; select it and choose")
    local = rig.override_create(remap_local_usages=True)
    assert unkeyable(bone_controls(local, ("jaw",))[0]) == ""
