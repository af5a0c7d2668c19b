# SPDX-License-Identifier: GPL-3.0-or-later
"""Decoded frames to RGB, with every bit they hold.

libswscale would do this in one call, but its paths from YUV to more than 8 bits of RGB are off by up to 0.8/255 and
its 8-bit paths lose what a 10-bit video has. So it is only asked to upsample the chroma (which it does exactly), and
the matrix of ITU-T H.273 is applied here, in float32 (`loops.mix`).
"""

from __future__ import annotations

import re

import av
import cv2
import numpy as np
from av.video.frame import supported_np_pix_fmts
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter
from numpy.typing import NDArray

from ...backend_bridge.files.errors import InputError

# Luma coefficients (Kr, Kb) by MatrixCoefficients code, ITU-T H.273 table 4.
_LUMA = {
    1: (0.2126, 0.0722),  # BT.709
    4: (0.30, 0.11),  # FCC
    5: (0.299, 0.114),  # BT.601, 625 lines
    6: (0.299, 0.114),  # BT.601, 525 lines
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020
    10: (0.2627, 0.0593),  # BT.2020 constant luminance, read as if it were not: no camera writes it
}
_HD = (1280, 720)  # an untagged video is BT.709 from this size on, BT.601 below
_FULL_CHROMA = re.compile(r"yuv[aj]?444p(\d+le)?$")
_FLAGS = Interpolation.BICUBIC | Interpolation.ACCURATE_RND


class RgbConverter:
    """Converts frames of one video. Keeps libswscale's state between frames."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> NDArray[np.float32]:
        """Return [H, W, 3] float32 RGB in [0, 1] of the coded picture (not yet turned upright)."""
        if not (frame.format.is_rgb or frame.format.has_palette):
            return self._from_yuv(frame)
        rgb = self._from_rgb(frame)
        np.clip(rgb, 0, 1, out=rgb)
        return rgb

    def _from_rgb(self, frame: av.VideoFrame) -> NDArray[np.float32]:
        bits = bit_depth(frame.format)
        if bits <= 8:
            packed = self._reformatter.reformat(frame, format="rgb24", interpolation=_FLAGS)
            codes = _lines(packed, packed.planes[0])[:, : 3 * frame.width]
            return np.asarray(codes.reshape(frame.height, frame.width, 3) / np.float32(255), np.float32)
        if frame.format.name not in supported_np_pix_fmts:
            raise InputError(
                f"Its pixel format {frame.format.name} can't be read; convert the video to H.264 or ProRes."
            )
        codes = frame.to_ndarray()[..., :3]
        return codes.astype(np.float32) if bits > 16 else codes / np.float32(2**bits - 1)

    def _from_yuv(self, frame: av.VideoFrame) -> NDArray[np.float32]:
        from ..loops.colour import mix

        stored = bits = bit_depth(frame.format)
        full = is_full_range(frame)
        if not _FULL_CHROMA.match(frame.format.name):
            colour_range = ColorRange.JPEG if full else ColorRange.MPEG
            frame = self._reformatter.reformat(
                frame,
                format="yuv444p16le",
                interpolation=_FLAGS,
                src_color_range=colour_range,
                dst_color_range=colour_range,
            )
            bits = 16
        y, u, v = planes = [_lines(frame, plane).astype(np.uint16, copy=False) for plane in frame.planes[:3]]
        rgb = np.empty((frame.height, frame.width, 3), np.float32)
        matrix = _yuv_to_rgb(_luma(frame), full, stored, bits).astype(np.float32)
        mix(y, u, v, matrix, rgb)
        # OpenCV rounds the last two px after each product and sum, and they are to be its numbers, too.
        last = np.stack([codes[-1:, max(0, frame.width - 2) : frame.width] for codes in planes], -1)
        rgb[-1:, -2:] = cv2.transform(last.astype(np.float32), matrix).clip(0, 1)
        return rgb


def is_full_range(frame: av.VideoFrame) -> bool:
    """Return whether black is 0 and white the largest code, rather than 16 and 235 (of 8 bits)."""
    if frame.format.name.startswith("yuvj"):
        return True
    if frame.color_range == ColorRange.UNSPECIFIED:
        return frame.format.name.startswith("gray")
    return frame.color_range == ColorRange.JPEG


def bit_depth(pixel_format: av.VideoFormat) -> int:
    """Return the bits of one sample; a palette holds 8.

    >>> bit_depth(av.VideoFormat("yuv420p10le")), bit_depth(av.VideoFormat("rgb24"))
    (10, 8)
    """
    return 8 if pixel_format.has_palette else max(component.bits for component in pixel_format.components)


def _luma(frame: av.VideoFrame) -> tuple[float, float]:
    untagged = 1 if frame.width >= _HD[0] or frame.height >= _HD[1] else 6
    return _LUMA.get(int(frame.colorspace), _LUMA[untagged])


def _white(stored: int, bits: int) -> int:
    """Return the largest code of `stored` bits after libswscale moved it up to `bits` bits (by a shift)."""
    return (2**stored - 1) << (bits - stored)


def _yuv_to_rgb(luma: tuple[float, float], full: bool, stored: int, bits: int) -> NDArray[np.float64]:
    """Return the [3, 4] affine matrix from codes of `bits` bits, `stored` of them meaningful, to RGB in [0, 1]."""
    kr, kb = luma
    kg = 1 - kr - kb
    unit = 2.0 ** (bits - 8)
    black = 0.0 if full else 16 * unit
    luma_range = _white(stored, bits) if full else 219 * unit
    chroma_range = _white(stored, bits) if full else 224 * unit
    matrix = np.array(
        [
            [1, 0, 2 * (1 - kr)],
            [1, -2 * (1 - kb) * kb / kg, -2 * (1 - kr) * kr / kg],
            [1, 2 * (1 - kb), 0],
        ]
    ) / np.array([luma_range, chroma_range, chroma_range])
    return np.column_stack([matrix, -matrix @ np.array([black, 128 * unit, 128 * unit])])


def _lines(frame: av.VideoFrame, plane: VideoPlane) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Return the codes of a frame's plane, [H, W], with what its lines have beyond the picture."""
    dtype = np.dtype(np.uint8 if bit_depth(frame.format) == 8 else np.uint16)
    return np.frombuffer(plane, dtype).reshape(-1, plane.line_size // dtype.itemsize)[: frame.height]
