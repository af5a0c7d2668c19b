# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of a job: one line a finished unit, so that a later run knows what it may trust."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..files.disk import explained
from ..files.typed_json import from_data, to_data
from ..files.whole import append_line


@dataclass(frozen=True)
class JournalEntry:
    """One finished unit: its file's size in bytes, its SHA-256, and the fingerprint of everything it was made from."""

    unit: str
    size: int
    sha256: str
    fingerprint: str


class Journal:
    """`journal.jsonl`. Several processes may read while one appends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._entries: dict[str, JournalEntry] = {}
        self._read = 0  # bytes of the file that `_entries` reflects

    def entries(self) -> Mapping[str, JournalEntry]:
        """Return the entries by unit; the last line of a unit counts. Only what was appended since is read."""
        with explained(self.path):
            try:
                with self.path.open("rb") as file:
                    file.seek(self._read)
                    new = file.read()
            except FileNotFoundError:
                return self._entries
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            # A line that can't be read is one that a crash cut short: its unit is not finished, no more than that.
            with suppress(ValueError, TypeError, RecursionError):
                entry: JournalEntry = from_data(JournalEntry, json.loads(line))
                self._entries[entry.unit] = entry
        return self._entries

    def append(self, entry: JournalEntry) -> None:
        """Enter a finished unit."""
        with explained(self.path):
            append_line(self.path, json.dumps(to_data(entry)).encode())
