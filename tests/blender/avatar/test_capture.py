# SPDX-License-Identifier: GPL-3.0-or-later
"""A capture is the render a person would make, with the face found in it, and the file does not notice."""

from __future__ import annotations

import math
import stat
import warnings
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import bpy
import numpy as np
import pytest
from bl_ext.user_default.magplus.backend_bridge.files.errors import ExitCode, InputError, MachineError
from bl_ext.user_default.magplus.backend_bridge.job.folder import JobFolder
from bl_ext.user_default.magplus.backend_bridge.job.spec import Avatar
from bl_ext.user_default.magplus.backend_bridge.rig.basis import RigBasis
from bl_ext.user_default.magplus.backend_bridge.worker_client.messages import Progress
from bl_ext.user_default.magplus.operators.avatar.capture import CaptureRequest, capture
from bl_ext.user_default.magplus.operators.rig.avatar import face_companions
from bl_ext.user_default.magplus.operators.rig.kinds.property import property_controls
from bl_ext.user_default.magplus.operators.rig.studio import Viewpoint
from bl_ext.user_default.magplus.operators.running import steps as running
from bl_ext.user_default.magplus.operators.running.job_manager import Outcome, Steps, TaskContext, manager
from bl_ext.user_default.magplus.operators.running.steps import run_to_end

from tests.blender.head import add_camera, dump, glow, make_head, quick_render, read_png


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    return JobFolder.create(tmp_path / "Größe 測試.magplus")


def shot(**options) -> bpy.types.Object:
    """A lit head in front of a camera, cheap to render; returns the head."""
    add_camera()
    quick_render(**options)
    head = make_head()
    glow(head)
    return head


def capture_now(target: bpy.types.Object, folder: JobFolder, **options) -> Avatar:
    request = CaptureRequest(target, **options)
    return run_to_end(capture(bpy.context, request, folder, blocking=True))


def test_the_picture_is_the_scenes_own_render(folder: JobFolder, tmp_path: Path) -> None:
    head = shot()
    scene = bpy.context.scene
    scene.render.film_transparent = True
    scene.render.image_settings.color_mode = "RGBA"
    scene.render.filepath = str(tmp_path / "by hand.png")
    bpy.ops.render.render(write_still=True)
    avatar = capture_now(head, folder)
    assert avatar.image == "avatar/avatar.png"
    taken = read_png(folder.path / avatar.image)
    assert taken.shape == (64, 96, 4)
    assert np.array_equal(taken, read_png(tmp_path / "by hand.png"))


def test_the_face_box_encloses_what_is_drawn(folder: JobFolder) -> None:
    head = shot()
    bpy.context.scene.cycles.samples = 16
    avatar = capture_now(head, folder, transparent=True)
    alpha = read_png(folder.path / avatar.image)[..., 3]
    rows, columns = np.nonzero(alpha)
    x, y, width, height = avatar.face_box
    assert (x, y) == pytest.approx((columns.min(), rows.min()), abs=1)
    assert (x + width, y + height) == pytest.approx((columns.max(), rows.max()), abs=1)


def test_the_basis_lies_on_the_picture(folder: JobFolder) -> None:
    head = shot()
    avatar = capture_now(head, folder, size=(120, 90), transparent=True)
    basis = RigBasis.load(folder.path / avatar.rig_basis)
    alpha = read_png(folder.path / avatar.image)[..., 3]
    assert basis.image_size == alpha.shape[::-1] == (120, 90)
    drawn = np.argwhere(alpha)[:, ::-1]
    gaps = np.linalg.norm(basis.positions[basis.visible][:, None] - drawn[None], axis=2).min(axis=1)
    assert gaps.max() < 1  # px, at the rim


@pytest.mark.parametrize("transparent", [True, False])
def test_alpha_is_kept(folder: JobFolder, transparent: bool) -> None:
    head = shot()
    avatar = capture_now(head, folder, transparent=transparent)
    corner = read_png(folder.path / avatar.image)[0, 0, 3]
    assert corner == (0 if transparent else 1)


@pytest.mark.parametrize(("depth", "byte"), [("8", 8), ("16", 16)])
def test_the_picture_is_as_deep_as_the_scenes_output(folder: JobFolder, depth: str, byte: int) -> None:
    head = shot()
    bpy.context.scene.render.image_settings.color_depth = depth
    capture_now(head, folder)
    assert (folder.path / "avatar/avatar.png").read_bytes()[24] == byte


