# SPDX-License-Identifier: GPL-3.0-or-later
"""Running a task from the command line: progress on stderr, signals that cancel, and how it ended."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import bpy

from ...backend_bridge.files.errors import ExitCode
from ...backend_bridge.worker_client.farm_lines import FarmLines
from ...backend_bridge.worker_client.messages import Progress
from ...operators.result_record import out_of_range
from ...operators.running.job_manager import Outcome, Status, Steps, TaskContext, manager
from ..panels import clock
from .hints import with_hint
from .parser import PROGRESS

_, OPENJD = PROGRESS
PATIENCE = 2.0  # seconds that a task has to stop after a signal before the process ends with it
TELL_EVERY = 5.0  # seconds between two progress lines of one stage, where they can't overwrite each other


def run(kind: str, task: Callable[[TaskContext], Steps], shown: ProgressLine | FarmProgress | None = None) -> Outcome:
    """Run a task to its end and return how it ended, which people are not told yet.

    shown: for whom its progress is printed, as `shown_to` returns it; by default for people.
    """
    shown = shown or ProgressLine()
    with _cancelled_by_signals():
        outcome = manager.run(kind, task, shown)
    if outcome.status is Status.FAILED:
        shown.failed(outcome.sentence)
    return outcome


def shown_to(reader: str) -> ProgressLine | FarmProgress:
    """Return what prints progress for a reader, one of `parser.PROGRESS`."""
    return FarmProgress() if reader == OPENJD else ProgressLine()


def tell(outcome: Outcome) -> ExitCode:
    """Print on stderr how it ended, and that it lies where the scene doesn't play; return the exit code."""
    outside = out_of_range(bpy.context.scene) if outcome.in_scene else ""
    for warning in filter(None, (*outcome.warnings, outside)):
        print(f"magplus: warning: {with_hint(warning)}", file=sys.stderr)
    if outcome.status is Status.FAILED:
        for line in outcome.details:
            print(f"magplus: {line}", file=sys.stderr)
        log = f" The log is {outcome.log}." if outcome.log is not None and outcome.log.exists() else ""
        print(f"magplus: error: {with_hint(outcome.sentence)}{log}", file=sys.stderr)
        return outcome.exit_code
    print(f"magplus: {outcome.sentence}", file=sys.stderr)
    for line in outcome.details:
        print(f"magplus: {line}", file=sys.stderr)
    return outcome.exit_code


class ProgressLine:
    """Prints progress on standard error, line by line, seldom enough for a log."""

    def __init__(self) -> None:
        self._stage = ""
        self._told = 0.0

    def __call__(self, progress: Progress) -> None:
        """Print, unless the last line is too fresh."""
        now = time.monotonic()
        if progress.stage == self._stage and now - self._told < TELL_EVERY:
            return
        self._stage, self._told = progress.stage, now
        text = progress.stage
        if progress.total:
            text += f" {progress.done}/{progress.total}"
        if manager.seconds_left is not None:
            text += f", {clock(manager.seconds_left)} left"
        print(f"magplus: {text}", file=sys.stderr, flush=True)

    def failed(self, sentence: str) -> None:
        """Print nothing: `tell` says it."""


class FarmProgress:
    """Tells an Open Job Description runtime, on standard output, what is done and how much of the stage under way is.

    One tells of all tasks of a command.
    """

    def __init__(self) -> None:
        self._lines = FarmLines(partial(print, flush=True))

    def __call__(self, progress: Progress) -> None:
        """Print what is new."""
        self._lines.status(progress.stage)
        if progress.total:
            self._lines.progress(progress.done / progress.total)

    def failed(self, sentence: str) -> None:
        """Print why a task has failed."""
        self._lines.fail(sentence)


@contextmanager
def _cancelled_by_signals() -> Iterator[None]:
    """Let Ctrl-C and a farm's request to stop cancel the task, where Blender itself would wait or die.

    Blender renders without looking up: Python hears of a signal when the picture is there. So a thread of ours listens,
    and where the task does not stop by itself the process ends. It is the command's own, and a command that is
    cancelled leaves nothing that would have to be saved.
    """
    names = (signal.SIGINT, signal.SIGTERM)
    before = {name: signal.signal(name, lambda *_: manager.cancel()) for name in names}
    ours, signals = socket.socketpair()
    signals.setblocking(False)
    listened = signal.set_wakeup_fd(signals.fileno(), warn_on_full_buffer=False)
    tempdir = bpy.app.tempdir
    thread = threading.Thread(target=_listen, args=(ours, set(map(int, names)), tempdir), daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(listened)
        signals.close()
        thread.join()
        ours.close()
        for name, handler in before.items():
            # None stands for a handler of Blender's own, which Python can't put back; the process is about to end.
            signal.signal(name, signal.SIG_DFL if handler is None else handler)


def _listen(signals: socket.socket, names: set[int], tempdir: str) -> None:
    """Cancel at the first signal, and end the process when nothing comes of it. Ends when nobody sends any more."""
    while received := signals.recv(16):
        if not names & set(received):
            continue
        steps = manager.steps_taken
        manager.cancel()
        if _closed_within(signals, PATIENCE):
            return
        if manager.busy and manager.steps_taken == steps and bpy.app.background:
            with suppress(OSError, ValueError):  # whoever has read it may be gone
                print("magplus: error: Cancelled. Finished frames are kept in the job folder.", file=sys.stderr)
                sys.stderr.flush()
            shutil.rmtree(tempdir, ignore_errors=True)
            os._exit(ExitCode.CANCELLED)


def _closed_within(signals: socket.socket, seconds: float) -> bool:
    """Whether nobody sends any more after so many seconds; a second Ctrl-C meanwhile changes nothing."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        signals.settimeout(left)
        try:
            if not signals.recv(16):
                return True
        except TimeoutError:
            break
    signals.settimeout(None)
    return False
