# SPDX-License-Identifier: GPL-3.0-or-later
"""The pictures of a shot as they were rendered, PNG or EXR, and moved: what nothing moves keeps its bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...backend_bridge.files.errors import InputError
from ..video.exr_passes import Exr, Part, is_colour
from ..video.limits import decode_picture, read_file
from ..warp import STILL, SplineImage, pixel_grid

_AROUND = 16  # px beside the farthest shift, which an interpolated value may take part of


@dataclass(frozen=True)
class Shift:
    """How far the pixels of a rectangle have come; all others have stayed.

    left, top: of the rectangle, px. come: [1, 2, h, w] px; a pixel at y shows what was at y - come(y).
    """

    left: int
    top: int
    come: Tensor

    @property
    def moved(self) -> NDArray[np.bool_]:
        """Which pixels have moved, [h, w]."""
        return np.asarray((self.come[0].abs().amax(0) > STILL).numpy())


class Plate(Protocol):
    """A picture of the shot."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) px as it is displayed."""
        ...

    def moved(self, shift: Shift | None, **entries: str) -> bytes:
        """Return it moved, as a file of its kind; `entries` are texts for an EXR's header."""
        ...


def read_plate(path: Path) -> Plate:
    """Read a plate. Raises `InputError` for one that is missing, damaged, or no PNG or EXR."""
    if path.suffix.lower() == ".exr":
        return ExrPlate(Exr.read(path))
    try:
        encoded = read_file(path)
    except (OSError, ValueError) as error:
        raise InputError(f"The plate {path} can't be read; check the plates.") from error
    pixels = decode_picture(encoded, cv2.IMREAD_UNCHANGED, path.name)
    if pixels is None or pixels.dtype not in (np.uint8, np.uint16):
        raise InputError(f"{path} is not a picture with 8 or 16 bits a channel; check the plates.")
    return PngPlate(pixels if pixels.ndim == 3 else pixels[..., None])


@dataclass(frozen=True)
class PngPlate:
    """A PNG. pixels: [H, W, C] of 8 or 16 bits, grey, BGR or BGRA with straight alpha."""

    pixels: NDArray[Any]

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) px."""
        return self.pixels.shape[1], self.pixels.shape[0]

    def moved(self, shift: Shift | None, **_entries: str) -> bytes:
        """Return the picture moved, with its bit depth and its alpha."""
        result = self.pixels
        if shift is not None:
            white = float(np.iinfo(self.pixels.dtype).max)
            height, width = shift.come.shape[-2:]
            result = self.pixels.copy()
            target = result[shift.top : shift.top + height, shift.left : shift.left + width]
            looked = _spline(_premultiplied(self.pixels, shift, white), shift).clip(0, 1)
            if looked.shape[-1] == 4:
                alpha = looked[..., 3:]
                looked[..., :3] = np.where(alpha > 0, looked[..., :3] / np.maximum(alpha, 1e-6), looked[..., :3])
            target[shift.moved] = np.round(looked.clip(0, 1) * white).astype(target.dtype)[shift.moved]
        written, data = cv2.imencode(".png", result)
        assert written
        return bytes(data)


def _premultiplied(pixels: NDArray[Any], shift: Shift, white: float) -> _Around:
    around = _Around.of(pixels, shift)
    colour = around.pixels.astype(np.float32) / white
    if colour.shape[-1] == 4:  # straight colour would drag what is invisible into the edges
        colour[..., :3] *= colour[..., 3:]
    return replace(around, pixels=colour)


@dataclass(frozen=True)
class ExrPlate:
    """An EXR with all its layers and passes. Colour is premultiplied light, as EXR has it."""

    exr: Exr

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) px as it is displayed."""
        return self.exr.size

    def moved(self, shift: Shift | None, **entries: str) -> bytes:
        """Return the picture with every channel moved; depth, ids and their like are never mixed."""
        parts = self.exr.parts
        if shift is not None:
            parts = tuple(replace(part, channels=_moved_channels(part, shift)) for part in parts)
        return replace(self.exr, parts=parts).with_text(**entries).encode()


