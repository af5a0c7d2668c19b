# SPDX-License-Identifier: GPL-3.0-or-later
"""`magplus capture`: make a job folder that any machine can run, with or without Blender."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import bpy

from ...backend_bridge.files.errors import ExitCode
from ...operators.animate import make_job
from ...operators.avatar import capture
from ...operators.order import Order
from ...operators.running.job_manager import Outcome, Status, Steps, TaskContext
from . import animate, tasks
from .parser import Verbs, add_progress, add_replace


def add(verbs: Verbs) -> None:
    """Add the command."""
    verb = verbs.add_parser(
        "capture",
        help="make the job folder of a run, and leave the run to `run` or to the worker",
        description="Render the avatar and measure its rig into a job folder, with all that the worker needs to know. "
        "No worker is needed here.",
    )
    verb.set_defaults(run=run)
    verb.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="the job folder")
    add_replace(verb, "write over the result of another clip or avatar in the job folder")
    animate.add_options(verb)
    add_progress(verb)


def run(options: argparse.Namespace) -> ExitCode:
    """Capture; print the job folder."""
    order = animate.order_of(options, bpy.context, options.output, needs_worker=False)
    order = replace(order, replaces=options.replace)
    outcome = tasks.run(capture.KIND, lambda task: _steps(order, task), tasks.shown_to(options.progress))
    if outcome.status is Status.FINISHED:
        print(outcome.folder)
    return tasks.tell(outcome)


def _steps(order: Order, task: TaskContext) -> Steps:
    folder = yield from make_job(order, task)
    return Outcome("Captured; `magplus run` or the worker carries it out.", folder=folder.path)
