# SPDX-License-Identifier: GPL-3.0-or-later
"""The rig's equations: a motion taken out, their energy, a misfit integrated out, and least squares of them."""

from __future__ import annotations

import numpy as np

from .compiled import FLAGS, MATRIX, NUMBERS, STACK, Flags, Matrix, Numbers, Places, Plane, Planes, Row, Stack, compiled


@compiled("void(float32[:,:,::1], float32[:,:,::1], float32[:,:,::1])")
def pull(precision: Planes, motion: Planes, result: Planes) -> None:
    """Find J u of precisions J [N, 3, S] and motion u [N, 2, S], [N, 2, S]; see `rig.measurement`."""
    for n in range(result.shape[0]):
        for s in range(result.shape[2]):
            x, y = motion[n, 0, s], motion[n, 1, s]
            result[n, 0, s] = precision[n, 0, s] * x + precision[n, 1, s] * y
            result[n, 1, s] = precision[n, 1, s] * x + precision[n, 2, s] * y


@compiled("void(float32[:,:,::1], float32[:,:,::1], float32[:,::1])")
def find_energy(precision: Planes, pull: Planes, result: Plane) -> None:
    """Find the energy [N, S] of equations J u = h, J [N, 3, S] and h [N, 2, S]; see `rig.measurement`.

    It is 0 where J is nothing; elsewhere J is more by a share of 1e-6, in every direction. What rounding leaves below
    zero is none.
    """
    zero, two, share, nothing = np.float32(0), np.float32(2), np.float32(1e-6), np.float32(1e-12)
    for n in range(result.shape[0]):
        for s in range(result.shape[1]):
            xx, xy, yy = precision[n, 0, s], precision[n, 1, s], precision[n, 2, s]
            x, y, seen = pull[n, 0, s], pull[n, 1, s], xx + yy > nothing
            least = share * (xx + yy if seen else np.float32(1))
            xx, yy = xx + least, yy + least
            determinant = max(xx * yy - xy * xy, least * (xx + yy))
            energy = (yy * x * x - two * xy * x * y + xx * y * y) / determinant
            result[n, s] = max(energy, zero) if seen else zero


@compiled("void(float32[:,:,::1], float32[:,:,::1], float32[::1], float32[:,:,::1], float32[:,:,::1])")
def marginalise(precision: Planes, pull: Planes, variance: Row, wider: Planes, weaker: Planes) -> None:
    """Integrate a motion of `variance` [N] out of equations J u = h, J [N, 3, S] and h [N, 2, S]; see `rig.misfit`."""
    one, zero = np.float32(1), np.float32(0)
    for n in range(precision.shape[0]):
        s2 = variance[n]
        for s in range(precision.shape[2]):
            xx, xy, yy, x, y = precision[n, 0, s], precision[n, 1, s], precision[n, 2, s], pull[n, 0, s], pull[n, 1, s]
            a, b, d = one + s2 * xx, s2 * xy, one + s2 * yy
            determinant = one + s2 * (xx + yy) + s2 * s2 * max(xx * yy - xy * xy, zero)
            wider[n, 0, s] = (d * xx - b * xy) / determinant
            wider[n, 1, s] = (d * xy - b * yy) / determinant
            wider[n, 2, s] = (a * yy - b * xy) / determinant
            weaker[n, 0, s] = (d * x - b * y) / determinant
            weaker[n, 1, s] = (a * y - b * x) / determinant


@compiled(f"void({MATRIX}, {MATRIX}, {MATRIX})")
def multiply_pairs(x: Matrix, y: Matrix, products: Matrix) -> None:
    """Find the products of every two of P columns [S, P] for the entries Jxx, Jxy and Jyy, [3 * S, pairs]."""
    places, columns = x.shape
    for s in range(places):
        pair = 0
        for i in range(columns):
            for j in range(i, columns):
                products[s, pair] = x[s, i] * x[s, j]
                products[places + s, pair] = x[s, i] * y[s, j] + y[s, i] * x[s, j]
                products[2 * places + s, pair] = y[s, i] * y[s, j]
                pair += 1


@compiled(f"void({MATRIX}, int64[::1], {STACK})")
def add_pairs(found: Matrix, columns: Places, gram: Stack) -> None:
    """Add what was found of every two `columns` [N, pairs] to matrices of all [N, P, P], above their diagonals."""
    for n in range(found.shape[0]):
        pair = 0
        for i in range(len(columns)):
            row = gram[n, columns[i]]
            for j in range(i, len(columns)):
                row[max(columns[j], 0)] += found[n, pair]
                pair += 1


@compiled(f"void({MATRIX}, {NUMBERS}, {NUMBERS}, {NUMBERS})")
def _find_gradient(gram: Matrix, target: Numbers, values: Numbers, gradient: Numbers) -> None:
    """Find the gradient of ½ xᵀ·gram·x − targetᵀ·x at x = `values`, of which many may be 0."""
    for k in range(len(values)):
        gradient[k] = -target[k]
    for j in range(len(values)):
        amount = values[j]
        if amount != 0.0:
            for k in range(len(values)):
                gradient[k] += amount * gram[j, k]


