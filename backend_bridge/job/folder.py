# SPDX-License-Identifier: GPL-3.0-or-later
"""The job folder: the one place where a job's data lives, written so that no crash can leave half a file behind.

A file appears under its own name only when it is whole: it is written under a temporary name, flushed to the disk and
then renamed. A finished unit of work gets a line in `journal.jsonl` with its size and hash, and a later run takes it
for finished only when the journal **and** the bytes on the disk agree. Existence alone proves nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ..files.disk import disk_error, explained
from ..files.errors import ExitCode, InputError, MagPlusError
from ..files.locks import hold
from .spec import JobSpec

_TEMPORARY = ".writing-"
_CONTENTS = {"job.json", "avatar", "frames", "magnified", "weights.npz", "weights.csv", "report.json", "journal.jsonl"}


@dataclass(frozen=True)
class JournalEntry:
    """One finished unit: its file's size in bytes, its SHA-256, and the fingerprint of everything it was made from."""

    unit: str
    size: int
    sha256: str
    fingerprint: str


class JobFolder:
    """`<name>.magplus/`, opened with `create` or `open`.

    Units and other files are named by their path inside the folder with forward slashes ("frames/000001.png").
    An instance belongs to one thread; several processes may read while the one that holds `lock` writes.
    """

    def __init__(self, path: Path) -> None:
        self.path = _absolute(path)
        self._journal: dict[str, JournalEntry] = {}
        self._journal_read = 0  # bytes of the journal that `_journal` reflects

    @classmethod
    def create(cls, path: Path) -> JobFolder:
        """Make the folder, or reopen a job folder that is there already.

        Raises `InputError` when the place is read-only, is a file, or holds something else than a job.
        """
        folder = cls(path)
        with explained(folder.path):
            if folder.path.is_dir():
                names = {entry.name for entry in folder.path.iterdir() if not entry.name.startswith(".")}
                if names and not names & _CONTENTS:
                    raise InputError(f"{folder.path} holds other files than a MagPlus job; choose an empty folder.")
            folder.avatar_dir.mkdir(parents=True, exist_ok=True)
            probe = folder.path / f"{_TEMPORARY}{os.getpid()}"
            probe.write_bytes(b"")
            probe.unlink()
        return folder

    @classmethod
    def open(cls, path: Path) -> JobFolder:
        """Open an existing job folder. Raises `InputError` when there is none; `read_spec` checks its version."""
        folder = cls(path)
        with explained(folder.path):
            if not folder.path.is_dir():
                raise InputError(f"There is no job folder at {folder.path}; capture the avatar first.")
            if not folder.spec_path.is_file():
                raise InputError(f"{folder.path} is not a MagPlus job folder: it has no job.json.")
        return folder

    @property
    def spec_path(self) -> Path:
        """`job.json`, what is asked for."""
        return self.path / "job.json"

    @property
    def avatar_dir(self) -> Path:
        """The rendered avatar and its rig basis."""
        return self.path / "avatar"

    @property
    def frames_dir(self) -> Path:
        """The restored frames, `000001.png` and on."""
        return self.path / "frames"

    @property
    def magnified_dir(self) -> Path:
        """The magnified driver as the backend was shown it."""
        return self.path / "magnified"

    @property
    def weights_npz(self) -> Path:
        """The solved controls, see `backend_bridge.rig.curves`."""
        return self.path / "weights.npz"

    @property
    def weights_csv(self) -> Path:
        """The solved controls for people."""
        return self.path / "weights.csv"

    @property
    def live_link_csv(self) -> Path:
        """The solved controls as other face capture tools read them, see `backend_bridge.rig.live_link`."""
        return self.path / "live_link_face.csv"

    @property
    def curves_png(self) -> Path:
        """A plot of the solved controls."""
        return self.path / "curves.png"

    @property
    def report_path(self) -> Path:
        """`report.json`, what came out."""
        return self.path / "report.json"

    @property
    def journal_path(self) -> Path:
        """`journal.jsonl`, one line a finished unit."""
        return self.path / "journal.jsonl"

    @property
    def log_path(self) -> Path:
        """`worker.log`, tracebacks and whatever libraries print."""
        return self.path / "worker.log"

    def read_spec(self) -> JobSpec:
        """Return the job spec. Raises `InputError` for a damaged one and one of another version."""
        with explained(self.spec_path):
            # surrogateescape: a path that is not UTF-8 (possible on Linux) comes back as it was written.
            return JobSpec.from_json(self.spec_path.read_bytes().decode("utf-8", "surrogateescape"))

    def write_spec(self, spec: JobSpec) -> None:
        """Write `job.json`. Write it last: a folder with a job.json is a complete order."""
        self.write("job.json", spec.validated().to_json().encode("utf-8", "surrogateescape"))

    def read_report(self) -> dict[str, Any]:
        """Return the report of the last run. Raises `InputError` when there is none or it is damaged."""
        with explained(self.report_path):
            if not self.report_path.is_file():
                raise InputError(f"{self.path.name} has no report yet; run the job first.")
            try:
                report = json.loads(self.report_path.read_bytes())
            except ValueError as error:
                raise InputError(f"{self.report_path} is damaged ({error}); run the job again.") from error
        if not isinstance(report, dict):
            raise InputError(f"{self.report_path} is not a report; run the job again.")
        return report

    def write_report(self, report: dict[str, Any]) -> None:
        """Write `report.json`. Numbers that are not finite become null, as JSON has no word for them."""
        text = json.dumps(_jsonable(report), indent=2, ensure_ascii=False, allow_nan=False)
        self.write("report.json", text.encode("utf-8", "surrogateescape") + b"\n")

    def write_unfinished(self, status: str, exit_code: ExitCode, sentence: str, warnings: Sequence[str] = ()) -> None:
        """Leave a report of a run that is "running", "cancelled" or has "failed", unless that is impossible, too.

        The report of an earlier run must never be taken for this one's.
        """
        error = {"exit_code": int(exit_code), "sentence": sentence} if status != "running" else None
        with suppress(MagPlusError):  # a full disk, for one: the sentence is on its way to the user anyhow
            self.write_report({"schema": 1, "status": status, "error": error, "warnings": list(warnings)})

    def write(self, relative: str, data: bytes) -> None:
        """Put `data` under `relative`, whole or not at all.

        Raises `MachineError` when the disk is full and `InputError` when the place can't be written.
        """
        target = self._inside(relative)
        with explained(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            # A short name of its own: target names may be as long as the file system allows.
            temporary = target.parent / f"{_TEMPORARY}{os.getpid()}-{threading.get_ident()}"
            try:
                with temporary.open("wb") as file:
                    file.write(data)
                    _flush(file)
                temporary.replace(target)
            except BaseException:
                with suppress(OSError):
                    temporary.unlink()
                raise
            _flush_directory(target.parent)

    def commit(self, relative: str, data: bytes, fingerprint: str) -> None:
        """Write a finished unit and enter it in the journal; see `fingerprint_of` for the last argument."""
        self.write(relative, data)
        entry = JournalEntry(relative, len(data), hashlib.sha256(data).hexdigest(), fingerprint)
        with explained(self.journal_path), self.journal_path.open("ab+") as file:
            line = json.dumps(vars(entry)).encode() + b"\n"
            if file.tell() and not _ends_with_newline(file):
                line = b"\n" + line  # a crash cut the last line short; don't let it swallow this one
            file.write(line)
            _flush(file)

    def finished(self, relative: str, fingerprint: str) -> bool:
        """Whether an earlier run finished this unit from the same inputs and its bytes are still the same."""
        entry = self._entries().get(relative)
        if entry is None or entry.fingerprint != fingerprint:
            return False
        path = self._inside(relative)
        try:
            return path.stat().st_size == entry.size and hash_file(path) == entry.sha256
        except OSError:
            return False

    def keep_only(self, relative_dir: str, names: Collection[str]) -> None:
        """Delete the files of a subfolder that are not in `names`: what an earlier, longer run left there."""
        directory = self._inside(relative_dir)
        with explained(directory):
            if directory.is_dir():
                for entry in directory.iterdir():
                    if entry.name not in names and entry.is_file():
                        entry.unlink()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for writing. Raises `InputError` naming host and process when another run holds it.

        A run that died, however it died, no longer holds it.
        """
        path = self.path / ".lock"
        with ExitStack() as stack:
            with explained(path):
                stack.enter_context(hold(path, str(self.path)))
            self._remove_leftovers()
            yield

    def _inside(self, relative: str) -> Path:
        parts = PurePosixPath(relative).parts
        if not parts or ".." in parts or relative.startswith("/") or ":" in parts[0]:
            raise ValueError(f"{relative!r} is not a path inside the job folder")
        return self.path.joinpath(*parts)

    def _entries(self) -> dict[str, JournalEntry]:
        """Return the journal by unit; the last line of a unit counts. Only what was appended since is read."""
        try:
            with self.journal_path.open("rb") as file:
                file.seek(self._journal_read)
                new = file.read()
        except FileNotFoundError:
            return self._journal
        except OSError as error:
            raise disk_error(error, self.journal_path) from error
        whole = new[: new.rfind(b"\n") + 1]
        self._journal_read += len(whole)
        for line in whole.splitlines():
            # A line that can't be read is one that a crash cut short: its unit is not finished, no more than that.
            with suppress(ValueError, TypeError):
                entry = JournalEntry(**json.loads(line))
                self._journal[entry.unit] = entry
        return self._journal

    def _remove_leftovers(self) -> None:
        """Delete the temporary files of runs that were killed while writing."""
        for directory in (self.path, self.avatar_dir, self.frames_dir, self.magnified_dir):
            for leftover in directory.glob(f"{_TEMPORARY}*"):
                with suppress(OSError):
                    leftover.unlink()


def fingerprint_of(*parts: Any) -> str:
    """Return one hash of everything a unit is made from: hashes of input files, options, versions.

    The parts are anything that JSON can hold, dicts in any order; `None` differs from a missing part.
    """
    canonical = json.dumps(_jsonable(list(parts)), sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal; constant memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _absolute(path: Path) -> Path:
    """Make a path absolute; on Windows in the form that has no limit of 260 characters."""
    # abspath, not resolve: the folder keeps the name under which the user knows it.
    text = os.path.abspath(path)  # noqa: PTH100
    if sys.platform == "win32" and len(text) > 200 and not text.startswith("\\\\"):
        text = "\\\\?\\" + text
    return Path(text)


def _flush(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _flush_directory(directory: Path) -> None:
    """Make a rename survive a power cut where directories can be flushed (not on Windows, not on all networks)."""
    if sys.platform == "win32":
        return
    with suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _ends_with_newline(file: IO[bytes]) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if hasattr(value, "tolist"):  # numpy's arrays and scalars
        return _jsonable(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return str(value)  # paths, fractions, enumerations
