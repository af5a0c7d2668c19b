# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures and videos out."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from numpy.typing import NDArray

from .partial_png import Codes


def encode_png(image: NDArray[np.floating], bit_depth: int = 8) -> bytes:
    """Return a PNG file's bytes.

    image: [H, W, 3 or 4] RGB(A) in [0, 1], alpha straight as PNG has it; values outside are clipped. bit_depth: 8 or
    16.
    """
    return encode_codes(png_codes(image, bit_depth))


def encode_codes(codes: Codes) -> bytes:
    """Return a PNG file's bytes from the codes [H, W, 3 or 4] of RGB(A).

    With OpenCV's own choice of filter and strategy, which is fast for renders, and within 15 % of the smallest.
    """
    order = cv2.COLOR_RGBA2BGRA if codes.shape[2] == 4 else cv2.COLOR_RGB2BGR
    return cv2.imencode(".png", cv2.cvtColor(codes, order))[1].tobytes()


def png_codes(image: NDArray[np.floating], bit_depth: int = 8) -> Codes:
    """Return an image's codes, its channels in their order; see `encode_png`."""
    if bit_depth not in (8, 16):
        raise ValueError(f"PNG has 8 or 16 bits a sample, not {bit_depth}")
    if bit_depth == 8 and image.dtype == np.float32:  # rounded and clipped in one pass, once what is below 0 is gone
        return np.asarray(cv2.convertScaleAbs(np.maximum(image, 0), alpha=255), np.uint8)
    white = 2**bit_depth - 1
    return np.rint(np.clip(image, 0, 1) * white).astype(np.uint8 if bit_depth == 8 else np.uint16)


class Mp4Writer:
    """Writes an H.264 video that plays everywhere: 4:2:0, BT.709, limited range; a context manager.

    target: a path, or a file open for reading and writing. rate: frames a second, exact. size: (width, height) px; an
    odd last column or row is left out, as 4:2:0 needs. crf: the encoder's quality, lower is better. preset: how much
    work the encoder takes. threads: 0 for those of all cores; the result depends on it. tagged: False leaves the
    colours' meaning open, as many cameras do; they are BT.601 then.
    """

    def __init__(
        self,
        target: Path | IO[bytes],
        rate: Fraction,
        size: tuple[int, int],
        crf: int = 16,
        preset: str = "medium",
        threads: int = 0,
        tagged: bool = True,
    ) -> None:
        self._size = (size[0] // 2 * 2, size[1] // 2 * 2)
        if isinstance(target, Path):
            self._container = av.open(f"file:{target}", "w", format="mp4", options={"movflags": "+faststart"})
        else:
            self._container = av.open(target, "w", format="mp4")
        self._stream = self._container.add_stream("libx264", rate=rate, options={"crf": str(crf), "preset": preset})
        self._stream.width, self._stream.height = self._size
        self._stream.pix_fmt = "yuv420p"
        codec = self._stream.codec_context
        codec.thread_count = threads
        self._tagged = tagged
        if tagged:
            codec.color_range = ColorRange.MPEG
            codec.colorspace = 1  # BT.709, as are the primaries and the transfer (ITU-T H.273)
            codec.color_primaries = 1
            codec.color_trc = 1
        self._count = 0

    def write(self, image: NDArray[np.floating]) -> None:
        """Append [H, W, 3] RGB in [0, 1]."""
        width, height = self._size
        codes = np.rint(np.clip(image[:height, :width], 0, 1) * 255).astype(np.uint8)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(codes), format="rgb24")
        if self._tagged:
            frame = frame.reformat(
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
                interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP,
            )
        frame.pts = self._count
        self._count += 1
        self._container.mux(self._stream.encode(frame))

    def __enter__(self) -> Mp4Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._container.mux(self._stream.encode(None))
        self._container.close()
