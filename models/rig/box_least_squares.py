# SPDX-License-Identifier: GPL-3.0-or-later
"""Many small box-constrained quadratic programs at once: one per video frame, all solved together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_FULL_EXCHANGES_WITHOUT_PROGRESS = 3
_TOLERANCE = 1e-10


def solve_boxed(
    gram: NDArray[np.floating],
    target: NDArray[np.floating],
    low: NDArray[np.floating],
    high: NDArray[np.floating],
    guess: NDArray[np.floating] | None = None,
    max_exchanges: int = 200,
) -> NDArray[np.floating]:
    """Minimise ½ xᵀ·gram·x − targetᵀ·x subject to low ≤ x ≤ high, for N problems of K unknowns.

    Block principal pivoting (Júdice & Pires 1994; Kim & Park 2011) with both bounds: guess which unknowns are free,
    solve for those, and exchange every unknown that contradicts the guess. When that stops making progress, Murty's
    rule (exchange the last one only) takes over, which is finite. The result is the exact minimum, but for a problem
    that `max_exchanges` cut off.

    Args:
        gram: [N, K, K] symmetric positive definite.
        target: [N, K].
        low: [K] or [N, K] lower bounds, -inf allowed.
        high: [K] or [N, K] upper bounds, not below `low`; +inf allowed.
        guess: [N, K] solution of similar problems; what lies on a bound there is tried on that bound first.
        max_exchanges: a bound on the work; what is left then is clipped to the box.

    Returns:
        [N, K] minimisers.
    """
    count, unknowns = target.shape
    solution = np.empty_like(target)
    if not unknowns:
        return solution
    low, high = np.broadcast_to(low, target.shape), np.broadcast_to(high, target.shape)
    fixed = high <= low
    start = np.zeros(target.shape, int) if guess is None else (guess >= high).astype(int) - (guess <= low)
    side = np.where(fixed, -1, start)  # −1 at the lower bound, 0 free, +1 at the upper bound
    fewest = np.full(count, unknowns + 1)
    patience = np.full(count, _FULL_EXCHANGES_WITHOUT_PROGRESS)
    open_ = np.arange(count)
    identity = np.eye(unknowns)
    finite_low, finite_high = np.where(np.isfinite(low), low, 0.0), np.where(np.isfinite(high), high, 0.0)

    for _ in range(max_exchanges):
        here, a, b = side[open_], gram[open_], target[open_]
        least, most = low[open_], high[open_]
        free = here == 0
        pinned = np.where(here < 0, finite_low[open_], finite_high[open_]) * ~free
        system = np.where(free[:, :, None] & free[:, None, :], a, identity)
        right = np.where(free, b - np.einsum("nij,nj->ni", a, pinned), pinned)
        x = np.linalg.solve(system, right[:, :, None])[:, :, 0]
        gradient = np.einsum("nij,nj->ni", a, x) - b

        scale = _TOLERANCE * (1.0 + np.abs(x).max(1, keepdims=True))
        slope = _TOLERANCE * (1.0 + np.abs(b).max(1, keepdims=True))
        below, above = free & (x < least - scale), free & (x > most + scale)
        release = ~fixed[open_] & ((here < 0) & (gradient < -slope) | (here > 0) & (gradient > slope))
        wrong = below | above | release
        misfits = wrong.sum(1)
        solution[open_] = np.clip(x, least, most)

        going = misfits > 0
        if not going.any():
            break
        improved = misfits < fewest[open_]
        patience[open_] = np.where(improved, _FULL_EXCHANGES_WITHOUT_PROGRESS, patience[open_] - 1)
        fewest[open_] = np.minimum(fewest[open_], misfits)
        last_only = np.zeros_like(wrong)
        last_only[np.arange(len(open_)), unknowns - 1 - wrong[:, ::-1].argmax(1)] = True
        wrong &= (patience[open_] >= 0)[:, None] | last_only
        side[open_] = np.where(wrong & release, 0, np.where(wrong & below, -1, np.where(wrong & above, 1, here)))
        open_ = open_[going]
    return solution
