# SPDX-License-Identifier: GPL-3.0-or-later
"""A short clip in which an expression begins and ends, of a video in which it only begins."""

from __future__ import annotations

from pathlib import Path

from .reader import VideoReader
from .writer import Mp4Writer

QUALITY = 8  # the encoder's crf: compression noise well below a micro-expression


def there_and_back(video: Path, seconds: float, target: Path) -> None:
    """Write the first `seconds` of a video, played forwards and then backwards, as an H.264 video.

    It has one thread, so that the same video gives the same bytes. Raises `InputError` where it can't be read.
    """
    reader = VideoReader(video, (0.0, seconds))
    there = [frame.image for frame in reader]
    info = reader.info
    with Mp4Writer(target, info.average_rate, (info.width, info.height), crf=QUALITY, threads=1) as clip:
        for image in (*there, *there[-2::-1]):
            clip.write(image)
