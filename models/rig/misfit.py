# SPDX-License-Identifier: GPL-3.0-or-later
"""How far the rig's shapes are from the driver's: the part of the motion that no values of the controls can show.

A rig of another family moves the skin in somewhat other directions, over somewhat other areas. What is left over then
is no error of the measurement: it is there in the clearest film, where the texture is strongest it is measured best,
and an estimate weighted by the measurement's precision alone fits the few places with strong texture (the edge of a
brow) and lets the rest go. The misfit δ is modelled as a random effect of variance s² per frame, in px² along each
axis,

    J (u + δ) = h + noise,    δ ~ N(0, s² I),

so that the precision of a place is (J⁻¹ + s² I)⁻¹. With s = 0 it is the measurement's own; the larger s, the more
alike all places that were measured count, and the solution tends to the nearest motion in px that the rig can show.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import nnls
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree

from .box_least_squares import solve_boxed
from .measurement import Array, Measurement, NormalEquations, cauchy_weights

STILL = 0.1  # share of a clip's frames in which a face is taken to be still
_WINDOW = 0.1  # of the face's size, over which skin moves much alike: plain places need neighbours with texture
_MOVING = 0.03  # misfit gathers where the motion is: s², the mean over all of a face, is about so little of it there
_FIRST_GUESS = 0.02  # px², before the first fit; a clear micro-expression moves a face of 200 px by 0.5 px
_ITERATIONS = 6  # of a fit and its misfit; s changes by less than a tenth in the last
_FRAMES_OF_A_FIT = 4  # fewer don't tell noise from misfit
_NOISELESS = 0.1  # errors over what the precision states, below which there is no noise to speak of
_STEPS = 4  # of expectation maximisation for s² between fits, which cost far more
_RIDGE = 1e-3  # of the median control's own information: settles what the equations leave open, shrinks nothing else
_PROPORTIONAL = 1.0  # error per explained motion that is no outlier: of a rig that fits half-way it is as large as that


@dataclass(frozen=True)
class BestFit:
    """The least squares that the rig can do, without a prior on which controls move.

    values: [N, P]. variance: [N], s² of the misfit, px². trust: [N, S], weights of the places. iterations: of a fit and
    of its variance. change: by which share s of the frame with the largest misfit changed in the last of them.
    """

    values: Array
    variance: Array
    trust: Array
    iterations: int
    change: float


def softened(seen: Measurement, variance: Array) -> Measurement:
    """Return a measurement whose places may be wrong by a motion of `variance` [N] px² each.

    J' = (J⁻¹ + s² I)⁻¹ = (I + s² J)⁻¹ J and h' = (I + s² J)⁻¹ h, for J [N, 3, S] and h [N, 2, S].

    >>> precision, pull = np.float32([[[100.0], [0.0], [100.0]]]), np.float32([[[50.0], [0.0]]])  # 0.5 px +- 0.1 px
    >>> soft = softened(Measurement(np.zeros((1, 2)), np.zeros(1), precision, pull), np.array([0.01]))
    >>> soft.precision.ravel(), soft.pull.ravel()  # the same motion +- 0.14 px
    (array([50.,  0., 50.], dtype=float32), array([25.,  0.], dtype=float32))
    """
    s2 = variance[:, None].astype(np.float32)
    xx, xy, yy = seen.precision.swapaxes(0, 1)
    hx, hy = seen.pull.swapaxes(0, 1)
    a, b, d = 1 + s2 * xx, s2 * xy, 1 + s2 * yy
    determinant = 1 + s2 * (xx + yy) + s2 * s2 * np.maximum(xx * yy - xy * xy, 0)
    precision = [(d * xx - b * xy) / determinant, (d * xy - b * yy) / determinant, (a * yy - b * xy) / determinant]
    pull = [(d * hx - b * hy) / determinant, (a * hy - b * hx) / determinant]
    return replace(seen, precision=np.stack(precision, 1), pull=np.stack(pull, 1))


def misfit_variance(error: Measurement, variance: Array, trust: Array) -> Array:
    """Return [N], one step of expectation maximisation for the variance of a random effect in the error.

    E|δ|² / 2 over the measured places, weighted by `trust` [N, S], for the posterior δ = s² h'
    and its covariance s² (I - s² J').
    """
    soft = softened(error, variance)
    s2 = variance[:, None]
    squared = ((s2[:, None] * soft.pull) ** 2).sum(1) + 2 * s2 - s2**2 * (soft.precision[:, 0] + soft.precision[:, 2])
    weight = (error.valid * trust).astype(np.float64)
    total: Array = (squared * weight).sum(1)
    return total / np.maximum(2 * weight.sum(1), 1e-12)


def hidden_by_noise(variance: Array, shown: Array, head: Array, inflation: Array) -> bool:
    """Return whether noise is larger than the misfit is anywhere, so that what is left over says nothing of shapes.

    A misfit grows with the motion that the controls show; the sensor's noise is the same in every frame, and errors of
    a moving head grow with its motion:

        s² = a + b |head|² + m |shown|² / 2,    a, b, m >= 0,

    by non-negative least squares over the frames. Where errors are far smaller than the precision states, as in a
    rendered picture, nothing is hidden.

    Args:
        variance: [N], s², px².
        shown, head: [N], mean squared motions, px².
        inflation: [N], the errors over what the measurement's precision makes of them.
    """
    if len(variance) < _FRAMES_OF_A_FIT:
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
    trust: Array = np.ones((count, seen.pull.shape[2]), np.float32)
    values: Array = np.zeros((count, parameters))
    change = 0.0
    for _ in range(_ITERATIONS):
        soft = softened(seen, variance)
        gram = equations.gram(soft, trust)
        ridge = _RIDGE * np.median(np.diagonal(gram.mean(0)))
        values = solve_boxed(
            gram + max(ridge, 1e-12) * np.eye(parameters), equations.target(soft, trust), low, high, guess=values
        ).values
        explained = equations.motion(values)
        trust = cauchy_weights(soft.less(explained), explained, _PROPORTIONAL)
        before = variance.max(initial=0.0)
        for _ in range(_STEPS):
            variance = misfit_variance(seen.less(explained), variance, trust)
        change = abs(float(np.sqrt(variance.max(initial=0.0) / max(before, 1e-30))) - 1)
    return BestFit(values, variance, trust, _ITERATIONS, change)


def beyond(error: Measurement, variance: Array) -> Array:
    """Return [N, 2, S] px, the smooth motion in what the controls leave unexplained.

    At every place the ridge estimate (sum_w J' + I m / s²)⁻¹ sum_w h' over a Gaussian window w, of the softened
    equations, with m = s² over what it is where the face moves: 0 where the rig fits (s = 0) and
    where nothing was measured.
    """
    places = len(error.position)
    width = _WINDOW * error.size
    tree = cKDTree(error.position)
    near = tree.sparse_distance_matrix(tree, 2.5 * width, output_type="coo_matrix")
    window = csr_matrix((np.exp(-0.5 * (near.data / width) ** 2), (near.row, near.col)), shape=(places, places))
    window = window.astype(np.float32)
    soft = softened(error, variance)
    xx, xy, yy, hx, hy = ((window @ each.T).T for each in (*soft.precision.swapaxes(0, 1), *soft.pull.swapaxes(0, 1)))
    # What misses in still frames is noise, and is left out.
    clear = (variance - np.quantile(variance, STILL)).clip(0)
    ridge = np.minimum(_MOVING / np.maximum(clear, 1e-12), 1e12)[:, None]
    a, d = xx + ridge, yy + ridge
    determinant = a * d - xy * xy
    return np.stack([(d * hx - xy * hy) / determinant, (a * hy - xy * hx) / determinant], 1)
