# SPDX-License-Identifier: GPL-3.0-or-later
"""`magplus anchors`: where the driver's face is to lie on the avatar, as a file."""

from __future__ import annotations

import argparse
from pathlib import Path

import bpy

from ...backend_bridge.files.errors import ExitCode, InputError
from ...backend_bridge.rig.anchors import read_anchors
from ...operators import match_face
from ...operators.running.job_manager import Outcome
from . import tasks
from .parser import Verbs, add_avatar, add_camera, add_save
from .saving import SavedFile
from .scene_settings import choose_avatar, choose_camera


def add(verbs: Verbs) -> None:
    """Add the command."""
    verb = verbs.add_parser(
        "anchors",
        help="write where points of the avatar's face are in its picture, or place them from a file",
        description="Write the anchors of this file's avatar; where it has none yet, of the last match or of a first "
        "guess from its rig. With --anchors, place those of a file first.",
    )
    verb.set_defaults(run=run)
    add_avatar(verb)
    add_camera(verb)
    add_anchors(verb)
    verb.add_argument("--export", type=Path, metavar="FILE.json", help="where to write them")
    add_save(verb)


def add_anchors(group: argparse._ActionsContainer) -> None:
    """Add the option that places anchors."""
    group.add_argument(
        "--anchors",
        type=Path,
        metavar="FILE.json",
        help="points of the avatar's face in its picture, as `anchors --export` writes them; they are held",
    )


def run(options: argparse.Namespace) -> ExitCode:
    """Place, show, write."""
    context, saved = bpy.context, SavedFile.of(options.save)
    if options.export is None and options.save is None:
        raise InputError("Give --export FILE.json, or --save FILE.blend to keep the anchors in the file.")
    avatar = choose_avatar(context, options.avatar)
    if options.camera is not None:
        choose_camera(context.scene, options.camera)
    if options.anchors is not None:
        match_face.pin_anchors(context, avatar, read_anchors(options.anchors))
    settings = context.scene.magplus
    last = Path(bpy.path.abspath(settings.last_job)) if settings.last_job else None
    outcome = tasks.run(match_face.KIND, match_face.show_anchors(context, avatar, last))
    if outcome.exit_code is not ExitCode.OK:
        return tasks.tell(outcome)
    count = len(match_face.anchors_of(avatar))
    if options.export is not None:
        match_face.export_anchors(context, avatar, options.export)
    if saved is not None:
        saved.save()
    return tasks.tell(Outcome(f"{count} anchors.", details=(outcome.sentence,)))
