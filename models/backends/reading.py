# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading downloaded checkpoint files, in whatever shape people have them, as numbers: nothing in them is ever run."""

from __future__ import annotations

import pickle
import struct
import types
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from ...backend_bridge.files.errors import InputError
from . import registry
from .metaportrait.lines import POINTS
from .store import StateDict

SUFFIXES = (".pth", ".pt", ".tar", ".ckpt", ".bin", ".safetensors", ".tsv")  # what is tried in a folder or an archive
PICKLE = b"\x80"  # how pickles of protocol 2 and later begin, as which PyTorch saved before it saved archives
DEEPEST = 20  # levels of dicts in a file; published ones have three
_DAMAGE = (EOFError, ValueError, KeyError, AttributeError, TypeError, IndexError, OverflowError, struct.error)


class ProgramCodeError(Exception):
    """A file asks for a function to be called that has no part in storing numbers."""


class _Inert:
    """Stands for an object of a class that has no part in storing numbers: settings, paths, a network saved whole.

    state: what was stored of it.
    """

    state: Any = None

    def __new__(cls, *_: Any, **__: Any) -> _Inert:
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, _: Any, __: Any) -> None: ...

    def append(self, _: Any) -> None: ...

    def extend(self, _: Any) -> None: ...

    def add(self, _: Any) -> None: ...


_SCALAR = np.float64(0).__reduce__()[0]
_RECONSTRUCT = np.zeros(1).__reduce__()[0]
# The functions and types that tensors and plain values are stored with. None of them does more than to make a value.
_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): defaultdict,
    ("_codecs", "encode"): lambda text, _="latin1": text.encode("latin1"),
    ("copy_reg", "_reconstructor"): _Inert,
    ("copyreg", "_reconstructor"): _Inert,
    ("torch", "Size"): torch.Size,
    ("torch", "device"): torch.device,
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): np.ndarray,
    **{
        ("torch._utils", name): getattr(torch._utils, name)
        for name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter", "_rebuild_parameter_with_state")
    },
    **{
        (f"numpy.{core}.multiarray", name): kind
        for core in ("core", "_core")
        for name, kind in (("scalar", _SCALAR), ("_reconstruct", _RECONSTRUCT))
    },
    **{
        (module, kind.__name__): kind
        for module in ("builtins", "__builtin__")
        for kind in (set, frozenset, list, dict, tuple, slice, complex, bytearray, int, float, bool, str)
    },
}


class _Numbers(pickle.Unpickler):
    """Unpickles tensors and plain values, and puts inert objects in the place of others."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what a name in the file stands for; somebody else's function raises `ProgramCodeError` when called."""
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        if module.startswith("numpy.dtypes") and name.endswith("DType"):
            return getattr(np.dtypes, name)
        last = name.rpartition(".")[2]
        if last.lstrip("_")[:1].isupper() or module == "datetime":  # a class, as everybody writes them
            return type(last, (_Inert,), {})

        def refuse(*_: Any, **__: Any) -> Any:
            raise ProgramCodeError(f"{module}.{name}")

        return refuse


def _numbers() -> types.ModuleType:
    """Return the module that `torch.load` unpickles with."""
    module = types.ModuleType("magplus_numbers")
    module.__dict__.update(Unpickler=_Numbers, load=lambda file, **options: _Numbers(file, **options).load())
    return module


