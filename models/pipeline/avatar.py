# SPDX-License-Identifier: GPL-3.0-or-later
"""The avatar's picture: read once, moved many times, written at its own resolution, depth and transparency."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from ...backend_bridge.files.errors import InputError
from ..video.limits import decode_picture, read_file
from ..video.partial_png import Codes, PartialPng


@dataclass(frozen=True)
class AvatarPicture:
    """The clean source frame.

    premultiplied: [1, 4, H, W] float32 in [0, 1], sRGB-encoded colour times alpha, then alpha. Moving straight colour
        would drag the invisible colour of transparent pixels into the edges.
    maximum: 255 or 65535, the value of white in the file it came from.
    has_alpha: whether that file had an alpha channel.
    """

    premultiplied: Tensor
    maximum: int
    has_alpha: bool

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in px."""
        return self.premultiplied.shape[-1], self.premultiplied.shape[-2]

    @classmethod
    def read(cls, path: Path) -> AvatarPicture:
        """Read a PNG (or any still that OpenCV reads) with 8 or 16 bits, grey or colour, with or without alpha.

        Raises `InputError` when the file is missing or no picture.
        """
        try:
            encoded = read_file(path)
        except (OSError, ValueError) as error:  # a ValueError for a name that no file can have
            raise InputError(f"The avatar's picture {path} can't be read; capture the avatar again.") from error
        pixels = decode_picture(encoded, cv2.IMREAD_UNCHANGED, path.name)
        if pixels is None or pixels.dtype not in (np.uint8, np.uint16):
            raise InputError(f"{path} is not a picture with 8 or 16 bits a channel; capture the avatar again.")
        if pixels.ndim == 2:
            pixels = cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR)
        has_alpha = pixels.shape[2] == 4
        rgba = cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA if has_alpha else cv2.COLOR_BGR2RGBA)
        maximum = 255 if pixels.dtype == np.uint8 else 65535
        picture = torch.from_numpy(rgba.astype(np.float32) / maximum).permute(2, 0, 1)[None].contiguous()
        picture[:, :3] *= picture[:, 3:]
        return cls(picture, maximum, has_alpha)

    def over(self, grey: float = 0.5) -> Tensor:
        """Return [1, 3, H, W] RGB on an even background, as detectors and backends want to see it."""
        return self.premultiplied[:, :3] + grey * (1 - self.premultiplied[:, 3:])

    def over_with(self, part: Tensor, left: int, top: int) -> Tensor:
        """Return what `over` does of this picture with a part [4, h, w] that is another from (left, top) px on."""
        whole = self.premultiplied.clone()
        whole[0, :, top : top + part.shape[1], left : left + part.shape[2]] = part
        return replace(self, premultiplied=whole).over()

    def encoder(self, region: tuple[int, int, int, int]) -> Callable[[Tensor], bytes]:
        """Return what makes a PNG of this picture's bit depth from another part of it, premultiplied [4, h, w].

        region: left, top, right, bottom px, where that part is.
        """
        left, top, right, bottom = region
        png = PartialPng(self._codes_of(self.premultiplied[0]), left, top, (right - left, bottom - top))
        return lambda part: png.encode(self._codes_of(part))

    def _codes_of(self, premultiplied: Tensor) -> Codes:
        """Return the codes [h, w, 3 or 4] of a premultiplied part [4, h, w]."""
        from ..loops.colour import straighten

        codes = np.empty((*premultiplied.shape[1:], 4 if self.has_alpha else 3), np.uint16)
        straighten(premultiplied.cpu().contiguous().numpy(), np.float32(self.maximum), codes)
        return codes.astype(np.uint8) if self.maximum == 255 else codes
