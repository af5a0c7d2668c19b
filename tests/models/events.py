# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job tells while it runs, for tests that run one by themselves."""

from __future__ import annotations


class Quiet:
    """Events that nobody listens to; the warnings are remembered. A job never finds itself cancelled."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def progress(self, stage: str, done: int, total: int) -> None:
        """Pass over how far a stage is."""

    def warning(self, text: str) -> None:
        """Remember a warning."""
        self.warnings.append(text)

    def check_cancelled(self) -> None:
        """Let the job go on."""
