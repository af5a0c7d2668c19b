# SPDX-License-Identifier: GPL-3.0-or-later
"""Rig controls from motion: the most probable control values, by evidence maximisation on motion equations.

The motion u of site s in frame n, given as equations J u = h, is modelled as

    u[n, s] = Σ_k effect[k, s] · w[n, k]  +  head[n, s]  +  error,

with the rig's own basis, the head's small motions (`HEAD_MOTIONS`) as nuisance parameters, and an error whose variance
is estimated per frame. `solve` goes in these steps:

    1. Bounds       the controls' ranges, and what the motion supports of each         `support.most_amounts`
    2. Head         a first estimate of the head's motion (IRLS)                       `head_motion.robust_head`
    3. Misfit       least squares without a prior, and the variance of the motion that
                    no control shows (EM)                                              `misfit.best_fit`
    4. Evidence     automatic relevance determination: prior variances, noise, IRLS
                    weights and values in turn                                         `_Evidence.maximise`
    5. Selection    where shapes differ, the action units with the highest posterior   `selection.choose`
    6. Evidence     again, of the controls that were selected

The prior is learned from the clip itself:

* **A control is either in play during a stretch of half a second, or it rests.** Every control has its own prior
  variance, shared by the frames around (automatic relevance determination; Wipf & Rao 2007 for many observations).
  The evidence decides: controls that the data can do without are switched off, which is what keeps cross-talk down,
  and those in play are hardly shrunk, which is what keeps the intensity. Left and right have their own variances, so a
  lopsided smile stays lopsided. Controls that look the same from this camera share the motion equally.
* **Values stay inside the control's range**, those of one that bends inside what it shows over its range. Together
  with the prior this resolves correlated controls (a smile and a cheek squint) in favour of the fewest that explain the
  motion.
* **Time is not smoothed.** Frames share the question whether a control is in play, never its value, so an apex of one
  frame stays.

A site whose motion fits no control (a hand before the face, hair, a shadow) gets a small weight (IRLS, Cauchy).
All unknowns are in K x K normal equations; the sites enter once an iteration, by one matrix product.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...backend_bridge.files.errors import InputError
from ...backend_bridge.rig.basis import RigBasis
from ...backend_bridge.rig.curves import ControlCurves
from .box_least_squares import solve_boxed
from .constraints import Constraints
from .head_motion import head_columns, orthonormal, robust_head, turning_error
from .homes import Homes
from .matching import as_measured
from .measurement import Array, Measurement, NormalEquations, Patches, cauchy_weights, initial_weights, motion_of
from .misfit import STILL, BestFit, best_fit, beyond, hidden_by_noise, marginalised
from .selection import NO_MISFIT, Choice, Hypotheses, SelectionData, choose
from .sites import Sites
from .support import HEADROOM, HEADROOM_OF_MISFIT, acted_on, most_amounts, moving_places, still_precision

_IRLS_ITERATIONS = 3  # the weights change by less than a hundredth after them
_NEARLY_NOTHING = 1e-6  # px per unit of a control, below which an effect is rounding
_ACTIVE = 0.01  # of the largest value of any control; less is what the prior's floor leaves
_CONVERGED = 0.05  # of the largest value; a smaller change of a key is invisible
_FAINTEST = 0.1  # of the liveliest patch's motion; one that moves less is taken to be still (0.1 to 0.2 choose alike)
_FLOOR = 0.15  # of the liveliest patch's energy, the least error that a patch is assumed to have where shapes differ
_LEAST_TURNING_NOISE = 0.001  # share of all motion's energy, the least noise that the ridge regression assumes


@dataclass(frozen=True)
class SolverSettings:
    """Parameters of the prior and of the noise. Lengths are shares of the face's size, the rms extent of the sites.

    play_seconds: how long a control stays in play; a micro-expression lasts at most half a second.
    patch_size: size of what a control moves; errors of such an extent can be mistaken for a control.
    proportional_error: tolerated error per motion, before a site counts as an outlier; correspondence between two
        faces is never exact, and its error grows with the motion.
    least_effect: a control that moves nothing visible by more than this over its range can't be solved.
    head_motion: solve the head's motion as nuisance; switch off when a control of the rig turns the head itself.
    turning_error: standard deviation of the motion's error, px per px that the head turns; 0: it isn't estimated.
    activation_threshold: standard deviations by which a control's share of the motion has to exceed what errors alone
        would make of it, before it is taken to be in play.
    iterations: of the evidence over all controls; the first three also update the IRLS weights. final_iterations: over
        those that are in play then.
    """

    play_seconds: float = 0.5
    patch_size: float = 0.3
    proportional_error: float = 0.25
    least_effect: float = 0.004
    head_motion: bool = True
    turning_error: float = 0.3
    activation_threshold: float = 2.5
    iterations: int = 14
    final_iterations: int = 10


@dataclass(frozen=True)
class SolverState:
    """The state of evidence maximisation when it ended.

    iterations: of the evidence. change: of the controls' values in the last one, as a share of the largest. misfit:
    [N], standard deviation of the motion that no values of the controls show, px along each axis (`misfit`). explained:
    share of the energy that all controls could explain together that the chosen ones do. noisy: the measurement's noise
    is larger than the misfit, so that what is left unexplained is no fault of the rig.
    """

    iterations: int
    change: float
    misfit: NDArray[np.float32]
    explained: float
    noisy: bool = False

    @property
    def converged(self) -> bool:
        """Whether the last iteration changed no value by `_CONVERGED` of the largest."""
        return self.change < _CONVERGED


@dataclass(frozen=True)
class RigSolution:
    """Solved curves and what is left over, at S places of the picture.

    positions: [S, 2] px. head_motion: [N, 11] in the order of `HEAD_MOTIONS`, as rms px on the visible face.
    moved: [N, S] and unexplained: [N, S], energy of the motion without the head's, and of what no control explains of
    it, both in units of the measurement's noise. motion: [N, 2, S] px, the face's own: what the controls explain, plus
    a smooth estimate of what they leave (`misfit.beyond`). most: [K], the largest amount of each control that the
    motion supports (`support`).
    """

    curves: ControlCurves
    positions: NDArray[np.float32]
    head_motion: NDArray[np.float32]
    moved: NDArray[np.float32]
    unexplained: NDArray[np.float32]
    state: SolverState
    motion: NDArray[np.float32]
    most: NDArray[np.float64]

    def residual_in(self, region: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return [N], the unexplained share of the motion energy in a region of soft membership [S], in [0, 1]."""
        return _share(self.unexplained @ region, self.moved @ region)

    def residual_of_clip(self, region: NDArray[np.floating]) -> float:
        """Return the same for all frames together, in which still ones, where all is noise, hardly count."""
        return float(_share((self.unexplained @ region).sum(), (self.moved @ region).sum()))


