# SPDX-License-Identifier: GPL-3.0-or-later
"""The rig basis says what each control really does to the picture, and measuring it leaves no trace."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import bpy
import numpy as np
import pytest
from bl_ext.user_default.magplus.backend_bridge.files.errors import InputError
from bl_ext.user_default.magplus.backend_bridge.rig.basis import Channel, Control, RigBasis
from bl_ext.user_default.magplus.backend_bridge.worker_client.messages import Progress
from bl_ext.user_default.magplus.operators.rig import face as rig_face
from bl_ext.user_default.magplus.operators.rig.basis import survey_steps
from bl_ext.user_default.magplus.operators.rig.controls import RigControl
from bl_ext.user_default.magplus.operators.rig.face import face_steps
from bl_ext.user_default.magplus.operators.rig.face_controls import default_controls
from bl_ext.user_default.magplus.operators.rig.kinds.bone import bone_controls
from bl_ext.user_default.magplus.operators.rig.kinds.property import property_controls
from bl_ext.user_default.magplus.operators.rig.kinds.shape_key import shape_key_controls
from bl_ext.user_default.magplus.operators.rig.projection import Projection, present_projection
from bl_ext.user_default.magplus.operators.running import steps as running

from tests.blender.head import add_armature, add_camera, bind, dump, make_head
from tests.blender.rig.found_face import find_face

SIZE = (640, 480)


def measure(
    *objects: bpy.types.Object,
    controls: Sequence[RigControl] | None = None,
    excluded: Mapping[str, str] | None = None,
    vertex_group: str = "",
    max_vertices: int = rig_face.MAX_VERTICES,
    on_progress: Callable[[Progress], object] | None = None,
) -> RigBasis:
    """The basis of the face that the scene's camera sees, by default for all controls that the rig has for it."""
    projection = present_projection(bpy.context, bpy.context.scene.camera, SIZE)
    if controls is None:
        controls, excluded = default_controls(objects)
    face = find_face(bpy.context, objects, projection, controls, vertex_group, max_vertices)
    return running.run_to_end(survey_steps(bpy.context, face, controls, excluded or {}), on_progress).basis


