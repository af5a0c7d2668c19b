# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion that is known otherwise, and equations without it: the head's, and that of lids that close."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree

from ...backend_bridge.rig.action_units import recognise
from ...backend_bridge.rig.basis import Control
from ..face import mesh_weight
from ..rig.measurement import Measurement
from ..rig.misfit import marginalised
from ..rig.sites import Sites
from .closing_lids import closure_of, lids_that_close

# Of the face's width: the standard deviation of a depth's error, which the mesh's of rendered faces has; of the window
# within which it is the same; and of what a place moves by besides, by itself.
_DEPTH, _AS_DEEP, _OWN_MOTION = 0.03, 0.04, 2e-3
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


def turning_of(head: NDArray[np.floating], sites: Sites) -> NDArray[np.float64]:
    """Return by how many px a turning head moves what lies a px deeper, [N, 2]: sines of angles.

    head: [N, S, 2] px, its motion at the sites, which is linear in their position and depth.
    """
    depth = sites.depth - sites.depth.mean()
    terms = np.c_[np.ones(len(depth)), sites.position - sites.position.mean(0), depth]
    linear = np.linalg.lstsq(terms, head.swapaxes(0, 1).reshape(len(terms), -1), rcond=None)[0]
    return np.asarray(linear[3].reshape(len(head), 2))


def depth_error(
    equations: NDArray[np.floating], turning: NDArray[np.float64], sites: Sites, width: float
) -> NDArray[np.float64]:
    """Return what a head that turns seems to move as the depth of its face is known roughly, [N, S, 2] px.

    An error of the depth moves a place along the direction in which the head turns, and in proportion to that (plane
    and parallax), in all frames. So a ridge regression over them tells it, of all places around a site.

    equations: [N, S, 6], of the motion without the head's. turning: [N, 2] (`turning_of`). width: of the face, px.
    """
    precision, pull = (
        np.ascontiguousarray(equations[..., at].swapaxes(1, 2), np.float32) for at in (slice(3), slice(3, 5))
    )
    seen = Measurement(sites.position, sites.depth, precision, pull)
    seen = marginalised(seen, np.full(len(turning), (_OWN_MOTION * width) ** 2))
    along = np.repeat(turning[..., None].astype(np.float32), len(sites.depth), axis=2)
    tree, reach = cKDTree(sites.position), _AS_DEEP * width
    near = tree.sparse_distance_matrix(tree, 2.5 * reach, output_type="coo_matrix")
    window = csr_matrix((np.exp(-0.5 * (near.data / reach) ** 2), (near.row, near.col)))
    drawn, known = (window @ (each * along).sum((0, 1)) for each in (seen.pull, seen.pull_of(along)))
    depth = drawn / (known + window.sum(1).A1 / (_DEPTH * width) ** 2)
    return np.asarray(depth[:, None] * turning[:, None])
