# SPDX-License-Identifier: GPL-3.0-or-later
"""The bone rigs that people have: what is solved by default is of the face, and no eye leaves its socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bpy
import numpy as np
import pytest
from bl_ext.user_default.magplus.backend_bridge.rig.basis import Control
from bl_ext.user_default.magplus.operators.measure_controls import choice_of, matching
from bl_ext.user_default.magplus.operators.rig.basis import Survey, survey_steps
from bl_ext.user_default.magplus.operators.rig.controls import restored
from bl_ext.user_default.magplus.operators.rig.face_controls import chosen_controls
from bl_ext.user_default.magplus.operators.rig.projection import present_projection
from bl_ext.user_default.magplus.operators.running.steps import run_to_end

from tests.blender.characters.makehuman import MakeHumanHead, mpfb_default, rigify_classic, rigify_skin
from tests.blender.head import add_camera, quick_render
from tests.blender.rig.found_face import find_face

ELSEWHERE = ("root", "head", "neck", "torso", "ear", "tweak", "spine", "clavicle", "shoulder", "temporalis", "teeth")
Built = tuple[MakeHumanHead, bpy.types.Object]


def measured(build: Callable[[], Built]) -> tuple[MakeHumanHead, dict[str, Any]]:
    """Build a head, look at it, measure it as a person would; returns it, and the list by name."""
    quick_render(256, 256)
    camera = add_camera(1.4, 85.0)
    camera.location.z = 1.5
    head, _ = build()
    settings = bpy.context.scene.magplus
    settings.avatar = head.skin
    bpy.ops.magplus.measure_controls()
    return head, {entry.name: entry for entry in settings.controls}


def survey_of_what_is_solved(head: MakeHumanHead) -> Survey:
    """Measure the chosen controls again, as a capture does."""
    controls, excluded = chosen_controls((head.skin,), choice_of(bpy.context.scene.magplus))
    face = find_face(bpy.context, (head.skin,), present_projection(bpy.context, bpy.context.scene.camera), controls)
    return run_to_end(survey_steps(bpy.context, face, controls, excluded, responses=False))


def eye_shifts(survey: Survey, control: Control, value: float) -> list[float]:
    """How far the middle of each eyeball goes when a control has this value, in radii of the eye."""
    index = [each.name for each in survey.basis.controls].index(control.name)
    live, eyes = survey.controls[index], bpy.data.objects["Eyes"]

    def middles() -> list[np.ndarray]:
        bpy.context.view_layer.update()
        mesh = eyes.evaluated_get(bpy.context.evaluated_depsgraph_get()).to_mesh()
        co = np.array([vertex.co[:] for vertex in mesh.vertices])
        rest = np.array([vertex.co[:] for vertex in eyes.data.vertices])
        return [co[rest[:, 0] * side > 0].mean(0) for side in (1, -1)]

    before = middles()
    with restored([live]):
        live.write(value)
        after = middles()
    return [float(np.linalg.norm(b - a)) / survey.face.eyes[0].radius for a, b in zip(before, after, strict=True)]


def rigify_walking() -> Built:
    """A rig in a shot: it has another name, an earlier take moves its body, its brows are posed.

    Away from where the body rests a setting such as `eyes_follow` moves the eyes.
    """
    head, rig = rigify_classic()
    rig.name, head.skin.name = "Грета_rig", "Greta Body"
    rig.pose.bones["torso"].location = (0.0, 0.0, 0.02)
    rig.pose.bones["torso"].keyframe_insert("location", frame=1)
    rig.pose.bones["brow.T.L"].location = (0.0, 0.002, 0.001)
    bpy.context.view_layer.update()
    return head, rig


@pytest.mark.parametrize(
    "build",
    [rigify_walking, mpfb_default, pytest.param(rigify_skin, marks=[pytest.mark.slow, pytest.mark.two_series])],
)
def test_what_is_solved_by_default_is_of_the_face(build: Callable[[], Built]) -> None:
    head, entries = measured(build)
    solved = {name for name, entry in entries.items() if entry.solve}
    bones = {name.rsplit(" ", 2)[0] for name in solved}
    assert not [bone for bone in bones if bone.split(".")[0].split("_")[0].rstrip("0123456789") in ELSEWHERE]
    assert not [name for name in solved if name.startswith("jaw_master ") and "location" in name], "a jaw turns"
    assert any(name.startswith(("jaw_master rotation", "jaw rotation")) for name in solved)
    for part in ("brow", "oculi") if build is not mpfb_default else ("oculi", "orbicularis", "oris"):
        assert part == "oculi" or any(bone.startswith(part) for bone in bones)
    whole = {name.rsplit(" ", 2)[0] for name, entry in entries.items() if entry.note == "moves the whole head"}
    assert "head" in whole and any(bone.startswith("neck") for bone in whole)

    survey = survey_of_what_is_solved(head)
    assert len(survey.face.eyes) == 2
    of_eyes = [control for control in survey.basis.controls if "eye" in control.part]
    assert of_eyes, "eyes can look about"
    for control in of_eyes:
        for value in (control.low, control.high):
            assert max(eye_shifts(survey, control, value)) < 0.15, f"{control.name} at {value:.3f}"


def test_a_pattern_takes_what_a_face_uses_and_a_full_name_what_it_says() -> None:
    measured(mpfb_default)
    settings = bpy.context.scene.magplus
    solved = {entry.name for entry in settings.controls if entry.solve}
    jaw = matching(settings, ["jaw*"], usual=True)
    assert jaw == {name for name in solved if name.startswith("jaw")} and jaw < matching(settings, ["jaw*"])
    assert matching(settings, ["head location X", "eye.L*"], usual=True) >= {"head location X", "eye.L rotation X"}
    assert "eye.L location X" not in matching(settings, ["eye.L*"], usual=True)
    assert matching(settings, ["neck01*"], usual=True) == matching(settings, ["neck01*"]), "nothing of it is usual"


def test_a_name_is_not_needed_to_separate_a_head_from_a_brow() -> None:
    """The same rig, and all that its names say is a number."""

    def nameless() -> Built:
        head, armature = mpfb_default()
        numbers = {bone.name: f"Bone.{index:03}" for index, bone in enumerate(armature.data.bones)}
        nameless.names = {number: name for name, number in numbers.items()}  # type: ignore[attr-defined]
        for name, number in numbers.items():
            armature.data.bones[name].name = number
        return head, armature

    _, entries = measured(nameless)
    solved = {nameless.names[name.rsplit(" ", 2)[0]] for name, entry in entries.items() if entry.solve}  # type: ignore[attr-defined]
    assert not solved & {"head", "neck01", "neck02", "neck03", "spine01"}
    assert {"jaw", "oculi01.L", "oris05"} <= solved
