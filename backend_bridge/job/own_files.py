# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose a file is, by a journal: what MagPlus wrote may be replaced, what is somebody's own is set aside."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..files.disk import explained
from ..files.plain import check_plain, hash_plain
from ..files.whole import make_folder, staged
from . import artefacts
from .journal import Journal, JournalEntry


class OwnFiles:
    """The files of a folder; those whose bytes the journal lists are MagPlus's.

    `remarks` are sentences about files that were in the way and were set aside.
    """

    def __init__(self, folder: Path, journal: Journal) -> None:
        self.folder = folder
        self.journal = journal
        self.remarks: list[str] = []

    def are_bytes_of(self, path: Path) -> bool:
        """Whether a file is there and has bytes that MagPlus wrote. Raises `InputError` for a link or a pipe."""
        found = hash_if_there(path)
        return found is not None and self.journal.wrote(found)

    def make_room(self, target: Path) -> None:
        """Make the folder of a file that is to be written, and set aside what stands in its place and isn't ours."""
        if target.parent != self.folder:
            make_folder(target.parent)
        if check_plain(target) is None or self.are_bytes_of(target):
            return
        aside = self.folder / artefacts.SET_ASIDE
        make_folder(aside)
        name = "_".join(target.relative_to(self.folder).parts)
        number = 1
        while check_plain(kept := aside / (name if number == 1 else f"{number}_{name}")) is not None:
            number += 1
        target.rename(kept)
        self.remarks.append(
            f"{target.relative_to(self.folder).as_posix()} was not what MagPlus had written; it was kept as "
            f"{kept.relative_to(self.folder).as_posix()}."
        )

    def write(self, name: str, data: bytes) -> None:
        """Put `data` under a name in the folder, whole or not at all, and enter it in the journal.

        Raises `MachineError` when the disk is full, `InputError` when it can't be written or a link is in the way.
        """
        target = self.folder / name
        with explained(target):
            self.make_room(target)
            with staged(target, data):
                self.journal.append(JournalEntry(name, len(data), hashlib.sha256(data).hexdigest(), ""))


def hash_if_there(path: Path) -> str | None:
    """Return the SHA-256 of a file, None where there is none that can be read. Raises `InputError` for a link."""
    try:
        return hash_plain(path)
    except OSError:
        return None
