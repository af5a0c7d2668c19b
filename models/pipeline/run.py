# SPDX-License-Identifier: GPL-3.0-or-later
"""The pipeline: driving video -> face -> MagPlus -> backend -> DeMagPlus -> frames and rig controls.

The clip is read a few times, a few frames in memory at a time: for the face's landmarks, for the steady crop, for some
probe frames that decide the magnification and the backend's gain, and to make the result.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import ExitStack, closing

import torch

from ...backend_bridge.job.folder import JobFolder
from ...backend_bridge.job.judgement import quality_of, strongly_compressed, unseen_regions, without_expression
from ...backend_bridge.job.report import Report
from ...backend_bridge.job.spec import JobSpec
from ..device import OutOfMemoryError, choose_device, ran_out
from .factors import Factors, factors_of
from .finished import finished_report
from .frame_maker import FrameMaker
from .measurement_report import report_of_measurement
from .notes import Events, Notes
from .order import Order
from .outputs import FinishedBeside, Made, Output
from .outputs.comparison import Comparison
from .outputs.curves import Curves
from .outputs.driver_picture import DriverPicture
from .outputs.frames import Frames, Magnified
from .outputs.keyed_picture import KeyedPicture
from .outputs.moving_shot import MovingShot
from .outputs.observed import Observed
from .outputs.plot import Plot
from .provenance import Provenance
from .session import Session
from .subjects import Subjects, found_subjects


def run_job(folder: JobFolder, session: Session, events: Events) -> Report:
    """Do what `job.json` asks for; return the report, which is in the folder too.

    Finished frames of an earlier run with the same inputs are kept. Raises `InputError`, `MachineError` or
    `CancelledError`; whatever was finished until then stays in the folder.
    """
    spec = folder.read_spec()
    notes = Notes(events)
    device = choose_device(spec.device)
    try:
        with session.job(notes.check_cancelled):
            return _run_on(device, folder, spec, session, notes)
    except Exception as error:
        if not ran_out(device, error):
            raise
    session.release(device)  # out here, where the error no longer holds on to tensors
    if not spec.allow_cpu:
        raise OutOfMemoryError(
            f"The memory of {device} is too small for this job; close other programs that use it, choose the CPU, or "
            "allow MagPlus to go on on the CPU when this happens (in the preferences, or with --allow-cpu)."
        )
    notes.warning(
        f"The memory of {device} was too small for this job; it went on on the CPU, as it was allowed to, and took "
        "longer."
    )
    with session.job(notes.check_cancelled):
        return _run_on(torch.device("cpu"), folder, spec, session, notes)


def _run_on(device: torch.device, folder: JobFolder, spec: JobSpec, session: Session, notes: Notes) -> Report:
    order = Order.read(folder, spec, session, device)
    if (earlier := _kept(order, notes)) is not None:
        return earlier
    with found_subjects(order, session, notes) as subjects:
        made_from = order.frames_fingerprint(subjects.clip, restored=not subjects.avatar.gives_motion)
        provenance = Provenance(made_from, order.signer)
        factors, probed = factors_of(folder, spec, subjects.probes, notes, made_from)
        outputs = _outputs(order, subjects, factors, notes, provenance)
        report = report_of_measurement(order, subjects, factors, provenance)  # while the next frames are measured
        made = FrameMaker(folder, outputs, subjects.probes, factors.alpha, probed, notes, made_from).run()
        report = _finished(outputs, report, made)
        return folder.write_report(_concluded(report, folder, notes), order.fingerprint())


def _finished(outputs: Sequence[Output], report: Report, made: Made) -> Report:
    """Return the report with each output's section; what takes a while and needs no other's is begun beforehand."""
    beside = [output for output in outputs if isinstance(output, FinishedBeside)]
    with ExitStack() as begun:
        for each in beside:
            begun.enter_context(closing(each.begin_to_finish()))
        for output in sorted(outputs, key=lambda output: output in beside):  # these last, the others in their order
            report = output.finish(report, made)
    return report


def _kept(order: Order, notes: Notes) -> Report | None:
    """Return the report of an earlier run of this very order, None where something differs."""
    folder, spec = order.folder, order.spec
    if spec.shot is not None or not (folder.has_report and folder.has_finished_result()):
        return None
    made_from = order.fingerprint()
    report = finished_report(folder, spec, made_from)
    if report is None:
        return None
    for sentence in report.warnings:
        notes.warning(sentence)
    return folder.write_report(report, made_from)


def _concluded(report: Report, folder: JobFolder, notes: Notes) -> Report:
    """Return the report with every warning, and with what is to be thought of the result."""
    for remark in folder.remarks:
        notes.warning(remark)
    if report.events is None:
        notes.warning(without_expression(report))
    if report.face is not None and report.face.unseen:
        notes.warning(unseen_regions(report.face.unseen))
    if report.face is not None and report.face.compression.strong:
        notes.warning(strongly_compressed(report.face.compression))
    report = dataclasses.replace(report, warnings=tuple(notes.warnings))
    return dataclasses.replace(report, quality=quality_of(report))


def _outputs(order: Order, subjects: Subjects, factors: Factors, notes: Notes, provenance: Provenance) -> list[Output]:
    """Return what the job asks for; each may build on those before it."""
    folder, spec, basis = order.folder, order.spec, order.basis
    driver, avatar = subjects.driver, subjects.avatar
    observed = Observed(folder, driver)
    outputs: list[Output] = [observed]
    if spec.outputs.magnified:
        outputs.append(Magnified(notes, provenance))
    if spec.outputs.compare:
        outputs.append(Comparison(avatar, factors, notes, provenance))
    if spec.outputs.frames and spec.shot is not None:
        outputs.append(MovingShot(folder, spec.shot, spec.outputs, avatar, factors, notes, provenance))
    elif spec.outputs.frames:
        outputs.append(Frames(folder, avatar, factors, observed, notes, provenance))
    if spec.outputs.weights and basis is not None:
        reader = subjects.rig_reader(factors)
        curves = Curves(folder, driver.clip, reader, spec.rig, spec.intensity, observed, notes)
        plot, picture = Plot(folder, curves, notes, provenance), KeyedPicture(folder, avatar, basis, curves, provenance)
        outputs += [curves, plot, picture]
    outputs.append(DriverPicture(folder, driver, provenance))  # of the apex, which the curves may have moved
    return outputs