def test_capturing_leaves_no_trace(folder: JobFolder) -> None:
    head = shot()
    scene = bpy.context.scene
    # Everything that could draw into the picture, move it or replace it.
    scene.frame_set(7, subframe=0.5)
    scene.render.image_settings.file_format = "JPEG"
    scene.render.image_settings.quality = 55
    scene.render.resolution_percentage = 50
    scene.render.use_border = scene.render.use_crop_to_border = True
    scene.render.border_min_x, scene.render.border_max_x = 0.4, 0.6
    scene.render.use_stamp = True
    scene.render.use_motion_blur = True
    scene.render.filepath = "//my shot/####"
    editor = scene.sequence_editor_create()
    strips = editor.strips if hasattr(editor, "strips") else editor.sequences
    strips.new_effect("Red", "COLOR", 1, **_whole(strips)).color = (1, 0, 0)
    other = bpy.data.objects.new("Other", bpy.data.cameras.new("Other"))
    scene.collection.objects.link(other)
    scene.timeline_markers.new("first shot", frame=0).camera = scene.camera
    scene.timeline_markers.new("second shot", frame=30).camera = other
    scene.view_layers.new("Second")
    head.data.shape_keys.key_blocks["Smile"].value = 0.4
    before = dump()
    avatar = capture_now(head, folder, size=(80, 60), transparent=True)
    assert dump() == before
    taken = read_png(folder.path / avatar.image)
    assert taken.shape == (60, 80, 4)
    assert taken[30, 40] == pytest.approx((taken[30, 40, 0],) * 3 + (1,), abs=0.02)  # grey, not the red strip
    assert taken[2, 2, 3] == 0


def _blur_by_focus() -> None:
    lens = bpy.context.scene.camera.data
    lens.dof.use_dof, lens.dof.focus_distance, lens.dof.aperture_fstop = True, 1.0, 0.1


def _blur_by_keyed_focus() -> None:
    _blur_by_focus()
    bpy.context.scene.camera.data.dof.keyframe_insert("use_dof", frame=1)


def _blur_by_motion() -> None:
    scene, head = bpy.context.scene, bpy.data.objects["Head"]
    scene.render.use_motion_blur, scene.render.motion_blur_shutter = True, 2.0
    for frame, x in ((0, -1.0), (1, 0.0), (2, 1.0)):
        head.location.x = x
        head.keyframe_insert("location", index=0, frame=frame)
    scene.frame_set(1)


def _two_eyes() -> None:
    bpy.context.scene.render.use_multiview = True


def _invert_after_the_render() -> None:
    scene = bpy.context.scene
    if bpy.app.version >= (5, 0, 0):
        tree = bpy.data.node_groups.new("Compositing", "CompositorNodeTree")
        if hasattr(scene, "compositor_effects"):
            scene.compositor_effects.new("Inverted").node_group = tree
        else:
            scene.compositing_node_group = tree
        tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
        output = tree.nodes.new("NodeGroupOutput")
    else:
        scene.use_nodes = True
        tree = scene.node_tree
        tree.nodes.clear()
        output = tree.nodes.new("CompositorNodeComposite")
    layers, invert = tree.nodes.new("CompositorNodeRLayers"), tree.nodes.new("CompositorNodeInvert")
    tree.links.new(layers.outputs["Image"], invert.inputs["Color"])
    tree.links.new(invert.outputs["Color"], output.inputs[0])


@pytest.mark.parametrize(
    "spoil", [_blur_by_focus, _blur_by_keyed_focus, _blur_by_motion, _two_eyes, _invert_after_the_render]
)
def test_the_picture_is_plain_whatever_the_scene_renders(folder: JobFolder, spoil: Callable[[], None]) -> None:
    head = shot()
    plain = read_png(folder.path / capture_now(head, folder).image)
    spoil()
    before = dump()
    taken = read_png(folder.path / capture_now(head, folder).image)
    assert dump() == before
    assert np.abs(taken - plain).max() < 0.01


def _whole(strips: object) -> dict[str, int]:
    names = strips.bl_rna.functions["new_effect"].parameters.keys()
    return {"frame_start": 1, "length": 100} if "length" in names else {"frame_start": 1, "frame_end": 100}


class FailingEngine(bpy.types.RenderEngine):
    bl_idname = "MAGPLUS_TEST_FAILING"
    bl_label = "Failing"
    loud = True

    def render(self, _depsgraph: bpy.types.Depsgraph) -> None:
        if self.loud:
            self.report({"ERROR"}, "Out of GPU memory")
        else:
            self.error_set("Out of GPU memory")  # Blender saves a picture all the same