def one_piece_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a turn end after each piece, however long a busy machine waits between two of them."""
    monkeypatch.setattr(running.Turn, "length", 0.0)
    monkeypatch.setattr(running, "LONGEST_TURN", 0.0)


def named(basis: RigBasis, name: str) -> np.ndarray:
    return basis.displacement[[control.name for control in basis.controls].index(name)]


def displaced(basis: RigBasis, name: str, value: float) -> np.ndarray:
    """Where the vertices of the basis are when one shape key is set in Blender, [V, 2] px."""
    head = bpy.data.objects["Head"]
    head.data.shape_keys.key_blocks[name].value = value
    bpy.context.view_layer.update()
    depsgraph = bpy.context.evaluated_depsgraph_get()
    projection = Projection.of_camera(bpy.context.scene.camera, depsgraph, SIZE)
    mesh = head.evaluated_get(depsgraph).data
    points = np.array([head.matrix_world @ vertex.co for vertex in mesh.vertices])
    return projection.project(points)[0]


def test_each_key_moves_the_vertices_as_setting_it_does() -> None:
    add_camera()
    make_head()
    basis = measure(bpy.data.objects["Head"])
    assert [c.name for c in basis.controls] == ["Brow Up", "Smile", "Nod"]
    assert basis.image_size == SIZE
    for name in ("Brow Up", "Smile", "Nod"):
        before, after = displaced(basis, name, 0.0), displaced(basis, name, 0.25)
        assert basis.positions == pytest.approx(before, abs=1e-3)
        assert named(basis, name) * 0.25 == pytest.approx(after - before, abs=2e-3)
        displaced(basis, name, 0.0)


def test_up_is_minus_y_and_the_characters_left_is_plus_x() -> None:
    add_camera()
    basis = measure(make_head())
    brow, smile = named(basis, "Brow Up")[basis.visible], named(basis, "Smile")[basis.visible]
    assert brow[:, 1].min() < -10
    assert brow[:, 1].max() <= 1e-3
    assert smile[:, 0].max() > 10


def test_what_faces_away_is_not_visible() -> None:
    add_camera()
    head = make_head()
    basis = measure(head)
    y = np.array([vertex.co.y for vertex in head.data.vertices])
    # Of a unit sphere, a camera six units away sees what is nearer to it than 1/6.
    assert basis.visible[y < -0.25].all()
    assert not basis.visible[y > -0.1].any()


def test_what_is_behind_another_object_is_not_visible_and_glass_hides_nothing() -> None:
    add_camera()
    head = make_head()
    bpy.ops.mesh.primitive_plane_add(size=4, location=(2, -2, 0), rotation=(math.pi / 2, 0, 0))  # covers x > 0
    cover = bpy.context.object
    x = np.array([vertex.co.x for vertex in head.data.vertices])
    basis = measure(head)
    assert not basis.visible[x > 0.1].any()
    assert basis.visible[x < -0.1].any()
    glass = bpy.data.materials.new("Glass")
    if glass.node_tree is None:
        glass.use_nodes = True
    glass.node_tree.nodes["Principled BSDF"].inputs["Transmission Weight"].default_value = 1.0
    cover.data.materials.append(glass)
    assert measure(head).visible[x > 0.1].any()
    cover.data.materials.clear()
    cover.hide_render = True
    assert measure(head).visible[x > 0.1].any()
    cover.hide_render = False
    assert not measure(head).visible[x > 0.1].any()
    cage = bpy.data.collections.new("Cage")
    bpy.context.scene.collection.children.link(cage)
    cage.objects.link(cover)
    bpy.context.scene.collection.objects.unlink(cover)
    cage.hide_render = True
    assert measure(head).visible[x > 0.1].any()


def test_of_a_mesh_that_is_glass_in_part_only_the_rest_hides() -> None:
    add_camera()
    head = make_head()
    low, high = -3.0, 3.0
    panes = [  # from the camera on: a pentagon, two panes of glass over all of the head, a board over its x > 0
        [(low, -2.6, low), (0, -2.6, low), (high, -2.6, low), (high, -2.6, high), (low, -2.6, high)],
        [(low, -2.4, low), (high, -2.4, low), (high, -2.4, high), (low, -2.4, high)],
        [(0, -2.0, low), (high, -2.0, low), (high, -2.0, high), (0, -2.0, high)],
    ]
    corners = [corner for pane in panes for corner in pane]
    numbers = iter(range(len(corners)))
    mesh = bpy.data.meshes.new("Window")
    mesh.from_pydata(corners, [], [[next(numbers) for _ in pane] for pane in panes])
    glass, board = bpy.data.materials.new("Glass"), bpy.data.materials.new("Board")
    if glass.node_tree is None:
        glass.use_nodes = True
    glass.node_tree.nodes["Principled BSDF"].inputs["Alpha"].default_value = 0.1
    for material in (glass, board):
        mesh.materials.append(material)
    mesh.polygons.foreach_set("material_index", [0, 0, 1])
    bpy.context.scene.collection.objects.link(bpy.data.objects.new("Window", mesh))
    x = np.array([vertex.co.x for vertex in head.data.vertices])
    visible = measure(head).visible
    assert not visible[x > 0.1].any() and visible[x < -0.1].any()
    mesh.polygons.foreach_set("material_index", [0, 0, 0])
    mesh.update_tag()
    assert measure(head).visible[x > 0.1].any()


def test_an_eye_behind_its_lid_is_hidden() -> None:
    add_camera()
    lid = make_head("Lid")
    bpy.ops.mesh.primitive_uv_sphere_add(radius=0.99)
    eye = bpy.context.object
    basis = measure(lid, eye)
    own = len(lid.data.vertices)
    assert basis.visible[:own].any()
    assert not basis.visible[own:].any()


def test_modifiers_and_the_armature_take_part() -> None:
    add_camera()
    head = make_head()
    plain = np.abs(named(measure(head), "Smile")).max()
    armature = add_armature({"head": (0, 0, 0)})
    bind(head, armature, "head")
    head.modifiers.new("Subdivision", "SUBSURF").levels = 1
    pose = armature.pose.bones["head"]
    pose.rotation_mode = "XYZ"
    pose.rotation_euler.z = math.pi  # the head stands on its head: +X of the mesh is left in the picture
    pose.scale = (0.5, 0.5, 0.5)
    basis = measure(head)
    assert len(basis.positions) > 2 * len(head.data.vertices)
    smile = named(basis, "Smile")[basis.visible]
    # Half the size, and its front 5.5 instead of 5 units away; subdivision rounds it off a little.
    assert smile[:, 0].min() == pytest.approx(-plain / 2 * 5 / 5.5, rel=0.05)
    assert smile[:, 0].max() < plain / 20


def test_other_keys_at_their_present_values_take_part() -> None:
    add_camera()
    head = make_head()
    keys = head.data.shape_keys.key_blocks
    at_rest = measure(head)
    keys["Nod"].value = 1.0
    nodding = measure(head)
    assert (nodding.positions - at_rest.positions)[:, 1].min() > 5
    control = nodding.controls[2]
    assert (control.name, control.rest, control.low, control.high) == ("Nod", 1.0, 0.0, 1.0)
    # At the end of its range it is measured downwards, and means the same.
    assert named(nodding, "Nod") == pytest.approx(named(at_rest, "Nod"), abs=0.5)


def test_keys_that_cannot_be_keyed_are_left_out_with_the_reason() -> None:
    add_camera()
    head = make_head(keys=("Free", "Muted", "Driven"))
    keys = head.data.shape_keys.key_blocks
    keys["Muted"].mute = True
    keys["Driven"].driver_add("value")
    basis = measure(head)
    assert {c.name for c in basis.controls} >= {"Free", "Smile"}
    assert basis.excluded["Muted"] == "is muted"
    assert basis.excluded["Driven"] == "is driven"
    assert not {c.name for c in basis.controls} & set(basis.excluded)


def test_the_same_key_on_several_meshes_is_one_control() -> None:
    add_camera()
    head = make_head()
    teeth = make_head("Teeth")
    teeth.scale = (0.5, 0.5, 0.5)
    teeth.location.y = -1.5
    controls, excluded = shape_key_controls((head, teeth))
    assert [c.control.name for c in controls] == ["Brow Up", "Smile", "Nod"]
    assert controls[0].control.linked == (Channel("Teeth", 'key_blocks["Brow Up"].value'),)
    assert not excluded
    basis = measure(head, teeth)
    own = len(head.data.vertices)
    assert np.abs(named(basis, "Smile")[own:]).max() > 5
    teeth.data.shape_keys.key_blocks["Smile"].value = 0.5
    controls, _ = shape_key_controls((head, teeth))
    assert {c.control.name for c in controls} == {"Brow Up", "Smile", "Nod", "Teeth: Smile"}


def test_objects_that_share_a_mesh_share_its_controls() -> None:
    head = make_head()
    twin = head.copy()
    bpy.context.scene.collection.objects.link(twin)
    controls, _ = shape_key_controls((head, twin))
    assert [len(c.channels) for c in controls] == [1, 1, 1]


def with_lashes(head: bpy.types.Object) -> bpy.types.Object:
    """Put lashes before a head that smile when it does: a driver lets them."""
    lashes = make_head("Lashes")
    lashes.scale, lashes.location.y = (0.5, 0.5, 0.5), -1.5
    driver = lashes.data.shape_keys.key_blocks["Smile"].driver_add("value").driver
    driver.type = "AVERAGE"
    variable = driver.variables.new()
    variable.targets[0].id_type = "KEY"
    variable.targets[0].id = head.data.shape_keys
    variable.targets[0].data_path = 'key_blocks["Smile"].value'
    return lashes


def test_drivers_between_meshes_are_followed() -> None:
    add_camera()
    head = make_head()
    lashes = with_lashes(head)
    basis = measure(head, lashes)
    assert basis.excluded == {"Lashes: Smile": "is driven"}
    assert np.abs(named(basis, "Smile")[len(head.data.vertices) :]).max() > 5


def test_measuring_leaves_no_trace() -> None:
    add_camera()
    head = make_head(keys=("Ünïcode 眉",))
    keys = head.data.shape_keys.key_blocks
    keys["Smile"].value = 0.3
    keys["Nod"].keyframe_insert("value", frame=1)
    keys["Nod"].value = 0.123  # changed by hand since: not yet keyed, must not be lost
    before = dump()
    evaluated = displaced(None, "Smile", 0.3)
    measure(head)
    assert dump() == before
    assert displaced(None, "Smile", keys["Smile"].value) == pytest.approx(evaluated, abs=0)


def test_an_error_half_way_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    one_piece_a_turn(monkeypatch)
    add_camera()
    head = make_head()
    head.data.shape_keys.key_blocks["Smile"].value = 0.3
    before = dump()

    def interrupt(progress: Progress) -> None:
        if progress.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(head, on_progress=interrupt)
    assert dump() == before


def test_a_fault_while_a_control_is_moved_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    add_camera()
    head = make_head()
    armature = with_armature(head, "jaw")
    armature["smile"] = 0.25
    armature.id_properties_ui("smile").update(soft_min=0.0, soft_max=2.0)
    armature.pose.bones["jaw"].location.x = 0.3
    bones, _ = bone_controls(armature, ("jaw",))
    props, _ = property_controls(armature, ('["smile"]',))
    keys, _ = shape_key_controls((head,))
    bpy.context.view_layer.update()
    before = dump()
    real = rig_face.read_points
    for number in (3, 5, 9, 12):
        left = [number]

        def faulty(*arguments: object, left: list[int] = left) -> object:
            left[0] -= 1
            if left[0] < 0:
                raise RuntimeError("the depsgraph is out of order")
            return real(*arguments)

        monkeypatch.setattr(rig_face, "read_points", faulty)
        with pytest.raises(RuntimeError, match="out of order"):
            measure(head, controls=[*keys, *bones, *props])
        assert dump() == before


def test_the_response_of_a_control_that_bends_is_measured_around_the_present_pose() -> None:
    add_camera()
    head = make_head()
    armature = with_armature(head, "lid")
    bone = armature.pose.bones["lid"]
    bone.rotation_mode = "XYZ"
    bone.rotation_euler.x = 0.2
    bones, _ = bone_controls(armature, ("lid",), ("rotation",))
    [tilt] = [control for control in bones if control.control.name == "lid rotation X"]
    [basis_tilt] = measure(head, controls=[tilt]).controls
    assert basis_tilt.rest == pytest.approx(0.2)
    assert not shape_key_measured(head).response, "a shape key is in proportion"
    basis = measure(head, controls=[tilt])
    column = named(basis, "lid rotation X")[basis.visible].astype(float)
    for excursion in (-0.3, -0.1, 0.1, 0.35):
        bone.rotation_euler.x = 0.2 + excursion
        seen = measure(head, controls=[tilt]).positions[basis.visible] - basis.positions[basis.visible]
        amount = (seen * column).sum() / (column**2).sum()
        assert basis_tilt.excursion_of(np.array([amount]))[0] == pytest.approx(excursion, abs=0.02)


def shape_key_measured(head: bpy.types.Object) -> Control:
    [smile] = [control for control in shape_key_controls((head,))[0] if control.control.name == "Smile"]
    [measured] = measure(head, controls=[smile]).controls
    return measured


def with_armature(head: bpy.types.Object, bone: str) -> bpy.types.Object:
    """Let one bone, upright in the head's middle, move all of a head."""
    armature = add_armature({bone: (0, 0, 0)})
    bind(head, armature, bone)
    return armature


