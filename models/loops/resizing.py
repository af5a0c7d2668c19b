# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures and fields of another size."""

from __future__ import annotations

import numpy as np

from .compiled import FIELD, Field, Places, Plane, Planes, Row, compiled

_ABREAST = 8  # rows that are filtered together


@compiled("Tuple((float32[::1], int64[::1], int64[::1]))(int64, int64)")
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


@compiled("void(float32[::1], float32[::1], int64[::1], int64[::1], float32[::1])")
def _mix_along(row: Row, share: Row, left: Places, right: Places, result: Row) -> None:
    """Look a row up between its values at `left` and `right` [W], with the share [W] of the right one."""
    for x in range(len(result)):
        result[x] = row[left[x]] + share[x] * (row[right[x]] - row[left[x]])


@compiled("void(float32[::1], float32[::1], float32, float32[::1])")
def _mix(above: Row, below: Row, share: np.float32, result: Row) -> None:
    for x in range(len(result)):
        result[x] = above[x] + share * (below[x] - above[x])


@compiled(f"void({FIELD}, {FIELD})")
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


@compiled(f"void({FIELD}, {FIELD}, {FIELD})")
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


@compiled(
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


@compiled("Tuple((int64[::1], float32[:,::1]))(int64, int64)")
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


@compiled("Tuple((int64[::1], float32[:,::1]))(int64, int64)")
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


@compiled("void(float32[:,:,::1], int64[::1], float32[:,::1], int64[::1], float32[:,::1], float32[:,:,::1])")
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


@compiled("void(float32[:,:,::1], float32[:,:,::1])")
def shrink_by_area(planes: Planes, result: Planes) -> None:
    """Find the means of planes [C, H, W] over what each of fewer px covers, of a px in part its part: [C, h, w]."""
    top, down = _covered(planes.shape[1], result.shape[1])
    left, across = _covered(planes.shape[2], result.shape[2])
    _add_up(planes, top, down, left, across, result)


@compiled("void(float32[:,:,::1], float32[:,:,::1])")
def shrink_softly(planes: Planes, result: Planes) -> None:
    """Resample planes [C, H, W] to fewer px [C, h, w], of which each has the weights of a triangle two px wide."""
    top, down = _around(planes.shape[1], result.shape[1])
    left, across = _around(planes.shape[2], result.shape[2])
    _add_up(planes, top, down, left, across, result)
