# SPDX-License-Identifier: GPL-3.0-or-later
"""The job folder: the one place where a job's data lives, written so that nothing is lost and nobody else is harmed.

A file appears under its own name only when it is whole: it is written under a temporary name, flushed to the disk,
entered in `journal.jsonl` with its size and hash, and then renamed. A later run takes a unit for finished only when the
journal **and** the bytes on the disk agree. Existence alone proves nothing.

The folder may hold a person's own files, and it may come from somebody else. What MagPlus did not write is never
deleted or replaced but set aside; no link is followed; whoever writes holds the folder's lock.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path, PurePosixPath

from ..files.disk import ReadOnlyError, explained
from ..files.errors import ExitCode, InputError, InUseError, MagPlusError
from ..files.locks import hold
from ..files.plain import check_plain, hash_plain, plain_path, read_plain
from ..files.whole import absolute, all_staged, check_writable, make_folder, prepared, remove_leftovers
from . import artefacts
from .artefacts import FrameKind
from .journal import Journal, JournalEntry
from .own_files import OwnFiles, hash_if_there
from .report import REPORT, Failure, Report, Status
from .spec import SPEC, JobSpec

MOST_BYTES = 32 << 20  # of a document or of numbers; a job with an hour of film has a tenth of it
PATIENCE = 0.5  # seconds that a run which has just reported its end may take to let go of the folder
REMEMBERED = 4  # documents of each kind; those who work on a folder read the same one again and again
_UNLISTED = {artefacts.LOCK, artefacts.JOURNAL, artefacts.LOG}  # ours by their names
_DROPPINGS = {"desktop.ini", "thumbs.db"}  # what systems leave in every folder, besides hidden files


class JobFolder:
    """`<name>.magplus/`, opened with `create` or `open`. What is in it has its names in `artefacts`.

    Units and other files are named by their path inside the folder with forward slashes ("frames/000001.png").
    An instance belongs to one thread; several processes may read while the one that holds `lock` writes.

    `remarks` are sentences about files that were in the way and were set aside.
    """

    def __init__(self, path: Path) -> None:
        self.path = absolute(path)
        self._journal = Journal(self.path / artefacts.JOURNAL)
        self._own = OwnFiles(self.path, self._journal)
        self.remarks = self._own.remarks
        self._holding = False
        self._result_changed = False  # whether this instance has replaced a part of an earlier result

    @classmethod
    def create(cls, path: Path) -> JobFolder:
        """Make the folder, or reopen a job folder that is there already.

        Raises `InputError` when the place is read-only, is a file, or holds something else than a job.
        """
        folder = cls(path)
        with explained(folder.path):
            if folder.path.is_dir():
                folder._check_ours()
            for place in reversed([each for each in (folder.path, *folder.path.parents) if not each.is_dir()]):
                make_folder(place)
            make_folder(folder.avatar_dir)
            check_writable(folder.path)
        return folder

    def remove_unused(self) -> None:
        """Remove the folder again, if there is nothing in it but what `create` and `lock` have made; call it in `lock`.

        It stays on a system on which a file that is held can't be removed.
        """
        with suppress(OSError):
            if {place.name for place in self.path.iterdir()} <= {artefacts.AVATAR, artefacts.LOCK}:
                self.avatar_dir.rmdir()  # refused where something is in it
                (self.path / artefacts.LOCK).unlink(missing_ok=True)
                self.path.rmdir()

    @classmethod
    def open(cls, path: Path) -> JobFolder:
        """Open an existing job folder. Raises `InputError` when there is none; `read_spec` checks its version."""
        folder = cls(path)
        with explained(folder.path, reading=True):
            if not folder.path.is_dir():
                raise InputError(
                    f"There is no job folder at {folder.path}; check the path, or capture the avatar first."
                )
            if check_plain(folder.spec_path) is None:
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
    def weights_npz(self) -> Path:
        """The solved controls, see `backend_bridge.rig.curves`."""
        return self.path / artefacts.WEIGHTS

    @property
    def report_path(self) -> Path:
        """`report.json`, what came out."""
        return self.path / artefacts.REPORT

    @property
    def log_path(self) -> Path:
        """`worker.log`, tracebacks and whatever libraries print."""
        return self.path / artefacts.LOG

    def file_of(self, kind: FrameKind, index: int) -> Path:
        """Return where frame `index`, counted from 0, has its file of a kind, whether it is there or not."""
        return self.path / kind.unit(index)

    # --- documents -----------------------------------------------------------------------------------------------

    def read(self, relative: str) -> bytes:
        """Return a file's bytes. Raises `InputError` for a link, a pipe, and what is too large to be ours."""
        path = self._inside(relative)
        with explained(path, reading=True):
            return read_plain(path, MOST_BYTES)

    def read_spec(self) -> JobSpec:
        """Return the job spec. Raises `InputError` for a damaged one and one of another version."""
        return _spec_of(self.read(artefacts.SPEC))

    def write_spec(self, spec: JobSpec) -> None:
        """Write `job.json`. Write it last: a folder with a job.json is a complete order."""
        self.write(artefacts.SPEC, SPEC.encode(spec.validated()))

    @property
    def has_report(self) -> bool:
        """Whether there is a report of any kind."""
        with explained(self.report_path, reading=True):
            return check_plain(self.report_path) is not None

    def read_report(self) -> Report:
        """Return the report of the last run. Raises `InputError` when there is none or it is damaged."""
        if not self.has_report:
            raise InputError(f"{self.path.name} has no report yet; run the job first.")
        return _report_of(self.read(artefacts.REPORT))

    def write_report(self, report: Report, fingerprint: str = "") -> Report:
        """Write `report.json`, with the hash of the job.json that it belongs to; return it as it was written.

        fingerprint: of everything that a finished result is made from.
        """
        with explained(self.spec_path, reading=True):
            job = hash_plain(self.spec_path) if check_plain(self.spec_path) is not None else ""
        written = replace(report, job_sha256=job)
        self.write(artefacts.REPORT, REPORT.encode(written), fingerprint)
        return written

    def write_unfinished(
        self, status: Status, exit_code: ExitCode, sentence: str, warnings: Sequence[str] = ()
    ) -> None:
        """Leave a report of a run that is "running", "cancelled" or has "failed", unless that is impossible, too.

        A finished result keeps its report until this run replaces a part of it (`commit`).
        """
        error = Failure(int(exit_code), sentence) if status != "running" else None
        with suppress(MagPlusError):  # a full disk, for one: the sentence is on its way to the user anyhow
            if self._result_changed or not self.has_finished_result():
                self.write_report(Report(status, error, warnings=tuple(warnings)))

    def has_finished_result(self) -> bool:
        """Whether the report that is there, whole, is of a finished run."""
        try:
            return self.read_report().status == "finished"
        except MagPlusError:
            return False

    # --- files ---------------------------------------------------------------------------------------------------

    def write(self, relative: str, data: bytes, fingerprint: str = "") -> None:
        """Put `data` under `relative`, whole or not at all, and enter it in the journal.

        What stands there and is not MagPlus's is set aside. Raises `MachineError` when the disk is full, `InputError`
        when the place can't be written, and `InUseError` while another run has the folder.
        """
        self._write_all({relative: data}, fingerprint)

    def _write_all(self, files: Mapping[str, bytes], fingerprint: str) -> None:
        """Write several files, each whole or not at all; they are flushed together where that loses nothing."""
        targets = {self._inside(relative): data for relative, data in files.items()}
        with self.lock():
            for target in targets:
                with explained(target):
                    self._own.make_room(target)
            with explained(next(iter(targets))), all_staged(targets):
                self._journal.append(
                    *(
                        JournalEntry(relative, len(data), hashlib.sha256(data).hexdigest(), fingerprint)
                        for relative, data in files.items()
                    )
                )

    def commit(self, relative: str, data: bytes, fingerprint: str = "") -> None:
        """Write a part of a run's result; see `commit_all`."""
        self.commit_all({relative: data}, fingerprint)

    def commit_all(self, files: Mapping[str, bytes], fingerprint: str = "") -> None:
        """Write parts of a run's result, by their names; see `fingerprint_of` for the last argument.

        From the first one on, an earlier run's report is not this folder's any more. Flushing takes a disk longest, so
        what is made together is better written together.
        """
        if not files:
            return
        with self.lock():
            if not self._result_changed:
                if self.has_finished_result():
                    self.write_report(Report("running"))
                self._result_changed = True
            self._write_all(files, fingerprint)

    def finished(self, relative: str, fingerprint: str) -> bool:
        """Whether an earlier run finished this unit from the same inputs and its bytes are still the same."""
        entry = self._journal.made_from(relative, fingerprint)
        return entry is not None and hash_if_there(self._inside(relative)) == entry.sha256

    def check_whole(self, units: Sequence[str]) -> bool:
        """Check that files are what a run wrote, by the journal; return False where it lists none of them.

        Raises `InputError` when one is missing, changed or, unlike others of them, not listed.
        """
        entries = self._journal.entries()
        listed = any(unit in entries for unit in units)
        for unit in units:
            path = self._inside(unit)
            with explained(path, reading=True):
                if check_plain(path) is None:
                    raise InputError(f"{path.name} of {self.path.name} is missing; run the job again.")
                if listed and (unit not in entries or hash_if_there(path) != entries[unit].sha256):
                    raise InputError(
                        f"{unit} is not what the run wrote: it was changed or damaged; run the job again, and it is "
                        "made anew while what is whole is kept."
                    )
        return listed

    def made(self, kind: FrameKind) -> int:
        """Return of how many frames the journal lists a file of a kind."""
        return sum(kind.index_of(unit) is not None for unit in self._journal.entries())

    def keep_only(self, kind: FrameKind, count: int, first: int = 0) -> None:
        """Delete what the journal lists of a kind but for `count` frames from `first` on: an earlier run left it there.

        A file that was changed since stays.
        """
        indices = (kind.index_of(unit) for unit in self._journal.entries())
        beyond = [index for index in indices if index is not None and not first <= index < first + count]
        for path in [self.file_of(kind, index) for index in beyond]:
            self._delete_own(path)

    def delete_unreported(self, report: Report) -> None:
        """Delete the files of an earlier run that look like a part of this finished one and aren't, as its report says.

        A file that was changed since stays.
        """
        gone = list(artefacts.OF_CONTROLS) if report.weights is None else []
        if report.weights is not None and not report.weights.live_link_face:
            gone.append(artefacts.LIVE_LINK)
        if report.shot is None or report.shot.pattern != artefacts.SHOT_EXR.pattern:
            gone.append(artefacts.SHOT_APEX)
        for name in gone:
            with suppress(MagPlusError):  # what can't be deleted takes nothing from the result
                self._delete_own(self._inside(name))

    def _delete_own(self, path: Path) -> None:
        with self.lock(), explained(path):
            if self._own.are_bytes_of(path):
                path.unlink()

    def repeat(self, units: Sequence[str], kind: FrameKind) -> list[Path]:
        """Make files of a kind that show these units in this order, as links where the disk can; return the files.

        All of them are made before the first takes its name. Those of an earlier call beyond them are deleted.
        """
        targets = [self.file_of(kind, index) for index in range(len(units))]
        folder = self.path / kind.folder
        with self.lock(), explained(folder):
            make_folder(folder)
            for target in targets:
                self._own.make_room(target)
            hashes = {unit: hash_plain(self._inside(unit)) for unit in dict.fromkeys(units)}
            with ExitStack() as stack:
                for unit, target in zip(units, targets, strict=True):
                    _link(self._inside(unit), stack.enter_context(prepared(target)))
                self._journal.append(
                    *(
                        JournalEntry(kind.unit(index), self._inside(unit).stat().st_size, hashes[unit], "")
                        for index, unit in enumerate(units)
                    )
                )
            self.keep_only(kind, len(units))
        return targets

    # --- who may write -------------------------------------------------------------------------------------------

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for writing; within it, again at no cost.

        A run that died, however it died, no longer holds it. Raises `InUseError` naming host and process when another
        run holds it.
        """
        if self._holding:
            yield
            return
        path = self.path / artefacts.LOCK
        with ExitStack() as stack:
            with explained(path):
                stack.enter_context(hold(path, str(self.path), PATIENCE))
            self._holding = True
            stack.callback(setattr, self, "_holding", False)
            for place in self._folders():
                check_plain(place)
                remove_leftovers(place)
            yield

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Keep writers out while a result is read. A folder that nobody can write to needs no lock."""
        with ExitStack() as stack:
            with suppress(ReadOnlyError):
                stack.enter_context(self.lock())
            yield

    @property
    def in_use(self) -> bool:
        """Whether another run has the folder right now."""
        try:
            with self.lock():
                return False
        except InUseError:
            return True
        except MagPlusError:
            return False  # whoever comes to write hears why

    def _folders(self) -> list[Path]:
        """Return the folder and those in it that MagPlus writes to."""
        there = sorted(entry.name for entry in os.scandir(self.path) if artefacts.is_folder(entry.name))
        return [self.path, *(self.path / name for name in there)]

    # --- whose a file is -----------------------------------------------------------------------------------------

    def _check_ours(self) -> None:
        """Raise `InputError` when the folder holds anything but a job, or what a capture that was cut off has left."""
        if check_plain(self.spec_path) is not None:
            try:
                SPEC.decode(self.read(artefacts.SPEC))
            except InputError as error:
                raise InputError(f"{self.path} holds no MagPlus job ({error}); choose an empty folder.") from error
            return
        for path in self._visible():
            relative = path.relative_to(self.path).as_posix()
            if relative not in _UNLISTED and not self._own.are_bytes_of(path):
                raise InputError(
                    f"{self.path} holds other files than a MagPlus job, {relative} for one; choose an empty folder."
                )

    def _visible(self) -> Iterator[Path]:
        """Yield the files of the folder and of those in it that MagPlus writes to, and other folders as they are."""
        for place in self._folders():
            check_plain(place)
            for path in sorted(place.iterdir()):
                hidden = path.name.startswith(".") or path.name.lower() in _DROPPINGS
                if not hidden and not (path.parent == self.path and artefacts.is_folder(path.name)):
                    yield path

    def _inside(self, relative: str) -> Path:
        """Return the path of a file in the folder. Raises `InputError` when a folder on the way to it is a link."""
        parts = PurePosixPath(relative).parts
        if not parts or ".." in parts or relative.startswith("/") or ":" in parts[0]:
            raise ValueError(f"{relative!r} is not a path inside the job folder")
        with explained(self.path / relative, reading=True):
            return plain_path(self.path, relative)


@lru_cache(REMEMBERED)
def _spec_of(encoded: bytes) -> JobSpec:
    return SPEC.decode(encoded).validated()


@lru_cache(REMEMBERED)
def _report_of(encoded: bytes) -> Report:
    """Return what the bytes of a report say; a step of a batch asks a dozen times, of the same bytes."""
    return REPORT.decode(encoded).validated()


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # not every disk can, nor do links reach across disks
        shutil.copyfile(source, target)
