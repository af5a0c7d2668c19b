# SPDX-License-Identifier: GPL-3.0-or-later
"""Work that waits for other programs, done in a thread beside Blender."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from ...backend_bridge.environment.installation import Listener
from ...backend_bridge.files.errors import CancelledError
from ...backend_bridge.worker_client.messages import Progress
from .job_manager import TaskContext

ROLLBACK_PATIENCE = 3.0  # seconds that Blender waits, when it quits, for half-done work to be taken back

Found = TypeVar("Found")


class _Thread(threading.Thread, Generic[Found]):
    """Does work that waits, as its `Listener`; everything it learns is left in attributes for the main thread."""

    def __init__(self, work: Callable[[Listener], Found], task: TaskContext, stage: str) -> None:
        super().__init__(name="magplus-background", daemon=True)
        self._work = work
        self._task = task
        self.now = Progress(stage, 0, 0)
        self.cancelled = threading.Event()
        self.error: Exception | None = None
        self.found: Found

    def run(self) -> None:
        try:
            self.found = self._work(self)
        except Exception as error:
            self.error = error  # raised again in the main thread

    def progress(self, stage: str, done: int, total: int) -> None:
        self.now = Progress(f"{stage} (MB)" if total else stage, done, total)

    def output(self, line: str) -> None:
        """The log has it."""

    def warning(self, text: str) -> None:
        self._task.warn(text)

    def check_cancelled(self) -> None:
        if self.cancelled.is_set():
            raise CancelledError("Cancelled; everything is as it was before.")


def in_thread(
    work: Callable[[Listener], Found], task: TaskContext, stage: str, *, abandon: bool = False
) -> Generator[Progress, None, Found]:
    """Do `work` beside Blender and return what it returned, or raise what it raised.

    A cancel is passed on to the work, which undoes what it has done; `abandon` says that there is nothing to undo, so
    that the work may be left behind.
    """
    thread = _Thread(work, task, stage)
    thread.start()
    try:
        while thread.is_alive():
            try:
                yield thread.now
            except CancelledError:
                if abandon:
                    raise
                thread.cancelled.set()
    except GeneratorExit:
        thread.cancelled.set()
        thread.join(ROLLBACK_PATIENCE)
        raise
    if thread.error is not None:
        raise thread.error
    return thread.found


def computed_beside(work: Callable[[], Found], progress: Progress) -> Generator[Progress, None, Found]:
    """Compute something in a thread beside Blender, a second at most; nothing in `work` may touch Blender's data.

    A cancel waits for its end. Raises what `work` raises.
    """
    with ThreadPoolExecutor(1, "magplus-computing") as pool:
        future = pool.submit(work)
        while not future.done():
            yield progress
        return future.result()
