# SPDX-License-Identifier: GPL-3.0-or-later
"""When two frames of a scene need a capture each, and when one capture serves both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bpy
import pytest
from bl_ext.user_default.magplus.operators.capture_key import moment_of

from tests.blender.head import add_camera, make_head

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
