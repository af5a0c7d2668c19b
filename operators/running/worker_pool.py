# SPDX-License-Identifier: GPL-3.0-or-later
"""Many jobs on one or several workers, each of which keeps its models loaded from one job to the next."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ...backend_bridge.files.errors import CancelledError, MagPlusError, error_of
from ...backend_bridge.job.stages import in_words
from ...backend_bridge.worker_client.client import WorkerClient
from ...backend_bridge.worker_client.messages import Cancelled, Error, JobWarning, Message, Progress, Result


@dataclass(frozen=True)
class Ended:
    """How one job ended: with `error`, or without one. `log` is where there is more, for an error."""

    folder: Path
    error: MagPlusError | None = None
    warnings: tuple[str, ...] = ()
    log: Path | None = None


@dataclass
class _Running:
    worker: WorkerClient
    folder: Path
    progress: Progress
    warnings: list[str] = field(default_factory=list)


@contextmanager
def worker_group(
    python: Path, count: int, logs: Path, measurements: Path | None = None
) -> Iterator[list[WorkerClient]]:
    """Give workers in one Python that end with the block; what they print outside of jobs goes to files in `logs`.

    measurements: a folder in which they share what they measure of clips; it outlives them.
    """
    workers = [
        WorkerClient(python, logs / f"worker-{number + 1}.log", measurements=measurements) for number in range(count)
    ]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.close()


def run_jobs(
    folders: Sequence[Path],
    workers: Sequence[WorkerClient],
    ended: Callable[[Ended], bool],
    warned: Callable[[str], object] | None = None,
) -> Generator[Progress, None, None]:
    """Run job folders in their order, as many at a time as there are workers.

    `warned` is called with each warning as it comes. `ended` is called with each job as it ends, and returns whether to
    go on with those not begun; what runs is finished in any case. A cancel (`CancelledError` thrown in) is passed on to
    the workers, and raised when all have stopped.
    """
    waiting, idle = deque(folders), list(workers)
    running: list[_Running] = []
    done, cancelled = 0, False
    while waiting or running:
        while waiting and idle and not cancelled:
            running.append(_start(idle.pop(), waiting.popleft()))
        for job in list(running):
            for message in job.worker.poll():
                outcome = _follow(job, message, warned)
                if outcome is None:
                    continue
                running.remove(job)
                idle.append(job.worker)
                done += 1
                if not ended(outcome) or cancelled:
                    waiting.clear()
        if not running:
            continue
        try:
            yield _progress_of(running, done, len(folders))
        except CancelledError:
            cancelled = True
            waiting.clear()
            for job in running:
                job.worker.cancel()
    if cancelled:
        raise CancelledError("Cancelled. What was finished is kept, and the next run goes on from there.")


def run_job(folder: Path, worker: WorkerClient, warned: Callable[[str], object]) -> Generator[Progress, None, Ended]:
    """Run one job folder; return how it ended."""
    outcomes: list[Ended] = []

    def ended(outcome: Ended) -> bool:
        outcomes.append(outcome)
        return True

    yield from run_jobs([folder], [worker], ended, warned)
    return outcomes[0]


def _start(worker: WorkerClient, folder: Path) -> _Running:
    worker.start_job(folder)
    return _Running(worker, folder, Progress("Starting the worker", 0, 0))


def _follow(job: _Running, message: Message, warned: Callable[[str], object] | None) -> Ended | None:
    """Follow what a worker says of its job; return how the job ended, once it has."""
    match message:
        case Progress(stage, done, total):
            job.progress = Progress(in_words(stage), done, total)
        case JobWarning(text):
            job.warnings.append(text)
            if warned is not None:
                warned(text)
        case Result():
            return Ended(job.folder, warnings=tuple(job.warnings))
        case Cancelled():
            return Ended(job.folder, CancelledError("Cancelled."), tuple(job.warnings))
        case Error(exit_code, sentence, log):
            return Ended(job.folder, error_of(exit_code)(sentence), tuple(job.warnings), Path(log) if log else None)
    return None


def _progress_of(running: Sequence[_Running], done: int, total: int) -> Progress:
    """Return how far all is: the stage of the only job, or how many are done where several run side by side."""
    if total == 1:
        return running[0].progress
    if len(running) == 1:
        stage, number = running[0].progress, done + 1
        return Progress(f"Job {number} of {total}: {stage.stage}", stage.done, stage.total)
    return Progress(f"{len(running)} jobs side by side, {total} in all: done", done, total)