def test_between_two_turns_the_rig_is_as_it_was_and_must_stay_so(monkeypatch: pytest.MonkeyPatch) -> None:
    one_piece_a_turn(monkeypatch)
    add_camera()
    head = make_head()
    before, turns = dump(), []

    def look(progress: Progress) -> None:
        turns.append(progress.done)
        assert progress.total == 3
        assert dump() == before

    whole = measure(head, on_progress=look)
    assert turns == [1, 2, 3]
    monkeypatch.undo()
    assert np.array_equal(measure(head).displacement, whole.displacement)

    def interfere(_progress: Progress) -> None:
        head.location.x += 0.1

    with pytest.raises(InputError, match="moved while its rig was measured"):
        measure(head, on_progress=interfere)


def test_the_face_is_found_one_mesh_at_a_time_and_the_rig_is_as_it_was_in_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add_camera()
    head = make_head()
    with_lashes(head)
    controls, _ = shape_key_controls((head,))
    look = Projection.of_camera(bpy.context.scene.camera, bpy.context.evaluated_depsgraph_get(), SIZE)
    whole, before = find_face(bpy.context, (head,), look, controls), dump()
    one_piece_a_turn(monkeypatch)
    real, read = rig_face.read_points, []
    monkeypatch.setattr(rig_face, "read_points", lambda *arguments: read.append(arguments) or real(*arguments))
    steps = face_steps(bpy.context, (head,), look, controls)
    found, done = None, 0
    while found is None:
        try:
            next(steps)
        except StopIteration as end:
            found = end.value
        assert dump() == before
        assert len(read) - done <= 1
        done = len(read)
    assert done == 4, "the head and its lashes: at rest, and with its controls moved, all of which are the face's own"
    assert np.array_equal(found.points, whole.points) and np.array_equal(found.visible, whole.visible)


