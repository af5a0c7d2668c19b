# SPDX-License-Identifier: GPL-3.0-or-later
"""A camera's timecode is where our own recordings begin."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from magplus.models.video.timecode import start_timecode


def write(path: Path, rate: Fraction, timecode: str | None) -> Path:
    options = {} if timecode is None else {"timecode": timecode}
    with av.open(str(path), "w") as container:
        container.metadata.update(options)
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width = stream.height = 32
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("rate", "timecode", "seconds"),
    [
        (Fraction(24), "01:00:12:07", 3612 + Fraction(7, 24)),
        (Fraction(24000, 1001), "10:00:00:12", 36000 + Fraction(1, 2)),
        (Fraction(30000, 1001), "00:01:00;02", 60 + Fraction(2, 30)),
        (Fraction(25), None, None),
    ],
)
def test_the_timecode_of_the_first_frame(
    tmp_path: Path, rate: Fraction, timecode: str | None, seconds: Fraction | None
) -> None:
    assert start_timecode(write(tmp_path / "take 1:2 表情.mov", rate, timecode)) == seconds


def test_what_has_none(tmp_path: Path) -> None:
    (tmp_path / "no video.mp4").write_text("text")
    assert start_timecode(tmp_path / "no video.mp4") is None
    assert start_timecode(tmp_path) is None
