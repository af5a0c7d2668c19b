# SPDX-License-Identifier: GPL-3.0-or-later
"""Sums and means around each pixel, and what rank a value has."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .compiled import FIELD, Field, Places, Plane, Planes, Row, compiled


@compiled("void(float32[::1], int64, float32[::1])")
def _extend(values: Row, reach: int, row: Row) -> None:
    """Write values [W] into a row [W + 2 reach], the first and the last one repeated."""
    for x in range(reach):
        row[x], row[len(row) - 1 - x] = values[0], values[len(values) - 1]
    row[reach : reach + len(values)] = values


@compiled(f"void({FIELD}, float32[::1], {FIELD})")
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


@compiled(f"void({FIELD}, int64, {FIELD})")
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


@compiled(f"void({FIELD}, {FIELD})")
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


@compiled("void(float32[::1], int64, float32[::1])")
def _pool_row(sums: Row, height: int, result: Row) -> None:
    """Find a row of means [w] from the sums [W] of the `height` rows that it covers."""
    width, columns = len(sums), len(result)
    for column in range(columns):
        left, right = column * width // columns, ((column + 1) * width + columns - 1) // columns
        total = np.float32(0)
        for x in range(left, right):
            total += sums[x]
        result[column] = total / np.float32(height * (right - left))


@compiled(f"void({FIELD}, {FIELD})")
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


@compiled(f"void({FIELD}, {FIELD}, {FIELD})")
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


@compiled(f"void({FIELD}, int64, {FIELD})")
def fold(field: Field, first: int, result: Field) -> None:
    """Write 2 x 2 points of a field [N, C, H, W] as 4 C channels, `first` and the next, of the result [N, h, w, D]."""
    for n in range(field.shape[0]):
        for y in range(result.shape[1]):
            for c in range(field.shape[1]):
                for point in range(4):
                    row, column, channel = 2 * y + point // 2, point % 2, first + 4 * c + point
                    for x in range(result.shape[2]):
                        result[n, y, x, channel] = field[n, c, row, 2 * x + column]


@compiled(f"void({FIELD}, float32[:,:,::1], int64, {FIELD})")
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


@compiled("void(float32[:,::1], boolean[:,::1], int64[::1], float32[::1])")
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
