# SPDX-License-Identifier: GPL-3.0-or-later
"""File descriptors: a standard output that is the protocol's alone, and a log that catches what C code prints."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from ..files.plain import open_plain
from ..worker_client.messages import Message, encode


def claim_stdout() -> Callable[[Message], None]:
    """Keep standard output for messages and return what sends one; safe to call from any thread.

    Whatever else writes to standard output from now on, Python or C, ends in standard error.
    """
    protocol = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    lock = threading.Lock()

    def send(message: Message) -> None:
        line = encode(message)
        with lock, suppress(OSError):  # nobody listens any more: the end of standard input ends the worker
            while line:
                line = line[os.write(protocol, line) :]

    return send


@contextmanager
def log_to(path: Path) -> Iterator[None]:
    """Append everything that is printed inside the block, by Python or by C code, to a regular file."""
    log = open_plain(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, single=True)
    saved = os.dup(1), os.dup(2)
    _redirect(log, log)
    os.close(log)
    try:
        yield
    finally:
        _redirect(*saved)
        for descriptor in saved:
            os.close(descriptor)


def _redirect(out: int, err: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.dup2(out, 1)
    os.dup2(err, 2)


def leave(code: int) -> NoReturn:
    """End the process at once, without the clean-up of libraries that may wait for threads or devices."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
