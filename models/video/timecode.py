# SPDX-License-Identifier: GPL-3.0-or-later
"""The timecode that a camera has written into a video file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av

from ...backend_bridge.rig.timecode import Timecode


def start_timecode(path: Path) -> Fraction | None:
    """Return the timecode of a video's first frame in seconds from midnight, None for a file that has none.

    The clock is taken as it stands: frame 12 of 24 is half a second, at 23.976 frames a second, too.
    """
    try:
        with av.open(f"file:{path}", metadata_errors="replace") as container:
            streams = container.streams
            rate = next((stream.guessed_rate or stream.average_rate for stream in streams.video), None)
            metadata = [container.metadata, *(stream.metadata for stream in streams)]
    except (av.error.FFmpegError, OSError):
        return None
    text = next((tags["timecode"] for tags in metadata if "timecode" in tags), None)
    if text is None or not rate:
        return None
    try:
        code = Timecode.parse(text)
    except ValueError:
        return None
    return code.whole_seconds + code.frame / -(-rate.numerator // rate.denominator)