def solve(
    basis: RigBasis,
    sites: Sites,
    equations: NDArray[np.floating],
    seconds: ArrayLike,
    settings: SolverSettings | None = None,
    constraints: Constraints | None = None,
    regions: Mapping[str, NDArray[np.floating]] | None = None,
) -> RigSolution:
    """Estimate control values from motion equations.

    The equations J u = h of every site, with the precision J in each direction, are used instead of a motion field: the
    smoothness prior of a field's estimator shrinks small motions and spreads them, and the rig's basis is the better
    prior.

    Args:
        basis: measured on the rig (`backend_bridge.rig.basis`).
        sites: the basis on the grid of the equations.
        equations: [N, S, 6] Jxx, Jxy, Jyy (1 / px^2) and hx, hy (1 / px) of each site (`Sites.gather`), motion since
            the neutral frame, and above 0 where the picture has changed. All are 0 where nothing was measured, and
            non-finite ones count as 0. Without the last, all places have changed: [N, S, 5].
        seconds: [N] increasing, time of each frame from the first frame of the trimmed clip.
        settings: the prior; the defaults hold for faces.
        constraints: controls that are held or move in pairs; none by default.
        regions: membership [S] of the sites in each region of the face, where they are known.

    Raises:
        InputError: the basis has no controls.
    """
    if not basis.controls:
        raise InputError("The rig basis has no controls; choose the shape keys to solve and capture the avatar again.")
    settings = settings or SolverSettings()
    when = np.asarray(seconds, np.float64)
    seen, effect = _measured(sites, equations), _effects(sites)
    rest = np.array([control.rest for control in basis.controls])
    seen_effect, solvable = _sight(basis, seen, effect, settings.least_effect)
    unknowns = _unknowns(basis, effect, (constraints or Constraints()).spread(len(rest)), solvable)
    head = head_columns(seen.position, seen.depth).astype(np.float32) * np.float32(settings.head_motion)
    homes = Homes.of([control.name for control in basis.controls], unknowns.spread, unknowns.columns, regions or {})
    model = _modelled(basis, unknowns, head, seen, when, settings, homes)
    found = _most_probable(model, seen, _temporal_window(when, settings.play_seconds), settings)
    solved, local = found.values, seen.less(found.turned)
    face, nuisance = solved[:, : model.controls], solved[:, model.controls :]
    moved = local.less(motion_of(nuisance, head))
    shown = motion_of(face, unknowns.columns)
    unexplained = moved.less(shown)

    visibility = np.where(solvable, seen_effect, 0.0) / max(seen_effect.max(initial=0.0), 1e-12)
    moved_energy, left_energy = moved.energy(), unexplained.energy()
    curves = ControlCurves(
        names=tuple(control.name for control in basis.controls),
        seconds=when,
        values=(rest + face @ unknowns.spread).astype(np.float32),
        residual=_share(left_energy.sum(1), moved_energy.sum(1)),
        visibility=visibility.astype(np.float32),
    )
    misfit = found.state.misfit**2
    motion: Array = shown + beyond(unexplained, misfit, found.state.noisy)
    if not found.state.noisy:  # the places that move farthest are those with the largest errors there
        motion = as_measured(motion, marginalised(moved, misfit), homes.places)
    return RigSolution(
        curves,
        seen.position.astype(np.float32),
        nuisance.astype(np.float32),
        moved_energy.astype(np.float32),
        left_energy.astype(np.float32),
        found.state,
        np.where(moving_places(local)[:, None], motion, 0.0).astype(np.float32),
        (HEADROOM * model.support).max(0, initial=0.0) @ unknowns.spread,
    )


