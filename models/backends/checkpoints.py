# SPDX-License-Identifier: GPL-3.0-or-later
"""`backends list|add|verify|remove`: from the files that people download to parts the backends can load.

A file is recognised by its tensors: their names and shapes are those of exactly one network. Its hash then says
whether it is the very file its authors published. Files are only ever read as numbers.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import pickle
import struct
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from ...backend_bridge.backends import BackendInfo
from ...backend_bridge.files.errors import ExitCode, InputError, MagPlusError
from . import registry
from .metaportrait.lines import POINTS
from .published import PublishedBackend
from .store import CheckpointStore, StateDict, digest, how_to_get

PICKLE = b"\x80"  # how pickles of protocol 2 and later begin, as which PyTorch saved before it saved archives
_DAMAGE = (EOFError, ValueError, KeyError, AttributeError, TypeError, IndexError, OverflowError, struct.error)

DEFAULT_FOLDER = Path.home() / ".magplus" / "checkpoints"

# What published files hold besides tensors: losses and times as NumPy scalars. These can hold nothing but numbers.
_SCALAR = np.float64(0).__reduce__()[0]
_PLAIN_SCALARS: list[Any] = [
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(code)) for code in ("f2", "f4", "f8", "i4", "i8", "bool")),
]


@dataclass(frozen=True)
class Match:
    """A network found in a file: which part of which backend, and its tensors."""

    backend: type[PublishedBackend]
    part: str
    tensors: StateDict
    dropped: int


_DEEPEST = 8  # dictionaries in each other; published files nest three

# --- reading -------------------------------------------------------------------------------------------------------


def read_checkpoint(path: Path) -> Any:
    """Return what a downloaded file holds, as tensors and plain values; nothing in it is ever executed.

    Raises `InputError` with one sentence for what is no checkpoint: a saved web page, a Git LFS pointer, an archive,
    a truncated download, a file with code in it.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    with path.open("rb") as file:
        head = file.read(1024)
    _refuse_lookalikes(path, head)
    if path.suffix == ".tsv":
        return {"lines": _read_table(path)}
    if path.suffix == ".safetensors":
        try:
            return safetensors.torch.load_file(path)
        except safetensors.SafetensorError as error:
            raise InputError(f"{path.name} is damaged or was not downloaded whole; download it again.") from error
    try:
        with torch.serialization.safe_globals(_PLAIN_SCALARS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "global" in str(error).lower() or "unsupported" in str(error).lower():
            raise InputError(
                f"{path.name} holds program code besides numbers, so MagPlus does not open it; "
                "get the file from its authors again, and be wary of where this one came from."
            ) from error
        raise InputError(f"{path.name} is not a PyTorch checkpoint, or was not downloaded whole.") from error
    except (*_DAMAGE, RuntimeError) as error:
        raise InputError(f"{path.name} is damaged or was not downloaded whole; download it again.") from error


def _read_table(path: Path) -> Tensor:
    try:
        table = np.loadtxt(path, dtype=np.int64, ndmin=2)
    except ValueError as error:
        raise InputError(f"{path.name} is not a table of whole numbers; download it again.") from error
    if table.size and not 0 <= table.min() <= table.max() < POINTS:
        raise InputError(f"{path.name} joins landmarks that are none of the {POINTS}; download it again.")
    return torch.from_numpy(table)


def _refuse_lookalikes(path: Path, head: bytes) -> None:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not head:
        raise InputError(f"{path.name} is empty; download it again.")
    if start.startswith(b"<") or b"<html" in start:
        raise InputError(f"{path.name} is a saved web page, not a checkpoint; download the file that the page offers.")
    if head.startswith(b"version https://git-lfs"):
        raise InputError(
            f"{path.name} is a Git LFS pointer, which only says where the file lies; fetch it with `git lfs pull`."
        )
    published = [file for info in _infos() for file in info.checkpoints if file.name == path.name and file.size]
    for file in published:
        if path.stat().st_size < (file.size or 0):
            raise InputError(
                f"{path.name} has {path.stat().st_size:,} of {file.size:,} bytes: "
                "the download was cut off; download it again."
            )
    if head.startswith(b"PK"):
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise InputError(f"{path.name} is damaged or was not downloaded whole; download it again.") from error
        if any(name.endswith("constants.pkl") for name in names):
            raise InputError(
                f"{path.name} is a TorchScript program, which MagPlus does not run; add the checkpoint behind it."
            )
        if not any(name.endswith("data.pkl") for name in names):
            raise InputError(f"{path.name} is an archive; unpack it and add the checkpoint files in it.")
    elif path.suffix not in (".tsv", ".safetensors") and not head.startswith(PICKLE):
        kind = "a text file" if _is_text(head) else "no PyTorch checkpoint"
        raise InputError(f"{path.name} is {kind}; download the checkpoint that its authors publish.")


def _is_text(head: bytes) -> bool:
    try:
        return head.decode().isprintable() or (b"\n" in head and b"\0" not in head)
    except UnicodeDecodeError:
        return False


def state_dicts_in(loaded: Any, where: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, StateDict]]:
    """Find every state dict in what a file holds, as (place, tensors); averaged weights ("ema") come first.

    seen: identities of the dictionaries that were looked into: each is once, as one may hold itself. Nor is one looked
    into that lies deeper than in any checkpoint.
    """
    seen = set() if seen is None else seen
    if not isinstance(loaded, Mapping) or id(loaded) in seen or where.count("/") > _DEEPEST:
        return
    seen.add(id(loaded))
    tensors = {str(name): value for name, value in loaded.items() if isinstance(value, Tensor)}
    if tensors:
        wrapped = all(name.startswith("module.") for name in tensors)  # saved from inside DataParallel
        yield where, {name.removeprefix("module."): value for name, value in tensors.items()} if wrapped else tensors
    for key in sorted((k for k in loaded if isinstance(k, str)), key=lambda k: ("ema" not in k, k)):
        yield from state_dicts_in(loaded[key], f"{where}/{key}" if where else key, seen)


