# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures looked up between their pixels: by a cubic B-spline, and bilinearly where motion is carried."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from .compiled import FIELD, Field, Plane, Planes, Row, compiled

_IN_LINE = 64  # px of a row that are looked up together
_FEW_IN_LINE = 16  # those of a row that is turned, by up to some 4 degrees


@compiled("void(float32[::1], float32, int64, float32[:,::1], int32[::1])")
def _weigh(places: Row, last: np.float32, border: int, weights: Plane, first: NDArray[np.int32]) -> None:
    """Weigh the four taps of a row of `places` [W], weights [4, W]; first: [W], the first tap, the border counted."""
    zero, one, half = np.float32(0), np.float32(1), np.float32(0.5)
    sixth, two_thirds = np.float32(1 / 6), np.float32(2 / 3)
    for x in range(len(places)):
        after = min(max(places[x], zero), last)
        whole = np.int32(after if after > zero else zero)  # what is no number has a place too, and makes none
        after = after - np.float32(whole)
        before = one - after
        weights[0, x] = before * before * before * sixth
        weights[1, x] = two_thirds - after * after * (one - half * after)
        weights[3, x] = after * after * after * sixth
        weights[2, x] = one - weights[0, x] - weights[1, x] - weights[3, x]
        first[x] = whole + np.int32(border - 1)


@numba.njit(inline="always")  # as a function it takes a fifth more
def _add_taps(
    plane: Plane,
    across: Plane,
    down: Plane,
    columns: NDArray[np.int32],
    rows: NDArray[np.int32],
    first: int,
    last: int,
    result: Row,
) -> None:
    """Add the sixteen taps of a row's places, weighed by `_weigh`, from `first` to before `last`: result [W]."""
    for x in range(first, last):
        i, j = max(int(columns[x]), 0), max(int(rows[x]), 0)
        d0, d1, d2, d3 = down[0, x], down[1, x], down[2, x], down[3, x]
        # Down first: four columns at once are one vector.
        p = d0 * plane[j, i] + d1 * plane[j + 1, i] + d2 * plane[j + 2, i] + d3 * plane[j + 3, i]
        i += 1
        q = d0 * plane[j, i] + d1 * plane[j + 1, i] + d2 * plane[j + 2, i] + d3 * plane[j + 3, i]
        i += 1
        r = d0 * plane[j, i] + d1 * plane[j + 1, i] + d2 * plane[j + 2, i] + d3 * plane[j + 3, i]
        i += 1
        s = d0 * plane[j, i] + d1 * plane[j + 1, i] + d2 * plane[j + 2, i] + d3 * plane[j + 3, i]
        result[x] = across[0, x] * p + across[1, x] * q + across[2, x] * r + across[3, x] * s


@compiled("UniTuple(int32, 2)(float32[::1], float32, int32)")
def _taps_of(places: Row, last: np.float32, step: np.int32) -> tuple[np.int32, np.int32]:
    """Return the least and the most that a place's px before it has, less `step` for each place before."""
    zero = np.float32(0)
    least, most = np.int32(2**30), np.int32(-(2**30))
    for x in range(len(places)):
        after = min(max(places[x], zero), last)
        tap = np.int32(np.int32(after if after > zero else zero) - step * np.int32(x))
        least, most = min(least, tap), max(most, tap)
    return least, most


