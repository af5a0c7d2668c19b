# SPDX-License-Identifier: GPL-3.0-or-later
"""`magplus import`: bring what finished jobs have made into this file."""

from __future__ import annotations

import argparse
from pathlib import Path

import bpy

from ...backend_bridge.files.errors import ExitCode, MagPlusError, error_of
from ...backend_bridge.job.folder import JobFolder
from ...operators.animation.destination import Destination
from ...operators.import_result import import_result
from ...operators.running.job_manager import Outcome
from .parser import Verbs, add_avatar, add_placing, add_save, add_show_as
from .saving import SavedFile
from .scene_settings import apply_placing, choose_avatar
from .tasks import tell


def add(verbs: Verbs) -> None:
    """Add the command."""
    verb = verbs.add_parser(
        "import",
        help="bring finished jobs into this file, without rendering or measuring anything again",
        description="Bring finished jobs into this file. What is not given is taken from the file's own settings.",
    )
    verb.set_defaults(run=run)
    verb.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="job folders (NAME.magplus)")
    add_avatar(verb)
    add_show_as(verb)
    add_placing(verb)
    add_save(verb)


def run(options: argparse.Namespace) -> ExitCode:
    """Import one after the other; nothing is saved unless all are in the file."""
    context, saved = bpy.context, SavedFile.of(options.save)
    apply_placing(options, context.scene.magplus)
    destination = Destination.from_settings(context.scene.magplus)
    avatar = choose_avatar(context, options.avatar) if options.avatar is not None else None
    outcomes: list[Outcome] = []
    for path in options.folders:
        try:
            outcomes.append(_import(context, path, destination, avatar))
        except MagPlusError as error:
            raise error_of(error.exit_code)(f"{path.absolute().name}: {error}") from error
    if saved is not None:
        saved.save()
    for outcome in outcomes:
        tell(outcome)
    return ExitCode.OK


def _import(
    context: bpy.types.Context, path: Path, destination: Destination, avatar: bpy.types.Object | None
) -> Outcome:
    """Import a job; `avatar` takes the keys in place of the mesh that the job names."""
    folder = JobFolder.open(path)
    spec = folder.read_spec()
    objects = {} if avatar is None else {spec.created_by.get("avatar", avatar.name): avatar}
    return import_result(context, folder, destination, spec.outputs, objects=objects)
