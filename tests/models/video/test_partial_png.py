# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures that differ in a part are whole PNG files, as any other encoder's."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest

from magplus.models.video import partial_png
from magplus.models.video.partial_png import PartialPng
from magplus.models.video.writer import encode_codes

HEIGHT, WIDTH = 37, 53


def picture(dtype: type, channels: int, seed: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    """Return noise, a half of it even, as a render before a background is."""
    codes = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (*size, channels), dtype, endpoint=True)
    codes[:, : size[1] // 2] = 7
    return codes


def decoded(png: bytes) -> np.ndarray:
    codes = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    return cv2.cvtColor(codes, cv2.COLOR_BGRA2RGBA if codes.shape[2] == 4 else cv2.COLOR_BGR2RGB)


def chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    """Return names and contents; fails where a checksum is another."""
    found, at = [], 8
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        name, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", png, at + 8 + length) == (zlib.crc32(name + data),)
        found.append((name, data))
        at += 12 + length
    return found


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize(
    ("left", "top", "width", "height"),
    [(10, 8, 20, 15), (0, 0, 20, 15), (33, 22, 20, 15), (0, 0, WIDTH, HEIGHT), (5, 0, 1, 1), (52, 36, 1, 1)],
)
@pytest.mark.parametrize("cut", [False, True])
def test_every_pixel_comes_back_wherever_the_part_lies(monkeypatch, dtype, channels, left, top, width, height, cut):
    """Whether its rows are compressed each time, or its columns of them, as where rows are long."""
    monkeypatch.setattr(partial_png, "_WORTH_CUTTING", -1 if cut else 10**6)
    still = picture(dtype, channels, seed=0)
    encoder = PartialPng(still, left, top, (width, height))
    for seed in (1, 2):
        part = picture(dtype, channels, seed, (height, width))
        expected = still.copy()
        expected[top : top + height, left : left + width] = part
        png = encoder.encode(part)
        assert (decoded(png) == expected).all()
        assert decoded(png).dtype == dtype


@pytest.mark.parametrize("top", [0, 8, 22])
@pytest.mark.parametrize("cut", [False, True])
def test_the_file_is_whole_to_a_strict_reader(monkeypatch, top, cut):
    monkeypatch.setattr(partial_png, "_WORTH_CUTTING", -1 if cut else 10**6)
    png = PartialPng(picture(np.uint8, 4, seed=0), 3, top, (20, 15)).encode(picture(np.uint8, 4, 1, (15, 20)))
    found = chunks(png)
    assert [found[0][0], found[-1][0]] == [b"IHDR", b"IEND"]
    stream = zlib.decompressobj()
    content = stream.decompress(b"".join(data for name, data in found if name == b"IDAT"))  # checks Adler-32
    assert stream.eof and not stream.unused_data
    assert len(content) == HEIGHT * (1 + 4 * WIDTH)


@pytest.mark.parametrize(("width", "more"), [(640, 1.02), (1920, 1.1)])
def test_the_file_is_about_as_small_as_other_encoders_make_it(width, more):
    still = picture(np.uint8, 4, 0, (400, width))
    png = PartialPng(still, 200, 100, (400, 200)).encode(still[100:300, 200:600])
    assert len(png) < more * len(encode_codes(still))


def test_a_picture_of_which_no_part_varies_is_whole():
    still = picture(np.uint8, 4, seed=0)
    assert (decoded(PartialPng(still, 0, 0, (0, 0)).encode(still[:0, :0])) == still).all()


def test_what_is_given_is_not_written_to_and_not_kept():
    still, part = picture(np.uint8, 3, 0), picture(np.uint8, 3, 1, (15, 20))
    encoder = PartialPng(still, 10, 8, (20, 15))
    before, copies = encoder.encode(part), (still.copy(), part.copy())
    assert (still == copies[0]).all() and (part == copies[1]).all()
    still[:] = 0
    assert encoder.encode(part) == before
