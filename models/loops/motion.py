# SPDX-License-Identifier: GPL-3.0-or-later
"""The equations of brightness constancy, and the motion that solves them with a thin plate."""

from __future__ import annotations

import numpy as np

from .compiled import FIELD, Field, Plane, compiled


@compiled(f"void({FIELD}, {FIELD}, {FIELD}, {FIELD})")
def pool_products(base: Field, warped: Field, flow: Field, result: Field) -> None:
    """Linearise brightness constancy: means over 2 x 2 px of products, into the result [N, 6, H / 2, W / 2].

    base: [N or 1, 1, H, W]; warped: [N, 1, H, W]; flow: [N or 1, 2, H, W] px. With g the central differences of the
    mean of base and warped (half of them at the border) and d their difference: gx gx, gx gy, gy gy, gx a, gy a with
    a = g . flow - d, and d d.
    """
    height, width = base.shape[2], base.shape[3]
    quarter = np.float32(0.25)
    halves = np.empty((height + 2, width + 2), np.float32)  # of the mean, the border repeated
    sums = np.empty((6, width), np.float32)
    for n in range(warped.shape[0]):
        one, other = base[min(n, base.shape[0] - 1), 0], warped[n, 0]
        motion = flow[min(n, flow.shape[0] - 1)]
        for y in range(height):
            for x in range(width):
                halves[y + 1, x + 1] = quarter * (other[y, x] + one[y, x])
            halves[y + 1, 0], halves[y + 1, width + 1] = halves[y + 1, 1], halves[y + 1, width]
        halves[0], halves[height + 1] = halves[1], halves[height]
        for row in range(result.shape[2]):
            sums[:] = 0
            for y in range(2 * row, 2 * row + 2):
                for x in range(width):
                    gx = halves[y + 1, x + 2] - halves[y + 1, x]
                    gy = halves[y + 2, x + 1] - halves[y, x + 1]
                    difference = other[y, x] - one[y, x]
                    along = gx * motion[0, y, x] + gy * motion[1, y, x] - difference
                    sums[0, x] += gx * gx
                    sums[1, x] += gx * gy
                    sums[2, x] += gy * gy
                    sums[3, x] += gx * along
                    sums[4, x] += gy * along
                    sums[5, x] += difference * difference
            for c in range(6):
                for x in range(result.shape[3]):
                    result[n, c, row, x] = quarter * (sums[c, 2 * x] + sums[c, 2 * x + 1])


@compiled(f"void({FIELD}, {FIELD}, {FIELD}, float32, {FIELD})")
def add_equations(products: Field, motion: Field, noise: Field, factor: np.float32, result: Field) -> None:
    """Add motion equations J u = h to the result [N, 5, h, w], those of `magnification.solver.Observation`.

    products: [N, 6, h, w] as `pool_products` finds them without a flow; motion: [N, 2, h, w] px, around which they were
    linearised; `factor` times noise [N, 1, h, w] is their variance.
    """
    for n in range(result.shape[0]):
        for y in range(result.shape[2]):
            for x in range(result.shape[3]):
                variance = factor * noise[n, 0, y, x]
                xx, xy, yy = products[n, 0, y, x], products[n, 1, y, x], products[n, 2, y, x]
                u, v = motion[n, 0, y, x], motion[n, 1, y, x]
                result[n, 0, y, x] += xx / variance
                result[n, 1, y, x] += xy / variance
                result[n, 2, y, x] += yy / variance
                result[n, 3, y, x] += (products[n, 3, y, x] + (xx * u + xy * v)) / variance
                result[n, 4, y, x] += (products[n, 4, y, x] + (xy * u + yy * v)) / variance


@compiled(f"void({FIELD}, {FIELD}, {FIELD})")
def pool_change(reference: Field, frames: Field, result: Field) -> None:
    """Find the largest change of any channel [1, C, H, W], [N, C, H, W] in 2 x 2 px: [N, 1, H / 2, W / 2]."""
    width = frames.shape[3]
    most = np.empty(width, np.float32)
    for n in range(frames.shape[0]):
        for row in range(result.shape[2]):
            most[:] = 0
            for y in range(2 * row, 2 * row + 2):
                for c in range(frames.shape[1]):
                    for x in range(width):
                        most[x] = max(most[x], abs(frames[n, c, y, x] - reference[0, c, y, x]))
            for x in range(result.shape[3]):
                result[n, 0, row, x] = max(most[2 * x], most[2 * x + 1])


@compiled("void(float32[:,::1], float32[:,::1])")
def _smooth(plane: Plane, result: Plane) -> None:
    """Smooth [H, W] with the separable binomial kernel (1 2 1) / 4, the border repeated."""
    height, width = plane.shape
    two, sixteenth = np.float32(2), np.float32(1 / 16)
    sums = np.empty(width + 2, np.float32)
    for y in range(height):
        above, below = max(y - 1, 0), max(min(y + 1, height - 1), 0)
        for x in range(width):
            sums[x + 1] = plane[above, x] + two * plane[y, x] + plane[below, x]
        sums[0], sums[width + 1] = sums[1], sums[width]
        for x in range(width):
            result[y, x] = sixteenth * (sums[x] + two * sums[x + 1] + sums[x + 2])


@compiled(f"void({FIELD}, {FIELD}, {FIELD}, {FIELD}, int64)")
def relax(equations: Field, stiffness: Field, motion: Field, previous: Field, sweeps: int) -> None:
    """Relax `motion` [N, 2, h, w] in place by sweeps of block Jacobi; `previous`: what it was before the last one.

    equations: [N, 5, h, w], stiffness: [N, 1, h, w] as in `magnification.solver.smooth_solve`, which has the equation.
    """
    height, width = motion.shape[2], motion.shape[3]
    smooth, smoother = np.empty((2, height, width), np.float32), np.empty((2, height, width), np.float32)
    inverse, data = np.empty((3, height, width), np.float32), np.empty((2, height, width), np.float32)
    for n in range(motion.shape[0]):
        for y in range(height):
            for x in range(width):
                stiff = stiffness[n, 0, y, x]
                a, b, c = equations[n, 0, y, x] + stiff, equations[n, 1, y, x], equations[n, 2, y, x] + stiff
                scale = np.float32(1) / (a * c - b * b)
                p, q, r = c * scale, -b * scale, a * scale
                data[0, y, x] = p * equations[n, 3, y, x] + q * equations[n, 4, y, x]
                data[1, y, x] = q * equations[n, 3, y, x] + r * equations[n, 4, y, x]
                inverse[0, y, x], inverse[1, y, x], inverse[2, y, x] = p * stiff, q * stiff, r * stiff
        for _ in range(sweeps):
            for axis in range(2):
                _smooth(motion[n, axis], smooth[axis])
                _smooth(smooth[axis], smoother[axis])
            for y in range(height):
                for x in range(width):
                    u = smooth[0, y, x] + (smooth[0, y, x] - smoother[0, y, x])
                    v = smooth[1, y, x] + (smooth[1, y, x] - smoother[1, y, x])
                    previous[n, 0, y, x], previous[n, 1, y, x] = motion[n, 0, y, x], motion[n, 1, y, x]
                    motion[n, 0, y, x] = data[0, y, x] + (inverse[0, y, x] * u + inverse[1, y, x] * v)
                    motion[n, 1, y, x] = data[1, y, x] + (inverse[1, y, x] * u + inverse[2, y, x] * v)