@pytest.fixture
def failing_engine() -> Iterator[type[FailingEngine]]:
    bpy.utils.register_class(FailingEngine)
    yield FailingEngine
    bpy.context.scene.render.engine = "CYCLES"
    bpy.utils.unregister_class(FailingEngine)


@pytest.mark.parametrize(
    ("loud", "sentence"), [(True, "can't be rendered: Out of GPU memory"), (False, "came out empty")]
)
def test_a_failed_render_leaves_no_trace(folder: JobFolder, failing_engine: type, loud: bool, sentence: str) -> None:
    head = shot()
    failing_engine.loud = loud
    bpy.context.scene.render.engine = failing_engine.bl_idname
    before = dump()
    with pytest.raises(MachineError, match=sentence):
        capture_now(head, folder)
    assert dump() == before
    assert not (folder.path / "avatar/avatar.png").exists()


def test_a_disk_that_is_full_while_blender_saves_the_picture_is_named(folder: JobFolder) -> None:
    """What a capture before it has left stays whole. A limit of a file's size stands for the end of the disk."""
    limits = pytest.importorskip("resource")
    head = shot()
    picture = folder.path / capture_now(head, folder).image
    whole = picture.read_bytes()
    before = limits.getrlimit(limits.RLIMIT_FSIZE)
    limits.setrlimit(limits.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(MachineError, match="free space on the disk with its temporary files"):
            capture_now(head, folder)
    finally:
        limits.setrlimit(limits.RLIMIT_FSIZE, before)
    assert picture.read_bytes() == whole
    assert [scene.name for scene in bpy.data.scenes] == ["Scene"]


def test_a_viewport_can_be_looked_through(folder: JobFolder) -> None:
    head = shot(width=80, height=80)
    region = Namespace(view_perspective="PERSP", view_distance=6.0, view_matrix=_looking_along_y())
    bpy.ops.object.camera_add(location=(0, 0, 9))
    bpy.context.scene.camera = bpy.context.object
    bpy.context.scene.timeline_markers.new("shot", frame=1).camera = bpy.context.object
    view = Namespace(region_3d=region, lens=50.0, clip_start=0.1, clip_end=100.0, camera=None)
    before = dump()
    avatar = capture_now(head, folder, view=Viewpoint.of(view), transparent=True)
    assert dump() == before
    # Blender's viewport of 50 mm sees 72 mm / 50 mm of the distance.
    expected = 80 / (math.sqrt(6**2 - 1) * 72 / 50 / 2)
    assert avatar.face_box[2] == pytest.approx(expected, rel=0.03)
    region.view_perspective = "ORTHO"
    avatar = capture_now(head, folder, view=Viewpoint.of(view), transparent=True)
    assert avatar.face_box[2] == pytest.approx(80 * 2 / (6 * 72 / 50), rel=0.02)


def test_a_file_that_is_saved_meanwhile_has_nothing_of_a_capture_in_it(folder: JobFolder, tmp_path: Path) -> None:
    head = shot()
    region = Namespace(view_perspective="PERSP", view_distance=6.0, view_matrix=_looking_along_y())
    view = Viewpoint.of(Namespace(region_3d=region, lens=50.0, clip_start=0.1, clip_end=100.0, camera=None))
    file = tmp_path / "meanwhile.blend"

    def names(kind: str) -> set[str]:
        with bpy.data.libraries.load(str(file)) as (there, _):
            return {*getattr(there, kind)}

    saved = 0
    for _ in capture(bpy.context, CaptureRequest(head, view=view), folder, blocking=True):
        bpy.ops.wm.save_as_mainfile(filepath=str(file), copy=True)
        saved += any(scene.name.startswith("MagPlus") for scene in bpy.data.scenes)
        assert (names("scenes"), names("objects"), names("cameras")) == ({"Scene"}, {"Head", "Camera"}, {"Camera"})
    assert saved


class Namespace:
    def __init__(self, **values: object) -> None:
        vars(self).update(values)


def _looking_along_y():
    camera = add_camera()
    matrix = camera.matrix_world.inverted()
    bpy.data.objects.remove(camera)
    return matrix


def test_a_pose_that_a_render_would_not_show_is_refused(folder: JobFolder) -> None:
    head = shot()
    nod = head.data.shape_keys.key_blocks["Nod"]
    nod.keyframe_insert("value", frame=1)
    nod.value = 0.8
    before = dump()
    with pytest.raises(InputError, match="key the new pose"):
        capture_now(head, folder)
    assert dump() == before  # nor is the unkeyed change lost
    nod.keyframe_insert("value", frame=1)
    avatar = capture_now(head, folder, transparent=True)
    alpha = read_png(folder.path / avatar.image)[..., 3]
    assert np.flatnonzero(alpha.any(axis=1)).mean() > 31.5 + 0.5 * 0.08 * 50 / 36 * 96 / 6


def test_a_camera_that_a_render_would_not_show_is_refused(folder: JobFolder) -> None:
    head = shot()
    camera = bpy.context.scene.camera
    camera.keyframe_insert("location", frame=1)
    camera.location.x = 0.5
    bpy.context.view_layer.update()
    with pytest.raises(InputError, match="'Camera' was moved or changed since it was keyed"):
        capture_now(head, folder)
    assert camera.location.x == 0.5
    camera.keyframe_insert("location", frame=1)
    capture_now(head, folder)


def test_a_camera_that_is_moved_meanwhile_is_refused_and_another_size_waits_for_the_next_capture(
    folder: JobFolder,
) -> None:
    head = shot()
    scene = bpy.context.scene

    def change(progress: Progress, what: Callable[[], object]) -> None:
        if progress.stage == "Measuring the rig" and progress.done:
            what()

    def steps() -> Generator[Progress, None, Avatar]:
        return capture(bpy.context, CaptureRequest(head), folder, blocking=True)

    avatar = run_to_end(steps(), lambda each: change(each, lambda: setattr(scene.render, "resolution_x", 200)))
    assert read_png(folder.path / avatar.image).shape == (64, 96, 4)
    assert RigBasis.load(folder.path / avatar.rig_basis).image_size == (96, 64)
    scene.render.resolution_x = 96

    with pytest.raises(InputError, match="'Camera' was moved or changed while the avatar was measured"):
        run_to_end(steps(), lambda each: change(each, lambda: setattr(scene.camera.data, "lens", 60.0)))


def add_a_scene() -> None:
    bpy.context.window.scene = bpy.data.scenes.new("Another")


def add_a_view_layer() -> None:
    bpy.context.window.view_layer = bpy.context.scene.view_layers.new("Another")


MEANWHILE: dict[str, Callable[[], object]] = {
    "undo": lambda: bpy.ops.ed.undo(),
    "the avatar": lambda: bpy.data.objects.remove(bpy.data.objects["Head"]),
    "the camera": lambda: bpy.data.objects.remove(bpy.context.scene.camera),
    "a key": lambda: setattr(bpy.data.objects["Head"].data.shape_keys.key_blocks["Smile"], "name", "Grin"),
    "vertices": lambda: bpy.data.objects["Head"].data.clear_geometry(),
    "the scene": add_a_scene,
}


@pytest.mark.parametrize("what", MEANWHILE.values(), ids=MEANWHILE.keys())
@pytest.mark.parametrize("moment", [1, 4, 9, 16])
def test_what_is_taken_away_meanwhile_ends_it_in_a_sentence_and_leaves_nothing(
    folder: JobFolder, monkeypatch: pytest.MonkeyPatch, what: Callable[[], object], moment: int
) -> None:
    monkeypatch.setattr(running.Turn, "length", 0.0)
    monkeypatch.setattr(running, "LONGEST_TURN", 0.0)
    head = shot()
    bpy.ops.ed.undo_push(message="built")
    bpy.ops.ed.undo_push(message="and something else")

    def task(_: TaskContext) -> Steps:
        steps = capture(bpy.context, CaptureRequest(head, frame=10), folder, blocking=True)
        for number, progress in enumerate(steps):
            if number == moment:
                what()
            yield progress
        return Outcome("Done.")

    outcome = manager.run("test", task)
    assert outcome.exit_code != ExitCode.INTERNAL, outcome.sentence
    left = [*bpy.data.scenes, *bpy.data.objects, *bpy.data.cameras]
    assert not [each.name for each in left if each.name.startswith("MagPlus")]


@pytest.mark.parametrize("what", [add_a_scene, add_a_view_layer])
def test_another_scene_that_is_chosen_meanwhile_is_not_captured(folder: JobFolder, what: Callable[[], None]) -> None:
    head = shot()
    steps = capture(bpy.context, CaptureRequest(head), folder, blocking=True)
    next(steps)
    what()
    with pytest.raises(InputError, match="Another scene or view layer was chosen meanwhile"):
        run_to_end(steps)
    assert not any(folder.avatar_dir.iterdir())


def edit() -> None:
    bpy.context.view_layer.objects.active = bpy.data.objects["Head"]
    bpy.ops.object.mode_set(mode="EDIT")


def go_to_its_other_scene() -> None:
    other = bpy.data.scenes.new("Another")
    other.collection.objects.link(bpy.data.objects["Head"])
    other.camera = bpy.context.scene.camera
    bpy.context.window.scene = other


# What would be measured or drawn then is the mesh at rest, or nothing.
SPOILED: dict[str, tuple[Callable[[], object], str]] = {
    "edited": (edit, "is being edited"),
    "hidden": (lambda: setattr(bpy.data.objects["Head"], "hide_render", True), "'Head' is hidden"),
    "excluded": (lambda: setattr(_alone(bpy.data.objects["Head"]), "exclude", True), "no longer there"),
    "seen in its other scene": (go_to_its_other_scene, "Another scene or view layer was chosen"),
    "in another scene": (add_a_scene, "Another scene or view layer was chosen"),
}


@pytest.mark.parametrize(("spoil", "sentence"), SPOILED.values(), ids=SPOILED.keys())
@pytest.mark.parametrize("moment", [1, 3, 8])
def test_an_avatar_that_stands_still_or_is_unseen_by_now_is_no_capture(
    folder: JobFolder, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[], object], sentence: str, moment: int
) -> None:
    monkeypatch.setattr(running.Turn, "length", 0.0)
    monkeypatch.setattr(running, "LONGEST_TURN", 0.0)
    head = shot()
    steps = capture(bpy.context, CaptureRequest(head, frame=5), folder, blocking=True)
    for _ in range(moment):
        next(steps)
    spoil()
    with pytest.raises(InputError, match=sentence):
        list(steps)
    assert not folder.path.joinpath("avatar", "avatar.png").exists()


