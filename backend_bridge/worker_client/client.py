# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's end of the pipe: starts the worker, gives it jobs, and never waits for it.

Two threads per worker process do the waiting: one reads its messages into a queue, one waits for its end. Everything
else happens in the caller's thread, in `poll`, so the client needs no locks.
"""

from __future__ import annotations

import io
import os
import queue
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

from ..files.errors import ExitCode, MagPlusError
from ..files.plain import hash_plain, open_plain
from ..job import artefacts
from ..job.folder import JobFolder
from ..job.report import Status
from . import messages
from .messages import Cancel, Cancelled, Error, Exit, Hello, Message, Result, Start
from .process import describe_end, popen_options, python_command, stop

WORKER_SCRIPT = Path(__file__).parents[1] / "worker" / "__main__.py"

# The worker gives up by itself half a second after a cancel (see worker/cancellation.py). One that can't even do
# that is asked to terminate and then killed, so that a cancel has taken effect after one second whatever happens.
_CANCEL_PATIENCE = 0.8  # s
_TERMINATE_PATIENCE = 0.15  # s
_CLOSE_PATIENCE = 2.0  # s, for a worker that may end by itself


class WorkerClient:
    """A worker that is started when a job needs it and stays, models loaded, for the next one.

    Call `start_job`, then `poll` regularly (from a timer, or in a loop with a timeout) until it has returned a
    `Result`, an `Error` or a `Cancelled`. Nothing here raises because the worker misbehaves: whatever happens to it
    arrives as one of those messages. All methods belong to one thread.
    """

    def __init__(
        self,
        python: Path,
        log_path: Path,
        *,
        idle_minutes: float = 15.0,
        measurements: Path | None = None,
        script: Path = WORKER_SCRIPT,
    ) -> None:
        """Prepare; no process is started yet.

        python: interpreter of the worker's environment.
        log_path: takes what the worker prints outside of jobs; a job has its own log in its folder.
        idle_minutes: the worker ends by itself after that time without a job.
        measurements: a folder in which workers share what they have measured of clips.
        script: what to run; another than MagPlus's own worker only in tests.
        """
        self._command = python_command(
            python, script, "serve", "--parent", str(os.getpid()), "--idle-minutes", f"{idle_minutes:g}"
        )
        if measurements is not None:
            self._command += ["--measurements", str(measurements)]
        self._log_path = log_path
        self._process: _WorkerProcess | None = None
        self._inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._job: Path | None = None
        self._order = ""
        self._cancelled = False
        self._answered = False  # whether the worker has sent anything about the present job

    @property
    def busy(self) -> bool:
        """Whether a job is running: from `start_job` until `poll` has returned the message that ends it."""
        return self._job is not None

    @property
    def running(self) -> bool:
        """Whether there is a worker process, busy or waiting for the next job."""
        return self._process is not None and self._process.alive

    @property
    def pid(self) -> int | None:
        """The worker's process, None where there is none."""
        return self._process.pid if self._process is not None else None

    def start_job(self, folder: Path) -> None:
        """Give a job folder to the worker, starting it if need be. Only one job at a time."""
        if self.busy:
            raise RuntimeError("the worker already has a job")
        self._job, self._cancelled, self._answered = folder, False, False
        try:
            self._order = hash_plain(folder / artefacts.SPEC)
        except (OSError, MagPlusError):  # the worker says what is wrong with it
            self._order = ""
        self._send_job()

    def poll(self, timeout: float = 0.0) -> list[Message]:
        """Return the messages that have arrived, in order; wait at most `timeout` seconds for the first."""
        arrived: list[Message] = []
        try:
            arrived += self._take(self._inbox.get(timeout=timeout) if timeout > 0 else self._inbox.get_nowait())
            while True:
                arrived += self._take(self._inbox.get_nowait())
        except queue.Empty:
            return arrived

    def cancel(self) -> None:
        """Stop the running job within a second. `poll` returns a `Cancelled` when it has stopped."""
        if not self.busy or self._cancelled or self._process is None:
            return
        self._cancelled = True
        self._process.send(Cancel())
        threading.Thread(target=self._process.enforce_cancel, name="magplus-cancel", daemon=True).start()

    def close(self) -> None:
        """End the worker. A running job is cancelled; what it finished stays. Takes two seconds at the very most."""
        if self._process is not None:
            self._process.close()
            self._process = None
        self._job = None
        self._inbox = queue.SimpleQueue()

    def _send_job(self) -> None:
        if self._process is None or not self._process.alive:
            self._inbox = queue.SimpleQueue()
            try:
                self._process = _WorkerProcess(self._command, self._log_path, self._inbox)
            except OSError as error:
                self._process = None
                sentence = (
                    f"The worker's Python can't be started ({error.strerror or error}: {self._command[0]}); "
                    "set up the environment in the preferences."
                )
                self._inbox.put(Error(ExitCode.MACHINE, sentence, str(self._log_path)))
                return
            except MagPlusError as error:  # a link or a pipe where the log is to be
                self._process = None
                self._inbox.put(Error(error.exit_code, str(error), ""))
                return
        self._process.send(Start(str(self._job), self._order))

    def _take(self, message: Message) -> list[Message]:
        """Follow the worker's state; return what the caller gets to see for one message of the worker."""
        if isinstance(message, Exit):
            return self._worker_ended(message)
        if isinstance(message, Hello):
            if message.protocol != messages.PROTOCOL:
                sentence = "MagPlus was updated while Blender was running; restart Blender."
                ended = [Error(ExitCode.MACHINE, sentence, str(self._log_path))] if self.busy else []
                self.close()
                return [*ended]
            return [message]
        self._answered = True
        if isinstance(message, (Result, Error, Cancelled)):
            self._job = None
        return [message]

    def _worker_ended(self, end: Exit) -> list[Message]:
        process, self._process = self._process, None
        if self._job is None:
            return [end]
        leaving = end.code in {ExitCode.OK, ExitCode.CANCELLED} and process is not None and process.jobs > 1
        if leaving and not self._answered and not self._cancelled:
            self._send_job()  # it was about to leave, idle or with a cancelled job, just when this job was sent
            return []
        folder, self._job = JobFolder(self._job), None
        if self._cancelled:
            self._report_for_worker(folder, "cancelled", ExitCode.CANCELLED, "Cancelled.")
            return [Cancelled(), end]
        started = process is not None and process.said_hello
        log = folder.log_path if self._answered else self._log_path
        exit_code, sentence = describe_end(end.code, started=started, log=log)
        self._report_for_worker(folder, "failed", exit_code, sentence)
        return [Error(exit_code, sentence, str(log)), end]

    def _report_for_worker(self, folder: JobFolder, status: Status, exit_code: ExitCode, sentence: str) -> None:
        """Leave the report that a dead worker can't write, if it had come as far as having the folder for itself."""
        if self._answered:
            folder.write_unfinished(status, exit_code, sentence)