@compiled("void(float32[::1], float32, float32, float32, float32[::1])")
def _weigh_in_line(places: Row, last: np.float32, least: np.float32, step: np.float32, five: Row) -> None:
    """Weigh five taps of places in line, the first of which is the same for all but for `step` a place.

    They are the four that `_weigh` finds and one of 0, `_IN_LINE` of each.
    """
    zero, one, half = np.float32(0), np.float32(1), np.float32(0.5)
    sixth, two_thirds = np.float32(1 / 6), np.float32(2 / 3)
    for x in range(len(places)):
        after = min(max(places[x], zero), last)
        whole = np.float32(np.int32(after if after > zero else zero))
        late = whole - step * np.float32(np.int32(x)) > least
        after = after - whole
        before = one - after
        p = before * before * before * sixth
        q = two_thirds - after * after * (one - half * after)
        s = after * after * after * sixth
        r = one - p - q - s
        five[x] = zero if late else p
        five[_IN_LINE + x] = p if late else q
        five[2 * _IN_LINE + x] = q if late else r
        five[3 * _IN_LINE + x] = r if late else s
        five[4 * _IN_LINE + x] = s if late else zero


@compiled("void(float32[:,::1], int64, int64, float32[::1], float32[::1])")
def _add_in_line(plane: Plane, column: int, row: int, five: Row, result: Row) -> None:
    """Add the taps of places in line, of which the first has its first tap at `column`: eight are one vector.

    five: weights across and then down, as `_weigh_in_line` writes them; the sum is that of `_add_taps`, bit by bit.
    """
    a, b, c = plane[row, column:], plane[row + 1, column:], plane[row + 2, column:]
    d, e = plane[row + 3, column:], plane[row + 4, column:]
    for x in range(len(result)):
        f, g, h = five[5 * _IN_LINE + x], five[6 * _IN_LINE + x], five[7 * _IN_LINE + x]
        i, j = five[8 * _IN_LINE + x], five[9 * _IN_LINE + x]
        p = f * a[x] + g * b[x] + h * c[x] + i * d[x] + j * e[x]
        q = f * a[x + 1] + g * b[x + 1] + h * c[x + 1] + i * d[x + 1] + j * e[x + 1]
        r = f * a[x + 2] + g * b[x + 2] + h * c[x + 2] + i * d[x + 2] + j * e[x + 2]
        s = f * a[x + 3] + g * b[x + 3] + h * c[x + 3] + i * d[x + 3] + j * e[x + 3]
        t = f * a[x + 4] + g * b[x + 4] + h * c[x + 4] + i * d[x + 4] + j * e[x + 4]
        total = five[x] * p + five[_IN_LINE + x] * q + five[2 * _IN_LINE + x] * r
        result[x] = total + five[3 * _IN_LINE + x] * s + five[4 * _IN_LINE + x] * t


@compiled(f"void({FIELD}, int64, {FIELD}, boolean, {FIELD})")
def look_up_spline(coefficients: Field, border: int, positions: Field, displaced: bool, result: Field) -> None:
    """Look cubic B-splines up at positions [N or 1, 2, h, w] px, into the result [N, C, h, w].

    coefficients: [N or 1, C, H + 2 border, W + 2 border], of at least three px more at every side than the picture has.
    displaced: the positions are relative to each pixel's own. Places that lie side by side as pixels do, give or take
    one px, are looked up together.
    """
    height, width = result.shape[2:]
    last_x = np.float32(coefficients.shape[3] - 2 * border - 1)
    last_y = np.float32(coefficients.shape[2] - 2 * border - 1)
    across, down = np.empty((4, _IN_LINE), np.float32), np.empty((4, _IN_LINE), np.float32)
    columns, rows = np.empty(_IN_LINE, np.int32), np.empty(_IN_LINE, np.int32)
    wide = width if result.shape[1] < 3 else _IN_LINE  # so that three planes' rows stay in the cache for the next row
    five, own = np.empty(10 * _IN_LINE, np.float32), np.empty((2, wide), np.float32)
    five_across, five_down = five[: 5 * _IN_LINE], five[5 * _IN_LINE :]
    zero, one = np.float32(0), np.float32(1)
    for n in range(result.shape[0]):
        planes = coefficients[min(n, coefficients.shape[0] - 1)]
        at = positions[min(n, positions.shape[0] - 1)]
        for strip in range(0, width, wide):
            length = min(wide, width - strip)
            for y in range(height):
                for x in range(length):
                    place_x, place_y = at[0, y, strip + x], at[1, y, strip + x]
                    own[0, x] = (np.float32(strip + x) + place_x) if displaced else place_x
                    own[1, x] = (np.float32(y) + place_y) if displaced else place_y
                first, reach = 0, _IN_LINE
                while first < length:
                    count = min(reach, length - first)
                    along, upright = own[0, first : first + count], own[1, first : first + count]
                    left, right = _taps_of(along, last_x, np.int32(1))
                    top, bottom = _taps_of(upright, last_y, np.int32(0))
                    in_line = (right - left <= 1) & (bottom - top <= 1)
                    if not in_line and reach > _FEW_IN_LINE:
                        reach = _FEW_IN_LINE
                        continue
                    begin, end = strip + first, strip + first + count
                    if in_line:
                        _weigh_in_line(along, last_x, np.float32(left), one, five_across)
                        _weigh_in_line(upright, last_y, np.float32(top), zero, five_down)
                        column, row = max(int(left) + border - 1, 0), max(int(top) + border - 1, 0)
                        for c in range(result.shape[1]):
                            _add_in_line(planes[c], column, row, five, result[n, c, y, begin:end])
                    else:
                        _weigh(along, last_x, border, across, columns)
                        _weigh(upright, last_y, border, down, rows)
                        for c in range(result.shape[1]):
                            _add_taps(planes[c], across, down, columns, rows, 0, count, result[n, c, y, begin:end])
                    first += count