def read_checkpoint(path: Path) -> Any:
    """Return what a downloaded file holds, as tensors and plain values; nothing in it is ever executed.

    Raises `InputError` with one sentence for what is no checkpoint: a saved web page, a Git LFS pointer, an archive of
    several files, a truncated download, a file with code in it.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}; put it back, or choose another.")
    with path.open("rb") as file:
        head = file.read(1024)
    _refuse_lookalikes(path, head)
    if path.suffix == ".tsv":
        return {"lines": _read_table(path)}
    try:
        if is_safetensors(path, head):
            return safetensors.torch.load_file(path)
        return torch.load(path, map_location="cpu", weights_only=False, pickle_module=_numbers())
    except ProgramCodeError as error:
        raise InputError(
            f"{path.name} holds program code ({error}) besides numbers, so MagPlus does not open it; "
            "get the file from its authors again, and be wary of where this one came from."
        ) from error
    except (
        *_DAMAGE,
        RuntimeError,
        RecursionError,
        MemoryError,
        pickle.UnpicklingError,
        safetensors.SafetensorError,
    ) as error:
        raise InputError(_damaged(path)) from error


def is_safetensors(path: Path, head: bytes) -> bool:
    """Whether a file is in the format of safetensors, whatever its name."""
    return path.suffix == ".safetensors" or (len(head) > 8 and head[8:9] == b"{" and not head.startswith(PICKLE))


def _damaged(path: Path) -> str:
    """Say what may be wrong with a file that can't be read; its published size explains, and decides nothing."""
    size = path.stat().st_size
    for info in (backend.info for backend in registry.values()):
        for file in info.checkpoints:
            if file.name == path.name and file.size and size < file.size:
                return (
                    f"{path.name} has {size:,} of {file.size:,} bytes and can't be read: the download was cut off; "
                    "download it again."
                )
    return f"{path.name} is damaged or was not downloaded whole; download it again."


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
    if head.startswith(b"PK"):
        names = archived_names(path)
        if any(name.endswith("constants.pkl") for name in names):
            raise InputError(
                f"{path.name} is a TorchScript program, which MagPlus does not run; add the checkpoint behind it."
            )
        if not any(name.endswith("data.pkl") for name in names):
            raise InputError(f"{path.name} is an archive of other files; add the checkpoints in it.")
    elif path.suffix != ".tsv" and not head.startswith(PICKLE) and not is_safetensors(path, head):
        raise InputError(
            f"{path.name} is a text file; download the checkpoint that its authors publish."
            if _is_text(head)
            else f"{path.name} is no PyTorch checkpoint; download the one that its authors publish."
        )


def archived_names(path: Path) -> list[str]:
    """Return the names in a ZIP file; `InputError` when it is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:  # the last: a later version of ZIP
        raise InputError(_damaged(path)) from error


def is_archive(path: Path) -> bool:
    """Whether a file is a ZIP of other files, and not a checkpoint itself, which PyTorch saves as a ZIP too."""
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            return False
    return not any(name.endswith(("data.pkl", "constants.pkl")) for name in archived_names(path))


def _is_text(head: bytes) -> bool:
    try:
        return head.decode().isprintable() or (b"\n" in head and b"\0" not in head)
    except UnicodeDecodeError:
        return False


def state_dicts_in(loaded: Any, where: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, StateDict]]:
    """Find every state dict in what a file holds, as (place, tensors); averaged weights ("ema") come first.

    A network that was saved whole is as good as its state dict, and arrays as good as tensors.
    seen: identities of the dictionaries that were looked into: each is once, as one may hold itself. Nor is one looked
    into that lies deeper than in any checkpoint.
    """
    seen = set() if seen is None else seen
    if isinstance(loaded, _Inert):
        tensors = dict(_tensors_of(loaded))
        if tensors:
            yield where, tensors
        return
    if not isinstance(loaded, Mapping) or id(loaded) in seen or where.count("/") > DEEPEST:
        return
    seen.add(id(loaded))
    found = {str(name): tensor for name, value in loaded.items() if (tensor := _as_tensor(value)) is not None}
    if found:
        yield where, found
    for key in sorted((k for k in loaded if isinstance(k, str)), key=lambda k: ("ema" not in k, k)):
        yield from state_dicts_in(loaded[key], f"{where}/{key}" if where else key, seen)


def _tensors_of(network: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the names and tensors of a network that was saved whole."""
    state = network.state if isinstance(network, _Inert) and isinstance(network.state, Mapping) else {}
    if prefix.count(".") > DEEPEST:  # it may hold itself
        return
    for kind in ("_parameters", "_buffers"):
        for name, value in (state.get(kind) or {}).items():
            if isinstance(value, Tensor):
                yield f"{prefix}{name}", value
    for name, inside in (state.get("_modules") or {}).items():
        yield from _tensors_of(inside, f"{prefix}{name}.")


def _as_tensor(value: Any) -> Tensor | None:
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return torch.from_numpy(value.copy())
    return value if isinstance(value, Tensor) else None
