# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written by one code for many pictures is deflate, which any reader of it reads."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from magplus.models.video.deflate import Between, RunCode


def runs(seed: int, longest: int) -> np.ndarray:
    """Return bytes in runs of all lengths."""
    random = np.random.default_rng(seed)
    lengths = random.permutation(np.arange(longest + 1))
    return np.repeat(random.integers(0, 256, len(lengths)).astype(np.uint8), lengths)


@pytest.mark.parametrize("known", ["nothing", "one byte", "runs"])
def test_any_bytes_come_back_however_unlike_what_the_code_was_made_for(known):
    pieces = {"nothing": [], "one byte": [np.full(10**6, 3, np.uint8)], "runs": [runs(0, 300)]}[known]
    code = RunCode.of(pieces)
    content = runs(1, 600)
    rows = content[: len(content) // 7 * 7].reshape(7, -1)
    still = [content[:0], content[:1], *([content[: 40 * n] for n in range(1, 6)]), content]
    bits = [code.bits_of(piece) for piece in still]
    bits[0], bits[-1] = code.begin + bits[0], bits[-1] + code.end
    stream = zlib.decompressobj(-15)
    found = stream.decompress(Between.of(bits).written(code, rows))
    assert stream.eof and not stream.unused_data
    expected = [piece for pair in zip(still, [*rows, content[:0]], strict=True) for piece in pair]
    assert found == np.concatenate(expected).tobytes()
