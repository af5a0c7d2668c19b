# SPDX-License-Identifier: GPL-3.0-or-later
"""PNG files of pictures that are alike but for a part of them, of which only that part's rows are compressed each time.

A PNG's pixels are one zlib stream (RFC 1950) in any number of chunks. With a filter within each row (Sub), and where
the compressor is flushed fully before and after the part's rows, the rows above and below compress to the same bytes
whatever the part shows. The filter and the strategy are those that OpenCV takes for its PNGs.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint8] | NDArray[np.uint16]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ZLIB_HEADER = b"\x78\x01"  # deflate with a window of 32 KiB, fastest
_COLOUR_TYPES = {3: 2, 4: 6}  # by channels: RGB, RGBA
_SUB = 1  # the filter: each byte less that of the pixel to the left
_ADLER = 65521  # the checksum's modulus


class PartialPng:
    """Encodes a picture [H, W, 3 or 4] of 8 or 16 bits RGB(A), of which a part of always the same place varies."""

    def __init__(self, codes: Codes, left: int, top: int, height: int) -> None:
        """Take the picture, and where the part begins and how many rows it has."""
        bottom = top + height
        self._left = left
        self._rows = codes[top:bottom].copy()
        self._above = _Segment.of(codes[:top])
        self._below = _Segment.of(codes[bottom:], last=True)
        size = struct.pack(">II", codes.shape[1], codes.shape[0])
        kind = (8 * codes.itemsize, _COLOUR_TYPES[codes.shape[2]], 0, 0, 0)
        self._begin = (
            _SIGNATURE + _chunk(b"IHDR", size + bytes(kind)) + _chunk(b"IDAT", _ZLIB_HEADER + self._above.data)
        )
        self._end = _chunk(b"IDAT", self._below.data)

    def encode(self, part: Codes) -> bytes:
        """Return the file's bytes of the picture with this part [h, w, 3 or 4] in its place."""
        rows = self._rows.copy()
        rows[:, self._left : self._left + part.shape[1]] = part
        changed = _Segment.of(rows)
        checksum = _joined(_joined(self._above, changed), self._below).adler
        tail = _chunk(b"IDAT", struct.pack(">I", checksum)) + _chunk(b"IEND", b"")
        return b"".join([self._begin, _chunk(b"IDAT", changed.data), self._end, tail])


@dataclass(frozen=True)
class _Segment:
    """Some rows: their part of the stream, and the checksum and the number of the bytes that it holds."""

    data: bytes
    adler: int
    length: int

    @classmethod
    def of(cls, codes: Codes, last: bool = False) -> _Segment:
        """Filter and compress rows [h, W, C], so that any others can come before and, unless `last`, after them."""
        filtered = _filtered(codes)
        compressor = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_RLE)
        data = compressor.compress(filtered.data) + compressor.flush(zlib.Z_FINISH if last else zlib.Z_FULL_FLUSH)
        return cls(data, zlib.adler32(filtered.data), filtered.size)


def _filtered(codes: Codes) -> NDArray[np.uint8]:
    """Return rows [h, W, C] as the filter leaves them, [h, 1 + bytes of a row]: each begins with its code."""
    stored: NDArray[Any] = np.ascontiguousarray(codes, codes.dtype.newbyteorder(">"))
    height, width, channels = codes.shape
    step = channels * codes.itemsize
    rows = stored.view(np.uint8).reshape(height, width * step)
    result = np.empty((height, 1 + width * step), np.uint8)
    result[:, 0] = _SUB
    result[:, 1 : 1 + step] = rows[:, :step]
    np.subtract(rows[:, step:], rows[:, :-step], out=result[:, 1 + step :])
    return result


def _joined(first: _Segment, second: _Segment) -> _Segment:
    """Return the checksum of one after the other: the sum of the bytes, and the sum of that after each byte."""
    (high, low), (high_after, low_after) = divmod(first.adler, 1 << 16), divmod(second.adler, 1 << 16)
    low_sum = (low + low_after - 1) % _ADLER
    high_sum = (high + high_after + second.length * (low - 1)) % _ADLER
    return _Segment(b"", high_sum << 16 | low_sum, first.length + second.length)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))
