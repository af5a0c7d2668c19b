# SPDX-License-Identifier: GPL-3.0-or-later
"""The main verb: capture the avatar, let the worker move it, bring the result into the file."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import bpy

from ..backend_bridge.files.errors import CancelledError, InputError, MagPlusError
from ..backend_bridge.job.earlier_result import result_of_another
from ..backend_bridge.job.folder import JobFolder
from ..backend_bridge.job.spec import Anchor, Avatar
from ..backend_bridge.worker_client.accepts import asks_for_more, check_accepted
from ..backend_bridge.worker_client.client import WorkerClient
from ..backend_bridge.worker_client.look import length_of
from ..backend_bridge.worker_client.messages import Progress
from .avatar.bare_scene import bare_scene
from .avatar.broken_drivers import broken_drivers
from .avatar.capture import CaptureRequest, capture
from .avatar.capture_cache import CaptureCache
from .avatar.missing_textures import missing_textures
from .avatar.movement import movement
from .avatar.moving_shot import capture_shot
from .avatar.picture_state import unknown_in
from .blender.operator import ExplainedOperator, OperatorResult, refused, refusing
from .blender.properties import BoolProperty, EnumProperty, FloatProperty, with_properties
from .blender.wording import translated
from .driver_scene import slider_time
from .expected_time import start_timed
from .footage import LONG, asks_for_part, looks
from .frames.clip import check_in_steps
from .import_result import BRINGING, Read, import_result, read_result
from .order import Order, disabled_reason, make_order
from .report_lines import measured_lines
from .rig.anchors import moved_anchors, scaled
from .rig.avatar import face_companions, find_object
from .rig.face_controls import chosen_controls
from .rig.png import size_of
from .rig.projection import picture_size, present_projection
from .rig.studio import camera_to_use
from .running.background import in_thread
from .running.job_manager import Outcome, Steps, TaskContext, manager
from .running.task_operator import report_outcome
from .running.worker_pool import run_job

KIND = "animate"


def animate(order: Order) -> Callable[[TaskContext], Steps]:
    """Return the task that carries out an order."""

    def steps(task: TaskContext) -> Steps:
        assert order.python is not None
        yield from check_with_worker(order.python, order, task)
        folder = yield from make_job(order, task)
        worker = manager.worker(order.python, order.idle_minutes)
        yield from run_worker(worker, folder, task)
        try:
            yield Progress(BRINGING, 0, 0)
            checked = (yield from check_in_steps(folder, BRINGING)) if order.spec.outputs.frames else None
            read = read_result(folder, order.spec.outputs)
            yield Progress(BRINGING, 0, 0)
        except CancelledError as cancelled:
            raise CancelledError("Cancelled. The result is there: Import Finished Job brings it in.") from cancelled
        return _bring_in(order, folder, task, checked, read)

    return steps


def check_with_worker(python: Path, order: Order, task: TaskContext) -> Generator[Progress, None, None]:
    """Raise what the worker's Python would end the order's run with at once, before anything is captured for it."""
    if asks_for_more(order.spec):
        yield from in_thread(
            lambda _: check_accepted(python, order.spec, order.folder), task, "Asking the worker", abandon=True
        )


def make_job(
    order: Order, task: TaskContext, captures: CaptureCache | None = None
) -> Generator[Progress, None, JobFolder]:
    """Make the job folder of an order: all that the worker needs is in it then.

    A capture that `captures` has already is taken from there. Raises as `capture` does, and `InputError` where another
    clip's or avatar's result would be lost. What is refused before anything is captured leaves no folder.
    """
    folder = JobFolder.create(order.folder)
    task.folder = folder.path
    with folder.lock():  # from the first file of the order to the last
        try:
            _check_replaced(order, folder)
            avatar = yield from _capture(order, folder, task, captures)
        except BaseException:
            folder.remove_unused()
            raise
        folder.write_spec(replace(order.spec, avatar=avatar))
    for remark in folder.remarks:
        task.warn(remark)
    return folder


def _check_replaced(order: Order, folder: JobFolder) -> None:
    if not order.replaces and (held := result_of_another(folder, order.spec)):
        raise InputError(f"{folder.path} holds the result of {held}, which would be lost; choose another job folder.")


def _capture(
    order: Order, folder: JobFolder, task: TaskContext, captures: CaptureCache | None
) -> Generator[Progress, None, Avatar]:
    length: Fraction | None = None
    if (python := order.python) is not None:
        length = yield from in_thread(
            lambda _: length_of(python, order.spec.driving), task, "Looking at the video", abandon=True
        )
    context = bpy.context
    target = find_object(order.avatar_uid)
    if target is None or context.scene.session_uid != order.scene_uid:
        raise InputError("The file was changed before the avatar was captured; start again.")
    request, anchors = _requested(context, order, target)
    objects = (target, *request.further)
    for remark in (missing_textures(target, objects), broken_drivers(target, objects)):
        if remark:
            task.warn(remark)
    size, shot = picture_size(context.scene), order.spec.shot
    if order.spec.outputs.frames and length is not None and order.view is None and shot is None:
        frames = order.destination.frames_of(length, context.scene)
        if moved := (yield from movement(context, target, order.picture.frame, frames)):
            task.warn(moved)
    if (captures is not None or shot is not None) and (reason := unknown_in(context)):
        task.warn(reason)
        captures = None
    place = captures.place(context, request) if captures is not None else None
    avatar = captures.restore(place, folder) if captures is not None and place is not None else None
    if avatar is None:
        avatar = yield from capture(context, request, folder, blocking=task.blocking)
        if captures is not None and place is not None:
            captures.keep(place, folder)
    if shot is not None:
        taken = size_of(folder.path / avatar.image)
        yield from capture_shot(context, request, shot, taken, folder, blocking=task.blocking, captures=captures)
    return replace(avatar, anchors=scaled(anchors, size, size_of(folder.path / avatar.image)))


def _requested(
    context: bpy.types.Context, order: Order, target: bpy.types.Object
) -> tuple[CaptureRequest, tuple[Anchor, ...]]:
    """Return what an order has captured, and the anchors that a person has moved, px of the scene's picture."""
    picture, weights = order.picture, order.spec.outputs.weights
    further = tuple(face_companions(context, target))
    with bare_scene(context, picture.frame), camera_to_use(context.scene, order.view) as camera:
        anchors = moved_anchors(target, present_projection(context, camera))
        # A control is solved from the value that it has here, not from what an earlier bake plays.
        chooses = weights and order.controls.used
        chosen = tuple(chosen_controls((target, *further), order.controls)[0]) if chooses else None
    request = CaptureRequest(
        target,
        further,
        order.vertex_group,
        rig=weights,
        controls=chosen,
        view=order.view,
        frame=picture.frame,
        samples=picture.samples,
        longer_side=picture.longer_side,
        face_px=picture.face_px,
    )
    return request, anchors