@compiled("void(float32[:,::1], float32, float32)")
def filter_columns(plane: Plane, pole: np.float32, gain: np.float32) -> None:
    """Replace columns of a plane [H, W] by `gain` times what a filter of one pole makes of them there and back (Unser).

    Beyond its edges the plane goes on with the values there.
    """
    height, width = plane.shape
    one = np.float32(1)
    begin, end = one / (one - pole), -pole / (one - pole)
    for x in range(width):
        plane[0, x] *= gain * begin
    for y in range(1, height):
        for x in range(width):
            plane[y, x] = gain * plane[y, x] + pole * plane[y - 1, x]
    for x in range(width):
        plane[height - 1, x] *= end
    for y in range(height - 2, -1, -1):
        for x in range(width):
            plane[y, x] = pole * (plane[y + 1, x] - plane[y, x])


@compiled(f"void(float64, float64, float64, float64, float64[::1], {FIELD})")
def lay_out(a: float, b: float, x: float, y: float, axis: NDArray[np.float64], result: Field) -> None:
    """Write where the similarity (a, b) and shift (x, y) bring the points of a square grid [S], [1, 2, S, S]."""
    for row in range(len(axis)):
        for column in range(len(axis)):
            result[0, 0, row, column] = a * axis[column] + x - b * axis[row]
            result[0, 1, row, column] = b * axis[column] + (a * axis[row] + y)


@compiled(f"void(float64, float64, float64, float64, int64, int64, {FIELD})")
def mark_inside(a: float, b: float, x: float, y: float, last_x: int, last_y: int, result: Field) -> None:
    """Write 1 where the similarity (a, b) and shift (x, y) bring a pixel inside of a picture, else 0: [1, 1, S, S]."""
    for row in range(result.shape[2]):
        for column in range(result.shape[3]):
            across, down = a * column + x - b * row, b * column + (a * row + y)
            inside = (across >= 0) & (across <= last_x) & (down >= 0) & (down <= last_y)
            result[0, 0, row, column] = np.float32(inside)


@numba.njit(inline="always")
def _beside(place: np.float32, last: int) -> tuple[int, int, np.float32]:
    """Return the pixels before and after a place along an axis from 0 to `last`, and the share of the one after.

    Beyond its ends the axis goes on with them; what is no number has a place too, and makes none.
    """
    zero = np.float32(0)
    place = min(max(place, zero), np.float32(last))
    before = max(int(place if place > zero else zero), 0)
    return before, max(min(before + 1, last), 0), place - np.float32(before)


