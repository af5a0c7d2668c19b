# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be done for each shot, and why: nothing is done twice, and nobody has to guess why something is done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ....backend_bridge.files.errors import InputError, MagPlusError
from ....backend_bridge.files.hashing import hash_file
from ....backend_bridge.job.artefacts import OBSERVED, SURFACES
from .rendering import RenderFolder
from .results import FileHashes, Place, Record, Step, capture_inputs, changed, import_inputs

_Check = Callable[[Place, Record, FileHashes, str], str]


@dataclass(frozen=True)
class ShotPlan:
    """The steps that one shot needs, in their order, and why the first of them."""

    place: Place
    steps: tuple[Step, ...]
    reason: str


def without_inputs(places: Iterable[Place]) -> list[tuple[Place, InputError]]:
    """Return the shots whose .blend or video isn't there, each with what to say of it."""
    found = []
    for place in places:
        try:
            place.shot.check_inputs()
        except InputError as error:
            found.append((place, error))
    return found


def is_made(place: Place) -> bool:
    """Whether a shot's job is finished, so that its result can be brought into a file."""
    return place.job.spec_path.is_file() and not _run_reason(place)


def plan(places: Sequence[Place], hashes: FileHashes, version: str, *, again: bool = False) -> list[ShotPlan]:
    """Return what each shot needs. `again` makes everything anew.

    Shots that are saved together are imported together: where one of them has to be, so have the others.
    """
    plans = [_plan_of(place, hashes, version, again) for place in places]
    stale = {str(each.place.saved) for each in plans if Step.IMPORT in each.steps}
    return [_with_its_neighbours(each) if str(each.place.saved) in stale else each for each in plans]


def _with_its_neighbours(each: ShotPlan) -> ShotPlan:
    if Step.IMPORT in each.steps:
        return each
    later = (Step.IMPORT, Step.RENDER) if each.place.shot.render else (Step.IMPORT,)
    reason = each.reason if each.steps else "another shot of the same saved file is made again"
    return ShotPlan(each.place, later, reason)


def _plan_of(place: Place, hashes: FileHashes, version: str, again: bool) -> ShotPlan:
    every = tuple(step for step in Step if step is not Step.RENDER or place.shot.render)
    record = place.record()
    checks: tuple[_Check, ...] = (_capture_reason, _run_reason, _import_reason, _render_reason)
    if again:
        return ShotPlan(place, every, "asked for again")
    for step, check in zip(Step, checks, strict=True):
        try:
            reason = check(place, record, hashes, version) if step in every else ""
        except MagPlusError as error:  # its clip is gone, say: the step will fail by itself, and the other shots go on
            reason = str(error)
        if reason:
            return ShotPlan(place, every[every.index(step) :], reason)
    return ShotPlan(place, (), "finished")


def _capture_reason(place: Place, record: Record, hashes: FileHashes, version: str) -> str:
    place.shot.check_inputs()
    if record.captured is None or not place.job.spec_path.is_file():
        if record.failed is not None:
            return f"failed before: {record.failed.sentence}"
        captured = place.job.made(SURFACES)
        return f"unfinished: {captured} of the shot's frames were captured" if captured else "new"
    if reason := changed(record.captured, capture_inputs(place.shot, hashes, version)):
        return reason
    if others := place.changed_outside(record, hashes):
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        return f"{others[0]}{more}, which the file reads, has changed"
    return _moved_reason(place)


def _moved_reason(place: Place) -> str:
    """Return what lies elsewhere now than an unfinished job says; of a finished one nothing is read any more."""
    if not _run_reason(place):
        return ""
    spec = place.job.read_spec()
    if spec.driving.path != place.shot.options.driving:
        return "the clip lies elsewhere now"
    plates = place.shot.options.plates
    return "the plates lie elsewhere now" if spec.shot is not None and plates and spec.shot.plates != plates else ""


def _run_reason(place: Place, *_: object) -> str:
    report = place.report()
    if report is not None and report.job_sha256 != hash_file(place.job.spec_path):
        report = None  # of an earlier job in this folder
    if report is not None and report.status == "finished":
        return ""
    if report is not None and report.status == "failed" and report.error is not None:
        return f"failed before: {report.error.sentence}"
    made = place.job.made(OBSERVED)
    return f"unfinished: {made} frames were begun with" if made else "captured, not run yet"


def _import_reason(place: Place, record: Record, hashes: FileHashes, _version: str) -> str:
    if record.imported is None:
        if record.failed is not None and record.failed.step == Step.IMPORT.value:
            return f"failed before: {record.failed.sentence}"
        return "not in the file yet"
    if record.saved != place.portable(place.saved) or not place.saved.is_file():
        return "the saved file is gone or to be somewhere else"
    return changed(record.imported, import_inputs(place, hashes))


def _render_reason(place: Place, record: Record, hashes: FileHashes, _version: str) -> str:
    if record.rendered is None:
        return "not rendered yet"
    made_from = hashes.of(place.saved)
    if (reason := changed(record.rendered, {"the saved file": made_from})) or record.frames is None:
        return reason
    first, last = record.frames
    gone = RenderFolder(place.render).missing(range(first, last + 1), made_from, by_size=True)
    more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
    return f"frame {gone[0]}{more} of the render is gone" if gone else ""