def run_worker(worker: WorkerClient, folder: JobFolder, task: TaskContext) -> Generator[Progress, None, None]:
    """Run a job folder's job in the worker and return when it is finished.

    Raises what the worker reports, as the error of its kind. A cancel (`CancelledError` thrown in) is passed on to
    the worker, and raised when the worker has stopped.
    """
    outcome = yield from run_job(folder.path, worker, task.warn)
    task.log = folder.log_path if outcome.error is None else outcome.log  # a refused run has none: it is another's
    if outcome.error is not None:
        raise outcome.error


def _bring_in(order: Order, folder: JobFolder, task: TaskContext, checked: bool | None, read: Read) -> Outcome:
    """Put the result into the file, if it is still the file of the order; the job folder has it in any case.

    `checked` and `read` are as `import_result` takes them.
    """
    scene = next((candidate for candidate in bpy.data.scenes if candidate.session_uid == order.scene_uid), None)
    avatar = find_object(order.avatar_uid)
    if scene is None or avatar is None:
        task.warn(
            f"The avatar {order.avatar_name!r} of this run is no longer in the file, so nothing was imported; the "
            "result is in the job folder, and Import Finished Job brings it into any file."
        )
        return Outcome("Finished, but not imported.", details=measured_lines(folder.read_report()))
    with bpy.context.temp_override(scene=scene):
        return import_result(
            bpy.context,
            folder,
            order.destination,
            order.spec.outputs,
            objects={order.avatar_name: avatar},
            warned=task.warnings,
            checked=checked,
            read=read,
        )


