# SPDX-License-Identifier: GPL-3.0-or-later
"""Captures kept by what they were made from, so that many shots of one character in one pose render it once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import bpy

from ..backend_bridge.files.disk import explained
from ..backend_bridge.files.errors import MagPlusError
from ..backend_bridge.files.hashing import KnownHashes, fingerprint_of
from ..backend_bridge.files.plain import check_plain, read_plain
from ..backend_bridge.files.typed_json import Format
from ..backend_bridge.files.whole import write_whole
from ..backend_bridge.job import artefacts
from ..backend_bridge.job.folder import JobFolder
from ..backend_bridge.job.spec import AVATAR, Avatar
from .capture import CaptureRequest
from .rig.controls import RigControl

MOST_BYTES = 1 << 30  # of a file of a capture; a rig of 500 controls and 100 000 vertices has 0.4 GB
FILES = (artefacts.AVATAR_IMAGE, artefacts.AVATAR_BASIS, artefacts.AVATAR_RECORD)


@dataclass(frozen=True)
class Kept:
    """The SHA-256 of each file of a capture, by its name in a job folder."""

    files: dict[str, str]


# Modifiers whose result depends on the frame, or may.
_SIMULATED = frozenset(
    {"BUILD", "CLOTH", "DYNAMIC_PAINT", "EXPLODE", "FLUID", "MESH_CACHE", "MESH_SEQUENCE_CACHE", "NODES", "OCEAN"}
    | {"PARTICLE_SYSTEM", "SOFT_BODY", "WAVE"}
)
KEPT = Format(Kept, "kept.json", "a kept capture", "delete the folder of captures")


class CaptureCache:
    """A folder of captures, each in a folder named by a hash; the whole of it may be deleted at any time.

    Only for files that are as they were opened: what was changed since is not in the hash.
    """

    def __init__(self, folder: Path, version: str, hashes: KnownHashes) -> None:
        """`version` is MagPlus's own: another one may capture differently. `hashes` are those known already."""
        self._folder = folder
        self._version = version
        self._hashes = hashes

    def restore(self, context: bpy.types.Context, request: CaptureRequest, job: JobFolder) -> Avatar | None:
        """Put a kept capture into a job folder; None where there is none, or one that was damaged since."""
        place = self._place(context, request)
        with suppress(OSError, MagPlusError):
            self._check_no_links(place)
            kept = KEPT.decode(read_plain(place / KEPT.name, MOST_BYTES)).files
            files = {name: read_plain(place / Path(name).name, MOST_BYTES) for name in FILES if name in kept}
            if artefacts.AVATAR_RECORD in files and all(
                hashlib.sha256(data).hexdigest() == kept[name] for name, data in files.items()
            ):
                for name, data in files.items():
                    job.write(name, data)
                return AVATAR.decode(files[artefacts.AVATAR_RECORD])
        return None

    def keep(self, context: bpy.types.Context, request: CaptureRequest, job: JobFolder) -> None:
        """Keep what a job folder's capture has made."""
        place = self._place(context, request)
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

    def _check_no_links(self, place: Path) -> None:
        """Raise `InputError` where a capture would be read from, or written to, somewhere else."""
        for folder in (self._folder, place):
            check_plain(folder)

    def _place(self, context: bpy.types.Context, request: CaptureRequest) -> Path:
        scene, camera = context.scene, context.scene.camera
        asked = {each.name: _described(getattr(request, each.name)) for each in fields(request)}
        key = fingerprint_of(
            self._version,
            bpy.app.version_string,
            self._files(),
            scene.name_full,
            context.view_layer.name,
            camera.name_full if camera is not None else None,
            {name: value for name, value in asked.items() if name != "frame"},
            str(scene.frame_current_final if request.frame is None else request.frame)
            if _changes_with_time()
            else None,
        )
        return self._folder / key

    def _files(self) -> list[tuple[str, str]]:
        """Return the hashes of the open file and of all that it reads from outside."""
        outside = [*bpy.data.libraries, *bpy.data.images, *bpy.data.movieclips, *bpy.data.cache_files, *bpy.data.fonts]
        paths = {bpy.data.filepath}
        for block in outside:
            library = block.library
            paths.add(bpy.path.abspath(block.filepath, library=library) if block.filepath else "")
        return sorted((path, self._hashes.of(Path(path))) for path in paths if path and Path(path).is_file())


def _changes_with_time() -> bool:
    """Whether anything in the file may look different at another frame; when in doubt, it may."""
    blocks = list(bpy.data.user_map())
    return (
        bool(bpy.data.actions or bpy.data.cache_files or bpy.data.movieclips)
        or any("frame" in driver.driver.expression for block in blocks for driver in _drivers(block))
        or any(modifier.type in _SIMULATED for obj in bpy.data.objects for modifier in obj.modifiers)
        or any(image.source in {"MOVIE", "SEQUENCE"} for image in bpy.data.images)
        or any(scene.rigidbody_world is not None or scene.timeline_markers for scene in bpy.data.scenes)
    )


def _drivers(block: bpy.types.ID) -> Iterable[bpy.types.FCurve]:
    data = getattr(block, "animation_data", None)
    return data.drivers if data is not None else ()


def _described(value: Any) -> Any:
    """Return a part of a request as plain data."""
    if isinstance(value, tuple):
        return [_described(each) for each in value]
    if isinstance(value, RigControl):
        return [value.control, value.step]
    return value.name_full if isinstance(value, bpy.types.ID) else value
