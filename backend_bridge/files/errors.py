# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors that a person reads, and the exit codes that say whose fault a failure is."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit status of the worker and of the command line; `docs/exit-codes.md` is the same for people."""

    OK = 0
    INTERNAL = 1  # Python's own status for an uncaught exception
    BAD_INPUT = 2  # argparse's own status for a wrong call
    MACHINE = 3
    CANCELLED = 4
    IN_USE = 5
    NOT_GOOD = 6

    @property
    def meaning(self) -> str:
        """What it means to a farm, in one line."""
        return _MEANINGS[self]


_MEANINGS = {
    ExitCode.OK: "finished",
    ExitCode.INTERNAL: "a fault of MagPlus",
    ExitCode.BAD_INPUT: "the input can't be used: whoever asked has to mend it",
    ExitCode.MACHINE: "this machine can't do it (environment, memory, disk, driver): another may",
    ExitCode.CANCELLED: "cancelled: what was finished is kept",
    ExitCode.IN_USE: "the job folder or the file to save is in use by another run: try again later",
    ExitCode.NOT_GOOD: "with --strict: finished, but the report has reasons to doubt the result",
}


class MagPlusError(Exception):
    """Base of every expected failure. `str(error)` is one clear sentence: what is wrong and what to do."""

    exit_code = ExitCode.INTERNAL


class InputError(MagPlusError):
    """The driving video, the avatar or an option is unusable."""

    exit_code = ExitCode.BAD_INPUT


class MachineError(MagPlusError):
    """This machine can't do it: a missing environment, a full disk, too little memory, a driver."""

    exit_code = ExitCode.MACHINE


class InUseError(MagPlusError):
    """Another run has the folder. Nothing is wrong: the same call may succeed in a moment."""

    exit_code = ExitCode.IN_USE


class CancelledError(MagPlusError):
    """The user asked to stop. What was finished stays in the job folder."""

    exit_code = ExitCode.CANCELLED


def error_of(exit_code: int) -> type[MagPlusError]:
    """Return the kind of error that an exit status stands for."""
    kinds = (InputError, MachineError, CancelledError, InUseError)
    return next((kind for kind in kinds if kind.exit_code == exit_code), MagPlusError)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception is of the machine's or the graphics card's memory having run out."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)


def worst_of(codes: Iterable[ExitCode]) -> ExitCode:
    """Return the exit code of several attempts: what another try may mend counts before what a person has to mend."""
    found = set(codes)
    order = (
        ExitCode.CANCELLED,
        ExitCode.IN_USE,
        ExitCode.MACHINE,
        ExitCode.INTERNAL,
        ExitCode.BAD_INPUT,
        ExitCode.NOT_GOOD,
    )
    return next((code for code in order if code in found), ExitCode.OK)
