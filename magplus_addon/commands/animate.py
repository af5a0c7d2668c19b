# SPDX-License-Identifier: GPL-3.0-or-later
"""`magplus animate`: move the avatar of a file with a driving video."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import bpy

from ...backend_bridge.backends import BACKENDS
from ...backend_bridge.files.errors import ExitCode, InputError
from ...backend_bridge.job.folder import JobFolder
from ...backend_bridge.job.shot import check_interval
from ...backend_bridge.rig.anchors import read_anchors
from ...operators import animate
from ...operators.match_face import pin_anchors
from ...operators.measure_controls import matching
from ...operators.order import Order, capture_size_problem, driving_problem, make_order
from ...operators.rig.avatar import face_has_shape_keys
from ...operators.rig.projection import picture_size
from ...operators.running.job_manager import Outcome, Status
from ..settings import MagPlusSettings
from . import tasks
from .anchors import add_anchors
from .controls import measure
from .parser import (
    Verbs,
    add_avatar,
    add_camera,
    add_checkpoints,
    add_placing,
    add_progress,
    add_python,
    add_replace,
    add_saved_file,
    add_show_as,
    device,
    name_and_value,
    number_or_auto,
    place,
    use_checkpoints,
)
from .saving import SavedFile
from .scene_settings import apply_placing, choose_avatar, choose_camera, set_given, set_property, settings_kept


def add(verbs: Verbs) -> None:
    """Add the command."""
    verb = verbs.add_parser(
        "animate",
        help="move the avatar of this file with a driving video",
        description="Render the avatar, move it with the driving video, bring the result into the file. "
        "What is not given is taken from the file's own settings.",
    )
    verb.set_defaults(run=run)
    add_options(verb)
    results = verb.add_argument_group("where it is kept")
    results.add_argument("--output", type=Path, metavar="FOLDER", help="the job folder; an unfinished job is resumed")
    results.add_argument(
        "--strict",
        action="store_true",
        help=f"end with exit code {ExitCode.NOT_GOOD.value} unless the report's quality is good; the result is kept",
    )
    add_saved_file(results)
    add_replace(results, "write over another file, and over the result of another clip or avatar in the job folder")
    add_progress(results)


def add_options(verb: argparse.ArgumentParser) -> None:
    """Add all that can be said of one run; a list of shots says the same of each shot."""
    _add_source(verb)
    _add_capture(verb)
    _add_method(verb)
    _add_rig(verb)
    _add_results(verb)


def _add_source(verb: argparse.ArgumentParser) -> None:
    source = verb.add_argument_group("what moves what")
    source.add_argument(
        "--driving", type=place, metavar="VIDEO", help="video, or the folder or first picture of an image sequence"
    )
    add_avatar(source)
    source.add_argument("--vertex-group", metavar="NAME", help="vertex group that marks the face")
    source.add_argument("--trim", nargs=2, type=float, metavar=("START", "END"), help="part of the video, in seconds")
    source.add_argument("--reference", type=number_or_auto, metavar="auto|SECONDS", help="when the driver is at rest")
    source.add_argument("--face-index", type=int, metavar="N", help="which face drives, from left to right, from 0")
    source.add_argument("--sequence-rate", type=float, metavar="FPS", help="frame rate of an image sequence")
    add_anchors(source)


def _add_capture(verb: argparse.ArgumentParser) -> None:
    capture = verb.add_argument_group("the avatar's picture", "For keys alone it is small and quick by itself.")
    add_camera(capture)
    capture.add_argument("--frame", type=int, metavar="N", help="frame of the scene it is taken at; the start frame")
    capture.add_argument(
        "--capture-size",
        type=int,
        nargs="+",
        metavar="PX",
        help="its longer side, or its width and height",
    )
    capture.add_argument("--capture-samples", type=int, metavar="N", help="samples of its render at most")


def _add_method(verb: argparse.ArgumentParser) -> None:
    method = verb.add_argument_group("how")
    method.add_argument("--backend", choices=[entry.name for entry in BACKENDS])
    method.add_argument(
        "--backend-option",
        action="append",
        type=name_and_value,
        metavar="NAME=VALUE",
        help="see the backend's documentation",
    )
    method.add_argument("--alpha", type=number_or_auto, metavar="auto|N", help="magnification factor")
    method.add_argument("--intensity", type=float, metavar="N", help="strength of the expression; 1 is the driver's")
    method.add_argument("--device", type=device, metavar="auto|cpu|cuda|mps", help="where the worker computes")
    method.add_argument(
        "--allow-cpu", action="store_true", default=None, help="go on on the CPU if the GPU's memory is too small"
    )
    add_python(method)
    add_checkpoints(method)


def _add_rig(verb: argparse.ArgumentParser) -> None:
    rig = verb.add_argument_group(
        "controls of the rig",
        "Names, or patterns as in 'brow*'; `controls` lists them. Of what a pattern of --only fits, that is taken "
        "which a face uses; what is named in full is taken in any case.",
    )
    rig.add_argument("--only", action="extend", nargs="+", metavar="NAME", help="solve these alone")
    rig.add_argument("--exclude", action="extend", nargs="+", metavar="NAME", help="leave these alone")
    rig.add_argument("--lock", action="extend", nargs="+", metavar="NAME", help="hold these at their present value")
    rig.add_argument(
        "--mirror", action="extend", nargs="+", metavar="NAME", help="let these and those of the other side move alike"
    )
    rig.add_argument("--smoothing", type=float, metavar="SECONDS", help="smooth the curves; it lowers the apex")
    rig.add_argument("--match", choices=["motion", "shape"], help="move as far as the driver, or be nearest in shape")


def _add_results(verb: argparse.ArgumentParser) -> None:
    results = verb.add_argument_group("results", "With neither --frames nor --shape-keys the file's settings hold.")
    results.add_argument(
        "--frames",
        type=int,
        nargs="*",
        metavar="START END",
        help="make the image sequence; with two frames of the scene, of the moving shot between them",
    )
    results.add_argument(
        "--plates",
        type=place,
        metavar="FILE",
        help="the moving shot as you have rendered it, as in 'shot.####.exr' (PNG or EXR); by default it is rendered",
    )
    results.add_argument("--st-map", action="store_true", help="leave the shot's motion as an ST-map (EXR), too")
    results.add_argument("--vectors", action="store_true", help="leave the shot's motion as vectors (EXR), too")
    results.add_argument(
        "--shape-keys",
        action="store_true",
        help="key the chosen controls; without a choice the shape keys, of a rig without any what moves the face",
    )
    add_show_as(results)
    add_placing(results)


def run(options: argparse.Namespace) -> ExitCode:
    """Make the order, carry it out, print the job folder."""
    saved = SavedFile.of(options.save)
    use_checkpoints(options)
    order = replace(order_of(options, bpy.context, options.output), replaces=options.replace)
    outcome = tasks.run(animate.KIND, animate.animate(order), tasks.shown_to(options.progress))
    if outcome.status is Status.FINISHED:
        print(outcome.folder)
        if saved is not None:
            saved.save()
    code = tasks.tell(outcome)
    return ExitCode.NOT_GOOD if options.strict and code is ExitCode.OK and not _is_good(outcome) else code


def _is_good(outcome: Outcome) -> bool:
    quality = JobFolder.open(outcome.folder).read_report().quality if outcome.folder is not None else None
    return quality is not None and quality.verdict == "good"


def order_of(
    options: argparse.Namespace, context: bpy.types.Context, folder: Path | None, *, needs_worker: bool = True
) -> Order:
    """Write the options into the scene's settings and freeze them into an order; see `make_order`."""
    apply(options, context)
    return make_order(
        context,
        folder=folder,
        python=options.python,
        device=options.device,
        allow_cpu=options.allow_cpu,
        backend_options=dict(options.backend_option or ()),
        needs_worker=needs_worker,
    )


