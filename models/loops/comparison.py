# SPDX-License-Identifier: GPL-3.0-or-later
"""Two pictures compared: in colour, by the ends of what repeats, and at places that a similarity maps."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from .compiled import FIELD, Counts, Field, Plane, Row, compiled


@compiled(f"void({FIELD}, {FIELD}, float32, {FIELD}, {FIELD}, boolean[:,:,::1])")
def compare_colours(
    reference: Field, frames: Field, same: np.float32, bright: Field, colour: Field, repeats: NDArray[np.bool_]
) -> None:
    """Find how frames [N, 3, H, W] differ from a reference [1 or N, 3, H, W], RGB.

    Results: the mean of all channels and red less blue, [N, 1, H, W] each, and where none differs by `same`, [N, H, W].
    """
    three = np.float32(3)
    for n in range(frames.shape[0]):
        still = reference[min(n, reference.shape[0] - 1)]
        for y in range(frames.shape[2]):
            for x in range(frames.shape[3]):
                red, green = frames[n, 0, y, x] - still[0, y, x], frames[n, 1, y, x] - still[1, y, x]
                blue = frames[n, 2, y, x] - still[2, y, x]
                bright[n, 0, y, x] = (red + green + blue) / three
                colour[n, 0, y, x] = red - blue
                repeats[n, y, x] = max(max(abs(red), abs(green)), abs(blue)) < same


@compiled("void(boolean[:,:,::1], int64[:,::1], int64[:,::1])")
def count_ends(mask: NDArray[np.bool_], along_rows: Counts, along_columns: Counts) -> None:
    """Count where a mask [N, H, W] begins or ends after each of its columns, [N, W - 1], and rows, [N, H - 1]."""
    height, width = mask.shape[1:]
    found = np.empty(width, np.int32)
    for n in range(mask.shape[0]):
        found[:] = 0
        for y in range(height):
            for x in range(width - 1):
                found[x] += mask[n, y, x] != mask[n, y, x + 1]
        for x in range(width - 1):
            along_rows[n, x] = found[x]
        for y in range(height - 1):
            total = 0
            for x in range(width):
                total += mask[n, y, x] != mask[n, y + 1, x]
            along_columns[n, y] = total


@numba.njit(inline="always")
def _within(place: np.float64, last: int) -> tuple[int, int, np.float32, np.float32]:
    """Return the pixels before and after a place along an axis from 0 to `last`, and their shares; beyond it, 0."""
    before = int(np.floor(min(max(place, -2.0), last + 2.0)))
    share = np.float32(place - before)
    left = np.float32(1) - share if (before >= 0) & (before <= last) else np.float32(0)
    right = share if (before >= -1) & (before < last) else np.float32(0)
    return max(min(before, last), 0), max(min(before + 1, last), 0), left, right


@compiled(
    f"void({FIELD}, float64[:,::1], float32[:,::1], float32[:,::1], float32[::1], float32[::1],"
    "float32[:,::1], float32[:,::1])"
)
def compare_at(
    pictures: Field,
    maps: NDArray[np.float64],
    x: Plane,
    y: Plane,
    values: Row,
    prior: Row,
    difference: Plane,
    weight: Plane,
) -> None:
    """Compare pictures [N, 1, H, W] with values [P], looked up bilinearly where similarities bring places [N or 1, P].

    maps: [N, 4], turn, scale and shift (a, b, x, y). prior: [P], the weight of each place. Results: the difference
    [N, P] and its weight, 0 outside of the picture. Beyond its pixels there is 0.
    """
    last_x, last_y = pictures.shape[3] - 1, pictures.shape[2] - 1
    half, zero, one = np.float64(0.5), np.float32(0), np.float32(1)
    for n in range(len(pictures)):
        picture, across, down = pictures[n, 0], x[min(n, len(x) - 1)], y[min(n, len(y) - 1)]
        a, b, shift_x, shift_y = maps[n, 0], maps[n, 1], maps[n, 2], maps[n, 3]
        for p in range(len(values)):
            place_x, place_y = a * across[p] - b * down[p] + shift_x, b * across[p] + a * down[p] + shift_y
            if (place_x >= 0) & (place_x < last_x) & (place_y >= 0) & (place_y < last_y):  # nearly all
                i, j = max(int(place_x), 0), max(int(place_y), 0)
                right, below, t, v = i + 1, j + 1, np.float32(place_x - i), np.float32(place_y - j)
                s, u = one - t, one - v
            else:
                i, right, s, t = _within(place_x, last_x)
                j, below, u, v = _within(place_y, last_y)
            above = s * picture[j, i] + t * picture[j, right]
            difference[n, p] = u * above + v * (s * picture[below, i] + t * picture[below, right]) - values[p]
            inside = (
                max(abs(place_x - half * last_x) - half * last_x, abs(place_y - half * last_y) - half * last_y) < half
            )
            weight[n, p] = prior[p] if inside else zero


@compiled("void(float32[:,::1], float32[::1], float32[:,::1])")
def weigh_robustly(difference: Plane, widths: Row, weight: Plane) -> None:
    """Multiply weights [N, P] by Geman and McClure's of differences [N, P], which are `widths` [N] wide."""
    one = np.float32(1)
    for n in range(difference.shape[0]):
        for p in range(difference.shape[1]):
            size = difference[n, p] / widths[n]
            root = one + size * size
            weight[n, p] /= root * root
