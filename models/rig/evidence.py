# SPDX-License-Identifier: GPL-3.0-or-later
"""Automatic relevance determination: prior variances, noise, IRLS weights and the controls' values in turn."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf, dpotri

from .box_least_squares import solve_boxed
from .classified import Classified
from .head_motion import orthonormal, turning_error
from .homes import Homes
from .measurement import Array, Measurement, NormalEquations, Patches, cauchy_weights, initial_weights
from .selection import Hypotheses

_IRLS_ITERATIONS = 3  # the weights change by less than a hundredth after them
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
class Model:
    """Linear columns [P, 2, S] and the standard deviation [P] of their amounts assumed before the clip is seen.

    The first Q of them are the rig's, with ranges `least` and `most` [Q], amounts `support` [N, Q] that what was seen
    supports, the `hypotheses` that they stand for, the `homes` of these and what they are `classified` as; the rest is
    head motion, `head` [N, P - Q] being that of most of the face.
    """

    columns: Array
    least: Array
    most: Array
    support: Array
    excursion: Array
    hypotheses: Hypotheses
    head: Array
    homes: Homes
    classified: Classified

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
class EvidenceMaximum:
    """Where a run of evidence maximisation ended.

    values: [N, P]. noise: [N], noise inflation without a threshold. change: of the controls' values in the last
    iteration, as a share of the largest.
    """

    values: Array
    noise: Array
    change: float


class Evidence:
    """Evidence maximisation (automatic relevance determination) by EM; its first iterations update the IRLS weights."""

    def __init__(
        self, model: Model, equations: NormalEquations, seen: Measurement, window: Array, settings: SolverSettings
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

    def of(self, seen: Measurement) -> Evidence:
        """Return the same of another measurement of the motion, with the head's turning error taken out of it."""
        other = copy(self)
        other._seen, other.local, other._gram = seen, seen.less(self.turned), None
        return other

    def scaled(self, factor: Array) -> Evidence:
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

    def of_controls(self, model: Model) -> tuple[Array, Array]:
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
        missing = variance * (self._seen.trace * self.weights).sum(1)
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
    ) -> EvidenceMaximum:
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
            posterior = variances(system)
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
        return EvidenceMaximum(values, np.maximum(own, np.median(own)), change)

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


def variances(precision: Array) -> Array:
    """Return [N, U], the diagonals of the inverses of positive definite matrices [N, U, U], by Cholesky's factors."""
    found = np.empty(precision.shape[:2])
    if not found.size:  # no control is in play, of which LAPACK would complain on the standard output
        return found
    for frame, matrix in enumerate(precision):
        factor, indefinite = dpotrf(matrix.T, lower=1)  # symmetric, and so as LAPACK keeps it
        inverse = np.linalg.inv(matrix) if indefinite else dpotri(factor, lower=1, overwrite_c=1)[0]
        found[frame] = inverse.diagonal()
    return found


def _threshold_factor(frames: Array, persistence: float, deviations: float) -> Array:
    """Return [N], the noise inflation factor that puts a control's activation `deviations` above noise alone.

    What decides is the mean square of a control's values over the frames around, `frames` [N] of them. Of errors alone
    it would be 1 in units of theirs, with a standard deviation of sqrt(2 / M) for M frames with errors of their own
    (chi-squared). Where errors stay from frame to frame there are fewer such frames: for a correlation r between
    neighbours (1 - r) / (1 + r) of them, the effective sample size of a first-order autoregressive process.
    """
    independent = np.maximum(frames * (1 - persistence) / (1 + persistence), 1.0)
    return 1.0 + deviations * np.sqrt(2.0 / independent)
