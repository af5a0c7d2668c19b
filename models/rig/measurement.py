# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion equations at places of a face as weighted least squares: Gram matrices, patch errors, robust weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

Array: TypeAlias = NDArray[np.floating[Any]]

# Share of its precision that a place keeps whose picture hasn't changed. An encoder leaves out blocks of 8 x 8 px, each
# of which is one measurement, not 64. At H.264's CRF 20 (QP 23) the quantiser's step is 2^((23 - 4) / 6) = 9 codes and
# the dead zone of an inter block 5/6 of it, so that a coefficient just inside it is 7.5 / 8 = 0.94 code rms over the
# block; with one or two of them the variance is 10 or 20 times that of rounding, (0.3 code)², and the share 1/630 or
# 1/1260. It is small: controls of unchanged places are bounded by `support`, not by this.
UNCHANGED = 1 / 1024
_FEW = 48  # places; a matrix product of fewer takes longer than what it leaves out
_CAUCHY = 2.4  # scales at which the weight is 1/2; 95 % efficient for Gaussian errors (Holland and Welsch 1977: 2.385)


@dataclass(frozen=True)
class Measurement:
    """Motion u at S places in N frames, as equations J u = h.

    position: [S, 2] px. depth: [S], any unit. precision: [N, 3, S] Jxx, Jxy, Jyy (1 / px^2), the inverse covariance of
    the measured motion. pull: [N, 2, S], the information vector h = J u (1 / px). changed: [N, S], whether the picture
    changed there, None where it did everywhere: unchanged places bound the motion, but their errors are no sample of
    the noise.

    The places are the last axis, over which nearly all the work runs, in float32, as it is bound by memory; the sums
    over the places are solved in float64.
    """

    position: Array
    depth: Array
    precision: Array
    pull: Array
    changed: NDArray[np.bool_] | None = None

    @property
    def size(self) -> float:
        """The rms distance of the places from their middle, px."""
        return float(np.sqrt(((self.position - self.position.mean(0)) ** 2).sum(1).mean()))

    @property
    def trace(self) -> Array:
        """[N, S], the trace of J, 1 / px²: the precision along both axes together."""
        return self.precision[:, 0] + self.precision[:, 2]

    @property
    def measured(self) -> NDArray[np.bool_]:
        """[N, S], places with equations."""
        return self.trace > 0

    @property
    def valid(self) -> NDArray[np.bool_]:
        """[N, S], places with equations whose picture has changed: those whose errors are a sample of the noise."""
        return self.measured if self.changed is None else self.measured & self.changed

    def energy(self) -> Array:
        """Return [N, S], the measured motion squared, in units of its noise."""
        return _energy(self.precision, self.pull)

    def less(self, motion: Array) -> Measurement:
        """Return what is left when a known motion [N, 2, S] px is taken out."""
        return replace(self, pull=self.pull - self.pull_of(motion))

    def scaled(self, factor: Array) -> Measurement:
        """Return the same motion, measured with `factor` [N, S] times the precision."""
        wide = factor[:, None].astype(np.float32)
        return replace(self, precision=self.precision * wide, pull=self.pull * wide)

    def at(self, places: slice) -> Measurement:
        """Return the measurement of some of the places."""
        changed = None if self.changed is None else self.changed[:, places]
        parts = (self.precision[:, :, places], self.pull[:, :, places])
        return Measurement(self.position[places], self.depth[places], *parts, changed)

    def size_of(self, motion: Array) -> Array:
        """Return [N, S], the size of a motion [N, 2, S] px in units of the measurement's noise."""
        return np.sqrt((motion * self.pull_of(motion)).sum(1).clip(0))

    def pull_of(self, motion: Array) -> Array:
        """Return J u of a motion [N, 2, S] px."""
        if fit_loops(self.precision, motion):
            from ..loops.rig import pull

            result = np.empty_like(motion)
            pull(self.precision, motion, result)
            return result
        xx, xy, yy = self.precision.swapaxes(0, 1)
        x, y = motion.swapaxes(0, 1)
        return np.stack([xx * x + xy * y, xy * x + yy * y], 1)