@numba.njit(inline="always")
def _bilinear(plane: Plane, i: int, right: int, u: np.float32, j: int, below: int, v: np.float32) -> np.float32:
    """Look a plane up between columns `i` and `right` and rows `j` and `below`, as `_beside` gives them."""
    p = plane[j, i] + u * (plane[j, right] - plane[j, i])
    q = plane[below, i] + u * (plane[below, right] - plane[below, i])
    return p + v * (q - p)


@compiled(
    f"Tuple((int64, int64))({FIELD}, {FIELD}, {FIELD}, int64, float32, float32, float32,float32[:,::1], boolean[::1])"
)
def _shift(
    displacement: Field,
    within: Field,
    here: Field,
    y: int,
    a: np.float32,
    b: np.float32,
    least: np.float32,
    places: Plane,
    moved: NDArray[np.bool_],
) -> tuple[int, int]:
    """Write where row `y` comes from, places [2, W], and what of it has moved [W]; see `move_part`.

    Returns from where to where something has.
    """
    along, upright, side = displacement[0, 0], displacement[0, 1], displacement.shape[3] - 1
    for x in range(places.shape[1]):
        i, right, u = _beside(within[0, 0, y, x], side)
        j, below, v = _beside(within[0, 1, y, x], side)
        p, r = _bilinear(along, i, right, u, j, below, v), _bilinear(upright, i, right, u, j, below, v)
        moved[x] = max(abs(p), abs(r)) > least
        places[0, x], places[1, x] = here[0, 0, y, x] - (a * p - b * r), here[0, 1, y, x] - (b * p + a * r)
    first, last = places.shape[1], 0
    for x in range(places.shape[1]):
        if moved[x]:
            first, last = min(first, x), x + 1
    return first, last


@compiled(f"void({FIELD}, int64, {FIELD}, {FIELD}, {FIELD}, float32, float32, float32, {FIELD}, {FIELD})")
def move_part(
    coefficients: Field,
    border: int,
    displacement: Field,
    within: Field,
    here: Field,
    a: np.float32,
    b: np.float32,
    least: np.float32,
    still: Field,
    result: Field,
) -> None:
    """Move a part [1, 4, h, w] of a picture, premultiplied, where it moves by more than `least`; else it is `still`.

    coefficients: see `look_up_spline`, of 3 channels where the picture is opaque, else of 4. displacement:
    [1, 2, S, S], looked up bilinearly at `within` [1, 2, h, w]; turned and scaled by the similarity (a, b), it is how
    far from `here` [1, 2, h, w] each pixel comes from in the picture.
    """
    channels, width = coefficients.shape[1], result.shape[3]
    zero, one = np.float32(0), np.float32(1)
    last_x = np.float32(coefficients.shape[3] - 2 * border - 1)
    last_y = np.float32(coefficients.shape[2] - 2 * border - 1)
    places, moved, row = np.empty((2, width), np.float32), np.empty(width, np.bool_), np.empty((4, width), np.float32)
    across, down = np.empty((4, width), np.float32), np.empty((4, width), np.float32)
    columns, rows = np.empty(width, np.int32), np.empty(width, np.int32)
    row[3] = one
    for y in range(result.shape[2]):
        result[0, :, y] = still[0, :, y]
        first, last = _shift(displacement, within, here, y, a, b, least, places, moved)
        if first >= last:
            continue
        _weigh(places[0], last_x, border, across, columns)
        _weigh(places[1], last_y, border, down, rows)
        for c in range(channels):
            _add_taps(coefficients[0, c], across, down, columns, rows, first, last, row[c])
        for x in range(first, last):
            if moved[x]:
                alpha = min(max(row[3, x], zero), one)
                result[0, 3, y, x] = alpha
                for c in range(3):
                    result[0, c, y, x] = min(max(row[c, x], zero), alpha)


