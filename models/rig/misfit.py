# SPDX-License-Identifier: GPL-3.0-or-later
"""How far the rig's shapes are from the driver's: the part of the motion that no values of the controls can show.

A rig of another family moves the skin in somewhat other directions, over somewhat other areas. The residual is then no
error of the measurement: it is there without noise too, and an estimate weighted by the measurement's precision alone
fits the few places with strong texture (the edge of a brow) at the cost of the rest. The misfit δ is modelled as a
random effect of variance s² per frame, in px² along each axis,

    J (u + δ) = h + noise,    δ ~ N(0, s² I),

so that, with δ integrated out, the precision of a place is (J⁻¹ + s² I)⁻¹. With s = 0 it is the measurement's own; the
larger s, the more equal are the weights of all measured places, and the solution tends to the nearest motion in px that
the rig can show. `best_fit` alternates

    1. Fit          bounded least squares of all columns under the marginal precision      `solve_boxed`
    2. Reweighting  Cauchy weights of the places' residuals (IRLS)                          `cauchy_weights`
    3. E-step       posterior of δ given the residual's h at each place: mean s² h' and covariance s² (I - s² J'),
                    with J' and h' of the marginal measurement                              `misfit_variance`
    4. M-step       s² = the weighted mean of E|δ|² / 2 over the places of a frame          `misfit_variance`

with steps 3 and 4 `_EM_STEPS` times between two fits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import nnls
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree

from .box_least_squares import solve_boxed
from .measurement import Array, Measurement, NormalEquations, cauchy_weights, fit_loops

STILL = 0.1  # share of a clip's frames in which a face is taken to be still
_WINDOW = 0.06  # of the face's size, standard deviation of the window in which skin is taken to move alike: of a lid
_WIDE_WINDOW = 0.1  # the same where noise is larger than the misfit: of the muscles of brows and mouth (`beyond`)
_MOVING = 0.015  # s² of a frame, a mean over all of the face, as a share of s² where the face moves: one lid
_FIRST_GUESS = 0.02  # px², s² before the first fit; a clear micro-expression moves a face of 200 px by 0.5 px
_ITERATIONS = 6  # fits; s changes by less than a tenth in the last
_EM_STEPS = 4  # for s² between two fits, which cost far more
_FEWEST_FRAMES = 4  # for the three coefficients of `hidden_by_noise`
_NOISELESS = 0.1  # noise inflation below which a picture has no noise that could hide a misfit
_RIDGE = 1e-3  # of the median control's information: determines what the equations leave open, shrinks little else
_PROPORTIONAL = 1.0  # error per explained motion that is no outlier: of a rig that fits half-way it is as large as that


@dataclass(frozen=True)
class BestFit:
    """Bounded least squares of all controls, without a prior on which of them move.

    values: [N, P]. variance: [N], s² of the misfit, px². weights: [N, S], IRLS weights of the places. iterations: of a
    fit and of its variance. change: by which share s of the frame with the largest misfit changed in the last of them.
    """

    values: Array
    variance: Array
    weights: Array
    iterations: int
    change: float


def marginalised(seen: Measurement, variance: Array) -> Measurement:
    """Return a measurement with a misfit of `variance` s² [N] px² at each place integrated out.

    J' = (J⁻¹ + s² I)⁻¹ = (I + s² J)⁻¹ J and h' = (I + s² J)⁻¹ h, for J [N, 3, S] and h [N, 2, S].

    >>> precision, pull = np.float32([[[100.0], [0.0], [100.0]]]), np.float32([[[50.0], [0.0]]])  # 0.5 px +- 0.1 px
    >>> marginal = marginalised(Measurement(np.zeros((1, 2)), np.zeros(1), precision, pull), np.array([0.01]))
    >>> marginal.precision.ravel(), marginal.pull.ravel()  # the same motion +- 0.14 px
    (array([50.,  0., 50.], dtype=float32), array([25.,  0.], dtype=float32))
    """
    if fit_loops(seen.precision, seen.pull):
        from ..loops.rig import marginalise

        wider, weaker = np.empty_like(seen.precision), np.empty_like(seen.pull)
        marginalise(seen.precision, seen.pull, variance.astype(np.float32), wider, weaker)
        return replace(seen, precision=wider, pull=weaker)
    s2 = variance[:, None].astype(np.float32)
    xx, xy, yy = seen.precision.swapaxes(0, 1)
    hx, hy = seen.pull.swapaxes(0, 1)
    a, b, d = 1 + s2 * xx, s2 * xy, 1 + s2 * yy
    determinant = 1 + s2 * (xx + yy) + s2 * s2 * np.maximum(xx * yy - xy * xy, 0)
    precision = [(d * xx - b * xy) / determinant, (d * xy - b * yy) / determinant, (a * yy - b * xy) / determinant]
    pull = [(d * hx - b * hy) / determinant, (a * hy - b * hx) / determinant]
    return replace(seen, precision=np.stack(precision, 1), pull=np.stack(pull, 1))


def misfit_variance(error: Measurement, variance: Array, weights: Array) -> Array:
    """Return [N] px², the misfit's variance after one step of expectation maximisation.

    error: what the fit leaves. variance: [N] px², the one before. weights: [N, S], IRLS weights.
    """
    # E-step: E|δ|² = |mean|² + trace of the covariance, [N, S] px².
    marginal = marginalised(error, variance)
    s2 = variance[:, None]
    squared = ((s2[:, None] * marginal.pull) ** 2).sum(1) + 2 * s2 - s2**2 * marginal.trace
    # M-step
    weights = (error.valid * weights).astype(np.float64)
    total: Array = (squared * weights).sum(1)  # what rounding leaves below zero is none
    return np.maximum(total, 0.0) / np.maximum(2 * weights.sum(1), 1e-12)


def hidden_by_noise(variance: Array, shown: Array, head: Array, inflation: Array) -> bool:
    """Return whether the noise is larger than the largest misfit, so that residuals are no evidence of other shapes.

    A misfit grows with the motion that the controls show; the sensor's noise is the same in every frame, and errors of
    a moving head grow with its motion:

        s² = a + b |head|² + m |shown|² / 2,    a, b, m >= 0,

    by non-negative least squares over the frames. Where the noise inflation is below `_NOISELESS`, as in
    a rendered picture, nothing is hidden.

    Args:
        variance: [N], s², px².
        shown, head: [N], mean squared motions, px².
        inflation: [N], noise inflation factor of the measurement.
    """
    if len(variance) < _FEWEST_FRAMES:
        return False
    columns = np.stack([np.ones_like(shown), head, shown / 2], 1)
    scale = np.maximum(np.linalg.norm(columns, axis=0), 1e-30)
    noise, _, misfit = nnls(columns / scale, variance)[0] / scale
    return bool(misfit * shown.max() / 2 < noise and np.median(inflation) > _NOISELESS)


def best_fit(equations: NormalEquations, seen: Measurement, low: Array, high: Array) -> BestFit:
    """Fit all columns within their bounds [N, P], and estimate the misfit on the way.

    `equations` are those of the columns at the places of `seen`.
    """
    count, parameters = len(seen.pull), low.shape[-1]
    variance: Array = np.full(count, _FIRST_GUESS)
    weights: Array = np.ones((count, seen.pull.shape[2]), np.float32)
    values: Array = np.zeros((count, parameters))
    change = 0.0
    for _ in range(_ITERATIONS):
        marginal = marginalised(seen, variance)
        gram = equations.gram(marginal, weights)
        ridge = _RIDGE * np.median(np.diagonal(gram.mean(0)))
        values = solve_boxed(
            gram + max(ridge, 1e-12) * np.eye(parameters), equations.target(marginal, weights), low, high, guess=values
        ).values
        explained = equations.motion(values)
        weights = cauchy_weights(marginal.less(explained), explained, _PROPORTIONAL)
        before = variance.max(initial=0.0)
        for _ in range(_EM_STEPS):
            variance = misfit_variance(seen.less(explained), variance, weights)
        change = abs(float(np.sqrt(variance.max(initial=0.0) / max(before, 1e-30))) - 1)
    return BestFit(values, variance, weights, _ITERATIONS, change)


def beyond(error: Measurement, variance: Array, noisy: bool = False) -> Array:
    """Return [N, 2, S] px, the smooth motion in what the controls leave unexplained.

    At every place the ridge estimate (sum_w J' + I m / s²)⁻¹ sum_w h' over a Gaussian window w, of the marginalised
    equations, with m = `_MOVING`, as the misfit is where the face moves: 0 where the rig fits (s = 0) and
    where nothing was measured. Where the motion is `noisy`, the window is wider.
    """
    places = len(error.position)
    width = (_WIDE_WINDOW if noisy else _WINDOW) * error.size
    tree = cKDTree(error.position)
    near = tree.sparse_distance_matrix(tree, 2.5 * width, output_type="coo_matrix")
    window = csr_matrix((np.exp(-0.5 * (near.data / width) ** 2), (near.row, near.col)), shape=(places, places))
    window = window.astype(np.float32)
    marginal = marginalised(error, variance)
    xx, xy, yy, hx, hy = (
        (window @ each.T).T for each in (*marginal.precision.swapaxes(0, 1), *marginal.pull.swapaxes(0, 1))
    )
    # The misfit of still frames is noise, and is subtracted.
    clear = (variance - np.quantile(variance, STILL)).clip(0)
    ridge = np.minimum(_MOVING / np.maximum(clear, 1e-12), 1e12)[:, None]
    a, d = xx + ridge, yy + ridge
    determinant = a * d - xy * xy
    return np.stack([(d * hx - xy * hy) / determinant, (a * hy - xy * hx) / determinant], 1)
