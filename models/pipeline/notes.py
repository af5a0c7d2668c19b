# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run reports while it goes on: progress, and warnings, which are in its report, too."""

from __future__ import annotations

from typing import Protocol


class Events(Protocol):
    """Where the pipeline reports while it runs."""

    def progress(self, stage: str, done: int, total: int) -> None:
        """`done` of `total` units of a stage are finished."""
        ...

    def warning(self, text: str) -> None:
        """Something a person should know; it is in the report too."""
        ...

    def check_cancelled(self) -> None:
        """Raise `CancelledError` when the user asked to stop."""
        ...


class Unheard:
    """Events that nobody listens to, and that nobody cancels."""

    def progress(self, stage: str, done: int, total: int) -> None:
        """Nobody waits for it."""

    def warning(self, text: str) -> None:
        """The report has it."""

    def check_cancelled(self) -> None:
        """Never."""


class Notes:
    """Passes progress and warnings on, and remembers the warnings; the same warning is given once."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self.warnings: list[str] = []

    def progress(self, stage: str, done: int, total: int) -> None:
        """See `Events.progress`. Every report of progress is a chance to cancel."""
        self._events.check_cancelled()
        self._events.progress(stage, done, total)

    def warning(self, text: str) -> None:
        """See `Events.warning`."""
        if text not in self.warnings:
            self.warnings.append(text)
            self._events.warning(text)

    def check_cancelled(self) -> None:
        """See `Events.check_cancelled`."""
        self._events.check_cancelled()
