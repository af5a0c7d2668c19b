# SPDX-License-Identifier: GPL-3.0-or-later
"""Faces that no detector knows: the rig tells where brows, eyes and mouth are, whichever of its meshes is chosen."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest
from bl_ext.user_default.magplus.backend_bridge.rig.anchors import FACE_ANCHORS
from bl_ext.user_default.magplus.operators.rig.anchors import anchors_of, moved_anchors, name_of
from bl_ext.user_default.magplus.operators.rig.avatar import face_companions
from bl_ext.user_default.magplus.operators.rig.basis import survey_steps
from bl_ext.user_default.magplus.operators.rig.face_controls import default_controls
from bl_ext.user_default.magplus.operators.rig.features import expected_anchors, find_features
from bl_ext.user_default.magplus.operators.rig.projection import present_projection
from bl_ext.user_default.magplus.operators.running.steps import run_to_end

from tests.blender.characters.stylised import ball_on_bones, cartoon_ball, owl, stick_face, wolf
from tests.blender.head import quick_render
from tests.blender.rig.found_face import find_face

MODULE = "bl_ext.user_default.magplus"
NAMES = {landmark: name for name, landmark in FACE_ANCHORS.items()}
# In the world: where a viewer would say that the points are.
CARTOON = {
    "left eye, outer corner": (0.6, -0.82, 0.28),
    "right eye, inner corner": (-0.12, -0.82, 0.28),
    "left brow, inner end": (0.14, -0.98, 0.7),
    "mouth, left corner": (0.4, -0.9, -0.35),
}
STICK = {
    "left eye, outer corner": (0.4, -0.05, 0.2),
    "right eye, inner corner": (-0.3, -0.05, 0.2),
    "right brow, outer end": (-0.55, -0.05, 0.5),
    "mouth, right corner": (-0.35, -0.05, -0.46),
}
WOLF = {
    "left eye, inner corner": (0.3, -0.77, 0.2),
    "right eye, outer corner": (-0.34, -0.78, 0.2),
    "left brow, outer end": (0.5, -0.66, 0.36),
}
OWL = {
    "left eye, outer corner": (0.68, -0.66, 0.18),
    "right brow, inner end": (-0.1, -0.8, 0.6),
    "mouth, left corner": (0.2, -0.85, -0.2),
}


def told_by(avatar: bpy.types.Object) -> dict[str, tuple[float, float]]:
    """Where a capture of this avatar expects the anchors."""
    objects = (avatar, *face_companions(bpy.context, avatar))
    projection = present_projection(bpy.context, bpy.context.scene.camera)
    controls, excluded = default_controls(objects)
    face = find_face(bpy.context, objects, projection, controls)
    survey = run_to_end(survey_steps(bpy.context, face, controls, excluded, responses=False))
    features = run_to_end(find_features(bpy.context, survey))
    return {NAMES[each.landmark]: each.position for each in expected_anchors(features)}


def off(found: dict[str, tuple[float, float]], places: dict[str, tuple[float, float, float]]) -> float:
    """How far the farthest of some anchors is from where it should be, px."""
    projection = present_projection(bpy.context, bpy.context.scene.camera)
    wanted, _ = projection.project(np.array(list(places.values())))
    return float(max(np.linalg.norm(np.array([found[name] for name in places]) - wanted, axis=1)))


@pytest.mark.parametrize(
    ("build", "places", "within"),
    [(cartoon_ball, CARTOON, 8), (stick_face, STICK, 8), (wolf, WOLF, 14), (owl, OWL, 12)],
)
def test_the_rig_tells_where_its_face_is(
    build: Callable[[], bpy.types.Object], places: dict[str, tuple[float, float, float]], within: float
) -> None:
    quick_render(320, 320)
    found = told_by(build())
    assert off(found, places) < within
    assert found["left eye, outer corner"][0] > found["right eye, outer corner"][0]


@pytest.mark.parametrize("chosen", ["Ball", "Brow.L", "Mouth", "Lid.R"])
def test_any_mesh_of_the_face_may_be_the_avatar(chosen: str) -> None:
    quick_render(320, 320)
    cartoon_ball()
    settings = bpy.context.scene.magplus
    settings.avatar = bpy.data.objects[chosen]
    assert settings.shape_keys, "the face has shape keys, if not on this mesh"
    assert off(told_by(settings.avatar), CARTOON) < 8
    bpy.ops.magplus.measure_controls()
    assert len([entry for entry in settings.controls if entry.solve]) == 9


@pytest.mark.parametrize("chosen", ["Ball", "Brow.L", "Mouth"])
def test_a_face_of_a_mesh_for_each_part_is_solved_in_all_of_them_by_the_bones_that_they_hang_on(chosen: str) -> None:
    """The parts are small and apart, and the skin between them isn't moved by any of their bones."""
    quick_render(320, 320)
    ball_on_bones()
    bpy.context.scene.magplus.avatar = bpy.data.objects[chosen]
    bpy.ops.magplus.measure_controls()
    entries = bpy.context.scene.magplus.controls
    solved = {entry.name.split(" ")[0] for entry in entries if entry.solve}
    assert solved == {f"{part}.{side}" for part in ("Braue", "Augenlid", "Mundwinkel") for side in "LR"}
    turned = {entry.name.split(" ")[0] for entry in entries if entry.solve and "rotation" in entry.name}
    assert turned == {"Augenlid.L", "Augenlid.R"}, "a corner of the mouth is moved, though its weights lie to one side"


