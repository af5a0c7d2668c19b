# SPDX-License-Identifier: GPL-3.0-or-later
"""Hard bounds: no control shows motion where none was seen, and none moves farther than anything that was seen.

Least squares may move a mouth that kept still in order to fit a brow a little better. So the measured motion bounds
every control, whatever else it would explain. With U(p) the size of the measured motion in
a patch p of the face, the head's taken out, and e_k(p) the rms motion that control k makes there per unit,

    |x_k| <= c · sup{ r : patches with U(p) >= r e_k(p) hold a share q of the energy of e_k },        (support)
    |x_k| <= c · max_p U(p) / max_v |d_k(v)|,  v over all vertices, in sight or not.                   (extent)

By the first a control moves no more than was measured over a share q of what it moves; where nothing moves that is 0.
Places that are out of sight in all of the clip don't count. By the second a control of which little is in sight moves
nothing out of sight farther than the farthest motion that was measured. The factor c allows for controls that cancel
each other in part.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .measurement import UNCHANGED, Array, Measurement, Patches

SUPPORTED = 0.4  # q; below a half, so that both brows in one key can show one brow
HEADROOM = 2.0  # c; in 200 random mixtures of six controls 1 % are supported in less than half (the least in 0.28)
HEADROOM_OF_MISFIT = 1.5  # where shapes differ; of true controls on the tuning pairs 0.67 of the amount is supported
_ACTS = 0.1  # of the farthest that a control moves anything: the edge of what it moves; a hundredth of its energy
_NEIGHBOURS = 2  # places of a patch that have changed, from which on its motion is known in both directions
_PATCH = 0.15  # of the face's size: half of what a control moves, so that its edges are resolved


def seen_motion(local: Measurement, patches: Patches) -> Array:
    """Return [N, Q] px, the size of the motion measured in each patch; 0 where nothing has changed."""
    return np.asarray(np.hypot(*patch_motion(local, patches).swapaxes(0, 1)))


def patch_motion(local: Measurement, patches: Patches) -> Array:
    """Return [N, 2, Q] px, the motion measured in each patch; 0 where nothing has changed.

    `local` is the measurement without the head's motion. û = (sum J)⁻¹ sum h over the places of a patch that changed.
    """
    changed = local.valid.astype(np.float32)
    xx, xy, yy = patches.sums(local.precision * changed[:, None]).astype(np.float64).swapaxes(0, 1)
    hx, hy = patches.sums(local.pull * changed[:, None]).astype(np.float64).swapaxes(0, 1)
    ridge = 1e-3 * (xx + yy) + 1e-12
    xx, yy = xx + ridge, yy + ridge
    determinant = xx * yy - xy * xy
    return np.stack([yy * hx - xy * hy, xx * hy - xy * hx], 1) / determinant[:, None]


def moving_places(local: Measurement) -> NDArray[np.bool_]:
    """Return [N, S], the places in whose patch something has changed: elsewhere no motion was seen."""
    return _changed_near(local, Patches(local.position, _PATCH * local.size)) > 0


def _changed_near(local: Measurement, patches: Patches) -> Array:
    """Return [N, S], how many places in the patch of each place have changed."""
    return patches.spread(patches.sums(local.valid[:, None].astype(np.float32))[:, 0])


def still_precision(local: Measurement) -> Array:
    """Return [N, S], factors that give places that haven't changed the precision with which they are known to be still.

    A place that is unchanged by rounding has all the precision of its texture, one that an encoder left out has next to
    none (`UNCHANGED`). The neighbours that have changed tell which: with u the motion of a patch and J the whole
    precision of those of its places that haven't changed, the mean v of uᵀJu is the variance with which they are still,
    in units of rounding's, and they keep 1 / v of their precision, for v > 1. In lossless clips v is 1 to 30, in H.264
    8 to 120.

    local: the measurement without the head's motion.
    """
    patches = Patches(local.position, _PATCH * local.size)
    still = local.measured & ~local.valid
    among = still & (_changed_near(local, patches) >= _NEIGHBOURS)
    moved = np.stack([patches.spread(each) for each in patch_motion(local, patches).swapaxes(0, 1)], 1)
    energy = (local.size_of(moved) ** 2)[among] / UNCHANGED
    inflation = max(float(energy.mean()), 1.0) if len(energy) else 1.0
    return np.where(still, max(1 / (inflation * UNCHANGED), 1.0), 1.0)


def acted_on(columns: Array) -> NDArray[np.bool_]:
    """Return [S], the places that some control of `columns` [K, 2, S] moves; all where none moves any."""
    size = np.sqrt((columns**2).sum(1))
    acted: NDArray[np.bool_] = (size > _ACTS * np.maximum(size.max(1, keepdims=True, initial=0.0), 1e-12)).any(0)
    return acted if acted.any() else np.ones_like(acted)


def supported(seen: Array, effect: Array, energy: Array) -> Array:
    """Return [N, K], the largest amount of each control that a share `SUPPORTED` of its energy supports.

    seen: [N, Q] px. effect: [K, Q] px, rms motion per unit. energy: [K, Q], of each control in each patch.

    >>> supported(np.array([[0.5, 0.0]]), np.array([[5.0, 5.0], [0.0, 5.0]]), np.array([[1.0, 1.0], [0.0, 1.0]]))
    array([[0.1, 0. ]])
    """
    most = np.empty((len(seen), len(effect)))
    for control, (size, share) in enumerate(zip(effect, energy, strict=True)):
        acts = np.flatnonzero(share > 0)
        if not len(acts):
            most[:, control] = 0.0
            continue
        ratio = seen[:, acts] / size[acts]
        order = np.argsort(-ratio, axis=1)
        held = np.cumsum(share[acts][order], axis=1) >= SUPPORTED * share.sum() * (1 - 1e-9)
        most[:, control] = np.take_along_axis(ratio, order, 1)[np.arange(len(seen)), held.argmax(1)]
    return most


def most_amounts(local: Measurement, columns: Array, extent: Array, together: NDArray[np.bool_]) -> Array:
    """Return [N, K], the largest amount of each control, of either sign, for c = 1.

    local: the measurement without the head's motion. columns: [K, 2, S] px per unit. extent: [K] px per unit, the
    farthest that a control moves anything, in sight or not. together: [N, N] bool, the frames that share a bound: a
    control that is in play in one of them may be in the others.
    """
    patches = Patches(local.position, _PATCH * local.size)
    in_sight: Array = np.asarray(local.measured.any(0), columns.dtype)
    squared: Array = np.einsum("kcs,kcs,s->ks", columns, columns, in_sight)
    energy = patches.sums(squared[:, None])[:, 0].astype(np.float64)
    members = np.maximum(patches.sums(in_sight[None, None])[0, 0], 1)
    seen = seen_motion(local, patches)
    seen = np.stack([seen[frames].max(0) for frames in together])
    by_support = supported(seen, np.sqrt(energy / members), energy)
    by_extent = seen.max(1, initial=0.0)[:, None] / np.maximum(extent, 1e-12)
    return np.minimum(by_support, by_extent)