class NormalEquations:
    """Weighted least squares of many frames that share their columns [P, 2, S] but not their weights.

    The products of every two columns at every place are formed once, for each entry of the precision; a frame's Gram
    matrix is then its weights times those products, and all frames' are one matrix product. A control moves a part of
    the face, so places are taken neighbourhood by neighbourhood, with the columns that act there: an eighth of the
    products of a rig's 52 controls and a twelfth of 150 aren't zero.
    """

    _KEEP = 16_000_000  # products held in memory at most; where there are more, they are formed anew each time

    def __init__(self, columns: Array, position: Array) -> None:
        """`position`: [S, 2] px, where the places are."""
        # Two controls that look the same differ by the prior alone, which in a clear film is 1e-9 of the data's
        # precision: below float32's rounding.
        self._columns = columns.astype(np.float64)
        self._shown = columns.astype(np.float32)  # what is measured has no more digits
        parts = [_Part.of(self._columns, places) for places in _neighbourhoods(position, (columns != 0).any(1))]
        self._parts = [part for part in parts if len(part.acting)]
        small = sum(part.count for part in self._parts) <= self._KEEP
        self._kept = [self._products(part) for part in self._parts] if small else None

    def gram(self, seen: Measurement, weights: Array) -> Array:
        """Return [N, P, P], sum_s weights C^T J C of the columns C [2, P] at each place; `weights` are [N, S]."""
        from ..loops.rig import add_pairs

        count, parameters = len(weights), len(self._columns)
        weighted = seen.precision * weights[:, None]
        gram = np.zeros((count, parameters, parameters))
        for number, part in enumerate(self._parts):
            products = self._products(part) if self._kept is None else self._kept[number]
            add_pairs(weighted[:, :, part.places].reshape(count, -1) @ products, part.acting, gram)
        row, column = np.tril_indices(parameters, -1)
        gram[:, row, column] = gram[:, column, row]
        return gram

    def target(self, seen: Measurement, weights: Array) -> Array:
        """Return the right-hand sides [N, P], sum_s weights C^T h."""
        pull = (seen.pull * weights[:, None]).reshape(len(weights), -1)
        return pull @ self._columns.reshape(len(self._columns), -1).T

    def motion(self, values: Array) -> Array:
        """Return the motion [N, 2, S] px of parameter values [N, P]."""
        return motion_of(values, self._shown)

    def _products(self, part: _Part) -> Array:
        """Return the products of a part's pairs for Jxx, Jxy and Jyy of its places, [3 * places, pairs]."""
        from ..loops.rig import multiply_pairs

        x, y = np.ascontiguousarray(self._columns[part.acting][:, :, part.places].transpose(1, 2, 0))
        products = np.empty((3 * len(part.places), part.pairs))
        multiply_pairs(x, y, products)
        return products


@dataclass(frozen=True)
class _Part:
    """Some places, and the columns that act there, by number."""

    places: NDArray[np.intp]
    acting: NDArray[np.intp]

    @classmethod
    def of(cls, columns: Array, places: NDArray[np.intp]) -> _Part:
        return cls(places, np.flatnonzero((columns[:, :, places] != 0).any((1, 2))))

    @property
    def pairs(self) -> int:
        """How many pairs of columns it has, with those of a column and itself."""
        return len(self.acting) * (len(self.acting) + 1) // 2

    @property
    def count(self) -> int:
        """How many products it has."""
        return 3 * len(self.places) * self.pairs


def _neighbourhoods(position: Array, acting: NDArray[np.bool_]) -> list[NDArray[np.intp]]:
    """Return the numbers of the places in groups that lie together, halved until the same columns act at all of each.

    acting: [P, S]. A group of `_FEW` places is not halved any more.
    """

    def halved(places: NDArray[np.intp]) -> list[NDArray[np.intp]]:
        here = acting[:, places]
        if len(places) <= _FEW or (here.any(1) == here.all(1)).all():
            return [places]
        across = np.ptp(position[places], axis=0).argmax()
        ordered = places[np.argsort(position[places, across], kind="stable")]
        middle = len(ordered) // 2
        return [*halved(ordered[:middle]), *halved(ordered[middle:])]

    return halved(np.arange(acting.shape[1]))


