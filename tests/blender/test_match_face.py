# SPDX-License-Identifier: GPL-3.0-or-later
"""Anchors lie on the face where it was matched, and those that a person moves are told to the job."""

from __future__ import annotations

import json
from pathlib import Path

import bpy
import numpy as np
import pytest
from bl_ext.user_default.magplus.backend_bridge.files.errors import InputError
from bl_ext.user_default.magplus.backend_bridge.job.folder import JobFolder
from bl_ext.user_default.magplus.backend_bridge.job.report import Report
from bl_ext.user_default.magplus.backend_bridge.job.spec import Anchor, Avatar, Driving, JobSpec
from bl_ext.user_default.magplus.backend_bridge.rig.anchors import FACE_ANCHORS
from bl_ext.user_default.magplus.operators.rig.anchors import (
    anchors_of,
    is_selected,
    matched_places,
    moved_anchors,
    name_of,
    put_anchors,
    remove_anchors,
    was_moved,
)
from bl_ext.user_default.magplus.operators.rig.projection import Projection, present_projection
from bl_ext.user_default.magplus.operators.running.steps import run_to_end
from mathutils import Vector

from tests.blender.head import add_armature, add_camera, add_key, bind, make_head, quick_render
from tests.blender.jobs import avatar_report

NOSE = FACE_ANCHORS["nose, tip"]


@pytest.fixture
def head() -> bpy.types.Object:
    """A head whose keys act at the brows and at the chin, seen from a little above and from the side."""
    quick_render(320, 240)
    camera = add_camera()
    camera.location = (0.5, -6, 0.3)
    head = make_head()
    head.rotation_euler.z = 0.1
    co = np.empty((len(head.data.vertices), 3), np.float32)
    head.data.vertices.foreach_get("co", co.ravel())
    patch = (co[:, 1] < 0) & (abs(co[:, 0]) < 0.5)
    add_key(head, "browDown", co, np.outer(patch & (abs(co[:, 2] - 0.6) < 0.15), (0, 0, -0.1)))
    add_key(head, "jawOpen", co, np.outer(patch & (abs(co[:, 2] + 0.6) < 0.15), (0, 0, -0.1)))
    for name in ("Brow Up", "Smile", "Nod"):
        head.shape_key_remove(head.data.shape_keys.key_blocks[name])
    bpy.context.scene.magplus.avatar = head
    bpy.context.view_layer.update()
    return head


def look() -> Projection:
    return present_projection(bpy.context, bpy.context.scene.camera)


def by_name(head: bpy.types.Object) -> dict[str, bpy.types.Object]:
    return {name_of(anchor): anchor for anchor in anchors_of(head)}


def test_the_first_guess_is_a_face_between_the_topmost_and_the_lowest_control(head) -> None:
    assert bpy.ops.magplus.show_anchors() == {"FINISHED"}
    anchors = by_name(head)
    assert list(anchors) == list(FACE_ANCHORS)
    places = {name: anchor.matrix_world.translation for name, anchor in anchors.items()}
    for name, place in places.items():
        assert 0.98 < place.length < 1.001, f"{name} is on the surface"
    assert places["left brow, inner end"].z == pytest.approx(0.6, abs=0.15)
    assert places["chin, lowest point"].z < places["mouth, left corner"].z < places["nose, tip"].z
    assert places["nose, tip"].z < places["left eye, inner corner"].z < places["left brow, outer end"].z
    for name in ("brow, outer end", "eye, inner corner"):
        assert places[f"left {name}"].x > places[f"right {name}"].x, "the character's left is the picture's right"
    assert places["mouth, left corner"].x > places["mouth, right corner"].x


def test_only_what_was_moved_goes_to_the_job(head) -> None:
    bpy.ops.magplus.show_anchors()
    assert moved_anchors(head, look()) == ()
    anchor = by_name(head)["nose, tip"]
    anchor.location.x += 0.1
    bpy.context.view_layer.update()
    [moved] = moved_anchors(head, look())
    expected, _ = look().project(np.array([anchor.matrix_world.translation], np.float64))
    assert moved.landmark == NOSE
    assert moved.position == pytest.approx(tuple(expected[0]), abs=1e-4)