# --- recognising ---------------------------------------------------------------------------------------------------


def _published() -> list[type[PublishedBackend]]:
    return [backend for backend in registry.values() if issubclass(backend, PublishedBackend)]


def _infos() -> list[BackendInfo]:
    return [backend.info for backend in registry.values()]


@cache
def expected_shapes(backend: type[PublishedBackend]) -> dict[str, dict[str, torch.Size]]:
    """Return {part: {tensor name: shape}} of a backend, without building its networks in memory."""
    with torch.device("meta"):
        parts = backend.build_parts()
    return {part: {n: t.shape for n, t in network.state_dict().items()} for part, network in parts.items()}


def recognise(loaded: Any) -> list[Match]:
    """Return the backends' networks among the state dicts of a file; a part is taken from the first place it is at."""
    matches: dict[tuple[str, str], Match] = {}
    for _, tensors in state_dicts_in(loaded):
        for backend in _published():
            for part, shapes in expected_shapes(backend).items():
                extra = tensors.keys() - shapes.keys()
                if extra and part not in backend.parts_with_training_networks:
                    continue
                if all(name in tensors and tensors[name].shape == shape for name, shape in shapes.items()):
                    own = {name: tensors[name] for name in shapes}
                    matches.setdefault((backend.info.folder, part), Match(backend, part, own, len(extra)))
    return list(matches.values())


def _nearest(loaded: Any) -> str:
    """Say which network a foreign file resembles most, for the message that refuses it."""
    best, sentence = 0.0, ""
    for _, tensors in state_dicts_in(loaded):
        for backend in _published():
            for part, shapes in expected_shapes(backend).items():
                fitting = sum(name in tensors and tensors[name].shape == shape for name, shape in shapes.items())
                if fitting / len(shapes) > max(best, 0.2):
                    best = fitting / len(shapes)
                    sentence = f" (nearest: {fitting} of {len(shapes)} tensors of {backend.info.title}'s {part})"
    return sentence


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- the four verbs ------------------------------------------------------------------------------------------------


