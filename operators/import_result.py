# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing all that a finished job has made into the file, as the scene's settings say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import bpy

from ..backend_bridge.files.errors import InputError
from ..backend_bridge.files.plain import hash_plain
from ..backend_bridge.job.folder import JobFolder
from ..backend_bridge.job.report import Report
from ..backend_bridge.job.spec import Outputs
from ..backend_bridge.worker_client.messages import Progress
from . import result_record
from .animation.destination import BACKGROUND, FRONT, PLANE, Destination
from .animation.event_markers import VideoPart, set_event_markers
from .animation.performance import Performance
from .animation.scene_time import SourceTime
from .bake import bake_performance, plan_bake, recorded
from .blender.operator import OperatorResult, refusing
from .blender.properties import RELATIVE_PATH, BoolProperty, StringProperty, with_properties
from .frames.clip import check_in_steps
from .frames.shown import uncover_avatar
from .frames.windows import frame_timelines, look_through_camera, select_alone
from .import_frames import import_frames
from .report_lines import doubts, measured_lines
from .result_record import Span
from .running.job_manager import Outcome, Steps, TaskContext, manager, redraw
from .running.task_operator import report_outcome

KIND = "animate"  # the sidebar shows how it went where it shows that of a run
BRINGING = "Bringing the result into the file"
CAMERA_VIEW = (FRONT, PLANE, BACKGROUND)  # seen through the camera


def import_result(
    context: bpy.types.Context,
    folder: JobFolder,
    destination: Destination,
    outputs: Outputs,
    objects: Mapping[str, bpy.types.Object] | None = None,
    warned: Sequence[str] = (),
    checked: bool | None = None,
    read: Read | None = None,
) -> Outcome:
    """Import frames and shape keys into the context's scene, and present them, as one step of the undo history.

    `objects` says which object stands for which name in the rig basis, where it was renamed since; `warned` are the
    warnings of the run, to be kept with the result; `checked` is what `frames.clip.check_in_steps` has returned, None
    for a check now; `read` is what `read_result` has returned: nothing is read again unless there is another report.
    Raises a `MagPlusError` when a part can't be imported, and then nothing is.
    """
    with folder.reading():
        if read is None or read.report_sha256 != _report_sha256(folder):
            read = read_result(folder, outputs)
        return _import_result(context, folder, destination, outputs, objects, warned, checked, read)


@dataclass(frozen=True)
class Read:
    """What there is to know of a finished job before its result is imported; performance: where it has curves."""

    report_sha256: str
    report: Report
    performance: Performance | None


def read_result(folder: JobFolder, outputs: Outputs) -> Read:
    """Read a job folder. Raises `InputError` for a job that is not finished, and for one that was changed since."""
    with folder.reading():
        return _read_result(folder, outputs)


def _report_sha256(folder: JobFolder) -> str:
    return hash_plain(folder.report_path) if folder.has_report else ""


def _read_result(folder: JobFolder, outputs: Outputs) -> Read:
    report = folder.read_report()
    if report.status != "finished":
        raise InputError(f"The job in {folder.path.name} is not finished; run it again, and it goes on where it was.")
    if report.job_sha256 and report.job_sha256 != hash_plain(folder.spec_path):
        raise InputError(
            f"The job in {folder.path.name} was captured again or changed after it was run, so its result is another "
            "job's; run it again."
        )
    return Read(_report_sha256(folder), report, Performance.of_job(folder) if outputs.weights else None)


