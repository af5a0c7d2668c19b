# SPDX-License-Identifier: GPL-3.0-or-later
"""PNG files that are one picture but for a band of rows: what they have in common is compressed once.

A face is a part of the avatar's picture, and compressing takes longest of all that writing a frame takes. Deflated data
may be put together from parts (RFC 1951), each of which begins on a whole byte and refers to nothing before it, and so
may filtered rows where the filter looks at no other row (`Sub`, PNG 3rd edition, 9.2).
"""

from __future__ import annotations

import struct
import zlib
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Codes: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_DEFLATE = b"\x78\x01"  # zlib's header: a window of 32 kB (RFC 1950)
_SUB = 1  # the filter that looks at the pixel to the left
_COLOUR_TYPES = {3: 2, 4: 6}
_ADLER = 65521
_SAMPLED = 64  # rows by which the strategy is chosen


class BandedPng:
    """Writes pictures that differ in the rows from `top` to before `bottom`.

    codes: [H, W, 3 or 4] RGB(A) of 8 or 16 bits, the picture that they have in common.
    """

    def __init__(self, codes: Codes, top: int, bottom: int) -> None:
        height, width, channels = codes.shape
        header = struct.pack(">IIBBBBB", width, height, 8 * codes.itemsize, _COLOUR_TYPES[channels], 0, 0, 0)
        above, below = codes[:top], codes[bottom:]
        filtered = _filtered(above)
        self._strategy = _strategy(codes[top:bottom])
        first = _DEFLATE + _deflated(filtered, _strategy(above), zlib.Z_FULL_FLUSH)
        self._head = _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", first)
        rest = _filtered(below)
        self._last = _deflated(rest, _strategy(below), zlib.Z_FINISH)
        self._checksum = zlib.adler32(filtered)
        self._checksum_below, self._length_below = zlib.adler32(rest), len(rest)

    def encode(self, band: Codes) -> bytes:
        """Return the file of the picture with another `band`, [bottom - top, W, 3 or 4]."""
        rows = _filtered(band)
        checksum = _joined(zlib.adler32(rows, self._checksum), self._checksum_below, self._length_below)
        middle = _deflated(rows, self._strategy, zlib.Z_FULL_FLUSH)
        data = _chunk(b"IDAT", middle + self._last + struct.pack(">I", checksum))
        return self._head + data + _chunk(b"IEND", b"")


def _filtered(codes: Codes) -> bytes:
    """Return rows as PNG compresses them, each with its filter before it."""
    rows, width, channels = codes.shape
    big_endian = np.ascontiguousarray(codes, codes.dtype.newbyteorder(">"))
    samples = big_endian.view(np.uint8).reshape(rows, width, channels * codes.itemsize)
    filtered = np.empty((rows, 1 + samples[0].size if rows else 1), np.uint8)
    filtered[:, 0] = _SUB
    pixels = filtered[:, 1:].reshape(samples.shape) if rows else samples
    pixels[:, :1] = samples[:, :1]
    np.subtract(samples[:, 1:], samples[:, :-1], out=pixels[:, 1:])
    return filtered.tobytes()


def _strategy(band: Codes) -> int:
    """Return the strategy for a band: Huffman codes alone, the fastest, are the smallest for grain."""
    rows = _filtered(band[:: max(1, len(band) // _SAMPLED)])
    alone, runs = (len(_deflated(rows, each, zlib.Z_FULL_FLUSH)) for each in (zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE))
    return zlib.Z_HUFFMAN_ONLY if alone <= runs else zlib.Z_RLE


def _deflated(rows: bytes, strategy: int, end: int) -> bytes:
    compressor = zlib.compressobj(1, zlib.DEFLATED, -15, 9, strategy)
    return compressor.compress(rows) + compressor.flush(end)


def _joined(first: int, second: int, length: int) -> int:
    """Return the Adler-32 checksum of two parts from theirs and the `length` of the second."""
    a = ((first & 0xFFFF) + (second & 0xFFFF) - 1) % _ADLER
    b = ((first >> 16) + (second >> 16) + length * ((first & 0xFFFF) - 1)) % _ADLER
    return b << 16 | a


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
