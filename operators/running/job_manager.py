# SPDX-License-Identifier: GPL-3.0-or-later
"""What MagPlus is doing right now: the one piece of runtime state in Blender's process.

A task is a generator that yields its `Progress` wherever it waits. With a window open, a timer advances it a step
at a time; in background mode a loop runs the very same generator to its end. The state lives here and not in a modal
operator, which a file load would cancel, nor on the scene, where it would be saved, undone and loaded again.
"""

from __future__ import annotations

import atexit
import time
import traceback
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

import bpy

from ...backend_bridge.files.errors import CancelledError, ExitCode, MagPlusError
from ...backend_bridge.worker_client.client import WorkerClient
from ...backend_bridge.worker_client.messages import Progress
from ...backend_bridge.worker_client.pace import Pace, followed
from ..blender.saving import Stamp, stamp_of
from .pace import Forecast

PUMP_INTERVAL = 0.1  # seconds between two steps that only look for news: smooth for a person, nothing for Blender
BUSY_INTERVAL = 0.01  # seconds after a step that worked: enough for the interface to have its turn
WORKED = 0.005  # seconds from which on a step has worked; looking for news takes a tenth of that
LOOP_INTERVAL = 0.02  # seconds between two steps in background mode that only look for news
# A status bar is no area of a screen and can't be tagged. It draws itself again when a view layer is renamed, as no 3D
# view does; emptying its text would do so too, but takes away what a modal operator wrote.
STATUS_BAR_KEY = (bpy.types.ViewLayer, "name")


class Status(Enum):
    """How a task ended."""

    FINISHED = "finished"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True)
class Outcome:
    """How a task ended, as a person reads it.

    `sentence` says what happened; `details` and `warnings` are further lines; `folder` and `log` are there to be
    opened; `exit_code` is what the command line returns. `in_scene`: the scene keeps it, so that nobody else has to.
    `verdict`: how good the result is, good, check or failed; empty where there is none, or nobody has judged it.
    """

    sentence: str
    status: Status = Status.FINISHED
    details: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    folder: Path | None = None
    log: Path | None = None
    exit_code: ExitCode = ExitCode.OK
    in_scene: bool = False
    verdict: str = ""


Steps = Generator[Progress, None, Outcome]


@dataclass
class TaskContext:
    """What a running task shares with the manager: where its files are and what it has warned of so far.

    `blocking` says that Blender waits for the task. Then nothing else goes on: a render that was started beside it
    would never end.
    """

    blocking: bool = False
    folder: Path | None = None
    log: Path | None = None
    warnings: tuple[str, ...] = ()

    def warn(self, text: str) -> None:
        """Add a warning, once."""
        if text not in self.warnings:
            self.warnings += (text,)


