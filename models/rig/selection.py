# SPDX-License-Identifier: GPL-3.0-or-later
"""Which controls are in play where the rig's shapes fit half-way: the set of action units with the most evidence.

Where shapes differ from the driver's, several controls that have nothing to do with an expression explain together a
little more of it than the one that is meant for it. Sets A of controls are compared by their posterior, the profile
likelihood of errors of unknown variance times a prior over action units,

    log p(A | motion) = -n/2 log(1 - (E(A) - E_0(A)) / T + m) - sum_{units in A} log((1 - p) / p) - |A| log 2 + L(A),

with T the energy of the motion, E(A) what A explains of it within bounds, E_0(A) what A explains of noise alone, m the
misfit that is expected between two families' shapes of one unit, p the prior probability of an action unit, n the
number of independent measurements of the motion, and L what a classifier says of the values (`classified`). The misfit
is smooth: a patch of the face as large as what a control moves is one measurement of it, in two directions, however
many pixels it has. Controls of one unit, left and right, inner and outer, are one hypothesis with one prior. So a
control that explains a large part of the remaining energy is selected whatever its name, and one that explains little
of it only if its action unit is frequent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ...backend_bridge.rig.action_units import Side, recognise
from ...backend_bridge.rig.face_parts import without_side
from .box_least_squares import solve_boxed
from .classified import Classified
from .measurement import Array

NO_MISFIT = 0.015  # share of the motion, below which shapes are the driver's and no set is chosen
MOST_CONTROLS = 16  # in play at once; spontaneous micro-expressions have 1.3 to 1.7 action units, on two sides
# Log odds against a hypothesis, nats.
_UNIT_ODDS = np.log(0.875 / 0.125)  # one of the twelve `MICRO_UNITS`, of which a micro-expression has 1.5
_LIPS_PART_ODDS = np.log(0.97 / 0.03)  # AU10: 75 of 2,521 of those coded
_RARE_ODDS = np.log(0.99 / 0.01)  # any other: not among those that the sets list, so one in a hundred at most
_CONTROL_ODDS = np.log(2)  # each control of a unit that is there: one side or both
_ONE_SIDED_ODDS = np.log(0.95 / 0.05)  # a unit of the upper face on one side alone
_ELSEWHERE_ODDS = np.log(0.999 / 0.001)  # a unit whose home just keeps still: none but for errors of the regions
_AT_HOME = 1 / 3  # of the motion of what a control moves, below which its home keeps still
_LEAST_AT_HOME = 1e-3  # the same, below which less is no worse
_EXPECTED_MISFIT = 0.1  # m: a unit of two families agrees to a cosine of 0.95 at best (on the tuning families)
_NOISE_DEVIATIONS = 2.5  # standard deviations of the noise's energy, as for `SolverSettings.activation_threshold`
_LEAST_EXPLAINED = 0.1  # share of the motion's energy; what explains less may be an error of the head's motion
_AGREES = 0.4**2  # share of the motion's energy, below which what is shown is another motion and its peak isn't matched
_LEAST_OF_POSSIBLE = 1 / 3  # share of what all controls explain together; what explains it is the nearest there is
_MOST_UNEXPLAINED = 0.99  # share of the energy, at most, which keeps 1 / (1 - share) bounded
_BETWEEN_EVENTS = 0.1  # share of the largest explainable energy, below which a frame lies between two events
_LEAST_ENERGY = 0.03  # share of an event's largest explainable energy, below which its frames are left out
_FRAMES = 16  # of an event; more of them cost time and change nothing
_MOST_EXCHANGES = 6  # after the greedy search
_CANDIDATES = 3  # controls, and as many units, that are solved for exactly at each step

# The action units that coders found in 2,521 spontaneous micro-expressions of six sets (the distribution that the
# `meb` benchmark lists for CASME, CASME II, CAS(ME)3, 4DME, MMEW and SAMM), with those that they come along with.
MICRO_UNITS = frozenset({1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17})
# Units that come together, so that where one is the other is as likely as not: the classes of Davison et al. (2018).
COMPANIONS = tuple(map(frozenset, ((1, 2), (4, 7), (6, 12), (9, 10), (15, 17))))
# Units of the upper face, whose muscles both hemispheres innervate: they move on both sides, seldom on one.
UPPER_FACE = frozenset({1, 2, 4, 5, 7, 9})
# Shapes that go opposite ways along one axis. Both at once is no expression, and "left" is no side of a pair in them.
_AXES = (frozenset({"mouthLeft", "mouthRight"}), frozenset({"jawLeft", "jawRight"}))
# Units that part the lips. Motion equations hold the lips' outer edges, not whether there are teeth between them, and
# of two explanations with the same likelihood the one that shows none is the safer.
PARTING_UNITS = frozenset({10, 16, 22, 25, 26, 27})


@dataclass(frozen=True)
class Choice:
    """Which controls are in play, [N, K].

    fits: [N], frames in which the shapes are the driver's and nothing rare is in play, so that nothing had to
    be chosen. steps: sets that were solved. explained: share of the explainable energy that the chosen sets explain.
    """

    in_play: NDArray[np.bool_]
    fits: NDArray[np.bool_]
    steps: int
    explained: float

    @classmethod
    def free(cls, frames: int, controls: int) -> Choice:
        """Return the choice of all controls: those in play are left to automatic relevance determination."""
        return cls(np.ones((frames, controls), bool), np.ones(frames, bool), steps=0, explained=1.0)


@dataclass(frozen=True)
class Hypotheses:
    """What Q controls, or pairs of them, stand for.

    group: [Q], the number of the action unit's hypothesis; those that stand for no unit that is known have one for
    each name, both sides of which are the same.
    family: [Q], the number of the set of `COMPANIONS` it belongs to; only the likeliest of a family has a prior cost.
    odds: [Q], the log odds against it, nats.
    axis: [Q], the number of the axis of `_AXES` along which it goes, of which only one way is possible; -1 for others.
    one_sided: [Q], -1 for the left and 1 for the right side of a unit of `UPPER_FACE`, 0 for all others.
    """

    group: NDArray[np.intp]
    family: NDArray[np.intp]
    odds: Array
    axis: NDArray[np.intp]
    one_sided: NDArray[np.intp]

    def alone(self, chosen: Sequence[int]) -> int:
        """Return of how many units of the upper face these controls are one side alone, and the rig has the other."""
        count = 0
        for group in {int(self.group[each]) for each in chosen if self.one_sided[each]}:
            there = self.one_sided[[each for each in chosen if self.group[each] == group]]
            count += set(there.tolist()) in ({-1}, {1}) and -there[0] in self.one_sided[self.group == group]
        return count

    def possible(self, chosen: Sequence[int]) -> bool:
        """Return whether no two of these controls go opposite ways along one axis."""
        ways = [self.axis[each] for each in chosen if self.axis[each] >= 0]
        return len(ways) == len(set(ways))

    @property
    def rare(self) -> NDArray[np.bool_]:
        """[Q], those of a known rig that stand for nothing that micro-expressions are made of."""
        return self.odds >= _RARE_ODDS

    @classmethod
    def named(cls, names: Sequence[str], spread: Array) -> Hypotheses:
        """Return those of the controls `spread` [Q, K] moves, K of these names.

        On a rig of which no name is known all are equally likely.
        """
        units = [_units(name) for name in names]
        known = any(units)
        groups: dict[object, int] = {}
        families: dict[object, int] = {}
        group, family, odds, axis, one_sided = [], [], [], [], []
        for row in spread > 0:
            members = [units[index] for index in np.flatnonzero(row)]
            meant = frozenset().union(*members)
            shapes = frozenset(_shape(names[index]) for index in np.flatnonzero(row))
            along = next((number for number, each in enumerate(_AXES) if shapes <= each), -1)
            bare = frozenset(without_side(names[index]) for index in np.flatnonzero(row))
            own = shapes if along >= 0 else meant or bare
            axis.append(along)
            one_sided.append(_side(names, np.flatnonzero(row)) if meant and meant <= UPPER_FACE else 0)
            group.append(groups.setdefault(own, len(groups)))
            family.append(families.setdefault(next((each for each in COMPANIONS if each & meant), own), len(families)))
            odds.append(min((_odds_against(each, known) for each in members), default=_RARE_ODDS))
        return cls(
            np.array(group, np.intp),
            np.array(family, np.intp),
            np.array(odds),
            np.array(axis, np.intp),
            np.array(one_sided, np.intp),
        )


@dataclass(frozen=True)
class SelectionData:
    """What the choice is made from: K controls in N frames.

    gram: [N, K, K] and target: [N, K], normal equations of the controls, the head's motion subtracted. Places count in
    them that are known to be still (`support.still_precision`), but in none of the energies below.
    low, high: [N, K], bounds.
    noise: [N, K], the energy that each control explains of errors alone.
    misfit: [N], the share of the motion, in px², that no values of the controls explain, in [0, 1).
    unexplained: [N], the same share of the energy, in which each place has the precision of its equations.
    explainable: [N], the energy that all controls together explain within their bounds.
    measurements: [N], n, the number of independent measurements of a frame's motion.
    active: [N, K], controls that automatic relevance determination has put in play: they are above the noise already.
    window: [N, N], the weight of frame m in frame n; rows sum to 1.
    hypotheses: what the controls stand for.
    moving: the same normal equations without the places that are known to be still. They decide where keys move so much
    that is still that nothing could be chosen: then the nearest that the rig can do is some of them all the same.
    at_home: [N, K], how far the driver's face moves where a control's unit acts (`Homes.shares`).
    classified: what a classifier says of the controls.
    """

    gram: Array
    target: Array
    low: Array
    high: Array
    noise: Array
    misfit: Array
    unexplained: Array
    explainable: Array
    measurements: Array
    active: NDArray[np.bool_]
    window: Array
    hypotheses: Hypotheses
    moving: tuple[Array, Array]
    at_home: Array
    classified: Classified


def choose(data: SelectionData) -> Choice:
    """Choose the controls that are in play, event by event:

        1. Frames    of the event, those with the clearest motion                             `_clearest`
        2. Test      whether anything has to be chosen: a misfit of `NO_MISFIT`, or an active control that is rare
        3. Search    the set with the largest posterior: the control or the unit that gains most is added, then
                     controls are removed and replaced as long as the posterior grows         `_Search.run`

    The search is greedy, so the maximum is a local one.
    """
    count, controls = data.target.shape
    chosen, fits = np.zeros((count, controls), bool), np.ones(count, bool)
    steps, reached, possible = 0, 0.0, 0.0
    for event in _events(data.window @ data.explainable):
        frames = _clearest(event, data.explainable)
        explainable = max(float(data.explainable[frames].sum()), 1e-30)
        misfit = float(data.misfit[frames] @ data.explainable[frames]) / explainable
        same = misfit < NO_MISFIT and not data.hypotheses.rare[data.active[event].any(0)].any()
        if same and not data.classified.clear:
            continue
        fits[event] = False
        search = _Search(data, event, frames)
        found = search.run()
        if not found:
            search = _Search(replace(data, gram=data.moving[0], target=data.moving[1]), event, frames)
            found = search.run()
        steps += search.steps
        reached += search.explained(found)
        possible += explainable
        chosen[np.ix_(event, np.array(found, np.intp))] = True
    return Choice(chosen, fits, steps, min(reached / possible, 1.0) if possible > 0 else 1.0)


def _clearest(event: NDArray[np.intp], explainable: Array) -> NDArray[np.intp]:
    """Return at most `_FRAMES` frames of an event, spread over those in which enough of the motion is explainable."""
    moving = event[explainable[event] > _LEAST_ENERGY * explainable[event].max()]
    return moving[np.linspace(0, len(moving) - 1, min(len(moving), _FRAMES)).round().astype(int)]


@dataclass(frozen=True)
class _Fit:
    """The least squares of a set of M controls in N frames, `values` [N, M], and the energy that they explain.

    agrees: log likelihood of what a classifier says of them, over that if they were at rest, nats.
    """

    chosen: list[int]
    values: Array
    explained: float
    agrees: float


class _Search:
    """Greedy search with exchanges over sets of controls, in some `frames` of an `event`."""

    def __init__(self, data: SelectionData, event: NDArray[np.intp], frames: NDArray[np.intp]) -> None:
        self._gram, self._target = data.gram[frames], data.target[frames]
        self._low, self._high = data.low[frames], data.high[frames]
        self._hypotheses = data.hypotheses
        # E_0 [K], the energy that a control explains of noise alone: its mean and `_NOISE_DEVIATIONS` standard
        # deviations for one degree of freedom (chi-squared); 0 for a control that is active already.
        above = 1 + _NOISE_DEVIATIONS * np.sqrt(2 / len(frames))
        self._noise = data.noise[frames].sum(0) * above * ~data.active[event].any(0)
        # T, the energy of the motion, and n.
        explainable = data.explainable[frames]
        self._total = float((explainable / (1 - data.unexplained[frames].clip(max=_MOST_UNEXPLAINED))).sum())
        whole = max(float(explainable.sum()), 1e-30)
        self._least = min(_LEAST_EXPLAINED * self._total, _LEAST_OF_POSSIBLE * whole)
        self._measurements = max(float(data.measurements[frames] @ explainable) / whole, 2.0)
        at_home = data.explainable[frames] @ data.at_home[frames] / whole
        # The errors of what is seen at home are a share of it, so its logarithm is normal: 1 where it just keeps still.
        still = np.log(np.clip(at_home, _LEAST_AT_HOME, 1.0)) / np.log(_AT_HOME)
        self._elsewhere = np.where(still > 1, _ELSEWHERE_ODDS * still**2, 0.0)
        self._diagonal = np.diagonal(self._gram, axis1=1, axis2=2)
        # One measurement for all frames of the event, as a classifier's errors are alike in them. In the normal
        # equations it has the weight that the posterior's curvature gives to energies, with no more unexplained than m.
        self._amounts = data.classified.amounts[frames]
        self._precision = data.classified.precision / len(frames)
        self._weight = self._precision * self._total * _EXPECTED_MISFIT / self._measurements
        group = data.hypotheses.group
        self._groups = [np.flatnonzero(group == each).tolist() for each in np.unique(group)]
        self._fits: dict[frozenset[int], _Fit] = {frozenset(): _Fit([], np.zeros((len(frames), 0)), 0.0, 0.0)}

    def run(self) -> list[int]:
        found = self._grown([])
        exchanged = self._exchanged(found)
        return found if exchanged == found else self._grown(exchanged)

    def _grown(self, found: list[int]) -> list[int]:
        while len(found) < MOST_CONTROLS:
            larger = [[*found, *each] for each in self._additions(found)]
            better = self._nearest(larger) if not found else self._best_of(larger)
            # The empty set is no hypothesis where a control explains more than an error of the head's motion would, or
            # much of all that the rig could show: of a lid, a strip that landmarks miss, no shape explains a half.
            needed = not found and better is not None and self.explained(better) > self._least
            if better is None or (not needed and self._score(better) <= self._score(found)):
                break
            found = better
        return found

    def _nearest(self, sets: Sequence[Sequence[int]]) -> list[int] | None:
        """Return the likeliest set or, where it is less likely than none and shows another motion, one that doesn't.

        None is no answer where something moves, and a frequent unit's is none for being frequent.
        """
        likeliest = self._best_of(sets)
        if likeliest is None or self._score(likeliest) > self._score([]) or self._agrees(likeliest):
            return likeliest
        return self._best_of([each for each in sets if self._agrees(each)]) or likeliest

    def _agrees(self, chosen: Sequence[int]) -> bool:
        return self.explained(chosen) >= _AGREES * self._total

    def explained(self, chosen: Sequence[int]) -> float:
        """Return the energy of the motion that the controls explain, x'(2t - Gx), at the least squares with bounds."""
        return self._fit(chosen).explained

    def _score(self, chosen: Sequence[int]) -> float:
        """Return the logarithm of the posterior, nats, but for a constant."""
        index = list(chosen)
        remaining = 1.0 - (self.explained(chosen) - float(self._noise[index].sum())) / self._total
        fit = -0.5 * self._measurements * np.log(max(remaining, 0.0) + _EXPECTED_MISFIT)
        # Of a family only the likeliest unit has a cost: its companions are as likely as not where it is.
        families: dict[int, float] = {}
        for family, odds in zip(self._hypotheses.family[index], self._hypotheses.odds[index], strict=True):
            families[int(family)] = min(float(odds), families.get(int(family), np.inf))
        one_sided = self._hypotheses.alone(index) * _ONE_SIDED_ODDS
        elsewhere = sum(max(self._elsewhere[self._of(index, group)]) for group in self._groups_of(index))
        return (
            float(fit - sum(families.values()) - len(index) * _CONTROL_ODDS - one_sided - elsewhere)
            + self._fit(index).agrees
        )

    def _exchanged(self, chosen: list[int]) -> list[int]:
        """Drop and replace controls as long as that is an improvement."""
        score = self._score(chosen)
        for _ in range(_MOST_EXCHANGES):
            fewer = [[other for other in chosen if other != each] for each in chosen]
            whole = [[o for o in chosen if self._hypotheses.group[o] != group] for group in self._groups_of(chosen)]
            self._solve([*fewer, *whole])
            swapped = [
                [*rest, *each]
                for rest in [*fewer, *whole]
                for each in self._additions(rest)
                if not set(each) & set(chosen)
            ]
            agrees = self._agrees(chosen)
            better = self._best_of(
                each for each in [*fewer, *whole, *swapped] if each and (not agrees or self._agrees(each))
            )
            if better is None or self._score(better) <= score + 1e-9:
                break
            chosen, score = list(better), self._score(better)
        return chosen

    def _of(self, chosen: Sequence[int], group: int) -> list[int]:
        return [each for each in chosen if self._hypotheses.group[each] == group]

    def _groups_of(self, chosen: Sequence[int]) -> list[int]:
        return sorted({int(self._hypotheses.group[each]) for each in chosen})

    def _best_of(self, sets: Iterable[Sequence[int]]) -> list[int] | None:
        possible = [list(each) for each in sets if self._hypotheses.possible(each)]
        self._solve(possible)
        return max((self._score(each), each) for each in possible)[1] if possible else None

    def _additions(self, chosen: Sequence[int]) -> list[list[int]]:
        """Return the controls, and the units with all their controls, that would gain most."""
        fit = self._fit(chosen)
        pull = self._target + self._weight * self._amounts
        gradient = pull - np.einsum("nij,nj->ni", self._gram[:, :, fit.chosen], fit.values)
        upwards = np.where(self._high > 0, np.maximum(gradient, 0), 0.0)
        downwards = np.where(self._low < 0, np.maximum(-gradient, 0), 0.0)
        alone = (np.maximum(upwards, downwards) ** 2 / np.maximum(self._diagonal + self._weight, 1e-30)).sum(0)
        alone = alone - self._noise
        alone[list(chosen)] = 0.0
        remaining = max(self._total - fit.explained, _EXPECTED_MISFIT * self._total)
        present = np.isin(self._hypotheses.family, self._hypotheses.family[list(chosen)])
        odds = np.where(present, 0.0, self._hypotheses.odds) + self._elsewhere

        def gain(members: list[int]) -> float:
            share = min(float(alone[members].clip(0).sum()) / remaining, 0.99)
            return -0.5 * self._measurements * np.log(1 - share) - odds[members].max()

        singles = [[int(each)] for each in np.flatnonzero(alone > 0)]
        whole = [[each for each in group if alone[each] > 0] for group in self._groups]
        several = [group for group in whole if len(group) > 1]
        return [*sorted(singles, key=gain)[-_CANDIDATES:], *sorted(several, key=gain)[-_CANDIDATES:]]

    @property
    def steps(self) -> int:
        """How many sets have been solved."""
        return len(self._fits) - 1

    def _fit(self, chosen: Sequence[int]) -> _Fit:
        self._solve([chosen])
        return self._fits[frozenset(chosen)]

    def _solve(self, sets: Iterable[Sequence[int]]) -> None:
        """Fit those of the sets that haven't been yet, all of one size at once: a solution has fixed costs."""
        new = {frozenset(each): list(each) for each in sets if frozenset(each) not in self._fits}
        for size in {len(key) for key in new}:
            alike = [(key, chosen) for key, chosen in new.items() if len(key) == size]
            solved = self._least_squares(np.array([chosen for _, chosen in alike]))
            for (key, chosen), values, energy, agrees in zip(alike, *solved, strict=True):
                self._fits[key] = _Fit(chosen, values, float(energy), float(agrees))

    def _least_squares(self, sets: NDArray[np.intp]) -> tuple[Array, Array, Array]:
        """Return the values [C, N, M] of C sets of M controls, and what each of these explains and agrees, [C]."""
        frames, members = np.arange(len(self._gram))[:, None], sets[:, None]
        system = self._gram[frames[..., None], members[..., None], members[..., None, :]]
        target, low, high = (part[frames, members] for part in (self._target, self._low, self._high))
        ridge = 1e-9 * np.maximum(system.max((2, 3)), 1e-12)
        count, size = target.shape[0] * target.shape[1], target.shape[2]
        amounts, weight = self._amounts[frames, members], self._weight[members]
        values = solve_boxed(
            (system + (ridge[..., None] + weight)[..., None] * np.eye(size)).reshape(count, size, size),
            *(each.reshape(count, size) for each in (target + weight * amounts, low, high)),
        ).values.reshape(target.shape)
        fitted = (system @ values[..., None])[..., 0]
        agrees = 0.5 * self._precision[members] * values * (2 * amounts - values)
        return values, (values * (2 * target - fitted)).sum((1, 2)), agrees.sum((1, 2))


