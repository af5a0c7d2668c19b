# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion as it is kept. Fields without their zeros: a face fills a part of its crop, and lids close in few frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..face import HeadMotion
from ..pages import KeptArray
from .even_field import numbers_of


@dataclass(frozen=True)
class PackedField:
    """A field [N, C, H, W] as the smallest rectangle that holds all that isn't 0.

    size: N, C, H, W. top, left: px, where `part` [N, C, h, w] lies.
    """

    size: tuple[int, ...]
    top: int
    left: int
    part: KeptArray

    @classmethod
    def of(cls, field: Tensor) -> PackedField:
        """Pack a field.

        >>> field = torch.zeros(1, 1, 100, 100)
        >>> field[..., 20:30, 50:60] = 1
        >>> packed = PackedField.of(field)
        >>> packed.nbytes, bool((packed.whole() == field).all())
        (400, True)
        """
        # In a sixth of PyTorch's time.
        there = np.broadcast_to(numbers_of(field.numpy()).any((0, 1)), field.shape[2:])
        rows, columns = (np.flatnonzero(there.any(axis)).tolist() or [0, -1] for axis in (1, 0))
        part = field[..., rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return cls(tuple(field.shape), rows[0], columns[0], KeptArray.of(part.numpy()))

    @property
    def nbytes(self) -> int:
        """How many bytes it takes."""
        return self.part.nbytes

    def whole(self) -> Tensor:
        """Return the field."""
        part = torch.from_numpy(self.part.array)
        if self.part.shape == self.size:
            return part
        field = torch.zeros(self.size, dtype=part.dtype)
        field[..., self.top : self.top + part.shape[2], self.left : self.left + part.shape[3]] = part
        return field


@dataclass(frozen=True)
class PackedHead:
    """A head's motion in N frames (`face.HeadMotion`); frames of a clip share the depth of its surface."""

    numbers: bytes
    centre: bytes
    radius: float
    depth: Tensor

    @classmethod
    def of(cls, head: HeadMotion) -> PackedHead:
        """Pack a head's motion."""
        numbers, centre = head.displacement.numpy(), head.centre.double().numpy()
        return cls(numbers.tobytes(), centre.tobytes(), head.radius, head.depth)

    @property
    def nbytes(self) -> int:
        """How many bytes it takes."""
        return len(self.numbers) + len(self.centre)

    def head(self) -> HeadMotion:
        """Return the head's motion."""
        numbers = torch.frombuffer(bytearray(self.numbers), dtype=torch.float32).view(-1, 2, 4)
        return HeadMotion(
            numbers, self.depth, torch.frombuffer(bytearray(self.centre), dtype=torch.float64), self.radius
        )

    def whole(self) -> Tensor:
        """Return the motion of every pixel, [N, 2, H, W] px."""
        return self.head().whole()
