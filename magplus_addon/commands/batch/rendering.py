# SPDX-License-Identifier: GPL-3.0-or-later
"""Rendering a shot's interval in another Blender: interruptible at any time, resumed frame by frame, verified."""

from __future__ import annotations

import json
import queue
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from ....backend_bridge.files.disk import explained
from ....backend_bridge.files.errors import InputError, MachineError
from ....backend_bridge.files.hashing import hash_file
from ....backend_bridge.files.locks import hold
from ....backend_bridge.files.plain import check_plain, plain_path
from ....backend_bridge.files.whole import remove_leftovers, temporary_name
from ....backend_bridge.job import artefacts
from ....backend_bridge.job.journal import Journal, JournalEntry
from ....backend_bridge.job.own_files import OwnFiles
from ....backend_bridge.worker_client.messages import Progress
from ....backend_bridge.worker_client.process import stop

RENDERER = Path(__file__).with_name("frame_renderer.py")
PATIENCE = 1.0  # seconds that a render is given to stop before it is killed
_NUMBER = re.compile(r"-?[0-9]{1,7}")
SHOWN = 10  # of Blender's last lines of output, which a failure quotes from


@dataclass(frozen=True)
class Rendering:
    """Frames of a scene of a file, to be rendered as pictures whose names begin with `name`.

    apex: the frame that the contact sheet shows, None for none. made_from: identifies the file's content.
    """

    file: Path
    scene: str
    name: str
    frames: Sequence[int]
    apex: int | None
    made_from: str


class RenderFolder:
    """The rendered frames of a shot, with a journal of their hashes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._journal = Journal(path / "rendered.jsonl")
        self._own = OwnFiles(path, self._journal)
        self.remarks = self._own.remarks

    def missing(self, frames: Iterable[int], made_from: str, *, by_size: bool = False) -> list[int]:
        """Return the frames that are not there, whole, and made from the same file.

        by_size: judge by its size alone whether a file is whole, without reading it.
        """
        with explained(self.path):
            entries = self._journal.entries()
            files: dict[int, list[JournalEntry]] = {}
            for entry in entries.values():
                frame = entry.unit.partition("/")[0]
                if _NUMBER.fullmatch(frame) and entry.fingerprint == made_from:
                    files.setdefault(int(frame), []).append(entry)
            return [frame for frame in frames if not self._whole(files.get(frame, []), by_size)]

    def take(self, frame: int, scratch: Path, made_from: str) -> None:
        """Move all files that a frame's render has left in a folder here, and enter them in the journal.

        A picture of this batch that somebody has changed since is set aside.
        """
        with explained(self.path):
            for file in sorted(each for each in scratch.rglob("*") if each.is_file()):
                name = file.relative_to(scratch)
                target, unit = plain_path(self.path, name), f"{frame}/{name.as_posix()}"
                if check_plain(target) is not None and unit not in self._journal.entries():
                    raise InputError(f"{target} is not of this batch and is in the way; move it elsewhere.")
                target.parent.mkdir(parents=True, exist_ok=True)
                self._own.make_room(target)
                # Listed before it is there: a run that is cut off between the two finds none that nobody knows of.
                self._journal.append(JournalEntry(unit, file.stat().st_size, hash_file(file), made_from))
                file.replace(target)

    def stale(self, made_from: str) -> list[Path]:
        """Return what an earlier state of the file has left here, of other frames or in another format.

        A picture that somebody has changed since is theirs.
        """
        with explained(self.path):
            entries = self._journal.entries().values()
            now = {_file_of(entry) for entry in entries if entry.fingerprint == made_from}
            before = {_file_of(entry) for entry in entries if entry.fingerprint != made_from} - now
            inside = [name for name in before if name.name and not name.is_absolute() and ".." not in name.parts]
            return [path for name in inside if self._own.are_bytes_of(path := plain_path(self.path, name))]

    @contextmanager
    def held(self) -> Iterator[Path]:
        """Keep other runs out, and give an empty folder for what is being rendered; what a killed run left goes.

        Raises `InUseError` while another run renders here.
        """
        with ExitStack() as stack:
            with explained(self.path):
                self.path.mkdir(parents=True, exist_ok=True)
                stack.enter_context(hold(self.path / artefacts.LOCK, str(self.path)))
                remove_leftovers(self.path, folders=True)
                scratch = temporary_name(self.path)
                scratch.mkdir()
            stack.callback(shutil.rmtree, scratch, ignore_errors=True)
            yield scratch

    def _whole(self, entries: list[JournalEntry], by_size: bool) -> bool:
        paths = [(self.path / _file_of(entry), entry) for entry in entries]
        return bool(paths) and all(
            path.is_file() and path.stat().st_size == entry.size and (by_size or hash_file(path) == entry.sha256)
            for path, entry in paths
        )


def _file_of(entry: JournalEntry) -> Path:
    """Return the file of a journal's entry, relative to the rendered frames."""
    return Path(entry.unit.partition("/")[2])


