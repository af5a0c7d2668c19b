# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors that a person reads, and the exit codes that tell a farm whose fault a failure is."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit status of the worker and of the command line."""

    OK = 0
    INTERNAL = 1  # Python's own status for an uncaught exception: our fault
    BAD_INPUT = 2  # argparse's own status for a wrong call: the user can mend it
    MACHINE = 3  # this machine: environment, memory, disk, driver; another machine may succeed
    CANCELLED = 4
    NOT_GOOD = 5  # finished, but `report.json` has reasons to doubt the result, and `--strict` was asked for


class MagPlusError(Exception):
    """Base of every expected failure. `str(error)` is one clear sentence: what is wrong and what to do."""

    exit_code = ExitCode.INTERNAL


class InputError(MagPlusError):
    """The driving video, the avatar or an option is unusable."""

    exit_code = ExitCode.BAD_INPUT


class MachineError(MagPlusError):
    """This machine can't do it: a missing environment, a full disk, too little memory, a driver."""

    exit_code = ExitCode.MACHINE


class CancelledError(MagPlusError):
    """The user asked to stop. What was finished stays in the job folder."""

    exit_code = ExitCode.CANCELLED


def error_of(exit_code: int) -> type[MagPlusError]:
    """Return the kind of error that an exit status stands for."""
    kinds: dict[int, type[MagPlusError]] = {kind.exit_code: kind for kind in (InputError, MachineError, CancelledError)}
    return kinds.get(exit_code, MagPlusError)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that the machine's or the graphics card's memory ran out."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in said or "can't allocate memory" in said)