def test_any_control_can_be_measured(folder: JobFolder) -> None:
    head = shot()
    head["turn"] = 0.0
    head.id_properties_ui("turn").update(soft_min=-1.0, soft_max=1.0)
    driver = head.driver_add("rotation_euler", 2).driver
    driver.type = "AVERAGE"
    variable = driver.variables.new()
    variable.targets[0].id, variable.targets[0].data_path = head, '["turn"]'
    controls, _ = property_controls(head, ('["turn"]',))
    before = dump()
    avatar = capture_now(head, folder, controls=tuple(controls))
    assert dump() == before
    basis = RigBasis.load(folder.path / avatar.rig_basis)
    assert [control.name for control in basis.controls] == ["turn"]
    # The face looks along -Y; turning to the left moves its middle to the right of the picture.
    middle = np.linalg.norm(basis.positions[basis.visible] - (47.5, 31.5), axis=1).argmin()
    assert basis.displacement[0][basis.visible][middle][0] > 5


def test_companions_of_a_face_hang_on_the_same_rig() -> None:
    head, teeth, stranger = make_head("Head"), make_head("Teeth"), make_head("Stranger")
    bpy.ops.object.empty_add()
    teeth.parent = head.parent = bpy.context.object
    bpy.ops.mesh.primitive_cube_add()
    bpy.context.object.parent = head.parent  # no shape keys
    bpy.context.view_layer.update()
    assert face_companions(bpy.context, head) == [teeth]
    stranger.parent = head
    assert set(face_companions(bpy.context, head)) == {teeth, stranger}


