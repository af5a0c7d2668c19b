# SPDX-License-Identifier: GPL-3.0-or-later
"""How large a picture may be, by its file's header: nothing larger is decoded.

A few hundred bytes can announce a picture of gigabytes. The headers are those of the formats' specifications: PNG
(ISO/IEC 15948), JPEG (ITU-T T.81), TIFF 6.0 and BigTIFF, BMP, WebP (RFC 9649), OpenEXR, Radiance HDR and Netpbm.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from ...backend_bridge.files.errors import InputError

LONGEST_SIDE = 16384  # px
MOST_PIXELS = 2**26  # 8192 x 8192; a frame of it takes 0.8 GB
LARGEST_FILE = 2**30  # bytes of one picture
MOST_IN_MEMORY = 2**30  # px of all frames of an animation together, which are held at once; they take 3 GB
MOST_PAGES = 10_000
_MOST_PARTS = 1_000_000  # chunks, segments, attributes that are looked through; a picture of 1 GB has a tenth of it
_MOST_ENTRIES = 512  # of a page of a TIFF
_PNG, _MOVES = b"\x89PNG\r\n\x1a\n", (b"acTL", b"fcTL", b"fdAT")
_NO_FILL = re.compile(rb"[^\xff]")
_START_OF_FRAME = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_STANDALONE = frozenset({0x01, *range(0xD0, 0xDA)})

Size = tuple[int, int]


def check_size(width: int, height: int, name: str) -> None:
    """Raise `InputError` for a picture or a video of more px than is read."""
    if max(width, height) > LONGEST_SIDE or width * height > MOST_PIXELS:
        raise InputError(
            f"{name} is {width} x {height} px large; MagPlus reads up to {MOST_PIXELS // 10**6} megapixels and "
            f"{LONGEST_SIDE} px a side, so make it smaller first."
        )


def decode_picture(encoded: bytes, flags: int, name: str) -> NDArray[np.generic] | None:
    """Return what OpenCV decodes of a picture file, or None for what is none.

    Raises `InputError` for one that is too large to decode, by its header.
    """
    size = picture_size(encoded)
    if size is None:
        return None
    check_size(*size, name)
    still = still_png(encoded) if encoded.startswith(_PNG) else encoded
    if still is None:
        return None
    try:
        return cv2.imdecode(np.frombuffer(still, np.uint8), flags)
    except (cv2.error, MemoryError):
        return None


def check_animation(sizes: Sequence[Size], name: str) -> None:
    """Raise `InputError` for an animation with a frame that is too large, or with more of them than memory holds."""
    for size in set(sizes):
        check_size(*size, name)
    if len(sizes) >= MOST_PAGES:
        raise InputError(f"{name} has more than {MOST_PAGES} frames; save it as a video or as a picture a frame.")
    pixels = sum(width * height for width, height in sizes)
    if pixels > MOST_IN_MEMORY:
        raise InputError(
            f"{name} has {len(sizes)} frames of {pixels // 10**6} megapixels in all; MagPlus reads up to "
            f"{MOST_IN_MEMORY // 10**6}, so save it as a video or as a picture a frame."
        )


def still_png(encoded: bytes) -> bytes | None:
    """Return a PNG without what makes it move, None for one that is cut short.

    OpenCV doesn't check that an animation's frames lie within the picture, and writes beyond its memory where they
    don't.
    """
    kept, at = [encoded[:8]], 8
    for _ in range(_MOST_PARTS):
        if at >= len(encoded):
            break
        if at + 12 > len(encoded):
            return None
        length, kind = struct.unpack_from(">I4s", encoded, at)
        end = at + 12 + length
        if end > len(encoded):
            return None
        if kind not in _MOVES:
            kept.append(encoded[at:end])
        if kind == b"IEND":
            return b"".join(kept)
        at = end
    return None


def read_file(path: Path) -> bytes:
    """Return the bytes of a picture file. Raises `InputError` for one that is too large or no file, and `OSError`."""
    if path.exists() and not path.is_file():  # a pipe would be waited for, and /dev/zero has no end
        raise InputError(f"{path} is no file; choose a picture.")
    with path.open("rb") as file:
        encoded = file.read(LARGEST_FILE + 1)
    if len(encoded) > LARGEST_FILE:
        raise InputError(f"{path.name} is larger than {LARGEST_FILE >> 30} GB, which no picture is; choose another.")
    return encoded


def picture_size(encoded: bytes) -> Size | None:
    """Return (width, height) px by the header of a picture file, or None where it is of no format we know."""
    for magic, parse in _FORMATS:
        if re.match(magic, encoded, re.DOTALL):
            try:
                return parse(encoded)
            except (struct.error, IndexError, ValueError):
                return None
    return None


def _png(data: bytes) -> Size:
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _jpeg(data: bytes) -> Size | None:
    at = 2
    for _ in range(_MOST_PARTS):
        if at + 4 > len(data):
            break
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # fill
            found = _NO_FILL.search(data, at)
            at = found.start() - 1 if found else len(data)
        elif marker in _STANDALONE:
            at += 2
        elif marker in _START_OF_FRAME:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        else:
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return None


def tiff_sizes(data: bytes) -> list[Size]:
    """Return the size of each page of a TIFF, as far as its headers can be read."""
    if not re.match(rb"II[*+]\0|MM\0[*+]", data):
        return []
    sizes: list[Size] = []
    seen: set[int] = set()
    try:
        at = _first_directory(data)
        while at and at not in seen and len(sizes) < MOST_PAGES:
            seen.add(at)
            size, at = _tiff_page(data, at)
            sizes.append(size)
    except (struct.error, ValueError):
        pass
    return sizes


def webp_sizes(data: bytes) -> list[Size]:
    """Return the canvas's size once for each frame of an animated WebP: each is decoded onto one of its own."""
    canvas = _webp(data)
    frames, at = 0, 12
    for _ in range(_MOST_PARTS):
        if at + 8 > len(data):
            break
        frames += data[at : at + 4] == b"ANMF"
        length = struct.unpack_from("<I", data, at + 4)[0]
        at += 8 + length + (length & 1)
    return [] if canvas is None else [canvas] * frames


