# SPDX-License-Identifier: GPL-3.0-or-later
"""When two frames of a scene need a capture each, and when one capture serves both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bpy
import pytest
from bl_ext.user_default.magplus.operators.avatar.capture_key import moment_of
from bl_ext.user_default.magplus.operators.avatar.picture_state import state_of, unknown_in
from bl_ext.user_default.magplus.operators.avatar.rig_state import rig_of

from tests.blender.head import add_armature, add_camera, make_head

REST, ALSO_AT_REST, ACTING = 5, 8, 30


def smile(head: bpy.types.Object) -> None:
    key = head.data.shape_keys.key_blocks["Smile"]
    _keyed(key, "value", 0.0, 0.6)


def camera_ride(head: bpy.types.Object) -> None:
    camera = bpy.context.scene.camera
    _keyed(camera, "location", camera.location.copy(), camera.location * 1.2)


def light(head: bpy.types.Object) -> None:
    lamp = bpy.data.lights.new("Lamp", "POINT")
    bpy.context.collection.objects.link(bpy.data.objects.new("Lamp", lamp))
    _keyed(lamp, "shadow_soft_size", 0.1, 2.0)


def focus(head: bpy.types.Object) -> None:
    _keyed(bpy.context.scene.camera.data.dof, "focus_distance", 3.0, 9.0)


def cut(head: bpy.types.Object) -> None:
    first = bpy.context.scene.camera
    second = bpy.data.objects.new("Second", first.data)
    second.matrix_world = first.matrix_world
    bpy.context.collection.objects.link(second)
    for frame, camera in ((1, first), (20, second)):
        bpy.context.scene.timeline_markers.new(f"F{frame}", frame=frame).camera = camera


def hidden(head: bpy.types.Object) -> None:
    """What viewports hide is rendered, and not evaluated before that."""
    hat = bpy.data.objects.new("Hat", head.data)
    bpy.context.collection.objects.link(hat)
    hat.hide_viewport = True
    _keyed(hat, "location", (0.0, 0.0, 1.0), (0.0, 0.0, 2.0))


def kind_of_rotation(head: bpy.types.Object) -> None:
    _keyed(head, "rotation_mode", "XYZ", "ZYX")


def unit(head: bpy.types.Object) -> None:
    """A driver moves the face by a custom property, which is keyed."""
    head["mood"] = 0.0
    curve = head.data.shape_keys.key_blocks["Smile"].driver_add("value")
    variable = curve.driver.variables.new()
    variable.targets[0].id, variable.targets[0].data_path = head, '["mood"]'
    curve.driver.expression = variable.name
    _keyed(head, '["mood"]', 0.0, 0.5)


def _keyed(owner: Any, path: str, rest: Any, acting: Any) -> None:
    """Key a value at rest up to frame 10, and another one from frame 20 on."""
    for frame, value in ((1, rest), (10, rest), (20, acting), (40, acting)):
        if path.startswith("["):
            owner[path[2:-2]] = value
        else:
            setattr(owner, path, value)
        owner.keyframe_insert(path, frame=frame)


KINDS = (smile, camera_ride, light, focus, cut, hidden, kind_of_rotation, unit)


@pytest.mark.parametrize("animate", KINDS, ids=lambda each: each.__name__)
def test_frames_that_show_the_same_share_a_capture(animate: Callable[[bpy.types.Object], None]) -> None:
    head = make_head()
    add_camera()
    animate(head)
    scene = bpy.context.scene
    scene.frame_set(2)
    moments = [moment_of(bpy.context, frame) for frame in (REST, ALSO_AT_REST, ACTING, None)]
    assert moments[0] == moments[1] == moments[3] != moments[2]
    assert scene.frame_current == 2


def test_what_moves_without_keys_is_captured_at_each_frame() -> None:
    head = make_head()
    add_camera()
    curve = head.data.shape_keys.key_blocks["Smile"].driver_add("value")
    variable = curve.driver.variables.new()
    variable.targets[0].id_type, variable.targets[0].id = "SCENE", bpy.context.scene
    variable.targets[0].data_path = "frame_current"
    curve.driver.expression = f"{variable.name} > 20"
    assert moment_of(bpy.context, REST) != moment_of(bpy.context, ALSO_AT_REST)


def _shown(name: str, data: Any) -> Any:
    bpy.context.collection.objects.link(bpy.data.objects.new(name, data))
    return data


def _text(_: Any) -> Callable[[], Any]:
    body = _shown("Text", bpy.data.curves.new("Text", "FONT"))
    body.body = "A word"
    return lambda: setattr(body, "body", "Another word")


def _metaball(_: Any) -> Callable[[], Any]:
    ball = _shown("Ball", bpy.data.metaballs.new("Ball")).elements.new()
    return lambda: setattr(ball, "radius", 3.0)


def _curve(_: Any) -> Callable[[], Any]:
    wire = _shown("Wire", bpy.data.curves.new("Wire", "CURVE"))
    wire.bevel_depth = 0.1
    spline = wire.splines.new("POLY")
    spline.points.add(3)
    return lambda: setattr(spline.points[0], "co", (1, 2, 3, 1))


def _hair(_: Any) -> Callable[[], Any]:
    hair = _shown("Hair", bpy.data.hair_curves.new("Hair"))
    hair.add_curves([3, 3])
    return lambda: setattr(hair.points[2], "position", (0, 0, 1))


def _drawing(_: Any) -> Callable[[], Any]:
    if hasattr(bpy.data, "grease_pencils_v3") or bpy.app.version >= (4, 3):
        drawn = _shown("Ink", getattr(bpy.data, "grease_pencils_v3", bpy.data.grease_pencils).new("Ink"))
        drawing = drawn.layers.new("Lines").frames.new(1).drawing
        drawing.add_strokes([2])
        return lambda: setattr(drawing.strokes[0].points[1], "position", (0, 0, 1))
    drawn = _shown("Ink", bpy.data.grease_pencils.new("Ink"))
    stroke = drawn.layers.new("Lines").frames.new(1).strokes.new()
    stroke.points.add(2)
    return lambda: setattr(stroke.points[1], "co", (0, 0, 1))


def _particles(head: Any) -> Callable[[], Any]:
    head.modifiers.new("Fur", "PARTICLE_SYSTEM")
    fur = head.particle_systems[0].settings
    fur.type, fur.count = "HAIR", 20
    return lambda: setattr(fur, "hair_length", 0.2)


def _colours_of_vertices(head: Any) -> Callable[[], Any]:
    colours = head.data.color_attributes.new("Paint", "FLOAT_COLOR", "POINT")
    return lambda: setattr(colours.data[7], "color", (1, 0, 0, 1))


def _uv(head: Any) -> Callable[[], Any]:
    return lambda: setattr(head.data.uv_layers[0].data[3], "uv", (0.9, 0.1))


def _light(_: Any) -> Callable[[], Any]:
    lamp = _shown("Lamp", bpy.data.lights.new("Lamp", "SPOT"))
    return lambda: setattr(lamp, "spot_size", 0.3)


def _depth_of_field(_: Any) -> Callable[[], Any]:
    return lambda: setattr(bpy.context.scene.camera.data.dof, "use_dof", True)


def _world(_: Any) -> Callable[[], Any]:
    bpy.context.scene.world = bpy.data.worlds.new("World")
    return lambda: setattr(bpy.context.scene, "world", bpy.data.worlds.new("Other"))


def _material(head: Any) -> Any:
    skin = bpy.data.materials.new("Skin")
    if bpy.app.version < (5, 0):
        skin.use_nodes = True
    head.data.materials.append(skin)
    return skin.node_tree


def _ramp(head: Any) -> Callable[[], Any]:
    ramp = _material(head).nodes.new("ShaderNodeValToRGB")
    return lambda: setattr(ramp.color_ramp.elements[0], "position", 0.4)


def _curves_of_a_node(head: Any) -> Callable[[], Any]:
    node = _material(head).nodes.new("ShaderNodeRGBCurve")
    return lambda: node.mapping.curves[0].points.new(0.5, 0.9)


def _kind_of_a_node(head: Any) -> Callable[[], Any]:
    node = _material(head).nodes.new("ShaderNodeMath")
    return lambda: setattr(node, "operation", "POWER")


def _link(head: Any) -> Callable[[], Any]:
    tree = _material(head)
    return lambda: tree.links.remove(tree.links[0])


def _image_of_a_node(head: Any) -> Callable[[], Any]:
    node = _material(head).nodes.new("ShaderNodeTexImage")
    node.image, other = bpy.data.images.new("One", 4, 4), bpy.data.images.new("Two", 4, 4)
    return lambda: setattr(node, "image", other)


def _colours_of_an_image(_: Any) -> Callable[[], Any]:
    image = bpy.data.images.new("One", 4, 4)
    return lambda: setattr(image.colorspace_settings, "name", "Non-Color")


def _modifier_of_renders(head: Any) -> Callable[[], Any]:
    smooth = head.modifiers.new("Smooth", "SUBSURF")
    smooth.levels = 0
    return lambda: setattr(smooth, "render_levels", 3)


def _given_to_nodes(head: Any) -> Callable[[], Any]:
    tree = bpy.data.node_groups.new("Grow", "GeometryNodeTree")
    socket = tree.interface.new_socket("Much", in_out="INPUT", socket_type="NodeSocketFloat")
    nodes = head.modifiers.new("Grow", "NODES")
    nodes.node_group = tree
    if hasattr(nodes, "properties"):  # from Blender 5.3 on
        return lambda: setattr(getattr(nodes.properties.inputs, socket.identifier), "value", 0.7)
    return lambda: nodes.__setitem__(socket.identifier, 0.7)


def _shader_reads_it(head: Any) -> Callable[[], Any]:
    head["blush"] = 0.1
    return lambda: head.__setitem__("blush", 0.8)


def _left_out(_: Any) -> Callable[[], Any]:
    bpy.context.scene.collection.children.link(bpy.data.collections.new("Props"))
    return lambda: setattr(bpy.context.view_layer.layer_collection.children["Props"], "holdout", True)


def _look(_: Any) -> Callable[[], Any]:
    return lambda: setattr(bpy.context.scene.view_settings, "exposure", 1.0)


def _curve_of_the_view(_: Any) -> Callable[[], Any]:
    view = bpy.context.scene.view_settings
    view.use_curve_mapping = True
    return lambda: setattr(view.curve_mapping, "white_level", (0.5, 0.5, 0.5))


def _script(_: Any) -> Callable[[], Any]:
    text = bpy.data.texts.new("shader.osl")
    return lambda: text.write("shader x() {}")


def _called_at_each_render(_: Any) -> Callable[[], Any]:
    return lambda: bpy.app.handlers.render_pre.append(lambda *_: print("another face"))


CHANGES = (
    *(_text, _metaball, _curve, _hair, _drawing, _particles, _colours_of_vertices, _uv, _light, _depth_of_field),
    *(_world, _ramp, _curves_of_a_node, _kind_of_a_node, _link, _image_of_a_node, _colours_of_an_image),
    *(_modifier_of_renders, _given_to_nodes, _shader_reads_it, _left_out, _look, _curve_of_the_view, _script),
    _called_at_each_render,
)


@pytest.mark.parametrize("prepared", CHANGES, ids=lambda each: each.__name__.strip("_"))
def test_what_changes_the_picture_changes_its_state(prepared: Callable[[Any], Callable[[], Any]]) -> None:
    head = make_head(segments=8, rings=6)
    add_camera()
    change = prepared(head)

    def state() -> str:
        bpy.context.view_layer.update()
        return str(state_of(bpy.context))

    before = state()
    assert state() == before
    change()
    bpy.context.evaluated_depsgraph_get().update()
    changed = state()
    bpy.app.handlers.render_pre.clear()
    assert changed != before


def test_the_state_outlives_the_file(tmp_path: Any) -> None:
    """Nothing in it is of the session alone: it is the same in the Blender that opens the file again."""
    head = make_head(segments=8, rings=6)
    add_camera()
    for prepared in CHANGES[:-1]:
        prepared(head)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "all.blend"))
    states = []
    for _ in range(2):
        bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "all.blend"))
        bpy.context.view_layer.update()
        states.append(state_of(bpy.context))
    assert states[0] == states[1]


def test_what_is_painted_and_not_saved_is_not_told_from_other_pictures(tmp_path: Any) -> None:
    image = bpy.data.images.new("Skin", 4, 4)
    image.use_fake_user = True
    assert unknown_in(bpy.context) == ""
    image.pixels[0] = 0.5
    assert "'Skin' was changed and is not saved" in unknown_in(bpy.context)
    image.pack()
    assert unknown_in(bpy.context) == ""


def test_a_rig_that_moves_otherwise_is_measured_anew() -> None:
    head = make_head(segments=8, rings=6)
    armature = add_armature({"Jaw": (0, 0, 0)})
    smile = head.data.shape_keys.key_blocks["Smile"]
    group = head.vertex_groups.new(name="Jaw")
    group.add([0, 1], 0.5, "ADD")
    driver = smile.driver_add("value").driver
    driver.expression = "0.5"
    limit = armature.pose.bones["Jaw"].constraints.new("LIMIT_ROTATION")
    changes = (
        lambda: setattr(smile.points[3], "co", (1, 2, 3)),
        lambda: setattr(smile, "slider_max", 2.0),
        lambda: group.add([0], 0.9, "REPLACE"),
        lambda: setattr(driver, "expression", "0.6"),
        lambda: setattr(limit, "max_x", 0.2),
    )
    rigs = [rig_of((head,))]
    for change in changes:
        assert rig_of((head,)) == rigs[-1]
        change()
        rigs.append(rig_of((head,)))
    assert len(set(rigs)) == len(changes) + 1
