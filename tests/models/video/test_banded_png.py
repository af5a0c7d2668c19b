# SPDX-License-Identifier: GPL-3.0-or-later
"""PNG files that share all but a band of rows."""

import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from magplus.models.video.banded_png import BandedPng


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    channels=st.sampled_from([3, 4]),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    flat=st.booleans(),
    share=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_each_file_is_the_picture_with_another_band(seed, size, channels, dtype, flat, share):
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 2 if flat else np.iinfo(dtype).max, (*size, channels), dtype)
    top, bottom = sorted(round(each * size[0]) for each in share)
    png = BandedPng(picture, top, bottom)
    for value in (0, np.iinfo(dtype).max):
        picture[top:bottom] = value
        decoded = cv2.imdecode(np.frombuffer(png.encode(picture[top:bottom]), np.uint8), cv2.IMREAD_UNCHANGED)
        order = cv2.COLOR_BGRA2RGBA if channels == 4 else cv2.COLOR_BGR2RGB
        assert np.array_equal(cv2.cvtColor(decoded, order), picture)


@pytest.mark.parametrize("band", [(0, 30), (10, 20), (30, 30)])
def test_every_checksum_is_right(band):
    picture = np.random.default_rng(0).integers(0, 255, (30, 20, 4), np.uint8)
    with Image.open(io.BytesIO(BandedPng(picture, *band).encode(picture[slice(*band)]))) as image:
        image.load()  # which, unlike OpenCV, takes no wrong one
        assert np.array_equal(np.asarray(image), picture)
