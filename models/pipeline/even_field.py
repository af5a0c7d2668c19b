# SPDX-License-Identifier: GPL-3.0-or-later
"""Fields that have one value everywhere: most of what may hide a face, or close its lids, does so in few frames."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray
from torch import Tensor


def without_repeats(field: Tensor) -> Tensor:
    """Return a field [N, C, H, W] as it is, but one that has one value everywhere as a view of that number.

    A clip's batches wait for each other with all their fields, so that a third of their memory was zeros and ones.

    >>> import torch
    >>> closed, open_ = torch.zeros(8, 1, 64, 64), torch.eye(64)[None, None]
    >>> [without_repeats(field).untyped_storage().nbytes() for field in (closed, open_)]
    [4, 16384]
    """
    if not field.numel():
        return field
    numbers = distinct(field)
    value = numbers.amin()
    return value.expand(field.shape) if bool(value == numbers.amax()) else field  # faster than to compare each


def distinct(field: Tensor) -> Tensor:
    """Return what `numbers_of` does of a tensor.

    >>> import torch
    >>> distinct(torch.zeros(1, 1, 1, 1).expand(8, 1, 64, 64)).shape
    torch.Size([1, 1, 1, 1])
    """
    return field[tuple(slice(None, None if stride else 1) for stride in field.stride())]


def numbers_of(field: NDArray[Any]) -> NDArray[Any]:
    """Return an array without what a view repeats: of a field that has one value everywhere, that number.

    >>> import numpy as np
    >>> numbers_of(np.broadcast_to(np.zeros(1), (8, 1, 64, 64))).shape
    (1, 1, 1, 1)
    """
    return field[tuple(slice(None, None if stride else 1) for stride in field.strides)]
