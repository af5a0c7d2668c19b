# SPDX-License-Identifier: GPL-3.0-or-later
"""What the open file reads from other files: which they are, and whether they are still what they were.

Libraries, pictures, volumes, caches, fonts, scripts and sounds, also what these read in their turn. Of what is spread
over many files (the frames of a sequence, the tiles of a picture, a simulation's cache) names, sizes and times count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import bpy

from ...backend_bridge.files.hashing import KnownHashes, fingerprint_of

NONE = "none"  # stands for a file that isn't there: it may be put back
ALL = "*"
_NUMBERED = {"SEQUENCE", "TILED"}  # images of many files, of which the file names one


def outside_files(hashes: KnownHashes) -> dict[str, str]:
    """Return what the open file reads, by its path, as a text that differs where the content does.

    "FOLDER/*.exr" stands for all such files of a folder. hashes: those known already. Raises `OSError` where one can't
    be read.
    """
    found = {str(path): _text_of(path, hashes) for path in set(_files())}
    return found | {str(folder / f"{ALL}{suffix}"): _listing(folder, suffix) for folder, suffix in set(_folders())}


def contents(files: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return `outside_files` without the times of those whose content is known by its hash."""
    return sorted((path, text.rpartition(" ")[2]) for path, text in files.items())


def changed_since(files: Mapping[str, str], hashes: KnownHashes) -> list[str]:
    """Return the paths of `outside_files` that have another content now; a file is read where its time has changed."""
    return [path for path, text in files.items() if not _is_as(Path(path), text, hashes)]


def _is_as(path: Path, text: str, hashes: KnownHashes) -> bool:
    if path.name.startswith(ALL):
        return _listing(path.parent, path.name.removeprefix(ALL)) == text
    with suppress(OSError):
        if path.is_file() and text.startswith(f"{_size_and_time(path)} "):
            return True
        return contents({"": _text_of(path, hashes)}) == contents({"": text})
    return False


def _text_of(path: Path, hashes: KnownHashes) -> str:
    return f"{_size_and_time(path)} {hashes.of(path)}" if path.is_file() else NONE


def _size_and_time(path: Path) -> str:
    stat = path.stat()
    return f"{stat.st_size} {stat.st_mtime_ns}"


def _listing(folder: Path, suffix: str) -> str:
    """Return a hash of the names, sizes and times of a folder's files, with those of its folders."""
    files = sorted(path for path in folder.rglob(f"*{suffix}") if path.is_file()) if folder.is_dir() else []
    return fingerprint_of([(path.relative_to(folder).as_posix(), _size_and_time(path)) for path in files])


def _files() -> Iterator[Path]:
    paths = {*bpy.utils.blend_paths(absolute=True, packed=False), *_named(), *_named_by_modifiers_and_nodes()}
    yield from (Path(bpy.path.abspath(path)) for path in paths if path)


def _named() -> Iterator[str]:
    data = bpy.data
    kinds: list[Any] = [data.libraries, data.images, data.movieclips, data.cache_files, data.fonts, data.volumes]
    for block in (block for kind in kinds for block in kind):
        if block.filepath and block.filepath != "<builtin>" and getattr(block, "packed_file", None) is None:
            yield bpy.path.abspath(block.filepath, library=block.library)


def _named_by_modifiers_and_nodes() -> Iterator[str]:
    """Give the files that modifiers read their points from, and nodes a lamp's distribution (IES) or a script (OSL)."""
    for block, tree in node_trees():
        for node in tree.nodes:
            if path := getattr(node, "filepath", ""):
                yield bpy.path.abspath(path, library=block.library)
    for obj in bpy.data.objects:
        for modifier in obj.modifiers:
            if path := getattr(modifier, "filepath", ""):
                yield bpy.path.abspath(path, library=obj.library)


def node_trees() -> Iterator[tuple[Any, Any]]:
    """Give what has nodes, with its tree: materials, lights, worlds, and groups of nodes, which are their own."""
    blocks: Iterable[Any] = (*bpy.data.materials, *bpy.data.lights, *bpy.data.worlds, *bpy.data.node_groups)
    for block in blocks:
        tree = block if isinstance(block, bpy.types.NodeTree) else block.node_tree
        if tree is not None:
            yield block, tree


def _folders() -> Iterator[tuple[Path, str]]:
    """Give the folders, each with an ending of names, of what is spread over many files."""
    many: list[Any] = [image for image in bpy.data.images if image.source in _NUMBERED]
    many += [*bpy.data.volumes, *bpy.data.cache_files, *bpy.data.movieclips]
    for each in many:
        if each.filepath:
            path = Path(bpy.path.abspath(each.filepath, library=each.library))
            yield path.parent, path.suffix
    for blend in (bpy.data.filepath, *(bpy.path.abspath(each.filepath) for each in bpy.data.libraries)):
        if blend:
            yield Path(blend).with_name(f"blendcache_{Path(blend).stem}"), ""
    for obj in bpy.data.objects:
        for modifier in obj.modifiers:
            settings = getattr(modifier, "domain_settings", None)
            place = getattr(settings, "cache_directory", "") or getattr(modifier, "bake_directory", "")
            if place:
                yield Path(bpy.path.abspath(place, library=obj.library)), ""
