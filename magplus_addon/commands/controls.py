# SPDX-License-Identifier: GPL-3.0-or-later
"""`magplus controls`: list what can move the avatar's face."""

from __future__ import annotations

import argparse
import json
import sys

import bpy

from ...backend_bridge.files.errors import ExitCode, InputError, error_of
from ...operators import measure_controls
from ...operators.rig.avatar import capture_problem, chosen_avatar
from ...operators.running.job_manager import Outcome, Status
from . import tasks
from .hints import with_hint
from .parser import Verbs, add_avatar, add_camera, add_save
from .saving import SavedFile
from .scene_settings import choose_avatar, choose_camera


def add(verbs: Verbs) -> None:
    """Add the command."""
    verb = verbs.add_parser("controls", help="list what can move the avatar's face, and how much of it the camera sees")
    verb.set_defaults(run=run)
    add_avatar(verb)
    add_camera(verb)
    verb.add_argument("--vertex-group", metavar="NAME", help="vertex group that marks the face")
    add_save(verb)
    verb.add_argument("--json", action="store_true", help="JSON instead of a table")


def run(options: argparse.Namespace) -> ExitCode:
    """Measure, and print a table or JSON."""
    context, saved = bpy.context, SavedFile.of(options.save)
    settings = context.scene.magplus
    choose_avatar(context, options.avatar)
    if options.camera is not None:
        choose_camera(context.scene, options.camera)
    if options.vertex_group is not None:
        settings.vertex_group = options.vertex_group
    for warning in measure(context).warnings:
        print(f"magplus: warning: {with_hint(warning)}", file=sys.stderr)
    if saved is not None:
        saved.save()
    if options.json:
        keys = ("name", "kind", "units", "pixels", "visibility", "partner", "note", "solve", "lock", "mirror")
        print(json.dumps([{key: getattr(entry, key) for key in keys} for entry in settings.controls], indent=2))
        return ExitCode.OK
    for entry in settings.controls:
        mark = "solved" if entry.solve and not entry.lock else "locked" if entry.lock else "-"
        print(f"{mark:7} {entry.pixels:8.1f} px  {entry.name:32} {entry.units} {entry.note}".rstrip())
    return ExitCode.OK


def measure(context: bpy.types.Context) -> Outcome:
    """Fill the scene's list of controls; return how that ended. Raises the `MagPlusError` that it ended with."""
    settings = context.scene.magplus
    if problem := capture_problem(context, settings.avatar, settings.vertex_group):
        raise InputError(problem)
    outcome = tasks.run(
        measure_controls.KIND, measure_controls.measure_controls(context, chosen_avatar(context), settings.vertex_group)
    )
    if outcome.status is not Status.FINISHED:
        raise error_of(outcome.exit_code)(outcome.sentence)
    return outcome
