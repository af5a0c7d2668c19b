# SPDX-License-Identifier: GPL-3.0-or-later
"""Video in, with exact times and all its bits; pictures and videos out."""

from .clip import VideoFrame, VideoInfo
from .reader import VideoReader
from .reference import reader_at_reference
from .there_and_back import there_and_back
from .writer import Mp4Writer, encode_png

__all__ = ["Mp4Writer", "VideoFrame", "VideoInfo", "VideoReader", "encode_png", "reader_at_reference", "there_and_back"]