@with_properties
class MAGPLUS_OT_animate(ExplainedOperator):
    """Put the driver's expression on the avatar"""

    bl_idname = "magplus.animate"
    bl_label = "Animate"

    part_chosen: bool = BoolProperty(
        name="Part Chosen", description="Don't ask which part of a long video to use", options={"SKIP_SAVE", "HIDDEN"}
    )

    @classmethod
    def problem(cls, context: bpy.types.Context) -> str:
        """Return why it can't be used now, or an empty string."""
        return disabled_reason(context)

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> OperatorResult:
        """Start the run and give Blender back at once; the sidebar shows how it goes.

        A long video of which no part was chosen is asked about first.
        """
        if not self.part_chosen and asks_for_part(context.scene.magplus):
            cast(Any, bpy.ops).magplus.choose_part("INVOKE_DEFAULT")
            return {"FINISHED"}
        try:
            start_timed(context, KIND, animate(make_order(context)))
        except MagPlusError as error:
            return refused(self, str(error))
        return {"FINISHED"}

    @refusing
    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Run to the end before returning, for scripts and background mode."""
        order = make_order(context)
        return report_outcome(self, manager.run(KIND, animate(order)))


@with_properties
class MAGPLUS_OT_choose_part(bpy.types.Operator):
    """Choose the part of a long video that is used, and run"""

    bl_idname = "magplus.choose_part"
    bl_label = "Which Part of the Video?"
    bl_options = {"REGISTER", "INTERNAL"}

    use: str = EnumProperty(
        name="Use",
        description="What of the video is used",
        items=(
            ("PART", "This Part", "The part that is given here, in seconds of the video"),
            ("ALL", "All of It", "The whole video"),
        ),
    )
    start: float = FloatProperty(
        name="From", description="Start in the video, in seconds", min=0.0, unit="TIME_ABSOLUTE", precision=3
    )
    end: float = FloatProperty(
        name="To", description="End in the video, in seconds", min=0.0, unit="TIME_ABSOLUTE", precision=3
    )

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> OperatorResult:
        """Ask."""
        settings = context.scene.magplus
        self.start = slider_time(settings) or 0.0
        self.end = self.start + LONG
        return context.window_manager.invoke_props_dialog(self, width=360, confirm_text="Animate")

    def draw(self, context: bpy.types.Context) -> None:
        """Say how long the video is, and ask for the part."""
        column = self.layout.column()
        look = looks.known(context.scene.magplus)
        if look is not None and look.footage is not None:
            seconds = float(look.footage.seconds or 0)
            column.label(
                text=translated(f"The video lasts {seconds:.1f} s, a micro-expression at most 0.5 s."), translate=False
            )
        column.row().prop(self, "use", expand=True)
        times = column.row(align=True)
        times.active = self.use == "PART"
        times.prop(self, "start")
        times.prop(self, "end")

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Write the part into the settings and start."""
        settings = context.scene.magplus
        if self.use == "PART":
            if self.end <= self.start:
                return refused(self, "The part ends before it starts; give a later end.")
            settings.use_trim, settings.trim_start, settings.trim_end = True, self.start, self.end
        if not MAGPLUS_OT_animate.poll(context):
            return refused(self, disabled_reason(context))
        cast(Any, bpy.ops).magplus.animate("INVOKE_DEFAULT", part_chosen=True)
        return {"FINISHED"}


class MAGPLUS_OT_cancel(bpy.types.Operator):
    """Stop what MagPlus is doing. Finished frames are kept, and the next run goes on from them"""

    bl_idname = "magplus.cancel"
    bl_label = "Cancel"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Only while something runs."""
        return manager.busy and not manager.cancelling

    def execute(self, _context: bpy.types.Context) -> OperatorResult:
        """Ask; the task ends within a second."""
        manager.cancel()
        return {"FINISHED"}


CLASSES = (MAGPLUS_OT_animate, MAGPLUS_OT_choose_part, MAGPLUS_OT_cancel)
