# SPDX-License-Identifier: GPL-3.0-or-later
"""The real worker with a pipeline that does what a job names of `misbehaviour`, for tests of everything around it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "checkout"))

from magplus.backend_bridge.files.hashing import fingerprint_of
from magplus.backend_bridge.job.folder import JobFolder
from magplus.backend_bridge.job.report import Report
from magplus.backend_bridge.worker.command_line import main
from magplus.backend_bridge.worker.runner import JobEvents, JobRunner
from magplus.tests.bridge.worker import misbehaviour

FRAMES = 5


class Session:
    """Counts the jobs that it has seen, as a stand-in for models that are loaded once."""

    def __init__(self) -> None:
        self.jobs = 0


def run_job(folder: JobFolder, session: Session, events: JobEvents) -> Report:
    session.jobs += 1
    what = str(folder.read_spec().backend_options.get("do", misbehaviour.nothing.__name__))
    do: misbehaviour.Misbehaviour = getattr(misbehaviour, what)
    made = 0
    for number in range(1, FRAMES + 1):
        name, fingerprint = f"frames/{number:06d}.png", fingerprint_of(number)
        if not folder.finished(name, fingerprint):
            folder.commit(name, f"frame {number}".encode(), fingerprint)
            made += 1
        events.progress("animate", number, FRAMES)
        if number == 3:
            do(events)
        events.check_cancelled()
    counted = {"made": str(made), "jobs": str(session.jobs)}  # in the one place that takes any text
    report = Report("finished", versions=counted, warnings=tuple(events.warnings))
    folder.write_report(report)
    return report


class ScriptedPipeline:
    Session = Session
    run_job = staticmethod(run_job)


if __name__ == "__main__":
    main(sys.argv[1:], JobRunner(ScriptedPipeline))
