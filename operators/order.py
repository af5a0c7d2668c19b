# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run is asked to do: the scene's settings, checked, and frozen as they are when it starts."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import bpy

from ..backend_bridge.files.errors import InputError, MagPlusError
from ..backend_bridge.files.image_formats import SEQUENCE_SUFFIXES, unreadable_pictures
from ..backend_bridge.job import artefacts
from ..backend_bridge.job.folder import JobFolder
from ..backend_bridge.job.plate_size import check_sizes
from ..backend_bridge.job.shot import Shot, check_interval, check_plates
from ..backend_bridge.job.spec import Avatar, Driving, JobSpec, Magnification, Outputs, Rig
from ..backend_bridge.rig.regions import REGIONS
from .animation.destination import Destination
from .animation.obstacles import animation_problem
from .animation.scene_time import exact, remapped_problem, scene_rate
from .avatar.bare_scene import captured_frame
from .avatar.reasons import linked_problem, no_controls, unkeyable
from .backends import backend_problem, chosen_options
from .environment import environment_problem, preferences, worker_python
from .footage import footage_problem, frame_rate
from .measure_controls import choice_of
from .rig.avatar import (
    capture_problem,
    chosen_avatar,
    face_companions,
    face_has_shape_keys,
    instance_problem,
    mesh_hash,
)
from .rig.face_controls import ControlChoice, chosen_controls
from .rig.projection import camera_problem, picture_size
from .rig.studio import Viewpoint, present_view
from .rig.surface import rendered_objects
from .running.task_operator import busy_reason

LEAST_SIDE = 64  # px of a picture's longer side; the sample's face, which fills it, is not recognised at 32
KEYS_FACE, KEYS_SAMPLES = 384, 16  # px and samples of a picture in which the face has only to be found


@dataclass(frozen=True)
class Picture:
    """How the avatar's picture is taken: at which frame of the scene, and the rest as `CaptureRequest` has it."""

    frame: int | None = None
    longer_side: int | None = None
    face_px: int | None = None
    samples: int | None = None

    @classmethod
    def from_settings(cls, settings: Any) -> Picture:
        """Read the scene's settings: for keys alone a small and quick one, unless a size is set."""
        keys_alone = not settings.frames
        return cls(
            frame=captured_frame(settings),
            longer_side=settings.capture_size or None,
            face_px=KEYS_FACE if keys_alone and not settings.capture_size else None,
            samples=settings.capture_samples or (KEYS_SAMPLES if keys_alone else None),
        )


@dataclass(frozen=True)
class Order:
    """One run as it was asked for.

    The scene and the avatar are named by session uid, as they may be gone when the result is there. `view` is of
    the viewport to look from, None for the scene's camera. `spec` still lacks the captured avatar.
    `python` is the worker's, None where it is somebody else's matter. `replaces` allows that another
    clip's or avatar's finished result in the folder is lost.
    """

    scene_uid: int
    avatar_uid: int
    avatar_name: str
    vertex_group: str
    controls: ControlChoice
    view: Viewpoint | None
    spec: JobSpec
    destination: Destination
    folder: Path
    python: Path | None
    idle_minutes: float
    picture: Picture = Picture()
    replaces: bool = False


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
    if avatar is None and (problem := instance_problem(scene.objects)):
        return problem
    problem = capture_problem(context, avatar, settings.vertex_group)
    if problem or avatar is None:
        return problem
    if settings.shape_keys and (problem := _linked_problem(context, avatar)):
        return problem
    if avatar.name_full not in set(rendered_objects(context.view_layer.layer_collection)):
        return f"{avatar.name!r} is in a collection that renders leave out; switch its camera icon on."
    if settings.look_through == "CAMERA" and (problem := camera_problem(scene.camera)):
        return problem
    if problem := driving_problem(settings):
        return problem
    if problem := remapped_problem(scene) or capture_size_problem(settings):
        return problem
    if settings.use_trim and settings.trim_end <= settings.trim_start:
        return "The trim range holds nothing; its end has to come after its start."
    if problem := footage_problem(settings):
        return problem
    if not (settings.frames or settings.shape_keys):
        return "Choose what to make: an image sequence, rig controls or both."
    if settings.shape_keys and settings.controls and not any(entry.solve for entry in settings.controls):
        return "Choose at least one control to solve, or make the image sequence only."
    if settings.shape_keys and not settings.controls and not face_has_shape_keys(context, avatar):
        return (
            f"{avatar.name!r} has no shape keys to bake to; measure the controls of its rig, or make the image "
            "sequence only."
        )
    return ""