def _tiff(data: bytes) -> Size:
    return _tiff_page(data, _first_directory(data))[0]


def _first_directory(data: bytes) -> int:
    order, big = _tiff_form(data)
    at: int = struct.unpack_from(f"{order}Q", data, 8)[0] if big else struct.unpack_from(f"{order}I", data, 4)[0]
    return at


def _tiff_form(data: bytes) -> tuple[Literal["<", ">"], bool]:
    """Return the byte order, and whether it is a BigTIFF."""
    order: Literal["<", ">"] = "<" if data[:2] == b"II" else ">"
    return order, struct.unpack_from(f"{order}H", data, 2)[0] == 43


def _tiff_page(data: bytes, at: int) -> tuple[Size, int]:
    """Return the size of the page whose directory is at an offset, and the offset of the next one, 0 after the last."""
    order, big = _tiff_form(data)
    count = struct.unpack_from(f"{order}{'Q' if big else 'H'}", data, at)[0]
    first, length = at + (8 if big else 2), 20 if big else 12
    sizes: dict[int, int] = {}
    for entry in range(first, min(first + min(count, _MOST_ENTRIES) * length, len(data)), length):
        tag, kind = struct.unpack_from(f"{order}HH", data, entry)
        if tag in (256, 257) and tag not in sizes and kind in (3, 4, 16):  # SHORT, LONG, LONG8
            form = {3: "H", 4: "I", 16: "Q"}[kind]
            sizes[tag] = struct.unpack_from(f"{order}{form}", data, entry + (12 if big else 8))[0]
    if len(sizes) < 2:
        raise ValueError("a TIFF without a size")
    following = first + count * length
    next_at: int = 0
    if following + (8 if big else 4) <= len(data):
        next_at = struct.unpack_from(f"{order}{'Q' if big else 'I'}", data, following)[0]
    return (sizes[256], sizes[257]), next_at


def _bmp(data: bytes) -> Size:
    if struct.unpack_from("<I", data, 14)[0] == 12:
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    return abs(width), abs(height)


def _webp(data: bytes) -> Size | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _exr(data: bytes) -> Size | None:
    at = 8
    for _ in range(_MOST_PARTS):
        if at >= len(data) or not data[at]:
            break
        name_end = data.index(b"\0", at)
        kind_end = data.index(b"\0", name_end + 1)
        length = struct.unpack_from("<i", data, kind_end + 1)[0]
        if data[at:name_end] == b"dataWindow":
            left, top, right, bottom = struct.unpack_from("<iiii", data, kind_end + 5)
            return right - left + 1, bottom - top + 1
        if length < 0:
            return None
        at = kind_end + 5 + length
    return None


def _hdr(data: bytes) -> Size | None:
    found = re.search(rb"\n[-+]([XY]) +(\d{1,9}) +[-+][XY] +(\d{1,9})\s", data[: 2**16])
    if found is None:
        return None
    first, second = int(found[2]), int(found[3])
    return (second, first) if found[1] == b"Y" else (first, second)


def _netpbm(data: bytes) -> Size | None:
    found = re.match(rb"P[1-6fF](?:\s|#[^\n]*\n)+(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,9})\s", data[: 2**16])
    return None if found is None else (int(found[1]), int(found[2]))


_FORMATS: tuple[tuple[bytes, Callable[[bytes], Size | None]], ...] = (
    (rb"\x89PNG\r\n\x1a\n", _png),
    (rb"\xff\xd8\xff", _jpeg),
    (rb"II[*+]\0|MM\0[*+]", _tiff),
    (rb"BM", _bmp),
    (rb"RIFF....WEBP", _webp),
    (rb"v/1\x01", _exr),
    (rb"#\?R", _hdr),
    (rb"P[1-6fF]\s", _netpbm),
)
