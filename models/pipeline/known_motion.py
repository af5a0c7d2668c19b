# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion equations without motion that is known otherwise: the head's, and that of lids that close."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...backend_bridge.rig.action_units import recognise
from ...backend_bridge.rig.basis import Control
from ..face import mesh_weight
from .closing_lids import closure_of, lids_that_close

_LID = 0.1  # of the farthest that a lid moves anything, and of its region: from here on a place is its own


def without_motion(equations: NDArray[np.floating], motion: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return equations [N, S, 6] J u = h of what is left of u when a known motion [N, S, 2] px is taken out."""
    xx, xy, yy = np.moveaxis(equations[..., :3], -1, 0)
    x, y = np.moveaxis(motion, -1, 0)
    left = equations.copy()
    left[..., 3] -= xx * x + xy * y
    left[..., 4] -= xy * x + yy * y
    return left


def without_blinks(
    equations: NDArray[np.floating],
    controls: Sequence[Control],
    closed: NDArray[np.float64],
    columns: NDArray[np.floating],
    lids: NDArray[np.floating],
) -> NDArray[np.floating]:
    """Return what was read [N, S, 10] without what lids do that close, whose values are the mesh's (`with_lids`).

    A lid that closes moves ten times as far as an expression; beside it the expression would pass for an error. On the
    lids nothing is measured meanwhile. Farther off, where a lid draws skin along, what it moves there is taken out.

    closed: [N, 2], of the right and the left eye (`face.closures`). columns: [K, S, 2], what each control moves, px per
    unit. lids: [S], how far each site belongs to their region.
    """
    result = equations.copy()
    reach = np.linalg.norm(columns, axis=2)
    for index in lids_that_close(controls, (), columns):
        eye = closure_of(closed, recognise(controls[index].name))
        weight = mesh_weight(eye)[:, None, None]
        amount = np.clip(eye, 0, 1)[:, None, None] * controls[index].amounts[1]
        result[..., :6] = without_motion(result[..., :6], weight * amount * columns[index])
        own = (reach[index] > _LID * reach[index].max(initial=0.0)) | (lids > _LID)
        result[:, own, :6] *= 1 - weight
    return result
