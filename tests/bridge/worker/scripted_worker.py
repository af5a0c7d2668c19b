# SPDX-License-Identifier: GPL-3.0-or-later
"""The real worker with a pipeline that does what the job's `backend_options` say, for tests of everything around it."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "checkout"))

from magplus.backend_bridge.files.errors import CancelledError, InputError
from magplus.backend_bridge.files.hashing import fingerprint_of
from magplus.backend_bridge.job.folder import JobFolder
from magplus.backend_bridge.job.report import Report
from magplus.backend_bridge.worker.command_line import main
from magplus.backend_bridge.worker.runner import JobEvents, JobRunner

FRAMES = 5


class Session:
    """Counts the jobs that it has seen, as a stand-in for models that are loaded once."""

    def __init__(self) -> None:
        self.jobs = 0


def run_job(folder: JobFolder, session: Session, events: JobEvents) -> Report:
    session.jobs += 1
    options = folder.read_spec().backend_options
    made = 0
    for number in range(1, FRAMES + 1):
        name, fingerprint = f"frames/{number:06d}.png", fingerprint_of(number)
        if not folder.finished(name, fingerprint):
            folder.commit(name, f"frame {number}".encode(), fingerprint)
            made += 1
        events.progress("animate", number, FRAMES)
        if number == 3:
            misbehave(options.get("do", ""), events)
        events.check_cancelled()
    counted = {"made": str(made), "jobs": str(session.jobs)}  # in the one place that takes any text
    report = Report("finished", versions=counted, warnings=tuple(events.warnings))
    folder.write_report(report)
    return report


def misbehave(what: str, events: JobEvents) -> None:
    if what == "print":
        print("a library says hello", flush=True)
        os.write(1, b'{"type": "exit", "code": 7}\n')
        ctypes.CDLL(None).puts(b"C code says hello")
        ctypes.CDLL(None).fflush(None)
        print("unicode: 表情", file=sys.stderr)
    elif what == "wait politely":
        for _ in range(6000):
            time.sleep(0.01)
            events.check_cancelled()
    elif what == "sleep":
        time.sleep(60)
    elif what == "hold the interpreter":
        ctypes.PyDLL(None).sleep(60)  # C code that keeps the interpreter's lock: no other thread runs
    elif what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "segfault":
        ctypes.string_at(0)
    elif what == "exit":
        sys.exit("a library thinks that it owns the process")
    elif what == "bad input":
        raise InputError("No face was found in clip.mp4; choose another video.")
    elif what == "bug":
        raise ZeroDivisionError("division by zero")
    elif what == "import":
        import a_package_that_is_not_installed  # noqa: F401
    elif what == "memory":
        raise MemoryError
    elif what == "gpu memory":
        raise type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory. Tried to allocate 2.00 GiB.")
    elif what == "old driver":
        raise RuntimeError("CUDA error: CUDA driver version is insufficient for CUDA runtime version")
    elif what == "full disk":
        raise OSError(errno.ENOSPC, "No space left on device")
    elif what == "own cancel":
        raise CancelledError("Cancelled.")
    elif what == "warn":
        events.warning("The face is missing at 0.12 s.")
        events.warning("The face is missing at 0.12 s.")


class ScriptedPipeline:
    Session = Session
    run_job = staticmethod(run_job)


if __name__ == "__main__":
    main(sys.argv[1:], JobRunner(ScriptedPipeline))
