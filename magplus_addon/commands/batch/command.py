# SPDX-License-Identifier: GPL-3.0-or-later
"""`magplus batch`: a list of shots, each captured, run, brought into its file and rendered, as far as it isn't yet."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ....backend_bridge.files.disk import explained
from ....backend_bridge.files.errors import ExitCode, InputError, worst_of
from ....backend_bridge.job.artefacts import SET_ASIDE
from ....backend_bridge.job.journal import Journal
from ....backend_bridge.job.measurements import FOLDER
from ....backend_bridge.job.own_files import OwnFiles
from ..parser import Verbs, add_checkpoints, add_progress, add_python
from .carrying_out import Batch
from .farm import FarmJob, flamenco, job_parameters, open_job_description
from .plan import ShotPlan, without_inputs
from .results import CAPTURES, WRITTEN, Place, Step
from .shot_list import has_decimal_commas
from .shots import chosen, numbered, read_shots
from .summary import NAMES, SHEET, write_summary
from .template import template

_TAKEN = {CAPTURES, FOLDER, SET_ASIDE, WRITTEN, *NAMES}  # what lies beside the shots' folders, all in lower case


def add(verbs: Verbs) -> None:
    """Add the command."""
    verb = verbs.add_parser(
        "batch",
        help="carry out a list of shots, resumed after any crash",
        description="Capture, run, import and render each shot of a list, as far as it is not done yet.",
    )
    verb.set_defaults(run=run)
    verb.add_argument("shots", type=Path, nargs="?", metavar="SHOTS", help="the list, .toml or .csv")
    verb.add_argument("--template", action="store_true", help="print a commented list to begin with")
    verb.add_argument("--results", type=Path, metavar="FOLDER", help="where results go; default: beside the list")
    verb.add_argument("--only", action="extend", nargs="+", metavar="PATTERN", help="these shots alone, as in 'sq010*'")
    verb.add_argument("--numbers", metavar="RANGES", help="these alone, by their place in the list, as in 1-3,7")
    verb.add_argument(
        "--step", choices=[step.value for step in Step], action="append", help="these steps alone, for a farm"
    )
    verb.add_argument("--parallel", type=int, default=1, metavar="N", help="workers side by side (1)")
    add_python(verb, "the list's and the preferences'")
    add_checkpoints(verb)
    verb.add_argument("--keep-going", action="store_true", help="go on with the other shots when one fails")
    verb.add_argument("--again", action="store_true", help="capture, import and render anew what is finished, too")
    add_progress(verb)
    verb.add_argument("--dry-run", action="store_true", help="say what would be done for each shot, and why")
    farm = verb.add_argument_group("for a farm", "These write a file into FOLDER and do nothing else.")
    farm.add_argument("--openjd", type=Path, metavar="FOLDER", help="a template for Open Job Description")
    farm.add_argument("--flamenco", type=Path, metavar="FOLDER", help="a job for a Flamenco Manager")


def run(options: argparse.Namespace) -> ExitCode:
    """Do what each shot still needs; the exit code is the worst shot's, one that is worth another try before others."""
    if options.template:
        print(template(), end="")
        return ExitCode.OK
    listed, results = _list_and_results(options)
    places = _places(listed, results)
    if options.openjd is not None or options.flamenco is not None:
        _check_for_farm(options, places)
        return _write_farm_jobs(options, listed, results, places)
    shots = [place.shot for place in places]
    by_number = {shot.name for shot in numbered(shots, options.numbers)}
    wanted = by_number & {shot.name for shot in chosen(shots, options.only)}
    batch = Batch(results, places, wanted, options)
    plans = batch.plan()
    if options.dry_run:
        for each in plans:
            print(f"{each.place.shot.name}: {_in_words(each)}")
        to_capture = (each.place for each in plans if Step.CAPTURE in each.steps)
        return worst_of(error.exit_code for _, error in without_inputs(to_capture))
    for each in plans:
        print(f"magplus: {each.place.shot.name}: {_in_words(each)}", file=sys.stderr)
    try:
        batch.carry_out(plans)
    finally:
        plans_now = [*batch.state(places)]
        summary, remarks = write_summary(results, plans_now, decimal_commas=has_decimal_commas(listed))
        for remark in remarks:
            print(f"magplus: warning: {remark}", file=sys.stderr)
        print(f"magplus: {summary.sentence} {results / SHEET} shows them.", file=sys.stderr)
    return batch.exit_code()


def _list_and_results(options: argparse.Namespace) -> tuple[Path, Path]:
    """Return the list and the folder for its results, absolute. Raises `InputError` where they can't be those."""
    if options.shots is None:
        raise InputError("Name the list of shots; `magplus batch --template` prints one to begin with.")
    if options.parallel < 1:
        raise InputError(f"--parallel must be at least 1, not {options.parallel}.")
    listed = options.shots.absolute()
    results = (options.results or listed.with_name(f"{listed.stem}_results")).absolute()
    with explained(results, reading=True):
        if results.exists() and not results.is_dir():
            raise InputError(f"{results} is a file, not a folder for results; give other --results.")
    if listed in [results / name for name in NAMES]:
        raise InputError(
            f"{listed.name} is the name of a result in {results}; rename the list or give other --results."
        )
    return listed, results


def _places(listed: Path, results: Path) -> list[Place]:
    """Return where the results of each shot go. Raises `InputError` for a name that the results have themselves."""
    places = [Place(results / shot.name, shot) for shot in read_shots(listed)]
    for place in places:
        if {place.shot.name.casefold(), place.shot.group.casefold()} & _TAKEN:
            place.shot.row.refuse(f"{place.shot.group!r} is a name that the results have; give it another.", "name")
        place.check()
    return places


def _check_for_farm(options: argparse.Namespace, places: Sequence[Place]) -> None:
    """Raise `InputError` for options that a farm's machines decide, and for shots whose inputs are missing."""
    if options.only or options.numbers or options.step:
        raise InputError("A farm's job is for the whole list; leave --only, --numbers and --step out of the call.")
    if options.python or options.checkpoints:
        raise InputError(
            "A farm's machines each have their own worker; say `python` and `checkpoints` in the list, or in the "
            "preferences of each machine, and leave --python and --checkpoints out of the call."
        )
    for _, error in without_inputs(places):
        if not options.keep_going:
            raise error
        print(f"magplus: warning: {error}", file=sys.stderr)


def _write_farm_jobs(options: argparse.Namespace, listed: Path, results: Path, places: Sequence[Place]) -> ExitCode:
    job = FarmJob.of(listed.stem, places)
    texts: dict[Path, str] = {}
    if options.openjd is not None:
        folder = options.openjd.absolute()
        texts[folder / f"{listed.stem}.openjd.json"] = open_job_description(job)
        texts[folder / f"{listed.stem}.parameters.json"] = job_parameters(listed, results)
    if options.flamenco is not None:
        texts[options.flamenco.absolute() / f"{listed.stem}.flamenco.json"] = flamenco(job, listed, results)
    for path, text in texts.items():
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        own = OwnFiles(path.parent, Journal(path.with_name(WRITTEN)))
        own.write(path.name, text.encode())
        for remark in own.remarks:
            print(f"magplus: warning: {remark}", file=sys.stderr)
        print(path)
    return ExitCode.OK


def _in_words(each: ShotPlan) -> str:
    if not each.steps:
        return each.reason
    return f"{', '.join(step.value for step in each.steps)} ({each.reason})"
