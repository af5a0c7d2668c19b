# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking at the last result: shown another way, its curves, compared with the driver; and what mends its ends."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy

from ..backend_bridge.files.errors import InputError
from ..backend_bridge.job.artefacts import COMPARE, CURVES
from ..backend_bridge.job.folder import JobFolder
from . import result_record
from .animate import run_worker
from .animation.destination import FRONT, SHOW_AS
from .animation.event_markers import set_missing_markers
from .animation.scene_time import SourceTime
from .blender.operator import ExplainedOperator, OperatorResult, refused, refusing
from .blender.properties import EnumProperty, with_properties
from .blender.wording import translated
from .driver_scene import DIGITS
from .environment import environment_problem, preferences, worker_python
from .frames.clip import NO_FRAMES, Clip, at_scene_rate, has_frames
from .frames.image import MARK, load
from .frames.windows import fit_images_later, image_editor, look_through_camera
from .import_frames import import_frames
from .running.job_manager import Outcome, Steps, TaskContext, manager
from .running.task_operator import TaskOperator, busy_reason

KIND = "compare"
CURVES_NAME, COMPARE_NAME = "MagPlus Curves", "MagPlus Comparison"
NO_RESULT = "There is no result in this scene yet; press Animate first."
GONE = "The job folder of this result is gone; import it from where it is now, or run again."
NO_BETTER = "The last result names no better reference for this video."
WIDER = 0.5  # seconds by which the trim is widened; a micro-expression lasts no longer


def result_problem(context: bpy.types.Context) -> str:
    """Return why the scene's last result can't be looked at, or an empty string."""
    if not context.scene.magplus.result.sentence:
        return NO_RESULT
    return "" if result_record.kept_folder(context.scene) is not None else GONE


def last_job(scene: bpy.types.Scene) -> JobFolder:
    """Return the job of the scene's last result. Raises `InputError` when it is gone."""
    path = result_record.kept_folder(scene)
    if path is None:
        raise InputError(GONE)
    return JobFolder.open(path)


class _OnResult(ExplainedOperator):
    """Something about the last result; a subclass says what in `act`."""

    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def problem(cls, context: bpy.types.Context) -> str:
        """Return why it can't be used now, or an empty string."""
        return result_problem(context)

    @refusing
    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Act; an error is one sentence."""
        self.act(context)
        return {"FINISHED"}

    def act(self, context: bpy.types.Context) -> None:
        """Do it."""
        raise NotImplementedError  # not an ABC: operators have a metaclass of Blender's


@with_properties
class MAGPLUS_OT_show_as(_OnResult):
    """Show the frames of the last result another way, in place of the present one"""

    bl_idname = "magplus.show_as"
    bl_label = "Show Frames As"

    @classmethod
    def problem(cls, context: bpy.types.Context) -> str:
        """Return why it can't be used now, or an empty string."""
        if problem := result_problem(context):
            return problem
        path, made = result_record.kept_folder(context.scene), context.scene.magplus.result.has_frames
        return "" if made and path is not None and has_frames(path) else NO_FRAMES

    where: str = EnumProperty(name="Show As", description="Where the image sequence goes", items=SHOW_AS, default=FRONT)

    def act(self, context: bpy.types.Context) -> None:
        """Import the frames again."""
        scene = context.scene
        destination = result_record.destination_of(scene.magplus.result, self.where)
        report = import_frames(context, last_job(scene), destination)
        scene.magplus.frames_to = self.where
        for sentence in report.sentences():
            self.report({"WARNING"}, translated(sentence))
        look_through_camera(context, scene)


class MAGPLUS_OT_restore_view(ExplainedOperator):
    """Put the preview range and the present frame back as they were before the result"""

    bl_idname = "magplus.restore_view"
    bl_label = "Put Preview Range Back"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def problem(cls, context: bpy.types.Context) -> str:
        """Return why it can't be used now, or an empty string."""
        return "" if context.scene.magplus.result.view_kept else "The preview range is not one of MagPlus."

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Put it back."""
        result_record.put_view_back(context.scene)
        return {"FINISHED"}


class MAGPLUS_OT_fit_range(ExplainedOperator):
    """Let the scene's frame range reach over the whole result"""

    bl_idname = "magplus.fit_range"
    bl_label = "Extend the Scene's Range"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def problem(cls, context: bpy.types.Context) -> str:
        """Return why it can't be used now, or an empty string."""
        return "" if context.scene.magplus.result.sentence else NO_RESULT

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Widen it, never narrow it."""
        scene, record = context.scene, context.scene.magplus.result
        scene.frame_end = max(scene.frame_end, record.last_frame)
        scene.frame_start = max(min(scene.frame_start, record.first_frame), 0)
        return {"FINISHED"}


@with_properties
class MAGPLUS_OT_widen_trim(ExplainedOperator):
    """Let the trim begin or end half a second further out, for the next run"""

    bl_idname = "magplus.widen_trim"
    bl_label = "Widen the Trim"
    bl_options = {"REGISTER", "UNDO"}

    end: str = EnumProperty(
        name="End", description="Which end of the trim", items=(("START", "Start", ""), ("END", "End", ""))
    )

    @classmethod
    def problem(cls, context: bpy.types.Context) -> str:
        """Return why it can't be used now, or an empty string."""
        return "" if context.scene.magplus.use_trim else "The video isn't trimmed."

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Move that end."""
        settings = context.scene.magplus
        if self.end == "START":
            settings.trim_start = max(settings.trim_start - WIDER, 0.0)
        else:
            settings.trim_end += WIDER
        return {"FINISHED"}


class MAGPLUS_OT_use_better_reference(ExplainedOperator):
    """Measure the next run against the moment at which the driver's face is nearer to rest"""

    bl_idname = "magplus.use_better_reference"
    bl_label = "Use the Better Reference"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def problem(cls, context: bpy.types.Context) -> str:
        """Return why it can't be used now, or an empty string."""
        return "" if result_record.better_reference(context.scene) is not None else NO_BETTER

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Choose it."""
        better = result_record.better_reference(context.scene)
        if better is None:
            return refused(self, NO_BETTER)
        settings = context.scene.magplus
        settings.reference_mode, settings.reference = "GIVEN", round(better, DIGITS)
        return {"FINISHED"}


class MAGPLUS_OT_add_markers(_OnResult):
    """Mark the ends of the clip as the onset and the offset that were not found, to be moved by hand"""

    bl_idname = "magplus.add_markers"
    bl_label = "Add the Missing Markers"

    def act(self, context: bpy.types.Context) -> None:
        """Add them."""
        set_missing_markers(context.scene)


class MAGPLUS_OT_show_curves(_OnResult):
    """Show the solved curves of the last result in an image editor"""

    bl_idname = "magplus.show_curves"
    bl_label = "Curves"

    @classmethod
    def problem(cls, context: bpy.types.Context) -> str:
        """Return why it can't be used now, or an empty string."""
        if problem := result_problem(context):
            return problem
        return "" if _has(context, CURVES) else "This result has no curves; run with Rig Controls switched on."

    def act(self, context: bpy.types.Context) -> None:
        """Load the plot and show it."""
        folder = last_job(context.scene)
        folder.check_whole([CURVES])
        show(context, CURVES_NAME, Clip([folder.path / CURVES], (0, 0), 1, folder.path.name))