PROBLEMS = {
    "no camera": (lambda head: setattr(bpy.context.scene, "camera", None), "has no camera"),
    "an empty as camera": (lambda head: _camera_is_an_empty(), "is no camera object"),
    "panoramic": (lambda head: setattr(bpy.context.scene.camera.data, "type", "PANO"), "change its lens type"),
    "looking away": (lambda head: setattr(bpy.context.scene.camera, "rotation_euler", (0, 0, 0)), "sees nothing of"),
    "hidden": (lambda head: head.hide_set(True), "is hidden"),
    "not rendered": (lambda head: setattr(head, "hide_render", True), "is hidden"),
    "in a collection that is not rendered": (lambda head: _put_away(head), "in a collection that renders leave out"),
    "edit mode": (lambda head: bpy.ops.object.mode_set(mode="EDIT"), "go back to Object Mode"),
    "no faces": (lambda head: setattr(head, "data", bpy.data.meshes.new("Nothing")), "has no faces"),
    "not in the scene": (lambda head: bpy.context.scene.collection.objects.unlink(head), "not in the scene 'Scene'"),
    "excluded": (lambda head: setattr(_alone(head), "exclude", True), "excluded from the view layer 'ViewLayer'"),
    "held out": (lambda head: setattr(_alone(head), "holdout", True), "rendered as a holdout"),
    "indirect only": (lambda head: setattr(_alone(head), "indirect_only", True), "or indirectly only"),
    "not for cameras": (lambda head: setattr(head, "visible_camera", False), "hidden from the camera; tick Camera"),
    "no keys": (lambda head: head.shape_key_clear(), "has no shape keys"),
    "only muted keys": (
        lambda head: [setattr(key, "mute", True) for key in head.data.shape_keys.key_blocks],
        "None of the shape keys of 'Head' can be keyed: 'Brow Up' is muted",
    ),
}


