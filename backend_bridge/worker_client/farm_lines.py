# SPDX-License-Identifier: GPL-3.0-or-later
"""What a program prints for an Open Job Description runtime to read: what it does, how far it is, why it failed."""

from __future__ import annotations

from collections.abc import Callable


class FarmLines:
    """Lines for the runtime's reader of standard output; `write` gets each one without its end.

    The percentage only ever rises, as a bar does.
    """

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._told = ""
        self._percent = -1

    def status(self, text: str) -> None:
        """Tell what is being done, if that is new."""
        if text != self._told:
            self._told = text
            self._print("openjd_status", text)

    def progress(self, share: float) -> None:
        """Tell how much of it is done, as a share in [0, 1], if that is another percent."""
        if (percent := int(100 * share)) > self._percent:
            self._percent = percent
            self._print("openjd_progress", str(percent))

    def fail(self, sentence: str) -> None:
        """Tell why something failed."""
        self._print("openjd_fail", sentence)

    def _print(self, kind: str, text: str) -> None:
        self._write(f"{kind}: {' '.join(text.split())}")