def test_finding_the_face_can_be_stopped_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    add_camera()
    head = make_head()
    head.data.shape_keys.key_blocks["Smile"].value = 0.3
    controls, _ = shape_key_controls((head,))
    look = Projection.of_camera(bpy.context.scene.camera, bpy.context.evaluated_depsgraph_get(), SIZE)
    before = dump()
    one_piece_a_turn(monkeypatch)
    for number in range(5):
        steps = face_steps(bpy.context, (head,), look, controls)
        for _ in range(number):
            next(steps)
        steps.close()
        assert dump() == before
    steps = face_steps(bpy.context, (head,), look, controls)
    next(steps), next(steps)
    bpy.data.objects.remove(head)
    with pytest.raises(InputError, match="no longer there"):
        for _ in steps:
            pass


@pytest.mark.parametrize("nowhere", [math.nan, math.inf, 3e38])
def test_a_control_that_sends_vertices_to_infinity_is_named(nowhere: float) -> None:
    add_camera()
    head = make_head()
    smile = head.data.shape_keys.key_blocks["Smile"]
    for point in smile.points:
        point.co.x = nowhere
    with pytest.raises(InputError, match="'Smile' sends vertices of the face to infinity; mend it, or mute it"):
        measure(head)
    smile.mute = True
    measure(head)