def add(store: CheckpointStore, path: Path) -> list[str]:
    """Take the inference networks out of a downloaded file into the store; return sentences that say what was done."""
    loaded = read_checkpoint(path)
    matches = recognise(loaded)
    if not matches:
        known = ", ".join(backend.info.title for backend in _published())
        raise InputError(f"{path.name} is a checkpoint of another model{_nearest(loaded)}; MagPlus knows {known}.")
    for match in matches:
        for name, tensor in match.tensors.items():
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise InputError(f"{path.name} is damaged: {match.part} {name} holds values that are not finite.")
    sha256 = _hash_file(path)
    said = []
    for match in matches:
        info = match.backend.info
        store.write(info.folder, match.part, match.tensors, path.name, sha256)
        text = f"{info.title}: added {match.part}, {len(match.tensors)} tensors from {path.name}"
        if match.dropped:
            text += f"; {match.dropped} tensors of networks that only training uses were left out"
        said.append(text + ".")
    for info in {match.backend.info.name: match.backend.info for match in matches}.values():
        if info.checkpoints and not _known_hash(info, sha256):
            said.append(f"{info.title}: the hash of {path.name} is not one we know; names and shapes fit exactly.")
        if not info.commercial_use:
            said.append(f"{info.title}: these weights may not be used commercially ({info.weights_licence}).")
        said += how_to_get(info, store.missing(info))
    return said


def _known_hash(info: BackendInfo, sha256: str) -> bool:
    return any(file.sha256 == sha256 for file in info.checkpoints)


def describe(store: CheckpointStore) -> list[dict[str, Any]]:
    """Return a plain dict for each backend: name, title, ready, missing and optional (sentences), licences ..."""
    return [
        {
            "name": info.name,
            "title": info.title,
            "ready": not store.missing(info),
            "missing": how_to_get(info, store.missing(info)),
            "optional": how_to_get(info, store.missing_optional(info)),
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
        for part, shapes in expected_shapes(backend).items() if name in (None, info.name) else ():
            shared = any((row["folder"], row["part"]) == (info.folder, part) for row in rows)
            if shared or not store.has(info.folder, part):
                continue
            row: dict[str, Any] = {"backend": info.name, "folder": info.folder, "part": part, "ok": False}
            row["tensors"] = len(shapes)
            try:
                tensors, origin = store.read(info.folder, part)
            except InputError as error:
                rows.append(row | {"problem": str(error)})
                continue
            row |= {
                "file": origin.file,
                "file_sha256": origin.file_sha256,
                "published": _known_hash(info, origin.file_sha256),
            }
            if {n: t.shape for n, t in tensors.items()} != shapes:
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
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="where they are kept (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of sentences (list, verify)")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("list", help="which backends there are, under which licences, and what is missing")
    verb = verbs.add_parser("add", help="take the networks out of downloaded files")
    verb.add_argument("files", type=Path, nargs="+", metavar="FILE")
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
            for path in options.files:
                print(*add(store, path), sep="\n")
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


def _listed(row: Mapping[str, Any]) -> str:
    terms = "" if row["commercial_use"] else ", NOT FOR COMMERCIAL USE"
    lines = [
        f"{row['name']:<14} {row['title']}: {'ready' if row['ready'] else 'checkpoint missing'}",
        f"{'':<14} code {row['code_licence']}, weights {row['weights_licence']}{terms}",
    ]
    return "\n".join(lines + [f"{'':<14} {sentence}" for sentence in (*row["missing"], *row["optional"])])


def _verified(row: Mapping[str, Any]) -> str:
    if not row["ok"]:
        return f"{row['backend']} {row['part']}: {row['problem']}"
    known = "the published file" if row["published"] else "a file of unknown hash"
    return (
        f"{row['backend']} {row['part']}: {row['tensors']} tensors, names and shapes as published; "
        f"from {row['file']}, {known} (sha256 {row['file_sha256']})"
    )
