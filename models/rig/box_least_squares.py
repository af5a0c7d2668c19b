# SPDX-License-Identifier: GPL-3.0-or-later
"""Many small box-constrained quadratic programs: one per video frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_TOLERANCE = 1e-10  # relative, of gradients; float64 solves to some 1e-12 for condition numbers of 1e4


@dataclass(frozen=True)
class BoxSolution:
    """The state of the iteration when it ended.

    values: [N, K], the minimisers. rounds: Newton steps of the problem that took most. residual: [N], norm of the
    projected gradient step x - clip(x - gradient, low, high) of problems that were cut off, 0 for those that fulfil the
    optimality conditions (KKT) to rounding.
    """

    values: NDArray[np.float64]
    rounds: int
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
    max_rounds: int = 500,
) -> BoxSolution:
    """Minimise ½ xᵀ·gram·x − targetᵀ·x subject to low ≤ x ≤ high, for N problems of K unknowns.

    An active-set method with projected Newton steps (Bertsekas 1982; Moré & Toraldo 1991). Each round

        1. solves for the free unknowns, the others being fixed at a bound
        2. goes there along a path that is bent where an unknown meets its bound, as far as the function falls on it;
           those that have met one are fixed from then on
        3. if none has met one, the minimum is reached that the free unknowns allow, so that those are released whose
           gradient points into the box

    The function falls in every round, so that no two such minima have the same free unknowns, and there are finitely
    many. Where nothing is released the values are the minimum, to rounding. A problem that `max_rounds` cuts off is in
    its box, and `BoxSolution.converged` is False for it.

    Args:
        gram: [N, K, K] symmetric positive definite.
        target: [N, K].
        low: [K] or [N, K] lower bounds, -inf allowed.
        high: [K] or [N, K] upper bounds, not below `low`; +inf allowed.
        guess: [N, K] where to begin, such as the solution of similar problems; 0 without one.
        max_rounds: Newton steps at most.

    >>> gram, target = np.array([[[2.0, 1.0], [1.0, 2.0]]]), np.array([[3.0, 0.0]])  # unbounded: (2, -1)
    >>> solution = solve_boxed(gram, target, np.zeros(2), np.full(2, np.inf))
    >>> solution.values, solution.converged
    (array([[1.5, 0. ]]), array([ True]))
    """
    from ..loops.rig import minimise_boxed

    bounds = (np.broadcast_to(bound, target.shape) for bound in (low, high))
    matrix, right, least, most = (np.require(each, np.float64, ["C", "W"]) for each in (gram, target, *bounds))
    values = np.zeros_like(right) if guess is None else np.array(guess, np.float64, order="C")
    rounds = np.empty(len(right), np.int64)
    minimise_boxed(matrix, right, least, most, _TOLERANCE, max_rounds, values, rounds)
    cut = rounds < 0
    slope = np.einsum("nij,nj->ni", matrix[cut], values[cut]) - right[cut]
    residual = np.zeros(len(right))
    residual[cut] = np.linalg.norm(values[cut] - np.clip(values[cut] - slope, least[cut], most[cut]), axis=1)
    return BoxSolution(values, max_rounds if cut.any() else int(rounds.max(initial=0)), residual)
