# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures that move: animated WebP, and TIFF files of many pages. (Animated PNG and GIF are read by FFmpeg.)"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ...backend_bridge.files.errors import InputError
from .clip import Trim, VideoFrame, VideoInfo, within
from .image_sequence import DEFAULT_RATE, to_float_rgb
from .limits import check_animation, read_file, tiff_sizes, webp_sizes

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # and BigTIFF
_WEBP_MOVES = 0x02  # flag of the extended header, "WebP Container Specification"
_SHORTEST = 10  # ms; frames of a shorter duration are shown for a tenth of a second by programs
_UNTIMED = 100  # ms


class Animation:
    """A picture file with several frames, which are held in memory. Satisfies `models.video.clip.Clip`.

    rate: frames a second of a TIFF, whose pages have no times; an animation has its own.
    """

    def __init__(self, path: Path, trim: Trim | None, rate: Fraction | None) -> None:
        self.warnings: list[str] = []
        self.files: tuple[Path, ...] = (path,)
        try:
            with path.open("rb") as file:
                paged = file.read(4).startswith(_TIFF)
            if paged:
                frames = _pages(path)
                if rate is None:
                    rate = DEFAULT_RATE
                    self.warnings.append(
                        f"The TIFF {path.name} has no frame rate of its own; {rate} frames a second are assumed."
                    )
                durations = [1 / rate] * len(frames)
            else:
                frames, shown = _moving(path)
                durations = [Fraction(each, 1000) for each in shown]
        except (OSError, cv2.error, MemoryError) as error:
            raise InputError(f"{path.name} can't be read as an animation; it may be incomplete.") from error
        times = list(itertools.accumulate(durations, initial=Fraction(0)))
        kept = [(second, frame) for second, frame in zip(times, frames, strict=False) if within(second, trim)]
        if not kept:
            raise InputError(f"{path.name} lasts {float(times[-1]):.3f} s and has no frame in the trim range.")
        self._frames = kept
        start, end = kept[0][0], kept[-1][0]
        first = kept[0][1]
        self.info = VideoInfo(
            width=first.shape[1],
            height=first.shape[0],
            average_rate=(len(kept) - 1) / (end - start) if len(kept) > 1 else 1 / durations[0],
            variable_rate=len(set(durations[:-1])) > 1,
            rotation=0,
            bit_depth=8 * first.itemsize,
            frame_count=len(kept),
            start=start,
        )

    def __iter__(self) -> Iterator[VideoFrame]:
        for index, (second, image) in enumerate(self._frames):
            yield VideoFrame(index, second - self.info.start, partial(to_float_rgb, image))

    def forget(self) -> None:
        """Keep the frames, which can't be read one by one."""


def is_animation(path: Path) -> bool:
    """Return whether a file is a picture with several frames that this module reads, whatever its name ends with.

    The pages of a TIFF are frames if all have one size; else they are a picture and its smaller versions.
    """
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(21)
    if head[8:16] == b"WEBPVP8X" and len(head) == 21:
        return bool(head[20] & _WEBP_MOVES)
    if not head.startswith(_TIFF):
        return False
    pages = tiff_sizes(read_file(path))
    return len(pages) > 1 and len(set(pages)) == 1


def is_animated_png(path: Path) -> bool:
    """Return whether a file is a PNG with several frames: one with an animation control chunk before its data."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(1 << 16)
    return head.startswith(b"\x89PNG") and b"acTL" in head.partition(b"IDAT")[0]


def _moving(path: Path) -> tuple[list[NDArray[np.generic]], list[int]]:
    """Return an animation's frames and for how long each is shown, in ms."""
    encoded = read_file(path)
    check_animation(webp_sizes(encoded), path.name)
    with tempfile.TemporaryDirectory() as folder:
        # OpenCV reads animations by path alone, and can't open every path on Windows.
        plain = Path(folder) / "animation.webp"
        plain.write_bytes(encoded)
        read, animation = cv2.imreadanimation(str(plain))
    if not read:
        raise OSError(f"{path.name} has no frame that can be decoded")
    durations = [int(shown) if shown >= _SHORTEST else _UNTIMED for shown in animation.durations]
    return [frame[..., :3] for frame in animation.frames], durations


def _pages(path: Path) -> list[NDArray[np.generic]]:
    """Return the pages of a TIFF."""
    encoded = read_file(path)
    check_animation(tiff_sizes(encoded), path.name)
    data = np.frombuffer(encoded, np.uint8)
    read, images = cv2.imdecodemulti(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH) if data.size else (False, ())
    if not read or len({image.shape for image in images}) != 1:
        raise OSError(f"{path.name} has pages that can't be decoded")
    return list(images)
