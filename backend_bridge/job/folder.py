# SPDX-License-Identifier: GPL-3.0-or-later
"""The job folder: the one place where a job's data lives, written so that no crash can leave half a file behind.

A file appears under its own name only when it is whole: it is written under a temporary name, flushed to the disk and
then renamed. A finished unit of work gets a line in `journal.jsonl` with its size and hash, and a later run takes it
for finished only when the journal **and** the bytes on the disk agree. Existence alone proves nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath

from ..files.disk import explained
from ..files.errors import ExitCode, InputError, MagPlusError
from ..files.hashing import hash_file
from ..files.locks import hold
from ..files.whole import absolute, check_writable, remove_leftovers, write_whole
from . import artefacts
from .artefacts import FrameKind
from .journal import Journal, JournalEntry
from .report import REPORT, Failure, Report, Status
from .spec import SPEC, JobSpec


class JobFolder:
    """`<name>.magplus/`, opened with `create` or `open`. What is in it has its names in `artefacts`.

    Units and other files are named by their path inside the folder with forward slashes ("frames/000001.png").
    An instance belongs to one thread; several processes may read while the one that holds `lock` writes.
    """

    def __init__(self, path: Path) -> None:
        self.path = absolute(path)
        self._journal = Journal(self.path / artefacts.JOURNAL)

    @classmethod
    def create(cls, path: Path) -> JobFolder:
        """Make the folder, or reopen a job folder that is there already.

        Raises `InputError` when the place is read-only, is a file, or holds something else than a job.
        """
        folder = cls(path)
        with explained(folder.path):
            if folder.path.is_dir():
                names = {entry.name for entry in folder.path.iterdir() if not entry.name.startswith(".")}
                if names and not names & artefacts.CONTENTS:
                    raise InputError(f"{folder.path} holds other files than a MagPlus job; choose an empty folder.")
            folder.avatar_dir.mkdir(parents=True, exist_ok=True)
            check_writable(folder.path)
        return folder

    @classmethod
    def open(cls, path: Path) -> JobFolder:
        """Open an existing job folder. Raises `InputError` when there is none; `read_spec` checks its version."""
        folder = cls(path)
        with explained(folder.path):
            if not folder.path.is_dir():
                raise InputError(
                    f"There is no job folder at {folder.path}; check the path, or capture the avatar first."
                )
            if not folder.spec_path.is_file():
                raise InputError(f"{folder.path} is not a MagPlus job folder: it has no {artefacts.SPEC}.")
        return folder

    @property
    def spec_path(self) -> Path:
        """`job.json`, what is asked for."""
        return self.path / artefacts.SPEC

    @property
    def avatar_dir(self) -> Path:
        """The rendered avatar and its rig basis."""
        return self.path / artefacts.AVATAR

    @property
    def frames_dir(self) -> Path:
        """The restored frames, `000001.png` and on."""
        return self.path / artefacts.FRAMES.folder

    @property
    def weights_npz(self) -> Path:
        """The solved controls, see `backend_bridge.rig.curves`."""
        return self.path / artefacts.WEIGHTS

    @property
    def report_path(self) -> Path:
        """`report.json`, what came out."""
        return self.path / artefacts.REPORT

    @property
    def journal_path(self) -> Path:
        """`journal.jsonl`, one line a finished unit."""
        return self._journal.path

    @property
    def log_path(self) -> Path:
        """`worker.log`, tracebacks and whatever libraries print."""
        return self.path / artefacts.LOG

    def file_of(self, kind: FrameKind, index: int) -> Path:
        """Return where frame `index`, counted from 0, has its file of a kind, whether it is there or not."""
        return self.path / kind.unit(index)

    def read_spec(self) -> JobSpec:
        """Return the job spec. Raises `InputError` for a damaged one and one of another version."""
        with explained(self.spec_path):
            return SPEC.decode(self.spec_path.read_bytes()).validated()

    def write_spec(self, spec: JobSpec) -> None:
        """Write `job.json`. Write it last: a folder with a job.json is a complete order."""
        self.write(artefacts.SPEC, SPEC.encode(spec.validated()))

    def read_report(self) -> Report:
        """Return the report of the last run. Raises `InputError` when there is none or it is damaged."""
        with explained(self.report_path):
            if not self.report_path.is_file():
                raise InputError(f"{self.path.name} has no report yet; run the job first.")
            return REPORT.decode(self.report_path.read_bytes())

    def write_report(self, report: Report) -> None:
        """Write `report.json`, with the hash of the job.json that it belongs to."""
        job = hash_file(self.spec_path) if self.spec_path.is_file() else ""
        self.write(artefacts.REPORT, REPORT.encode(replace(report, job_sha256=job)))

    def write_unfinished(
        self, status: Status, exit_code: ExitCode, sentence: str, warnings: Sequence[str] = ()
    ) -> None:
        """Leave a report of a run that is "running", "cancelled" or has "failed", unless that is impossible, too.

        The report of an earlier run must never be taken for this one's.
        """
        error = Failure(int(exit_code), sentence) if status != "running" else None
        with suppress(MagPlusError):  # a full disk, for one: the sentence is on its way to the user anyhow
            self.write_report(Report(status, error, warnings=tuple(warnings)))

    def write(self, relative: str, data: bytes) -> None:
        """Put `data` under `relative`, whole or not at all.

        Raises `MachineError` when the disk is full and `InputError` when the place can't be written.
        """
        target = self._inside(relative)
        with explained(target):
            write_whole(target, data)

    def commit(self, relative: str, data: bytes, fingerprint: str) -> None:
        """Write a finished unit and enter it in the journal; see `fingerprint_of` for the last argument."""
        self.write(relative, data)
        self._journal.append(JournalEntry(relative, len(data), hashlib.sha256(data).hexdigest(), fingerprint))

    def finished(self, relative: str, fingerprint: str) -> bool:
        """Whether an earlier run finished this unit from the same inputs and its bytes are still the same."""
        entry = self._journal.entries().get(relative)
        if entry is None or entry.fingerprint != fingerprint:
            return False
        path = self._inside(relative)
        try:
            return path.stat().st_size == entry.size and hash_file(path) == entry.sha256
        except OSError:
            return False

    def made(self, kind: FrameKind) -> int:
        """Return of how many frames the journal lists a file of a kind."""
        return sum(kind.index_of(unit) is not None for unit in self._journal.entries())

    def keep_only(self, kind: FrameKind, count: int) -> None:
        """Delete what the journal lists of a kind from frame `count` on: an earlier, longer run left it there."""
        indices = (kind.index_of(unit) for unit in self._journal.entries())
        for index in [index for index in indices if index is not None and index >= count]:
            path = self.file_of(kind, index)
            with explained(path):
                path.unlink(missing_ok=True)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for writing. Raises `InputError` naming host and process when another run holds it.

        A run that died, however it died, no longer holds it.
        """
        path = self.path / artefacts.LOCK
        with ExitStack() as stack:
            with explained(path):
                stack.enter_context(hold(path, str(self.path)))
            for place in (self.path, self.avatar_dir, *(self.path / kind.folder for kind in artefacts.FRAME_KINDS)):
                remove_leftovers(place)
            yield

    def _inside(self, relative: str) -> Path:
        parts = PurePosixPath(relative).parts
        if not parts or ".." in parts or relative.startswith("/") or ":" in parts[0]:
            raise ValueError(f"{relative!r} is not a path inside the job folder")
        return self.path.joinpath(*parts)
