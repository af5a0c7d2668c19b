# SPDX-License-Identifier: GPL-3.0-or-later
"""`backends list|add|verify|remove`: from the files that people download to parts the backends can load.

A file is recognised by its tensors: their names and shapes are those of exactly one network, whatever the file is
called, however it was saved and whatever stands before the names. Its hash then says whether it is the very file its
authors published.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...backend_bridge.backends import BackendInfo, checkpoint_folder
from ...backend_bridge.files.errors import ExitCode, InputError, MachineError, MagPlusError
from . import registry
from .published import PublishedBackend
from .reading import SUFFIXES, is_archive, read_checkpoint, state_dicts_in
from .store import CheckpointStore, StateDict, digest, how_to_get

COUNTER = "num_batches_tracked"  # of batch norms, which only training looks at; many converters leave it out


@dataclass(frozen=True)
class Match:
    """A network found in a file: which part of which backend, its tensors as the backend has them.

    dropped: tensors of the file's network that the backend has not. halved: the type they came in, where it is one of
    fewer digits than the backend's.
    """

    backend: type[PublishedBackend]
    part: str
    tensors: StateDict
    dropped: int
    halved: str = ""


# --- recognising ---------------------------------------------------------------------------------------------------


def _published() -> list[type[PublishedBackend]]:
    return [backend for backend in registry.values() if issubclass(backend, PublishedBackend)]


def _infos() -> list[BackendInfo]:
    return [backend.info for backend in registry.values()]


@cache
def expected_tensors(backend: type[PublishedBackend]) -> dict[str, dict[str, Tensor]]:
    """Return {part: {tensor name: tensor without values}} of a backend, without building its networks in memory."""
    with torch.device("meta"):
        parts = backend.build_parts()
    return {part: dict(network.state_dict()) for part, network in parts.items()}


def recognise(loaded: Any) -> list[Match]:
    """Return the backends' networks among the state dicts of a file; a part is taken from the first place it is at."""
    matches: dict[tuple[str, str], Match] = {}
    for _, tensors in state_dicts_in(loaded):
        for backend in _published():
            for part, expected in expected_tensors(backend).items():
                if (backend.info.folder, part) in matches:
                    continue
                for prefix in prefixes(tensors, expected):
                    match = _match(backend, part, expected, tensors, prefix)
                    if match is not None:
                        matches[backend.info.folder, part] = match
                        break
    return list(matches.values())


def prefixes(tensors: StateDict, expected: Mapping[str, Tensor]) -> list[str]:
    """Return what may stand before a network's names in a state dict: nothing, `module.`, `generator.` ..."""
    telling = max((name for name in expected if not name.endswith(COUNTER)), key=len)
    found = (name.removesuffix(telling) for name in tensors if name.endswith(telling))
    return sorted((prefix for prefix in found if not prefix or prefix.endswith(".")), key=len)


def _match(
    backend: type[PublishedBackend], part: str, expected: Mapping[str, Tensor], tensors: StateDict, prefix: str
) -> Match | None:
    own = {name: tensors[prefix + name] for name in expected if prefix + name in tensors}
    if any(not name.endswith(COUNTER) for name in expected.keys() - own.keys()):
        return None
    if any(tensor.shape != expected[name].shape for name, tensor in own.items()):
        return None
    extra = [
        name
        for name in tensors
        if name.startswith(prefix) and name.removeprefix(prefix) not in expected and not name.endswith(COUNTER)
    ]
    if extra and part not in backend.parts_with_training_networks:
        return None
    own |= {name: torch.zeros_like(expected[name], device="cpu") for name in expected.keys() - own.keys()}
    halved = {
        str(tensor.dtype).removeprefix("torch.")
        for name, tensor in own.items()
        if tensor.is_floating_point() and tensor.element_size() < expected[name].element_size()
    }
    as_ours = {name: own[name].detach().to(expected[name].dtype) for name in expected}
    return Match(backend, part, as_ours, len(extra), " and ".join(sorted(halved)))


def _nearest(loaded: Any) -> str:
    """Return which network a foreign file resembles most, for the message that refuses it; nothing where none is."""
    best, nearest = 0.0, ""
    for _, tensors in state_dicts_in(loaded):
        for backend in _published():
            for part, expected in expected_tensors(backend).items():
                prefix = next(iter(prefixes(tensors, expected)), "")
                fitting = sum(
                    prefix + name in tensors and tensors[prefix + name].shape == tensor.shape
                    for name, tensor in expected.items()
                )
                if fitting / len(expected) > max(best, 0.2):
                    best = fitting / len(expected)
                    nearest = f"{fitting} of {len(expected)} tensors of {backend.info.title}'s {part}"
    return nearest


