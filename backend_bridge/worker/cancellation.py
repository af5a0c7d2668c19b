# SPDX-License-Identifier: GPL-3.0-or-later
"""Stopping a job within a second, whatever it is doing."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable

from ..files.errors import CancelledError

# A job that asks often is stopped by its own next question. One that is deep in a long computation, or in a system
# call that hangs, is abandoned after this many seconds, together with the process.
GRACE = 0.5
STOPPED = "Cancelled. What was finished stays in the job folder."


class Cancellation:
    """One job's stop button. Any thread may press it."""

    def __init__(self) -> None:
        self._requested = threading.Event()
        self._settled = threading.Event()
        self._lock = threading.Lock()
        self._abandon: Callable[[], None] | None = None

    def begin(self, abandon: Callable[[], None]) -> None:
        """The job starts. `abandon` is called from another thread when it doesn't heed; it must end the process."""
        self._abandon = abandon

    def settle(self) -> None:
        """The job has come to its end, in whatever way; from here on it isn't abandoned any more."""
        with self._lock:
            self._settled.set()

    def request(self) -> None:
        """Ask the job to stop."""
        if not self._requested.is_set():
            self._requested.set()
            threading.Thread(target=self._insist, name="magplus-cancel", daemon=True).start()

    def check(self) -> None:
        """Raise `CancelledError` when the job was asked to stop."""
        if self._requested.is_set():
            raise CancelledError(STOPPED)

    def _insist(self) -> None:
        if not self._settled.wait(GRACE):
            with self._lock:
                if self._abandon is not None and not self._settled.is_set():
                    self._abandon()


def on_termination(callback: Callable[[], None]) -> None:
    """Call `callback` in a thread of its own on Ctrl-C or a termination signal.

    Python runs signal handlers in the main thread only, between two of its own instructions, so a long call into C
    would delay them. The wake-up descriptor is written to at once.
    """
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    signal.set_wakeup_fd(sender.fileno())
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: None)

    def listen() -> None:
        with sender:  # keeps the sending end alive as long as somebody listens
            while receiver.recv(1):
                callback()

    threading.Thread(target=listen, name="magplus-signals", daemon=True).start()