def _events(energy: Array) -> Iterator[NDArray[np.intp]]:
    """Yield the frames of each stretch in which something moves, by the energy explained [N]."""
    moving = np.flatnonzero(energy > _BETWEEN_EVENTS * energy.max(initial=0.0))
    if len(moving):
        # Frames between two events belong to the nearer one, so that onset and offset are solved too.
        groups = np.split(moving, np.flatnonzero(np.diff(moving) > 1) + 1)
        middles = [(a[-1] + b[0] + 1) // 2 for a, b in pairwise(groups)]
        yield from np.split(np.arange(len(energy)), middles)


def _side(names: Sequence[str], members: Iterable[int]) -> int:
    sides = {meaning.side for each in members if (meaning := recognise(names[each]))}
    return {frozenset({Side.LEFT}): -1, frozenset({Side.RIGHT}): 1}.get(frozenset(sides), 0)


def _shape(name: str) -> str:
    meaning = recognise(name)
    return meaning.shape or "" if meaning else ""


def _units(name: str) -> frozenset[int]:
    meaning = recognise(name)
    return frozenset(unit.number for unit in meaning.units) if meaning else frozenset()


def _odds_against(units: frozenset[int], known: bool) -> float:
    """Return the log odds against a control of these units; `known`, whether any name of the rig is."""
    if not known:
        return float(_UNIT_ODDS)
    if not units & MICRO_UNITS:
        return float(_RARE_ODDS)
    return float(_LIPS_PART_ODDS if units & PARTING_UNITS else _UNIT_ODDS)
