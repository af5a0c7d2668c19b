# SPDX-License-Identifier: GPL-3.0-or-later
"""The main verb: capture the avatar, let the worker move it, bring the result into the file."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ..backend_bridge.client import WorkerClient
from ..backend_bridge.errors import CancelledError, ExitCode, InputError, MachineError, MagPlusError
from ..backend_bridge.job import REGIONS, Avatar, Driving, JobSpec, Magnification, Outputs
from ..backend_bridge.job_folder import JobFolder
from ..backend_bridge.messages import Cancelled, Error, Progress, Result, Warning
from .capture import capture_problem, capture_steps, face_companions
from .environment import environment_problem, preferences, worker_python
from .job_manager import Outcome, Steps, TaskContext, manager

KIND = "animate"


@dataclass(frozen=True)
class Order:
    """One run as it was asked for.

    The scene and the avatar are named by session uid, as they may be gone when the result is there. `spec` still
    lacks the captured avatar.
    """

    scene_uid: int
    avatar_uid: int
    avatar_name: str
    vertex_group: str
    spec: JobSpec
    frames_to: str
    start_frame: int
    folder: Path
    python: Path
    idle_minutes: float


def disabled_reason(context: bpy.types.Context) -> str:
    """Return why a run can't be started now, as a sentence that says what to do, or an empty string."""
    if manager.busy:
        return "MagPlus is busy; wait or cancel."
    return environment_problem(context) or settings_problem(context) or place_problem(context)


def settings_problem(context: bpy.types.Context) -> str:
    """Return what is missing or wrong in the scene's settings, or an empty string."""
    settings, scene = context.scene.magplus, context.scene
    avatar = settings.avatar
    if avatar is None:
        return "Choose the avatar: the mesh object whose face is to move."
    if avatar.name not in scene.objects:
        return f"The avatar {avatar.name!r} is not in this scene; choose another or link it."
    if settings.vertex_group and settings.vertex_group not in avatar.vertex_groups:
        return f"{avatar.name!r} has no vertex group {settings.vertex_group!r}; choose another."
    if scene.camera is None:
        return "The scene has no camera; add one that sees the avatar's face."
    if not settings.driving:
        return "Choose the driving video."
    driving = Path(bpy.path.abspath(settings.driving))
    if not driving.exists():
        return f"There is no driving video at {driving}."
    if driving.is_dir() and not settings.sequence_rate:
        return "Give the frame rate of the image sequence: its files do not tell it."
    if settings.use_trim and settings.trim_end <= settings.trim_start:
        return "The trim range ends before it starts."
    if not (settings.frames or settings.shape_keys):
        return "Choose what to make: an image sequence, shape keys or both."
    if settings.shape_keys and not has_shape_keys(avatar):
        return f"{avatar.name!r} has no shape keys to bake to; choose the image sequence instead."
    return ""


def place_problem(context: bpy.types.Context) -> str:
    """Return why no job folder can be made where the settings say, or an empty string."""
    place = context.scene.magplus.job_folder
    if not place or (place.startswith("//") and not bpy.data.filepath):
        return "Save the file first, or choose a job folder: the results are kept there."
    return ""


def make_order(
    context: bpy.types.Context,
    *,
    folder: Path | None = None,
    python: Path | None = None,
    device: str | None = None,
) -> Order:
    """Freeze the scene's settings into an order.

    `folder` is the job folder, by default a new one in the settings' place; `python` and `device` stand in for the
    preferences'. Raises `InputError` or `MachineError` with the reason when no run is possible.
    """
    if reason := settings_problem(context) or (place_problem(context) if folder is None else ""):
        raise InputError(reason)
    settings, scene, chosen = context.scene.magplus, context.scene, preferences(context)
    driving = Path(bpy.path.abspath(settings.driving)).absolute()
    spec = JobSpec(
        driving=Driving(
            path=str(driving),
            trim=(decimal(settings.trim_start), decimal(settings.trim_end)) if settings.use_trim else None,
            reference=decimal(settings.reference) if settings.reference_mode == "GIVEN" else None,
            face_index=settings.face_index if settings.face_mode == "INDEX" else None,
            sequence_rate=frame_rate(settings.sequence_rate) if settings.sequence_rate else None,
        ),
        avatar=Avatar(image=""),
        backend=settings.backend,
        magnification=Magnification(
            alpha=decimal(settings.alpha) if settings.alpha_mode == "GIVEN" else None,
            regions={name: decimal(getattr(settings.regions, name)) for name in REGIONS},
        ),
        intensity=decimal(settings.intensity),
        outputs=Outputs(frames=settings.frames, weights=settings.shape_keys),
        device=device or chosen.device,
        created_by={"blender": bpy.app.version_string, "file": bpy.data.filepath},
    )
    return Order(
        scene_uid=scene.session_uid,
        avatar_uid=settings.avatar.session_uid,
        avatar_name=settings.avatar.name,
        vertex_group=settings.vertex_group,
        spec=spec,
        frames_to=settings.frames_to,
        start_frame=settings.start_frame,
        folder=folder or _new_folder(Path(bpy.path.abspath(settings.job_folder)), settings.avatar.name, driving.stem),
        python=python or worker_python(context),
        idle_minutes=chosen.idle_minutes,
    )