def apply(options: argparse.Namespace, context: bpy.types.Context) -> None:
    """Write the options into the scene's settings, as a person would do in the sidebar."""
    settings = context.scene.magplus
    if options.camera is not None:
        choose_camera(context.scene, options.camera)
    avatar = choose_avatar(context, options.avatar)
    if options.driving is not None:
        settings.driving = str(Path(options.driving).absolute())
    set_given(options, settings, "vertex_group", "sequence_rate")
    _apply_values(options, settings)
    if options.capture_size is not None:
        _apply_size(_longer_side(options.capture_size, context.scene), settings)
    chooses = any(getattr(options, name) for name in ("only", "exclude", "lock", "mirror"))
    if chooses or (options.shape_keys and not settings.controls and not face_has_shape_keys(context, avatar)):
        if problem := driving_problem(settings):
            raise InputError(problem)
        measure(context)
        _apply_outputs(options, settings)  # measuring has asked for keys
    if chooses:
        _choose(options, settings)
    if options.anchors is not None:
        pin_anchors(context, avatar, read_anchors(options.anchors))


def check_values(options: argparse.Namespace, settings: MagPlusSettings) -> None:
    """Raise `InputError` for values that are wrong whatever the file is; the settings are left as they are."""
    with settings_kept(settings):
        _apply_values(options, settings)
        if options.capture_size is not None:
            _apply_size(max(options.capture_size), settings)
    if options.trim is not None and options.trim[1] <= options.trim[0]:
        raise InputError("--trim holds nothing; its end has to come after its start.")
    if options.frames:
        try:
            check_interval(*options.frames)
        except InputError as error:
            raise InputError(f"--frames: {error}") from error