def _alone(head: bpy.types.Object) -> bpy.types.LayerCollection:
    """Put the head into a collection of its own."""
    collection = bpy.data.collections.new("Alone")
    bpy.context.scene.collection.children.link(collection)
    collection.objects.link(head)
    bpy.context.scene.collection.objects.unlink(head)
    return bpy.context.view_layer.layer_collection.children["Alone"]


def _put_away(head: bpy.types.Object) -> None:
    collection = bpy.data.collections.new("Put away")
    bpy.context.scene.collection.children.link(collection)
    collection.objects.link(head)
    bpy.context.scene.collection.objects.unlink(head)
    collection.hide_render = True


def _camera_is_an_empty() -> None:
    bpy.ops.object.empty_add()
    bpy.context.scene.camera = bpy.context.object


@pytest.mark.parametrize(("spoil", "sentence"), PROBLEMS.values(), ids=PROBLEMS.keys())
def test_what_cannot_be_captured_is_one_sentence(folder: JobFolder, spoil, sentence: str) -> None:
    head = shot()
    spoil(head)
    before = dump()
    with pytest.raises(InputError, match=sentence) as caught:
        capture_now(head, folder)
    assert str(caught.value).count(". ") == 0 and str(caught.value).endswith(".")
    assert dump() == before


def test_the_operator_captures_what_is_active(tmp_path: Path) -> None:
    shot()
    path = tmp_path / "by operator.magplus"
    assert bpy.ops.magplus.capture(folder=str(path), background="TRANSPARENT", size=(48, 48)) == {"FINISHED"}
    assert (path / "avatar/avatar.png").is_file()
    assert (path / "avatar/rig_basis.npz").is_file()
    assert '"face_box"' in (path / "avatar/avatar.json").read_text()


def test_a_job_folder_may_be_beside_the_saved_file(tmp_path: Path) -> None:
    shot()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    with warnings.catch_warnings(action="error"):  # from 4.5 on such paths have to be declared
        assert bpy.ops.magplus.capture(folder="//job.magplus") == {"FINISHED"}
    assert (tmp_path / "job.magplus" / "avatar" / "avatar.png").is_file()


def test_the_operator_reports_what_is_wrong(tmp_path: Path) -> None:
    head = shot()
    with pytest.raises(RuntimeError, match="Choose a job folder"):
        bpy.ops.magplus.capture()
    with pytest.raises(RuntimeError, match="Save the file first"):
        bpy.ops.magplus.capture(folder="//a.magplus")
    head.hide_render = True
    with pytest.raises(RuntimeError, match="is hidden"):
        bpy.ops.magplus.capture(folder=str(tmp_path / "a.magplus"))
    bpy.context.scene.camera = None
    with pytest.raises(RuntimeError, match="has no camera"):
        bpy.ops.magplus.capture(folder=str(tmp_path / "a.magplus"))


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    head = shot()
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(RuntimeError, match="is a file, not a folder"):
        bpy.ops.magplus.capture(folder=str(tmp_path / "file" / "x.magplus"))
    folder = JobFolder.create(tmp_path / "locked.magplus")
    folder.avatar_dir.rmdir()
    folder.avatar_dir.write_text("in the way")
    with pytest.raises(InputError, match="a file, not a folder"):
        capture_now(head, folder)
    assert stat.S_ISREG(folder.avatar_dir.stat().st_mode)
