# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: `blender -b shot.blend --command magplus ...`, and from Python `main(["animate", ...])`.

Exit codes are those of `backend_bridge.files.errors.ExitCode`. Progress and sentences go to stderr; stdout carries only
what another program wants to read.
"""

from __future__ import annotations

import argparse
import traceback
from collections.abc import Callable

import bpy

from ...backend_bridge.files.errors import ExitCode, MagPlusError
from ...operators.running.job_manager import Outcome, Status
from . import (
    anchors,
    animate,
    backends,
    batch,
    capture,
    controls,
    environment,
    import_jobs,
    live_link,
    run_jobs,
    sample,
)
from .parser import Parser, check_replaced
from .tasks import tell

_COMMANDS = (
    *(animate, batch, capture, run_jobs, import_jobs, controls, anchors, live_link, sample, environment, backends),
)

_registered: list[object] = []


def main(argv: list[str]) -> int:
    """Run one command and return its exit code. Never raises and never exits the process."""
    try:
        options = build_parser().parse_args(argv)
        check_replaced(options, bpy.data.filepath)
        run: Callable[[argparse.Namespace], ExitCode] = options.run
        return run(options)
    except SystemExit as leave:  # --help
        return int(leave.code or 0)
    except MagPlusError as error:
        return tell(Outcome(str(error), Status.FAILED, exit_code=error.exit_code))
    except Exception:
        # The boundary to the shell: our own fault has its own exit code, and the traceback belongs to it.
        traceback.print_exc()
        return ExitCode.INTERNAL


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; `run` of what it returns carries one out."""
    parser = Parser(prog="magplus", description="Put a real person's micro-expression on a character.")
    verbs = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add(verbs)
    return parser


def register() -> None:
    """Make `--command magplus` known."""
    _registered.append(bpy.utils.register_cli_command("magplus", main))


def unregister() -> None:
    """Take it back."""
    bpy.utils.unregister_cli_command(_registered.pop())
