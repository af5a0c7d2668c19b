# SPDX-License-Identifier: GPL-3.0-or-later
"""PNG files of pictures that are alike but for a part of them, of which only that part is compressed each time.

A PNG's pixels are one zlib stream (RFC 1950) in any number of chunks. With a filter within each row (Sub), and where
the compressor is flushed fully before and after what varies, the rest compresses to the same bytes whatever the part
shows. What varies are the part's rows; where rows are long, the part's columns of them. The filter and the strategy
are those that OpenCV takes for its PNGs; but the columns of a face hold no runs of one value, which are not looked for.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint8] | NDArray[np.uint16]
Bytes: TypeAlias = NDArray[np.uint8]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ZLIB_HEADER = b"\x78\x01"  # deflate with a window of 32 KiB, fastest
_COLOUR_TYPES = {3: 2, 4: 6}  # by channels: RGB, RGBA
_SUB = 1  # the filter: each byte less that of the pixel to the left
_ADLER = 65521  # the checksum's modulus
# Bytes of a row beside the part from which on the part's columns are compressed by themselves. Each row begins twice
# anew then, which takes some 40 bytes of a render's: 4 % more at this limit, and fewer than before in long rows.
_WORTH_CUTTING = 1024


class PartialPng:
    """Encodes a picture [H, W, 3 or 4] of 8 or 16 bits RGB(A), of which a part of always the same place varies."""

    def __init__(self, codes: Codes, left: int, top: int, size: tuple[int, int]) -> None:
        """Take the picture, where the part begins, and its (width, height), px."""
        (height, width, channels), right, bottom = codes.shape, left + size[0], top + size[1]
        pixel = channels * codes.itemsize
        stride = 1 + width * pixel
        self._cut = (width - size[0]) * pixel > _WORTH_CUTTING
        # The pixel after the part is stored as its difference to the part's last, which is so to the one before it.
        first, last = (max(0, left - 1), min(width, right + 1)) if self._cut else (0, width)
        self._around = codes[top:bottom, first:last].copy()
        self._place = slice(left - first, right - first)
        self._skipped = 1 + (left - first) * pixel
        if self._cut:
            runs = [(y * stride + 1 + left * pixel, y * stride + 1 + last * pixel) for y in range(top, bottom)]
        else:
            runs = [(top * stride, bottom * stride)]
        bytes_ = _filtered(codes).ravel()
        starts, ends = zip((0, 0), *runs, (len(bytes_), 0), strict=True)
        still = [bytes_[end:start] for end, start in zip(ends[:-1], starts[1:], strict=True)]
        self._sums = _sums(still)
        before, *self._between = _compressed(still[:-1])
        header = struct.pack(">II5B", width, height, 8 * codes.itemsize, _COLOUR_TYPES[channels], 0, 0, 0)
        self._begin = _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", _ZLIB_HEADER + before)
        self._end = _chunk(b"IDAT", _compressed(still[-1:], zlib.Z_FINISH)[0])

    def encode(self, part: Codes) -> bytes:
        """Return the file's bytes of the picture with this part [h, w, 3 or 4] in its place."""
        codes = self._around.copy()
        codes[:, self._place] = part
        rows = _filtered(codes)
        changed = [row[self._skipped :] for row in rows] if self._cut else [rows.ravel()]
        strategy = zlib.Z_HUFFMAN_ONLY if self._cut else zlib.Z_RLE
        data = b"".join(_alternating(_compressed(changed, strategy=strategy), self._between))
        sums = _joined(_alternating(self._sums, _sums(changed)))
        tail = _chunk(b"IDAT", struct.pack(">I", sums)) + _chunk(b"IEND", b"")
        return b"".join([self._begin, _chunk(b"IDAT", data), self._end, tail])


def _filtered(codes: Codes) -> Bytes:
    """Return rows [h, W, C] as the filter leaves them, [h, 1 + bytes of a row]: each begins with its code."""
    stored: NDArray[Any] = np.ascontiguousarray(codes, codes.dtype.newbyteorder(">"))
    height, width, channels = codes.shape
    pixel = channels * codes.itemsize
    rows = stored.view(np.uint8).reshape(height, width * pixel)
    result = np.empty((height, 1 + width * pixel), np.uint8)
    result[:, 0] = _SUB
    result[:, 1 : 1 + pixel] = rows[:, :pixel]
    np.subtract(rows[:, pixel:], rows[:, :-pixel], out=result[:, 1 + pixel :])
    return result


def _compressed(pieces: Iterable[Bytes], end: int = zlib.Z_FULL_FLUSH, strategy: int = zlib.Z_RLE) -> list[bytes]:
    """Compress pieces, so that any others can come before each and, unless the `end` is the stream's, after it."""
    compressor = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, strategy)
    return [compressor.compress(piece.data) + compressor.flush(end) for piece in pieces]


def _sums(pieces: Iterable[Bytes]) -> list[tuple[int, int]]:
    """Return the checksum of each piece, and how many bytes it has."""
    return [(zlib.adler32(piece.data), piece.size) for piece in pieces]


def _joined(sums: Iterable[tuple[int, int]]) -> int:
    """Return the checksum of pieces one after another: the sum of the bytes, and the sum of that after each byte."""
    low, high = 1, 0
    for checksum, size in sums:
        high = (high + (checksum >> 16) + size * (low - 1)) % _ADLER
        low = (low + (checksum & 0xFFFF) - 1) % _ADLER
    return high << 16 | low


def _alternating(ones: Sequence[Any], others: Sequence[Any]) -> list[Any]:
    """Return what two sequences hold in turn, of which the first has one more."""
    return [*chain.from_iterable(zip(ones, others, strict=False)), ones[-1]]


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))
