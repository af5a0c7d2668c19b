# SPDX-License-Identifier: GPL-3.0-or-later
"""How large plates are, by their first bytes: known before anything is captured, without a library for EXR."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

from ..files.disk import explained
from ..files.errors import InputError
from ..files.plain import open_plain
from .shot import plate_of

_PNG, _EXR = b"\x89PNG\r\n\x1a\n", b"\x76\x2f\x31\x01"
_MOST = 1 << 16  # bytes that are looked at; an EXR's header may go on beyond them, with previews and metadata


def check_sizes(plates: str, numbers: range, size: tuple[int, int]) -> None:
    """Raise `InputError` for a plate that is known to be of another size than (width, height) px."""
    for path in (plate_of(plates, number) for number in numbers):
        if (found := plate_size(path)) is not None and found != size:
            raise InputError(
                f"{path.name} is {found[0]} x {found[1]} px large, but the scene renders {size[0]} x {size[1]} px; set "
                "the scene's resolution to the plates', and capture the shot again."
            )


def plate_size(path: Path) -> tuple[int, int] | None:
    """Return the (width, height) px of a PNG or of an EXR's display window; None where the first bytes don't say.

    Raises `MagPlusError` for a file that can't be read.
    """
    with explained(path, reading=True), os.fdopen(open_plain(path), "rb") as file:
        start = file.read(_MOST)
    if start.startswith(_PNG) and len(start) >= 24:
        width, height = struct.unpack(">II", start[16:24])
        return width, height
    for name, value in _exr_attributes(start):
        if name == b"displayWindow" and len(value) == 16:
            left, top, right, bottom = struct.unpack("<4i", value)
            return right - left + 1, bottom - top + 1
    return None


def _exr_attributes(start: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Give names and values of the first part's header, as far as it is there."""
    at = 8 if start.startswith(_EXR) else len(start)  # after the version
    while (parts := start[at : at + 600].split(b"\0", 2)) and len(parts) == 3 and parts[0]:
        name, kind, _ = parts
        at += len(name) + len(kind) + 2
        length = int.from_bytes(start[at : at + 4], "little")
        yield name, start[at + 4 : at + 4 + length]
        at += 4 + length
