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
                    weights and values in turn                                         `evidence.Evidence.maximise`
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
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...backend_bridge.files.errors import InputError
from ...backend_bridge.rig.basis import RigBasis, amount_ranges
from ...backend_bridge.rig.curves import ControlCurves
from .box_least_squares import solve_boxed
from .classified import Classified
from .constraints import Constraints
from .evidence import Evidence, EvidenceMaximum, Model, SolverSettings
from .head_motion import head_columns, robust_head
from .homes import Homes
from .matching import as_measured
from .measurement import Array, Measurement, NormalEquations, motion_of
from .misfit import STILL, BestFit, best_fit, beyond, hidden_by_noise, marginalised
from .selection import NO_MISFIT, Choice, Hypotheses, SelectionData, choose
from .sites import Sites
from .support import HEADROOM, HEADROOM_OF_MISFIT, acted_on, most_amounts, moving_places, still_precision
from .unknowns import Unknowns, unknowns_of

_NEARLY_NOTHING = 1e-6  # px per unit of a control, below which an effect is rounding
_ACTIVE = 0.01  # of the largest value of any control; less is what the prior's floor leaves
_CONVERGED = 0.05  # of the largest value; a smaller change of a key is invisible


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
    scores: Mapping[str, NDArray[np.floating]] | None = None,
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
        constraints: controls that are held, move in pairs or have a part of their range; none by default.
        regions: membership [S] of the sites in each region of the face, where they are known.
        scores: [N], by how much a classifier's score of each ARKit shape lies above the neutral frame's, if known.

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
    unknowns = unknowns_of(basis, effect, constraints or Constraints(), solvable)
    head = head_columns(seen.position, seen.depth).astype(np.float32) * np.float32(settings.head_motion)
    names = [control.name for control in basis.controls]
    homes = Homes.of(names, unknowns.spread, unknowns.columns, regions or {})
    reach = np.maximum(np.abs(unknowns.least), np.abs(unknowns.most))
    classified = Classified.of(scores or {}, names, unknowns.spread, reach, len(when))
    model = _modelled(basis, unknowns, head, seen, when, settings, homes, classified)
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
    precision, pull = (np.ascontiguousarray(by_place[:, at]) for at in (slice(3), slice(3, 5)))
    return Measurement(sites.position, sites.depth, precision, pull, changed)


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
    low, high = amount_ranges(basis.controls)
    reach = np.abs(effect).max((1, 2), initial=0.0) * (high - low)
    seen_effect = np.sqrt((seen.trace.mean(0) * effect**2).sum((1, 2))) * (high - low)
    return seen_effect, (reach > least * seen.size) & (seen_effect > 0)


def _modelled(
    basis: RigBasis,
    unknowns: Unknowns,
    head: Array,
    seen: Measurement,
    when: NDArray[np.float64],
    settings: SolverSettings,
    homes: Homes,
    classified: Classified,
) -> Model:
    """Return the unknowns and the columns of the `head`'s motion [11, 2, S], with their bounds (steps 1 and 2)."""
    by_face = robust_head(seen, head).values if settings.head_motion else np.zeros((len(when), len(head)))
    sight = np.abs(when[:, None] - when[None]) <= settings.play_seconds
    return Model(
        columns=np.concatenate([unknowns.columns, head]),
        least=unknowns.least,
        most=unknowns.most,
        support=most_amounts(seen.less(motion_of(by_face, head)), unknowns.columns, unknowns.extent, sight),
        excursion=np.concatenate([unknowns.excursion, np.full(len(head), 0.02 * seen.size)]),
        hypotheses=Hypotheses.named([control.name for control in basis.controls], unknowns.spread),
        head=by_face,
        homes=homes,
        classified=classified,
    )


@dataclass(frozen=True)
class _Found:
    """Values [N, P], `turned`, the errors in proportion to the head's turning [N, 2, S] px, and the solver's state."""

    values: Array
    turned: Array
    state: SolverState


def _most_probable(model: Model, seen: Measurement, window: Array, settings: SolverSettings) -> _Found:
    """Return the most probable values: steps 3 to 6 of the module's docstring."""
    equations = NormalEquations(model.columns, seen.position)
    bounds = model.bounds(HEADROOM)
    fit = best_fit(equations, seen, *bounds)
    evidence = Evidence(model, equations, marginalised(seen, fit.variance), window, settings)
    every = np.ones((len(seen.pull), len(model.columns)), bool)
    first = evidence.maximise(every, bounds, settings.iterations, settings.activation_threshold)
    moved, turned = _parts(model, equations, fit.values)
    model = replace(model, classified=model.classified.beside(moved, seen))
    shown, head = _mean_square(moved), _mean_square(turned)
    noisy = not model.classified.clear and hidden_by_noise(fit.variance, shown, head, first.noise)
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


def _chosen(
    model: Model,
    equations: NormalEquations,
    evidence: Evidence,
    first: EvidenceMaximum,
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
        classified=model.classified,
    )
    return choose(data)


def _parts(model: Model, equations: NormalEquations, values: Array) -> tuple[Array, Array]:
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


def _share(part: NDArray[np.floating], whole: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return part of the whole, [N] in [0, 1]; 0 where there is nothing."""
    return np.clip(part / np.maximum(whole, 1e-12), 0.0, 1.0).astype(np.float32)
