# SPDX-License-Identifier: GPL-3.0-or-later
"""The head's motion as nuisance parameters: its picture motion, a robust fit, and errors that follow its turning."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .measurement import Array, Measurement, NormalEquations
from .misfit import marginalised

HEAD_MOTIONS = (
    *("right", "down", "roll", "nearer", "yaw", "pitch"),
    *("perspective yaw", "perspective pitch", "nearer by depth", "yaw by depth", "pitch by depth"),
)
_PLACE_DEVIATION = 0.1  # px, standard deviation of a place's motion around the head's, at the least
_WEAK_PERSPECTIVE = 6  # columns; the others are a tenth of them, the face's depth over its distance
_PERSPECTIVE_RIDGE = 1e-2  # of the Gram matrix' trace, prior precision of these others: (1 / 10)^2
_HEAD_ITERATIONS = 14  # the kernel's width falls from 8 scales to one in six; the rest converges
_HEAD_PLACES = 500  # enough for eleven numbers
_STILL_SHARE = 0.3  # quantile of the places' errors that is the scale: an expression leaves at least these at rest
_OUTLIER = 2.4  # scales, width of the kernel
_WIDEST, _NARROWING = 8.0, 0.7  # graduated non-convexity: at first nearly least squares, with no local minimum
_TURNS = tuple(HEAD_MOTIONS.index(name) for name in ("roll", "yaw", "pitch"))


def head_columns(position: Array, depth: Array) -> Array:
    """Return [11, 2, S], the picture motion of small head motions in the order of `HEAD_MOTIONS`, each with rms 1 px.

    The first six are those of weak perspective; the rest is what a camera at arm's length adds, first order in the
    face's extent over its distance. Their shares are solved for, as the driver's camera is unknown.

    >>> position, depth = np.random.default_rng(0).uniform(0, 100, (50, 2)), np.linspace(0, 40, 50)
    >>> columns = head_columns(position, depth)
    >>> columns.shape, bool(np.allclose(columns[HEAD_MOTIONS.index("right"), 0], 1))
    ((11, 2, 50), True)
    """
    x, y = (position - position.mean(0)).T
    z = depth - depth.mean()
    zero, one = np.zeros_like(x), np.ones_like(x)
    weak = ((one, zero), (zero, one), (-y, x), (x, y), (z, zero), (zero, z))
    perspective = ((x * x, x * y), (x * y, y * y), (x * z, y * z), (z * z, zero), (zero, z * z))
    columns = np.stack([np.stack(column) for column in (*weak, *perspective)])
    rms = np.sqrt((columns**2).sum(1).mean(1))
    return columns / np.where(rms > 1e-9, rms, np.inf)[:, None, None]


@dataclass(frozen=True)
class HeadFit:
    """The state of iteratively reweighted least squares when it ended.

    values: [N, 11] in the order of `HEAD_MOTIONS`, px rms over the places. iterations: weighted systems solved.
    residual: px, the largest change of a value in the last iteration.
    """

    values: Array
    iterations: int
    residual: float

    @property
    def converged(self) -> bool:
        """Whether the last iteration changed less than the places' own error."""
        return self.residual < _PLACE_DEVIATION


