# SPDX-License-Identifier: GPL-3.0-or-later
"""Which controls are in play where the rig's shapes fit half-way: the set of action units with the most evidence.

Where shapes differ from the driver's, several controls that have nothing to do with an expression explain together a
little more of it than the one that is meant for it. Sets A of controls are compared by their posterior, the
profile likelihood of errors of unknown variance times a prior over action units,

    log p(A | motion) = -n/2 log(1 - E(A) / T + m) - sum_{units in A} log((1 - p) / p) - |A| log 2,

with T the energy of the motion, E(A) what A explains of it within bounds, m the misfit that is expected between two
families' shapes of one unit, p the prior probability of an action unit, and n the number of independent measurements of
the motion. The misfit is smooth: a patch of the face as large as what a
control moves is one measurement of it, in two directions, however many pixels it has. Controls of one unit, left and
right, inner and outer, are one hypothesis with one prior. A control that explains a good part of what is left is taken
whatever it is called; one that mends a corner of it has to be what faces do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ...backend_bridge.rig.action_units import recognise
from ...backend_bridge.rig.face_parts import without_side
from .box_least_squares import solve_boxed
from .measurement import Array

NO_MISFIT = 0.015  # share of the motion, below which shapes are the driver's and the evidence alone decides
MOST_CONTROLS = 16  # in play at once; spontaneous micro-expressions have 1.3 to 1.7 action units, on two sides
_OCCURS = np.log(0.875 / 0.125)  # log odds against one of the twelve `MICRO_UNITS`: 1.5 of them in a micro-expression
_PARTS_LIPS = np.log(0.97 / 0.03)  # against AU10: 75 of 2,521 of those coded
_RARE = np.log(0.99 / 0.01)  # against any other: not among those that the sets list, so one in a hundred at most
_CONTROL = np.log(2)  # against each control of a unit that is there: one side or both
_EXPECTED_MISFIT = 0.1  # m: a unit of two families agrees to a cosine of 0.95 at best (on the tuning families)
_SOMETHING = 0.1  # share of the motion's energy; what explains less may be an error of the head's motion
_MOST_MISFIT = 0.99  # share of the motion; what explains less than a hundredth of it is told apart by its price alone
_QUIET = 0.1  # share of the strongest frame's explained energy, below which frames part one event from the next
_FRAMES = 16  # of an event that are looked at: more of them cost time and change nothing
_FAINT = 0.03  # share of an event's most explained energy, below which its frames are not looked at
_EXCHANGES = 6  # after the greedy search, at most
_RIVALS = 3  # candidates that are solved for exactly at each step

# The action units that coders found in 2,521 spontaneous micro-expressions of six sets (the distribution that the
# `meb` benchmark lists for CASME, CASME II, CAS(ME)3, 4DME, MMEW and SAMM), with those that they come along with.
MICRO_UNITS = frozenset({1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17})
# Units that come together, so that where one is the other is as likely as not: the classes of Davison et al. (2018).
COMPANIONS = tuple(map(frozenset, ((1, 2), (4, 7), (6, 12), (9, 10), (15, 17))))
# Units that part the lips. Motion equations see the lips' outer edges, not whether there are teeth between them, and
# of two explanations that are as good the one that shows none is the safer.
PARTING_UNITS = frozenset({10, 16, 22, 25, 26, 27})


@dataclass(frozen=True)
class Choice:
    """Which controls are in play, [N, K].

    fits: [N], frames in which the shapes are the driver's and nothing rare is in play, so that nothing had to
    be chosen. steps: sets that were solved. explained: share of what can be explained at best.
    """

    in_play: NDArray[np.bool_]
    fits: NDArray[np.bool_]
    steps: int
    explained: float

    @classmethod
    def free(cls, frames: int, controls: int) -> Choice:
        """Return that nothing has to be chosen: the evidence alone decides."""
        return cls(np.ones((frames, controls), bool), np.ones(frames, bool), steps=0, explained=1.0)


@dataclass(frozen=True)
class Hypotheses:
    """What Q controls, or pairs of them, stand for.

    group: [Q], the number of the action unit's hypothesis; those that stand for no unit that is known have one for
    each name, both sides of which are the same.
    family: [Q], that of the `COMPANIONS` it belongs to, of whose hypotheses the first alone is a surprise. surprise:
    [Q], the log odds against that, nats.
    """

    group: NDArray[np.intp]
    family: NDArray[np.intp]
    surprise: Array

    @property
    def rare(self) -> NDArray[np.bool_]:
        """[Q], those of a known rig that stand for nothing that micro-expressions are made of."""
        return self.surprise >= _RARE

    @classmethod
    def named(cls, names: Sequence[str], spread: Array) -> Hypotheses:
        """Return those of the controls `spread` [Q, K] moves, K of these names.

        On a rig of which no name is known all are equally likely.
        """
        units = [_units(name) for name in names]
        known = any(units)
        groups: dict[object, int] = {}
        families: dict[object, int] = {}
        group, family, surprise = [], [], []
        for row in spread > 0:
            members = [units[index] for index in np.flatnonzero(row)]
            meant = frozenset().union(*members)
            own = meant or frozenset(without_side(names[index]) for index in np.flatnonzero(row))
            group.append(groups.setdefault(own, len(groups)))
            family.append(families.setdefault(next((each for each in COMPANIONS if each & meant), own), len(families)))
            surprise.append(min((_surprise(each, known) for each in members), default=_RARE))
        return cls(np.array(group, np.intp), np.array(family, np.intp), np.array(surprise))


def choose(
    gram: Array,
    target: Array,
    low: Array,
    high: Array,
    noise: Array,
    misfit: Array,
    left: Array,
    hypotheses: Hypotheses,
    best: Array,
    freedoms: Array,
    in_play: Array,
    active: NDArray[np.bool_],
) -> Choice:
    """Choose the controls that are in play, event by event.

    The posterior of a set is maximised greedily: the control or the unit that gains most is added, controls that have
    become dispensable are taken away, and each is replaced where another does better. That is a local maximum.

    Args:
        gram: [N, K, K] and target: [N, K], normal equations without what is solved along with the controls.
        low, high: [N, K] bounds.
        noise: [N, K], how much each control explains of errors alone.
        misfit: [N], the share of the motion that no values of the controls explain, in [0, 1).
        left: [N], the same of the energy that the equations are in.
        hypotheses: what the controls stand for.
        best: [N], the energy that all controls together explain.
        freedoms: [N], n, the number of independent measurements of a frame's motion.
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
        if share < NO_MISFIT and not hypotheses.rare[awake].any():
            continue
        fits[event] = False
        # Mean and 2.5 standard deviations of what errors alone make of one freedom (chi-squared).
        by_noise = noise[clear].sum(0) * (1 + 2.5 * np.sqrt(2 / len(clear))) * ~awake
        total = float((best[clear] / (1 - left[clear].clip(max=_MOST_MISFIT))).sum())
        measurements = max(float(freedoms[clear] @ best[clear]) / whole, 2.0)
        search = _Search(gram[clear], target[clear], low[clear], high[clear], by_noise, total, measurements, hypotheses)
        found = search.run()
        steps += search.steps
        reached += search.explained(found)
        possible += whole
        chosen[np.ix_(event, np.array(found, np.intp))] = True
    return Choice(chosen, fits, steps, min(reached / possible, 1.0) if possible > 0 else 1.0)