@dataclass
class Added:
    """What became of files that were to be added: sentences; those that failed; those that were none of ours."""

    sentences: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    left_alone: list[str] = field(default_factory=list)
    backends: dict[str, BackendInfo] = field(default_factory=dict)


class UnknownModelError(InputError):
    """A whole checkpoint, but of a model that MagPlus does not know."""


def add_all(store: CheckpointStore, paths: Sequence[Path], backend: str | None = None) -> Added:
    """Take the inference networks out of files, of the files in folders and of those in ZIP archives.

    One that can't be added does not keep the others from being added. backend: whose files they are, where names and
    shapes fit several. Raises `MachineError` for a disk that is full.
    """
    added = Added()
    for path in paths:
        before = len(added.sentences)
        if path.is_dir():
            inside = [each for each in sorted(path.rglob("*")) if _worth_trying(each)]
            for each in inside:
                _add_one(store, each, str(each.relative_to(path)), backend, added, asked_for=False)
            if len(added.sentences) == before:
                added.failed.append(f"There is no checkpoint that MagPlus knows in the folder {path}.")
        else:
            _add_one(store, path, path.name, backend, added, asked_for=True)
    added.sentences += _terms_and_missing(store, added)
    return added


def _worth_trying(path: Path) -> bool:
    return path.is_file() and path.suffix in (*SUFFIXES, ".zip")


def _add_one(
    store: CheckpointStore, path: Path, name: str, backend: str | None, added: Added, *, asked_for: bool
) -> None:
    try:
        if path.is_file() and is_archive(path):
            _add_archive(store, path, backend, added)
        else:
            added.sentences += add(store, path, backend, added)
    except UnknownModelError as error:
        if asked_for:
            added.failed.append(str(error))
        else:
            added.left_alone.append(name)
    except InputError as error:
        added.failed.append(str(error))


def _add_archive(store: CheckpointStore, path: Path, backend: str | None, added: Added) -> None:
    before = len(added.sentences)
    with zipfile.ZipFile(path) as archive:
        members = [each for each in archive.infolist() if Path(each.filename).suffix in (*SUFFIXES, ".zip")]
        for member in members:
            with _unpacked(archive, member) as file:
                _add_one(store, file, member.filename, backend, added, asked_for=False)
    if len(added.sentences) == before:
        raise InputError(f"There is no checkpoint that MagPlus knows in the archive {path.name}.")


@contextmanager
def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[Path]:
    """Yield one file of an archive, in the folders that it has there, as long as it is looked at."""
    with tempfile.TemporaryDirectory(prefix="magplus-") as folder:
        try:
            file = archive.extract(member, folder)
        except zipfile.BadZipFile as error:
            raise InputError(f"{member.filename} in {archive.filename} is damaged; download it again.") from error
        except (NotImplementedError, RuntimeError) as error:  # a compression that zipfile doesn't know; a password
            raise InputError(f"{member.filename} in {archive.filename} can't be unpacked here ({error}).") from error
        except OSError as error:
            raise MachineError(f"{member.filename} could not be unpacked ({error}); free some space.") from error
        yield Path(file)


def add(store: CheckpointStore, path: Path, backend: str | None = None, added: Added | None = None) -> list[str]:
    """Take the inference networks out of one file into the store; return sentences that say what was done."""
    loaded = read_checkpoint(path)
    matches = recognise(loaded)
    if not matches:
        known = ", ".join(each.info.title for each in _published())
        raise UnknownModelError(
            f"{path.name} is a checkpoint of another model (nearest: {nearest}); MagPlus knows {known}."
            if (nearest := _nearest(loaded))
            else f"{path.name} is a checkpoint of another model; MagPlus knows {known}."
        )
    hashes = _hashes(path)
    matches = _in_their_slots(matches, path, hashes, backend)
    for match in matches:
        for name, tensor in match.tensors.items():
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise InputError(f"{path.name} is damaged: {match.part} {name} holds values that are not finite.")
    sentences = []
    for match in matches:
        info = match.backend.info
        replaced = _replaced(store, match)
        published = _known_hash(info, hashes)
        store.write(info.folder, match.part, match.tensors, path.name, hashes["sha256"], published)
        sentences.append(f"{info.title}: added {match.part}, {len(match.tensors)} tensors from {path.name}.")
        if match.halved:
            sentences.append(
                f"{info.title}: {match.part} is stored in {match.halved}, with fewer digits than published."
            )
        if match.dropped:
            sentences.append(
                f"{info.title}: {match.dropped} tensors of networks that only training uses were left out."
            )
        sentences += replaced
    for info in {match.backend.info.name: match.backend.info for match in matches}.values():
        if info.checkpoints and not _known_hash(info, hashes):
            sentences.append(f"{info.title}: the hash of {path.name} is not one we know; names and shapes fit exactly.")
        if added is not None:
            added.backends[info.name] = info
    return sentences


