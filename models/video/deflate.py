# SPDX-License-Identifier: GPL-3.0-or-later
"""Deflate (RFC 1951) by one Huffman code for many pictures that are alike: of bytes, and of runs of the same byte.

zlib makes a code anew for each piece that it is given, and takes some 20 ns a byte to do so. With a code that is made
once, a piece's bits are the same wherever they come to lie, and 2 to 3 ns a byte are left.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Bytes: TypeAlias = NDArray[np.uint8]

LONGEST = 258  # bytes of a run
TOKENS = 256 + LONGEST + 1  # the bytes, then runs by their length, of which the shortest has 3
_SYMBOLS, _END = 286, 256  # of the format: bytes, the end, and classes of lengths
_LIMIT = 15  # bits of a symbol
_HEADER = (
    [(1, 1), (2, 2)]  # the last block, with a code of its own
    + [(_SYMBOLS - 257, 5), (0, 5), (15, 4)]  # so many symbols, one distance, and 19 lengths of the code for lengths
    + [(0, 3)] * 3  # that has no repeats,
    + [(4, 3)] * 16  # and 4 bits for each length
)


@dataclass(frozen=True)
class RunCode:
    """A code for bytes and for runs: `codes` [TOKENS] of `bits` [TOKENS] each, the first bit lowest.

    A run's code has its class, what it has more than the shortest of that, and the distance, one byte. begin, end: the
    bits before and after all.
    """

    codes: NDArray[np.uint32]
    bits: NDArray[np.uint8]
    begin: Bits
    end: Bits

    @classmethod
    def of(cls, pieces: Iterable[Bytes]) -> RunCode:
        """Make the code for what is like these pieces; it has a code for whatever may come.

        >>> import zlib
        >>> still = np.zeros(1000, np.uint8)
        >>> code = RunCode.of([still])
        >>> between = Between.of([code.begin + code.bits_of(still), code.end])
        >>> stream = between.written(code, np.array([[1, 2, 3]], np.uint8))
        >>> len(stream) < 200, zlib.decompress(stream, -15) == still.tobytes() + bytes([1, 2, 3])
        (True, True)
        """
        from ..loops import count_tokens

        counts = np.zeros(TOKENS, np.int64)
        for piece in pieces:
            count_tokens(piece, counts)
        often = np.ones(_SYMBOLS, np.int64)
        np.add.at(often, [_symbol(token)[0] for token in range(TOKENS)], counts)
        lengths = _code_lengths(often)
        symbols = _canonical(lengths)
        codes, bits = np.zeros(TOKENS, np.uint32), np.zeros(TOKENS, np.uint8)
        for token in (*range(256), *range(256 + 3, TOKENS)):
            symbol, more, extra = _symbol(token)
            codes[token] = symbols[symbol] | more << lengths[symbol]
            bits[token] = lengths[symbol] + extra + (token >= 256)  # a distance of one bit, 0
        told = [(_turned(length, 4), 4) for length in (*lengths, 1)]
        return cls(codes, bits, Bits.of([*_HEADER, *told]), Bits.of([(symbols[_END], lengths[_END])]))

    def bits_of(self, piece: Bytes) -> Bits:
        """Return a piece's bits, which are the same wherever they come."""
        from ..loops import write_tokens

        words = np.zeros(piece.size * int(self.bits.max()) // 32 + 2, np.uint32)
        return Bits(words, int(write_tokens(piece, self.codes, self.bits, words, 0)))


@dataclass(frozen=True)
class Bits:
    """The first `count` bits of words, the lowest of each word first."""

    words: NDArray[np.uint32]
    count: int

    @classmethod
    def of(cls, values: Iterable[tuple[int, int]]) -> Bits:
        """Take values of so many bits each."""
        whole = count = 0
        for value, size in values:
            whole |= value << count
            count += size
        return cls(np.frombuffer(whole.to_bytes(4 * (count // 32 + 1), "little"), "<u4").astype(np.uint32), count)

    def __add__(self, other: Bits) -> Bits:
        """Return these bits and then others."""
        one, two = (int.from_bytes(each.words.astype("<u4").tobytes(), "little") for each in (self, other))
        return Bits.of([(one, self.count), (two, other.count)])


@dataclass(frozen=True)
class Between:
    """Pieces of bits, `counts` [R + 1], in the same words, each from its word of `starts` on."""

    words: NDArray[np.uint32]
    starts: NDArray[np.int64]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, pieces: list[Bits]) -> Between:
        """Lay pieces one after another."""
        words = [piece.words[: piece.count // 32 + 1] for piece in pieces]
        starts = np.cumsum([0, *map(len, words)])[:-1]
        return cls(np.concatenate(words), starts, np.array([piece.count for piece in pieces], np.int64))

    def written(self, code: RunCode, rows: NDArray[np.uint8]) -> bytes:
        """Return the stream of rows [R, W] with these pieces before, between and after them."""
        from ..loops import interleave

        words = np.empty(len(self.words) + rows.size * int(code.bits[:256].max()) // 32 + 2, np.uint32)
        count = interleave(rows, code.codes, code.bits, self.words, self.starts, self.counts, words)
        return words[: count // 32 + 1].astype("<u4", copy=False).tobytes()[: (count + 7) // 8]


def _symbol(token: int) -> tuple[int, int, int]:
    """Return the format's symbol of a token, and what follows it in how many bits."""
    length = token - 256
    if length < 3:  # a byte; there are no such runs
        return min(token, 255), 0, 0
    if length == LONGEST:
        return _SYMBOLS - 1, 0, 0
    size = max(0, (length - 3).bit_length() - 3)
    return 257 + 4 * size + (length - 3 >> size), length - 3 & (1 << size) - 1, size


def _code_lengths(often: NDArray[np.int64]) -> list[int]:
    """Return how many bits each symbol gets by Huffman's method, `_LIMIT` at most."""
    while True:
        lengths = [0] * len(often)
        heap = [(int(count), [symbol]) for symbol, count in enumerate(often)]
        heapq.heapify(heap)
        while len(heap) > 1:
            (one, left), (other, right) = heapq.heappop(heap), heapq.heappop(heap)
            for symbol in left + right:
                lengths[symbol] += 1
            heapq.heappush(heap, (one + other, left + right))
        if max(lengths) <= _LIMIT:
            return lengths
        often = (often + 1) // 2  # rare ones count for more than they are


def _canonical(lengths: list[int]) -> list[int]:
    """Return the symbols' codes, as the format orders them: by their lengths, then by the symbols."""
    codes, code, before = [0] * len(lengths), 0, 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(lengths)):
        code <<= length - before
        codes[symbol], before = _turned(code, length), length
        code += 1
    return codes


def _turned(code: int, length: int) -> int:
    """Return a code with its first bit lowest."""
    return int(f"{code:0{length}b}"[::-1], 2)
