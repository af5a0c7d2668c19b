# SPDX-License-Identifier: GPL-3.0-or-later
"""Inner loops on the CPU, compiled by Numba: what takes a tensor library many passes over a picture is one here.

Whoever needs a loop imports this module in the function that does, as loading it takes a third of a second, and some
seconds where nothing is cached yet; on other devices, and where gradients are asked for, PyTorch computes the same.
Arrays are C-contiguous, pictures float32 [N, C, H, W]. The loops run in the thread that calls them, and let others run
meanwhile.
They are in one file because Numba keeps compiled code until a loop's own file changes: what a loop calls from another
file could change unseen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

Field: TypeAlias = NDArray[np.float32]  # [N, C, H, W]
Planes: TypeAlias = NDArray[np.float32]  # [C, H, W]
Plane: TypeAlias = NDArray[np.float32]  # [H, W]
Picture: TypeAlias = NDArray[np.float32]  # [H, W, C]
Codes: TypeAlias = NDArray[np.uint16]  # [H, W]
Row: TypeAlias = NDArray[np.float32]  # [W]
Places: TypeAlias = NDArray[np.int64]  # [W]
Counts: TypeAlias = NDArray[np.int64]  # [N, P]
Numbers: TypeAlias = NDArray[np.float64]  # [P]
Matrix: TypeAlias = NDArray[np.float64]  # [P, P]
Flags: TypeAlias = NDArray[np.bool_]  # [P]
Stack: TypeAlias = NDArray[np.float64]  # [N, S, P]
Stacks: TypeAlias = NDArray[np.float64]  # [N, S, Q, P]
Loop = TypeVar("Loop", bound=Callable[..., Any])

_FIELD = "float32[:,:,:,::1]"
_STACK, _STACKS = "float64[:,:,::1]", "float64[:,:,:,::1]"
_NUMBERS, _MATRIX, _FLAGS = "float64[::1]", "float64[:,::1]", "boolean[::1]"
_ABREAST = 8  # rows that are filtered together
_IN_LINE = 64  # px of a row that are looked up together
_FEW_IN_LINE = 16  # those of a row that is turned, by up to some 4 degrees


def _compiled(signature: str, fused: bool = False) -> Callable[[Loop], Loop]:
    """Compile a loop for one signature; the code is kept on the disk, in `NUMBA_CACHE_DIR` or where Numba can.

    fused: a product and the sum that it goes into are rounded once where the processor does so, as OpenCV has it.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"} if fused else False}

    def compile_(loop: Loop) -> Loop:
        try:
            return cast(Loop, numba.njit(signature, cache=True, **options)(loop))
        except RuntimeError:  # no folder can be written to
            return cast(Loop, numba.njit(signature, **options)(loop))

    return compile_


@_compiled("void(float32[::1], float32, int64, float32[:,::1], int32[::1])")
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


@_compiled("UniTuple(int32, 2)(float32[::1], float32, int32)")
def _taps_of(places: Row, last: np.float32, step: np.int32) -> tuple[np.int32, np.int32]:
    """Return the least and the most that a place's px before it has, less `step` for each place before."""
    zero = np.float32(0)
    least, most = np.int32(2**30), np.int32(-(2**30))
    for x in range(len(places)):
        after = min(max(places[x], zero), last)
        tap = np.int32(np.int32(after if after > zero else zero) - step * np.int32(x))
        least, most = min(least, tap), max(most, tap)
    return least, most


@_compiled("void(float32[::1], float32, float32, float32, float32[::1])")
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


@_compiled("void(float32[:,::1], int64, int64, float32[::1], float32[::1])")
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


@_compiled(f"void({_FIELD}, int64, {_FIELD}, boolean, {_FIELD})")
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


