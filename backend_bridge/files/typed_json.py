# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON documents whose shape is a dataclass: one encoder, one strict decoder, a version that readers check.

Everything that Blender and the worker hand to each other is such a document: the job, its report, records, journal
lines, messages. A misspelled or missing entry is an error that names it, on either side.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from .errors import InputError

Document = TypeVar("Document")
Data = dict[str, Any]
_FRACTION = re.compile(r"-?[0-9]{1,24}(/0*[1-9][0-9]{0,23})?")
_SURROGATE = re.compile("[\ud800-\udfff]")
_LARGEST = 64 * 2**20  # bytes of a document; the report of an hour of video has 5 MB
_LONGEST = 120  # characters of what a document says that are worth quoting


@dataclass(frozen=True)
class Format(Generic[Document]):
    """A kind of document.

    kind: its dataclass. name: its file's name, for sentences. noun: what it is, for sentences ("a MagPlus job").
    remedy: what a person does about one that can't be read ("run the job again"). version: the schema that is written.
    older: for each older schema that is still read, a function that turns its data into those of the next one.
    """

    kind: type[Document]
    name: str
    noun: str
    remedy: str
    version: int = 1
    older: Mapping[int, Callable[[Data], Data]] = field(default_factory=dict)

    def encode(self, document: Document) -> bytes:
        """Return the document as indented JSON. Numbers that are not finite become null: JSON has no word for them."""
        text = json.dumps({"schema": self.version, **to_data(document)}, indent=2, ensure_ascii=False, allow_nan=False)
        # What is no character has no UTF-8: the bytes of a path that is none itself (possible on Linux), half an emoji.
        return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode() + b"\n"

    def decode(self, encoded: bytes) -> Document:
        """Return the document. Raises `InputError` for damaged JSON, an unknown schema and an entry that is wrong."""
        if len(encoded) > _LARGEST:
            raise InputError(f"{self.name} is {len(encoded) >> 20} MB long, which {self.noun} never is; {self.remedy}.")
        try:
            data = json.loads(encoded.decode("utf-8", "surrogateescape"))
        except (ValueError, RecursionError) as error:
            raise InputError(f"{self.name} is damaged and can't be read ({error}); {self.remedy}.") from error
        if not isinstance(data, dict) or "schema" not in data:
            raise InputError(f"{self.name} is not {self.noun}; {self.remedy}.")
        schema = data.pop("schema")
        if type(schema) is not int or not (schema == self.version or schema in self.older):
            raise InputError(
                f"{self.name} has format {quoted(schema, 20)}, this MagPlus reads format {self.version}; "
                f"use the MagPlus version that made it, or {self.remedy}."
            )
        try:
            for version in range(schema, self.version):
                data = self.older[version](data)
            return from_data(self.kind, data)
        except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
            raise InputError(f"{self.name} has a wrong entry ({_shortened(str(error))}); {self.remedy}.") from error


def to_data(value: Any) -> Any:
    """Return a value of documents as what JSON can hold. Raises `TypeError` for anything else."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: to_data(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_data(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_data(item) for item in value]
    if hasattr(value, "tolist"):  # numpy's arrays and scalars
        return to_data(value.tolist())
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, (Fraction, Path)):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def from_data(kind: Any, data: Any, name: str = "") -> Any:
    """Return JSON data as `kind`: a dataclass, or a type of a dataclass's field. `name` is where they stand.

    Raises `ValueError` or `OverflowError` with what doesn't fit.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return data
    if origin in {UnionType, Union}:  # "X | None", the only one in use
        return None if data is None else from_data(arguments[0], data, name)
    if origin is Literal and data in arguments and isinstance(data, str):
        return data
    if isinstance(kind, type) and dataclasses.is_dataclass(kind) and isinstance(data, dict):
        return _dataclass(kind, data, name)
    if origin is dict and isinstance(data, dict):
        return {key: from_data(arguments[1], item, f"{name}{_printable(key)}.") for key, item in data.items()}
    if origin is tuple and arguments[-1] is Ellipsis and isinstance(data, list):
        return tuple(from_data(arguments[0], item, name) for item in data)
    if origin is tuple and isinstance(data, list) and len(data) == len(arguments):
        return tuple(from_data(argument, item, name) for item, argument in zip(data, arguments, strict=True))
    if kind is float and type(data) in {int, float} and math.isfinite(data):
        return float(data)
    if kind is Fraction and isinstance(data, str) and _FRACTION.fullmatch(data):
        return Fraction(data)
    if kind is float or type(data) is not kind:
        raise ValueError(f"{name.removesuffix('.')} can't be {quoted(data, 40)}")
    return data


def _dataclass(kind: Any, data: Data, name: str) -> Any:
    kinds = _types_of(kind)
    fields = [each for each in dataclasses.fields(kind) if each.init]
    required = {each.name for each in fields if each.default is each.default_factory is dataclasses.MISSING}
    for key in sorted(set(data) - {each.name for each in fields}):
        raise ValueError(f"{name + key!r} is unknown")
    for key in sorted(required - set(data)):
        raise ValueError(f"{name + key} is missing")
    return kind(**{key: from_data(kinds[key], item, f"{name}{key}.") for key, item in data.items()})


@cache
def _types_of(kind: type) -> Data:
    """Return the types of a dataclass's fields; a journal asks for the same ones once a line."""
    return get_type_hints(kind)


def quoted(data: Any, longest: int) -> str:
    """Return the beginning of JSON data, for a sentence."""
    try:
        return json.dumps(data)[:longest]
    except RecursionError:  # deeper than it could be read from here
        return "[…]"


def _printable(key: str) -> str:
    return key if key.isprintable() else repr(key)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