@compiled(f"boolean({NUMBERS}, {NUMBERS}, {NUMBERS}, {NUMBERS}, float64, {FLAGS})")
def _release(values: Numbers, gradient: Numbers, low: Numbers, high: Numbers, slope: float, free: Flags) -> bool:
    """Make all unknowns `free` but those at a bound, unless the gradient, above `slope`, leads into the box there.

    Return whether there is one that has not been free before.
    """
    more = False
    for k in range(len(values)):
        held = (values[k] <= low[k] and gradient[k] >= -slope) or (values[k] >= high[k] and gradient[k] <= slope)
        more = more or not (held or bool(free[k]))
        free[k] = not held
    return more


@compiled(f"void({MATRIX}, {NUMBERS}, {FLAGS}, {MATRIX}, {NUMBERS})")
def _step_to_minimum(gram: Matrix, gradient: Numbers, free: Flags, system: Matrix, step: Numbers) -> None:
    """Find the Newton step of the `free` unknowns by a factorisation L·D·Lᵀ in `system`, which has room for it."""
    own = np.flatnonzero(free)
    count = len(own)
    right = np.empty(count)
    for i in range(count):
        right[i] = -gradient[own[i]]
        for j in range(i, count):
            system[i, j] = gram[own[i], own[j]]
    for k in range(count):
        for i in range(k + 1, count):
            share = system[k, i] / system[k, k]
            if share != 0.0:
                right[i] -= share * right[k]
                for j in range(i, count):
                    system[i, j] -= share * system[k, j]
    step[:] = 0.0
    for k in range(count - 1, -1, -1):
        rest = right[k]
        for j in range(k + 1, count):
            rest -= system[k, j] * right[j]
        right[k] = rest / system[k, k]
        step[own[k]] = right[k]


@compiled(f"void({MATRIX}, int64, {NUMBERS}, {NUMBERS}, {FLAGS})")
def _hold(gram: Matrix, unknown: int, step: Numbers, along: Numbers, free: Flags) -> None:
    """Take an unknown out of the `free` ones and of a `step`, and out of `along`, the matrix times the step."""
    for k in range(len(along)):
        along[k] -= step[unknown] * gram[unknown, k]
    step[unknown] = 0.0
    free[unknown] = False


@compiled(f"boolean({MATRIX}, {NUMBERS}, {NUMBERS}, {NUMBERS}, {NUMBERS}, {NUMBERS}, {NUMBERS}, {FLAGS})")
def _go(
    gram: Matrix,
    low: Numbers,
    high: Numbers,
    step: Numbers,
    along: Numbers,
    values: Numbers,
    gradient: Numbers,
    free: Flags,
) -> bool:
    """Go along a `step`, bent where an unknown meets a bound, to the first minimum; return whether none has met one.

    Those that do aren't `free` any more. along: [K], room for numbers.
    """
    _find_gradient(gram, np.zeros(len(values)), step, along)
    straight = True
    for k in range(len(values)):
        if (step[k] > 0 and values[k] >= high[k]) or (step[k] < 0 and values[k] <= low[k]):
            _hold(gram, k, step, along, free)
            straight = False
    while True:
        first, nearest, fall, bend = np.inf, 0, 0.0, 0.0
        for k in range(len(values)):
            if step[k] != 0.0:
                fall += gradient[k] * step[k]
                bend += step[k] * along[k]
                room = ((high[k] if step[k] > 0 else low[k]) - values[k]) / step[k]
                if room < first:
                    first, nearest = room, k
        if not (fall < 0 and bend > 0):
            return straight
        share = min(first, -fall / bend)
        for k in range(len(values)):
            values[k] = min(max(values[k] + share * step[k], low[k]), high[k])
            gradient[k] += share * along[k]
        if share < first:
            return straight
        values[nearest] = high[nearest] if step[nearest] > 0 else low[nearest]
        _hold(gram, nearest, step, along, free)
        straight = False


@compiled(f"void({STACK}, {MATRIX}, {MATRIX}, {MATRIX}, float64, int64, {MATRIX}, int64[::1])")
def minimise_boxed(
    gram: Stack,
    target: Matrix,
    low: Matrix,
    high: Matrix,
    tolerance: float,
    most: int,
    values: Matrix,
    rounds: Places,
) -> None:
    """Minimise within a box, from `values` [N, K] on, in at most `most` rounds; see `rig.box_least_squares`.

    rounds: [N], Newton steps, -1 where they weren't enough.
    """
    count, unknowns = values.shape
    gradient, step, along = np.empty(unknowns), np.empty(unknowns), np.empty(unknowns)
    free, system = np.empty(unknowns, np.bool_), np.empty((unknowns, unknowns))
    for n in range(count):
        x = values[n]
        slope = tolerance
        for k in range(unknowns):
            x[k] = min(max(x[k], low[n, k]), high[n, k])
            slope = max(slope, tolerance * (1.0 + abs(target[n, k])))
        _find_gradient(gram[n], target[n], x, gradient)
        _release(x, gradient, low[n], high[n], slope, free)
        rounds[n] = -1
        for each in range(most):
            _step_to_minimum(gram[n], gradient, free, system, step)
            straight = _go(gram[n], low[n], high[n], step, along, x, gradient, free)
            _find_gradient(gram[n], target[n], x, gradient)
            if straight and not _release(x, gradient, low[n], high[n], slope, free):
                rounds[n] = each + 1
                break