def _import_result(
    context: bpy.types.Context,
    folder: JobFolder,
    destination: Destination,
    outputs: Outputs,
    objects: Mapping[str, bpy.types.Object] | None,
    warned: Sequence[str],
    checked: bool | None,
    read: Read,
) -> Outcome:
    report, performance = read.report, read.performance
    scene, source = context.scene, SourceTime.from_report(report)
    done = ""
    details = list(measured_lines(report))
    warnings: list[str] = []
    ends: list[float] = []
    planned = None if performance is None else plan_bake(context, performance, destination, objects=objects)
    frames = import_frames(context, folder, destination, checked=checked) if outputs.frames else None
    placement = destination.place(source, scene) if performance is not None or frames is None else frames.placement
    first = placement.start_frame if performance is not None or frames is None else frames.first_frame
    try:
        if frames is not None:
            done = f"{frames.count} frames"
            warnings += frames.sentences()
            ends.append(frames.first_frame + frames.count - 1)
            if performance is None:
                set_event_markers(scene, source, placement, VideoPart.of(report))
        if performance is not None:
            baked = bake_performance(context, performance, destination, objects=objects, planned=planned)
            keys = recorded(folder, baked)
            keyed = len(keys.record.keyed)
            done = f"{keyed} controls" if frames is None else f"{frames.count} frames and {keyed} controls"
            if keys.record.keyed:
                details.append(f"Apex kept on whole frames: {keys.record.apex_kept:.0%}")
            warnings += keys.sentences()
            if keys.record.keyed:
                uncover_avatar(scene)  # else the keys would play unseen, and Strength seem to do nothing
            ends.append(destination.window(source, placement).end)
        outcome = _outcome(folder, report, done, first, details, (*warned, *warnings))
        span = Span.of(placement, source, tuple(ends) or (float(placement.frame(source.end)),))
        result_record.keep(scene, folder, report, destination, span, outcome, with_frames=frames is not None)
        result_record.present(scene)
        if performance is not None and scene.magplus.avatar is not None:
            select_alone(context, scene.magplus.avatar)
    finally:
        # A timer is no operator, so Blender would not know that there is something to undo.
        bpy.ops.ed.undo_push(message="MagPlus")
    if frames is not None and destination.show_as in CAMERA_VIEW:
        look_through_camera(context, scene)
    frame_timelines(context, scene)
    redraw()
    return outcome


def _outcome(
    folder: JobFolder, report: Report, done: str, first: int, details: Sequence[str], warnings: Sequence[str]
) -> Outcome:
    """Return how an import ended. done: what was imported, in words. first: from which frame of the scene on."""
    verdict = "" if report.quality is None else report.quality.verdict
    return Outcome(
        f"Imported {done} from frame {first}, but the result failed; the warnings say why."
        if verdict == "failed"
        else f"Imported {done} from frame {first}.",
        details=tuple(details),
        warnings=doubts(report, *warnings),
        folder=folder.path,
        in_scene=True,
        verdict=verdict,
    )


def import_in_steps(folder: JobFolder, destination: Destination, outputs: Outputs, task: TaskContext) -> Steps:
    """Return the task that imports a finished job into the present scene, reading its frames a few at a time."""
    scene = bpy.context.scene.session_uid
    checked = (yield from check_in_steps(folder, BRINGING)) if outputs.frames else None
    read = read_result(folder, outputs)
    yield Progress(BRINGING, 0, 0)  # the file is changed in one step, which is one of the undo history
    if bpy.context.scene.session_uid != scene:
        raise InputError("Another scene was chosen while the frames were checked; import them again.")
    task.folder = folder.path
    return import_result(bpy.context, folder, destination, outputs, None, task.warnings, checked, read)


@with_properties
class MAGPLUS_OT_import_result(bpy.types.Operator):
    """Bring a finished job's frames and keys into this file, as the settings above say"""

    bl_idname = "magplus.import_result"
    bl_label = "Import Finished Job"

    directory: str = StringProperty(subtype="DIR_PATH", options={"SKIP_SAVE"} | RELATIVE_PATH)
    filter_folder: bool = BoolProperty(default=True, options={"HIDDEN"})
    in_steps: bool = BoolProperty(options={"HIDDEN", "SKIP_SAVE"}, description="Give Blender back while files are read")

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> OperatorResult:
        """Let the user pick the job folder, unless it is given."""
        self.in_steps = not bpy.app.background
        if self.directory:
            return self.execute(context)
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    @refusing
    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Import."""
        folder = JobFolder.open(Path(bpy.path.abspath(self.directory)))
        destination = Destination.from_settings(context.scene.magplus)
        outputs = folder.read_spec().outputs
        if self.in_steps:
            manager.start(KIND, lambda task: import_in_steps(folder, destination, outputs, task))
            return {"FINISHED"}
        outcome = import_result(context, folder, destination, outputs)
        manager.outcomes.pop(KIND, None)  # of a run before it
        return report_outcome(self, outcome)


CLASSES = (MAGPLUS_OT_import_result,)