def test_places_in_px_are_those_of_the_picture_that_is_captured(head, tmp_path: Path) -> None:
    """Wherever the playhead stands: the avatar moves through the picture in the meantime."""
    scene = bpy.context.scene
    for frame, x in ((1, 0.0), (50, 1.0)):
        head.location.x = x
        head.keyframe_insert("location", index=0, frame=frame)
    settings = scene.magplus
    settings.start_frame, file, again = 10, tmp_path / "face.json", tmp_path / "again.json"
    file.write_text(json.dumps({"schema": 1, "size": [320, 240], "anchors": {"nose, tip": [170.0, 120.0]}}))
    scene.frame_set(50)
    assert bpy.ops.magplus.import_anchors(filepath=str(file)) == {"FINISHED"}
    assert bpy.ops.magplus.export_anchors(filepath=str(again)) == {"FINISHED"}
    assert json.loads(again.read_text())["anchors"]["nose, tip"] == pytest.approx([170.0, 120.0], abs=0.1)
    assert scene.frame_current == 50
    scene.frame_set(10)
    assert moved_anchors(head, look())[0].position == pytest.approx((170.0, 120.0), abs=0.1)
    settings.use_capture_frame, settings.capture_frame = True, 40
    remove_anchors(head)
    assert bpy.ops.magplus.import_anchors(filepath=str(file)) == {"FINISHED"}
    scene.frame_set(40)
    assert moved_anchors(head, look())[0].position == pytest.approx((170.0, 120.0), abs=0.1)


def test_the_match_that_is_shown_is_that_of_the_picture_that_is_captured(head) -> None:
    scene = bpy.context.scene
    for frame, x in ((1, 0.0), (50, 1.0)):
        head.location.x = x
        head.keyframe_insert("location", index=0, frame=frame)
    settings = scene.magplus
    places = {}
    for present in (10, 50):
        settings.start_frame = 10
        scene.frame_set(present)
        assert bpy.ops.magplus.show_anchors() == {"FINISHED"}
        scene.frame_set(10)
        places[present] = [tuple(anchor.matrix_world.translation) for anchor in anchors_of(head)]
        remove_anchors(head)
    assert np.array(places[50]) == pytest.approx(np.array(places[10]), abs=1e-3)


def test_moved_anchors_stay_when_the_match_is_shown_again_and_can_be_reset(head) -> None:
    bpy.ops.magplus.show_anchors()
    anchor = by_name(head)["nose, tip"]
    found = anchor.matrix_world.translation.copy()
    anchor.location.z += 0.2
    bpy.context.view_layer.update()
    put = anchor.matrix_world.translation.copy()
    bpy.ops.magplus.show_anchors()
    assert len(anchors_of(head)) == len(FACE_ANCHORS)
    anchor = by_name(head)["nose, tip"]
    assert was_moved(anchor) and (put - found).length == pytest.approx(0.2, abs=1e-5)
    assert tuple(anchor.matrix_world.translation) == pytest.approx(tuple(put), abs=1e-5)
    bpy.ops.magplus.pick_anchor(landmark=NOSE)
    assert bpy.context.object == anchor and bpy.context.selected_objects == [anchor]
    bpy.ops.magplus.reset_anchor(landmark=NOSE)
    bpy.context.view_layer.update()
    assert not was_moved(anchor)
    assert tuple(anchor.matrix_world.translation) == pytest.approx(tuple(found), abs=1e-5)
    bpy.ops.magplus.remove_anchors()
    assert not anchors_of(head) and "MagPlus Anchors" not in bpy.data.collections


def test_after_a_job_the_anchors_are_where_it_laid_the_face(head, tmp_path: Path) -> None:
    projection = look()
    on_face = {NOSE: (170.0, 120.0), FACE_ANCHORS["chin, lowest point"]: (150.0, 150.0)}
    folder = JobFolder.create(tmp_path / "job.magplus")
    folder.write_spec(JobSpec(Driving("clip.mp4"), Avatar("avatar.png")))
    anchors = [Anchor(landmark, place) for landmark, place in on_face.items()]
    folder.write_report(Report("finished", avatar=avatar_report((320, 240), anchors)))
    bpy.context.scene.magplus.last_job = str(folder.path)
    bpy.ops.magplus.show_anchors()
    assert len(anchors_of(head)) == 2
    for anchor in anchors_of(head):
        position, _ = projection.project(np.array([anchor.matrix_world.translation], np.float64))
        assert tuple(position[0]) == pytest.approx(on_face[FACE_ANCHORS[name_of(anchor)]], abs=0.05)
        assert 0.98 < anchor.matrix_world.translation.length < 1.001
    assert moved_anchors(head, projection) == ()


def test_anchors_go_with_their_avatar_and_two_avatars_have_their_own(head) -> None:
    bpy.ops.magplus.show_anchors()
    before = {name: anchor.matrix_world.translation.copy() for name, anchor in by_name(head).items()}
    head.location.x += 0.2
    bpy.context.view_layer.update()
    for name, anchor in by_name(head).items():
        assert (anchor.matrix_world.translation - before[name]).length == pytest.approx(0.2, abs=1e-5)
        assert not was_moved(anchor)
    assert anchors_of(make_head("Twin")) == []