def animate(order: Order) -> Callable[[TaskContext], Steps]:
    """Return the task that carries out an order."""

    def steps(task: TaskContext) -> Steps:
        yield Progress("Rendering the avatar", 0, 0)
        folder = JobFolder.create(order.folder)
        task.folder, task.log = folder.path, folder.log_path
        folder.write_spec(replace(order.spec, avatar=_capture(order, folder)))
        worker = manager.worker(order.python, order.idle_minutes)
        yield from run_worker(worker, folder, task)
        yield Progress("Bringing the result into the file", 0, 0)
        return _import(order, folder, task)

    return steps


def run_worker(worker: WorkerClient, folder: JobFolder, task: TaskContext) -> Generator[Progress, None, None]:
    """Run a job folder's job in the worker and return when it is finished.

    Raises what the worker reports, as the error of its kind. A cancel (`CancelledError` thrown in) is passed on to
    the worker, and raised when the worker has stopped.
    """
    worker.start_job(folder.path)
    progress = Progress("Starting the worker", 0, 0)
    while True:
        for message in worker.poll():
            match message:
                case Progress():
                    progress = message
                case Warning(text):
                    task.warn(text)
                case Result():
                    return
                case Cancelled():
                    raise CancelledError("Cancelled. Finished frames are kept in the job folder.")
                case Error(exit_code, sentence, log):
                    task.log = Path(log)
                    raise _error_of(exit_code)(sentence)
        try:
            yield progress
        except CancelledError:
            worker.cancel()


def _error_of(exit_code: int) -> type[MagPlusError]:
    kinds: dict[int, type[MagPlusError]] = {
        ExitCode.BAD_INPUT: InputError,
        ExitCode.MACHINE: MachineError,
        ExitCode.CANCELLED: CancelledError,
    }
    return kinds.get(exit_code, MagPlusError)


def is_image_sequence(path: str) -> bool:
    """Whether a driving path is a folder or a picture, which doesn't tell its frame rate."""
    return bool(path) and (
        Path(path).suffix.lower() in bpy.path.extensions_image or Path(bpy.path.abspath(path)).is_dir()
    )


def has_shape_keys(avatar: bpy.types.Object) -> bool:
    """Whether the mesh has a shape key beside its basis."""
    keys = avatar.data.shape_keys
    return keys is not None and len(keys.key_blocks) > 1


def decimal(value: float) -> float:
    """Return the number a person typed: properties keep it in single precision, 0.533 as 0.532999992."""
    return float(str(np.float32(value)))


def frame_rate(value: float) -> str:
    """Return a typed frame rate as an exact fraction: 23.976, 29.97 and their like stand for n * 1000 / 1001."""
    for nominal in (24, 30, 48, 60, 120, 240):
        if abs(value - nominal * 1000 / 1001) < 0.005:
            return f"{nominal * 1000}/1001"
    return str(Fraction(str(np.float32(value))))


def _new_folder(place: Path, avatar: str, video: str) -> Path:
    """Return the folder of the next run: a new one, or that of the last run when it has no finished result yet."""
    stem = re.sub(r"[^\w.-]+", "_", f"{avatar}-{video}")[:80]
    number = 1
    while _finished(place / f"{stem}-{number:03}.magplus"):
        number += 1
    return place / f"{stem}-{number:03}.magplus"


def _finished(folder: Path) -> bool:
    try:
        return JobFolder.open(folder).read_report().get("status") == "finished"
    except MagPlusError:
        return False


def _find(collection: bpy.types.bpy_prop_collection, uid: int) -> bpy.types.ID | None:
    return next((block for block in collection if block.session_uid == uid), None)


class MAGPLUS_OT_animate(bpy.types.Operator):
    """Put the driver's expression on the avatar"""

    bl_idname = "magplus.animate"
    bl_label = "Animate"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Possible, or the reason why not as the tooltip."""
        reason = disabled_reason(context)
        if reason:
            cls.poll_message_set(reason)
        return not reason

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Start the run and give Blender back at once; the sidebar shows how it goes."""
        try:
            manager.start(KIND, animate(make_order(context)))
        except MagPlusError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Run to the end before returning, for scripts and background mode."""
        try:
            outcome = manager.run(KIND, animate(make_order(context)))
        except MagPlusError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        for warning in outcome.warnings:
            self.report({"WARNING"}, warning)
        if outcome.status is Status.FINISHED:
            self.report({"INFO"}, outcome.sentence)
            return {"FINISHED"}
        self.report({"ERROR"}, outcome.sentence)
        return {"CANCELLED"}


class MAGPLUS_OT_cancel(bpy.types.Operator):
    """Stop what MagPlus is doing. Finished frames are kept, and the next run goes on from them"""

    bl_idname = "magplus.cancel"
    bl_label = "Cancel"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Only while something runs."""
        return manager.busy and not manager.cancelling

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Ask; the task ends within a second."""
        manager.cancel()
        return {"FINISHED"}


CLASSES = (MAGPLUS_OT_animate, MAGPLUS_OT_cancel)
