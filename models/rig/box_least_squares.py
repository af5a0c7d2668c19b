# SPDX-License-Identifier: GPL-3.0-or-later
"""Many small box-constrained quadratic programs at once: one per video frame, all solved together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_FULL_EXCHANGES_WITHOUT_PROGRESS = 3  # as Kim & Park
_TOLERANCE = 1e-10  # relative, of values and of gradients; float64 solves to some 1e-12 for condition numbers of 1e4


@dataclass(frozen=True)
class BoxSolution:
    """The state of the active-set iteration when it ended.

    values: [N, K], the minimisers. iterations: exchanges of the active set, the first system included. residual: [N],
    norm of the projected gradient step x - clip(x - gradient, low, high) of problems that were cut off, 0 for those
    that fulfil the optimality conditions (KKT) to rounding.
    """

    values: NDArray[np.floating]
    iterations: int
    residual: NDArray[np.float64]

    @property
    def converged(self) -> NDArray[np.bool_]:
        """[N], problems whose values are the minimum, to rounding."""
        return self.residual == 0


def solve_boxed(
    gram: NDArray[np.floating],
    target: NDArray[np.floating],
    low: NDArray[np.floating],
    high: NDArray[np.floating],
    guess: NDArray[np.floating] | None = None,
    max_exchanges: int = 200,
) -> BoxSolution:
    """Minimise ½ xᵀ·gram·x − targetᵀ·x subject to low ≤ x ≤ high, for N problems of K unknowns.

    Block principal pivoting (Júdice & Pires 1994; Kim & Park 2011) with both bounds, an active-set method. Each
    iteration

        1. solves for the free unknowns, the others being fixed at a bound
        2. finds the unknowns that violate the optimality conditions: free ones outside of their bounds, and fixed ones
           whose gradient points into the box
        3. exchanges all of these between free and fixed; after three iterations without fewer violations only the last
           one (Murty's rule, which is finite)

    Without violations the values are the minimum, to rounding. A problem that `max_exchanges` cuts off is clipped to
    the box, and `BoxSolution.converged` is False for it.

    Args:
        gram: [N, K, K] symmetric positive definite.
        target: [N, K].
        low: [K] or [N, K] lower bounds, -inf allowed.
        high: [K] or [N, K] upper bounds, not below `low`; +inf allowed.
        guess: [N, K] solution of similar problems; what lies on a bound there is tried on that bound first.
        max_exchanges: iterations at most.

    >>> gram, target = np.array([[[2.0, 1.0], [1.0, 2.0]]]), np.array([[3.0, 0.0]])  # unbounded: (2, -1)
    >>> solution = solve_boxed(gram, target, np.zeros(2), np.full(2, np.inf))
    >>> solution.values, solution.converged
    (array([[1.5, 0. ]]), array([ True]))
    """
    count, unknowns = target.shape
    solution, residual = np.empty_like(target), np.zeros(count)
    if not unknowns:
        return BoxSolution(solution, 0, residual)
    low, high = np.broadcast_to(low, target.shape), np.broadcast_to(high, target.shape)
    fixed = high <= low
    start = np.zeros(target.shape, int) if guess is None else (guess >= high).astype(int) - (guess <= low)
    side = np.where(fixed, -1, start)  # −1 at the lower bound, 0 free, +1 at the upper bound
    fewest = np.full(count, unknowns + 1)
    patience = np.full(count, _FULL_EXCHANGES_WITHOUT_PROGRESS)
    open_ = np.arange(count)
    identity = np.eye(unknowns)
    finite_low, finite_high = np.where(np.isfinite(low), low, 0.0), np.where(np.isfinite(high), high, 0.0)

    iterations = 0
    while len(open_) and iterations < max_exchanges:
        iterations += 1
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
        improved = misfits < fewest[open_]
        patience[open_] = np.where(improved, _FULL_EXCHANGES_WITHOUT_PROGRESS, patience[open_] - 1)
        fewest[open_] = np.minimum(fewest[open_], misfits)
        last_only = np.zeros_like(wrong)
        last_only[np.arange(len(open_)), unknowns - 1 - wrong[:, ::-1].argmax(1)] = True
        wrong &= (patience[open_] >= 0)[:, None] | last_only
        side[open_] = np.where(wrong & release, 0, np.where(wrong & below, -1, np.where(wrong & above, 1, here)))
        open_ = open_[going]
    cut = solution[open_]
    slope = np.einsum("nij,nj->ni", gram[open_], cut) - target[open_]
    residual[open_] = np.linalg.norm(cut - np.clip(cut - slope, low[open_], high[open_]), axis=1)
    return BoxSolution(solution, iterations, residual)
