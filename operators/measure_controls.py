# SPDX-License-Identifier: GPL-3.0-or-later
"""Filling the list of controls that a person chooses from: found on the rig, measured through the camera."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

import bpy

from ..backend_bridge.files.errors import InputError
from ..backend_bridge.rig.basis import Control
from ..backend_bridge.rig.part_units import in_words, readings
from ..backend_bridge.worker_client.messages import Progress
from .avatar.bare_scene import bare_scene, captured_frame
from .avatar.broken_drivers import broken_drivers
from .blender.operator import OperatorResult
from .blender.properties import EnumProperty, with_properties
from .rig.appraisal import Appraisal
from .rig.avatar import capture_problem, chosen_avatar, face_companions, seen_avatar_problem
from .rig.basis import Survey, survey_steps
from .rig.face import CHANGED, face_steps
from .rig.face_controls import (
    ControlChoice,
    is_left,
    partners,
    search_controls,
    solved_by_default,
)
from .rig.judgement import appraise
from .rig.projection import present_projection
from .rig.steady import steadily
from .rig.studio import camera_to_use
from .rig.surface import LOOKING
from .running.job_manager import Outcome, Steps, TaskContext
from .running.steps import in_one_scene
from .running.task_operator import TaskOperator, busy_reason

KIND = "controls"


def measure_controls(
    context: bpy.types.Context, target: bpy.types.Object, vertex_group: str = ""
) -> Callable[[TaskContext], Steps]:
    """Return the task that measures every control of a face, as the scene's camera sees it, and fills the list."""

    def steps(task: TaskContext) -> Steps:
        scene = context.scene
        avatar = scene.magplus.avatar
        if problem := capture_problem(context, target, vertex_group):
            raise InputError(problem)
        objects = (target, *face_companions(context, target))
        if broken := broken_drivers(target, objects):
            task.warn(broken)
        frame = captured_frame(scene.magplus)
        with bare_scene(context, frame), camera_to_use(scene, None) as camera:
            projection = present_projection(context, camera)
            controls, excluded = search_controls(objects, projection)
            if not controls:
                raise InputError(f"Nothing on {target.name!r} or its rig can be keyed; add shape keys or bones to it.")

            def measure() -> Generator[Progress, None, Survey]:
                face = yield from face_steps(context, objects, projection, controls, vertex_group)
                return (yield from survey_steps(context, face, controls, excluded, responses=False))

            survey, _ = yield from steadily(measure)
        yield LOOKING
        appraisals = appraise(survey)
        yield LOOKING
        units = [in_words(reading) for reading in readings(survey.basis)]
        yield LOOKING
        if scene.magplus.avatar != avatar:  # the list would be of the one before
            raise InputError(CHANGED)
        _fill_list(scene.magplus, survey.basis.controls, appraisals, units)
        chosen = sum(entry.solve for entry in scene.magplus.controls)
        scene.magplus.shape_keys = chosen > 0  # whoever looks for controls wants them, also on a rig without shape keys
        bpy.ops.ed.undo_push(message="Measure Controls")  # a timer is no operator
        return Outcome(f"Found {len(scene.magplus.controls)} controls that move the face; {chosen} are to be solved.")

    return lambda task: in_one_scene(context, steps(task))


def _fill_list(
    settings: Any, controls: Sequence[Control], appraisals: dict[str, Appraisal], units: Sequence[str]
) -> None:
    """Write what was found into the scene's list, most visible first; what a person chose before stays chosen.

    appraisals: by the controls' names. units: the action units of each control, in words.
    """
    meanings = {control.name: words for control, words in zip(controls, units, strict=True)}
    before = {entry.name: (entry.solve, entry.lock, entry.mirror) for entry in settings.controls}
    listed = [control for control in controls if control.name in appraisals]
    default, other_sides = solved_by_default(listed, appraisals), partners(listed)
    settings.controls.clear()
    for control in sorted(listed, key=lambda control: -appraisals[control.name].pixels):
        name, appraisal = control.name, appraisals[control.name]
        entry = settings.controls.add()
        entry.name, entry.kind, entry.units = name, control.kind, meanings[name]
        entry.left, entry.partner = is_left(control), other_sides.get(name, "")
        entry.pixels, entry.visibility, entry.note = appraisal.pixels, appraisal.visibility, appraisal.note
        entry.usual = name in default
        entry.solve, entry.lock, entry.mirror = before.get(name, (entry.usual, False, False))