def test_anchors_stay_on_the_skin_when_the_face_is_posed(head) -> None:
    head.modifiers.new("Subdivision", "SUBSURF").levels = 1
    armature = add_armature({"neck": (0, 0, 0)})
    bind(head, armature, "neck")
    bpy.ops.magplus.show_anchors()
    moved = by_name(head)["mouth, left corner"]
    moved.location.x += 0.05
    bpy.context.view_layer.update()
    before = {name: anchor.matrix_world.translation.copy() for name, anchor in by_name(head).items()}

    neck = armature.pose.bones["neck"]
    neck.rotation_mode, neck.rotation_euler = "XYZ", (0.3, 0.2, 0.0)
    bpy.context.view_layer.update()
    turned = neck.matrix @ neck.bone.matrix_local.inverted()
    for name, anchor in by_name(head).items():
        assert tuple(anchor.matrix_world.translation) == pytest.approx(tuple(turned @ before[name]), abs=1e-4)
        assert was_moved(anchor) == (anchor == moved)

    neck.rotation_euler = (0.0, 0.0, 0.0)
    head.data.shape_keys.key_blocks["browDown"].value = 1.0
    bpy.context.view_layer.update()
    brow, nose = (by_name(head)[name].matrix_world.translation for name in ("left brow, inner end", "nose, tip"))
    assert brow.z < before["left brow, inner end"].z - 0.02, "it goes with the brow"
    assert tuple(nose) == pytest.approx(tuple(before["nose, tip"]), abs=1e-5)


def test_anchors_that_a_person_takes_out_of_the_view_layer_are_still_known(head) -> None:
    bpy.ops.magplus.show_anchors()
    bpy.context.view_layer.layer_collection.children["MagPlus Anchors"].exclude = True
    assert len(anchors_of(head)) == len(FACE_ANCHORS)
    assert not any(is_selected(anchor, bpy.context.view_layer) for anchor in anchors_of(head))
    assert moved_anchors(head, look()) == ()


def test_a_place_beside_the_face_gets_an_anchor_too(head) -> None:
    projection = look()
    run_to_end(put_anchors(bpy.context, head, projection, {NOSE: (5.0, 5.0), 152: (160.0, 120.0)}))
    position, depth = projection.project(np.array([by_name(head)["nose, tip"].matrix_world.translation], np.float64))
    assert tuple(position[0]) == pytest.approx((5.0, 5.0), abs=0.1)
    assert 4 < depth[0] < 7


def test_a_picture_of_another_size_is_scaled() -> None:
    report = Report("finished", avatar=avatar_report((640, 480), [Anchor(NOSE, (319.5, 239.5))]))
    assert matched_places(report, (320, 240)) == {NOSE: (159.5, 119.5)}
    with pytest.raises(InputError, match="does not say how the faces were matched"):
        matched_places(Report("finished"), (320, 240))


@pytest.mark.parametrize("kind", ["PERSP", "ORTHO"])
def test_a_view_ray_goes_through_what_is_drawn_there(head, kind: str) -> None:
    bpy.context.scene.camera.data.type = kind
    projection = look()
    origin, direction = (Vector(part) for part in projection.ray((200.0, 90.0)))
    for distance in (1.0, 5.0):
        position, _ = projection.project(np.array([origin + direction * distance], np.float64))
        assert tuple(position[0]) == pytest.approx((200.0, 90.0), abs=0.01)


def test_anchors_of_an_avatar_whose_modifiers_leave_no_faces_are_refused(head, tmp_path: Path) -> None:
    place = {"schema": 1, "size": [320, 240], "anchors": {"nose, tip": [160, 120]}}
    (tmp_path / "face.json").write_text(json.dumps(place))
    head.modifiers.new("Mask", "MASK").vertex_group = "nobody"
    with pytest.raises(RuntimeError, match="'Head' has no faces"):
        bpy.ops.magplus.import_anchors(filepath=str(tmp_path / "face.json"))
    assert not anchors_of(head)


def test_a_face_that_bones_move_is_matched_by_them(head) -> None:
    head.shape_key_clear()
    armature = add_armature({"brow.L": (0.3, -1, 0.6), "jaw": (0, -1, -0.6)}, along=(0, 0, 0.3))
    for bone, side in (("brow.L", 1), ("jaw", -1)):
        chosen = [each.index for each in head.data.vertices if each.co.y < 0 and each.co.z * side > 0.4]
        head.vertex_groups.new(name=bone).add(chosen, 1.0, "REPLACE")
    head.modifiers.new("Armature", "ARMATURE").object = armature
    assert bpy.ops.magplus.show_anchors() == {"FINISHED"}
    places = {name_of(each): each.matrix_world.translation.z for each in anchors_of(head)}
    assert places["left brow, inner end"] > 0.3 > -0.3 > places["chin, lowest point"]


def test_why_nothing_of_a_face_could_be_matched_is_said(head) -> None:
    for key in head.data.shape_keys.key_blocks:
        key.mute = True
    with pytest.raises(RuntimeError, match="None of the shape keys of 'Head' can be keyed: 'browDown' is muted"):
        bpy.ops.magplus.show_anchors()
