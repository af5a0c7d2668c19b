# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job may set of a backend: a frozen dataclass of each backend's own, filled from `backend_options`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ...backend_bridge.files.errors import InputError
from ...backend_bridge.files.hashing import hash_file
from ...backend_bridge.files.plain import plain_path
from ...backend_bridge.files.typed_json import quoted


@dataclass(frozen=True)
class NoOptions:
    """A backend that leaves nothing to set."""


def file_option() -> Any:
    """Declare an option that names a file, or none: in a job, a path relative to the job folder or absolute."""
    return field(default=None, metadata={"file": True})


def files_option() -> Any:
    """Declare an option that names any number of files."""
    return field(default=(), metadata={"file": True})


def speed_option(default: Any) -> Any:
    """Declare an option that decides how a frame is computed, and not what it shows."""
    return field(default=default, metadata={"speed": True})


def parse_options(kind: type, given: Mapping[str, Any], *, title: str) -> Any:
    """Return the options dataclass `kind` filled from a job's `backend_options`.

    Raises `InputError` for a name it does not have or a value of another type, which would otherwise be taken for
    true or fail far from here.
    """
    types = get_type_hints(kind)
    for name, value in given.items():
        if name not in types:
            known = ", ".join(types)
            raise InputError(
                f"{title} has no option {name[:40]!r}; its options are {known}."
                if known
                else f"{title} has no options."
            )
        if not _fits(value, types[name]):
            raise InputError(f"{title}'s option {name} must be {_named(types[name])}, not {quoted(value, 80)}.")
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})


def option_files(options: Any) -> dict[str, list[Path]]:
    """Return the files that options name, by option."""
    named = {each.name: getattr(options, each.name) for each in fields(options) if each.metadata.get("file")}
    return {
        name: [Path(path) for path in ([value] if isinstance(value, str) else value)]
        for name, value in named.items()
        if value
    }


def content_of(options: Any) -> dict[str, Any]:
    """Return what of the options can change a frame, by option: hashes of files in place of their paths."""
    shown = [each.name for each in fields(options) if not each.metadata.get("speed")]
    files = {name: [hash_file(path) for path in paths] for name, paths in option_files(options).items()}
    return {name: files.get(name, getattr(options, name)) for name in shown}


def with_files_in(options: Any, folder: Path, *, title: str) -> Any:
    """Return options whose relative paths are resolved against `folder`; `InputError` for a file that is missing."""
    resolved: dict[str, str | tuple[str, ...]] = {}
    for name, paths in option_files(options).items():
        absolute = [plain_path(folder, path) for path in paths]
        for path in absolute:
            if not path.is_file():
                raise InputError(f"{title}'s option {name} names {path}, and there is no such file.")
        single = isinstance(getattr(options, name), str)
        resolved[name] = str(absolute[0]) if single else tuple(map(str, absolute))
    return replace(options, **resolved)


def _fits(value: Any, kind: Any) -> bool:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in arguments)
    if origin is UnionType:
        return any(_fits(value, each) for each in arguments)
    if origin is tuple:  # of any number of one type
        return isinstance(value, list | tuple) and all(_fits(each, arguments[0]) for each in value)
    if kind is float:
        return type(value) in (int, float)
    return value is None if kind is type(None) else type(value) is kind


def _named(kind: Any) -> str:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin is tuple:
        return "a list of file names"
    if origin is UnionType:
        return f"{_named(arguments[0])} or null"  # the only union in use
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    return names.get(kind, kind.__name__)