def choice_of(settings: Any) -> ControlChoice:
    """Return what the scene's list says; an empty list leaves it at every shape key."""
    if not settings.controls:
        return ControlChoice()
    used = [entry for entry in settings.controls if entry.solve or entry.lock]
    solved = {entry.name for entry in used if entry.solve and not entry.lock}
    pairs = {
        frozenset((entry.name, entry.partner))
        for entry in used
        if entry.mirror and {entry.name, entry.partner} <= solved
    }
    on_left = {entry.name for entry in used if entry.left}
    mirrored = []
    for pair in pairs:
        left, right = sorted(pair, key=lambda name: (name not in on_left, name))
        mirrored.append((left, right))
    return ControlChoice(
        used=tuple(entry.name for entry in used),
        locked=tuple(entry.name for entry in used if entry.lock),
        mirrored=tuple(sorted(mirrored)),
    )


def matching(settings: Any, patterns: Sequence[str], usual: bool = False) -> set[str]:
    """Return the names in the scene's list that match one of the patterns ("brow*").

    With `usual`, of what a pattern fits only what is solved as long as nobody chooses, if it fits any of that: a bone
    has six channels, of which a face uses two. Raises `InputError` for a pattern that matches nothing.
    """
    names = [entry.name for entry in settings.controls]
    found: set[str] = set()
    for pattern in patterns:
        hits = {name for name in names if name == pattern or fnmatchcase(name, pattern)}
        if not hits:
            near = [*get_close_matches(pattern, names, 6, 0.5)] or names
            some = ", ".join(repr(name) for name in near[:6])
            raise InputError(f"No control is called {pattern!r}; there are {some}{' ...' if len(names) > 6 else ''}.")
        known = {name for name in hits if settings.controls[name].usual}
        found |= known if usual and known and pattern not in names else hits
    return found


class MAGPLUS_OT_measure_controls(TaskOperator):
    """Find what can move this face (shape keys, bones, properties) and measure how much of it the camera sees"""

    bl_idname = "magplus.measure_controls"
    bl_label = "Measure Controls"

    kind = KIND

    @classmethod
    def problem(cls, context: bpy.types.Context) -> str:
        """Return why it can't be used now, or an empty string."""
        return busy_reason() or seen_avatar_problem(context)

    def task(self, context: bpy.types.Context) -> Callable[[TaskContext], Steps]:
        """Return what is to be done."""
        settings = context.scene.magplus
        return measure_controls(bpy.context, chosen_avatar(context), settings.vertex_group)


@with_properties
class MAGPLUS_OT_choose_controls(bpy.types.Operator):
    """Choose many controls at once"""

    bl_idname = "magplus.choose_controls"
    bl_label = "Choose Controls"
    bl_options = {"REGISTER", "UNDO"}

    which: str = EnumProperty(
        name="Which",
        items=(
            ("SEEN", "What Is Seen", "Solve every control that the camera sees and that does not move the whole head"),
            ("ALL", "All", "Solve every control"),
            ("NONE", "None", "Solve no control"),
            ("INVERT", "Invert", "Solve what is not solved now"),
            ("MIRROR", "Mirror All", "Let left and right move alike"),
            ("UNMIRROR", "Mirror None", "Let left and right move on their own"),
        ),
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only where there is something to choose from."""
        return bool(context.scene.magplus.controls)

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Set the checkboxes of the list."""
        for entry in context.scene.magplus.controls:
            if self.which in {"MIRROR", "UNMIRROR"}:
                entry.mirror = self.which == "MIRROR" and bool(entry.partner)
            else:
                entry.solve = {"SEEN": not entry.note, "ALL": True, "NONE": False}.get(self.which, not entry.solve)
        return {"FINISHED"}


CLASSES = (MAGPLUS_OT_measure_controls, MAGPLUS_OT_choose_controls)
