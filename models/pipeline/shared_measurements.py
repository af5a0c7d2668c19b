# SPDX-License-Identifier: GPL-3.0-or-later
"""Measurements of driving clips in a folder that workers share, each a file of arrays named by what it was made from.

The folder may be deleted at any time. What is damaged or was not written by MagPlus is measured anew; a link in it is
refused. Measurements of a person's face are personal data, so they lie where somebody has chosen, nowhere by default.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from ...backend_bridge.files.arrays import LARGEST, read_arrays
from ...backend_bridge.files.disk import ReadOnlyError, explained
from ...backend_bridge.files.errors import InUseError, MachineError
from ...backend_bridge.files.hashing import fingerprint_of, hash_file
from ...backend_bridge.files.locks import hold
from ...backend_bridge.files.plain import check_plain, open_plain
from ...backend_bridge.files.whole import TEMPORARY, prepared
from ...backend_bridge.job.measurements import FOLDER_VARIABLE
from .versions import versions

MOST_BYTES = 4 << 30  # of the folder; a second of film has about 100 MB of motion
PATIENCE = 60.0  # s that a worker waits for another one that measures the same, before it measures for itself
LOCKS = 16  # files; a measurement holds one of them, which are few so that they needn't be cleared away
ABANDONED = 3600.0  # s after which a temporary file is one that a killed worker has left
_OURS = re.compile(r"[a-z]+-[0-9a-f]{40}\.npz")

Measured = TypeVar("Measured")
Arrays: TypeAlias = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Codec(Generic[Measured]):
    """How a measurement becomes arrays and is made of them again.

    encode: None for one that must not be kept. decode: raises `ValueError` for arrays that are none of its kind.
    """

    encode: Callable[[Measured], Mapping[str, NDArray[Any]] | None]
    decode: Callable[[Arrays], Measured]


class SharedMeasurements:
    """A folder of measurements, bounded in size: those that were not used for longest go first."""

    def __init__(self, folder: Path, made_by: str, most_bytes: int = MOST_BYTES) -> None:
        """`made_by` identifies the code that measures: other code may measure otherwise."""
        self._folder = folder
        self._made_by = made_by
        self._most_bytes = most_bytes
        self._waiting: Callable[[], None] = lambda: None

    @contextmanager
    def interruptible(self, check: Callable[[], None]) -> Iterator[None]:
        """Call `check` while another worker is waited for; what it raises ends the wait, and nothing is measured."""
        before, self._waiting = self._waiting, check
        try:
            yield
        finally:
            self._waiting = before

    @classmethod
    def from_environment(cls) -> SharedMeasurements | None:
        """Return those in the folder that the variable MAGPLUS_MEASUREMENTS names, None where it names none."""
        folder = os.environ.get(FOLDER_VARIABLE)
        return cls(Path(folder).absolute(), code_version()) if folder else None

    def get(self, kind: str, key: str, measure: Callable[[], Measured], codec: Codec[Measured]) -> Measured:
        """Return what any worker has measured under `key`, else what `measure` returns now, which is kept.

        kind: one word in small letters, for whoever looks into the folder. Of two workers that need the same at once
        one measures and the other one waits, until that one is done, dies or has taken `PATIENCE`. Raises `InputError`
        where the folder can't be used or a link is in the way; a disk that is full, read-only or can't be locked is no
        reason to stop, and stands in the log.
        """
        digest = hashlib.blake2b(f"{self._made_by} {key}".encode(), digest_size=20).hexdigest()
        place = self._folder / f"{kind}-{digest}.npz"
        if (found := self._read(place, codec)) is not None:
            return found
        with ExitStack() as stack:
            try:
                with explained(self._folder):
                    check_plain(self._folder)
                    self._folder.mkdir(parents=True, exist_ok=True)
                    lock = self._folder / f".lock-{int(digest[:4], 16) % LOCKS}"
                    stack.enter_context(hold(lock, str(self._folder), PATIENCE, self._waiting))
            except (InUseError, MachineError, ReadOnlyError) as error:
                print(f"Measured without {self._folder}: {error}", file=sys.stderr)
                return measure()
            if (found := self._read(place, codec)) is not None:  # by the worker that was waited for
                return found
            measured = measure()
            if (arrays := codec.encode(measured)) is not None:
                try:
                    self._write(place, arrays)
                except OSError as error:
                    print(f"Not kept in {self._folder}: {error}", file=sys.stderr)
            return measured

    def _read(self, place: Path, codec: Codec[Measured]) -> Measured | None:
        with explained(place, reading=True):
            if check_plain(place) is None:
                return None
        try:
            found = codec.decode(read_arrays(place))
        except ValueError as error:
            print(f"{place.name} is measured anew: {error}", file=sys.stderr)
            return None
        with suppress(OSError):
            os.utime(place)
        return found

    def _write(self, place: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
        size = sum(array.nbytes for array in arrays.values())
        if size > min(self._most_bytes, LARGEST):
            return
        self._make_room(size)
        # Renamed when it is complete, and not flushed: what a power cut takes is measured again.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with prepared(place) as temporary, os.fdopen(open_plain(temporary, flags), "wb") as file:
            np.savez(file, **dict[str, Any](arrays))
            file.close()  # a file can't be renamed on Windows while it is open

    def _make_room(self, size: int) -> None:
        """Delete what was not used for longest until `size` bytes more are within the bound."""
        kept: list[tuple[float, int, Path]] = []
        for entry in os.scandir(self._folder):
            with suppress(OSError):  # another worker has just deleted it
                stat = entry.stat(follow_symlinks=False)
                if entry.name.startswith(TEMPORARY) and time.time() - stat.st_mtime > ABANDONED:
                    Path(entry.path).unlink()
                elif _OURS.fullmatch(entry.name):
                    kept.append((stat.st_mtime, stat.st_size, Path(entry.path)))
        total = size + sum(each[1] for each in kept)
        for _, bytes_of_it, path in sorted(kept):
            if total <= self._most_bytes:
                return
            path.unlink(missing_ok=True)
            total -= bytes_of_it


def code_version() -> str:
    """Return a hash of MagPlus's own code and of the versions of the libraries that it measures with."""
    models = Path(__file__).resolve().parents[1]
    sources = sorted(models.rglob("*.py"))
    code = [(source.relative_to(models).as_posix(), hash_file(source)) for source in sources]
    return fingerprint_of(versions(torch.device("cpu")), code)
