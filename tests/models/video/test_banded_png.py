# SPDX-License-Identifier: GPL-3.0-or-later
"""PNG files that share all but a band of rows."""

import io
import struct
import zlib

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from magplus.models.video.banded_png import BandedPng


def decoded_by_opencv(png, depth, channels):
    pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA if channels == 4 else cv2.COLOR_BGR2RGB)


def decoded_by_ffmpeg(png, depth, channels):
    kind = {(8, 3): "rgb24", (8, 4): "rgba", (16, 3): "rgb48be", (16, 4): "rgba64be"}[depth, channels]
    with av.open(io.BytesIO(png), format="png_pipe") as container:
        [frame] = container.decode(video=0)
    assert frame.format.name == kind
    plane, size = frame.planes[0], (frame.height, frame.width, channels)
    rows = np.frombuffer(plane, np.uint8).reshape(frame.height, plane.line_size)
    row = frame.width * channels * depth // 8
    return np.ascontiguousarray(rows[:, :row]).view(np.uint8 if depth == 8 else ">u2").reshape(size)


def decoded_by_pillow(png, depth, channels):
    """What Pillow reads, which refuses a wrong checksum; it has 8 bits of each sample."""
    with Image.open(io.BytesIO(png)) as image:
        image.verify()
    with Image.open(io.BytesIO(png)) as image:
        assert (image.mode, image.info) == ("RGBA" if channels == 4 else "RGB", {})  # no profile, no interlacing
        return np.asarray(image)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    channels=st.sampled_from([3, 4]),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    flat=st.booleans(),
    share=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_each_file_is_the_picture_with_another_band_to_every_decoder(seed, size, channels, dtype, flat, share):
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 2 if flat else np.iinfo(dtype).max, (*size, channels), dtype)
    top, bottom = sorted(round(each * size[0]) for each in share)
    png, depth = BandedPng(picture, top, bottom), 8 * picture.itemsize
    for value in (0, np.iinfo(dtype).max):
        picture[top:bottom] = value
        file = png.encode(picture[top:bottom])
        for decoded in (decoded_by_opencv, decoded_by_ffmpeg):
            assert np.array_equal(decoded(file, depth, channels), picture)
        assert np.array_equal(decoded_by_pillow(file, depth, channels), picture >> (depth - 8))
        assert zlib.decompress(data_of(file))  # which refuses a wrong Adler-32


def data_of(png):
    """The compressed data of a PNG's IDAT chunks, put together."""
    at, data = 8, b""
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        data += png[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
        at += 12 + length
    return data


@pytest.mark.parametrize("place", ["adler", "crc"])
def test_a_damaged_file_is_refused_by_the_check(place):
    picture = np.random.default_rng(0).integers(0, 255, (30, 20, 4), np.uint8)
    file = bytearray(BandedPng(picture, 10, 20).encode(picture[10:20]))
    if place == "adler":
        with pytest.raises(zlib.error):
            zlib.decompress(data_of(bytes(file))[:-1] + b"?")
    else:
        file[-13] ^= 1  # the last IDAT's CRC
        with pytest.raises((OSError, SyntaxError)):
            decoded_by_pillow(bytes(file), 8, 4)
