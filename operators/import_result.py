# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing all that a finished job has made into the file, as the scene's settings say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import bpy

from ..backend_bridge.files.errors import InputError, MagPlusError
from ..backend_bridge.files.plain import hash_plain
from ..backend_bridge.job.folder import JobFolder
from ..backend_bridge.job.report import Report
from ..backend_bridge.job.spec import Outputs
from ..backend_bridge.rig.events import UnitEvent
from .animation.destination import Destination
from .animation.event_markers import set_event_markers, video_start
from .animation.performance import Performance
from .animation.scene_time import SourceTime
from .bake import bake_performance, check_bake, recorded
from .blender.operator import OperatorResult
from .blender.properties import BoolProperty, StringProperty, with_properties
from .frames.clip import check_in_steps
from .import_frames import import_frames
from .running.job_manager import Outcome, Steps, TaskContext, manager
from .running.task_operator import report_outcome

KIND = "animate"  # the sidebar shows how it went where it shows that of a run
BRINGING = "Bringing the result into the file"
ONE_SIDED = 0.5  # asymmetry at which one side shows three times as much as the other


def import_result(
    context: bpy.types.Context,
    folder: JobFolder,
    destination: Destination,
    outputs: Outputs,
    objects: Mapping[str, bpy.types.Object] | None = None,
    checked: bool | None = None,
) -> Outcome:
    """Import frames and shape keys into the context's scene, as one step of the undo history.

    `objects` says which object stands for which name in the rig basis, where it was renamed since. `checked` is what
    `frames.clip.check_in_steps` has returned, None for a check now. Raises a `MagPlusError` when a part can't be
    imported, and then nothing is.
    """
    with folder.reading():
        return _import_result(context, folder, destination, outputs, objects, checked)


def _import_result(
    context: bpy.types.Context,
    folder: JobFolder,
    destination: Destination,
    outputs: Outputs,
    objects: Mapping[str, bpy.types.Object] | None,
    checked: bool | None,
) -> Outcome:
    report = folder.read_report()
    if report.status != "finished":
        raise InputError(f"The job in {folder.path.name} is not finished; run it again, and it goes on where it was.")
    if report.job_sha256 and report.job_sha256 != hash_plain(folder.spec_path):
        raise InputError(
            f"The job in {folder.path.name} was captured again or changed after it was run, so its result is another "
            "job's; run it again."
        )
    done: list[str] = []
    details = list(measured(report))
    warnings: list[str] = []
    performance = Performance.of_job(folder) if outputs.weights else None
    if performance is not None:
        check_bake(context, performance, destination, objects)
    frames = import_frames(context, folder, destination, checked=checked) if outputs.frames else None
    try:
        if frames is not None:
            done.append(f"{frames.count} frames")
            warnings += frames.sentences()
            if performance is None:
                source = SourceTime.from_report(report)
                set_event_markers(context.scene, source, frames.placement, video_start(report))
        if performance is not None:
            keys = recorded(folder, bake_performance(context, performance, destination, objects=objects))
            done.append(f"{len(keys.record.keyed)} controls")
            if keys.record.keyed:
                details.append(f"Apex kept on whole frames: {keys.record.apex_kept:.0%}")
            warnings += keys.sentences()
        warnings += doubts(report)
        context.scene.magplus.last_job = str(folder.path)
    finally:
        # A timer is no operator, so Blender would not know that there is something to undo.
        bpy.ops.ed.undo_push(message="MagPlus")
    first = destination.start_frame if report.shot is None or performance is not None else report.shot.first
    sentence = f"Imported {' and '.join(done)} from frame {first}."
    return Outcome(sentence, details=tuple(details), warnings=tuple(warnings), folder=folder.path)


def import_in_steps(folder: JobFolder, destination: Destination, outputs: Outputs, task: TaskContext) -> Steps:
    """Return the task that imports a finished job into the present scene, reading its frames a few at a time."""
    scene = bpy.context.scene.session_uid
    checked = (yield from check_in_steps(folder, BRINGING)) if outputs.frames else None
    if bpy.context.scene.session_uid != scene:
        raise InputError("Another scene was chosen while the frames were checked; import them again.")
    task.folder = folder.path
    return import_result(bpy.context, folder, destination, outputs, checked=checked)


def measured(report: Report) -> tuple[str, ...]:
    """Return what a run has measured, a line each."""
    lines = []
    if report.quality is not None:
        lines.append(f"Quality: {report.quality.verdict}")
    if (magnification := report.magnification) is not None:
        lines.append(f"Magnification {magnification.alpha:.3g} ({magnification.chosen})")
    if (frames := report.frames) is not None and frames.resumed:
        lines.append(f"{frames.resumed} of {frames.count} frames were kept from an earlier run")
    if report.events is not None:
        lines.append(f"Apex at {report.events.apex:.2f} s of the clip")
    if (weights := report.weights) is not None:
        if weights.action_units:
            lines.append("Action units: " + ", ".join(_described(unit) for unit in weights.action_units[:4]))
        if weights.regions:
            told = (f"{name} {each.shown / each.asked:.0%}" for name, each in weights.regions.items() if each.asked > 0)
            lines.append("Shown of the driver's motion: " + ", ".join(told))
        if weights.residual is not None:
            lines.append(f"{weights.residual:.0%} of the motion is beyond the rig's controls")
    return tuple(lines)


def doubts(report: Report) -> list[str]:
    """Return why the result is to be checked, a sentence each."""
    return [reason.sentence for reason in report.quality.reasons] if report.quality is not None else []


def _described(unit: UnitEvent) -> str:
    """Return "AU4 brow lowerer", and the side where one shows it much more than the other."""
    asymmetry = unit.asymmetry or 0.0
    side = " (left)" if asymmetry > ONE_SIDED else " (right)" if asymmetry < -ONE_SIDED else ""
    return f"AU{unit.unit} {unit.name}{side}"


@with_properties
class MAGPLUS_OT_import_result(bpy.types.Operator):
    """Bring a finished job's frames and keys into this file, as the settings above say"""

    bl_idname = "magplus.import_result"
    bl_label = "Import Finished Job"

    directory: str = StringProperty(subtype="DIR_PATH", options={"SKIP_SAVE"})
    filter_folder: bool = BoolProperty(default=True, options={"HIDDEN"})
    in_steps: bool = BoolProperty(options={"HIDDEN", "SKIP_SAVE"}, description="Give Blender back while files are read")

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> OperatorResult:
        """Let the user pick the job folder, unless it is given."""
        self.in_steps = not bpy.app.background
        if self.directory:
            return self.execute(context)
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Import."""
        try:
            folder = JobFolder.open(Path(bpy.path.abspath(self.directory)))
            destination = Destination.from_settings(context.scene.magplus)
            outputs = folder.read_spec().outputs
            if self.in_steps:
                manager.start(KIND, lambda task: import_in_steps(folder, destination, outputs, task))
                return {"FINISHED"}
            return report_outcome(self, import_result(context, folder, destination, outputs))
        except MagPlusError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}


CLASSES = (MAGPLUS_OT_import_result,)
