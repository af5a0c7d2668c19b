# SPDX-License-Identifier: GPL-3.0-or-later
"""What reads the scene step by step ends in a sentence when another scene or view layer is chosen between two steps."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

import bpy
import pytest
from bl_ext.user_default.magplus.backend_bridge.files.errors import CancelledError, ExitCode, InputError
from bl_ext.user_default.magplus.operators.match_face import show_anchors
from bl_ext.user_default.magplus.operators.measure_controls import measure_controls
from bl_ext.user_default.magplus.operators.running.job_manager import Steps, TaskContext, manager
from bl_ext.user_default.magplus.operators.running.steps import in_one_scene, run_to_end

from tests.blender.head import add_camera, make_head, quick_render

CHOSEN = "Another scene or view layer was chosen meanwhile"


def choose_a_scene() -> None:
    bpy.context.window.scene = bpy.data.scenes.new("Another")


def choose_a_view_layer() -> None:
    bpy.context.window.view_layer = bpy.context.scene.view_layers.new("Another")


@pytest.mark.parametrize("choose", [choose_a_scene, choose_a_view_layer])
def test_the_work_is_told_of_another_scene_as_of_a_cancel(choose: Callable[[], None]) -> None:
    told: list[BaseException] = []

    def work() -> Iterator[int]:
        try:
            yield from range(3)
        except BaseException as error:
            told.append(error)
            raise

    steps = in_one_scene(bpy.context, work())
    assert next(steps) == 0
    choose()
    with pytest.raises(InputError, match=CHOSEN):
        next(steps)
    assert isinstance(told[0], InputError)


def test_in_the_same_scene_the_work_ends_as_it_would_alone() -> None:
    def work() -> Generator[int, None, str]:
        try:
            yield from range(3)
        except CancelledError:
            return "cancelled"
        return "done"

    numbers: list[int] = []
    assert run_to_end(in_one_scene(bpy.context, work()), numbers.append) == "done"
    assert numbers == [0, 1, 2]
    steps = in_one_scene(bpy.context, work())
    next(steps)
    with pytest.raises(StopIteration) as end:
        steps.throw(CancelledError("Cancelled."))
    assert end.value.value == "cancelled"


@pytest.mark.parametrize("choose", [choose_a_scene, choose_a_view_layer])
@pytest.mark.parametrize("what", ["controls", "anchors"])
def test_another_scene_is_neither_measured_nor_given_anchors(what: str, choose: Callable[[], None]) -> None:
    quick_render()
    add_camera()
    head, scene = make_head(), bpy.context.scene
    scene.magplus.avatar = head
    tasks = {"controls": measure_controls(bpy.context, head), "anchors": show_anchors(bpy.context, head, None)}

    def body(task: TaskContext) -> Steps:
        steps = tasks[what](task)
        yield next(steps)
        choose()
        return (yield from steps)

    outcome = manager.run("test", body)
    assert (outcome.exit_code, outcome.sentence[: len(CHOSEN)]) == (ExitCode.BAD_INPUT, CHOSEN)
    assert not scene.magplus.controls
    assert not head.children
