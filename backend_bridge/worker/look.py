# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a driving video can be read, and how long it is, found out by reading its first frame; one line of JSON."""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path

from ..files.errors import ExitCode
from ..job.spec import Driving
from .failures import explain


def main(driving: Driving) -> ExitCode:
    """Print "seconds" as a fraction, null where the file doesn't say; or "error", a sentence, with its exit code."""
    try:
        from ...models.video import VideoReader

        reader = VideoReader(driving.path, driving.trim, driving.sequence_rate)
        next(iter(reader))
        count, rate = reader.info.frame_count, reader.info.average_rate
        print(json.dumps({"seconds": str(count / rate) if count and rate else None}), flush=True)
        return ExitCode.OK
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        failure = explain(error, Path(driving.path).parent)
        print(json.dumps({"error": str(failure), "exit_code": int(failure.exit_code)}), flush=True)
        return failure.exit_code