def _moved_channels(part: Part, shift: Shift) -> Mapping[str, NDArray[Any]]:
    """Return a part's channels moved."""
    left, top = shift.left - part.origin[0], shift.top - part.origin[1]
    some = next(iter(part.channels.values()), None)
    if some is None:
        return part.channels
    # The part of the rectangle that the part's pixels cover.
    height, width = shift.come.shape[-2:]
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + width, some.shape[1]), min(top + height, some.shape[0])
    if x1 <= x0 or y1 <= y0:
        return part.channels
    here = Shift(x0, y0, shift.come[:, :, y0 - top : y1 - top, x0 - left : x1 - left])
    where, moved = (slice(y0, y1), slice(x0, x1)), here.moved
    names = [name for name, pixels in part.channels.items() if is_colour(name) and pixels.dtype.kind == "f"]
    found = dict(part.channels)
    if names:
        stack = np.stack([part.channels[name] for name in names], axis=-1)
        looked = _light(_Around.of(stack, here), here)
        for index, name in enumerate(names):
            found[name] = _put(found[name], where, moved, looked[..., index])
    for name in part.channels.keys() - set(names):
        found[name] = _put(found[name], where, moved, _nearest(found[name], here))
    return found


def _put(
    channel: NDArray[Any], where: tuple[slice, slice], moved: NDArray[np.bool_], values: NDArray[Any]
) -> NDArray[Any]:
    result = channel.copy()
    largest = np.finfo(channel.dtype).max if channel.dtype.kind == "f" else None
    result[where][moved] = (values if largest is None else values.clip(-largest, largest)).astype(channel.dtype)[moved]
    return result


@dataclass(frozen=True)
class _Around:
    """The pixels [h, w, C] of a rectangle and what is around it, from (x, y) px on."""

    pixels: NDArray[Any]
    x: int
    y: int

    @classmethod
    def of(cls, pixels: NDArray[Any], shift: Shift) -> _Around:
        height, width = shift.come.shape[-2:]
        reach = int(shift.come.abs().amax()) + 1 + _AROUND
        x, y = max(shift.left - reach, 0), max(shift.top - reach, 0)
        return cls(pixels[y : shift.top + height + reach, x : shift.left + width + reach], x, y)


def _spline(around: _Around, shift: Shift) -> NDArray[np.float32]:
    """Return the pixels of the rectangle, [h, w, C], looked up where they have come from."""
    picture = torch.from_numpy(np.ascontiguousarray(around.pixels, np.float32)).permute(2, 0, 1)[None]
    grid = pixel_grid(*shift.come.shape[-2:]) + shift.come.new_tensor(
        [shift.left - around.x, shift.top - around.y]
    ).view(1, 2, 1, 1)
    return np.asarray(SplineImage(picture).at(grid - shift.come)[0].permute(1, 2, 0).numpy())


def _light(around: _Around, shift: Shift) -> NDArray[np.float32]:
    """Look up light, which has no upper end: interpolated as log(1 + x), a spark does not ring into its surroundings.

    What is not finite is dark there.
    """
    light = np.nan_to_num(around.pixels.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    lowest = light.min(axis=(0, 1))
    looked = _spline(replace(around, pixels=np.sign(light) * np.log1p(np.abs(light))), shift)
    return np.maximum(np.sign(looked) * np.expm1(np.abs(looked)), lowest)


def _nearest(channel: NDArray[Any], shift: Shift) -> NDArray[Any]:
    height, width = shift.come.shape[-2:]
    come = shift.come[0].numpy()
    x = np.rint(np.arange(width) + shift.left - come[0]).astype(np.intp).clip(0, channel.shape[1] - 1)
    y = np.rint(np.arange(height)[:, None] + shift.top - come[1]).astype(np.intp).clip(0, channel.shape[0] - 1)
    return channel[y, x]
