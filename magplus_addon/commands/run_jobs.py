# SPDX-License-Identifier: GPL-3.0-or-later
"""`magplus run`: carry out job folders, nothing else: the models are loaded once, the open file is left alone."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import bpy

from ...backend_bridge.files.errors import ExitCode, InputError, MagPlusError, worst_of
from ...backend_bridge.job import measurements
from ...backend_bridge.job.folder import JobFolder
from ...operators.environment import worker_python
from ...operators.running.job_manager import Outcome, Steps, TaskContext
from ...operators.running.worker_pool import Ended, run_jobs, worker_group
from . import tasks
from .parser import Verbs, add_checkpoints, add_progress, add_python, use_checkpoints

KIND = "run"


def add(verbs: Verbs) -> None:
    """Add the command."""
    verb = verbs.add_parser("run", help="carry out job folders that are captured, on this machine")
    verb.set_defaults(run=run)
    verb.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="job folders (NAME.magplus)")
    verb.add_argument("--jobs", type=int, default=1, metavar="N", help="so many side by side (1)")
    verb.add_argument("--keep-going", action="store_true", help="go on with the others when one fails")
    add_python(verb)
    add_checkpoints(verb)
    verb.add_argument(
        "--measurements",
        type=Path,
        metavar="FOLDER",
        help="keep what is measured of clips here, for later runs of them; by default it goes with the command",
    )
    add_progress(verb)


def run(options: argparse.Namespace) -> ExitCode:
    """Run them; print the folders that are finished."""
    if options.jobs < 1:
        raise InputError(f"--jobs must be at least 1, not {options.jobs}.")
    use_checkpoints(options)
    folders = [JobFolder.open(path).path for path in options.folders]
    python = options.python or worker_python(bpy.context)
    errors: dict[Path, MagPlusError] = {}

    def ended(job: Ended) -> bool:
        if job.error is None:
            print(job.folder, flush=True)
            return True
        errors[job.folder] = job.error
        print(f"magplus: error: {job.folder.name}: {job.error}", file=sys.stderr)
        return bool(options.keep_going)

    def steps(task: TaskContext) -> Steps:
        scratch = Path(bpy.app.tempdir)
        shared = (options.measurements or scratch / measurements.FOLDER).absolute()
        with worker_group(python, min(options.jobs, len(folders)), scratch, shared) as workers:
            yield from run_jobs(folders, workers, ended, task.warn)
        return Outcome(f"Ran {len(folders) - len(errors)} of {len(folders)} jobs.")

    outcome = tasks.run(KIND, steps, tasks.shown_to(options.progress))
    return tasks.tell(outcome) or worst_of(error.exit_code for error in errors.values())