def _apply_values(options: argparse.Namespace, settings: MagPlusSettings) -> None:
    """Write those options into the settings that ask nothing of the file."""
    if options.trim is not None:
        settings.use_trim = True
        set_property(settings, "trim_start", options.trim[0], "--trim")
        set_property(settings, "trim_end", options.trim[1], "--trim")
    for name in ("reference", "alpha"):
        value = getattr(options, name)
        if value is not None:
            setattr(settings, f"{name}_mode", "AUTO" if value == "auto" else "GIVEN")
            if value != "auto":
                set_property(settings, name, value, f"--{name}")
    if options.face_index is not None:
        settings.face_mode = "INDEX"
        set_property(settings, "face_index", options.face_index, "--face-index")
    _apply_outputs(options, settings)
    _apply_shot(options, settings)
    if options.match is not None:
        settings.match = options.match.upper()
    if options.frame is not None:
        settings.use_capture_frame = True
        set_property(settings, "capture_frame", options.frame, "--frame")
    apply_placing(options, settings)
    set_given(options, settings, "backend", "intensity", "smoothing", "capture_samples")


def _apply_outputs(options: argparse.Namespace, settings: MagPlusSettings) -> None:
    if options.frames is not None or options.shape_keys:
        settings.frames, settings.shape_keys = options.frames is not None, options.shape_keys


def _apply_shot(options: argparse.Namespace, settings: MagPlusSettings) -> None:
    """Write what is said of a moving shot into the settings. Without `--frames` what the file says holds."""
    frames = options.frames
    if frames is not None:
        if len(frames) not in (0, 2):
            raise InputError("--frames takes the first and the last frame of a moving shot, or nothing for a still.")
        settings.moving = bool(frames)
        for name, value in zip(("shot_first", "shot_last"), frames, strict=False):
            set_property(settings, name, value, "--frames")
        settings.st_map = settings.vectors = False
        settings.plates = ""
    given = [name for name in ("plates", "st_map", "vectors") if getattr(options, name)]
    if given and not (settings.frames and settings.moving):
        raise InputError(f"--{given[0].replace('_', '-')} is of a moving shot; give --frames START END, too.")
    if options.plates is not None:
        settings.plates = str(Path(options.plates).absolute())
    settings.st_map = settings.st_map or options.st_map
    settings.vectors = settings.vectors or options.vectors


def _apply_size(longer_side: int, settings: MagPlusSettings) -> None:
    set_property(settings, "capture_size", longer_side, "--capture-size")
    if problem := capture_size_problem(settings):
        raise InputError(f"--capture-size: {problem}")


def _longer_side(size: list[int], scene: bpy.types.Scene) -> int:
    """Return the longer side of the picture that was asked for, which has to be as wide for its height as the scene."""
    if len(size) == 1:
        return size[0]
    width, height = picture_size(scene)
    if len(size) > 2 or abs(size[0] * height - size[1] * width) > max(width, height):
        raise InputError(
            f"--capture-size must be the longer side alone, or a width and a height like the scene's {width} x "
            f"{height}."
        )
    return max(size)


def _choose(options: argparse.Namespace, settings: MagPlusSettings) -> None:
    """Tick the list of controls as the options say."""
    named = {name: matching(settings, getattr(options, name) or ()) for name in ("exclude", "lock", "mirror")}
    named["only"] = matching(settings, options.only or (), usual=True)
    for entry in settings.controls:
        if options.only:
            entry.solve = entry.name in named["only"]
        if entry.name in named["exclude"]:
            entry.solve = False
        entry.lock = entry.lock or entry.name in named["lock"]
        if entry.name in named["mirror"]:
            if not entry.partner:
                raise InputError(f"--mirror: {entry.name!r} has no control of the other side that would move alike.")
            entry.mirror = True