def _terms_and_missing(store: CheckpointStore, added: Added) -> list[str]:
    """Return once, for all files, under which terms they are and what is missing still."""
    sentences = []
    for info in added.backends.values():
        if not info.commercial_use:
            sentences.append(f"{info.title}: these weights may not be used commercially ({info.weights_licence}).")
        if missing := store.missing(info):
            sentences.append(how_to_get(info, missing))
    if added.left_alone:
        sentences.append(f"Left alone, as checkpoints of other models: {', '.join(added.left_alone)}.")
    return sentences


def _in_their_slots(matches: list[Match], path: Path, hashes: Mapping[str, str], backend: str | None) -> list[Match]:
    """Return the matches without those of backends that other networks of the same names and shapes belong to.

    The person decides, then the file's hash, then words in its path; else it is taken for the backend that no word
    stands for.
    """
    kept: list[Match] = []
    for match in matches:
        rivals = [each for each in matches if each.part == match.part and set(each.tensors) == set(match.tensors)]
        if len({each.backend.info.folder for each in rivals}) == 1 or match.backend is _owner(
            rivals, path, hashes, backend
        ):
            kept.append(match)
    return kept


def _owner(rivals: list[Match], path: Path, hashes: Mapping[str, str], backend: str | None) -> type[PublishedBackend]:
    candidates = [match.backend for match in rivals]
    words = " ".join(part.lower() for part in path.parts[-3:])
    for fits in (
        lambda each: each.info.name == backend,
        lambda each: _known_hash(each.info, hashes),
        lambda each: any(word in words for word in each.info.path_words),
        lambda each: not each.info.path_words,
    ):
        fitting = [each for each in candidates if fits(each)]
        if fitting:
            return fitting[0]
    return candidates[0]


def _replaced(store: CheckpointStore, match: Match) -> list[str]:
    """Return the sentence that says what a part takes the place of; none where there is nothing to say."""
    folder, title = match.backend.info.folder, match.backend.info.title
    if not store.has(folder, match.part):
        return []
    try:
        before = store.origin(folder, match.part)
    except InputError:
        return [f"{title}: {match.part} replaces a damaged one."]
    if before.tensors_sha256 == digest(match.tensors):
        return [f"{title}: the values of {match.part} were there already."]
    return [f"{title}: {match.part} replaces the one from {before.file}."]


def _hashes(path: Path) -> dict[str, str]:
    """Return a file's SHA-256, and its MD5, by which some files are known that were published long ago."""
    digests = {"sha256": hashlib.sha256(), "md5": hashlib.md5(usedforsecurity=False)}
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            for each in digests.values():
                each.update(block)
    return {name: each.hexdigest() for name, each in digests.items()}


def _known_hash(info: BackendInfo, hashes: Mapping[str, str]) -> bool:
    return any(
        hashes["sha256"] == file.sha256 or (file.md5 is not None and hashes["md5"] == file.md5)
        for file in info.checkpoints
    )


def describe(store: CheckpointStore) -> list[dict[str, Any]]:
    """Return a plain dict for each backend: name, title, ready, missing and optional (sentences), licences ..."""
    return [
        {
            "name": info.name,
            "title": info.title,
            "ready": not store.missing(info),
            "missing": [how_to_get(info, missing)] if (missing := store.missing(info)) else [],
            "optional": [how_to_get(info, optional)] if (optional := store.missing_optional(info)) else [],
            "needs_files": info.needs_files,
            "code_licence": info.code_licence,
            "weights_licence": info.weights_licence,
            "commercial_use": info.commercial_use,
            "frame_size": info.frame_size,
        }
        for info in _infos()
    ]


