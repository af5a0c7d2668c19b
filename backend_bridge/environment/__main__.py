# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker's environment from a command line:

python -m backend_bridge.environment create --folder FOLDER [--variant cpu] [--python PYTHON]
python -m backend_bridge.environment check --folder FOLDER | --python PYTHON
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ..files.errors import CancelledError, ExitCode, MachineError, MagPlusError
from .probe import probe
from .torch_builds import VARIANTS
from .venv import Environment


class _Console:
    """Tells people on standard error how the making goes on."""

    def __init__(self) -> None:
        self._stage = ""
        self._told = 0.0

    def progress(self, stage: str, done: int, total: int) -> None:
        if stage == self._stage and time.monotonic() - self._told < 2.0:
            return
        self._stage, self._told = stage, time.monotonic()
        print(f"{stage} {done}/{total} MB" if total else stage, file=sys.stderr, flush=True)

    def output(self, line: str) -> None:
        pass  # it is in the log

    def warning(self, text: str) -> None:
        print(f"Warning: {text}", file=sys.stderr, flush=True)

    def check_cancelled(self) -> None:
        pass  # Ctrl-C raises KeyboardInterrupt by itself


def main(arguments: Sequence[str] | None = None) -> ExitCode:
    """Create or check an environment from a command line."""
    parser = argparse.ArgumentParser(
        prog="backend_bridge.environment", description="The worker's environment: make it, check it."
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    create = verbs.add_parser("create", help="make the environment; downloads about 0.5 GB (CPU) to 3 GB")
    create.add_argument("--folder", type=Path, required=True)
    create.add_argument("--variant", choices=[name for name, *_ in VARIANTS], default="auto", help="build of PyTorch")
    create.add_argument("--python", type=Path, help="the Python to make it from (found by itself)")
    create.add_argument("--again", action="store_true", help="make it anew even if it is ready")
    create.add_argument("--signing", action="store_true", help="with the packages that sign pictures (C2PA)")
    check = verbs.add_parser("check", help="say what a worker's Python can do")
    what = check.add_mutually_exclusive_group(required=True)
    what.add_argument("--folder", type=Path)
    what.add_argument("--python", type=Path)
    options = parser.parse_args(arguments)
    environment = Environment(options.folder) if options.folder else None
    try:
        if options.verb == "create" and environment is not None:
            environment.create(
                _Console(),
                variant=options.variant,
                python=options.python,
                again=options.again,
                signing=options.signing,
            )
        if options.verb == "check":
            found = probe(options.python) if environment is None else environment.check()
            print(found.text)
            for remark in found.remarks:
                print(f"Note: {remark}")
            if found.problems:
                raise MachineError(" ".join(found.problems))
    except MagPlusError as error:
        print(f"Error: {error}", file=sys.stderr)
        if options.verb == "create" and environment is not None and environment.log_path.exists():
            print(f"The log is {environment.log_path}.", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(str(CancelledError("Cancelled; nothing was changed.")), file=sys.stderr)
        return ExitCode.CANCELLED
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
