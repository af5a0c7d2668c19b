# SPDX-License-Identifier: GPL-3.0-or-later
"""A single noisy frame is no event, however weak the light was."""

import numpy as np
import pytest

from magplus.models.pipeline.outputs.observed import _is_spike

REST = 2.3e-4


def curve(*apex: float) -> np.ndarray:
    peaks = np.full(24, REST)
    peaks[10 : 10 + len(apex)] = apex
    return peaks


@pytest.mark.parametrize(
    ("apex", "spike"),
    [
        ((5.2e-4,), True),
        ((9e-4,), True),
        ((2e-3,), False),  # a strong one-frame motion, as 40 ms are at 25 frames a second
        ((4e-4, 7e-4, 4e-4), False),
        ((7e-4, 4e-4), False),
    ],
)
def test_only_a_weak_motion_in_a_frame_by_itself_is_noise(apex, spike):
    assert _is_spike(curve(*apex), REST) is spike


def test_at_the_ends_of_a_clip_as_well():
    assert _is_spike(np.r_[6e-4, np.full(9, REST)], REST) and _is_spike(np.r_[np.full(9, REST), 6e-4], REST)
