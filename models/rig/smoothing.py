# SPDX-License-Identifier: GPL-3.0-or-later
"""Smoothing of solved curves for those who ask for it, and what it takes off the apex."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...backend_bridge.rig.curves import ControlCurves

_WIDTH_TO_DEVIATION = 1 / np.sqrt(8 * np.log(2))  # a Gaussian's standard deviation over its width at half its height


def smoothed(curves: ControlCurves, width: float) -> ControlCurves:
    """Return the curves after a Gaussian `width` seconds wide at half its height, by the frames' own times.

    Near the clip's ends the mean is over the frames that are there. 0 changes nothing.
    """
    if width <= 0:
        return curves
    apart = (curves.seconds[:, None] - curves.seconds[None]) / (width * _WIDTH_TO_DEVIATION)
    weight = np.exp(-0.5 * apart**2)
    values = weight / weight.sum(1, keepdims=True) @ curves.values.astype(np.float64)
    return replace(curves, values=values.astype(np.float32))


def apex_kept(before: NDArray[np.floating], after: NDArray[np.floating]) -> float:
    """Return how high the apex still is, as a share, from excursions [N, K] in shares of the controls' ranges."""
    highest = float(np.linalg.norm(before, axis=1).max(initial=0.0))
    return float(np.linalg.norm(after, axis=1).max(initial=0.0)) / highest if highest > 0 else 1.0