def motion_of(values: Array, columns: Array) -> Array:
    """Return the motion [N, 2, S] px of parameter values [N, P] with columns [P, 2, S].

    >>> brow_up = np.array([[[0.0, 0.0], [-24.0, -12.0]]])  # at two places, px per unit, y down
    >>> motion_of(np.array([[0.02]]), brow_up)[0, 1]
    array([-0.48, -0.24])
    """
    flat = columns.reshape(len(columns), 2 * columns.shape[2])
    return (values.astype(columns.dtype) @ flat).reshape(len(values), 2, columns.shape[2])


class Patches:
    """Squares of the face about as large as what a control moves."""

    def __init__(self, position: Array, length: float) -> None:
        squares = np.floor(position / max(length, 1e-9)).astype(np.int64)
        _, patch = np.unique(squares, axis=0, return_inverse=True)
        ones = np.ones(len(position), np.float32)
        self._members = csr_matrix((ones, (np.arange(len(position)), patch.reshape(-1))))
        self._of_each = self._members.T  # made anew, it takes a third of the time of a small sum

    def sums(self, values: Array) -> Array:
        """Return the sums of [N, C, S] over Q patches, [N, C, Q]."""
        count, channels, places = values.shape
        sums = self._of_each @ values.reshape(count * channels, places).T
        return np.asarray(sums.T).reshape(count, channels, len(sums))

    def spread(self, values: Array) -> Array:
        """Return patches' values [N, Q] at their places, [N, S]."""
        return np.asarray((self._members @ values.T).T)

    def errors(self, error: Measurement, weights: Array) -> PatchErrors:
        """Return the errors of whole patches: the sum of their places' equations, weighted by `weights` [N, S]."""
        if error.changed is not None:
            weights = weights * error.changed
        precision, pull = (self.sums(v * weights[:, None]).astype(np.float64) for v in (error.precision, error.pull))
        whole = self.sums((error.trace * error.valid)[:, None])[:, 0]
        weight = (precision[:, 0] + precision[:, 2]) / np.where(whole > 0, whole, np.inf)
        return PatchErrors(precision, pull, weight)


@dataclass(frozen=True)
class PatchErrors:
    """What is left to explain in Q patches: precision [N, 3, Q] and pull [N, 2, Q], as in `Measurement`.

    Controls move patches of the face, so that errors over whole patches are the noise of their estimates. weight:
    [N, Q], the share of its precision that a patch keeps after weighting, 0 where nothing was measured: a hand before
    the face has none, so that it doesn't enter the noise of the rest.
    """

    precision: Array
    pull: Array
    weight: Array

    def energy(self) -> Array:
        """Return [N], the errors' energy over all patches."""
        return np.asarray(self.energies().sum(1))

    def energies(self) -> Array:
        """Return [N, Q], the errors' energy in each patch."""
        return np.asarray(self.weight * _energy(self.precision, self.pull))

    def noise(self, used: Array) -> Array:
        """Return [N], the noise inflation factor: chi-squared of the patches' errors per degree of freedom.

        Sensor noise averages out within a patch and gives 1; shading, highlights and wrong correspondence are
        correlated over a patch and give more. used: [N], effective degrees of freedom of the model.
        """
        freedom = 2.0 * self.weight.sum(1)
        return self.energy() / np.maximum(freedom - used, 0.25 * freedom + 1e-12)

    def persistence(self) -> float:
        """Return the correlation of errors between neighbouring frames, in [0, 1).

        All frames share the reference frame's noise (0.5 for noise alone) and errors of correspondence; blocks that an
        encoder copies keep theirs.
        """
        energy = _energy(self.precision, self.pull)
        # Errors that have nothing in common have half the energy of one frame when they are averaged; the same, all.
        alone = 0.5 * (energy[1:] + energy[:-1])
        averaged = _energy(self.precision[1:] + self.precision[:-1], self.pull[1:] + self.pull[:-1])
        seen_twice = (self.weight[1:] > 0) & (self.weight[:-1] > 0)
        shared = averaged.sum(where=seen_twice) / max(alone.sum(where=seen_twice), 1e-30) - 1.0
        return float(np.clip(shared, 0.0, 0.999))


