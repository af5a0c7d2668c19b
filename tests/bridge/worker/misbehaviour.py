# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job may do in its third frame, one function each; `scripted_worker` calls the one that a job folder names."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import NoReturn, TypeAlias

from magplus.backend_bridge.files.errors import CancelledError, InputError
from magplus.backend_bridge.worker.runner import JobEvents

Misbehaviour: TypeAlias = Callable[[JobEvents], None]


def nothing(_events: JobEvents) -> None:
    """Go on."""


def print_a_lot(_events: JobEvents) -> None:
    print("a library says hello", flush=True)
    os.write(1, b'{"type": "exit", "code": 7}\n')
    ctypes.CDLL(None).puts(b"C code says hello")
    ctypes.CDLL(None).fflush(None)
    print("unicode: 表情", file=sys.stderr)


def warn_twice(events: JobEvents) -> None:
    events.warning("The face is missing at 0.12 s.")
    events.warning("The face is missing at 0.12 s.")


def wait_politely(events: JobEvents) -> None:
    for _ in range(6000):
        time.sleep(0.01)
        events.check_cancelled()


def sleep(_events: JobEvents) -> None:
    time.sleep(60)


def hold_the_interpreter(_events: JobEvents) -> None:
    ctypes.PyDLL(None).sleep(60)  # C code that keeps the interpreter's lock: no other thread runs


def die(_events: JobEvents) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def segfault(_events: JobEvents) -> None:
    ctypes.string_at(0)


def exit_the_process(_events: JobEvents) -> NoReturn:
    sys.exit("a library thinks that it owns the process")


def find_no_face(_events: JobEvents) -> NoReturn:
    raise InputError("No face was found in clip.mp4; choose another video.")


def divide_by_zero(_events: JobEvents) -> NoReturn:
    raise ZeroDivisionError("division by zero")


def import_what_is_missing(_events: JobEvents) -> None:
    import a_package_that_is_not_installed  # noqa: F401


def run_out_of_memory(_events: JobEvents) -> NoReturn:
    raise MemoryError


def run_out_of_gpu_memory(_events: JobEvents) -> NoReturn:
    raise type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory. Tried to allocate 2.00 GiB.")


def meet_an_old_driver(_events: JobEvents) -> NoReturn:
    raise RuntimeError("CUDA error: CUDA driver version is insufficient for CUDA runtime version")


def fill_the_disk(_events: JobEvents) -> NoReturn:
    raise OSError(errno.ENOSPC, "No space left on device")


def cancel_itself(_events: JobEvents) -> NoReturn:
    raise CancelledError("Cancelled.")
