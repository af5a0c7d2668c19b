# SPDX-License-Identifier: GPL-3.0-or-later
"""Fields without their zeros: a face fills a part of its crop, and lids close in few frames."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..pages import in_own_pages


@dataclass(frozen=True)
class PackedField:
    """A field [N, C, H, W] as the smallest rectangle that holds all that isn't 0.

    size: N, C, H, W. top, left: px, where `part` [N, C, h, w] lies.
    """

    size: tuple[int, ...]
    top: int
    left: int
    part: Tensor

    @classmethod
    def of(cls, field: Tensor) -> PackedField:
        """Pack a field.

        >>> field = torch.zeros(1, 1, 100, 100)
        >>> field[..., 20:30, 50:60] = 1
        >>> packed = PackedField.of(field)
        >>> packed.nbytes, bool((packed.whole() == field).all())
        (400, True)
        """
        there = (field != 0).any(0).any(0)
        rows, columns = (there.any(axis).nonzero().flatten().tolist() or [0, -1] for axis in (1, 0))
        part = field[..., rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return cls(tuple(field.shape), rows[0], columns[0], torch.from_numpy(in_own_pages(part.numpy())))

    @property
    def nbytes(self) -> int:
        """How many bytes it takes."""
        return self.part.nbytes

    def whole(self) -> Tensor:
        """Return the field."""
        if tuple(self.part.shape) == self.size:
            return self.part
        field = torch.zeros(self.size, dtype=self.part.dtype)
        field[..., self.top : self.top + self.part.shape[2], self.left : self.left + self.part.shape[3]] = self.part
        return field
