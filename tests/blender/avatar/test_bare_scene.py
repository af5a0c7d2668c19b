# SPDX-License-Identifier: GPL-3.0-or-later
"""An avatar is captured without earlier results, at the frame where the clip starts, as small as will do."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import bmesh
import bpy
import numpy as np
import pytest
from bl_ext.user_default.magplus.backend_bridge.files.errors import InputError
from bl_ext.user_default.magplus.backend_bridge.job.folder import JobFolder
from bl_ext.user_default.magplus.backend_bridge.rig.basis import RigBasis
from bl_ext.user_default.magplus.operators.animation.destination import LAYER, NEW_ACTION, REPLACE, Destination
from bl_ext.user_default.magplus.operators.avatar.bare_scene import bare_scene
from bl_ext.user_default.magplus.operators.avatar.capture import CaptureRequest, capture
from bl_ext.user_default.magplus.operators.avatar.movement import movement
from bl_ext.user_default.magplus.operators.bake import bake_controls
from bl_ext.user_default.magplus.operators.frames.clip import Clip
from bl_ext.user_default.magplus.operators.frames.image import load
from bl_ext.user_default.magplus.operators.frames.plane import add_plane
from bl_ext.user_default.magplus.operators.rig.kinds.shape_key import shape_key_controls
from bl_ext.user_default.magplus.operators.rig.steady import Place, switched_off
from bl_ext.user_default.magplus.operators.running.steps import run_to_end

from tests.blender.head import add_camera, add_key, dump, glow, make_head, quick_render, read_png, write_png
from tests.blender.jobs import pulse, solved


@pytest.fixture
def head() -> bpy.types.Object:
    add_camera()
    quick_render().render.fps = 25
    head = make_head()
    glow(head)
    return head


@pytest.fixture
def module(extension: str) -> Callable[[str], ModuleType]:
    return lambda name: importlib.import_module(f"{extension}.{name}")


def captured(head: bpy.types.Object, path: Path, **options) -> tuple[RigBasis, np.ndarray]:
    folder = JobFolder.create(path)
    avatar = run_to_end(capture(bpy.context, CaptureRequest(head, **options), folder, blocking=True))
    return RigBasis.load(folder.path / avatar.rig_basis), read_png(folder.path / avatar.image)


def rests(basis: RigBasis) -> list[float]:
    return [control.rest for control in basis.controls]


def plane(tmp_path: Path) -> bpy.types.Object:
    """The result of an earlier run before the camera."""
    write_png(tmp_path / "000001.png", np.ones((64, 96, 4), np.float32))
    clip = Clip([tmp_path / "000001.png"], (96, 64), 1)
    return bpy.data.objects[add_plane(bpy.context, bpy.context.scene.camera, load(clip, "sRGB"), clip)]


@pytest.mark.parametrize("mode", [NEW_ACTION, LAYER, REPLACE])
def test_an_earlier_result_is_no_part_of_the_avatar(tmp_path: Path, head, mode: str) -> None:
    head.data.shape_keys.key_blocks["Smile"].value = 0.2
    basis, picture = captured(head, tmp_path / "before.magplus")
    controls, _ = shape_key_controls((head,))
    job = solved(tmp_path, controls, {"Smile": 0.2 + pulse(20, 8, 0.6), "Nod": pulse(20, 8, 0.6)}, apex=8)
    bake_controls(bpy.context, job, Destination(animation=mode))
    bpy.context.scene.magplus.bakes[0].strength = 1.5
    plane(tmp_path)
    bpy.context.scene.frame_set(9)  # the apex
    bpy.context.view_layer.update()
    before = dump()
    again, picture_again = captured(head, tmp_path / "after.magplus")
    assert rests(again) == pytest.approx(rests(basis), abs=1e-5)
    assert np.abs(picture_again - picture).max() < 0.02
    assert np.allclose(again.displacement, basis.displacement, atol=1e-3)
    assert dump() == before


def test_controls_that_were_chosen_rest_where_they_are_without_the_earlier_result(
    tmp_path: Path, head, module: Callable[[str], ModuleType]
) -> None:
    smile, clip = head.data.shape_keys.key_blocks["Smile"], tmp_path / "clip.mp4"
    clip.touch()
    smile.value = 0.2
    job = solved(tmp_path, shape_key_controls((head,))[0], {"Smile": 0.2 + pulse(20, 8, 0.6)}, apex=8)
    bake_controls(bpy.context, job, Destination())
    bpy.context.scene.frame_set(9)  # the apex, where a run leaves the scene
    assert smile.value > 0.7
    options = ["--driving", str(clip), "--avatar", "Head", "--shape-keys", "--only", "Smile"]
    path = tmp_path / "again.magplus"
    assert module("magplus_addon.commands").main(["capture", *options, "--output", str(path)]) == 0
    assert rests(RigBasis.load(path / "avatar/rig_basis.npz")) == pytest.approx([0.2], abs=1e-5)
    assert smile.value > 0.7


def test_it_is_captured_at_the_frame_asked_for_and_nothing_is_lost(tmp_path: Path, head) -> None:
    keys = head.data.shape_keys.key_blocks
    for frame, value in ((1, 0.1), (50, 0.9)):
        keys["Smile"].value = value
        keys["Smile"].keyframe_insert("value", frame=frame)
    bpy.context.scene.frame_set(40)
    keys["Smile"].value = 0.33  # not keyed
    before = dump()
    basis, _ = captured(head, tmp_path / "a.magplus", frame=1)
    assert rests(basis)[1] == pytest.approx(0.1, abs=1e-5)
    assert dump() == before


def test_what_has_no_key_yet_stays_wherever_it_is(head) -> None:
    scene, material = bpy.context.scene, head.data.materials[0]
    strength = material.node_tree.nodes["Emission"].inputs["Strength"]
    scene.world = bpy.data.worlds.new("World")
    head["level"] = 3
    for owner, path in (
        (strength, "default_value"),
        (material, "diffuse_color"),
        (scene.world, "color"),
        (head, '["level"]'),
        (head, "hide_viewport"),
    ):
        owner.keyframe_insert(path, frame=1)
    scene.frame_set(5)
    strength.default_value, head["level"], head.hide_viewport = 4.0, 7, True
    material.diffuse_color, scene.world.color = (0.25, 0.5, 0.75, 1.0), (0.25, 0.5, 0.75)
    with bare_scene(bpy.context, 1):
        assert (strength.default_value, head["level"], head.hide_viewport) == (1.0, 3, False)
    assert (strength.default_value, head["level"], head.hide_viewport) == (4.0, 7, True)
    assert tuple(material.diffuse_color) == (0.25, 0.5, 0.75, 1.0) and tuple(scene.world.color) == (0.25, 0.5, 0.75)


def test_a_file_that_is_saved_meanwhile_is_saved_as_it_was(tmp_path: Path, head) -> None:
    job = solved(tmp_path, shape_key_controls((head,))[0], {"Smile": pulse(20, 8, 0.6)}, apex=8)
    bake_controls(bpy.context, job, Destination())
    bpy.context.scene.magplus.bakes[0].strength = 0.5
    shown = plane(tmp_path).name
    bpy.context.scene.frame_set(9)
    smile = head.data.shape_keys.key_blocks["Smile"]
    path = str(tmp_path / "saved.blend")
    with bare_scene(bpy.context, 30):
        assert bpy.data.objects[shown].hide_render
        bpy.ops.wm.save_as_mainfile(filepath=path, copy=True)
        assert bpy.data.objects[shown].hide_render and bpy.context.scene.frame_current == 30
        bpy.context.scene.frame_set(9)
        assert smile.value == pytest.approx(0.0, abs=1e-5)
    bpy.ops.wm.open_mainfile(filepath=path)
    assert not bpy.data.objects[shown].hide_render and bpy.context.scene.frame_current == 9
    bpy.context.scene.frame_set(9)
    assert bpy.data.objects["Head"].data.shape_keys.key_blocks["Smile"].value == pytest.approx(0.3, abs=1e-5)


def test_the_order_takes_the_start_frame_and_a_small_picture_for_keys_alone(
    tmp_path: Path, head, module: Callable[[str], ModuleType]
) -> None:
    clip = tmp_path / "clip.mp4"
    clip.touch()
    commands, order = module("magplus_addon.commands"), module("operators.order")

    def picture(*options: str) -> object:
        settings = bpy.context.scene.magplus
        for name in ("use_capture_frame", "capture_size", "capture_samples"):
            settings.property_unset(name)
        parsed = commands.build_parser().parse_args(["animate", "--driving", str(clip), "--avatar", "Head", *options])
        commands.animate.apply(parsed, bpy.context)
        return order.make_order(bpy.context, folder=tmp_path / "job.magplus", python=Path("python")).picture

    taken = order.Picture
    assert picture("--frames", "--start-frame", "33") == taken(33, None, None, None)
    assert picture("--shape-keys", "--frame", "7") == taken(7, None, order.KEYS_FACE, order.KEYS_SAMPLES)
    assert picture("--shape-keys", "--capture-size", "640", "--capture-samples", "4") == taken(33, 640, None, 4)
    assert picture("--frames", "--capture-size", "192", "128") == taken(33, 192, None, None)
    with pytest.raises(InputError, match="--capture-size must be"):
        picture("--frames", "--capture-size", "192", "192")


def test_the_picture_for_keys_is_as_large_as_the_face_needs(tmp_path: Path, head) -> None:
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = 960, 640
    basis, picture = captured(head, tmp_path / "a.magplus", face_px=100, samples=1)
    x, y = np.ptp(basis.positions[basis.visible], axis=0)
    assert max(x, y) == pytest.approx(100, rel=0.02)
    assert picture.shape[1::-1] == basis.image_size and picture[picture.shape[0] // 2, picture.shape[1] // 2, 3] == 1
    larger, picture = captured(head, tmp_path / "b.magplus", longer_side=300)
    assert larger.image_size == (300, 200) and picture.shape == (200, 300, 4)
    # The same rig, in other px.
    assert larger.displacement.max() / basis.displacement.max() == pytest.approx(300 / basis.image_size[0], rel=0.02)


def test_a_view_layer_with_samples_of_its_own_takes_no_more_for_keys(tmp_path: Path, head) -> None:
    bpy.context.scene.cycles.samples = 1
    bpy.context.view_layer.samples = 4096
    told: list[str] = []
    bpy.app.handlers.render_stats.append(lambda text, *_: told.append(str(text)))
    captured(head, tmp_path / "a.magplus", samples=2)
    bpy.app.handlers.render_stats.pop()
    assert any("/2" in text for text in told) and not any("/4096" in text for text in told), told
    assert bpy.context.view_layer.samples == 4096


def test_an_avatar_or_a_camera_that_moves_is_reported(head) -> None:
    assert run_to_end(movement(bpy.context, head, 1, (1.0, 20.0))) == ""
    camera = bpy.context.scene.camera
    camera.keyframe_insert("location", frame=1)
    camera.location.x += 1
    camera.keyframe_insert("location", frame=30)
    bpy.context.scene.frame_set(5)
    camera.location.z = 0.25  # not keyed
    warning = run_to_end(movement(bpy.context, head, 1, (1.0, 20.0)))
    assert "'Head' moves by up to" in warning and "between frames 1 and 20" in warning
    assert (bpy.context.scene.frame_current, camera.location.z) == (5, 0.25)
    assert run_to_end(movement(bpy.context, head, 40, (40.0, 60.0))) == ""


@pytest.mark.parametrize("kind", ["MIRROR", "NODES", "DECIMATE", "ARRAY"])
def test_what_makes_another_mesh_of_every_pose_is_left_out_of_the_measuring(tmp_path: Path, head, kind: str) -> None:
    plain, _ = captured(head, tmp_path / "plain.magplus")
    modifier = head.modifiers.new("Last", kind)
    if kind == "MIRROR":
        modifier.use_axis, modifier.use_clip = (False, False, True), True
        modifier.use_bisect_axis = (False, False, True)
    elif kind == "NODES":
        modifier.node_group = _dropping_what_is_high()
    elif kind == "DECIMATE":
        modifier.decimate_type, modifier.angle_limit = "DISSOLVE", 0.2
    else:
        modifier.use_merge_vertices, modifier.merge_threshold = True, 0.2
    before = dump()
    basis, _ = captured(head, tmp_path / "behind.magplus")
    assert dump() == before
    assert len(basis.controls) == len(plain.controls)
    assert np.abs(basis.displacement).max() == pytest.approx(np.abs(plain.displacement).max(), rel=0.05)


def test_a_face_of_which_half_is_modelled_is_measured_on_both_sides(tmp_path: Path, head) -> None:
    """Lips that part at the seam are merged in some poses and not in others."""
    halved = bmesh.new()
    halved.from_mesh(head.data)
    beyond = [face for face in halved.faces if face.calc_center_median().x < 0]
    bmesh.ops.delete(halved, geom=beyond, context="FACES")
    halved.to_mesh(head.data)
    halved.free()
    co = np.array([vertex.co[:] for vertex in head.data.vertices])
    add_key(head, "Parted", co, np.outer(np.abs(co[:, 0]) < 1e-4, (0.05, 0, 0)))
    head.modifiers.new("Mirror", "MIRROR").merge_threshold = 0.01
    head.modifiers.new("Drop", "NODES").node_group = _dropping_what_is_high()
    before = dump()
    basis, _ = captured(head, tmp_path / "behind.magplus")
    assert dump() == before
    up = np.abs(basis.displacement[[control.name for control in basis.controls].index("Brow Up"), :, 1])
    sides = basis.positions[:, 0] < basis.image_size[0] / 2
    assert up[sides].max() == pytest.approx(up[~sides].max(), rel=0.1)
    assert up[sides].max() > 1


def _dropping_what_is_high() -> bpy.types.NodeTree:
    """Geometry nodes that delete what lies above a height, and so more of a raised brow."""
    tree = bpy.data.node_groups.new("Cut", "GeometryNodeTree")
    tree.interface.new_socket("Geometry", in_out="INPUT", socket_type="NodeSocketGeometry")
    tree.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    start, end = tree.nodes.new("NodeGroupInput"), tree.nodes.new("NodeGroupOutput")
    place, split = tree.nodes.new("GeometryNodeInputPosition"), tree.nodes.new("ShaderNodeSeparateXYZ")
    compare, delete = tree.nodes.new("FunctionNodeCompare"), tree.nodes.new("GeometryNodeDeleteGeometry")
    compare.data_type, compare.operation = "FLOAT", "GREATER_THAN"
    compare.inputs[1].default_value = 0.9
    tree.links.new(place.outputs[0], split.inputs[0])
    tree.links.new(split.outputs[2], compare.inputs[0])
    tree.links.new(compare.outputs[0], delete.inputs["Selection"])
    tree.links.new(start.outputs[0], delete.inputs[0])
    tree.links.new(delete.outputs[0], end.inputs[0])
    return tree


def test_another_file_may_be_loaded_meanwhile(tmp_path: Path, head) -> None:
    job = solved(tmp_path, shape_key_controls((head,))[0], {"Smile": pulse(20, 8, 0.6)}, apex=8)
    bake_controls(bpy.context, job, Destination())
    plane(tmp_path)
    place = Place(head.session_uid, head.modifiers.new("Last", "MIRROR").name)
    before = [list(handlers) for handlers in (bpy.app.handlers.save_pre, bpy.app.handlers.save_post)]
    with bare_scene(bpy.context, 30), switched_off([place]):
        bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    assert [list(handlers) for handlers in (bpy.app.handlers.save_pre, bpy.app.handlers.save_post)] == before
