# SPDX-License-Identifier: GPL-3.0-or-later
"""Small clips with known contents, made for the tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from magplus.models.video import VideoReader

WIDTH, HEIGHT = 64, 48
NTSC = Fraction(30000, 1001)
FILM = Fraction(24000, 1001)


def numbered_frames(count: int, width: int = WIDTH, height: int = HEIGHT) -> list[NDArray[np.uint8]]:
    """Grey frames whose brightness tells their number (see `number_of`)."""
    return [np.full((height, width, 3), 20 + 4 * number, np.uint8) for number in range(count)]


def number_of(image: NDArray[np.float32]) -> int:
    """Read the number of a frame made by `numbered_frames`, after any lossy codec."""
    return round((float(image.mean()) * 255 - 20) / 4)


@dataclass(frozen=True)
class Encoding:
    """How frames become a stream, and the stream a file."""

    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    options: Mapping[str, str] = field(default_factory=dict)
    container: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Shown:
    """What a file says of how its frames are to be shown."""

    rotation: float | None = None  # degrees
    mirrored: bool = False
    pixel_aspect: Fraction | None = None


@dataclass(frozen=True)
class Times:
    """When frames are shown: presentation times in a unit of seconds, by default of one frame."""

    ticks: Sequence[int]
    unit: Fraction | None = None


def write_clip(
    path: Path,
    frames: Iterable[NDArray[np.uint8]],
    rate: Fraction = Fraction(25),
    *,
    times: Times | None = None,
    encoding: Encoding | None = None,
    shown: Shown | None = None,
) -> Path:
    """Encode RGB frames, uint16 ones in the encoding's `pix_fmt` as they are; without `times` at a constant rate."""
    encoding, shown = encoding or Encoding(), shown or Shown()
    unit = times.unit if times is not None else None
    with av.open(str(path), "w", options=dict(encoding.container)) as container:
        stream = container.add_stream(encoding.codec, rate=rate, options=dict(encoding.options))
        stream.pix_fmt = encoding.pix_fmt
        for number, image in enumerate(frames):
            if number == 0:
                stream.height, stream.width = image.shape[:2]
                if shown.pixel_aspect is not None:
                    stream.codec_context.sample_aspect_ratio = shown.pixel_aspect
                if shown.rotation is not None:
                    stream.set_display_rotation(shown.rotation, hflip=shown.mirrored)
                if unit is not None:
                    stream.codec_context.time_base = unit
            frame = av.VideoFrame.from_ndarray(image, format="rgb24" if image.dtype == np.uint8 else encoding.pix_fmt)
            frame.pts = number if times is None else times.ticks[number]
            frame.time_base = unit or 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


B_FRAMES = Encoding(options={"x264-params": "bframes=3:b-adapt=0:keyint=12"})


def corner_picture(width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """Red top left, green top right, blue bottom left, white bottom right."""
    image = np.zeros((height, width, 3), np.uint8)
    middle_y, middle_x = height // 2, width // 2
    image[:middle_y, :middle_x] = (220, 30, 30)
    image[:middle_y, middle_x:] = (30, 220, 30)
    image[middle_y:, :middle_x] = (30, 30, 220)
    image[middle_y:, middle_x:] = (220, 220, 220)
    return image


def read(path: Path, **options: Any) -> tuple[list[Fraction], list[int]]:
    """Return the times of a clip of `numbered_frames`, in seconds, and the numbers of its frames."""
    frames = list(VideoReader(path, **options))
    assert [frame.index for frame in frames] == list(range(len(frames)))
    return [frame.seconds for frame in frames], [number_of(frame.image) for frame in frames]
