# SPDX-License-Identifier: GPL-3.0-or-later
"""How large a motion is, and the two factors that follow from it: the magnification and the restoration."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

AUTO_ALPHA_RANGE = (1.0, 16.0)
WORKING_RANGE = 0.0225  # of the face's width: the peak motion that backends were trained on
LEAST_MOTION = 1e-3  # of the face's width; below it a clip shows nothing but noise


def peak_motion(flow: Tensor, region: Tensor) -> Tensor:
    """Return the 95th percentile of |flow| in a soft region, [N], in the flow's px.

    flow: [N, 2, H, W]; region: [1, 1, H, W] in [0, 1], membership counts from one half on. The percentile is of the
    pixels that move: of a brow alone most of the face would drown it, so it is taken over the most moving tenth.
    """
    inside = region[0, 0] > 0.5
    if not bool(inside.any()):
        return flow.new_zeros(flow.shape[0])
    length = flow.norm(dim=1)[:, inside]
    count = max(1, length.shape[1] // 10)
    return length.topk(count, dim=1).values.median(dim=1).values


@dataclass(frozen=True)
class Factors:
    """What the probe frames decided; `peak_share` is the driver's peak motion as a share of its face's width."""

    alpha: float
    gain: float
    restoring: float
    peak_share: float


def automatic_alpha(peak: float, face_width: float) -> float:
    """Return the factor that brings the clip's `peak` motion (px) to the backends' working range, within [1, 16]."""
    share = max(peak / face_width, LEAST_MOTION)
    low, high = AUTO_ALPHA_RANGE
    return min(max(WORKING_RANGE / share, low), high)


def measured_gain(generated_peaks: Tensor, shown_peaks: Tensor) -> float:
    """Return the backend's gain from face-relative peaks of the probe frames, both [P].

    The ratio of sums weights frames by their motion, so that still frames, where both are noise, have no say.
    """
    shown = float(shown_peaks.sum())
    return float(generated_peaks.sum()) / shown if shown > 0 else 1.0


def restoring_factor(alpha: float, gain: float, intensity: float) -> float:
    """Return what the generated motion is multiplied by, so that the result moves `intensity` times as the driver."""
    return intensity / (alpha * gain)