def _linked_problem(context: bpy.types.Context, avatar: bpy.types.Object) -> str:
    """Return why a character that is linked from another file can't be keyed; its rig is searched only if it is."""
    problem, settings = linked_problem(avatar), context.scene.magplus
    rig = avatar.find_armature()
    if not settings.controls or not (problem or (rig is not None and rig.library is not None)):
        return problem if not settings.controls else ""
    try:
        return _keys_problem(context, avatar, choice_of(settings))
    except InputError as error:
        return problem or str(error)


def driving_problem(settings: Any) -> str:
    """Return why the driving video can't be the right one, as far as a look at the disk tells, or an empty string."""
    if not settings.driving:
        return "Choose the driving video."
    driving = Path(bpy.path.abspath(settings.driving))
    if not driving.exists():
        return f"There is no driving video at {driving}."
    if problem := unreadable_pictures(driving):
        return problem
    if driving.is_dir() and not settings.sequence_rate:
        return "Give the frame rate of the image sequence: its files do not tell it."
    return ""


def capture_size_problem(settings: Any) -> str:
    """Return why no face could be found in a picture of the size that is set, or an empty string."""
    if 0 < settings.capture_size < LEAST_SIDE:
        return (
            f"A picture of {settings.capture_size} px is too small for a face to be found in it; make it {LEAST_SIDE} "
            "px or more, or 0 for the usual size."
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
    needs_worker: bool = True,
) -> Order:
    """Freeze the scene's settings into an order.

    `folder` is the job folder, by default a new one in the settings' place; `python`, `device` and `allow_cpu` stand
    in for the preferences'; `backend_options` are put on top of the settings'. `needs_worker` says that the worker will
    run here, so that its Python and the backend's files have to be. Raises `InputError` or `MachineError` with the
    reason when no run is possible.
    """
    reason = settings_problem(context) or (place_problem(context) if folder is None else "")
    if reason := reason or (backend_problem(context.scene.magplus.backend) if needs_worker else ""):
        raise InputError(reason)
    settings, scene, chosen = context.scene.magplus, context.scene, preferences(context)
    driving = Path(bpy.path.abspath(settings.driving)).absolute()
    avatar, controls = chosen_avatar(context), choice_of(settings)
    if settings.shape_keys and (problem := _keys_problem(context, avatar, controls)):
        raise InputError(problem)
    shot = _shot(settings, scene)
    spec = JobSpec(
        driving=_driving(settings, driving),
        avatar=Avatar(image=""),
        backend=settings.backend,
        backend_options=chosen_options(settings) | (backend_options or {}),
        magnification=Magnification(
            alpha=decimal(settings.alpha) if settings.alpha_mode == "GIVEN" else None,
            regions={name: decimal(getattr(settings.regions, name)) for name in REGIONS},
        ),
        rig=_rig(settings, controls),
        intensity=decimal(settings.intensity),
        outputs=Outputs(
            frames=settings.frames,
            weights=settings.shape_keys,
            st_map=shot is not None and settings.st_map,
            vectors=shot is not None and settings.vectors,
            compare=settings.compare and not bpy.app.background,
        ),
        device=device or chosen.device,
        allow_cpu=chosen.allow_cpu if allow_cpu is None else allow_cpu,
        created_by={
            **{"blender": bpy.app.version_string, "file": bpy.data.filepath},
            **{"avatar": avatar.name, "mesh": mesh_hash(avatar)},
        },
        shot=shot,
    )
    _check_asked(spec)
    return Order(
        scene_uid=scene.session_uid,
        avatar_uid=avatar.session_uid,
        avatar_name=avatar.name,
        vertex_group=settings.vertex_group,
        controls=controls,
        view=present_view(context) if settings.look_through == "VIEW" else None,
        spec=spec,
        destination=Destination.from_settings(settings),
        folder=folder or _new_folder(Path(bpy.path.abspath(settings.job_folder)), avatar.name, driving.stem),
        python=python or (worker_python(context) if needs_worker else None),
        idle_minutes=chosen.idle_minutes,
        picture=Picture.from_settings(settings),
    )