def test_a_mesh_that_changes_with_the_pose_is_refused() -> None:
    add_camera()
    head = make_head()
    head.modifiers.new("Remesh", "REMESH").voxel_size = 0.2
    before = dump()
    with pytest.raises(InputError, match="turn its modifier 'Remesh' off"):
        measure(head)
    assert dump() == before


def test_a_dense_mesh_is_thinned_evenly_and_stays_a_surface() -> None:
    add_camera()
    head = make_head(segments=96, rings=64)
    full, thin = measure(head), measure(head, max_vertices=1500)
    assert 750 < len(thin.positions) <= 1500
    assert len(full.positions) == len(head.data.vertices)
    assert thin.triangles.max() == len(thin.positions) - 1
    # Every full vertex has a thinned one near: nowhere is a hole.
    gaps = np.linalg.norm(full.positions[:, None] - thin.positions[None], axis=2).min(axis=1)
    assert gaps.max() < 0.08 * np.ptp(full.positions, axis=0).max()
    # A closed surface has V - E + F = 2.
    edges = np.unique(np.sort(np.concatenate([thin.triangles[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))])), axis=0)
    edges = np.unique(np.sort(edges, axis=1), axis=0)
    assert abs(len(thin.positions) - len(edges) + len(thin.triangles) - 2) < 30


def test_of_a_body_the_face_is_kept_and_gives_the_box() -> None:
    add_camera(distance=60)
    head = make_head()
    bpy.ops.mesh.primitive_grid_add(x_subdivisions=90, y_subdivisions=90, size=12, rotation=(math.pi / 2, 0, 0))
    body = bpy.context.object
    body.location = (0, 1.5, -5)
    with bpy.context.temp_override(active_object=head, selected_editable_objects=[head, body], object=head):
        bpy.ops.object.join()
    depsgraph = bpy.context.evaluated_depsgraph_get()
    projection = Projection.of_camera(bpy.context.scene.camera, depsgraph, (400, 400))
    head.shape_key_remove(head.data.shape_keys.key_blocks["Nod"])
    controls, _ = shape_key_controls((head,))
    face = find_face(bpy.context, (head,), projection, controls, max_vertices=500)
    (x, y, width, height) = face.box()
    assert width < 20 and height < 20  # the head; the body fills 110 px
    assert abs(x + width / 2 - 199.5) < 2 and abs(y + height / 2 - 199.5) < 3


def test_a_vertex_group_is_the_face() -> None:
    add_camera()
    head = make_head()
    upper = [vertex.index for vertex in head.data.vertices if vertex.co.z > 0.5]
    head.vertex_groups.new(name="oben").add(upper, 1.0, "REPLACE")
    basis = measure(head, vertex_group="oben")
    assert len(basis.positions) == len(upper)


def test_a_head_that_is_not_in_the_picture_is_refused() -> None:
    add_camera().rotation_euler.z = math.pi
    with pytest.raises(InputError, match="sees nothing of 'Head'"):
        measure(make_head())


