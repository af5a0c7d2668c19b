# SPDX-License-Identifier: GPL-3.0-or-later
"""The head's pose: what it leaves of a motion, and its refinement."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .compiled import STACK, STACKS, Numbers, Stack, Stacks, compiled


@compiled(f"void({STACK}, {STACKS}, {STACK})")
def square_residuals(terms: Stack, displacement: Stacks, squared: Stack) -> None:
    """Find by how much motions miss a flow at P points, squared [N, S, P]; see `face.rigid`.

    terms: [N, 6, P], 1 and x, y, z of the surface and the flow; displacement: [N, S, 2, 4], by which S motions of each
    frame multiply the first four.
    """
    for n in range(squared.shape[0]):
        for s in range(squared.shape[1]):
            (a, b, c, d), (e, f, g, h) = displacement[n, s, 0], displacement[n, s, 1]
            for p in range(squared.shape[2]):
                x, y, z = terms[n, 1, p], terms[n, 2, p], terms[n, 3, p]
                across = terms[n, 4, p] - (a + b * x + c * y + d * z)
                down = terms[n, 5, p] - (e + f * x + g * y + h * z)
                squared[n, s, p] = across * across + down * down


@compiled("float64(float64[::1], float64[::1], float64)")
def _quantile(values: Numbers, weights: Numbers, share: float) -> float:
    """Return the least of `values` up to which `share` of the weight is; both arrays are used up."""
    count, passed, wanted = len(values), 0.0, share * weights.sum()
    while True:
        middle, lower, below, equal = values[count // 2], 0, 0.0, 0.0
        for index in range(count):
            if values[index] < middle:
                lower, below = lower + 1, below + weights[index]
            elif values[index] == middle:
                equal += weights[index]
        go_down = lower > 0 and passed + below >= wanted
        if not go_down and passed + below + equal >= wanted:
            return middle
        kept = 0
        for index in range(count):
            if (values[index] < middle) if go_down else (values[index] > middle):
                values[kept], weights[kept] = values[index], weights[index]
                kept += 1
        if not kept:  # by rounding alone
            return middle
        if not go_down:
            passed += below + equal
        count = kept


@compiled(f"void({STACK}, {STACK}, float64, float64[:,::1])")
def find_quantiles(values: Stack, weights: Stack, share: float, result: NDArray[np.float64]) -> None:
    """Find the value below which a `share` of the weight is, of values and weights [N, S, P]: [N, S]."""
    for n in range(result.shape[0]):
        for s in range(result.shape[1]):
            result[n, s] = _quantile(values[n, s].copy(), weights[n, s].copy(), share)


@compiled("float64[:,::1](float64, float64, float64)")
def _rotation(x: float, y: float, z: float) -> NDArray[np.float64]:
    """Return the rotation [3, 3] about a vector by its length, rad (Rodrigues' formula)."""
    angle = np.sqrt(x * x + y * y + z * z)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    once = np.sin(angle) / angle if angle > 0 else 1.0
    half = np.sin(angle / 2) / (angle / 2) if angle > 0 else 1.0
    return np.eye(3) + once * cross + 0.5 * half * half * (cross @ cross)


@compiled(f"void({STACKS}, {STACKS}, float64, {STACKS}, float64[:,::1], {STACK})")
def refine_poses(
    moments: Stacks, displacement: Stacks, radius: float, rotation: Stacks, scale: NDArray[np.float64], shift: Stack
) -> None:
    """Take poses one Gauss-Newton step on, in place; see `face.rigid`, whose arrays they are.

    moments: [N, S, 6, 6]; displacement: [N, S, 2, 4], of the poses; rotation: [N, S, 3, 3]; scale: [N, S]; shift:
    [N, S, 2] px.
    """
    across, down = np.zeros((6, 4)), np.zeros((6, 4))
    across[0, 0] = down[1, 0] = 1.0
    for n in range(scale.shape[0]):
        for s in range(scale.shape[1]):
            surface = moments[n, s, :4, :4].copy()
            left = moments[n, s, 4:, :4] - displacement[n, s] @ surface
            # Shift x, shift y, zoom, turn about z, about y, about x; all in px at one radius.
            x, y, z = scale[n, s] * rotation[n, s]
            across[2, 1:], across[3, 1:], across[4, 1:] = x, -y, z
            down[2, 1:], down[3, 1:], down[5, 1:] = y, x, -z
            normal = across @ surface @ across.T + down @ surface @ down.T
            # A little damping: a flat surface leaves the turns out of the plane undetermined, which then stay zero.
            damping = 1e-9 * max(moments[n, s, 0, 0], 1e-9)
            for term in range(6):
                normal[term, term] += damping
            step = np.linalg.solve(normal, across @ left[0] + down @ left[1])
            turn = _rotation(step[5] / radius, step[4] / radius, step[3] / radius)
            rotation[n, s] = turn @ rotation[n, s]
            scale[n, s] *= np.exp(step[2] / radius)
            shift[n, s] += step[:2]
