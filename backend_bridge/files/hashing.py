# SPDX-License-Identifier: GPL-3.0-or-later
"""Hashes of contents: of files, and of everything that a result is made from."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from .typed_json import to_data


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal; constant memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class KnownHashes:
    """Hashes of files, each read once as long as its size and time stay the same."""

    def __init__(self) -> None:
        self._known: dict[tuple[Path, int, int], str] = {}

    def of(self, path: Path) -> str:
        """Return the hash of a file. Raises `OSError` where there is none."""
        stat = path.stat()
        key = (path, stat.st_size, stat.st_mtime_ns)
        if key not in self._known:
            self._known[key] = hash_file(path)
        return self._known[key]


def fingerprint_of(*parts: Any) -> str:
    """Return one hash of everything a unit is made from: hashes of input files, options, versions.

    The parts are anything that a document can hold, dicts in any order; `None` differs from a missing part.

    >>> fingerprint_of({"a": 1, "b": 2}) == fingerprint_of({"b": 2, "a": 1})
    True
    >>> fingerprint_of("a") == fingerprint_of("a", None)
    False
    """
    canonical = json.dumps(to_data(list(parts)), sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
