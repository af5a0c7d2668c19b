# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenEXR pictures as they are seen on a screen.

EXR files hold scene-linear light; the face landmarker, the motion solver and every backend are made for pictures that
are encoded for a display. The view is plain sRGB (Blender's "Standard"): primaries brought to BT.709, light beyond
[0, 1] clipped, and the transfer function of IEC 61966-2-1.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import OpenEXR
from numpy.typing import NDArray

from ...backend_bridge.files.errors import InputError
from .limits import check_size
from .presentation import Presentation

_MOST_SAMPLES = 2**30  # of all channels of a file, which are decoded at once; they take up to 4 GB
_BEAUTY = ("combined", "beauty", "rgba", "rgb", "color", "colour", "image", "composite")  # what renderers call it
_NO_PICTURE = ("crypto", "normal", "position", "vector", "velocity", "motion", "uv")  # data passes with three channels
# CIE xy of red, green, blue and white, ITU-R BT.709; OpenEXR's default where a file has none.
_BT709 = (0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.3127, 0.329)
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_SAME = 2e-3  # difference of chromaticities that rounding explains


@dataclass(frozen=True)
class Layer:
    """Channels of a file that make a picture.

    part: its index in the file. channels: the names of red, green and blue; the same three times for a grey picture.
    name: what it is called, empty for the channels R, G, B of a file without layers.
    """

    part: int
    channels: tuple[str, str, str]
    name: str


@dataclass(frozen=True)
class ExrPicture:
    """A decoded file.

    image: [H, W, 3] float32 RGB in [0, 1], encoded as sRGB. bit_depth: bits of a stored sample. layer: which was read.
    others: names of other layers with a picture. clipped: share of px brighter than white, in [0, 1]. undefined: number
    of px that hold no finite number; they are black.
    """

    image: NDArray[np.float32]
    bit_depth: int
    layer: Layer
    others: tuple[str, ...]
    clipped: float
    undefined: int


def frame_rate(encoded: bytes, name: str) -> Fraction | None:
    """Return the frames a second that a file's header has (`framesPerSecond`), None for one that has none."""
    found = _opened(encoded, name, header_only=True).parts[0].header.get("framesPerSecond")
    return found if isinstance(found, Fraction) and found > 0 else None


def read_exr(encoded: bytes, name: str, layer: Layer | None = None) -> ExrPicture:
    """Return the picture of an OpenEXR file.

    encoded: the file's bytes. name: what it is called in sentences. layer: which to read, None for the one that
    `layers` has first. Raises `InputError` for a file that is damaged, too large, deep, or holds no picture.
    """
    headers = _opened(encoded, name, header_only=True).parts
    _check_extent(headers, name)
    found = list(layers(headers))
    if not found:
        raise InputError(f"{name} has no channels R, G and B, nor Y; save its picture as RGB.")
    chosen = layer or found[0]
    if chosen not in found:
        raise InputError(
            f"{name} has no layer '{chosen.name or 'RGB'}', with which the sequence began; save all alike."
        )
    header = headers[chosen.part].header
    stored = _stored(encoded, name, chosen)
    light = _on_display(np.dstack(stored).astype(np.float32), header)
    undefined = ~np.isfinite(light).all(axis=2)
    light[undefined] = 0
    interop = str(header.get("colorInteropID", "") or "lin_")
    if interop.startswith("lin_") or interop == "unknown":
        light = _to_bt709(light, header.get("chromaticities"))
        clipped = float((light > 1).any(axis=2).mean())
        light = _encoded(light.clip(0, 1))
    elif interop.startswith("srgb_rec709"):
        clipped = float((light > 1).any(axis=2).mean())
    else:
        raise InputError(f"{name} is stored in the colour space '{interop}'; save it scene-linear (lin_rec709_scene).")
    aspect = Fraction(float(header.get("pixelAspectRatio", 1.0))).limit_denominator(1000)
    return ExrPicture(
        Presentation(aspect if aspect > 0 else Fraction(1))(light.clip(0, 1)),
        8 * min(channel.dtype.itemsize for channel in stored),
        chosen,
        tuple(other.name or "RGB" for other in found if other != chosen and not _is_data(other)),
        clipped,
        int(undefined.sum()),
    )


def layers(parts: list[Any]) -> Iterator[Layer]:
    """Yield the layers of a file's parts that hold a picture, the likeliest first."""
    found = [layer for index, part in enumerate(parts) for layer in _layers_of(index, part)]
    yield from sorted(found, key=_unlikely)


def _layers_of(index: int, part: Any) -> Iterator[Layer]:
    names = [str(channel.name) for channel in part.header["channels"] if channel.xSampling == channel.ySampling == 1]
    own = str(part.header.get("name", "") or "")
    groups: dict[str, dict[str, str]] = {}
    for name in names:
        prefix, _, last = name.rpartition(".")
        groups.setdefault(prefix, {})[last.lower()] = name
    for prefix, by_last in groups.items():
        # Blender calls a part as the layer in it.
        called = prefix if prefix.startswith(own) or own.lower() in ("rgb", "rgba") else f"{own}.{prefix}".rstrip(".")
        for wanted in (("r", "g", "b"), ("red", "green", "blue"), ("y", "y", "y")):
            if wanted == ("y", "y", "y") and by_last.keys() & {"x", "z", "u", "v"}:  # a vector
                continue
            if set(wanted) <= by_last.keys():
                red, green, blue = (by_last[letter] for letter in wanted)
                yield Layer(index, (red, green, blue), called)
                break


def _unlikely(layer: Layer) -> tuple[bool, bool, bool, bool, int]:
    """Return a sort key: the picture as it is seen before passes, colour before grey, the file's order then."""
    beauty = layer.name.lower().rpartition(".")[2] in ("", *_BEAUTY)
    without_prefix = "." not in layer.channels[0]
    grey = len(set(layer.channels)) == 1
    return _is_data(layer), not beauty, not without_prefix, grey, layer.part


def _is_data(layer: Layer) -> bool:
    return any(word in layer.name.lower() for word in _NO_PICTURE)


def _opened(encoded: bytes, name: str, header_only: bool = False) -> Any:
    try:
        file = OpenEXR.File(io.BytesIO(encoded), separate_channels=True, header_only=header_only)
        if file.parts:
            return file
    except (RuntimeError, ValueError, TypeError, MemoryError) as error:
        raise InputError(f"{name} can't be read as an image; it may be incomplete or of another kind.") from error
    raise InputError(f"{name} can't be read as an image; it may be incomplete or of another kind.")


def _check_extent(parts: list[Any], name: str) -> None:
    samples = 0
    for part in parts:
        if part.header.get("type") in (OpenEXR.deepscanline, OpenEXR.deeptile):
            raise InputError(f"{name} is a deep image; save it flattened.")
        for window in ("dataWindow", "displayWindow"):
            width, height = _extent(part.header[window])
            check_size(width, height, name)
            if min(width, height) < 1:
                raise InputError(f"{name} can't be read as an image; its {window} is empty.")
        width, height = _extent(part.header["dataWindow"])
        samples += width * height * len(part.header["channels"])
    if samples > _MOST_SAMPLES:
        raise InputError(f"{name} has too many channels for its size to be decoded at once; save its picture alone.")


def _extent(window: tuple[NDArray[np.int32], NDArray[np.int32]]) -> tuple[int, int]:
    (left, top), (right, bottom) = ((int(x), int(y)) for x, y in window)
    return right - left + 1, bottom - top + 1


def _stored(encoded: bytes, name: str, layer: Layer) -> list[NDArray[np.generic]]:
    """Return the three channels [H, W] of a layer."""
    # A part that can't be decoded is missing from the list, hence no index.
    parts = {part.part_index: part for part in _opened(encoded, name).parts}
    try:
        pixels = [parts[layer.part].channels[channel].pixels for channel in layer.channels]
    except KeyError as error:
        raise InputError(f"{name} can't be read as an image; it may be incomplete.") from error
    if any(channel.dtype.kind != "f" for channel in pixels):
        raise InputError(f"{name} holds whole numbers, which are no light; save its picture as half or float.")
    return pixels


def _on_display(data: NDArray[np.float32], header: dict[str, Any]) -> NDArray[np.float32]:
    """Return what the display window shows of the data window: black where there is no data."""
    width, height = _extent(header["displayWindow"])
    left, top = (int(each) for each in header["dataWindow"][0] - header["displayWindow"][0])
    if (left, top) == (0, 0) and data.shape[:2] == (height, width):
        return data
    shown = np.zeros((height, width, 3), np.float32)
    rows, columns = _overlap(top, data.shape[0], height), _overlap(left, data.shape[1], width)
    shown[rows, columns] = data[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return shown


def _overlap(start: int, length: int, limit: int) -> slice:
    low = min(max(start, 0), limit)
    return slice(low, max(low, min(start + length, limit)))


def _to_bt709(light: NDArray[np.float32], chromaticities: tuple[float, ...] | None) -> NDArray[np.float32]:
    """Return linear light in BT.709's primaries, white kept white (Bradford's adaptation)."""
    if chromaticities is None or np.abs(np.subtract(chromaticities, _BT709)).max() < _SAME:
        return light
    theirs, ours = _rgb_to_xyz(chromaticities), _rgb_to_xyz(_BT709)
    cones_theirs, cones_ours = _BRADFORD @ theirs.sum(1), _BRADFORD @ ours.sum(1)
    adapted = np.linalg.inv(_BRADFORD) @ np.diag(cones_ours / cones_theirs) @ _BRADFORD
    return np.asarray(light @ (np.linalg.inv(ours) @ adapted @ theirs).T.astype(np.float32))


def _rgb_to_xyz(chromaticities: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the matrix [3, 3] of primaries and white (SMPTE RP 177)."""
    xy = np.asarray(chromaticities, np.float64).reshape(4, 2)
    xyz = np.column_stack([xy[:, 0] / xy[:, 1], np.ones(4), (1 - xy.sum(1)) / xy[:, 1]])
    primaries = xyz[:3].T
    return np.asarray(primaries * np.linalg.solve(primaries, xyz[3]))


def _encoded(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return sRGB values of linear light in [0, 1], IEC 61966-2-1."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** np.float32(1 / 2.4) - 0.055).astype(np.float32)