def verify(store: CheckpointStore, name: str | None = None) -> list[dict[str, Any]]:
    """Check what was added: names and shapes against the published ones, values against the digest kept with them.

    Returns one dict a part: backend, part, ok, file, file_sha256, published (its hash is a known one), problem.
    """
    rows: list[dict[str, Any]] = []
    for backend in _published():
        info = backend.info
        for part, expected in expected_tensors(backend).items() if name in (None, info.name) else ():
            shared = any((row["folder"], row["part"]) == (info.folder, part) for row in rows)
            if shared or not store.has(info.folder, part):
                continue
            row: dict[str, Any] = {"backend": info.name, "folder": info.folder, "part": part, "ok": False}
            row["tensors"] = len(expected)
            try:
                tensors, origin = store.read(info.folder, part)
            except InputError as error:
                rows.append(row | {"problem": str(error)})
                continue
            row |= {
                "file": origin.file,
                "file_sha256": origin.file_sha256,
                "published": origin.published or _known_hash(info, {"sha256": origin.file_sha256, "md5": ""}),
            }
            if {n: t.shape for n, t in tensors.items()} != {n: t.shape for n, t in expected.items()}:
                problem: str | None = "names or shapes are not the published ones"
            elif digest(tensors) != origin.tensors_sha256:
                problem = "the values changed since the file was added"
            else:
                problem = None
            rows.append(row | {"ok": problem is None, "problem": problem})
    return rows


def main(arguments: Sequence[str]) -> int:
    """Run one verb of `backends` and return an `ExitCode`; what was done goes to stdout, errors to stderr."""
    parser = argparse.ArgumentParser(prog="backends", description="The published backends' checkpoint files.")
    parser.add_argument(
        "--folder",
        type=Path,
        default=checkpoint_folder(),
        help="where they are kept (%(default)s; also by the variable MAGPLUS_CHECKPOINTS)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of sentences (list, verify)")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("list", help="which backends there are, under which licences, and what is missing")
    verb = verbs.add_parser("add", help="take the networks out of downloaded files, folders and ZIP archives")
    verb.add_argument("files", type=Path, nargs="+", metavar="FILE")
    verb.add_argument(
        "--for",
        dest="backend",
        choices=[info.name for info in _infos() if info.checkpoints],
        help="whose they are, where names and shapes fit several backends",
    )
    verb = verbs.add_parser("verify", help="check names, shapes and hashes of what was added")
    verb.add_argument("backend", nargs="?", choices=[info.name for info in _infos() if info.checkpoints])
    verb = verbs.add_parser("remove", help="delete a backend's files from the folder")
    verb.add_argument("backend", choices=sorted({info.folder for info in _infos() if info.checkpoints}))
    options = parser.parse_args(arguments)
    store = CheckpointStore(options.folder)
    try:
        return int(_run(options, store))
    except MagPlusError as error:
        print(error, file=sys.stderr)
        return int(error.exit_code)


def _run(options: argparse.Namespace, store: CheckpointStore) -> ExitCode:
    match options.verb:
        case "add":
            return _told(add_all(store, options.files, options.backend))
        case "remove":
            found = store.remove(options.backend)
            print(f"{options.backend} was removed." if found else f"Nothing of {options.backend} had been added.")
        case "list":
            rows = describe(store)
            print(json.dumps(rows, indent=2) if options.json else "\n".join(map(_listed, rows)))
        case "verify":
            rows = verify(store, options.backend)
            print(json.dumps(rows, indent=2) if options.json else "\n".join(map(_verified, rows)) or "Nothing added.")
            if not all(row["ok"] for row in rows):
                return ExitCode.BAD_INPUT
    return ExitCode.OK


def _told(added: Added) -> ExitCode:
    """Print what was done, and last what was not, which is the sentence of a failure."""
    print(*added.sentences, sep="\n", end="\n" if added.sentences else "")
    if not added.failed:
        return ExitCode.OK
    sys.stdout.flush()
    if added.backends and len(added.failed) > 1:
        print(f"{len(added.failed)} files were not added:", file=sys.stderr)
    print(*added.failed, sep="\n", file=sys.stderr)
    return ExitCode.BAD_INPUT


def _listed(row: Mapping[str, Any]) -> str:
    terms = "" if row["commercial_use"] else ", NOT FOR COMMERCIAL USE"
    lines = [
        f"{row['name']:<20} {row['title']}: {_state(row)}",
        f"{'':<20} code {row['code_licence']}, weights {row['weights_licence']}{terms}",
    ]
    further = filter(None, (row["needs_files"], *row["missing"], *row["optional"]))
    return "\n".join(lines + [f"{'':<20} {sentence}" for sentence in further])


def _state(row: Mapping[str, Any]) -> str:
    if not row["ready"]:
        return "checkpoint missing"
    return "ready, but needs files" if row["needs_files"] else "ready"


def _verified(row: Mapping[str, Any]) -> str:
    if not row["ok"]:
        return f"{row['backend']} {row['part']} fails the check: {row['problem']}"
    known = "the published file" if row["published"] else "a file of unknown hash"
    return (
        f"{row['backend']} {row['part']}: {row['tensors']} tensors, names and shapes as published; "
        f"from {row['file']}, {known} (sha256 {row['file_sha256']})"
    )