def _check_asked(spec: JobSpec) -> None:
    """Raise `InputError` for what no job may ask for, while nothing is captured for it."""
    to_be_captured = Avatar(artefacts.AVATAR_IMAGE, rig_basis=artefacts.AVATAR_BASIS if spec.outputs.weights else None)
    replace(spec, avatar=to_be_captured).validated()


def _driving(settings: Any, path: Path) -> Driving:
    return Driving(
        path=str(path),
        trim=(decimal(settings.trim_start), decimal(settings.trim_end)) if settings.use_trim else None,
        reference=decimal(settings.reference) if settings.reference_mode == "GIVEN" else None,
        face_index=settings.face_index if settings.face_mode == "INDEX" else None,
        sequence_rate=frame_rate(settings.sequence_rate) if settings.sequence_rate else None,
    )


def _rig(settings: Any, controls: ControlChoice) -> Rig:
    return Rig(
        locked=controls.locked,
        mirrored=controls.mirrored,
        smoothing=decimal(settings.smoothing),
        match="shape" if settings.match == "SHAPE" else "motion",
    )


def _shot(settings: Any, scene: bpy.types.Scene) -> Shot | None:
    """Return the moving shot that the image sequence is to follow; raises `InputError` for one that can't be."""
    if not (settings.frames and settings.moving):
        return None
    check_interval(settings.shot_first, settings.shot_last)
    destination = Destination.from_settings(settings)
    shot = Shot(
        frames=(settings.shot_first, settings.shot_last),
        start_frame=destination.start_frame,
        rate=scene_rate(scene),
        stretch=destination.stretch,
        keep_apex=destination.keep_apex,
        release=destination.release,
        plates=str(Path(bpy.path.abspath(settings.plates)).absolute()) if settings.plates else "",
    )
    if shot.plates:
        check_plates(shot.plates, shot.numbers)
        check_sizes(shot.plates, shot.numbers, picture_size(scene))
    return shot


def _keys_problem(context: bpy.types.Context, avatar: bpy.types.Object, choice: ControlChoice) -> str:
    """Return why nothing could be keyed after the run, or would play, or an empty string."""
    found, excluded = chosen_controls((avatar, *face_companions(context, avatar)), choice)
    if not found:
        return no_controls(avatar, excluded)
    used = [each for each in found if each.control.name not in choice.locked]
    if problem := unkeyable(used):
        return problem
    channels = [channel for each in used for channel in each.channels]
    return animation_problem(channels, context.scene.magplus.animation)


def is_image_sequence(path: str) -> bool:
    """Whether a driving path is a folder or a picture, which has no frame rate of its own."""
    return bool(path) and (Path(path).suffix.lower() in SEQUENCE_SUFFIXES or Path(bpy.path.abspath(path)).is_dir())


def decimal(value: float) -> float:
    """Return the number a person typed, as JSON is to have it."""
    return float(exact(value))


def _new_folder(place: Path, avatar: str, video: str) -> Path:
    """Return the folder of the next run: a new one, or that of the last run when it has no finished result yet."""
    stem = re.sub(r"[^\w.-]+", "_", f"{avatar}-{video}")[:80]
    number = 1
    while _is_taken(place / f"{stem}-{number:03}.magplus"):
        number += 1
    return place / f"{stem}-{number:03}.magplus"


def _is_taken(path: Path) -> bool:
    """Whether a new run must not go there: what is there is finished, running, another version's or somebody else's."""
    if not os.path.lexists(path):
        return False
    try:
        folder = JobFolder.create(path)
        return folder.in_use or (folder.has_report and folder.read_report().status == "finished")
    except MagPlusError:
        return True
