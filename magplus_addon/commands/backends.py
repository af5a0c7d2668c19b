# SPDX-License-Identifier: GPL-3.0-or-later
"""`magplus backends`: the published backends' checkpoint files."""

from __future__ import annotations

import argparse
from pathlib import Path

import bpy

from ...backend_bridge.backends import BACKENDS
from ...backend_bridge.files.errors import ExitCode
from ...operators import backends, environment
from ...operators.running.job_manager import Status
from . import tasks
from .parser import Verbs, add_checkpoints, use_checkpoints


def add(verbs: Verbs) -> None:
    """Add the command."""
    verb = verbs.add_parser(
        "backends", help="the published backends' checkpoint files: list, add, verify, check, remove"
    )
    steps = verb.add_subparsers(title="commands", required=True, metavar="COMMAND")
    steps.add_parser("list", help="which backends there are, under which licences, and what is missing")
    names = [entry.name for entry in BACKENDS if entry.parts]
    step = steps.add_parser("add", help="take the networks out of downloaded files, folders and ZIP archives")
    step.add_argument("what", nargs="+", metavar="FILE")
    step.add_argument(
        "--for", dest="owner", choices=names, metavar="BACKEND", help="whose they are, where several could take them"
    )
    steps.add_parser("verify", help="check names, shapes and hashes of what was added").add_argument(
        "what", nargs="?", choices=names, metavar="BACKEND"
    )
    steps.add_parser("remove", help="delete what was taken in for a backend").add_argument(
        "what", nargs=1, choices=sorted({entry.folder for entry in BACKENDS if entry.parts}), metavar="BACKEND"
    )
    step = steps.add_parser("check", help="try a backend's weights on a picture and a clip, and judge them")
    step.add_argument("what", nargs=1, choices=names, metavar="BACKEND")
    step.add_argument("--picture", type=Path, required=True, metavar="FILE", help="a picture with a face: the avatar")
    step.add_argument("--clip", type=Path, required=True, metavar="FILE", help="a clip of a face that moves")
    step.add_argument("--trim", type=float, nargs=2, metavar=("FROM", "TO"), help="seconds of the clip to use")
    step.add_argument(
        "--sheet", type=Path, metavar="FILE", help="the sheet; default: BACKEND_check.png, by the picture"
    )
    for name, step in steps.choices.items():
        step.set_defaults(run=run, verb=name)
        step.add_argument("--python", type=Path, metavar="FILE", help="Python of the worker, not the preferences'")
        add_checkpoints(step)
        if name in {"list", "verify"}:
            step.add_argument("--json", action="store_true", help="print JSON instead of sentences")


def run(options: argparse.Namespace) -> ExitCode:
    """Let the worker do it and print what it says."""
    before = ["--json"] if getattr(options, "json", False) else []
    python = options.python or environment.worker_python(bpy.context)
    given = getattr(options, "what", None) or []
    what = [given] if isinstance(given, str) else list(given)
    use_checkpoints(options)
    if options.verb == "add":
        what = [str(Path(path).absolute()) for path in what]
        what += ["--for", options.owner] if options.owner else []
    if options.verb == "check":
        what += backends.check_arguments(options.picture, options.clip, options.trim, options.sheet)
    task = backends.ask_worker(python, *before, options.verb, *what)
    outcome = tasks.run(backends.KIND, task)
    if outcome.status is not Status.FINISHED:
        return tasks.tell(outcome)
    print(outcome.sentence, *outcome.details, sep="\n")
    return outcome.exit_code