class JobManager:
    """Runs one task at a time, keeps the worker between jobs and remembers the last outcome of every kind of task."""

    def __init__(self) -> None:
        self.progress: Progress | None = None
        self.outcomes: dict[str, Outcome] = {}
        self.kind: str | None = None
        self.window = 0  # address of the window in which the task was started; only ever compared
        self.forecast: Forecast | None = None  # of the running task, over all its stages
        self.notice: Outcome | None = None  # of the last task that a person may have turned away from
        self.on_end: list[Callable[[Outcome], None]] = []  # called at the end of tasks that the timer advanced
        self.opened: tuple[str, Stamp | None] = "", None  # the file that is open, as it was when it was read or saved
        self.steps_taken = 0  # of all tasks; as long as it stays the same, Blender is in the middle of a step
        self._on_progress: Callable[[Progress], None] | None = None
        self._steps: Steps | None = None
        self._context = TaskContext()
        self._cancelling = False
        self._cancel_thrown = False
        self._pace: Pace | None = None
        self._worker: WorkerClient | None = None
        self._worker_key: tuple[Path, float] | None = None

    @property
    def busy(self) -> bool:
        """Whether a task is running."""
        return self._steps is not None

    @property
    def cancelling(self) -> bool:
        """Whether the running task has been asked to stop."""
        return self.busy and self._cancelling

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings of the running task so far."""
        return self._context.warnings

    @property
    def seconds_left(self) -> float | None:
        """Estimated time until the task is over, or the present stage of one without a forecast; or None."""
        if self.forecast is not None:
            return self.forecast.seconds_left
        if self.progress is None or self._pace is None:
            return None
        return self._pace.seconds_left(self.progress, time.monotonic())

    @property
    def share(self) -> float:
        """How much of the task is done, 0 to 1, or of the present stage of one without a forecast."""
        if self.forecast is not None:
            return self.forecast.share
        if self.progress is None or not self.progress.total:
            return 0.0
        return min(max(self.progress.done / self.progress.total, 0.0), 1.0)

    def start(self, kind: str, body: Callable[[TaskContext], Steps], forecast: Forecast | None = None) -> None:
        """Start a task that the timer advances. `kind` names the outcome it leaves in `outcomes`."""
        self._begin(kind, body, blocking=False)
        self.forecast, self.notice = forecast, None
        self.window = bpy.context.window.as_pointer() if bpy.context.window is not None else 0
        if not bpy.app.timers.is_registered(pump):
            bpy.app.timers.register(pump, first_interval=0.0, persistent=True)

    def run(
        self, kind: str, body: Callable[[TaskContext], Steps], on_progress: Callable[[Progress], None] | None = None
    ) -> Outcome:
        """Run a task to its end, for background mode. A `KeyboardInterrupt` cancels it."""
        self._begin(kind, body, blocking=True)
        self._on_progress = on_progress
        shown: Progress | None = None
        while self.busy:
            try:
                began = time.monotonic()
                self.advance()
                worked = time.monotonic() - began > WORKED
                if on_progress is not None and self.progress not in (None, shown):
                    shown = self.progress
                    on_progress(shown)
                if self.busy and not worked:
                    time.sleep(LOOP_INTERVAL)
            except KeyboardInterrupt:
                self.cancel()
        return self.outcomes[kind]

    def show(self, progress: Progress) -> None:
        """Show how far the running task is, from within a step that takes long."""
        if not self.busy:
            return
        self._note(progress)
        if self._on_progress is not None:
            self._on_progress(progress)

    def cancel(self) -> None:
        """Ask the running task to stop; what it has finished is kept."""
        self._cancelling = self.busy

    def advance(self) -> None:
        """Take one step of the running task. Never raises and never waits."""
        if self._steps is None:
            return
        try:
            if self._cancelling and not self._cancel_thrown:
                self._cancel_thrown = True
                progress = self._steps.throw(CancelledError("Cancelled."))
            else:
                progress = next(self._steps)
            self.steps_taken += 1
            self._note(progress)
            if self.forecast is not None:
                self.forecast.update(progress, time.monotonic())
        except StopIteration as stop:
            self._end(stop.value)
        except MagPlusError as error:
            status = Status.CANCELLED if isinstance(error, CancelledError) else Status.FAILED
            self._end(Outcome(str(error), status, exit_code=error.exit_code))
        except ReferenceError:  # Blender's word for what is no longer in the file
            sentence = (
                "What MagPlus was working on was deleted, renamed, undone or left for another scene; start again."
            )
            self._end(Outcome(sentence, Status.FAILED, exit_code=ExitCode.BAD_INPUT))
        except Exception as error:
            # The boundary to Blender's event loop: whatever went wrong in our code must become a sentence here.
            traceback.print_exc()
            sentence = f"MagPlus met a fault of its own ({type(error).__name__}: {error}); the system console has more."
            self._end(Outcome(sentence, Status.FAILED, exit_code=ExitCode.INTERNAL))

    def worker(self, python: Path, idle_minutes: float) -> WorkerClient:
        """Return the client of the worker that runs in this Python, with the models of the job before still loaded."""
        key = (python, idle_minutes)
        if self._worker is None or key != self._worker_key:
            if self._worker is not None:
                self._worker.close()
            log_path = Path(bpy.app.tempdir) / "magplus-worker.log"
            self._worker, self._worker_key = WorkerClient(python, log_path, idle_minutes=idle_minutes), key
        return self._worker

    def close(self) -> None:
        """Stop the task and the worker: Blender is quitting or the add-on is being switched off."""
        if bpy.app.timers.is_registered(pump):
            bpy.app.timers.unregister(pump)
        if self._steps is not None:
            self._steps.close()
            self._end(Outcome("Stopped, because MagPlus was closed.", Status.CANCELLED, exit_code=ExitCode.CANCELLED))
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def _note(self, progress: Progress) -> None:
        self._pace = followed(self._pace, self.progress, progress, time.monotonic())
        self.progress = progress

    def _begin(self, kind: str, body: Callable[[TaskContext], Steps], *, blocking: bool) -> None:
        if self.busy:
            raise RuntimeError("A MagPlus task is already running.")
        self._context, self._on_progress = TaskContext(blocking), None
        self._steps = body(self._context)
        self.kind, self.progress, self._pace, self.forecast = kind, None, None, None
        self._cancelling = self._cancel_thrown = False
        self.outcomes.pop(kind, None)

    def _end(self, outcome: Outcome) -> None:
        assert self.kind is not None
        self.outcomes[self.kind] = replace(
            outcome,
            warnings=tuple(dict.fromkeys((*self._context.warnings, *outcome.warnings))),
            folder=outcome.folder or self._context.folder,
            log=outcome.log or self._context.log,
        )
        ended = self.outcomes[self.kind]
        self._steps = self.kind = self.progress = self._pace = self.forecast = None
        if not self._context.blocking and ended.status is not Status.CANCELLED:
            self.notice = ended
            for listener in self.on_end:
                listener(ended)


manager = JobManager()


def pump() -> float | None:
    """Take one step of the running task, as Blender's timer does; return after how many seconds the next one is due."""
    windows = bpy.context.window_manager.windows
    window = next((candidate for candidate in windows if candidate.as_pointer() == manager.window), windows[0])
    before, began = _visible(), time.monotonic()
    with bpy.context.temp_override(window=window):  # a timer has no window, and so no scene that a person sees
        manager.advance()
    if _visible() != before:
        redraw()
    if not manager.busy:
        return None
    return BUSY_INTERVAL if time.monotonic() - began > WORKED else PUMP_INTERVAL


