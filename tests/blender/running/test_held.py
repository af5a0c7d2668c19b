# SPDX-License-Identifier: GPL-3.0-or-later
"""Between two steps of a task Blender is a person's, who may undo, delete or open another file.

Python hears of an ID that is gone, and of nothing else: a key block, a modifier or a group of settings that a task
holds on to is then an address in memory that was freed, and reading it may end Blender.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator
from fractions import Fraction
from pathlib import Path
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any, TypeAlias

import bpy
import pytest
from bl_ext.user_default.magplus.backend_bridge.files.errors import InputError
from bl_ext.user_default.magplus.backend_bridge.job.folder import JobFolder
from bl_ext.user_default.magplus.backend_bridge.job.shot import Shot
from bl_ext.user_default.magplus.operators.animate import make_job
from bl_ext.user_default.magplus.operators.animation.keyframes import all_curves
from bl_ext.user_default.magplus.operators.animation.strength import add_strength
from bl_ext.user_default.magplus.operators.avatar.capture import CaptureRequest, capture
from bl_ext.user_default.magplus.operators.avatar.movement import movement
from bl_ext.user_default.magplus.operators.avatar.moving_shot import capture_shot
from bl_ext.user_default.magplus.operators.match_face import show_anchors
from bl_ext.user_default.magplus.operators.measure_controls import measure_controls
from bl_ext.user_default.magplus.operators.order import make_order
from bl_ext.user_default.magplus.operators.rig.studio import Viewpoint
from bl_ext.user_default.magplus.operators.running import steps as running
from bl_ext.user_default.magplus.operators.running.job_manager import TaskContext

from tests.blender.head import add_armature, add_camera, bind, glow, make_head, quick_render

Work: TypeAlias = Generator[Any, None, Any]
OF_BLENDER = (bpy.types.bpy_struct, bpy.types.bpy_prop_collection, bpy.types.bpy_prop_array)
SAFE = (bpy.types.ID, bpy.types.Context)  # there is one context, for good


def held(work: Work) -> set[str]:
    """What of Blender's a suspended generator can reach and would not be told about: the names of the types."""
    known: set[int] = set()
    found: set[str] = set()
    waiting: list[object] = [work]
    while waiting:
        each = waiting.pop()
        if id(each) in known or isinstance(each, (type, ModuleType)):
            continue
        known.add(id(each))
        if isinstance(each, OF_BLENDER):
            found |= set() if isinstance(each, SAFE) else {type(each).__name__}
        elif isinstance(each, FunctionType):  # the names of its module are no part of the work
            waiting += [each.__closure__, each.__defaults__, each.__kwdefaults__]
        else:
            waiting += gc.get_referents(each)
    return found


@pytest.fixture
def head(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> bpy.types.Object:
    """A head with all that a capture looks after: a group, an armature, a modifier, keys, a baked curve."""
    monkeypatch.setattr(running.Turn, "length", 0.0)
    monkeypatch.setattr(running, "LONGEST_TURN", 0.0)
    head = make_head(segments=12, rings=8, keys=("browDown", "jawOpen"))
    head.vertex_groups.new(name="face").add(range(len(head.data.vertices)), 1.0, "REPLACE")
    bind(head, add_armature({"root": (0, 0, 0)}), "root")
    head.modifiers.new("Bricks", "REMESH").mode = "BLOCKS"
    head.keyframe_insert("location", frame=1)
    for curve in all_curves(head.animation_data.action):
        add_strength(curve, "earlier", 0.0, None)
    glow(head)
    add_camera()
    quick_render(64, 48)
    settings = bpy.context.scene.magplus
    settings.avatar, settings.driving = head, str(tmp_path / "clip.mp4")
    (tmp_path / "clip.mp4").write_bytes(b"only its name matters here")
    settings.shape_keys = True
    bpy.context.view_layer.update()
    return head


def _view() -> Viewpoint:
    region = SimpleNamespace(
        view_perspective="PERSP", view_distance=6.0, view_matrix=bpy.context.scene.camera.matrix_world.inverted()
    )
    return Viewpoint.of(SimpleNamespace(region_3d=region, lens=50.0, clip_start=0.1, clip_end=100.0, camera=None))


def _job(folder: JobFolder) -> Work:
    return make_job(make_order(bpy.context, folder=folder.path, needs_worker=False), TaskContext(True))


def _capture(head: bpy.types.Object, folder: JobFolder, **options: Any) -> Work:
    return capture(bpy.context, CaptureRequest(head, **options), folder, blocking=True)


def _shot(head: bpy.types.Object, folder: JobFolder) -> Work:
    shot = Shot((2, 3), 1, Fraction(24))
    return capture_shot(bpy.context, CaptureRequest(head, frame=3), shot, (64, 48), folder, blocking=True)


WORK: dict[str, Callable[[bpy.types.Object, JobFolder], Work]] = {
    "measuring": lambda head, _: measure_controls(bpy.context, head, "face")(TaskContext(True)),
    "anchors": lambda head, _: show_anchors(bpy.context, head, None)(TaskContext(True)),
    "a capture": lambda head, folder: _capture(head, folder, vertex_group="face", frame=3, face_px=40),
    "a capture from a viewport": lambda head, folder: _capture(head, folder, view=_view()),
    "a job": lambda _, folder: _job(folder),
    "a moving shot": _shot,
    "a look at what moves": lambda head, _: movement(bpy.context, head, 1, (2.0, 5.0)),
}


@pytest.mark.parametrize("begin", WORK.values(), ids=WORK.keys())
def test_what_is_held_between_two_steps_is_known_to_be_gone_when_it_is(
    head: bpy.types.Object, tmp_path: Path, begin: Callable[[bpy.types.Object, JobFolder], Work]
) -> None:
    work = begin(head, JobFolder.create(tmp_path / "job.magplus"))
    found = [held(work) for _ in work]
    assert len(found) > 2
    assert not set().union(*found)


def test_what_a_generator_holds_is_seen(head: bpy.types.Object) -> None:
    def careless() -> Work:
        block = head.data.shape_keys.key_blocks["Smile"]
        for _ in head.modifiers:
            yield lambda: block

    work = careless()
    next(work)
    assert held(work) == {"ShapeKey", "ArmatureModifier"}


def test_a_vertex_group_that_is_renamed_while_it_is_read_ends_it_in_a_sentence(head: bpy.types.Object) -> None:
    head.modifiers.clear()
    steps = measure_controls(bpy.context, head, "face")(TaskContext(True))
    next(steps)
    head.vertex_groups["face"].name = "visage"
    with pytest.raises(InputError, match="no longer there"):
        list(steps)


def test_what_was_measured_of_one_avatar_is_no_list_of_another(head: bpy.types.Object) -> None:
    head.modifiers.clear()
    steps = measure_controls(bpy.context, head)(TaskContext(True))
    next(steps)
    bpy.context.scene.magplus.avatar = make_head("Other")
    with pytest.raises(InputError, match="changed while it was measured"):
        list(steps)
    assert not bpy.context.scene.magplus.controls
