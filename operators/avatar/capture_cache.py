# SPDX-License-Identifier: GPL-3.0-or-later
"""Captures kept by what they were made from, so that many shots of one character in one pose render it once."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import bpy

from ...backend_bridge.files.disk import explained
from ...backend_bridge.files.errors import MagPlusError
from ...backend_bridge.files.hashing import KnownHashes, fingerprint_of
from ...backend_bridge.files.plain import check_plain, read_plain
from ...backend_bridge.files.typed_json import Format
from ...backend_bridge.files.whole import write_whole
from ...backend_bridge.job import artefacts
from ...backend_bridge.job.folder import JobFolder
from ...backend_bridge.job.spec import AVATAR, Avatar
from .capture import CaptureRequest
from .capture_key import key_of, moment_of

MOST_BYTES = 1 << 30  # of a file of a capture; a rig of 500 controls and 100 000 vertices has 0.4 GB
SHOTS = "shots"  # the folder of moving shots' frames
_DIGEST = 32  # bytes of a SHA-256, with which a kept file begins
FILES = (artefacts.AVATAR_IMAGE, artefacts.AVATAR_BASIS, artefacts.AVATAR_RECORD)


@dataclass(frozen=True)
class Kept:
    """The SHA-256 of each file of a capture, by its name in a job folder."""

    files: dict[str, str]


KEPT = Format(Kept, "kept.json", "a kept capture", "delete the folder of captures")


class CaptureCache:
    """A folder of captures, each in a folder named by a hash; the whole of it may be deleted at any time.

    Only for files that are as they were opened: what was changed since is not in the hash.
    """

    def __init__(self, folder: Path, version: str, hashes: KnownHashes, *, anew: bool = False) -> None:
        """`version` is MagPlus's own: another one may capture differently. `hashes` are those known already.

        anew: give back only what was kept since.
        """
        self.anew = anew
        self.restored = 0  # how many captures were found here
        self._since: set[str] = set()
        self._folder = folder
        self._version = version
        self._hashes = hashes

    def place(self, context: bpy.types.Context, request: CaptureRequest) -> Path:
        """Return where a capture is kept, whether it is there or not."""
        return self._folder / fingerprint_of(self.key(context, request), moment_of(context, request.frame))

    def restore(self, place: Path, job: JobFolder) -> Avatar | None:
        """Put a kept capture into a job folder; None where there is none, or one that was damaged since."""
        if self.anew and place.name not in self._since:
            return None
        with suppress(OSError, MagPlusError):
            self._check_no_links(place)
            kept = KEPT.decode(read_plain(place / KEPT.name, MOST_BYTES)).files
            files = {name: read_plain(place / Path(name).name, MOST_BYTES) for name in FILES if name in kept}
            if artefacts.AVATAR_RECORD in files and all(
                hashlib.sha256(data).hexdigest() == kept[name] for name, data in files.items()
            ):
                for name, data in files.items():
                    job.write(name, data)
                self.restored += 1
                return AVATAR.decode(files[artefacts.AVATAR_RECORD])
        return None

    def keep(self, place: Path, job: JobFolder) -> None:
        """Keep what a job folder's capture has made."""
        self._check_no_links(place)
        with explained(place):
            place.mkdir(parents=True, exist_ok=True)
            kept = {}
            for name in FILES:
                if (job.path / name).is_file():
                    data = (job.path / name).read_bytes()
                    write_whole(place / Path(name).name, data)
                    kept[name] = hashlib.sha256(data).hexdigest()
            write_whole(place / KEPT.name, KEPT.encode(Kept(kept)))
        self._since.add(place.name)

    def _check_no_links(self, place: Path) -> None:
        """Raise `InputError` where a capture would be read from, or written to, somewhere else."""
        for folder in (self._folder, place):
            check_plain(folder)

    def frame(self, made_from: str, name: str) -> bytes | None:
        """Return a kept file of a frame of a moving shot; None where there is none, or one that was damaged since."""
        if self.anew and made_from not in self._since:
            return None
        with suppress(OSError, MagPlusError):
            self._check_no_links(place := self._folder / SHOTS)
            data = read_plain(place / f"{made_from}-{name}", MOST_BYTES)
            digest, content = data[:_DIGEST], data[_DIGEST:]
            if hashlib.sha256(content).digest() == digest:
                return content
        return None

    def keep_frame(self, made_from: str, name: str, data: bytes) -> None:
        """Keep a file of a frame of a moving shot."""
        self._check_no_links(place := self._folder / SHOTS)
        with explained(place):
            place.mkdir(parents=True, exist_ok=True)
            write_whole(place / f"{made_from}-{name}", hashlib.sha256(data).digest() + data)
        self._since.add(made_from)

    def key(self, context: bpy.types.Context, request: CaptureRequest) -> str:
        """Return a hash of what captures of the open file are made from, but for the frame."""
        return key_of(context, request, self._version, self._hashes)
