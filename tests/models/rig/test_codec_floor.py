# SPDX-License-Identifier: GPL-3.0-or-later
"""What a strong codec may have moved by itself is not keyed."""

import numpy as np
import pytest

from magplus.backend_bridge.rig.basis import Control
from magplus.backend_bridge.rig.curves import ControlCurves
from magplus.models.rig.codec_floor import above_codec, at_rest_after, shows_anything

SHAPE = np.array([0.0, 0.3, 1.0, 0.4, 0.0])


def keyed(moves=True, **peaks):
    controls = [Control(name, "property", "Rig", "", 0.0, 0.0, 1.0) for name in peaks]
    values = (SHAPE[:, None] * list(peaks.values())).astype(np.float32)
    curves = ControlCurves(tuple(peaks), np.arange(5) / 30, values, np.zeros(5), np.ones(len(peaks)))
    left, resting = above_codec(curves, controls, moves)
    return dict(zip(peaks, left.values.max(0).astype(float).round(3).tolist(), strict=True)), resting


def test_controls_far_below_the_strongest_rest_and_are_named_and_those_near_it_stay():
    values, resting = keyed(browDownLeft=0.1, browDownRight=0.06, mouthStretchRight=0.02)
    assert values == {"browDownLeft": 0.1, "browDownRight": 0.06, "mouthStretchRight": 0.0}
    assert resting == ("mouthStretchRight",)


def test_a_blink_and_the_gaze_do_not_hide_an_expression():
    values, resting = keyed(eyeBlinkLeft=1.0, eyeLookDownLeft=0.5, browDownLeft=0.1)
    assert values["browDownLeft"] == 0.1 and not resting


def test_where_the_face_shows_no_event_what_is_less_than_certain_rests():
    assert keyed(moves=False, cheekPuff=0.06, browDownLeft=0.04) == (
        {"cheekPuff": 0.0, "browDownLeft": 0.0},
        ("cheekPuff", "browDownLeft"),
    )


@pytest.mark.parametrize(
    ("peaks", "lasts", "shows"),
    [
        ({"browDownLeft": 0.025}, True, True),
        ({"browDownLeft": 0.003, "mouthFrownLeft": 0.004}, True, False),
        ({"eyeBlinkLeft": 1.0, "browDownLeft": 0.003}, True, False),
        ({"browDownLeft": 0.02}, False, False),
        ({"browDownLeft": 0.09}, False, True),
    ],
)
def test_what_a_codec_does_to_a_still_face_has_no_controls_pattern_or_is_brief_and_small(peaks, lasts, shows):
    controls = [Control(name, "property", "Rig", "", 0.0, 0.0, 1.0) for name in peaks]
    values = (SHAPE[:, None] * list(peaks.values())).astype(np.float32)
    curves = ControlCurves(tuple(peaks), np.arange(5) / 30, values, np.zeros(5), np.ones(len(peaks)))
    assert shows_anything(curves, controls, lasts) is shows


def after(offset, brow, lid):
    controls = [Control(name, "property", "Rig", "", 0.0, 0.0, 1.0) for name in ("browDownLeft", "eyeBlinkLeft")]
    values = np.float32([brow, lid]).T
    curves = ControlCurves(
        ("browDownLeft", "eyeBlinkLeft"), np.arange(len(brow)) / 20, values, np.zeros(len(brow)), np.ones(2)
    )
    return at_rest_after(curves, controls, offset).values.T.astype(float).round(3).tolist()


def test_after_its_offset_an_expression_comes_to_rest_and_a_blink_is_kept():
    brow, lid = after(0.1, [0.0, 0.2, 0.03, 0.03, 0.03], [0.0, 0.0, 0.0, 1.0, 0.3])
    assert brow == [0.0, 0.2, 0.03, 0.015, 0.0]
    assert lid == [0.0, 0.0, 0.0, 1.0, 0.3]


def test_an_expression_that_follows_another_is_kept():
    shown = [0.0, 0.2, 0.03, 0.03, 0.1]
    assert after(0.1, shown, [0.0] * 5)[0] == shown