class _Search:
    """Greedy search with exchanges; `noise` [K] is the energy that a control has to explain beyond the errors'."""

    def __init__(
        self,
        gram: Array,
        target: Array,
        low: Array,
        high: Array,
        noise: Array,
        total: float,
        measurements: float,
        hypotheses: Hypotheses,
    ) -> None:
        self._gram, self._target, self._low, self._high, self._noise = gram, target, low, high, noise
        self._total, self._measurements, self._hypotheses = total, measurements, hypotheses
        self._diagonal = np.diagonal(gram, axis1=1, axis2=2)
        self._groups = [np.flatnonzero(hypotheses.group == each).tolist() for each in np.unique(hypotheses.group)]
        self._known: dict[frozenset[int], float] = {}
        self.steps = 0

    def run(self) -> list[int]:
        found = self._grown([])
        exchanged = self._exchanged(found)
        return found if exchanged == found else self._grown(exchanged)

    def _grown(self, found: list[int]) -> list[int]:
        while len(found) < MOST_CONTROLS:
            better = self._best_of([*found, *each] for each in self._additions(found))
            # Where a good part of the motion can be explained, that nothing is in play is no hypothesis.
            needed = not found and better is not None and self.explained(better) > _SOMETHING * self._total
            if better is None or (not needed and self._score(better) <= self._score(found)):
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
        """Return the logarithm of the posterior, nats, but for a constant."""
        index = list(chosen)
        left = 1.0 - (self.explained(chosen) - float(self._noise[index].sum())) / self._total
        fit = -0.5 * self._measurements * np.log(max(left, 0.0) + _EXPECTED_MISFIT)
        # The likeliest unit of a family brings its companions along.
        families: dict[int, float] = {}
        for family, surprise in zip(self._hypotheses.family[index], self._hypotheses.surprise[index], strict=True):
            families[int(family)] = min(float(surprise), families.get(int(family), np.inf))
        return float(fit - sum(families.values()) - len(index) * _CONTROL)

    def _exchanged(self, chosen: list[int]) -> list[int]:
        """Drop and replace controls as long as that is an improvement."""
        score = self._score(chosen)
        for _ in range(_EXCHANGES):
            fewer = [[other for other in chosen if other != each] for each in chosen]
            whole = [[o for o in chosen if self._hypotheses.group[o] != group] for group in self._groups_of(chosen)]
            swapped = [
                [*rest, *each]
                for rest in [*fewer, *whole]
                for each in self._additions(rest)
                if not set(each) & set(chosen)
            ]
            better = self._best_of(each for each in [*fewer, *whole, *swapped] if each)
            if better is None or self._score(better) <= score + 1e-9:
                break
            chosen, score = list(better), self._score(better)
        return chosen

    def _groups_of(self, chosen: Sequence[int]) -> list[int]:
        return sorted({int(self._hypotheses.group[each]) for each in chosen})

    def _best_of(self, sets: Iterable[Sequence[int]]) -> list[int] | None:
        scored = [(self._score(each), list(each)) for each in sets]
        return max(scored)[1] if scored else None

    def _additions(self, chosen: Sequence[int]) -> list[list[int]]:
        """Return the controls, and the units with all their controls, that would gain most."""
        left = self._target - (self._fitted(chosen) if chosen else 0.0)
        upwards = np.where(self._high > 0, np.maximum(left, 0), 0.0)
        downwards = np.where(self._low < 0, np.maximum(-left, 0), 0.0)
        alone = (np.maximum(upwards, downwards) ** 2 / np.maximum(self._diagonal, 1e-30)).sum(0) - self._noise
        alone[list(chosen)] = 0.0
        remaining = max(self._total - self.explained(chosen), _EXPECTED_MISFIT * self._total)
        present = np.isin(self._hypotheses.family, self._hypotheses.family[list(chosen)])
        odds = np.where(present, 0.0, self._hypotheses.surprise)

        def worth(members: list[int]) -> float:
            share = min(float(alone[members].clip(0).sum()) / remaining, 0.99)
            return -0.5 * self._measurements * np.log(1 - share) - odds[members].max()

        singles = [[int(each)] for each in np.flatnonzero(alone > 0)]
        whole = [[each for each in group if alone[each] > 0] for group in self._groups]
        several = [group for group in whole if len(group) > 1]
        return [*sorted(singles, key=worth)[-_RIVALS:], *sorted(several, key=worth)[-_RIVALS:]]

    def _values(self, chosen: Sequence[int]) -> Array:
        index = list(chosen)
        system = self._gram[:, index][:, :, index]
        ridge = 1e-9 * np.maximum(system.max((1, 2)), 1e-12)
        values: Array = np.zeros_like(self._target)
        values[:, index] = solve_boxed(
            system + ridge[:, None, None] * np.eye(len(index)),
            self._target[:, index],
            self._low[:, index],
            self._high[:, index],
        ).values
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


def _units(name: str) -> frozenset[int]:
    meaning = recognise(name)
    return frozenset(unit.number for unit in meaning.units) if meaning else frozenset()


def _surprise(units: frozenset[int], known: bool) -> float:
    """Return the log odds against a control of these units; `known`, whether any name of the rig is."""
    if not known:
        return float(_OCCURS)
    if not units & MICRO_UNITS:
        return float(_RARE)
    return float(_PARTS_LIPS if units & PARTING_UNITS else _OCCURS)
