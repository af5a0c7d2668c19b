# SPDX-License-Identifier: GPL-3.0-or-later
"""Running a task from the command line: progress on stderr, signals that cancel, and how it ended."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from ...backend_bridge.files.errors import ExitCode
from ...backend_bridge.worker_client.messages import Progress
from ...operators.running.job_manager import Outcome, Status, Steps, TaskContext, manager
from ..panels import clock

TELL_EVERY = 5.0  # seconds between two progress lines of one stage, where they can't overwrite each other


def run(kind: str, task: Callable[[TaskContext], Steps]) -> Outcome:
    """Run a task to its end and return how it ended; nothing is told of that yet."""
    with _cancelled_by_signals():
        return manager.run(kind, task, ProgressLine(sys.stderr))


def tell(outcome: Outcome) -> ExitCode:
    """Tell on stderr how it ended; return the exit code."""
    for warning in outcome.warnings:
        print(f"magplus: warning: {warning}", file=sys.stderr)
    if outcome.status is Status.FAILED:
        for line in outcome.details:
            print(f"magplus: {line}", file=sys.stderr)
        log = f" The log is {outcome.log}." if outcome.log is not None and outcome.log.exists() else ""
        print(f"magplus: error: {outcome.sentence}{log}", file=sys.stderr)
        return outcome.exit_code
    print(f"magplus: {outcome.sentence}", file=sys.stderr)
    for line in outcome.details:
        print(f"magplus: {line}", file=sys.stderr)
    return outcome.exit_code


class ProgressLine:
    """Tells progress line by line, seldom enough for a log."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._stage = ""
        self._told = 0.0

    def __call__(self, progress: Progress) -> None:
        """Tell, unless the last line is too fresh."""
        now = time.monotonic()
        if progress.stage == self._stage and now - self._told < TELL_EVERY:
            return
        self._stage, self._told = progress.stage, now
        text = progress.stage
        if progress.total:
            text += f" {progress.done}/{progress.total}"
        if manager.seconds_left is not None:
            text += f", {clock(manager.seconds_left)} left"
        print(f"magplus: {text}", file=self._stream, flush=True)


@contextmanager
def _cancelled_by_signals() -> Iterator[None]:
    """Let Ctrl-C and a farm's request to stop cancel the task, where Blender itself would wait or die."""
    names = (signal.SIGINT, signal.SIGTERM)
    before = {name: signal.signal(name, lambda *_: manager.cancel()) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            # None stands for a handler of Blender's own, which Python can't put back; the process is about to end.
            signal.signal(name, signal.SIG_DFL if handler is None else handler)
