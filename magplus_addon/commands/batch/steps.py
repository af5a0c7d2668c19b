# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a shot: capture, run, import, render. Each leaves a record, so that it is done once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import bpy

from ....backend_bridge.files.disk import explained
from ....backend_bridge.files.errors import InputError
from ....backend_bridge.job import measurements
from ....operators.animate import check_with_worker, make_job
from ....operators.animation.destination import Destination
from ....operators.animation.scene_time import SourceTime
from ....operators.avatar.capture_cache import CaptureCache
from ....operators.avatar.outside_files import outside_files
from ....operators.blender.saving import stamp_of
from ....operators.import_result import import_result
from ....operators.running.job_manager import Outcome, Steps, TaskContext, manager
from ....operators.running.worker_pool import Ended, run_jobs, worker_group
from .. import animate
from ..saving import save_copy
from ..scene_settings import apply_placing, choose_camera, find_avatar, settings_kept
from .rendering import RenderFolder, Rendering, render_frames
from .results import FileHashes, Place, Record, capture_inputs, import_inputs, note_saved, set_aside

Task = Callable[[TaskContext], Steps]


def open_file(place: Place) -> None:
    """Open a shot's file as it was saved, with the shot's scene. Raises `InputError` when that can't be done."""
    shot = place.shot
    shot.check_file()
    try:
        bpy.ops.wm.open_mainfile(filepath=str(shot.file), load_ui=False)
    except RuntimeError as error:
        raise InputError(f"{shot.file} can't be opened ({str(error).strip()}).") from error
    choose_scene(place)


def is_open(place: Place) -> bool:
    """Whether a shot's file is open, as it is on the disk now."""
    path, stamp = manager.opened
    return path == bpy.data.filepath == str(place.shot.file) and stamp == stamp_of(place.shot.file)


def choose_scene(place: Place) -> None:
    """Make the shot's scene the context's. Raises `InputError` where the file has none of that name."""
    name = place.shot.scene
    if name is None:
        return
    scene = bpy.data.scenes.get(name)
    if scene is None:
        there = ", ".join(repr(each.name) for each in bpy.data.scenes)
        raise InputError(f"{place.shot.file.name} has no scene {name!r}; its scenes are {there}.")
    bpy.context.window_manager.windows[0].scene = scene


def capture(place: Place, captures: CaptureCache, hashes: FileHashes, version: str, python: Path | None) -> Task:
    """Return the task that makes a shot's job folder. The shot's file is open, as it was saved.

    python: the worker's, where the run follows here; what it would refuse is refused before anything is captured.
    Raises the `MagPlusError` that the order ends with; it may have to measure the rig, which is a task of its own.
    """
    order = animate.order_of(place.shot.options, bpy.context, place.job.path, needs_worker=False)
    place.check_is_of_this_list(order.spec)
    order = replace(order, replaces=True)
    if not order.spec.outputs.frames:  # only frames are warned of by the video's length, and looking at it takes 0.4 s
        order = replace(order, python=None)
    inputs = capture_inputs(place.shot, hashes, version)
    with explained(place.shot.file, reading=True):
        outside = {place.portable(Path(path)): text for path, text in outside_files(hashes.files).items()}

    def steps(task: TaskContext) -> Steps:
        if python is not None:
            yield from check_with_worker(python, order, task)
        folder = yield from make_job(order, task, captures)
        listed = place.shot.row.file.name
        place.note(replace(place.record(), captured=inputs, outside=outside, failed=None, listed=listed))
        return Outcome("Captured.", folder=folder.path)

    return steps


def run(folders: Sequence[Path], python: Path, count: int, logs: Path, ended: Callable[[Ended], bool]) -> Task:
    """Return the task that runs job folders on `count` workers, models loaded once a worker; see `run_jobs`.

    logs: a folder for what workers print, and for what they have measured of clips.
    """

    def steps(_task: TaskContext) -> Steps:
        with worker_group(python, count, logs, logs / measurements.FOLDER) as workers:
            yield from run_jobs(folders, workers, ended)
        return Outcome(f"Ran {len(folders)} jobs.")

    return steps


def bring_in(places: Sequence[Place], hashes: FileHashes) -> list[tuple[Place, str]]:
    """Bring the results of shots that are saved together into their file and save it; return each shot's warnings.

    All of them or none. Raises `MagPlusError`, and then nothing is saved. Whoever calls it keeps others from saving.
    """
    open_file(places[0])
    warnings: list[tuple[Place, str]] = []
    done = []
    for place in places:
        choose_scene(place)
        record, new_warnings = _bring_in(place)
        warnings += [(place, warning) for warning in new_warnings]
        done.append((place, replace(record, imported=import_inputs(place, hashes))))
    saved = places[0].saved
    warnings += [(places[0], warning) for warning in set_aside(saved, places)]
    save_copy(saved)
    note_saved(saved, places)
    for place, record in done:
        place.note(record)
    return warnings


def _bring_in(place: Place) -> tuple[Record, tuple[str, ...]]:
    """Bring one shot into the open file; return its record as it will be when that is saved, and the warnings."""
    context = bpy.context
    settings, options = context.scene.magplus, place.shot.options
    avatar, folder = find_avatar(context, options.avatar), place.job
    with settings_kept(settings):
        apply_placing(options, settings)
        destination = Destination.from_settings(settings)
    if options.camera is not None:
        choose_camera(context.scene, options.camera)
    outcome = import_result(context, folder, destination, folder.read_spec().outputs, objects={avatar.name: avatar})
    source = SourceTime.from_report(folder.read_report())
    placement = destination.place(source, context.scene)
    at = [float(placement.frame(seconds)) for seconds in source.seconds]
    record = replace(
        place.record(),
        saved=place.portable(place.saved),
        scene=context.scene.name,
        frames=(math.floor(at[0]), math.ceil(at[-1])),
        apex_frame=round(at[len(at) // 2 if source.apex is None else source.apex]),
        failed=None,
    )
    return record, outcome.warnings


def render(place: Place, hashes: FileHashes) -> Task:
    """Return the task that renders a shot's interval from its saved file."""

    def steps(task: TaskContext) -> Steps:
        record = place.record()
        if record.saved != place.portable(place.saved) or record.scene is None or record.frames is None:
            raise InputError(f"The shot {place.shot.name!r} is not in its file yet; import it first.")
        made_from = hashes.of(place.saved)
        first, last = record.frames
        folder = RenderFolder(place.render)
        frames = range(first, last + 1)
        asked = Rendering(place.saved, record.scene, place.shot.name, frames, record.apex_frame, made_from)
        count = yield from render_frames(asked, folder)
        place.note(replace(place.record(), rendered={"the saved file": made_from}, failed=None))
        for remark in folder.remarks:
            task.warn(remark)
        return Outcome(f"Rendered {count} frames.", folder=place.render)

    return steps
