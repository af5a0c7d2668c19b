# SPDX-License-Identifier: GPL-3.0-or-later
"""`magplus environment`: create the worker's own Python, check it."""

from __future__ import annotations

import argparse
from pathlib import Path

import bpy

from ...backend_bridge.environment.torch_builds import VARIANTS
from ...backend_bridge.environment.venv import Environment
from ...backend_bridge.files.errors import ExitCode
from ...operators import environment
from .parser import Verbs
from .tasks import run, tell


def add(verbs: Verbs) -> None:
    """Add the command."""
    verb = verbs.add_parser("environment", help="the worker's own Python: create it, check it")
    steps = verb.add_subparsers(title="commands", required=True, metavar="COMMAND")
    create = steps.add_parser("create", help="make the environment; needs Blender's online access")
    create.set_defaults(run=_create)
    variants = [name for name, _, _ in VARIANTS]
    create.add_argument("--torch", choices=variants, help="which build of PyTorch; default: the preferences'")
    create.add_argument("--python", type=Path, metavar="FILE", help="the Python to make it from; default: one is found")
    create.add_argument("--again", action="store_true", help="make it anew even if it is ready")
    create.add_argument("--signing", action="store_true", help="with the packages that sign pictures (C2PA)")
    check = steps.add_parser("check", help="start the worker's Python and print what it finds")
    check.set_defaults(run=_check)
    check.add_argument("--python", type=Path, metavar="FILE", help="this Python instead of the preferences'")
    for step in (create, check):
        step.add_argument("--folder", type=Path, metavar="FOLDER", help="the environment; default: the preferences'")


def _create(options: argparse.Namespace) -> ExitCode:
    chosen = environment.preferences(bpy.context)
    variant = options.torch or chosen.torch_variant
    task = environment.create(
        _environment(options.folder), variant, options.python, options.again, signing=options.signing
    )
    return tell(run(environment.KIND, task))


def _check(options: argparse.Namespace) -> ExitCode:
    if options.python is not None:
        task = environment.check(None, options.python)
    elif options.folder is not None or environment.preferences(bpy.context).environment_source == "OWN":
        own = _environment(options.folder)
        task = environment.check(own, own.python)
    else:
        task = environment.check(None, environment.worker_python(bpy.context))
    return tell(run(environment.KIND, task))


def _environment(folder: Path | None) -> Environment:
    return environment.own_environment(bpy.context) if folder is None else Environment(folder)
