# SPDX-License-Identifier: GPL-3.0-or-later
"""Face meshes whose lids are lowered."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def with_lids(mesh: NDArray[np.floating[Any]], right: float, left: float) -> NDArray[np.floating[Any]]:
    """A mesh [478, 2+] with its upper lids lowered by these shares of the opening."""
    moved = mesh.copy()
    for share, upper, lower in (
        (right, (246, 161, 160, 159, 158, 157, 173), (7, 163, 144, 145, 153, 154, 155)),
        (left, (466, 388, 387, 386, 385, 384, 398), (249, 390, 373, 374, 380, 381, 382)),
    ):
        moved[list(upper)] += share * (mesh[list(lower)] - mesh[list(upper)])
    return moved
