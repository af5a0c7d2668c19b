# SPDX-License-Identifier: GPL-3.0-or-later
"""The power goes at any moment: what was finished is on the disk, by the order in which it was flushed.

A disk of the worst kind is modelled beside the real one. A file's bytes are safe when the file was flushed, its name
when its folder was; of what was not flushed, a cut keeps any beginning of the changes to each folder, and of a file's
bytes nothing, half or all.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from magplus.backend_bridge.files.errors import ExitCode
from magplus.backend_bridge.job import artefacts
from magplus.backend_bridge.job.folder import JobFolder
from tests.bridge.drills.a_run import (
    COUNT,
    FINGERPRINT,
    FRAMES,
    SEED,
    TIMES,
    content,
    in_process,
    make_job,
    patched,
    results,
    run,
    run_here,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="folders can't be flushed there")
EVERY = 1 if TIMES > 1 else 7  # of the moments, those at which CI cuts the power


@dataclass
class File:
    """The bytes that a program has written, and those that are safe."""

    written: bytes = b""
    safe: bytes = b""


@dataclass
class Folder:
    """The names that are safe, and the changes since, in order: a name and what it stands for, None for nothing."""

    safe: dict[str, Any] = field(default_factory=dict)
    since: list[tuple[str, Any]] = field(default_factory=list)

    def names(self, changes: int | None = None) -> dict[str, Any]:
        now = dict(self.safe)
        for name, what in self.since[:changes]:
            if what is None:
                now.pop(name, None)
            else:
                now[name] = what
        return now


class Disk:
    """Follows what a run does to a folder; `cut(state)` is called after each change."""

    def __init__(self, root: Path, cut: Callable[[Disk], None]) -> None:
        self.root = root
        self.top = self._load(root)
        self.opened: dict[int, Any] = {}
        self._cut = cut

    def _load(self, path: Path) -> Folder:
        folder = Folder()
        for entry in path.iterdir():
            whole = entry.read_bytes() if entry.is_file() else b""
            folder.safe[entry.name] = self._load(entry) if entry.is_dir() else File(whole, whole)
        return folder

    def place(self, path: Any) -> tuple[Folder, str] | None:
        """Return the folder that holds a path and its name there, None for a path elsewhere."""
        parts = Path(path).parts
        top = self.root.parts
        if parts[: len(top)] != top or len(parts) == len(top) or parts[-1] == artefacts.LOCK:
            return None
        folder = self.top
        for part in parts[len(top) : -1]:
            folder = folder.names()[part]
        return folder, parts[-1]

    def thing(self, path: Any) -> Any:
        if Path(path) == self.root:
            return self.top
        found = self.place(path)
        return None if found is None else found[0].names().get(found[1])

    def change(self, path: Any, what: Any) -> None:
        if (found := self.place(path)) is not None:
            found[0].since.append((found[1], what))
            self._cut(self)

    # --- what a program calls --------------------------------------------------------------------------------

    def functions(self) -> dict[str, Callable[..., Any]]:
        real = {name: getattr(os, name) for name in ("open", "write", "fsync", "replace", "rename", "link", "unlink")}
        real["mkdir"] = os.mkdir

        def opened(path: Any, flags: int, *more: Any, **named: Any) -> int:
            there = os.path.lexists(path)
            descriptor: int = real["open"](path, flags, *more, **named)
            if not there and self.place(path) is not None:
                self.change(path, File())
            self.opened[descriptor] = self.thing(path)
            return descriptor

        def write(descriptor: int, data: Any) -> int:
            count: int = real["write"](descriptor, data)
            if isinstance(file := self.opened.get(descriptor), File):
                file.written += bytes(data[:count])
                self._cut(self)
            return count

        def fsync(descriptor: int) -> None:
            real["fsync"](descriptor)
            if isinstance(thing := self.opened.get(descriptor), File):
                thing.safe = thing.written
            elif isinstance(thing, Folder):
                thing.safe, thing.since = thing.names(), []
            self._cut(self)

        def renamed(source: Any, target: Any, **_: Any) -> None:
            moved, same = self.thing(source), self.thing(source) is self.thing(target)
            real["replace"](source, target)
            if not same:
                self.change(target, moved)
                self.change(source, None)

        def link(source: Any, target: Any, **_: Any) -> None:
            real["link"](source, target)
            self.change(target, self.thing(source))

        def unlink(path: Any, **_: Any) -> None:
            real["unlink"](path)
            self.change(path, None)

        def mkdir(path: Any, mode: int = 0o777, **_: Any) -> None:
            real["mkdir"](path, mode)
            self.change(path, Folder())

        return {
            **{"open": opened, "write": write, "fsync": fsync, "replace": renamed, "rename": renamed},
            **{"link": link, "unlink": unlink, "mkdir": mkdir},
        }


def after_the_cut(folder: Folder, place: Path, draw: random.Random | None) -> None:
    """Leave in `place` what the disk has kept; without `draw` only what is safe."""
    place.mkdir()
    kept = folder.names(0 if draw is None else draw.randint(0, len(folder.since)))
    for name, thing in kept.items():
        if isinstance(thing, Folder):
            after_the_cut(thing, place / name, draw)
        else:
            more = thing.written[len(thing.safe) :] if thing.written.startswith(thing.safe) else b""
            share = 0 if draw is None else draw.choice((0, 0, len(more) // 2, len(more)))
            (place / name).write_bytes(thing.safe + more[:share])


def test_after_a_power_cut_at_any_moment_the_next_run_ends_with_the_same(tmp_path: Path) -> None:
    job = make_job(tmp_path / "job.magplus").path
    (job / "notes.txt").write_bytes(b"mine")
    twin = shutil.copytree(job, tmp_path / "undisturbed.magplus")
    assert run(twin, tmp_path / "record").status == ExitCode.OK
    undisturbed = results(twin)

    (tmp_path / "cuts").mkdir()
    draw = random.Random(SEED)
    moment = 0

    def cut(disk: Disk) -> None:
        """Keep what the disk would hold now, and which frames a program was told to be finished."""
        nonlocal moment
        moment += 1
        if moment % EVERY:
            return
        reported = "".join(str(index) for index in range(COUNT) if index in finished)
        for number, random_or_not in enumerate((None, draw)):
            after_the_cut(disk.top, tmp_path / "cuts" / f"{moment}-{number}-told {reported}", random_or_not)

    finished: set[int] = set()

    def commit_all(folder: JobFolder, files: Mapping[str, bytes], fingerprint: str = "") -> None:
        real_commit(folder, files, fingerprint)
        finished.update(index for unit in files if (index := FRAMES.index_of(unit)) is not None)

    real_commit = JobFolder.commit_all
    JobFolder.commit_all = commit_all  # type: ignore[method-assign]
    try:
        with patched(**Disk(job, cut).functions()):
            assert run_here(job)[0] == ExitCode.OK
    finally:
        JobFolder.commit_all = real_commit  # type: ignore[method-assign]
    assert moment > 100

    for place in sorted((tmp_path / "cuts").iterdir()):
        folder = JobFolder(place)
        for index in range(COUNT):
            unit = FRAMES.unit(index)
            whole = folder.finished(unit, FINGERPRINT)
            assert whole or str(index) not in place.name.partition("told ")[2], f"{place.name} lost {unit}"
            assert not whole or (place / unit).read_bytes() == content(unit)
        ended = in_process(lambda place=place: run_here(place)[0], tmp_path / "record")
        assert ended.status == ExitCode.OK, (place.name, ended)
        left = {name: data for name, data in results(place).items() if not name.startswith(artefacts.SET_ASIDE)}
        assert left.keys() == undisturbed.keys(), place.name
        differing = {name for name in left if left[name] != undisturbed[name]} - {artefacts.REPORT}
        assert differing == set(), place.name
