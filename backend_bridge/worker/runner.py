# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs jobs one after another, keeps the models loaded between them, and accounts for every way a job can end."""

from __future__ import annotations

import gc
import importlib
import platform
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, cast

from ..files.disk import explained
from ..files.errors import ExitCode, InUseError, MagPlusError, is_out_of_memory
from ..files.plain import hash_plain
from ..job.folder import JobFolder
from ..job.report import Report
from ..job.stages import Stage
from ..worker_client.messages import Cancelled, Error, JobWarning, Message, Progress, Result
from .cancellation import STOPPED, Cancellation
from .failures import explain
from .streams import leave, log_to

Send = Callable[[Message], None]


class Pipeline(Protocol):
    """What a job is run by: the module `models.pipeline.run`."""

    def Session(self) -> Any:  # noqa: N802 - a class of the module
        """Make what keeps loaded models between jobs."""

    def run_job(self, folder: JobFolder, session: Any, events: JobEvents) -> Report:
        """Run the job in `folder`, write its report and return it."""


def import_pipeline() -> Pipeline:
    """Import the real pipeline. Late, so that the worker can answer before torch is loaded, and if it can't be."""
    return cast(Pipeline, importlib.import_module("...models.pipeline.run", __package__))


class JobEvents:
    """What the pipeline reports while it runs."""

    def __init__(self, send: Send, cancellation: Cancellation) -> None:
        self.warnings: list[str] = []
        self._send = send
        self._cancellation = cancellation

    def progress(self, stage: str, done: int, total: int) -> None:
        """Report how far a stage is; `total` is 0 while it is not known."""
        self._send(Progress(stage, int(done), int(total)))

    def warning(self, text: str) -> None:
        """Warn of something although the job goes on. The same text is sent once."""
        if text not in self.warnings:
            self.warnings.append(text)
            self._send(JobWarning(text))

    def check_cancelled(self) -> None:
        """Raise `CancelledError` when somebody asked to stop."""
        self._cancellation.check()


class JobRunner:
    """One process's jobs.

    `load_pipeline` is called for the first job; tests put a pipeline of their own here.
    """

    def __init__(self, load_pipeline: Callable[[], Pipeline] = import_pipeline) -> None:
        self._load_pipeline = load_pipeline
        self._session: Any = None

    def run(self, path: Path, send: Send, cancellation: Cancellation, order: str = "") -> ExitCode:
        """Run the job folder at `path`. All that happens is sent through `send`; nothing is raised.

        order: as in `Start`.
        """
        try:
            folder = JobFolder.open(path)
            with folder.lock(), explained(folder.log_path):
                if order and hash_plain(folder.spec_path) != order:
                    raise InUseError(f"{folder.path} got another job while the worker started; start again.")
                with log_to(folder.log_path):
                    exit_code, end = self._run_locked(folder, send, cancellation)
        except MagPlusError as error:  # before there was a log: no job folder, a read-only one, one in use
            exit_code, end = error.exit_code, Error(error.exit_code, str(error), "")
        send(end)  # when the folder is free: whoever hears it may write there at once
        return exit_code

    def _run_locked(self, folder: JobFolder, send: Send, cancellation: Cancellation) -> tuple[ExitCode, Message]:
        events = JobEvents(send, cancellation)

        def abandon() -> None:
            try:
                folder.write_unfinished("cancelled", ExitCode.CANCELLED, STOPPED, events.warnings)
                send(Cancelled())
                print("The job did not stop by itself, so the worker ends with it.", file=sys.stderr)
            finally:
                leave(ExitCode.CANCELLED)

        print(f"\n=== {time.strftime('%Y-%m-%d %H:%M:%S')}, Python {platform.python_version()}", file=sys.stderr)
        cancellation.begin(abandon)
        try:
            events.check_cancelled()
            events.progress(Stage.START, 0, 0)
            folder.write_unfinished("running", ExitCode.OK, "")
            pipeline = self._load_pipeline()
            if self._session is None:
                self._session = pipeline.Session()
            report = pipeline.run_job(folder, self._session, events)
            folder.delete_unreported(report)
        except BaseException as error:  # a library's SystemExit included: the worker outlives its jobs
            cancellation.settle()
            traceback.print_exc()
            explained_error = explain(error, folder.path)
            exit_code, sentence = explained_error.exit_code, str(explained_error)
            out_of_memory = is_out_of_memory(error)
            del explained_error  # it may be `error` itself, whose frames hold on to tensors
        else:
            cancellation.settle()
            return ExitCode.OK, Result(str(folder.report_path))
        cancelled = exit_code == ExitCode.CANCELLED
        folder.write_unfinished("cancelled" if cancelled else "failed", exit_code, sentence, events.warnings)
        if out_of_memory:
            self._free_memory()
        return exit_code, Cancelled() if cancelled else Error(exit_code, sentence, str(folder.log_path))

    def _free_memory(self) -> None:
        """Give the models' memory back to the machine and to the graphics card."""
        self._session = None
        gc.collect()
        torch = sys.modules.get("torch")
        if torch is not None:
            with suppress(Exception):  # a card in a bad state must not turn a cancel into a crash
                for device in (torch.cuda, torch.mps):
                    if device.is_available():
                        device.empty_cache()
