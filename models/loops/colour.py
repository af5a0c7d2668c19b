# SPDX-License-Identifier: GPL-3.0-or-later
"""Codes of pictures made light, and light codes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .compiled import Codes, Picture, Plane, compiled


@compiled("void(uint16[:,::1], uint16[:,::1], uint16[:,::1], float32[:,::1], float32[:,:,::1])", fused=True)
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


@compiled("void(float32[:,:,::1], float32, uint16[:,:,::1])")
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
