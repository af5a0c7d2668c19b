# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting other Pythons from inside Blender, and saying in words how one has ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from ..files.errors import ExitCode

_ISOLATED = ("-I", "-u", "-X", "utf8", "-X", "faulthandler")

# What decides for other programs how the libraries in ours behave: where they draw, what they log, how much they read.
_FOREIGN = (
    *("PYTHON", "MPL", "MATPLOTLIB", "TEXINPUTS", "TF_", "GLOG_", "ABSL_", "ORT_", "MALLOC_", "OPENBLAS_VERBOSE"),
    *("OPENCV_", "AV_LOG_", "NPY_", "NUMPY_", "SCIPY_", "SOURCE_DATE_EPOCH", "PROTOCOL_BUFFERS_", "PYTORCH_JIT"),
    *("TORCH_", "TORCHINDUCTOR_", "NUMBA_"),
)

# What Windows reports instead of a signal (NTSTATUS values).
_WINDOWS_ENDS = {
    0xC0000005: "SIGSEGV",
    0xC000001D: "SIGILL",
    0xC0000017: "SIGKILL",
    0xC00000FD: "SIGSEGV",
    0xC0000409: "SIGABRT",
}
_SENTENCES = {
    "SIGKILL": "The worker was killed by the system, most likely because memory ran out; close other programs or use a "
    "shorter clip, then run again: finished frames are kept.",
    "SIGTERM": "The worker was stopped from outside; run again: finished frames are kept.",
    "SIGILL": "The worker's packages need instructions that this processor lacks; use another machine.",
}


def python_command(python: Path, *arguments: str | Path) -> list[str]:
    """Return the command line of an isolated Python: no user packages, no PYTHON* variables, UTF-8, unbuffered."""
    return [str(python), *_ISOLATED, *map(str, arguments)]


def popen_options() -> dict[str, Any]:
    """Return what every child of Blender is started with.

    Its own process group keeps a Ctrl-C in Blender's terminal away from it; on Windows no console window pops up. What
    is set for other programs' libraries stays out.
    """
    environment = {name: value for name, value in os.environ.items() if not is_foreign(name)}
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        return {"env": environment, "creationflags": flags}
    return {"env": environment, "start_new_session": True}


def is_foreign(variable: str) -> bool:
    """Whether an environment variable would change how the worker's libraries behave; the worker runs without it."""
    return variable.upper().startswith(_FOREIGN)


def stop(process: subprocess.Popen[Any], *, patience: float) -> None:
    """End a process: ask it, and after `patience` seconds kill it."""
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def describe_end(code: int, *, started: bool, log: Path) -> tuple[ExitCode, str]:
    """Return whose fault the unexpected end of a worker is, and a sentence for the user.

    `code` is as `Popen.returncode` has it; `started` tells whether the worker had reported for service.
    """
    name = _WINDOWS_ENDS.get(code & 0xFFFFFFFF) if code > 255 else None
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
    if name is not None:
        return ExitCode.MACHINE, _SENTENCES.get(
            name,
            f"The worker crashed in native code ({name}), often a graphics driver's fault; update the driver or choose "
            "the CPU, then run again: finished frames are kept.",
        )
    last = _last_line(log)
    detail = f"exit status {code}" + (f": {last}" if last else "")
    if not started:
        return ExitCode.MACHINE, f"The worker could not start ({detail}); check its environment in the preferences."
    return ExitCode.INTERNAL, f"The worker ended unexpectedly ({detail}); run again: finished frames are kept."


def _last_line(log: Path) -> str:
    """Return the last line of a log that has something on it, which for a traceback is the error itself."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError:
        return ""
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")
