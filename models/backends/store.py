# SPDX-License-Identifier: GPL-3.0-or-later
"""The user's checkpoint folder: `<folder>/<backend>/<part>.safetensors`, numbers only, each with its origin."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from ...backend_bridge.backends import BACKENDS, BackendInfo, CheckpointFile
from ...backend_bridge.files.errors import InputError, MachineError
from ...backend_bridge.files.plain import check_plain
from ...backend_bridge.files.typed_json import from_data

StateDict = Mapping[str, Tensor]


@dataclass(frozen=True)
class Origin:
    """Where a part came from: the file the user added, and a digest of the tensors taken out of it.

    published: whether the file's hash, by whichever function its authors or mirrors give it, is a known one.
    """

    file: str
    file_sha256: str
    tensors_sha256: str
    published: bool = False


@dataclass(frozen=True)
class CheckpointStore:
    """Parts of published checkpoints as safetensors. Nothing is ever fetched: the user adds the files."""

    folder: Path

    def path(self, backend: str, part: str) -> Path:
        """Return where a part lies or would lie."""
        return self.folder / backend / f"{part}.safetensors"

    def has(self, backend: str, part: str) -> bool:
        """Whether the part has been added."""
        return self.path(backend, part).is_file()

    def read(self, backend: str, part: str) -> tuple[dict[str, Tensor], Origin]:
        """Return a part's tensors and origin; `InputError` for a damaged file."""
        return self._read(backend, part, tensors=True)

    def _read(self, backend: str, part: str, *, tensors: bool) -> tuple[dict[str, Tensor], Origin]:
        path = self.path(backend, part)
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                origin: Origin = from_data(Origin, json.loads(file.metadata()["origin"]))
                names = file.keys() if tensors else ()
                return {name: file.get_tensor(name) for name in names}, origin
        except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} is damaged; remove the backend {backend} and add its file again.") from error

    def origins(self, info: BackendInfo) -> dict[str, Origin]:
        """Return where each part of a backend that has been added came from, without reading the tensors."""
        return {part: self.origin(info.folder, part) for part in self.added(info)}

    def origin(self, backend: str, part: str) -> Origin:
        """Return where a part came from; `InputError` for a damaged file."""
        return self._read(backend, part, tensors=False)[1]

    def added(self, info: BackendInfo) -> list[str]:
        """Return the parts of a backend that have been added, the optional ones too."""
        return sorted({part for file in info.checkpoints for part in file.parts if self.has(info.folder, part)})

    def read_backend(self, info: BackendInfo) -> Mapping[str, StateDict]:
        """Return {part: state dict}, each read when it is asked for, so that not all of them are in memory together.

        Raises `InputError` that says which file is missing, and how to get and add it.
        """
        if missing := self.missing(info):
            raise InputError(how_to_get(info, missing))
        return StoredParts(self, info.folder, self.added(info))

    def missing(self, info: BackendInfo) -> list[str]:
        """Return the parts that a backend needs and that have not been added."""
        return [part for part in info.parts if not self.has(info.folder, part)]

    def missing_optional(self, info: BackendInfo) -> list[str]:
        """Return the parts that a backend could use and that have not been added."""
        return [part for part in info.optional_parts if not self.has(info.folder, part)]

    def write(
        self, backend: str, part: str, tensors: StateDict, file: str, file_sha256: str, published: bool = False
    ) -> Path:
        """Store a part whole or not at all, in place of one that was added before.

        Raises `InputError` where somebody's own file is in the way, `MachineError` when the disk is full or the folder
        can't be written.
        """
        path = self.path(backend, part)
        unfinished = path.with_suffix(".part")
        for place in (path, unfinished):
            if os.path.lexists(place) and not _is_part(place, {part}):
                raise InputError(f"{place} was not written by MagPlus; move it away and add {file} again.")
        origin = Origin(file, file_sha256, digest(tensors), published)
        plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished.unlink(missing_ok=True)
            safetensors.torch.save_file(plain, unfinished, metadata={"origin": json.dumps(asdict(origin))})
            os.replace(unfinished, path)  # noqa: PTH105 - atomic, also on Windows
        except (OSError, safetensors.SafetensorError) as error:
            with suppress(OSError):
                unfinished.unlink()
            raise MachineError(f"{path} could not be written ({error}); free some space and add it again.") from error
        return path

    def remove(self, backend: str) -> bool:
        """Delete the parts of a backend that were added; False when there were none.

        Anything else stays, and the folder with it. Raises `InputError` when the folder is a link, `MachineError` when
        a part can't be deleted.
        """
        folder = self.folder / backend
        if check_plain(folder) is None or not folder.is_dir():
            return False
        parts = {part for info in BACKENDS if info.folder == backend for part in (*info.parts, *info.optional_parts)}
        added = [path for path in sorted(folder.iterdir()) if _is_part(path, parts)]
        for path in added:
            try:
                path.unlink()
            except OSError as error:
                raise MachineError(
                    f"{path} can't be deleted ({error.strerror or error}); close what uses it and try again."
                ) from error
        with suppress(OSError):  # somebody's own files are in it
            folder.rmdir()
        return bool(added)


def _is_part(path: Path, parts: Collection[str]) -> bool:
    """Whether a file is one that `CheckpointStore.write` left, damaged since or cut off on the way though it may be."""
    if not stat.S_ISREG(os.lstat(path).st_mode) or path.suffix not in {".safetensors", ".part"}:
        return False
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return "origin" in (file.metadata() or {})
    except (safetensors.SafetensorError, OSError):
        return path.stem in parts


@dataclass(frozen=True)
class StoredParts(Mapping[str, StateDict]):
    """The parts of a backend that have been added, read on demand."""

    store: CheckpointStore
    backend: str
    names: list[str]

    def __getitem__(self, part: str) -> StateDict:
        if part not in self.names:
            raise KeyError(part)
        return self.store.read(self.backend, part)[0]

    def __contains__(self, part: object) -> bool:
        return part in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def digest(tensors: StateDict) -> str:
    """SHA-256 over the names, types, shapes and values of tensors, in the order of their names."""
    sha = hashlib.sha256()
    for name in sorted(tensors):
        values = tensors[name].detach().cpu().contiguous()
        sha.update(f"{name} {values.dtype} {list(values.shape)}\n".encode())
        sha.update(values.flatten().numpy().tobytes())
    return sha.hexdigest()


def how_to_get(info: BackendInfo, missing: Sequence[str]) -> str:
    """Return one sentence for all that is missing: who publishes it under which licence, how to add it."""
    parts_of: dict[tuple[CheckpointFile, ...], list[str]] = {}
    for part in missing:
        parts_of.setdefault(tuple(file for file in info.checkpoints if part in file.parts), []).append(part)
    from_there: dict[str, list[str]] = {}
    for files, parts in parts_of.items():
        named = f"{' / '.join(file.name for file in files)} (its {', '.join(parts)})"
        from_there.setdefault(files[0].published_at, []).append(named)
    where = "; ".join(
        f"{', '.join(names)}, which its authors publish at {place}" for place, names in from_there.items()
    )
    terms = info.weights_licence if info.commercial_use else f"{info.weights_licence}; not for commercial use"
    if all(file.optional for files in parts_of for file in files):
        return (
            f"{info.title} can use {where} (licence: {terms}); add it under Preferences > Add-ons > MagPlus > "
            "Backends, or with `blender --command magplus backends add FILE ...`."
        )
    return (
        f"{info.title} needs {where} (licence: {terms}); fetch and add what is missing under Preferences > Add-ons > "
        "MagPlus > Backends, or with `blender --command magplus backends add FILE ...`."
    )