def test_anchors_lie_on_a_wolfs_face_and_not_on_its_ears() -> None:
    quick_render(320, 320)
    bpy.context.scene.magplus.avatar = head = wolf()
    bpy.ops.magplus.show_anchors()
    projection = present_projection(bpy.context, bpy.context.scene.camera)
    places = np.array([anchor.matrix_world.translation for anchor in anchors_of(head)], np.float64)
    ears, _ = projection.project(np.array([(0.5, 0.1, 0.6), (-0.5, 0.1, 0.6)]))
    assert len(places) == len(FACE_ANCHORS)
    assert projection.project(places)[0][:, 1].min() > ears[:, 1].max(), [name_of(each) for each in anchors_of(head)]


def test_names_that_make_no_face_give_no_anchors() -> None:
    quick_render(320, 320)
    head = cartoon_ball()
    bpy.data.objects["Mouth"].location.z = 1.2  # above the eyes
    bpy.context.view_layer.update()
    assert told_by(head) == {}


def test_anchors_go_into_a_file_and_come_from_one(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    scene = quick_render(320, 320)
    scene.magplus.avatar = head = cartoon_ball()
    file, main = tmp_path / "anchors.json", importlib.import_module(f"{MODULE}.magplus_addon.commands").main
    assert main(["anchors", "--export", str(file)]) == 0
    written = json.loads(file.read_text())
    assert written["size"] == [320, 320] and set(written["anchors"]) == set(FACE_ANCHORS)
    bpy.ops.magplus.remove_anchors()

    scene.render.resolution_x = scene.render.resolution_y = 640
    nose = [160.0, 170.0]
    file.write_text(
        json.dumps({"schema": 1, "size": [320, 320], "anchors": {"nose, tip": nose, "152": [150.0, 250.0]}})
    )
    assert bpy.ops.magplus.import_anchors(filepath=str(file)) == {"FINISHED"}
    found = {
        each.landmark: each.position for each in moved_anchors(head, present_projection(bpy.context, scene.camera))
    }
    assert found[FACE_ANCHORS["nose, tip"]] == pytest.approx([2 * place + 0.5 for place in nose], abs=0.01)
    assert set(found) == {FACE_ANCHORS["nose, tip"], 152}, "they are held, as if they had been moved by hand"

    capfd.readouterr()
    for text, message in (
        ('{"schema": 1, "size": [320, 320], "anchors": {"tail": [1, 2]}}', "There is no anchor 'tail'"),
        ('{"schema": 1, "size": [320, 320], "anchors": {}}', "has no anchors"),
        ("not JSON", "is damaged"),
    ):
        file.write_text(text)
        assert main(["anchors", "--anchors", str(file), "--export", str(tmp_path / "again.json")]) == 2
        assert message in capfd.readouterr().err
    assert main(["anchors", "--anchors", str(tmp_path / "none.json"), "--export", str(file)]) == 2


EYES_AND_CHIN = {
    "right eye, outer corner": [96, 120],
    "left eye, outer corner": [224, 120],
    "chin, lowest point": [160, 260],
}


@pytest.mark.parametrize(
    ("size", "change", "message"),
    [
        ([320, 200], {}, "320 x 200 px, and this one has 320 x 320 px, which is another shape"),
        ([3200, 3200], {}, ""),
        ([320, 320], {"chin, lowest point": [160, 345]}, ""),
        ([320, 320], {"nose, tip": [968, 560]}, "'nose, tip' at .968, 560., far outside its picture of 320 x 320 px"),
        ([320, 320], {"nose, tip": [160, -400]}, "far outside"),
        ([320, 320], {"left eye, outer corner": [float("nan"), 1]}, "can.t be NaN"),
        ([320, 320], {"left eye, outer corner": [96, 120], "right eye, outer corner": [224, 120]}, "wrong way round"),
        ([320, 320], {"chin, lowest point": [160, -20]}, "wrong way round"),
        ([320, 320], {"left eye, outer corner": [170, 60], "chin, lowest point": [30, 180]}, ""),  # a head on its side
    ],
)
def test_anchors_that_can_not_be_meant_are_refused(
    tmp_path: Path, size: list[int], change: dict[str, list[float]], message: str
) -> None:
    scene = quick_render(320, 320)
    scene.magplus.avatar = cartoon_ball()
    file = tmp_path / "anchors.json"
    file.write_text(json.dumps({"schema": 1, "size": size, "anchors": EYES_AND_CHIN | change}))
    if not message:
        assert bpy.ops.magplus.import_anchors(filepath=str(file)) == {"FINISHED"}
        return
    with pytest.raises(RuntimeError, match=message):
        bpy.ops.magplus.import_anchors(filepath=str(file))
    assert anchors_of(scene.magplus.avatar) == []


@pytest.mark.parametrize("build", [wolf, stick_face, owl])
def test_exported_anchors_can_be_imported_wherever_the_face_is(
    tmp_path: Path, build: Callable[[], bpy.types.Object]
) -> None:
    scene = quick_render(320, 320)
    scene.magplus.avatar = build()
    bpy.ops.magplus.show_anchors()
    for roll in (0, 90, 180):
        scene.camera.rotation_euler.rotate_axis("Z", math.radians(roll))
        bpy.context.view_layer.update()
        file = str(tmp_path / f"{roll}.json")
        assert bpy.ops.magplus.export_anchors(filepath=file) == {"FINISHED"}
        assert bpy.ops.magplus.import_anchors(filepath=file) == {"FINISHED"}


def test_the_list_of_controls_can_be_kept_in_a_file(tmp_path: Path) -> None:
    quick_render(320, 320)
    cartoon_ball()
    main = importlib.import_module(f"{MODULE}.magplus_addon.commands").main
    assert main(["controls", "--save", str(tmp_path / "measured.blend")]) == 0, "any mesh of the only face will do"
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "measured.blend"))
    assert {"Brow.L: Up", "Brow.R: Up", "Smile.L"} <= {entry.name for entry in bpy.context.scene.magplus.controls}
