# SPDX-License-Identifier: GPL-3.0-or-later
"""Small clips with known contents, made for the tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 64, 48


def numbered_frames(count: int, width: int = WIDTH, height: int = HEIGHT) -> list[NDArray[np.uint8]]:
    """Grey frames whose brightness tells their number (see `number_of`)."""
    return [np.full((height, width, 3), 20 + 4 * number, np.uint8) for number in range(count)]


def number_of(image: NDArray[np.float32]) -> int:
    """Read the number of a frame made by `numbered_frames`, after any lossy codec."""
    return round((float(image.mean()) * 255 - 20) / 4)


def write_clip(
    path: Path,
    frames: Iterable[NDArray[np.uint8]],
    rate: Fraction = Fraction(25),
    ticks: Sequence[int] | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    time_base: Fraction | None = None,
    rotation: float | None = None,
    hflip: bool = False,
    aspect: Fraction | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Encode RGB frames (uint16 ones in `pix_fmt` as they are).

    `ticks` are presentation times in `time_base` (default: 0, 1, 2 ... of 1 / rate).
    """
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.pix_fmt = pix_fmt
        for number, image in enumerate(frames):
            if number == 0:
                stream.height, stream.width = image.shape[:2]
                if aspect is not None:
                    stream.codec_context.sample_aspect_ratio = aspect
                if rotation is not None:
                    stream.set_display_rotation(rotation, hflip=hflip)
                if time_base is not None:
                    stream.codec_context.time_base = time_base
            frame = av.VideoFrame.from_ndarray(image, format="rgb24" if image.dtype == np.uint8 else pix_fmt)
            frame.pts = number if ticks is None else ticks[number]
            frame.time_base = time_base or 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
