# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenEXR pictures with all their layers and passes, in and out."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
from numpy.typing import NDArray

from ...backend_bridge.files.errors import InputError
from .limits import LONGEST_SIDE, check_size, picture_size, read_file

MOST_BYTES = 4 << 30  # of all channels of a picture, unpacked
_OWN_ENTRIES = {"channels", "chunkCount"}  # of a header, written anew
# What is no colour, of the words that a channel's name has between its points, in small letters alone: the mean of two
# ids, depths or places is nobody's.
_NO_COLOUR = re.compile(
    r"z|[a-z]?depth[a-z]?|zbuffer|crypto[a-z]*|(object|material|obj|mat|asset|instance|shape)?(id|index)(s|es|ob|ma)?|"
    r"(world|object|ref)?pos(ition)?(world|object|ref)?|p(world|object|ref)?|pointworld|uvs?(map|coord)?s?|st(map)?|"
    r"(motion|forward|backward)?vec(tor)?s?|mv|forward|backward|motion|velocity"
)
_NO_LETTERS = re.compile(r"[^a-z]+")

Pixels = NDArray[Any]


@dataclass(frozen=True)
class Part:
    """A part of an EXR.

    header: its attributes. channels: by name, [H, W] float16, float32 or uint32. origin: (x, y) of their first pixel,
    seen from the first pixel of the picture as it is displayed: with overscan it is negative.
    """

    name: str
    header: Mapping[str, Any]
    channels: Mapping[str, Pixels]
    origin: tuple[int, int]


@dataclass(frozen=True)
class Exr:
    """An EXR picture; size: (width, height) px as it is displayed."""

    size: tuple[int, int]
    parts: tuple[Part, ...]

    @classmethod
    def read(cls, path: Path) -> Exr:
        """Read all of a file. Raises `InputError` for what is no flat EXR or too large."""
        encoded = _checked(path)
        try:
            parts: list[Any] = OpenEXR.File(io.BytesIO(encoded), separate_channels=True).parts
            found = tuple(_part(part, path.name) for part in parts)
            low, high = parts[0].header["displayWindow"]
        except (RuntimeError, ValueError, TypeError, KeyError, IndexError, MemoryError) as error:
            raise InputError(f"{path.name} can't be read as an EXR picture; it may be incomplete.") from error
        return cls((int(high[0] - low[0]) + 1, int(high[1] - low[1]) + 1), found)

    def encode(self) -> bytes:
        """Return the picture as a file; each channel with the type and each part with the compression it has."""
        parts = []
        for part in self.parts:
            header = {key: value for key, value in part.header.items() if key not in _OWN_ENTRIES}
            channels = {name: np.ascontiguousarray(pixels) for name, pixels in part.channels.items()}
            parts.append(OpenEXR.Part(header, channels, part.name))
        data = io.BytesIO()
        OpenEXR.File(parts).write(data)
        return data.getvalue()

    def with_text(self, **entries: str) -> Exr:
        """Return the picture with further attributes in its first part's header."""
        first = replace(self.parts[0], header={**self.parts[0].header, **entries})
        return replace(self, parts=(first, *self.parts[1:]))


def encode_floats(channels: Mapping[str, NDArray[np.floating]], **entries: str) -> bytes:
    """Return [H, W] channels as an EXR of 32-bit floats, with text in its header."""
    data = io.BytesIO()
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **entries}
    OpenEXR.File(header, {name: np.ascontiguousarray(each, np.float32) for name, each in channels.items()}).write(data)
    return data.getvalue()


def is_colour(channel: str) -> bool:
    """Whether a channel is light or coverage, which may be interpolated: no depth, id, place or vector."""
    return not any(_NO_COLOUR.fullmatch(_NO_LETTERS.sub("", word)) for word in channel.lower().split("."))


def _part(part: Any, name: str) -> Part:
    header: dict[str, Any] = dict(part.header)
    if "deep" in str(header.get("type", "")):
        raise InputError(f"{name} is a deep EXR; give plates that are flattened.")
    if any(each.xSampling != 1 or each.ySampling != 1 for each in part.channels.values()):
        raise InputError(
            f"{name} stores its colour at less than full resolution (as luminance and chroma); save it as RGB."
        )
    display, data = header["displayWindow"][0], header["dataWindow"][0]
    channels = {key: np.asarray(each.pixels) for key, each in part.channels.items()}
    label = header.get("name", "")
    return Part(str(label), header, channels, (int(data[0] - display[0]), int(data[1] - display[1])))


def _checked(path: Path) -> bytes:
    """Return the bytes of a file whose header promises no more than is read."""
    try:
        encoded = read_file(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} can't be read; check the plates.") from error
    size = picture_size(encoded)
    if size is None:
        raise InputError(f"{path.name} is no EXR picture; check the plates.")
    check_size(*size, path.name)
    OpenEXR.setMaxImageSize(LONGEST_SIDE, LONGEST_SIDE)
    try:
        parts = OpenEXR.File(io.BytesIO(encoded), separate_channels=True, header_only=True).parts
        total = 0
        for part in parts:
            low, high = part.header["dataWindow"]
            width, height = (int(high[axis]) - int(low[axis]) + 1 for axis in (0, 1))
            check_size(width, height, path.name)
            total += width * height * 4 * len(part.header["channels"])
    except (RuntimeError, ValueError, TypeError, KeyError, IndexError) as error:
        raise InputError(f"{path.name} can't be read as an EXR picture; it may be incomplete.") from error
    if total > MOST_BYTES:
        raise InputError(f"{path.name} unpacks to {total >> 30} GB; leave passes out that the shot doesn't need.")
    return encoded
