# SPDX-License-Identifier: GPL-3.0-or-later
"""Which controls are in play where the rig's shapes fit half-way: the fewest that show what the rig can show at best.

Where shapes differ from the driver's, several controls that have nothing to do with an expression explain together a
little more of it than the one that is meant for it. So a control has a price, in energy that it has to explain beyond
the others (an L0 penalty, as in an information criterion). The price is a share of what the rig explains at best, in
proportion to the misfit: a rig that fits exactly is believed in the smallest share, one that fits half-way only in
large ones. And it is never less than what the noise alone would explain.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ...backend_bridge.rig.action_units import recognise
from .box_least_squares import solve_boxed
from .measurement import Array

MISFIT_PRICE = 0.1  # of the energy explained at best, times the misfit's share: chosen on `training.foreign.TUNED`
LEAST_PRICE = 0.01  # of the energy explained at best, of a control that the evidence alone didn't find
NO_MISFIT = 0.03  # share of the motion, below which shapes are the driver's and the evidence alone decides
MOST_CONTROLS = 16  # in play at once; spontaneous micro-expressions have 1.3 to 1.7 action units, on two sides
OTHER_PRICE = 1.5  # of a control that stands for none of `MICRO_UNITS`, or that parts the lips
_QUIET = 0.1  # share of the strongest frame's explained energy, below which frames part one event from the next
_FRAMES = 16  # of an event that are looked at: more of them cost time and change nothing
_FAINT = 0.03  # share of an event's most explained energy, below which its frames are not looked at
_TIDYINGS = 6  # exchanges at most after the greedy search
_RIVALS = 3  # candidates that are solved for exactly at each step

# The action units that coders found in 2,521 spontaneous micro-expressions of six sets (the distribution that the
# `meb` benchmark lists for CASME, CASME II, CAS(ME)3, 4DME, MMEW and SAMM), with those that they come along with.
MICRO_UNITS = frozenset({1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17})
# Units that part the lips. Motion equations see the lips' outer edges, not whether there are teeth between them, and
# of two explanations that are as good the one that shows none is the safer.
PARTING_UNITS = frozenset({10, 16, 22, 25, 26, 27})


@dataclass(frozen=True)
class Choice:
    """Which controls are in play, [N, K].

    fits: [N], frames in which the shapes are the driver's, so that nothing had to be chosen. steps: sets that were
    solved. explained: share of what can be explained at best.
    """

    in_play: NDArray[np.bool_]
    fits: NDArray[np.bool_]
    steps: int
    explained: float


def prices(names: Sequence[str], controls: Array) -> Array:
    """Return [Q], the relative price of Q controls or pairs of them, `controls` [Q, K] being what each one moves."""
    own = np.array([1.0 if _occurs(name) else OTHER_PRICE for name in names])
    return np.where(controls > 0, own, np.inf).min(1, initial=OTHER_PRICE)


def choose(
    gram: Array,
    target: Array,
    low: Array,
    high: Array,
    noise: Array,
    misfit: Array,
    price: Array,
    best: Array,
    in_play: Array,
    active: NDArray[np.bool_],
) -> Choice:
    """Choose the controls that are in play, event by event.

    Minimises, over sets A of controls and their values x within bounds,

        sum_n (x_n' G_n x_n - 2 t_n' x_n) + sum_{k in A} price_k,

    greedily: the control that gains most is added, those that have become dispensable are taken away, and each is
    replaced where another does better.

    Args:
        gram: [N, K, K] and target: [N, K], normal equations without what is solved along with the controls.
        low, high: [K] bounds.
        noise: [N], how much one freedom explains of errors alone.
        misfit: [N], the share of the motion that no values of the controls explain, in [0, 1).
        price: [K], relative; see `prices`.
        best: [N], the energy that all controls together explain.
        in_play: [N, N], how much the frames around count in what a frame's controls are.
        active: [N, K], controls that the evidence has found in play; these have stood up to the noise already.
    """
    count, controls = target.shape
    chosen, fits = np.zeros((count, controls), bool), np.ones(count, bool)
    steps, reached, possible = 0, 0.0, 0.0
    for event in _events(in_play @ best):
        moving = event[best[event] > _FAINT * best[event].max()]
        clear = moving[np.linspace(0, len(moving) - 1, min(len(moving), _FRAMES)).round().astype(int)]
        awake = active[event].any(0)
        whole = max(float(best[clear].sum()), 1e-30)
        share = float(misfit[clear] @ best[clear]) / whole
        if share < NO_MISFIT:
            continue
        fits[event] = False
        # Mean and 2.5 standard deviations of what errors alone make of one freedom (chi-squared).
        by_noise = float(noise[clear].sum()) * (1 + 2.5 * np.sqrt(2 / len(clear)))
        worth = price * whole * np.maximum(MISFIT_PRICE * share, LEAST_PRICE * ~awake) + by_noise * ~awake
        search = _Search(gram[clear], target[clear], low, high, worth)
        found = search.run()
        steps += search.steps
        reached += search.explained(found)
        possible += whole
        chosen[np.ix_(event, np.array(found, np.intp))] = True
    return Choice(chosen, fits, steps, min(reached / possible, 1.0) if possible > 0 else 1.0)


class _Search:
    def __init__(self, gram: Array, target: Array, low: Array, high: Array, price: Array) -> None:
        self._gram, self._target, self._low, self._high, self._price = gram, target, low, high, price
        self._diagonal = np.diagonal(gram, axis1=1, axis2=2)
        self._known: dict[frozenset[int], float] = {}
        self.steps = 0

    def run(self) -> list[int]:
        found = self._grown([])
        tidied = self._tidied(found)
        return found if tidied == found else self._grown(tidied)

    def _grown(self, found: list[int]) -> list[int]:
        while len(found) < MOST_CONTROLS:
            better = self._best_of([*found, each] for each in self._candidates(found))
            if better is None or self._score(better) <= self._score(found):
                break
            found = better
        return found

    def explained(self, chosen: Sequence[int]) -> float:
        """Return the energy that the controls explain within their bounds, x'(2t - Gx) at the least squares."""
        if not chosen:
            return 0.0
        key = frozenset(chosen)
        if key not in self._known:
            self.steps += 1
            self._known[key] = float((self._values(chosen) * (2 * self._target - self._fitted(chosen))).sum())
        return self._known[key]

    def _score(self, chosen: Sequence[int]) -> float:
        return self.explained(chosen) - float(self._price[list(chosen)].sum())

    def _tidied(self, chosen: list[int]) -> list[int]:
        """Drop and replace controls as long as that is an improvement."""
        score = self._score(chosen)
        for _ in range(_TIDYINGS):
            fewer = [[other for other in chosen if other != each] for each in chosen]
            swapped = [[*rest, each] for rest in fewer for each in self._candidates(rest) if each not in chosen]
            better = self._best_of([*fewer, *swapped])
            if better is None or self._score(better) <= score * (1 + 1e-9):
                break
            chosen, score = list(better), self._score(better)
        return chosen

    def _best_of(self, sets: Iterable[Sequence[int]]) -> list[int] | None:
        scored = [(self._score(each), list(each)) for each in sets]
        return max(scored)[1] if scored else None

    def _candidates(self, chosen: Sequence[int]) -> list[int]:
        """Return those outside that would gain most if the chosen ones kept their values, less their price."""
        left = self._target - (self._fitted(chosen) if chosen else 0.0)
        upwards = np.where(self._high > 0, np.maximum(left, 0), 0.0)
        downwards = np.where(self._low < 0, np.maximum(-left, 0), 0.0)
        gain = (np.maximum(upwards, downwards) ** 2 / np.maximum(self._diagonal, 1e-30)).sum(0) - self._price
        gain[list(chosen)] = -np.inf
        order = np.argsort(-gain, kind="stable")[:_RIVALS]
        return [int(each) for each in order if np.isfinite(gain[each])]

    def _values(self, chosen: Sequence[int]) -> Array:
        index = list(chosen)
        system = self._gram[:, index][:, :, index]
        ridge = 1e-9 * np.maximum(system.max((1, 2)), 1e-12)
        values: Array = np.zeros_like(self._target)
        values[:, index] = solve_boxed(
            system + ridge[:, None, None] * np.eye(len(index)),
            self._target[:, index],
            self._low[index],
            self._high[index],
        )
        return values

    def _fitted(self, chosen: Sequence[int]) -> Array:
        return np.asarray(np.einsum("nij,nj->ni", self._gram, self._values(chosen)))


def _events(energy: Array) -> Iterator[NDArray[np.intp]]:
    """Yield the frames of each stretch in which something moves, by the energy explained [N]."""
    moving = np.flatnonzero(energy > _QUIET * energy.max(initial=0.0))
    if len(moving):
        # What lies between two events is the nearer one's, so that onset and offset are solved too.
        groups = np.split(moving, np.flatnonzero(np.diff(moving) > 1) + 1)
        middles = [(a[-1] + b[0] + 1) // 2 for a, b in pairwise(groups)]
        yield from np.split(np.arange(len(energy)), middles)


def _occurs(name: str) -> bool:
    meaning = recognise(name)
    units = {unit.number for unit in meaning.units} if meaning else set()
    return bool(units & MICRO_UNITS) and not units & PARTING_UNITS
