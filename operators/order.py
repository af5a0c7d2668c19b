# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run is asked to do: the scene's settings, checked, and frozen as they are when it starts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from ..backend_bridge.files.errors import InputError, MagPlusError
from ..backend_bridge.files.image_formats import SEQUENCE_SUFFIXES, unreadable_pictures
from ..backend_bridge.job.folder import JobFolder
from ..backend_bridge.job.spec import Avatar, Driving, JobSpec, Magnification, Outputs, Rig
from ..backend_bridge.rig.regions import REGIONS
from .animation.destination import Destination
from .animation.scene_time import exact
from .backends import backend_problem, chosen_options
from .environment import environment_problem, preferences, worker_python
from .measure_controls import choice_of
from .rig.avatar import capture_problem, chosen_avatar, has_shape_keys
from .rig.face_controls import ControlChoice
from .rig.projection import camera_problem
from .running.task_operator import busy_reason


@dataclass(frozen=True)
class Order:
    """One run as it was asked for.

    The scene and the avatar are named by session uid, as they may be gone when the result is there. `viewport` is the
    number of the window's area to look from, None for the scene's camera. `spec` still lacks the captured avatar.
    """

    scene_uid: int
    avatar_uid: int
    avatar_name: str
    vertex_group: str
    controls: ControlChoice
    viewport: int | None
    spec: JobSpec
    destination: Destination
    folder: Path
    python: Path
    idle_minutes: float


def disabled_reason(context: bpy.types.Context) -> str:
    """Return why a run can't be started now, as a sentence that says what to do, or an empty string."""
    return (
        busy_reason()
        or environment_problem(context)
        or settings_problem(context)
        or backend_problem(context.scene.magplus.backend)
        or place_problem(context)
    )


def settings_problem(context: bpy.types.Context) -> str:
    """Return what is missing or wrong in the scene's settings, or an empty string."""
    settings, scene = context.scene.magplus, context.scene
    avatar = settings.avatar
    problem = capture_problem(context, avatar, settings.vertex_group)
    if problem or avatar is None:
        return problem
    if settings.look_through == "CAMERA" and (problem := camera_problem(scene.camera)):
        return problem
    if not settings.driving:
        return "Choose the driving video."
    driving = Path(bpy.path.abspath(settings.driving))
    if not driving.exists():
        return f"There is no driving video at {driving}."
    if problem := unreadable_pictures(driving):
        return problem
    if driving.is_dir() and not settings.sequence_rate:
        return "Give the frame rate of the image sequence: its files do not tell it."
    if settings.use_trim and settings.trim_end <= settings.trim_start:
        return "The trim range ends before it starts."
    if not (settings.frames or settings.shape_keys):
        return "Choose what to make: an image sequence, rig controls or both."
    if settings.shape_keys and settings.controls and not any(entry.solve for entry in settings.controls):
        return "Choose at least one control to solve, or make the image sequence only."
    if settings.shape_keys and not settings.controls and not has_shape_keys(avatar):
        return (
            f"{avatar.name!r} has no shape keys to bake to; measure the controls of its rig, or make the image "
            "sequence only."
        )
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
    allow_cpu: bool | None = None,
    backend_options: dict[str, Any] | None = None,
) -> Order:
    """Freeze the scene's settings into an order.

    `folder` is the job folder, by default a new one in the settings' place; `python`, `device` and `allow_cpu` stand
    in for the preferences'; `backend_options` are put on top of the settings'. Raises `InputError` or `MachineError`
    with the reason when no run is possible.
    """
    reason = settings_problem(context) or backend_problem(context.scene.magplus.backend)
    if reason := reason or (place_problem(context) if folder is None else ""):
        raise InputError(reason)
    settings, scene, chosen = context.scene.magplus, context.scene, preferences(context)
    driving = Path(bpy.path.abspath(settings.driving)).absolute()
    avatar, controls = chosen_avatar(context), choice_of(settings)
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
        backend_options=chosen_options(settings) | (backend_options or {}),
        magnification=Magnification(
            alpha=decimal(settings.alpha) if settings.alpha_mode == "GIVEN" else None,
            regions={name: decimal(getattr(settings.regions, name)) for name in REGIONS},
        ),
        rig=Rig(
            locked=controls.locked,
            mirrored=controls.mirrored,
            smoothing=decimal(settings.smoothing),
            match="shape" if settings.match == "SHAPE" else "motion",
        ),
        intensity=decimal(settings.intensity),
        outputs=Outputs(frames=settings.frames, weights=settings.shape_keys),
        device=device or chosen.device,
        allow_cpu=chosen.allow_cpu if allow_cpu is None else allow_cpu,
        created_by={"blender": bpy.app.version_string, "file": bpy.data.filepath},
    )
    return Order(
        scene_uid=scene.session_uid,
        avatar_uid=avatar.session_uid,
        avatar_name=avatar.name,
        vertex_group=settings.vertex_group,
        controls=controls,
        viewport=_viewport(context) if settings.look_through == "VIEW" else None,
        spec=spec,
        destination=Destination.from_settings(settings),
        folder=folder or _new_folder(Path(bpy.path.abspath(settings.job_folder)), avatar.name, driving.stem),
        python=python or worker_python(context),
        idle_minutes=chosen.idle_minutes,
    )


def _viewport(context: bpy.types.Context) -> int:
    if context.area is None or context.area.type != "VIEW_3D":
        raise InputError("Call it from a 3D viewport, or let the avatar be captured from the scene's camera.")
    return context.screen.areas[:].index(context.area)


def is_image_sequence(path: str) -> bool:
    """Whether a driving path is a folder or a picture, which doesn't tell its frame rate."""
    return bool(path) and (Path(path).suffix.lower() in SEQUENCE_SUFFIXES or Path(bpy.path.abspath(path)).is_dir())


def decimal(value: float) -> float:
    """Return the number a person typed, as JSON is to have it."""
    return float(exact(value))


def frame_rate(value: float) -> str:
    """Return a typed frame rate as an exact fraction: 23.976, 29.97 and their like stand for n * 1000 / 1001."""
    for nominal in (24, 30, 48, 60, 120, 240):
        if abs(value - nominal * 1000 / 1001) < 0.005:
            return f"{nominal * 1000}/1001"
    return str(exact(value))


def _new_folder(place: Path, avatar: str, video: str) -> Path:
    """Return the folder of the next run: a new one, or that of the last run when it has no finished result yet."""
    stem = re.sub(r"[^\w.-]+", "_", f"{avatar}-{video}")[:80]
    number = 1
    while _holds_result(place / f"{stem}-{number:03}.magplus"):
        number += 1
    return place / f"{stem}-{number:03}.magplus"


def _holds_result(path: Path) -> bool:
    """Whether a job folder has a finished result, or one that another version has made and this one can't read."""
    folder = JobFolder(path)
    if not folder.report_path.is_file():
        return False
    try:
        return folder.read_report().status == "finished"
    except MagPlusError:
        return True
