# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a job could be begun here with this device and these options of its backend; one line of JSON."""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import Any

from ..files.errors import ExitCode
from .failures import explain


def main(asked: dict[str, Any]) -> ExitCode:
    """Print an empty answer; or "error", a sentence, with its exit code. asked: see `worker_client.accepts`."""
    try:
        from ...models.device import choose_device
        from ...models.pipeline.order import read_options

        choose_device(asked["device"])
        read_options(asked["backend"], asked["options"], Path(asked["folder"]))
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        failure = explain(error, Path(__file__).parent)  # the job's folder isn't there yet
        print(json.dumps({"error": str(failure), "exit_code": int(failure.exit_code)}), flush=True)
        return failure.exit_code
    print("{}", flush=True)
    return ExitCode.OK
