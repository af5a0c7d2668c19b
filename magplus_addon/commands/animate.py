# SPDX-License-Identifier: GPL-3.0-or-later
"""`magplus animate`: move the avatar of a file with a driving video."""

from __future__ import annotations

import argparse
from pathlib import Path

import bpy

from ...backend_bridge.backends import BACKENDS
from ...backend_bridge.files.errors import ExitCode, InputError
from ...backend_bridge.job.folder import JobFolder
from ...operators import animate
from ...operators.animation.destination import SHOW_AS
from ...operators.measure_controls import matching
from ...operators.order import make_order
from ...operators.running.job_manager import Outcome, Status
from ..settings import MagPlusSettings
from . import tasks
from .controls import measure
from .parser import Verbs, add_avatar, add_placing, add_save, name_and_value, number_or_auto
from .scene_settings import apply_placing, choose_avatar, save_copy, set_given, set_property


def add(verbs: Verbs) -> None:
    """Add the command."""
    verb = verbs.add_parser(
        "animate",
        help="move the avatar of this file with a driving video",
        description="Render the avatar, move it with the driving video, bring the result into the file. "
        "What is not given is taken from the file's own settings.",
    )
    verb.set_defaults(run=run)
    source = verb.add_argument_group("what moves what")
    source.add_argument("--driving", metavar="VIDEO", help="video, picture, or folder of an image sequence")
    add_avatar(source)
    source.add_argument("--vertex-group", metavar="NAME", help="vertex group that marks the face")
    source.add_argument("--trim", nargs=2, type=float, metavar=("START", "END"), help="part of the video, in seconds")
    source.add_argument("--reference", type=number_or_auto, metavar="auto|SECONDS", help="when the driver is at rest")
    source.add_argument("--face-index", type=int, metavar="N", help="which face drives, from left to right, from 0")
    source.add_argument("--sequence-rate", type=float, metavar="FPS", help="frame rate of an image sequence")
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
    method.add_argument("--device", metavar="auto|cpu|cuda|mps", help="where the worker computes")
    method.add_argument(
        "--allow-cpu", action="store_true", default=None, help="go on on the CPU if the GPU's memory is too small"
    )
    method.add_argument("--python", type=Path, metavar="FILE", help="Python of the worker, instead of the preferences'")
    rig = verb.add_argument_group("controls of the rig", "Names, or patterns as in 'brow*'; `controls` lists them.")
    rig.add_argument("--only", nargs="+", metavar="NAME", help="solve these alone")
    rig.add_argument("--exclude", nargs="+", metavar="NAME", help="leave these alone")
    rig.add_argument("--lock", nargs="+", metavar="NAME", help="hold these at their present value")
    rig.add_argument("--mirror", nargs="+", metavar="NAME", help="let these and those of the other side move alike")
    rig.add_argument("--smoothing", type=float, metavar="SECONDS", help="smooth the curves; it lowers the apex")
    results = verb.add_argument_group("results", "With neither --frames nor --shape-keys the file's settings hold.")
    results.add_argument("--frames", action="store_true", help="make the image sequence")
    results.add_argument(
        "--shape-keys", action="store_true", help="key the avatar's shape keys, or the chosen controls"
    )
    results.add_argument("--show-as", choices=[name.lower() for name, _, _ in SHOW_AS], help="where the images go")
    add_placing(results)
    results.add_argument("--output", type=Path, metavar="FOLDER", help="the job folder; an unfinished job is resumed")
    results.add_argument(
        "--strict",
        action="store_true",
        help=f"end with exit code {ExitCode.NOT_GOOD.value} unless the report's quality is good; the result is kept",
    )
    add_save(results)


def run(options: argparse.Namespace) -> ExitCode:
    """Make the order, carry it out, print the job folder."""
    context = bpy.context
    apply(options, context)
    order = make_order(
        context,
        folder=options.output,
        python=options.python,
        device=options.device,
        allow_cpu=options.allow_cpu,
        backend_options=dict(options.backend_option or ()),
    )
    outcome = tasks.run(animate.KIND, animate.animate(order))
    if outcome.status is Status.FINISHED:
        if options.save is not None:
            save_copy(options.save)
        print(outcome.folder)
    told = tasks.tell(outcome)
    return ExitCode.NOT_GOOD if options.strict and told is ExitCode.OK and not _is_good(outcome) else told


def _is_good(outcome: Outcome) -> bool:
    quality = JobFolder.open(outcome.folder).read_report().quality if outcome.folder is not None else None
    return quality is not None and quality.verdict == "good"


def apply(options: argparse.Namespace, context: bpy.types.Context) -> None:
    """Write the options into the scene's settings, as a person would do in the sidebar."""
    settings = context.scene.magplus
    choose_avatar(context, options.avatar)
    if any(getattr(options, name) for name in ("only", "exclude", "lock", "mirror")):
        measure(context)
        _choose(options, settings)
    if options.driving is not None:
        settings.driving = str(Path(options.driving).absolute())
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
    if options.frames or options.shape_keys:
        settings.frames, settings.shape_keys = options.frames, options.shape_keys
    if options.show_as is not None:
        settings.frames_to = options.show_as.upper()
    apply_placing(options, settings)
    set_given(options, settings, "vertex_group", "backend", "sequence_rate", "intensity", "smoothing")


def _choose(options: argparse.Namespace, settings: MagPlusSettings) -> None:
    """Tick the list of controls as the options say."""
    named = {name: matching(settings, getattr(options, name) or ()) for name in ("only", "exclude", "lock", "mirror")}
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
