# SPDX-License-Identifier: GPL-3.0-or-later
"""Optional temporal smoothing of solved curves, and the share of the apex that is left after it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...backend_bridge.rig.curves import ControlCurves

_WIDTH_TO_DEVIATION = 1 / np.sqrt(8 * np.log(2))  # a Gaussian's standard deviation over its width at half its height


def smoothed(curves: ControlCurves, width: float) -> ControlCurves:
    """Return the curves after a Gaussian `width` seconds wide at half its height, by the frames' own times.

    Near the clip's ends the mean is over the frames that are there. A width of 0 returns the curves as they are.

    >>> values = np.float32([[0], [0], [1], [0], [0]])
    >>> spike = ControlCurves(("brow",), np.arange(5) / 25, values, np.zeros(5), np.ones(1))
    >>> smoothed(spike, 0.08).values.ravel().round(2)
    array([0.04, 0.24, 0.47, 0.24, 0.04], dtype=float32)
    """
    if width <= 0:
        return curves
    apart = (curves.seconds[:, None] - curves.seconds[None]) / (width * _WIDTH_TO_DEVIATION)
    weight = np.exp(-0.5 * apart**2)
    values = weight / weight.sum(1, keepdims=True) @ curves.values.astype(np.float64)
    return replace(curves, values=values.astype(np.float32))


def apex_kept(before: NDArray[np.floating], after: NDArray[np.floating]) -> float:
    """Return the apex after smoothing as a share of that before, from excursions [N, K].

    >>> apex_kept(np.array([[0.0], [1.0], [0.0]]), np.array([[0.2], [0.6], [0.2]]))
    0.6
    """
    highest = float(np.linalg.norm(before, axis=1).max(initial=0.0))
    return float(np.linalg.norm(after, axis=1).max(initial=0.0)) / highest if highest > 0 else 1.0