class _WorkerProcess:
    """One process and the threads that listen to it."""

    def __init__(self, command: list[str], log_path: Path, inbox: queue.SimpleQueue[Message]) -> None:
        log_path.parent.mkdir(parents=True, exist_ok=True)
        self._inbox = inbox
        self._job_over = threading.Event()
        self.said_hello = False
        self.jobs = 0  # how many it was given
        log_flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        with os.fdopen(open_plain(log_path, log_flags, single=True), "wb") as log:
            self._popen = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, bufsize=0, **popen_options()
            )
        self._reader = threading.Thread(target=self._read, name="magplus-worker-reader", daemon=True)
        self._reader.start()
        threading.Thread(target=self._wait, name="magplus-worker-waiter", daemon=True).start()

    @property
    def alive(self) -> bool:
        return self._popen.poll() is None

    @property
    def pid(self) -> int:
        return self._popen.pid

    def send(self, message: Message) -> None:
        """Write a message. A worker that is gone gets none; its end arrives through the queue."""
        assert self._popen.stdin is not None
        if isinstance(message, Start):
            self._job_over.clear()
            self.jobs += 1
        try:
            self._popen.stdin.write(messages.encode(message))
        except (OSError, ValueError):
            return

    def enforce_cancel(self) -> None:
        if not self._job_over.wait(_CANCEL_PATIENCE):
            stop(self._popen, patience=_TERMINATE_PATIENCE)

    def close(self) -> None:
        assert self._popen.stdin is not None
        with suppress(OSError):
            self._popen.stdin.close()  # the worker's signal to leave
        try:
            self._popen.wait(_CLOSE_PATIENCE - _TERMINATE_PATIENCE)
        except subprocess.TimeoutExpired:
            stop(self._popen, patience=_TERMINATE_PATIENCE)

    def _read(self) -> None:
        assert self._popen.stdout is not None
        with io.BufferedReader(self._popen.stdout) as stream:  # type: ignore[type-var]
            for line in iter(stream.readline, b""):
                try:
                    message = messages.decode(line)
                except ValueError:
                    continue  # printed before the worker took its standard output for itself (a .pth file can do that)
                if isinstance(message, Hello):
                    self.said_hello = True
                elif isinstance(message, (Result, Error, Cancelled)):
                    self._job_over.set()
                self._inbox.put(message)

    def _wait(self) -> None:
        code = self._popen.wait()
        # The worker's last messages must come before its end; but a grandchild may hold the pipe open for ever.
        self._reader.join(1.0)
        self._job_over.set()
        self._inbox.put(Exit(code))