def _measured(sites: Sites, equations: NDArray[np.floating]) -> Measurement:
    """Return the equations [N, S, 5 or 6] as a measurement; non-finite ones count as 0."""
    finite = np.isfinite(equations).all(2, keepdims=True)
    by_place = np.ascontiguousarray(np.where(finite, equations, 0.0).swapaxes(1, 2), np.float32)
    changed = by_place[:, 5] > 0 if by_place.shape[1] > 5 else None
    return Measurement(sites.position, sites.depth, by_place[:, :3], by_place[:, 3:5], changed)


def _effects(sites: Sites) -> Array:
    """Return [K, 2, S] px per unit of each control.

    Nearly nothing is nothing: float32 is slow with numbers near its smallest, as far slopes of a falloff are.
    """
    effect = np.where(np.abs(sites.columns) > _NEARLY_NOTHING, sites.columns, 0.0)
    return np.ascontiguousarray(effect.swapaxes(1, 2), np.float32)


def _sight(
    basis: RigBasis, seen: Measurement, effect: Array, least: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return how well each control is seen over its range [K], and whether it can be solved [K].

    least: of the face's size, that a control has to move anything visible over its range.
    """
    low, high = np.array([control.amounts for control in basis.controls]).T
    reach = np.abs(effect).max((1, 2), initial=0.0) * (high - low)
    information = (seen.precision[:, 0] + seen.precision[:, 2]).mean(0)
    seen_effect = np.sqrt((information * effect**2).sum((1, 2))) * (high - low)
    return seen_effect, (reach > least * seen.size) & (seen_effect > 0)


def _modelled(
    basis: RigBasis,
    unknowns: _Unknowns,
    head: Array,
    seen: Measurement,
    when: NDArray[np.float64],
    settings: SolverSettings,
    homes: Homes,
) -> _Model:
    """Return the unknowns and the columns of the `head`'s motion [11, 2, S], with their bounds (steps 1 and 2)."""
    by_face = robust_head(seen, head).values if settings.head_motion else np.zeros((len(when), len(head)))
    sight = np.abs(when[:, None] - when[None]) <= settings.play_seconds
    return _Model(
        columns=np.concatenate([unknowns.columns, head]),
        least=unknowns.least,
        most=unknowns.most,
        support=most_amounts(seen.less(motion_of(by_face, head)), unknowns.columns, unknowns.extent, sight),
        excursion=np.concatenate([unknowns.excursion, np.full(len(head), 0.02 * seen.size)]),
        hypotheses=Hypotheses.named([control.name for control in basis.controls], unknowns.spread),
        head=by_face,
        homes=homes,
    )


@dataclass(frozen=True)
class _Unknowns:
    """What is solved for in place of K controls: Q amounts, of a control, of a pair, or of several that look alike.

    spread: [Q, K], what each moves. columns: [Q, 2, S] px. least, most: [Q] bounds. excursion: [Q], the standard
    deviation assumed before the clip is seen. extent: [Q] px per unit, the farthest that it moves anything.
    """

    spread: Array
    columns: Array
    least: Array
    most: Array
    excursion: Array
    extent: Array


def _unknowns(basis: RigBasis, effect: Array, spread: Array, solvable: NDArray[np.bool_]) -> _Unknowns:
    """Return what is to be solved, of controls and pairs `spread` [Q, K] and their effect [K, 2, S] px.

    Columns that are the same to the last bit, with the same bounds, are one unknown, which its controls share equally:
    they are not identifiable one by one, and the prior is the same for them.
    """
    low, high = np.array([control.amounts for control in basis.controls]).T
    spread = spread[(spread * solvable).any(1)]
    columns = motion_of(spread * solvable, effect)
    # Both of a pair keep within their ranges, and the one that can't be seen follows the other.
    least = np.where(spread > 0, low, -np.inf).max(1)
    most = np.where(spread > 0, high, np.inf).min(1)
    groups: dict[bytes, list[int]] = {}
    for index, column in enumerate(columns):
        groups.setdefault(column.tobytes() + np.array([least[index], most[index]]).tobytes(), []).append(index)
    first = [members[0] for members in groups.values()]
    count = np.array([len(members) for members in groups.values()], float)
    return _Unknowns(
        spread=np.array([spread[members].mean(0) for members in groups.values()]).reshape(-1, spread.shape[1]),
        columns=columns[first],
        least=least[first] * count,
        most=most[first] * count,
        excursion=0.25 * (most - least)[first],
        extent=(spread * _extents(basis, effect)).max(1, initial=0.0)[first],
    )


def _extents(basis: RigBasis, effect: Array) -> Array:
    """Return [K] px per unit of the picture of `effect` [K, 2, S], the farthest that each control moves any vertex.

    The basis is in px of the avatar's picture; the two scales are compared by what is in sight.
    """
    x, y = np.moveaxis(basis.displacement, 2, 0)
    size = np.sqrt(x * x + y * y)  # a tenth of the time of a norm over two numbers
    here, there = size[:, basis.visible].max(1, initial=0.0), np.sqrt((effect**2).sum(1).max(1, initial=0.0))
    both = (here > 0) & (there > 0)
    scale = float(np.median(there[both] / here[both])) if both.any() else 1.0
    return np.asarray(scale * size.max(1, initial=0.0))


@dataclass(frozen=True)
class _Model:
    """Linear columns [P, 2, S] and the standard deviation [P] of their amounts assumed before the clip is seen.

    The first Q of them are the rig's, with ranges `least` and `most` [Q], amounts `support` [N, Q] that what was seen
    supports, the `hypotheses` that they stand for and the `homes` of these; the rest is head motion, `head`
    [N, P - Q] being that of most of the face.
    """

    columns: Array
    least: Array
    most: Array
    support: Array
    excursion: Array
    hypotheses: Hypotheses
    head: Array
    homes: Homes

    @property
    def controls(self) -> int:
        """Q."""
        return len(self.least)

    def bounds(self, headroom: Array | float) -> tuple[Array, Array]:
        """Return the lower and upper bounds [N, P], with `headroom` [N, 1] for controls that undo one another."""
        free = np.full(self.head.shape, np.inf)
        limit = headroom * self.support
        low, high = np.maximum(self.least, -limit), np.minimum(self.most, limit)
        return np.concatenate([low, -free], 1), np.concatenate([high, free], 1)


@dataclass(frozen=True)
class _Found:
    """Values [N, P], `turned`, the errors in proportion to the head's turning [N, 2, S] px, and the solver's state."""

    values: Array
    turned: Array
    state: SolverState


def _most_probable(model: _Model, seen: Measurement, window: Array, settings: SolverSettings) -> _Found:
    """Return the most probable values: steps 3 to 6 of the module's docstring."""
    equations = NormalEquations(model.columns, seen.position)
    bounds = model.bounds(HEADROOM)
    fit = best_fit(equations, seen, *bounds)
    evidence = _Evidence(model, equations, marginalised(seen, fit.variance), window, settings)
    every = np.ones((len(seen.pull), len(model.columns)), bool)
    first = evidence.maximise(every, bounds, settings.iterations, settings.activation_threshold)
    shown, head = (_mean_square(motion) for motion in _parts(model, equations, fit.values))
    noisy = hidden_by_noise(fit.variance, shown, head, first.noise)
    free = Choice.free(len(every), model.controls)
    choice = free if noisy else _chosen(model, equations, evidence, first, fit, window, seen)
    last = first
    if not choice.fits.all():
        every[:, : model.controls] = choice.in_play
        every[:, model.controls :] = choice.fits[:, None]
        # The selection has a noise term already; a threshold would only shrink the controls in play.
        bounds = model.bounds(np.where(choice.fits, HEADROOM, HEADROOM_OF_MISFIT)[:, None])
        last = evidence.maximise(every, bounds, settings.final_iterations, threshold=0.0)
    state = SolverState(
        iterations=settings.iterations + settings.final_iterations * (last is not first),
        change=last.change,
        misfit=np.sqrt(fit.variance).astype(np.float32),
        explained=choice.explained,
        noisy=noisy,
    )
    return _Found(np.where(choice.fits[:, None], first.values, last.values), evidence.turned, state)


@dataclass(frozen=True)
class _EvidenceMaximum:
    """Where a run of evidence maximisation ended.

    values: [N, P]. noise: [N], noise inflation without a threshold. change: of the controls' values in the last
    iteration, as a share of the largest.
    """

    values: Array
    noise: Array
    change: float


class _Evidence:
    """Evidence maximisation (automatic relevance determination) by EM; its first iterations update the IRLS weights."""

    def __init__(
        self, model: _Model, equations: NormalEquations, seen: Measurement, window: Array, settings: SolverSettings
    ) -> None:
        self._model, self._equations, self._settings, self._window = model, equations, settings, window
        self._seen = seen
        self._patches = Patches(seen.position, settings.patch_size * seen.size)
        self._turns = orthonormal(model.columns[model.controls :])
        self._frames = 1.0 / (window**2).sum(1)
        self._at_most = self._patches.errors(seen, initial_weights(seen)).noise(np.zeros(len(seen.pull)))
        self.local, self.turned = seen, np.zeros_like(seen.pull)
        self.weights = initial_weights(seen)
        self._updates_weights = True
        self._gram: Array | None = None

    @property
    def gram(self) -> Array:
        """[N, P, P], the Gram matrices under the present weights."""
        if self._gram is None:
            self._gram = self._equations.gram(self._seen, self.weights)
        return self._gram

    @property
    def target(self) -> Array:
        """[N, P]."""
        return self._equations.target(self.local, self.weights)

    def reweight(self, weights: Array) -> None:
        """Replace the weights of the places by `weights` [N, S]."""
        self.weights = weights
        self._gram = None

    def of(self, seen: Measurement) -> _Evidence:
        """Return the same of another measurement of the motion, with the head's turning error taken out of it."""
        other = copy(self)
        other._seen, other.local, other._gram = seen, seen.less(self.turned), None
        return other

    def scaled(self, factor: Array) -> _Evidence:
        """Return the same with `factor` [N, S] times the precision of the places."""
        other = copy(self)
        other._seen, other.local, other._gram = self._seen.scaled(factor), self.local.scaled(factor), None
        return other

    def balance(self, head: Array) -> Array:
        """Return [N, S], factors of the precision by which patches that move count alike; still ones keep theirs.

        A misfit is in proportion to the motion: a brow that the rig shows to nine tenths is off by more than a mouth
        moves at all. With one variance for all of the face, that would pass for an error of the mouth's. So the error's
        energy in a patch is taken to be that of its motion without the `head`'s [N, 2, S] px, and `_FLOOR` of the
        liveliest patch's besides.
        """
        energy = self._window @ self._patches.errors(self.local.less(head), self.weights).energies()
        share = energy / np.maximum(energy.max(1, keepdims=True), 1e-30)
        return self._patches.spread(1 + (1 / (share + _FLOOR) - 1) * share / (share + _FAINTEST**2))

    def of_controls(self, model: _Model) -> tuple[Array, Array]:
        """Return the normal equations [N, K, K] and [N, K] of the controls, with the head's motion at `model.head`."""
        count, gram = model.controls, self.gram
        return gram[:, :count, :count], self.target[:, :count] - np.einsum(
            "nij,nj->ni", gram[:, :count, count:], model.head
        )

    def information(self, controls: int) -> Array:
        """Return [N, K], the diagonal of the Gram matrix for the first K columns."""
        return np.array(np.diagonal(self.gram, axis1=1, axis2=2)[:, :controls])

    def misfit(self, variance: Array, shown: Array) -> Array:
        """Return [N], the expected energy of a misfit of `variance` [N] px² over that and the energy of `shown` px."""
        amount = (self._seen.precision[:, 0] + self._seen.precision[:, 2]) * self.weights
        missing = variance * amount.sum(1)
        there = ((shown * self._seen.pull_of(shown)).sum(1) * self.weights).sum(1)
        return np.asarray(missing / np.maximum(missing + there, 1e-30))

    def unexplained(self, values: Array) -> Array:
        """Return [N], the share of the patches' energy, without the head's motion, that values [N, P] don't explain."""
        head = values * (np.arange(values.shape[1]) >= self._model.controls)
        whole, rest = (
            self._patches.errors(self.local.less(self._equations.motion(each)), self.weights).energy()
            for each in (head, values)
        )
        return np.asarray((rest / np.maximum(whole, 1e-30)).clip(0, 1))

    def measurements(self, head: Array) -> Array:
        """Return [N], how many independent measurements there are of a motion without the `head`'s [N, 2, S] px.

        Two for each patch that moves, counted by the participation ratio (sum e)² / sum e² of the patches' energies e.
        """
        local = self.local.less(head)
        energy = self._patches.sums((local.energy() * self.weights)[:, None])[:, 0].astype(np.float64)
        return np.asarray(2 * energy.sum(1) ** 2 / np.maximum((energy**2).sum(1), 1e-30))

    def maximise(
        self, allowed: NDArray[np.bool_], bounds: tuple[Array, Array], iterations: int, threshold: float
    ) -> _EvidenceMaximum:
        """Return the most probable values of the columns that are `allowed` [N, P], by `iterations` of

            1. E-step       posterior mean under prior variances v and noise s, within bounds (`solve_boxed`): the
                            minimum of w' (G / s + diag 1/v) w - 2 w' t / s; its covariance without bounds
            2. M-step       v_k = sum_m weight w_mk^2 / sum_m weight g_mk over the frames m around, g the share of w_mk
                            that the data determine (MacKay's fixed point)
            3. Noise        s from the energy of the patches' errors, raised by the activation `threshold`
            4. Reweighting  head's turning error and IRLS weights, in the first run only

        Controls that are not allowed are 0; then the head moves as `robust_head` has found.
        """
        model, count = self._model, len(self._seen.pull)
        parameters = len(model.columns)
        at_most = self._at_most
        noise, own = np.maximum(1e-3 * at_most, 1e-12), at_most
        variance = np.tile(model.excursion**2, (count, 1))
        floor = (1e-4 * model.excursion) ** 2
        values: Array = np.zeros((count, parameters))
        change = 0.0
        known: Array = np.zeros_like(values)
        known[:, model.controls :] = model.head
        known = np.where(allowed, 0.0, known)
        some = np.flatnonzero(allowed.any(0))  # what is allowed in no frame is no unknown
        low, high = (bound[:, some] for bound in bounds)
        diagonal = np.arange(len(some))
        for iteration in range(iterations):
            # 1. E-step
            if iteration == 0 or self._updates_weights:
                gram, target = self._normal_equations(allowed, some, known)
            precision = 1.0 / variance[:, some]
            system = gram / noise[:, None, None]
            system[:, diagonal, diagonal] += precision
            before = values[:, : model.controls]
            guess = values[:, some] * allowed[:, some]
            values = np.zeros_like(values)
            values[:, some] = solve_boxed(system, target / noise[:, None], low, high, guess).values * allowed[:, some]
            found = values[:, : model.controls]
            change = float(np.abs(found - before).max(initial=0.0) / max(np.abs(found).max(initial=0.0), 1e-12))
            posterior = np.diagonal(np.linalg.inv(system), axis1=1, axis2=2)
            # 2. M-step
            determined = np.full_like(values, 1e-9)
            determined[:, some] = np.clip(1.0 - posterior * precision, 1e-9, 1.0)
            variance = np.maximum(self._window @ values**2 / (self._window @ determined), floor)
            # 3. Noise
            values = values + known
            explained = self._equations.motion(values)
            errors = self._patches.errors(self.local.less(explained), self.weights)
            own = errors.noise((determined * allowed).sum(1))
            inflated = own * _threshold_factor(self._frames, errors.persistence(), threshold)
            noise = np.maximum(np.maximum(inflated, np.median(inflated)), 1e-14 + 1e-6 * at_most)
            # 4. Reweighting
            if self._updates_weights:
                self._update_weights(iteration, values, explained, noise)
        self._updates_weights = False
        return _EvidenceMaximum(values, np.maximum(own, np.median(own)), change)

    def _normal_equations(
        self, allowed: NDArray[np.bool_], some: NDArray[np.intp], known: Array
    ) -> tuple[Array, Array]:
        """Return the normal equations [N, U, U] and [N, U] of `some` U columns where they are `allowed` [N, P], else 0.

        known: [N, P], values of the others, whose motion is subtracted.
        """
        gram, target = self.gram, self.target
        if known.any():
            target = target - np.einsum("nij,nj->ni", gram, known)
        if allowed.all():
            return gram, target
        here = allowed[:, some]
        return gram[:, some[:, None], some] * (here[:, :, None] & here[:, None]), target[:, some] * here

    def _update_weights(self, iteration: int, values: Array, explained: Array, noise: Array) -> None:
        """Solve the errors that follow the head's turning, and update the IRLS weights at first."""
        settings, controls = self._settings, self._model.controls
        if settings.head_motion and settings.turning_error > 0:
            head = values * (np.arange(values.shape[1]) >= controls)
            # Without the controls once, as otherwise their first values would keep the turning error in themselves.
            error = self._seen.less(self._equations.motion(head) if iteration == 0 else explained)
            unsure = np.maximum(noise, _LEAST_TURNING_NOISE * self._at_most)
            self.turned = turning_error(
                error,
                self.weights,
                head[:, controls:],
                unsure,
                settings.turning_error,
                self._turns,
            )
            self.local = self._seen.less(self.turned)
        if iteration < _IRLS_ITERATIONS:
            self.weights = cauchy_weights(self.local.less(explained), explained, settings.proportional_error)
            self._gram = None


def _chosen(
    model: _Model,
    equations: NormalEquations,
    evidence: _Evidence,
    first: _EvidenceMaximum,
    fit: BestFit,
    window: Array,
    seen: Measurement,
) -> Choice:
    """Choose the controls in play by the normal equations of the controls, with the head's motion at `model.head`."""
    count = model.controls
    shown, head = _parts(model, equations, fit.values)
    # The misfit of still frames is noise.
    variance = (fit.variance - np.quantile(fit.variance, STILL)).clip(0)
    misfit = 2.0 * variance / np.maximum(2.0 * variance + _mean_square(shown), 1e-30)
    # Where the texture is weak the variance is hardly determined; the residual of the first run bounds the misfit.
    misfit = np.minimum(misfit, evidence.unexplained(first.values))
    # An error as large as the motion is no outlier where shapes differ, or a raised lid would be taken for a hand.
    evidence.reweight(np.where(misfit[:, None] < NO_MISFIT, evidence.weights, fit.weights))
    # Motion where no control acts is unexplained by every set alike, so it is left out.
    factor = evidence.balance(head) * acted_on(model.columns[:count])
    balanced = evidence.scaled(factor)
    gram, target = balanced.of_controls(model)
    ridge = 1e-6 * np.diagonal(gram, axis1=1, axis2=2).max(1, initial=0.0)[:, None, None]
    low, high = (bound[:, :count] for bound in model.bounds(HEADROOM_OF_MISFIT))
    best = solve_boxed(gram + (ridge + 1e-12) * np.eye(count), target, low, high).values
    energy = (best * (2 * target - np.einsum("nij,nj->ni", gram, best))).sum(1).clip(0)
    # The more precisely a place is known to have kept still, the more a control that moves it has against it.
    still = seen.scaled(still_precision(seen.less(head)))
    against = evidence.of(marginalised(still, fit.variance)).scaled(factor)
    size = np.abs(first.values[:, :count])
    face, _ = _parts(model, equations, first.values)
    local = evidence.local.less(head)
    motion: Array = face + beyond(local.less(face), fit.variance)
    motion = as_measured(motion, local, model.homes.places)
    data = SelectionData(
        *against.of_controls(model),
        low,
        high,
        noise=first.noise[:, None] * balanced.information(count) / np.maximum(evidence.information(count), 1e-30),
        misfit=misfit,
        unexplained=np.minimum(balanced.misfit(variance, shown), balanced.unexplained(first.values)),
        explainable=energy,
        # Misfits of neighbouring patches are correlated, so those that move at all are too many, an upper bound of n;
        # those that hold most of the motion are too few, a lower one. Of two bounds the geometric mean is the minimax
        # estimate of what lies between: it is wrong by the same factor at most, whichever of them is right.
        measurements=np.sqrt(balanced.measurements(head) * evidence.measurements(head)),
        active=size > _ACTIVE * size.max(initial=0.0),
        window=window,
        hypotheses=model.hypotheses,
        moving=(gram, target),
        at_home=model.homes.shares(motion),
    )
    return choose(data)


def _parts(model: _Model, equations: NormalEquations, values: Array) -> tuple[Array, Array]:
    """Return the motions [N, 2, S] px that the controls show at these values [N, P], and that most of the face has."""
    face, head = np.zeros_like(values), np.zeros_like(values)
    face[:, : model.controls] = values[:, : model.controls]
    head[:, model.controls :] = model.head
    return equations.motion(face), equations.motion(head)


def _mean_square(motion: Array) -> Array:
    """Return [N], the mean over the places of a motion [N, 2, S] squared, px²."""
    return np.asarray((motion**2).sum(1).mean(1))


def _temporal_window(seconds: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Return [N, N], the weight of frame m in a control's prior variance at frame n; rows sum to 1."""
    apart = (seconds[:, None] - seconds[None]) / (0.5 * width)
    near = np.exp(-0.5 * apart**2)
    return near / near.sum(1, keepdims=True)


def _threshold_factor(frames: Array, persistence: float, deviations: float) -> Array:
    """Return [N], the noise inflation factor that puts a control's activation `deviations` above noise alone.

    What decides is the mean square of a control's values over the frames around, `frames` [N] of them. Of errors alone
    it would be 1 in units of theirs, with a standard deviation of sqrt(2 / M) for M frames with errors of their own
    (chi-squared). Where errors stay from frame to frame there are fewer such frames: for a correlation r between
    neighbours (1 - r) / (1 + r) of them, the effective sample size of a first-order autoregressive process.
    """
    independent = np.maximum(frames * (1 - persistence) / (1 + persistence), 1.0)
    return 1.0 + deviations * np.sqrt(2.0 / independent)


def _share(part: NDArray[np.floating], whole: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return part of the whole, [N] in [0, 1]; 0 where there is nothing."""
    return np.clip(part / np.maximum(whole, 1e-12), 0.0, 1.0).astype(np.float32)
