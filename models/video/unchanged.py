# SPDX-License-Identifier: GPL-3.0-or-later
"""That a clip's files stay what they were while they are read again and again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ...backend_bridge.files.errors import InputError


class Unchanged:
    """Remembers the size and the time of last change of files, for `check` to compare them with."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._seen = {file: _state(file) for file in files}

    def check(self, file: Path) -> None:
        """Raise `InputError` for a file that was replaced, cut off, written to or taken away in the meantime."""
        if _state(file) != self._seen[file]:
            raise InputError(
                f"{file.name} was changed while it was read; wait until nothing writes to it, then run again."
            )


def _state(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
