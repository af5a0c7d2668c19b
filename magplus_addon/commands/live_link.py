# SPDX-License-Identifier: GPL-3.0-or-later
"""`magplus live-link`: key a Live Link Face recording onto the avatar of a file."""

from __future__ import annotations

import argparse
from pathlib import Path

import bpy

from ...backend_bridge.files.errors import ExitCode
from ...operators.animation.destination import Destination
from ...operators.live_link import import_live_link
from ...operators.measure_controls import choice_of
from ...operators.running.job_manager import Outcome
from .parser import Verbs, add_avatar, add_placing, add_save, frames_a_second
from .saving import SavedFile
from .scene_settings import apply_placing, choose_avatar
from .tasks import tell


def add(verbs: Verbs) -> None:
    """Add the command."""
    verb = verbs.add_parser(
        "live-link",
        help="key a Live Link Face recording onto the avatar of this file",
        description="Key a Live Link Face recording (CSV) onto the avatar's shape keys, by what their names mean. "
        "What is not given is taken from the file's own settings.",
    )
    verb.set_defaults(run=run)
    verb.add_argument("recording", type=Path, metavar="FILE.csv")
    add_avatar(verb)
    verb.add_argument(
        "--timecode-rate", type=frames_a_second, metavar="FPS", help="as 30 or 29.97; by default the recording's own"
    )
    add_placing(verb)
    add_save(verb)


def run(options: argparse.Namespace) -> ExitCode:
    """Key it and print how that went."""
    context, saved = bpy.context, SavedFile.of(options.save)
    settings = context.scene.magplus
    avatar = choose_avatar(context, options.avatar)
    apply_placing(options, settings)
    destination = Destination.from_settings(settings)
    report = import_live_link(
        context, options.recording, avatar, destination, choice_of(settings), options.timecode_rate
    )
    if saved is not None:
        saved.save()
    return tell(Outcome(report.bake.sentence, warnings=tuple(report.sentences())))
