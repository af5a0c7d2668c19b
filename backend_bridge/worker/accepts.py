# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a job could be begun here with this device and these options of its backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..files.errors import ExitCode
from .answers import answer


def main(asked: dict[str, Any]) -> ExitCode:
    """Answer with nothing, or with the error that a job would begin with. asked: see `worker_client.accepts`."""
    return answer(lambda: _check(asked), Path(__file__).parent)  # the job's folder isn't there yet


def _check(asked: dict[str, Any]) -> dict[str, Any]:
    from ...models.device import choose_device
    from ...models.pipeline.order import read_options

    choose_device(asked["device"])
    read_options(asked["backend"], asked["options"], Path(asked["folder"]))
    return {}