def render_frames(asked: Rendering, folder: RenderFolder) -> Generator[Progress, None, int]:
    """Render the frames that are missing in a folder; return how many were rendered.

    What an earlier state of the file has left there goes when all are there. Raises `InputError` for a file that
    renders no pictures, `MachineError` when the render fails, `CancelledError` when somebody stops it; whole frames are
    kept.
    """
    missing = folder.missing(asked.frames, asked.made_from)
    if not missing and not folder.stale(asked.made_from):
        return 0
    with folder.held() as scratch:
        if missing:
            yield from _render(asked, missing, folder, scratch)
        for path in folder.stale(asked.made_from):
            with explained(path):
                path.unlink()
    return len(missing)


def _render(
    asked: Rendering, missing: Sequence[int], folder: RenderFolder, scratch: Path
) -> Generator[Progress, None, None]:
    """Render missing frames into an empty folder, and take each from there when it is whole."""
    apex = "-" if asked.apex is None else str(asked.apex)
    process = _Render([str(asked.file), asked.scene, str(scratch), asked.name, apex, *map(str, missing)])
    done = 0
    try:
        while (line := process.next_line()) is not None:
            if "problem" in line:
                raise InputError(str(line["problem"]))
            if "frame" in line:
                folder.take(int(line["frame"]), Path(scratch, str(line["frame"])), asked.made_from)
                done += 1
            yield Progress(f"Rendering {asked.name}", len(asked.frames) - len(missing) + done, len(asked.frames))
    finally:
        process.stop()
    if done < len(missing):
        raise MachineError(f"The render of {asked.name} ended at frame {missing[done]}: {process.last_error()}")


class _Render:
    """A Blender that renders, and what it says."""

    def __init__(self, arguments: list[str]) -> None:
        self._popen = subprocess.Popen(
            [*_blender(arguments[0]), str(RENDERER), "--", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            encoding="utf-8",
            errors="replace",
        )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._last: list[str] = []
        threading.Thread(target=self._read, name="magplus-render", daemon=True).start()

    def next_line(self) -> dict[str, Any] | None:
        """Return what came next, an empty dict where nothing came for a moment, None at the end."""
        try:
            line = self._lines.get(timeout=0.1)
        except queue.Empty:
            return {}
        if line is None:
            return None
        if line.startswith("magplus {"):
            found: dict[str, Any] = json.loads(line.removeprefix("magplus "))
            return found
        if line.strip():
            self._last = [*self._last, line.strip()][-SHOWN:]
        return {}

    def last_error(self) -> str:
        """Return the last line with an error in it, or the last one."""
        telling = [line for line in self._last if "error" in line.lower()] or self._last or ["it said nothing."]
        return telling[-1][:200]

    def stop(self) -> None:
        """End it, if it still runs."""
        if self._popen.poll() is None:
            stop(self._popen, patience=PATIENCE)

    def _read(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            self._lines.put(line)
        self._lines.put(None)


def _blender(file: str) -> list[str]:
    """Return the beginning of a command line: this Blender once more, or the Python that it is a module of."""
    if bpy.app.binary_path:
        return [bpy.app.binary_path, "--background", file, "--python-exit-code", "1", "--python"]
    return [sys.executable]
