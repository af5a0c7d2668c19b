# SPDX-License-Identifier: GPL-3.0-or-later
"""What takes long to compute, kept on disk by the hash of everything that it was computed from."""

from __future__ import annotations

import gzip
import hashlib
import os
import pickle
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


class Kept:
    """A folder of computed values. With `fresh`, or without a folder, everything is computed anew."""

    def __init__(self, folder: Path | None, fresh: bool = False) -> None:
        self._folder = folder
        self._fresh = fresh
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def value(
        self, kind: str, made_from: Any, compute: Callable[[], T], pickler: type[pickle.Pickler] = pickle.Pickler
    ) -> T:
        """Return the value that `compute` gives for what it is `made_from`, whose `repr` tells it from all others.

        A run that is cut off loses nothing but what it was computing: each value is written whole, under its own name.
        """
        if self._folder is None:
            return compute()
        digest = hashlib.sha256(repr(made_from).encode()).hexdigest()[:24]
        path = self._folder / f"{kind}-{digest}.pickle.gz"
        if path.is_file() and not self._fresh:
            with gzip.open(path) as file:
                found: T = pickle.load(file)  # noqa: S301 - what this benchmark has written itself
            return found
        made = compute()
        partial = path.with_suffix(f".{os.getpid()}")
        with gzip.open(partial, "wb", compresslevel=1) as file:
            pickler(file, protocol=5).dump(made)
        partial.replace(path)
        return made


def hash_of(files: Iterable[Path]) -> str:
    """Return one hash of files' names and contents."""
    whole = hashlib.sha256()
    for path in sorted(files):
        whole.update(f"{path.name} ".encode() + hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()