@_compiled(
    f"Tuple((int64, int64))({_FIELD}, {_FIELD}, {_FIELD}, int64, float32, float32, float32,"
    "float32[:,::1], boolean[::1])"
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


@_compiled(f"void({_FIELD}, int64, {_FIELD}, {_FIELD}, {_FIELD}, float32, float32, float32, {_FIELD}, {_FIELD})")
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


@_compiled("Tuple((int64, int64, int64, int64))(float32[:,:,::1])")
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


@_compiled(f"void({_FIELD}, {_FIELD}, float32[:,:,:,:,::1], {_FIELD})")
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


@_compiled("void(uint16[:,::1], uint16[:,::1], uint16[:,::1], float32[:,::1], float32[:,:,::1])", fused=True)
def mix(first: Codes, second: Codes, third: Codes, matrix: Plane, result: Picture) -> None:
    """Mix three planes of codes, [H, W] at least, by an affine matrix [3, 4] to a picture [H, W, 3] within [0, 1].

    Sums are in the order of OpenCV's `transform`, so that they are the same numbers.
    """
    zero, one = np.float32(0), np.float32(1)
    width = result.shape[1]
    row = np.empty((3, width), np.float32)
    for y in range(result.shape[0]):
        for c in range(3):
            p, q, r, shift = matrix[c]
            for x in range(width):
                one_of, two_of, three_of = np.float32(first[y, x]), np.float32(second[y, x]), np.float32(third[y, x])
                row[c, x] = min(max(p * one_of + (q * two_of + (r * three_of + shift)), zero), one)
        for x in range(width):
            result[y, x, 0], result[y, x, 1], result[y, x, 2] = row[0, x], row[1, x], row[2, x]


@_compiled("void(float32[:,:,::1], float32, uint16[:,:,::1])")
def straighten(premultiplied: NDArray[np.float32], white: np.float32, codes: NDArray[np.uint16]) -> None:
    """Write the codes [H, W, 3 or 4] of a premultiplied picture [4, H, W]: straight colour, 1 being `white`."""
    zero, one, least = np.float32(0), np.float32(1), np.float32(1e-6)
    channels = codes.shape[2]
    for y in range(codes.shape[0]):
        for x in range(codes.shape[1]):
            alpha = min(max(premultiplied[3, y, x], zero), one)
            share = max(alpha, least) if alpha > zero else one
            for c in range(3):
                value = min(max(premultiplied[c, y, x] / share, zero), one)
                codes[y, x, c] = np.uint16(np.rint(value * white))
            if channels == 4:
                codes[y, x, 3] = np.uint16(np.rint(alpha * white))


@_compiled(f"void(float64, float64, float64, float64, float64[::1], {_FIELD})")
def lay_out(a: float, b: float, x: float, y: float, axis: NDArray[np.float64], result: Field) -> None:
    """Write where the similarity (a, b) and shift (x, y) bring the points of a square grid [S], [1, 2, S, S]."""
    for row in range(len(axis)):
        for column in range(len(axis)):
            result[0, 0, row, column] = a * axis[column] + x - b * axis[row]
            result[0, 1, row, column] = b * axis[column] + (a * axis[row] + y)


@_compiled(f"void(float64, float64, float64, float64, int64, int64, {_FIELD})")
def mark_inside(a: float, b: float, x: float, y: float, last_x: int, last_y: int, result: Field) -> None:
    """Write 1 where the similarity (a, b) and shift (x, y) bring a pixel inside of a picture, else 0: [1, 1, S, S]."""
    for row in range(result.shape[2]):
        for column in range(result.shape[3]):
            across, down = a * column + x - b * row, b * column + (a * row + y)
            inside = (across >= 0) & (across <= last_x) & (down >= 0) & (down <= last_y)
            result[0, 0, row, column] = np.float32(inside)


@_compiled("void(float32[:,::1], float32, float32)")
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


@_compiled(f"Tuple((int64, float32))({_FIELD}, int64, float32, {_FIELD})")
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


@_compiled(f"void({_FIELD}, {_FIELD}, {_FIELD}, {_FIELD})")
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


@_compiled(f"void({_FIELD}, {_FIELD}, {_FIELD}, float32, {_FIELD})")
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


@_compiled(f"void({_FIELD}, {_FIELD}, float32, {_FIELD}, {_FIELD}, boolean[:,:,::1])")
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


@_compiled(f"void({_FIELD}, {_FIELD}, {_FIELD})")
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


@_compiled("void(boolean[:,:,::1], int64[:,::1], int64[:,::1])")
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


@_compiled("void(float32[::1], int64, float32[::1])")
def _extend(values: Row, reach: int, row: Row) -> None:
    """Write values [W] into a row [W + 2 reach], the first and the last one repeated."""
    for x in range(reach):
        row[x], row[len(row) - 1 - x] = values[0], values[len(values) - 1]
    row[reach : reach + len(values)] = values


@_compiled(f"void({_FIELD}, float32[::1], {_FIELD})")
def blur(field: Field, weights: Row, result: Field) -> None:
    """Convolve a field [N, C, H, W] along both dimensions with a symmetric kernel, the border repeated.

    weights: [reach + 1], those of the middle and of what is 1, 2 ... px away.
    """
    height, width, reach = field.shape[2], field.shape[3], len(weights) - 1
    column, row, total = (
        np.empty(width, np.float32),
        np.empty(width + 2 * reach, np.float32),
        np.empty(width, np.float32),
    )
    for n in range(field.shape[0]):
        for c in range(field.shape[1]):
            for y in range(height):
                for x in range(width):
                    column[x] = weights[0] * field[n, c, y, x]
                for near in range(1, reach + 1, 2):  # two at once save half of the passes over the sums
                    far, p = min(near + 1, reach), weights[near]
                    q = weights[far] if far > near else np.float32(0)
                    a, b = max(y - near, 0), max(min(y + near, height - 1), 0)
                    d, e = max(y - far, 0), max(min(y + far, height - 1), 0)
                    for x in range(width):
                        column[x] += p * (field[n, c, a, x] + field[n, c, b, x])
                        column[x] += q * (field[n, c, d, x] + field[n, c, e, x])
                _extend(column, reach, row)
                for x in range(width):
                    total[x] = weights[0] * column[x]
                for near in range(1, reach + 1, 2):
                    far, p = min(near + 1, reach), weights[near]
                    q = weights[far] if far > near else np.float32(0)
                    a, b = max(reach - near, 0), max(reach + near, 0)
                    d, e = max(reach - far, 0), max(reach + far, 0)
                    for x in range(width):
                        total[x] += p * (row[a + x] + row[b + x])
                        total[x] += q * (row[d + x] + row[e + x])
                for x in range(width):
                    result[n, c, y, x] = total[x]


@_compiled(f"void({_FIELD}, int64, {_FIELD})")
def box(field: Field, size: int, result: Field) -> None:
    """Find the means of a field [N, C, H, W] over `size` x `size` px (odd), the border repeated."""
    height, width, reach = field.shape[2], field.shape[3], size // 2
    share = np.float32(1) / np.float32(size * size)
    column, row, total = (
        np.empty(width, np.float32),
        np.empty(width + 2 * reach, np.float32),
        np.empty(width, np.float32),
    )
    for n in range(field.shape[0]):
        for c in range(field.shape[1]):
            for y in range(height):
                for x in range(width):
                    column[x] = field[n, c, y, x]
                for away in range(1, reach + 1):
                    a, b = max(y - away, 0), max(min(y + away, height - 1), 0)
                    for x in range(width):
                        column[x] += field[n, c, a, x] + field[n, c, b, x]
                _extend(column, reach, row)
                for x in range(width):
                    total[x] = column[x]
                for away in range(1, reach + 1):
                    a, b = max(reach - away, 0), max(reach + away, 0)
                    for x in range(width):
                        total[x] += row[a + x] + row[b + x]
                for x in range(width):
                    result[n, c, y, x] = share * total[x]


@_compiled("Tuple((float32[::1], int64[::1], int64[::1]))(int64, int64)")
def _between(count: int, wanted: int) -> tuple[Row, Places, Places]:
    """Return, for `wanted` places over `count` values, the share of the value after, and which are before and after."""
    share = np.empty(wanted, np.float32)
    before, after = np.empty(wanted, np.int64), np.empty(wanted, np.int64)
    step, half = np.float32(count) / np.float32(wanted), np.float32(0.5)
    for x in range(wanted):
        place = max(step * (np.float32(x) + half) - half, np.float32(0))  # rounded as PyTorch does
        before[x] = min(int(place), count - 1)
        after[x] = min(before[x] + 1, count - 1)
        share[x] = place - np.float32(before[x])
    return share, before, after


@_compiled("void(float32[::1], float32[::1], int64[::1], int64[::1], float32[::1])")
def _mix_along(row: Row, share: Row, left: Places, right: Places, result: Row) -> None:
    """Look a row up between its values at `left` and `right` [W], with the share [W] of the right one."""
    for x in range(len(result)):
        result[x] = row[left[x]] + share[x] * (row[right[x]] - row[left[x]])


@_compiled("void(float32[::1], float32[::1], float32, float32[::1])")
def _mix(above: Row, below: Row, share: np.float32, result: Row) -> None:
    for x in range(len(result)):
        result[x] = above[x] + share * (below[x] - above[x])


@_compiled(f"void({_FIELD}, {_FIELD})")
def resize(field: Field, result: Field) -> None:
    """Resample a field [N, C, h, w] bilinearly to the size of the result [N, C, H, W], outer edges aligned."""
    height, width = field.shape[2], field.shape[3]
    down, above, below = _between(height, result.shape[2])
    across, left, right = _between(width, result.shape[3])
    rows = np.empty((height, result.shape[3]), np.float32)  # only columns are looked up one by one
    for n in range(field.shape[0]):
        for c in range(field.shape[1]):
            for y in range(height):
                _mix_along(field[n, c, y], across, left, right, rows[y])
            for y in range(result.shape[2]):
                _mix(rows[above[y]], rows[below[y]], down[y], result[n, c, y])


@_compiled(f"void({_FIELD}, {_FIELD}, {_FIELD})")
def enlarge_beside(field: Field, beside: Field, result: Field) -> None:
    """Resample a field as `resize` does, and put another one's channels after its own; channels are last in all.

    field: [N, h, w, C]; beside: [N, H, W, D]; result: [N, H, W, C + D].
    """
    height, width, channels = field.shape[1:]
    down, above, below = _between(height, result.shape[1])
    across, left, right = _between(width, result.shape[2])
    rows = np.empty((height, result.shape[2], channels), np.float32)
    for n in range(field.shape[0]):
        for y in range(height):
            for x in range(result.shape[2]):
                _mix(field[n, y, left[x]], field[n, y, right[x]], across[x], rows[y, x])
        for y in range(result.shape[1]):
            for x in range(result.shape[2]):
                _mix(rows[above[y], x], rows[below[y], x], down[y], result[n, y, x, :channels])
                result[n, y, x, channels:] = beside[n, y, x]


@_compiled(f"void({_FIELD}, int64, {_FIELD})")
def fold(field: Field, first: int, result: Field) -> None:
    """Write 2 x 2 points of a field [N, C, H, W] as 4 C channels, `first` and the next, of the result [N, h, w, D]."""
    for n in range(field.shape[0]):
        for y in range(result.shape[1]):
            for c in range(field.shape[1]):
                for point in range(4):
                    row, column, channel = 2 * y + point // 2, point % 2, first + 4 * c + point
                    for x in range(result.shape[2]):
                        result[n, y, x, channel] = field[n, c, row, 2 * x + column]


@_compiled(f"void({_FIELD}, float32[:,:,::1], int64, {_FIELD})")
def weigh_fields(fields: Field, factors: Planes, first: int, result: Field) -> None:
    """Multiply fields of motion [N or 1, K, 2, P] by L^T at each of P points, L being a lower triangle.

    factors: [N, 3, P], the numbers of L row by row; written from field `first` on into the result [N, K', 2, P].
    """
    for n in range(result.shape[0]):
        for k in range(fields.shape[1]):
            x, y = fields[min(n, fields.shape[0] - 1), k, 0], fields[min(n, fields.shape[0] - 1), k, 1]
            for p in range(fields.shape[3]):
                result[n, first + k, 0, p] = x[p] * factors[n, 0, p] + y[p] * factors[n, 1, p]
                result[n, first + k, 1, p] = y[p] * factors[n, 2, p]


@_compiled(
    "void(float32[:,:,::1], float32[:,:,::1], float32[:,:,::1], float32[::1], float32[:,::1],"
    "float32[:,:,::1], float32[:,::1])"
)
def show(
    frame: Planes, reference: Planes, gain: Planes, offset: Row, seen: Plane, picture: Planes, soft: Plane
) -> None:
    """Bring a frame [C, H, W] in [0, 1] to another light, gain (value + offset), where it is seen.

    Elsewhere it is the reference [C, H, W]. gain: [C, h, w]; offset: [C]; seen: [h, w] in [0, 1]; both are looked up
    bilinearly. Results: the picture [C, H, W] and how far it is seen, soft [H, W].
    """
    channels, height, width = frame.shape
    zero, half, one, nearly = np.float32(0), np.float32(0.5), np.float32(1), np.float32(0.99)
    down, above, below = _between(seen.shape[0], height)
    across, left, right = _between(seen.shape[1], width)
    rows, row = np.empty((seen.shape[0], width), np.float32), np.empty(width, np.float32)
    for y in range(seen.shape[0]):
        _mix_along(seen[y], across, left, right, rows[y])
    for y in range(height):
        _mix(rows[above[y]], rows[below[y]], down[y], soft[y])
        for x in range(width):
            soft[y, x] = one if soft[y, x] > nearly else soft[y, x]
    down, above, below = _between(gain.shape[1], height)
    across, left, right = _between(gain.shape[2], width)
    rows = np.empty((gain.shape[1], width), np.float32)
    for c in range(channels):
        for y in range(gain.shape[1]):
            _mix_along(gain[c, y], across, left, right, rows[y])
        for y in range(height):
            _mix(rows[above[y]], rows[below[y]], down[y], row)
            for x in range(width):
                value = min(max((frame[c, y, x] + offset[c]) * row[x], zero), one)
                other, share = reference[c, y, x], soft[y, x]
                base, coefficient = (other, share) if share < half else (value, share - one)
                # As PyTorch's `lerp`, by one rounding.
                picture[c, y, x] = np.float64(base) + np.float64(coefficient) * np.float64(value - other)


@_compiled(f"void({_FIELD}, {_FIELD})")
def halve(field: Field, result: Field) -> None:
    """Find the means of a field [N, C, H, W] over 2 x 2 px, fewer at the far edges: [N, C, h, w]."""
    height, width = field.shape[2], field.shape[3]
    quarter, sums = np.float32(0.25), np.empty(2 * result.shape[3], np.float32)
    for n in range(field.shape[0]):
        for c in range(field.shape[1]):
            for row in range(result.shape[2]):
                above, below = 2 * row, max(min(2 * row + 1, height - 1), 0)
                for x in range(width):
                    sums[x] = field[n, c, above, x] + field[n, c, below, x]
                sums[len(sums) - 1] = sums[width - 1]  # where the width is odd; else it is that number
                for x in range(result.shape[3]):
                    result[n, c, row, x] = quarter * (sums[2 * x] + sums[2 * x + 1])


@_compiled("void(float32[::1], int64, float32[::1])")
def _pool_row(sums: Row, height: int, result: Row) -> None:
    """Find a row of means [w] from the sums [W] of the `height` rows that it covers."""
    width, columns = len(sums), len(result)
    for column in range(columns):
        left, right = column * width // columns, ((column + 1) * width + columns - 1) // columns
        total = np.float32(0)
        for x in range(left, right):
            total += sums[x]
        result[column] = total / np.float32(height * (right - left))


@_compiled(f"void({_FIELD}, {_FIELD})")
def pool_to(field: Field, result: Field) -> None:
    """Find the means of a field [N, C, H, W] over the px that each of fewer ones covers, in part too: [N, C, h, w]."""
    height, width, rows = field.shape[2], field.shape[3], result.shape[2]
    sums = np.empty(width, np.float32)
    for n in range(field.shape[0]):
        for c in range(field.shape[1]):
            for row in range(rows):
                top, bottom = row * height // rows, ((row + 1) * height + rows - 1) // rows
                sums[:] = 0
                for y in range(top, bottom):
                    for x in range(width):
                        sums[x] += field[n, c, y, x]
                _pool_row(sums, bottom - top, result[n, c, row])


@_compiled(f"void({_FIELD}, {_FIELD}, {_FIELD})")
def pool_weighted(field: Field, weight: Field, result: Field) -> None:
    """Find the same of a field [N or 1, C, H, W] times a weight [N or 1, 1, H, W]."""
    height, width, rows = field.shape[2], field.shape[3], result.shape[2]
    sums = np.empty(width, np.float32)
    for n in range(result.shape[0]):
        planes, share = field[min(n, field.shape[0] - 1)], weight[min(n, weight.shape[0] - 1), 0]
        for c in range(result.shape[1]):
            for row in range(rows):
                top, bottom = row * height // rows, ((row + 1) * height + rows - 1) // rows
                sums[:] = 0
                for y in range(top, bottom):
                    for x in range(width):
                        sums[x] += planes[c, y, x] * share[y, x]
                _pool_row(sums, bottom - top, result[n, c, row])


@numba.njit(inline="always")
def _within(place: np.float64, last: int) -> tuple[int, int, np.float32, np.float32]:
    """Return the pixels before and after a place along an axis from 0 to `last`, and their shares; beyond it, 0."""
    before = int(np.floor(min(max(place, -2.0), last + 2.0)))
    share = np.float32(place - before)
    left = np.float32(1) - share if (before >= 0) & (before <= last) else np.float32(0)
    right = share if (before >= -1) & (before < last) else np.float32(0)
    return max(min(before, last), 0), max(min(before + 1, last), 0), left, right


@_compiled(
    f"void({_FIELD}, float64[:,::1], float32[:,::1], float32[:,::1], float32[::1], float32[::1],"
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
    last_x, last_y, half, zero = pictures.shape[3] - 1, pictures.shape[2] - 1, np.float64(0.5), np.float32(0)
    for n in range(len(pictures)):
        picture, across, down = pictures[n, 0], x[min(n, len(x) - 1)], y[min(n, len(y) - 1)]
        a, b, shift_x, shift_y = maps[n, 0], maps[n, 1], maps[n, 2], maps[n, 3]
        for p in range(len(values)):
            place_x, place_y = a * across[p] - b * down[p] + shift_x, b * across[p] + a * down[p] + shift_y
            i, right, s, t = _within(place_x, last_x)
            j, below, u, v = _within(place_y, last_y)
            above = s * picture[j, i] + t * picture[j, right]
            difference[n, p] = u * above + v * (s * picture[below, i] + t * picture[below, right]) - values[p]
            inside = (
                max(abs(place_x - half * last_x) - half * last_x, abs(place_y - half * last_y) - half * last_y) < half
            )
            weight[n, p] = prior[p] if inside else zero


@_compiled("void(float32[:,::1], float32[::1], float32[:,::1])")
def weigh_robustly(difference: Plane, widths: Row, weight: Plane) -> None:
    """Multiply weights [N, P] by Geman and McClure's of differences [N, P], which are `widths` [N] wide."""
    one = np.float32(1)
    for n in range(difference.shape[0]):
        for p in range(difference.shape[1]):
            size = difference[n, p] / widths[n]
            root = one + size * size
            weight[n, p] /= root * root


@_compiled("Tuple((int64[::1], float32[:,::1]))(int64, int64)")
def _covered(count: int, wanted: int) -> tuple[Places, Plane]:
    """Return, for each of fewer px along an axis, the first px that it covers, and its shares of that and the next."""
    step = count / wanted
    taps = min(int(np.ceil(step)) + 1, count)
    first, shares = np.empty(wanted, np.int64), np.empty((wanted, taps), np.float32)
    for x in range(wanted):
        start, end = x * step, (x + 1) * step
        first[x] = min(int(start), count - taps)
        for tap in range(taps):
            px = first[x] + tap
            shares[x, tap] = max(min(px + 1, end) - max(px, start), 0.0) / step
    return first, shares


@_compiled("Tuple((int64[::1], float32[:,::1]))(int64, int64)")
def _around(count: int, wanted: int) -> tuple[Places, Plane]:
    """Return, for each of fewer px along an axis, the first of the px within one px of its own, and their weights."""
    scale, half = np.float32(count) / np.float32(wanted), np.float32(0.5)
    first, weights = np.empty(wanted, np.int64), np.zeros((wanted, int(2 * scale) + 2), np.float32)
    for x in range(wanted):
        middle = scale * (np.float32(x) + half)
        first[x] = max(int(middle - scale + half), 0)
        for px in range(first[x], min(int(middle + scale + half), count)):
            away = abs((np.float32(px) - middle + half) / scale)
            weights[x, px - first[x]] = max(np.float32(1) - away, np.float32(0))
        weights[x] /= weights[x].sum()
    return first, weights


@_compiled("void(float32[:,:,::1], int64[::1], float32[:,::1], int64[::1], float32[:,::1], float32[:,:,::1])")
def _add_up(planes: Planes, top: Places, down: Plane, left: Places, across: Plane, result: Planes) -> None:
    """Add up planes [C, H, W] by weights `down` [h, K] of rows from `top` on and `across` [w, K] of columns: [C, h, w].

    Rows abreast are one vector.
    """
    (height, width), (rows, columns) = planes.shape[1:], result.shape[1:]
    row, total = np.empty(width, np.float32), np.empty(_ABREAST, np.float32)
    abreast = np.zeros((width + across.shape[1], _ABREAST), np.float32)
    for c in range(planes.shape[0]):
        for start in range(0, rows, _ABREAST):
            for y in range(start, min(start + _ABREAST, rows)):
                row[:] = 0
                for tap in range(down.shape[1]):
                    weight, line = down[y, tap], max(min(top[y] + tap, height - 1), 0)
                    for x in range(width):
                        row[x] += weight * planes[c, line, x]
                for x in range(width):
                    abreast[x, y - start] = row[x]
            for x in range(columns):
                total[:] = 0
                for tap in range(across.shape[1]):
                    weight, place = across[x, tap], max(left[x] + tap, 0)
                    for line in range(_ABREAST):
                        total[line] += weight * abreast[place, line]
                for y in range(start, min(start + _ABREAST, rows)):
                    result[c, y, x] = total[y - start]


@_compiled("void(float32[:,:,::1], float32[:,:,::1])")
def shrink_by_area(planes: Planes, result: Planes) -> None:
    """Find the means of planes [C, H, W] over what each of fewer px covers, of a px in part its part: [C, h, w]."""
    top, down = _covered(planes.shape[1], result.shape[1])
    left, across = _covered(planes.shape[2], result.shape[2])
    _add_up(planes, top, down, left, across, result)


@_compiled("void(float32[:,:,::1], float32[:,:,::1])")
def shrink_softly(planes: Planes, result: Planes) -> None:
    """Resample planes [C, H, W] to fewer px [C, h, w], of which each has the weights of a triangle two px wide."""
    top, down = _around(planes.shape[1], result.shape[1])
    left, across = _around(planes.shape[2], result.shape[2])
    _add_up(planes, top, down, left, across, result)


@_compiled("void(float32[:,::1], float32[:,::1])")
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


@_compiled(f"void({_FIELD}, {_FIELD}, {_FIELD}, {_FIELD}, int64)")
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


@_compiled("void(float32[:,:,::1], float32[:,:,::1], float32[:,:,::1])")
def pull(precision: Planes, motion: Planes, result: Planes) -> None:
    """Find J u of precisions J [N, 3, S] and motion u [N, 2, S], [N, 2, S]; see `rig.measurement`."""
    for n in range(result.shape[0]):
        for s in range(result.shape[2]):
            x, y = motion[n, 0, s], motion[n, 1, s]
            result[n, 0, s] = precision[n, 0, s] * x + precision[n, 1, s] * y
            result[n, 1, s] = precision[n, 1, s] * x + precision[n, 2, s] * y


@_compiled("void(float32[:,:,::1], float32[:,:,::1], float32[:,::1])")
def find_energy(precision: Planes, pull: Planes, result: Plane) -> None:
    """Find the energy [N, S] of equations J u = h, J [N, 3, S] and h [N, 2, S]; see `rig.measurement`.

    It is 0 where J is; elsewhere J is more by a share of 1e-6, in every direction.
    """
    zero, two, share = np.float32(0), np.float32(2), np.float32(1e-6)
    for n in range(result.shape[0]):
        for s in range(result.shape[1]):
            xx, xy, yy = precision[n, 0, s], precision[n, 1, s], precision[n, 2, s]
            x, y, seen = pull[n, 0, s], pull[n, 1, s], xx + yy > zero
            least = share * (xx + yy if seen else np.float32(1))
            xx, yy = xx + least, yy + least
            determinant = max(xx * yy - xy * xy, least * (xx + yy))
            energy = (yy * x * x - two * xy * x * y + xx * y * y) / determinant
            result[n, s] = energy if seen else zero


@_compiled("void(float32[:,:,::1], float32[:,:,::1], float32[::1], float32[:,:,::1], float32[:,:,::1])")
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


@_compiled(f"void({_STACK}, {_STACKS}, {_STACK})")
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


@_compiled("void(float32[:,::1], boolean[:,::1], int64[::1], float32[::1])")
def find_ranked(rows: Plane, counted: NDArray[np.bool_], ranks: Places, result: Row) -> None:
    """Put the number of each row that has a rank, from 0, among those that are `counted` into `result`.

    No number that is counted is NaN; counted: for each row, or one for all. Radix selection: the bits of a float, its
    sign's turned over, are in the order of the numbers. Without a branch in the inner loop, as no processor foresees
    which numbers are in the bin that is looked for.
    """
    for n in range(len(rows)):
        row, some, rank = rows[n].view(np.uint32), counted[n if len(counted) > 1 else 0], ranks[n]
        known, mask = np.uint32(0), np.uint32(0)  # the bits of the result that are known, and where they are
        for shift, width in ((21, 11), (10, 11), (0, 10)):
            bins = np.zeros(1 << width, np.int64)
            for place in range(len(row)):
                bits = row[place]
                bits ^= np.uint32(0xFFFFFFFF) if bits >> np.uint32(31) else np.uint32(0x80000000)
                belongs = some[place] & (bits & mask == known)
                bins[(bits >> np.uint32(shift)) & np.uint32((1 << width) - 1)] += belongs
            digit = 0
            while rank >= bins[digit]:
                rank -= bins[digit]
                digit += 1
            known |= np.uint32(digit << shift)
            mask |= np.uint32(((1 << width) - 1) << shift)
        known ^= np.uint32(0x80000000) if known >> np.uint32(31) else np.uint32(0xFFFFFFFF)
        result[n] = np.array([known]).view(np.float32)[0]


@_compiled("float64(float64[::1], float64[::1], float64)")
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


@_compiled(f"void({_STACK}, {_STACK}, float64, float64[:,::1])")
def find_quantiles(values: Stack, weights: Stack, share: float, result: NDArray[np.float64]) -> None:
    """Find the value below which a `share` of the weight is, of values and weights [N, S, P]: [N, S]."""
    for n in range(result.shape[0]):
        for s in range(result.shape[1]):
            result[n, s] = _quantile(values[n, s].copy(), weights[n, s].copy(), share)


@_compiled("float64[:,::1](float64, float64, float64)")
def _rotation(x: float, y: float, z: float) -> NDArray[np.float64]:
    """Return the rotation [3, 3] about a vector by its length, rad (Rodrigues' formula)."""
    angle = np.sqrt(x * x + y * y + z * z)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    once = np.sin(angle) / angle if angle > 0 else 1.0
    half = np.sin(angle / 2) / (angle / 2) if angle > 0 else 1.0
    return np.eye(3) + once * cross + 0.5 * half * half * (cross @ cross)


@_compiled(f"void({_STACKS}, {_STACKS}, float64, {_STACKS}, float64[:,::1], {_STACK})")
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


@_compiled(f"void({_MATRIX}, {_NUMBERS}, {_NUMBERS}, {_NUMBERS})")
def _find_gradient(gram: Matrix, target: Numbers, values: Numbers, gradient: Numbers) -> None:
    """Find the gradient of ½ xᵀ·gram·x − targetᵀ·x at x = `values`, of which many may be 0."""
    for k in range(len(values)):
        gradient[k] = -target[k]
    for j in range(len(values)):
        amount = values[j]
        if amount != 0.0:
            for k in range(len(values)):
                gradient[k] += amount * gram[j, k]


@_compiled(f"boolean({_NUMBERS}, {_NUMBERS}, {_NUMBERS}, {_NUMBERS}, float64, {_FLAGS})")
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


@_compiled(f"void({_MATRIX}, {_NUMBERS}, {_FLAGS}, {_MATRIX}, {_NUMBERS})")
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


@_compiled(f"void({_MATRIX}, int64, {_NUMBERS}, {_NUMBERS}, {_FLAGS})")
def _hold(gram: Matrix, unknown: int, step: Numbers, along: Numbers, free: Flags) -> None:
    """Take an unknown out of the `free` ones and of a `step`, and out of `along`, the matrix times the step."""
    for k in range(len(along)):
        along[k] -= step[unknown] * gram[unknown, k]
    step[unknown] = 0.0
    free[unknown] = False


@_compiled(f"boolean({_MATRIX}, {_NUMBERS}, {_NUMBERS}, {_NUMBERS}, {_NUMBERS}, {_NUMBERS}, {_NUMBERS}, {_FLAGS})")
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


@_compiled(f"void({_STACK}, {_MATRIX}, {_MATRIX}, {_MATRIX}, float64, int64, {_MATRIX}, int64[::1])")
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
