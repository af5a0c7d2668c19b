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
    low, high = np.broadcast_to(low, target.shape), np.broadcast_to(high, target.shape)
    exchange = _Exchange(gram, target, low, high, guess)
    iterations = 0
    while len(exchange.open) and iterations < max_exchanges:
        exchange.step()
        iterations += 1
    return BoxSolution(exchange.values, iterations, exchange.residual())


class _Exchange:
    """The state of block principal pivoting: which unknowns of each problem are at a bound, and which problems go on.

    open: numbers of the problems whose optimality conditions are violated. values: [N, K], clipped to the box.
    """

    def __init__(
        self,
        gram: NDArray[np.floating],
        target: NDArray[np.floating],
        low: NDArray[np.floating],
        high: NDArray[np.floating],
        guess: NDArray[np.floating] | None,
    ) -> None:
        count, unknowns = target.shape
        self._gram, self._target, self._low, self._high = gram, target, low, high
        self._fixed = high <= low
        start = np.zeros(target.shape, int) if guess is None else (guess >= high).astype(int) - (guess <= low)
        self._side = np.where(self._fixed, -1, start)  # −1 at the lower bound, 0 free, +1 at the upper bound
        self._bounds = [np.where(np.isfinite(bound), bound, 0.0) for bound in (low, high)]
        self._fewest = np.full(count, unknowns + 1)
        self._patience = np.full(count, _FULL_EXCHANGES_WITHOUT_PROGRESS)
        self.open: NDArray[np.intp] = np.arange(count if unknowns else 0)
        self.values = np.empty_like(target)

    def step(self) -> None:
        """Solve the problems that are open, and exchange what violates their conditions."""
        here = self._side[self.open]
        x, gradient = self._solved(here)
        least, most, b = self._low[self.open], self._high[self.open], self._target[self.open]
        scale = _TOLERANCE * (1.0 + np.abs(x).max(1, keepdims=True))
        slope = _TOLERANCE * (1.0 + np.abs(b).max(1, keepdims=True))
        below, above = (here == 0) & (x < least - scale), (here == 0) & (x > most + scale)
        inwards = (here < 0) & (gradient < -slope) | (here > 0) & (gradient > slope)
        release = ~self._fixed[self.open] & inwards
        self.values[self.open] = np.clip(x, least, most)
        exchanged = self._to_exchange(below | above | release)
        turned = np.where(release, 0, np.where(below, -1, 1))
        self._side[self.open] = np.where(exchanged, turned, here)
        self.open = self.open[exchanged.any(1)]

    def _solved(self, here: NDArray[np.int_]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Return the values [n, K] and gradients of the open problems, for sides `here` [n, K]."""
        a, b = self._gram[self.open], self._target[self.open]
        free = here == 0
        low, high = (bound[self.open] for bound in self._bounds)
        x = np.where(here < 0, low, high) * ~free
        right = b - np.einsum("nij,nj->ni", a, x)
        some = np.flatnonzero(free.any(0))  # what is at a bound in every problem is no unknown
        if len(some):
            free = free[:, some]
            both = free[:, :, None] & free[:, None, :]
            system = np.where(both, a[:, some[:, None], some], np.eye(len(some)))
            found = np.linalg.solve(system, np.where(free, right[:, some], 0.0)[:, :, None])[:, :, 0]
            x[:, some] = np.where(free, found, x[:, some])
        return x, np.einsum("nij,nj->ni", a, x) - b

    def _to_exchange(self, wrong: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which violations [n, K] are exchanged: all of a problem's, or the last one where that was in vain."""
        misfits = wrong.sum(1)
        improved = misfits < self._fewest[self.open]
        patience = np.where(improved, _FULL_EXCHANGES_WITHOUT_PROGRESS, self._patience[self.open] - 1)
        self._patience[self.open] = patience
        self._fewest[self.open] = np.minimum(self._fewest[self.open], misfits)
        last_only = np.zeros_like(wrong)
        last_only[np.arange(len(wrong)), wrong.shape[1] - 1 - wrong[:, ::-1].argmax(1)] = True
        return wrong & ((patience >= 0)[:, None] | last_only)

    def residual(self) -> NDArray[np.float64]:
        """Return [N], see `BoxSolution`."""
        residual = np.zeros(len(self.values))
        cut = self.values[self.open]
        slope = np.einsum("nij,nj->ni", self._gram[self.open], cut) - self._target[self.open]
        stepped = np.clip(cut - slope, self._low[self.open], self._high[self.open])
        residual[self.open] = np.linalg.norm(cut - stepped, axis=1)
        return residual
