# SPDX-License-Identifier: GPL-3.0-or-later
"""A job that is run again although nothing has changed since it was finished: its result is looked over and kept."""

from __future__ import annotations

from dataclasses import replace

from ...backend_bridge.files.errors import InputError
from ...backend_bridge.job import artefacts
from ...backend_bridge.job.folder import JobFolder
from ...backend_bridge.job.report import Report
from ...backend_bridge.job.spec import JobSpec


def finished_report(folder: JobFolder, spec: JobSpec, order: str) -> Report | None:
    """Return the report of an earlier run of the same order (`fingerprint.order_fingerprint`) whose files are whole.

    Its frames are counted as resumed. None where there is no such run, or where a file of its result is missing or was
    changed: then the job has to be run. A moving shot always is: it is made from many files more, its plates and where
    the face is in them, which its output compares one by one.
    """
    if spec.shot is not None or not folder.finished(artefacts.REPORT, order):
        return None
    report = folder.read_report()
    if report.status != "finished" or report.timing is None or report.face is None:
        return None
    try:
        folder.check_whole(_units(report, spec))
    except InputError:
        return None
    if report.frames is None:
        return report
    present = report.frames.count - len(report.face.missing_seconds)
    return replace(report, frames=replace(report.frames, resumed=present))


def _units(report: Report, spec: JobSpec) -> list[str]:
    """Return every file of a finished result but its report."""
    assert report.timing is not None
    kinds = [artefacts.OBSERVED]
    kinds += [artefacts.FRAMES] if report.frames else []
    kinds += [artefacts.DRIVER, artefacts.MAGNIFIED] if spec.outputs.magnified else []
    kinds += [artefacts.COMPARE] if spec.outputs.compare else []
    kinds += [artefacts.EQUATIONS] if report.weights else []
    units = [artefacts.FACTORS, artefacts.DRIVER_APEX]
    units += [kind.unit(index) for kind in kinds for index in range(len(report.timing.seconds))]
    if report.weights:
        units += [artefacts.WEIGHTS, artefacts.WEIGHTS_CSV, artefacts.CURVES, artefacts.KEYED_APEX]
        units += [artefacts.LIVE_LINK] if report.weights.live_link_face else []
    return units
