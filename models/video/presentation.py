# SPDX-License-Identifier: GPL-3.0-or-later
"""From the coded picture to the one that is shown: upright, with square pixels."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import av
import cv2
import numpy as np
from av.sidedata.sidedata import SideDataContainer
from av.sidedata.sidedata import Type as SideDataType
from numpy.typing import NDArray


@dataclass(frozen=True)
class Presentation:
    """One of the eight ways to lay a picture, after its pixels were made square.

    aspect: width of a coded pixel over its height. swap: x and y change places, before flip_x and flip_y mirror.
    exact: False if the display matrix has an angle between the right ones (the nearest was taken).
    """

    aspect: Fraction = Fraction(1)
    swap: bool = False
    flip_x: bool = False
    flip_y: bool = False
    exact: bool = True

    @classmethod
    def of(cls, frame: av.VideoFrame, sample_aspect_ratio: Fraction | None) -> Presentation:
        """Read a decoded frame's display matrix, whose rows are the directions of the coded x and y axes."""
        aspect = sample_aspect_ratio or Fraction(1)
        # `frame.side_data` is kept by the frame that it keeps: only a garbage collection frees the two.
        side_data = SideDataContainer(frame).get(SideDataType.DISPLAYMATRIX)
        if side_data is None:
            return cls(aspect)
        a, b, _, c, d = (int(value) for value in np.frombuffer(side_data, np.int32)[:5])
        swap = abs(b) + abs(c) > abs(a) + abs(d)
        exact = (a == d == 0) if swap else (b == c == 0)
        return cls(aspect, swap, (c if swap else a) < 0, (b if swap else d) < 0, exact)

    @property
    def rotation(self) -> int:
        """The turn in degrees counter-clockwise, one of 0, 90, 180, 270 (of a mirrored picture: after mirroring x)."""
        if self.swap:
            return 90 if self.flip_y else 270
        return 180 if self.flip_y else 0

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return (width, height) in px as shown, of a coded size."""
        width, height = self._squared(width, height)
        return (height, width) if self.swap else (width, height)

    def __call__(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the [H, W, 3] picture as it is to be shown."""
        height, width = image.shape[:2]
        if self.aspect != 1:
            image = cv2.resize(image, self._squared(width, height), interpolation=cv2.INTER_CUBIC).clip(0, 1)
        if self.swap:
            image = image.transpose(1, 0, 2)
        return np.ascontiguousarray(image[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1])

    def _squared(self, width: int, height: int) -> tuple[int, int]:
        """Stretch the shorter side of the pixels, so that nothing is lost."""
        return (round(width * self.aspect), height) if self.aspect >= 1 else (width, round(height / self.aspect))