def robust_head(seen: Measurement, columns: Array) -> HeadFit:
    """Fit the head's motion `columns` [11, 2, S] to most of the face: parts that move besides are outliers.

    Iteratively reweighted least squares with Geman-McClure weights under graduated non-convexity (the kernel narrows
    from one iteration to the next), `_HEAD_ITERATIONS` of

        ridge solve     (sum_s w c^T J c + prior) a = sum_s w c^T h, for all frames
        reweighting     w = (1 + (residual / (width scale))^2)^-2, scale the residual's `_STILL_SHARE` quantile

    Every place has a precision of at most 1 / `_PLACE_DEVIATION`^2, so that all count about alike; an unchanged one has
    a motion of 0 with that precision.
    """
    step = max(1, columns.shape[2] // _HEAD_PLACES)
    columns = np.ascontiguousarray(columns[:, :, ::step])
    seen = seen.at(slice(None, None, step))
    equations = NormalEquations(columns, seen.position)
    count = len(seen.pull)
    still = np.float32(_PLACE_DEVIATION**-2) * (seen.measured & ~seen.valid)
    marginal = marginalised(seen, np.full(count, _PLACE_DEVIATION**2))
    precision = marginal.precision * seen.valid[:, None] + still[:, None] * np.array([1, 0, 1], np.float32)[:, None]
    marginal = replace(marginal, precision=precision, pull=marginal.pull * seen.valid[:, None], changed=None)
    weights: Array = np.ones((count, seen.pull.shape[2]), np.float32)
    values: Array = np.zeros((count, len(columns)))
    before = values
    prior = np.where(np.arange(len(columns)) < _WEAK_PERSPECTIVE, 1e-6, _PERSPECTIVE_RIDGE)
    for iteration in range(_HEAD_ITERATIONS):
        gram = equations.gram(marginal, weights)
        ridge = prior * np.trace(gram, axis1=1, axis2=2)[:, None, None] + 1e-12
        before = values
        values = np.linalg.solve(gram + ridge * np.eye(len(columns)), equations.target(marginal, weights)[..., None])[
            ..., 0
        ]
        explained = equations.motion(values)
        size = np.sqrt(marginal.less(explained).energy())
        scale = np.quantile(size, _STILL_SHARE, axis=1)[:, None] + 1e-6
        width = _OUTLIER * max(1.0, _WIDEST * _NARROWING**iteration)
        weights = (1.0 / (1.0 + (size / (width * scale)) ** 2) ** 2).astype(np.float32)
    return HeadFit(values, _HEAD_ITERATIONS, float(np.abs(values - before).max(initial=0.0)))


def orthonormal(columns: Array) -> Array:
    """Return an orthonormal basis [2 S, r] of what columns [P, 2, S] can show, place by place x and y."""
    flat = columns.astype(np.float64).transpose(2, 1, 0).reshape(-1, len(columns))
    basis, sizes, _ = np.linalg.svd(flat, full_matrices=False)
    return np.asarray(basis[:, sizes > np.finfo(np.float64).eps * max(flat.shape) * sizes.max(initial=0.0)])


def turning_error(error: Measurement, weights: Array, head: Array, noise: Array, prior: float, shown: Array) -> Array:
    """Return [N, 2, S] px, the apparent motion of each place that is proportional to the head's turning.

    When a head turns, its shading and highlights change, and an error of the depth becomes an error of the motion. Both
    could be mistaken for expressions, and both follow the turning θ (roll, yaw, pitch): e = R θ, with the same R [2, 3]
    at a place for the whole clip. R is found by ridge regression over the frames, less what the head can
    show of it over all places: that is the head's motion, and with both free each could cancel the other without end.

    Args:
        error: what neither controls nor head motion explain.
        weights: [N, S] weights.
        head: [N, 11] values of `HEAD_MOTIONS`, px.
        noise: [N], variance of the error in units of the measurement's.
        prior: standard deviation of R, px of error per px of turning.
        shown: `orthonormal` head columns.
    """
    turn = head[:, _TURNS]
    scaled = (weights / noise[:, None]).astype(weights.dtype)
    turn = turn.astype(weights.dtype)
    count, places = weights.shape
    turns = len(_TURNS)
    products = (turn[:, :, None] * turn[:, None, :]).reshape(count, -1)
    xx, xy, yy = (error.precision * scaled[:, None]).swapaxes(0, 1)
    system = np.empty((places, 2, turns, 2, turns))
    for row, column, entry in ((0, 0, xx), (0, 1, xy), (1, 0, xy), (1, 1, yy)):
        system[:, row, :, column] = (entry.T @ products).reshape(places, turns, turns)
    ridged: Array = system.reshape(places, 2 * turns, 2 * turns) + np.eye(2 * turns) / prior**2
    pull = np.stack([(error.pull[:, axis] * scaled).T @ turn for axis in (0, 1)], 1).reshape(places, 2 * turns)
    response = np.linalg.solve(ridged, pull[..., None]).reshape(places, 2, turns)
    flat = response.reshape(2 * places, turns)
    response = (flat - shown @ (shown.T @ flat)).reshape(response.shape)
    return np.einsum("sjt,nt->njs", response.astype(weights.dtype), turn, optimize=True)
