# SPDX-License-Identifier: GPL-3.0-or-later
"""A batch under way: step by step through all shots, so that models and files are loaded once."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import bpy

from ....backend_bridge.files.errors import CancelledError, ExitCode, InputError, MagPlusError, error_of, worst_of
from ....backend_bridge.files.version import magplus_version
from ....operators.avatar.capture_cache import CaptureCache
from ....operators.environment import worker_python
from ....operators.running.job_manager import Outcome, Status
from ....operators.running.worker_pool import Ended
from .. import tasks
from ..parser import checkpoints_from
from ..saving import held
from . import steps
from .plan import ShotPlan, is_made, plan, without_inputs
from .results import CAPTURES, Failed, FileHashes, Place, Step

KIND = "batch"


@dataclass
class Batch:
    """A batch under way: what is done goes to the records, what fails into `failures`, by shot.

    places: all shots of the list. wanted: the names of those that are asked for.
    """

    results: Path
    places: Sequence[Place]
    wanted: Set[str]
    options: argparse.Namespace
    version: str = field(default_factory=magplus_version)
    hashes: FileHashes = field(default_factory=FileHashes)
    failures: dict[str, MagPlusError] = field(default_factory=dict)

    @cached_property
    def _shown(self) -> tasks.ProgressLine | tasks.FarmProgress:
        return tasks.shown_to(self.options.progress)

    def state(self, places: Sequence[Place]) -> Iterator[ShotPlan]:
        """Yield what is still to be done for shots of the list, for the summary."""
        for place in places:
            try:
                yield from plan([place], self.hashes, self.version)
            except MagPlusError as error:  # its clip is gone, for one
                yield ShotPlan(place, (Step.CAPTURE,), str(error))

    def plan(self) -> list[ShotPlan]:
        """Return what has to be done, as far as it was asked for.

        A file with the results of several shots is saved anew with all of them, also where only one is asked for.
        What other shots are made from is not looked at.
        """
        asked = {Step(name) for name in self.options.step or [step.value for step in Step]}
        its = [place for place in self.places if place.shot.name in self.wanted]
        wanted = plan(its, self.hashes, self.version, again=self.options.again)
        saved = {each.place.saved for each in wanted if Step.IMPORT in each.steps}
        wanted += [
            ShotPlan(place, (Step.IMPORT,), "saved together with one that is asked for")
            for place in self.places
            if place.shot.name not in self.wanted and place.saved in saved and is_made(place)
        ]
        return [replace(each, steps=tuple(step for step in each.steps if step in asked)) for each in wanted]

    def carry_out(self, plans: Sequence[ShotPlan]) -> None:
        """Do it, step by step through all shots, so that models and files are loaded once."""
        for place, error in without_inputs(self._with(plans, Step.CAPTURE)):
            self._failed(Step.CAPTURE, place, error)
        self._capture(self._with(plans, Step.CAPTURE), {place.shot.name for place in self._with(plans, Step.RUN)})
        self._run(self._with(plans, Step.RUN))
        self._import(self._with(plans, Step.IMPORT))
        for place in self._with(plans, Step.RENDER):
            if self._goes_on(place):
                with self._attempt(Step.RENDER, place):
                    self._task(steps.render(place, self.hashes), place)

    def exit_code(self) -> ExitCode:
        """Return how the batch ended."""
        return worst_of(error.exit_code for error in self.failures.values())

    def _capture(self, places: Sequence[Place], run_here: Set[str]) -> None:
        """Make the shots' job folders; run_here: the names of those whose run follows."""
        folder, again = self.results / CAPTURES, self.options.again
        captures = CaptureCache(folder, self.version, self.hashes.files, anew=again)
        before: Place | None = None  # the shot whose file is open, in which nothing was moved or rendered for it
        for place in sorted(places, key=lambda each: str(each.shot.file)):
            if self._goes_on(place):
                with self._attempt(Step.CAPTURE, place):
                    if before is None or not self._finds_the_same(place, before):
                        steps.open_file(place)
                    before, restored = None, captures.restored
                    python = self._python_of(place) if place.shot.name in run_here else None
                    self._task(steps.capture(place, captures, self.hashes, self.version, python), place)
                    before = place if captures.restored > restored else None

    def _finds_the_same(self, place: Place, before: Place) -> bool:
        """Whether the open file is to a shot what it would be if it were opened again after the shot before it."""
        alike = place.shot.is_alike(before.shot) and steps.is_open(place)
        return alike and not before.changed_outside(before.record(), self.hashes)

    def _run(self, places: Sequence[Place]) -> None:
        """Run the jobs, those of one Python together: its workers keep their models from one to the next."""
        by_python: dict[tuple[Path, Path | None], list[Place]] = {}
        for place in places:
            if not self._goes_on(place) or not self._is_captured(Step.RUN, place):
                continue
            try:
                python = self._python_of(place)
            except MagPlusError as error:
                self._failed(Step.RUN, place, error)
            else:
                checkpoints = self.options.checkpoints or place.shot.options.checkpoints
                by_python.setdefault((python, checkpoints), []).append(place)
        for (python, checkpoints), its in by_python.items():
            waiting = [place for place in its if self._goes_on(place)]
            if waiting:
                with checkpoints_from(checkpoints):
                    self._run_with(python, waiting)

    def _python_of(self, place: Place) -> Path:
        """Return the Python of a shot's worker; raises `InputError` or `MachineError` where there is none."""
        return self.options.python or place.shot.options.python or worker_python(bpy.context)

    def _run_with(self, python: Path, places: Sequence[Place]) -> None:
        of_folder = {place.job.path: place for place in places}
        last = time.monotonic()

        def ended(job: Ended) -> bool:
            nonlocal last
            place, now = of_folder[job.folder], time.monotonic()
            place.note_seconds(Step.RUN, now - last)
            print(f"magplus: {place.shot.name}: {Step.RUN.value}, {now - last:.0f} s", file=sys.stderr)
            last = now
            if job.error is not None:
                self._failed(Step.RUN, place, job.error)
            elif place.record().failed is not None:
                place.note(replace(place.record(), failed=None))
            return job.error is None or self.options.keep_going

        count = min(self.options.parallel, len(places))
        try:
            self._task(steps.run([*of_folder], python, count, self.results, ended))
        except CancelledError as cancelled:
            self.failures[places[0].shot.name] = cancelled

    def _import(self, places: Sequence[Place]) -> None:
        groups: dict[Path, list[Place]] = {}
        for place in places:
            groups.setdefault(place.saved, []).append(place)
        for saved, asked in groups.items():
            its = [place for place in asked if self._goes_on(place) and self._is_made(place)]
            if its and self._goes_on(its[0]):  # none of them has just stopped the batch
                with self._attempt(Step.IMPORT, *its), held(saved):
                    for place, warning in steps.bring_in(self._saved_with(its), self.hashes):
                        _warn(place, warning)

    def _saved_with(self, places: Sequence[Place]) -> list[Place]:
        """Return shots of one saved file with the others whose results belong there, in the order of the list.

        Asked while nobody else saves that file: another batch may have finished one of them since this one began.
        Raises `InputError` where a shot that is in the file now would not be any more.
        """
        saved = places[0].saved
        its = [place for place in self.places if place.saved == saved]
        found = [place for place in its if place in places or is_made(place)]
        lost = ", ".join(place.shot.name for place in its if place not in found and place.is_in_file())
        if lost:
            raise InputError(f"{saved.name} holds {lost}, too, which is to be made again first; it was left as it is.")
        return found

    def _task(self, task: steps.Task, place: Place | None = None) -> Outcome:
        """Run a task to its end, a shot's own or one of several; raise what it failed with."""
        outcome = tasks.run(KIND, task, self._shown)
        for warning in outcome.warnings:
            _warn(place, warning)
        if outcome.status is not Status.FINISHED:
            raise error_of(outcome.exit_code)(outcome.sentence)
        return outcome

    def _with(self, plans: Sequence[ShotPlan], step: Step) -> list[Place]:
        return [each.place for each in plans if step in each.steps]

    def _goes_on(self, place: Place) -> bool:
        """Whether a shot can still be done: it hasn't failed, and no other failure has stopped the batch."""
        if any(isinstance(error, CancelledError) for error in self.failures.values()):
            return False
        return place.shot.name not in self.failures and (self.options.keep_going or not self.failures)

    def _is_captured(self, step: Step, place: Place) -> bool:
        """Whether a shot has a job folder to do a step with; it has failed otherwise."""
        if place.job.spec_path.is_file():
            return True
        self._failed(step, place, InputError("The shot is not captured yet; do the step `capture` first."))
        return False

    def _is_made(self, place: Place) -> bool:
        """Whether a shot has a result to bring in; it has failed otherwise."""
        if not self._is_captured(Step.IMPORT, place):
            return False
        if not is_made(place):
            self._failed(Step.IMPORT, place, InputError("The shot's job is not finished; do the step `run` first."))
            return False
        return True

    @contextmanager
    def _attempt(self, step: Step, *places: Place) -> Iterator[None]:
        """Run the block for shots that can still be done, and keep what it fails with as theirs."""
        began = time.monotonic()
        print(f"magplus: {', '.join(place.shot.name for place in places)}: {step.value}", file=sys.stderr, flush=True)
        try:
            yield
        except MagPlusError as error:
            for place in places:
                self._failed(step, place, error)
        else:
            for place in places:
                place.note_seconds(step, (time.monotonic() - began) / len(places))

    def _failed(self, step: Step, place: Place, error: MagPlusError) -> None:
        self.failures[place.shot.name] = error
        print(f"magplus: error: {place.shot.name}: {error}", file=sys.stderr)
        self._shown.failed(f"{place.shot.name}: {error}")
        if not isinstance(error, CancelledError):
            with suppress(MagPlusError):  # that is why it failed, for one
                place.note(replace(place.record(), failed=Failed(step.value, int(error.exit_code), str(error))))


def _warn(place: Place | None, warning: str) -> None:
    """Print a warning, with the shot that it is of."""
    print(f"magplus: warning: {f'{place.shot.name}: ' if place is not None else ''}{warning}", file=sys.stderr)
