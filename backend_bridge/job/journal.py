# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of a job: a line for every file that MagPlus wrote, so that a later run can verify what it keeps.

A file's line is written before the file takes its name. So whatever has been written is listed, whenever a run ends,
and what is not listed is somebody else's. A line without its file means nothing, as a file counts by its bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..files.disk import explained
from ..files.errors import InputError
from ..files.plain import open_plain
from ..files.typed_json import from_data, to_data
from ..files.whole import append

MOST_BYTES = 256 << 20  # a line has some 250: a day of frames


@dataclass(frozen=True)
class JournalEntry:
    """A file: its path in the job folder, its size in bytes, its SHA-256, and the fingerprint of what it is made from.

    The fingerprint is empty for what is made anew in every run.
    """

    unit: str
    size: int
    sha256: str
    fingerprint: str


class Journal:
    """`journal.jsonl`. Several processes may read while one appends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._entries: dict[str, JournalEntry] = {}
        self._made: dict[tuple[str, str], JournalEntry] = {}
        self._contents: set[str] = set()
        self._read = 0  # bytes of the file that these reflect

    def entries(self) -> Mapping[str, JournalEntry]:
        """Return the entries by unit; the last line of a unit counts. Only what was appended since is read."""
        self._catch_up()
        return self._entries

    def made_from(self, unit: str, fingerprint: str) -> JournalEntry | None:
        """Return the last line of a unit that was made from this."""
        self._catch_up()
        return self._made.get((unit, fingerprint))

    def wrote(self, sha256: str) -> bool:
        """Whether MagPlus wrote bytes of this hash into the folder, under whatever name."""
        self._catch_up()
        return sha256 in self._contents

    def append(self, *entries: JournalEntry) -> None:
        """Enter files, all with one flush."""
        lines = b"".join(json.dumps(to_data(entry)).encode() + b"\n" for entry in entries)
        with explained(self.path):
            append(self.path, lines)

    def _catch_up(self) -> None:
        with explained(self.path, reading=True):
            try:
                descriptor = open_plain(self.path)
            except FileNotFoundError:
                return
            with os.fdopen(descriptor, "rb") as file:
                if os.fstat(descriptor).st_size > MOST_BYTES:
                    raise InputError(f"{self.path} is too large to be a job's journal; use another job folder.")
                file.seek(self._read)
                new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            # A line that can't be read is one that a crash cut short: its unit is not finished, no more than that.
            with suppress(ValueError, TypeError, RecursionError):
                self._enter(from_data(JournalEntry, json.loads(line)))

    def _enter(self, entry: JournalEntry) -> None:
        self._entries[entry.unit] = self._made[entry.unit, entry.fingerprint] = entry
        self._contents.add(entry.sha256)