def cauchy_weights(error: Measurement, explained: Array, proportional: float) -> Array:
    """Return [N, S] Cauchy weights of the places' errors.

    1 / (1 + (error / (2.4 scale))^2). The scale is the frame's median error plus the share `proportional` of the motion
    `explained` [N, 2, S] px there, as the basis' own error grows with the motion.

    >>> precision = np.tile(np.float32([[[100.0], [0.0], [100.0]]]), (1, 1, 5))
    >>> error = np.zeros((1, 2, 5))
    >>> error[0, 0] = 0.1, -0.1, 0.1, -0.1, 1.0  # px; the last place is an outlier
    >>> left = Measurement(np.zeros((5, 2)), np.zeros(5), precision, 100 * error)
    >>> cauchy_weights(left, np.zeros((1, 2, 5)), proportional=0.25).round(2)
    array([[0.85, 0.85, 0.85, 0.85, 0.05]])
    """
    size = np.sqrt(error.energy())
    scale = _median(size, error.valid)[:, None] + proportional * error.size_of(explained) + 1e-9
    return 1.0 / (1.0 + (size / (_CAUCHY * scale)) ** 2)


def initial_weights(seen: Measurement) -> Array:
    """Return [N, S] Cauchy weights of the motion itself, before anything is explained.

    IRLS from plain least squares would fit the controls to a hand before the face, whose residual is then small. With
    small weights at first where much more moves than elsewhere, the weight of motion that fits a control grows from
    iteration to iteration, and a hand's doesn't.
    """
    energy, valid = seen.energy(), seen.valid
    amount = 0.5 * seen.trace
    size = np.sqrt(energy / np.where(valid, amount, np.inf))
    typical = np.sqrt(energy.sum(1) / np.maximum((amount * valid).sum(1), 1e-30))
    scale = np.maximum(_median(size, valid), 0.3 * typical) + 1e-9
    return 1.0 / (1.0 + (size / (_CAUCHY * scale[:, None])) ** 2)


def _energy(precision: Array, pull: Array) -> Array:
    """Return hᵀJ⁻¹h >= 0 for J [N, 3, S] and h [N, 2, S], in the directions in which J is not nothing."""
    if fit_loops(precision, pull):
        from ..loops.rig import find_energy

        result = np.empty((len(pull), pull.shape[2]), np.float32)
        find_energy(precision, pull, result)
        return result
    xx, xy, yy = precision.swapaxes(0, 1)
    hx, hy = pull.swapaxes(0, 1)
    seen = xx + yy > np.float32(1e-12)  # with less, a motion is known to a million pixels
    least = np.float32(1e-6) * np.where(seen, xx + yy, np.float32(1.0))
    xx, yy = xx + least, yy + least
    determinant = np.maximum(xx * yy - xy * xy, least * (xx + yy))
    energy = (yy * hx * hx - 2 * xy * hx * hy + xx * hy * hy) / determinant
    return np.where(seen, np.maximum(energy, 0.0), 0.0)


def fit_loops(*arrays: Array) -> bool:
    """Whether `loops` can compute on arrays: the sums over patches are of another type."""
    return all(each.dtype == np.float32 and each.flags.c_contiguous for each in arrays)


def _median(values: Array, valid: NDArray[np.bool_]) -> Array:
    """Return the median of each row over its valid entries, 0 where there are none."""
    ordered = np.sort(np.where(valid, values, np.inf), axis=1)
    middle = np.maximum(valid.sum(1) - 1, 0) // 2
    return np.where(valid.any(1), ordered[np.arange(len(values)), middle], 0.0)