def test_bones_and_custom_properties_are_controls_too() -> None:
    add_camera()
    head = make_head()
    armature = add_armature({"jaw": (0, 0, 0), "turned": (0, 0, 0)})
    bind(head, armature, "jaw")
    armature.pose.bones["jaw"].lock_location[1] = True
    armature.pose.bones["turned"].rotation_mode = "AXIS_ANGLE"
    bones, no_bones = bone_controls(armature, ("jaw", "turned"))
    assert no_bones == {
        "jaw location Y": "is locked",
        "turned rotation": "turns by axis and angle; change its rotation mode",
    }

    armature["smile"] = 0.0
    armature.pose.bones["jaw"]["größe"] = 1
    armature.id_properties_ui("smile").update(soft_min=0.0, soft_max=2.0)
    driver = head.data.shape_keys.key_blocks["Smile"].driver_add("value").driver
    driver.type = "AVERAGE"
    variable = driver.variables.new()
    variable.targets[0].id, variable.targets[0].data_path = armature, '["smile"]'
    props, no_props = property_controls(armature, ('["smile"]', 'pose.bones["jaw"]["größe"]'))
    assert no_props == {"größe": "is no decimal number"}

    before = dump()
    basis = measure(head, controls=[*bones, *props], excluded=no_bones | no_props)
    assert dump() == before
    # A bone along +Z with roll 0 has its X axis along world X.
    assert named(basis, "jaw location X")[basis.visible][:, 0].min() > 50
    turn = named(basis, "jaw rotation Y")[basis.visible]
    assert np.abs(turn[:, 0]).max() > 50
    assert named(basis, "smile")[basis.visible][:, 0].max() > 10
    assert basis.excluded["größe"] == "is no decimal number"


def test_a_bone_far_from_what_it_turns_turns_by_no_more_than_a_face_moves() -> None:
    add_camera()
    head = make_head()
    armature = add_armature({"far": (0, 0, -30)})
    armature.pose.bones["far"].rotation_mode = "XYZ"
    bind(head, armature, "far")
    controls, _ = bone_controls(armature, ("far",), motions=("rotation",))
    nod = measure(head, controls=controls).controls[0]
    assert controls[0].control.high > 0.7
    assert 0.15 * 1.5 < 30 * (nod.high - nod.rest) < 0.15 * 2.5, "of a head that is 2 units high"
    assert nod.low == pytest.approx(2 * nod.rest - nod.high)


def test_the_basis_comes_back_from_its_file(tmp_path) -> None:
    add_camera()
    head, teeth = make_head(), make_head("Zähne")
    teeth.data.shape_keys.key_blocks["Nod"].mute = True
    basis = measure(head, teeth)
    basis.save(tmp_path / "basis.npz")
    loaded = RigBasis.load(tmp_path / "basis.npz")
    assert loaded.controls == basis.controls
    assert loaded.excluded == basis.excluded == {"Zähne: Nod": "is muted"}
    assert np.array_equal(loaded.displacement, basis.displacement)


def test_fifty_three_keys_are_measured_each_alone() -> None:
    add_camera()
    head = make_head(keys=tuple(f"key {n}" for n in range(50)))
    basis = measure(head)
    assert len(basis.controls) == 53
    for name in ("Nod", "key 0", "key 49"):
        before, after = displaced(basis, name, 0.0), displaced(basis, name, 0.25)
        assert named(basis, name) * 0.25 == pytest.approx(after - before, abs=2e-3)
        displaced(basis, name, 0.0)


def test_a_basis_without_the_parts_of_controls_still_loads(tmp_path: Path) -> None:
    add_camera()
    basis = measure(make_head())
    older = [{k: v for k, v in asdict(c).items() if k not in {"part", "motion", "axis"}} for c in basis.controls]
    basis.save(tmp_path / "basis.npz")
    with np.load(tmp_path / "basis.npz") as data:
        stored = dict(data)
    stored["controls"] = np.frombuffer(json.dumps(older).encode(), np.uint8)
    np.savez_compressed(tmp_path / "older.npz", **stored)
    loaded = RigBasis.load(tmp_path / "older.npz").controls
    assert [control.name for control in loaded] == [control.name for control in basis.controls]
    assert basis.controls[0].part == basis.controls[0].name and loaded[0].part == ""
