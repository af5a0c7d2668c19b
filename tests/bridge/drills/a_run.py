# SPDX-License-Identifier: GPL-3.0-or-later
"""A run of the worker that writes every kind of file, small enough to be disturbed at each of its steps."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from magplus.backend_bridge.files.hashing import fingerprint_of
from magplus.backend_bridge.job import artefacts
from magplus.backend_bridge.job.artefacts import EQUATIONS, FRAME_KINDS, FRAMES, OBSERVED, at_rate
from magplus.backend_bridge.job.folder import JobFolder
from magplus.backend_bridge.job.report import FramesReport, Report, SmoothingReport, Timing, WeightsReport
from magplus.backend_bridge.job.spec import Avatar, Driving, JobSpec
from magplus.backend_bridge.worker.cancellation import Cancellation
from magplus.backend_bridge.worker.runner import JobEvents, JobRunner
from magplus.backend_bridge.worker_client.messages import Error, Message

TIMES = int(os.environ.get("MAGPLUS_DRILL_TIMES", "1"))  # `dev.py drill NAME --times N`: so many times the cases
SEED = int(os.environ.get("MAGPLUS_DRILL_SEED", "1"))
PATIENCE = 30.0  # seconds, after which a run hangs
COUNT = 3
AT_30 = at_rate(Fraction(30))
FINGERPRINT = fingerprint_of("a drill")
_PRIVATE = {artefacts.JOURNAL, artefacts.LOCK, artefacts.LOG}  # these differ from run to run


def content(unit: str) -> bytes:
    """What a run puts into a file."""
    return f"{unit}, as MagPlus made it\n".encode() * 20


class Pipeline:
    """Makes the files of every frame, and what a run leaves once."""

    Session = dict

    @staticmethod
    def run_job(folder: JobFolder, _session: Any, events: JobEvents) -> Report:
        folder.read_spec()
        for index in range(COUNT):
            units = [kind.unit(index) for kind in (OBSERVED, FRAMES, EQUATIONS)]
            lacking = {unit: content(unit) for unit in units if not folder.finished(unit, FINGERPRINT)}
            folder.commit_all(lacking, FINGERPRINT)
            events.check_cancelled()
        for kind in FRAME_KINDS:
            folder.keep_only(kind, COUNT)
        for name in (artefacts.WEIGHTS, artefacts.CURVES):
            folder.commit(name, content(name))
        report = Report(
            "finished",
            timing=Timing(tuple(Fraction(index, 24) for index in range(COUNT)), Fraction(24)),
            frames=FramesReport(FRAMES.pattern, 1, COUNT, (8, 8)),
            weights=WeightsReport(0, "a drill", (), (), {}, None, {}, SmoothingReport(0.0, None), (), ()),
            warnings=tuple(folder.remarks),
        )
        folder.write_report(report)
        folder.repeat([FRAMES.unit(index) for index in (0, 0, 1, 2)], AT_30)
        return report


def make_job(path: Path) -> JobFolder:
    """A job that was captured and never run."""
    folder = JobFolder.create(path)
    with folder.lock():
        folder.write(artefacts.AVATAR_IMAGE, b"a picture")
        folder.write_spec(JobSpec(Driving("clip.mp4"), Avatar(artefacts.AVATAR_IMAGE)))
    return folder


def run_here(path: Path) -> tuple[int, list[Message]]:
    messages: list[Message] = []
    return int(JobRunner(lambda: Pipeline).run(path, messages.append, Cancellation())), messages


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit status (negative: the signal), whether it had to be stopped, and its last word."""

    status: int
    hung: bool
    output: str


def in_process(work: Callable[[], int], record: Path) -> Ended:
    """Do `work` in a process of its own; what it prints goes to `record`."""
    record.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        status = 99
        try:
            printed = os.open(record, os.O_WRONLY | os.O_CREAT)
            os.dup2(printed, 1)
            os.dup2(printed, 2)
            status = work()
        except BaseException as error:  # the parent is to hear of it, and nothing of pytest's must run here
            os.write(2, f"Traceback of the drill: {error!r}".encode())
        finally:
            os._exit(status)
    deadline = time.monotonic() + PATIENCE
    while True:
        done, waited = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return Ended(-int(signal.SIGKILL), True, "")
        time.sleep(0.002)
    return Ended(os.waitstatus_to_exitcode(waited), False, record.read_text("utf-8", "replace"))


def run(path: Path, record: Path, before: Callable[[], None] = lambda: None) -> Ended:
    """Run a job in a process of its own and have what it tells the user as `output`; `before` sets the trap."""

    def work() -> int:
        before()
        status, messages = run_here(path)
        os.write(1, "\n".join(each.sentence for each in messages if isinstance(each, Error)).encode())
        return status

    return in_process(work, record)


def contents(folder: Path) -> dict[str, bytes]:
    """What lies in a folder, links as what they name; nothing is followed, nothing waited for."""
    found: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = b"-> " + os.fsencode(path.readlink())
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def results(folder: Path) -> dict[str, bytes]:
    """What a run leaves that another run must leave as well, byte by byte."""
    return {name: data for name, data in contents(folder).items() if name not in _PRIVATE}


@contextmanager
def patched(**functions: Callable[..., Any]) -> Iterator[None]:
    """Replace functions of `os`."""
    real = {name: getattr(os, name) for name in functions}
    try:
        for name, function in functions.items():
            setattr(os, name, function)
        yield
    finally:
        for name, function in real.items():
            setattr(os, name, function)


# What changes a disk.
STEPS = ("open", "write", "fsync", "replace", "rename", "link", "unlink", "mkdir")


def before_step(number: int, do: Callable[[str], None]) -> None:
    """From here on in this process, call `do` before step `number` (from 0) that changes the disk."""
    taken = 0

    def wrap(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **more: Any) -> Any:
            nonlocal taken
            if name != "open" or (len(arguments) > 1 and arguments[1] & os.O_CREAT):
                taken += 1
                if taken == number + 1:
                    do(name)
            return real(*arguments, **more)

        return step

    for name in STEPS:
        setattr(os, name, wrap(name, getattr(os, name)))
