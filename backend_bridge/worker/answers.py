# SPDX-License-Identifier: GPL-3.0-or-later
"""How the small verbs answer: one line of JSON, read by `worker_client.answers`."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..files.errors import ExitCode
from .failures import explain


def answer(find: Callable[[], Mapping[str, Any]], folder: Path) -> ExitCode:
    """Print the facts that `find` returns; or where it raises, "error", a sentence, with its exit code.

    folder: where what is asked about lies, see `explain`.
    """
    try:
        print(json.dumps(find()), flush=True)
        return ExitCode.OK
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        failure = explain(error, folder)
        print(json.dumps({"error": str(failure), "exit_code": int(failure.exit_code)}), flush=True)
        return failure.exit_code