class MAGPLUS_OT_compare(TaskOperator):
    """Show driver, magnified driver, result and result four times as strong side by side in an image editor"""

    bl_idname = "magplus.compare"
    bl_label = "Compare"

    kind = KIND

    @classmethod
    def problem(cls, context: bpy.types.Context) -> str:
        """Return why it can't be used now, or an empty string."""
        if problem := busy_reason() or result_problem(context):
            return problem
        return "" if _has(context, COMPARE.unit(0)) else environment_problem(context)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> OperatorResult:
        """Show at once what is there; what is not is made meanwhile."""
        return self.execute(context) if _has(context, COMPARE.unit(0)) else super().invoke(context, event)

    @refusing
    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Show it, and make it first where it isn't there."""
        if not _has(context, COMPARE.unit(0)):
            return super().execute(context)
        show_comparison(context, last_job(context.scene))
        return {"FINISHED"}

    def task(self, context: bpy.types.Context) -> Callable[[TaskContext], Steps]:
        """Return the run that makes the comparison and then shows it."""
        path, python = last_job(context.scene).path, worker_python(context)
        return compare(path, python, preferences(context).idle_minutes, context.scene.session_uid)


def compare(path: Path, python: Path, idle_minutes: float, scene_uid: int) -> Callable[[TaskContext], Steps]:
    """Return the task that has the worker make a finished job's comparison, and shows it in the scene it is of."""

    def steps(task: TaskContext) -> Steps:
        folder = JobFolder.open(path)
        task.folder, task.log = folder.path, folder.log_path
        spec = folder.read_spec()
        folder.write_spec(replace(spec, outputs=replace(spec.outputs, compare=True)))
        yield from run_worker(manager.worker(python, idle_minutes), folder, task)
        scene = next((each for each in bpy.data.scenes if each.session_uid == scene_uid), None)
        if scene is not None and result_record.kept_folder(scene) == folder.path:
            with bpy.context.temp_override(scene=scene):
                show_comparison(bpy.context, folder)
        return Outcome("The comparison is made.")

    return steps


def show_comparison(context: bpy.types.Context, folder: JobFolder) -> bpy.types.Image:
    """Show a job's comparison in an image editor, at the scene's rate. Raises `InputError` when it isn't whole."""
    scene = context.scene
    source = SourceTime.from_report(folder.read_report())
    destination = result_record.destination_of(scene.magplus.result, FRONT)
    placement = destination.place(source, scene)
    units = [COMPARE.unit(index) for index in range(len(source.seconds))]
    folder.check_whole(units)
    files = at_scene_rate(folder, units, placement.frames_to_show(source), placement.rate, COMPARE)
    image = show(context, COMPARE_NAME, Clip(files, (0, 0), destination.start_frame, folder.path.name))
    bpy.ops.ed.undo_push(message="MagPlus")  # taking back what comes after it leaves it there
    return image


def show(context: bpy.types.Context, name: str, clip: Clip) -> bpy.types.Image:
    """Show a clip in an image editor, in place of the one of this name; returns its image."""
    scene = context.scene
    earlier = bpy.data.images.get(name)
    image = load(clip, "sRGB")
    if earlier is not None:  # editors that show it go on with the new one
        earlier.user_remap(image)
        bpy.data.images.remove(earlier)
    image.name = name
    del image[MARK]  # it shows no frames of the avatar
    if (editor := image_editor(context, scene)) is not None:
        editor.image = image
        user: Any = editor.image_user
        user.frame_duration, user.frame_start, user.frame_offset = len(clip.files), clip.start, 0
        user.use_cyclic, user.use_auto_refresh = True, True
        fit_images_later(name)
    return image


def _has(context: bpy.types.Context, unit: str) -> bool:
    path = result_record.kept_folder(context.scene)
    return path is not None and os.path.lexists(path / unit)


CLASSES = (
    MAGPLUS_OT_show_as,
    MAGPLUS_OT_restore_view,
    MAGPLUS_OT_fit_range,
    MAGPLUS_OT_widen_trim,
    MAGPLUS_OT_use_better_reference,
    MAGPLUS_OT_add_markers,
    MAGPLUS_OT_show_curves,
    MAGPLUS_OT_compare,
)