@compiled("Tuple((int64, int64, int64, int64))(float32[:,:,::1])")
def _moving_part(motion: Planes) -> tuple[int, int, int, int]:
    """Return the first and last row, and the first and last column, of motion [2, H, W] that isn't 0 in all of them."""
    height, width = motion.shape[1:]
    moving = np.zeros(width, np.bool_)
    top, bottom = height, -1
    for y in range(height):
        most = np.float32(0)
        for x in range(width):
            moves = (motion[0, y, x] != 0) | (motion[1, y, x] != 0)
            moving[x] |= moves
            most = max(most, np.float32(moves))
        if most > 0:
            top, bottom = min(top, y), y
    left, right = width, -1
    for x in range(width):
        if moving[x]:
            left, right = min(left, x), x
    return top, bottom, left, right


@compiled(f"void({FIELD}, {FIELD}, float32[:,:,:,:,::1], {FIELD})")
def carry(flow: Field, positions: Field, inverse: NDArray[np.float32], carried: Field) -> None:
    """Look motion [N, 2, h, w] up bilinearly, and turn it by a matrix at each place, into the result [N, 2, H, W].

    positions: [1, 2, H, W], in px of the flow; outside, its border. inverse: [1, 2, 2, H, W]. A face moves in a part
    of its picture: where nothing around moves, nothing is looked up.
    """
    last_x, last_y = flow.shape[3] - 1, flow.shape[2] - 1
    carried[:] = 0
    for n in range(flow.shape[0]):
        along, upright = flow[n, 0], flow[n, 1]
        top, bottom, first, last = _moving_part(flow[n])
        for y in range(carried.shape[2]):
            for x in range(carried.shape[3]):
                i, right, u = _beside(positions[0, 0, y, x], last_x)
                j, below, v = _beside(positions[0, 1, y, x], last_y)
                if (right >= first) & (i <= last) & (below >= top) & (j <= bottom):
                    across = _bilinear(along, i, right, u, j, below, v)
                    down = _bilinear(upright, i, right, u, j, below, v)
                    carried[n, 0, y, x] = inverse[0, 0, 0, y, x] * across + inverse[0, 0, 1, y, x] * down
                    carried[n, 1, y, x] = inverse[0, 1, 0, y, x] * across + inverse[0, 1, 1, y, x] * down


@compiled(f"Tuple((int64, float32))({FIELD}, int64, float32, {FIELD})")
def displace_backwards(flow: Field, most: int, tolerance: np.float32, result: Field) -> tuple[int, np.float32]:
    """Find e with e(y) = flow(y - e(y)) for each pixel y of a flow [N, 2, H, W] px by itself, which most have at once.

    Each ends when a step changes it by less than `tolerance` px, after `most` steps at the latest. Returns the steps of
    the slowest one, and the largest last change, px.
    """
    residual, steps = np.float32(0), 0
    last_x, last_y = flow.shape[3] - 1, flow.shape[2] - 1
    for n in range(flow.shape[0]):
        along, down = flow[n, 0], flow[n, 1]
        for y in range(flow.shape[2]):
            for x in range(flow.shape[3]):
                across, upright, step = along[y, x], down[y, x], 0
                change = np.float32(0) if (across == 0) & (upright == 0) else tolerance  # what rests comes from here
                while step < most and not change < tolerance:
                    i, right, u = _beside(np.float32(x) - across, last_x)
                    j, below, v = _beside(np.float32(y) - upright, last_y)
                    p, r = _bilinear(along, i, right, u, j, below, v), _bilinear(down, i, right, u, j, below, v)
                    change = max(abs(p - across), abs(r - upright))
                    across, upright, step = p, r, step + 1
                result[n, 0, y, x], result[n, 1, y, x] = across, upright
                residual, steps = max(residual, change), max(steps, step)
    return steps, residual