def _visible() -> tuple[object, ...]:
    left = manager.seconds_left
    share = round(manager.share, 2)
    return manager.busy, manager.progress, manager.warnings, share, None if left is None else round(left)


def redraw() -> None:
    """Redraw the sidebars of the 3D views, the preferences and the status bar, nothing else."""
    bpy.msgbus.publish_rna(key=STATUS_BAR_KEY)
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "PREFERENCES":
                area.tag_redraw()
            elif area.type == "VIEW_3D":
                for region in area.regions:
                    if region.type == "UI":
                        region.tag_redraw()


@bpy.app.handlers.persistent
def _close_at_exit(*_: object) -> None:
    manager.close()


@bpy.app.handlers.persistent
def _note_opened(path: str, *_: object) -> None:
    """Note what is about to be read, or was just saved, and is the open file then; a copy is not."""
    manager.opened = path, stamp_of(Path(path))


@bpy.app.handlers.persistent
def _note_saved(path: str, *_: object) -> None:
    if path == bpy.data.filepath or path == manager.opened[0]:
        _note_opened(path)


def register() -> None:
    """Make sure that the worker goes when Blender goes, and know which file is open."""
    bpy.app.handlers.load_pre.append(_note_opened)
    bpy.app.handlers.save_post.append(_note_saved)
    atexit.register(_close_at_exit)
    if hasattr(bpy.app.handlers, "exit_pre"):
        bpy.app.handlers.exit_pre.append(_close_at_exit)


def unregister() -> None:
    """Stop everything, in the mirrored order."""
    manager.close()
    bpy.app.handlers.load_pre.remove(_note_opened)
    bpy.app.handlers.save_post.remove(_note_saved)
    if hasattr(bpy.app.handlers, "exit_pre"):
        bpy.app.handlers.exit_pre.remove(_close_at_exit)
    atexit.unregister(_close_at_exit)
