# SPDX-License-Identifier: GPL-3.0-or-later
"""The one thing Blender can't be told to leave out of a PNG."""

from __future__ import annotations

from pathlib import Path

_SIGNATURE_SIZE = 8  # bytes
_KEPT = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"sRGB", b"gAMA", b"cHRM", b"iCCP", b"cICP"}


def size_of(path: Path) -> tuple[int, int]:
    """Return the (width, height) of a PNG in px."""
    with path.open("rb") as file:
        header = file.read(_SIGNATURE_SIZE + 16)
    width, height = header[-8:-4], header[-4:]
    return int.from_bytes(width, "big"), int.from_bytes(height, "big")


def without_metadata(png: bytes) -> bytes:
    """Return the same picture without texts, dates and paths.

    Blender writes the hour and the render time into the file. Without them the same render gives the same bytes, which
    is what lets an unfinished job be taken up again; and a picture that is handed on tells nothing about its maker.
    """
    kept = [png[:_SIGNATURE_SIZE]]
    at = _SIGNATURE_SIZE
    while at < len(png):
        end = at + 12 + int.from_bytes(png[at : at + 4], "big")  # length, type, data, checksum
        if png[at + 4 : at + 8] in _KEPT:
            kept.append(png[at:end])
        at = end
    return b"".join(kept)
