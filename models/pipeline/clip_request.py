# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job asks of a driving video: which part of it, and how the face is cut out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...backend_bridge.job.spec import Driving, resolve
from ..backends import Framing
from ..video import VideoReader

LARGEST_CROP = 512  # px a side; a larger face is reduced to it
SMALLEST_CROP = 128  # px a side; a smaller face is enlarged to it


@dataclass(frozen=True)
class ClipRequest:
    """A driving video, and the crops that a backend wants of it.

    path: the file, or an image sequence's. reader: reads its trim. frame_size: the crop's side in px where the backend
    dictates it; otherwise the crop has as many px as the video has there. framing: how the crop lies around the face.
    """

    path: Path
    driving: Driving
    reader: VideoReader
    frame_size: int | None
    framing: Framing

    @classmethod
    def of(
        cls, folder: Path, driving: Driving, frame_size: int | None, framing: Framing, reader: VideoReader | None = None
    ) -> ClipRequest:
        """Return the request of a job in `folder`; `reader` reads the video, where there is one already.

        Raises `InputError` for a video that can't be used.
        """
        path = resolve(folder, driving.path)
        return cls(path, driving, reader or reader_of(folder, driving), frame_size, framing)

    def size_of(self, native: float) -> int:
        """Return the side in px of a crop that covers `native` px of the video."""
        return self.frame_size or int(min(max(2 * round(native / 2), SMALLEST_CROP), LARGEST_CROP))


def reader_of(folder: Path, driving: Driving) -> VideoReader:
    """Return what reads the driving video of a job in `folder`. Raises `InputError` for one that can't be used."""
    return VideoReader(resolve(folder, driving.path), driving.trim, driving.sequence_rate)
