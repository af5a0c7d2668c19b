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


def fingerprint_of(*parts: Any) -> str:
    """Return one hash of everything a unit is made from: hashes of input files, options, versions.

    The parts are anything that a document can hold, dicts in any order; `None` differs from a missing part.
    """
    canonical = json.dumps(to_data(list(parts)), sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
