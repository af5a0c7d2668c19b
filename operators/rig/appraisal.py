# SPDX-License-Identifier: GPL-3.0-or-later
"""What was seen of a control: how much it shows, whether it turns its part, and why it had better not be solved."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Appraisal:
    """What a control does.

    pixels: how far it moves the visible part of the face at most, over its range. visibility: the same as a share of
    the most visible control's. note: why it is better not solved, or an empty string. turns: whether what it moves is
    made to turn about a place outside of it, as a jaw does. ground: [V] m², the area of the face that it moves.
    """

    pixels: float
    visibility: float
    note: str = ""
    turns: bool = False
    ground: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0), compare=False, repr=False)
