# SPDX-License-Identifier: GPL-3.0-or-later
"""Source time becomes scene time exactly, and the apex survives."""

from __future__ import annotations

import json
from fractions import Fraction
from itertools import accumulate

import bpy
import numpy as np
import pytest
from bl_ext.user_default.magplus.backend_bridge.files.errors import InputError
from bl_ext.user_default.magplus.backend_bridge.job.report import REPORT, Report, Timing
from bl_ext.user_default.magplus.backend_bridge.rig.events import MotionEvent
from bl_ext.user_default.magplus.operators.animation.scene_time import (
    Placement,
    SourceTime,
    apex_kept,
    place,
    scene_rate,
)
from hypothesis import given
from hypothesis import strategies as st

NTSC = Fraction(24000, 1001)
RATES = (Fraction(24), Fraction(25), Fraction(30), Fraction(60), NTSC, Fraction(30000, 1001))


def clip(rate: Fraction, count: int, apex: int | None = None) -> SourceTime:
    seconds = tuple(i / rate for i in range(count))
    return SourceTime(seconds, rate, {} if apex is None else {"apex": seconds[apex]}, apex)


@pytest.mark.parametrize(
    ("fps", "base", "expected"),
    [
        (24, 1.0, 24),
        (24, 1.001, NTSC),
        (60, 1.001, Fraction(60000, 1001)),
        (60, float(np.float32(60 / (19001 / 317))), Fraction(60000, 1001)),
        (24, 24 / 23.98, Fraction(1199, 50)),
        (25, 2.0, Fraction(25, 2)),
        (1, 0.0333, Fraction(10000, 333)),
    ],
)
def test_the_scenes_rate_is_the_fraction_that_was_meant(fps: int, base: float, expected: Fraction) -> None:
    bpy.context.scene.render.fps, bpy.context.scene.render.fps_base = fps, base
    assert scene_rate(bpy.context.scene) == expected


def test_a_clip_at_the_scenes_rate_shows_each_frame_once() -> None:
    for rate in RATES:
        source = clip(rate, 1000, apex=617)
        placement = place(source, 101, rate, keep_apex=True)
        assert placement.shift == 0
        assert placement.frames_to_show(source) == list(range(1000))


def test_an_hour_in_ntsc_does_not_drift() -> None:
    source = clip(NTSC, 3600 * 24)
    assert place(source, 1, NTSC, keep_apex=False).frame(source.seconds[-1]) == 3600 * 24


def test_milliseconds_of_a_container_do_not_drop_frames() -> None:
    """Matroska rounds times to milliseconds."""
    seconds = tuple(Fraction(round(1000 * i / 24), 1000) for i in range(200))
    source = SourceTime(seconds, Fraction(24), {"apex": seconds[77]}, 77)
    assert place(source, 1, Fraction(24), keep_apex=True).frames_to_show(source) == list(range(200))


def test_24_into_60_repeats_and_200_into_24_keeps_the_apex() -> None:
    slow = clip(Fraction(24), 24, apex=7)
    shown = place(slow, 1, Fraction(60), keep_apex=True).frames_to_show(slow)
    assert 59 <= len(shown) <= 61 and set(shown) == set(range(24))
    fast = clip(Fraction(200), 200, apex=63)
    placement = place(fast, 1, Fraction(24), keep_apex=True)
    shown = placement.frames_to_show(fast)
    assert 24 <= len(shown) <= 25
    assert shown[int(placement.frame(fast.seconds[63])) - 1] == 63
    assert 63 not in place(fast, 1, Fraction(24), keep_apex=False).frames_to_show(fast)


def test_the_last_frame_of_a_clip_lasts_as_long_as_the_others() -> None:
    source = clip(Fraction(12), 10)
    assert len(place(source, 1, Fraction(24), keep_apex=False).frames_to_show(source)) == 20


durations = st.lists(st.fractions(Fraction(1, 500), Fraction(1, 5), max_denominator=1000), min_size=1, max_size=120)


@given(durations, st.sampled_from(RATES), st.integers(-1000, 1000), st.data())
def test_placement_is_exact_and_the_apex_on_a_whole_frame(durations, fps, start, data) -> None:
    """Of any clip, also one of variable rate."""
    seconds = tuple(accumulate(durations, initial=Fraction(0)))
    apex = data.draw(st.integers(0, len(seconds) - 1))
    source = SourceTime(seconds, Fraction(len(durations)) / seconds[-1], {"apex": seconds[apex]}, apex)
    placement = place(source, start, fps, keep_apex=True)
    assert abs(placement.shift) <= Fraction(1, 2)
    assert placement.frame(seconds[apex]).denominator == 1
    for at in seconds:
        assert placement.seconds(placement.frame(at)) == at
    shown = placement.frames_to_show(source)
    assert shown == sorted(shown)
    assert apex in shown


def test_what_whole_frames_keep_of_an_apex() -> None:
    """Raised cosine of 80 ms at 24 fps: 47 % at the worst phase, 80 % on average."""
    fine = np.linspace(-40, 40, 2001) / 1000
    pulse = (1 + np.cos(np.pi * fine / 0.04)) / 2
    kept = [apex_kept(100 + 24 * fine + phase, pulse) for phase in np.linspace(0, 1, 200, endpoint=False)]
    assert min(kept) == pytest.approx(0.47, abs=0.03)
    assert np.mean(kept) == pytest.approx(0.80, abs=0.02)
    assert apex_kept(100 + 24 * fine, pulse) == pytest.approx(1.0)
    assert apex_kept(np.array([1.0, 2.0]), np.zeros(2)) == 1.0


def test_an_event_between_two_whole_frames_is_lost() -> None:
    assert apex_kept(np.array([1.2, 1.5, 1.8]), np.array([0.0, 1.0, 0.0])) == 0.0


def test_the_report_is_read_exactly() -> None:
    timing = Timing((Fraction(0), Fraction(1001, 24000), Fraction(2002, 24000)), NTSC)
    source = SourceTime.from_report(Report("finished", timing=timing, events=MotionEvent(0.0, 0.0417, None)))
    assert source.seconds[1] == Fraction(1001, 24000)
    assert source.rate == NTSC and source.end == 3 / NTSC
    assert source.apex == 1
    assert set(source.events) == {"onset", "apex"}
    assert SourceTime.from_report(Report("finished", timing=timing)).apex is None


@pytest.mark.parametrize(
    "timing",
    [
        None,
        Timing((), Fraction(24)),
        Timing((Fraction(0), Fraction(0)), Fraction(24)),
        Timing((Fraction(0),), Fraction(0)),
    ],
)
def test_a_report_without_timing_is_one_sentence(timing: Timing | None) -> None:
    with pytest.raises(InputError, match="no usable timing"):
        SourceTime.from_report(Report("finished", timing=timing))


@pytest.mark.parametrize("timing", [{}, {"seconds": ["0", "x"], "rate": "24"}, {"seconds": ["0"], "rate": "24/0"}])
def test_a_report_with_damaged_timing_is_one_sentence(timing: object) -> None:
    with pytest.raises(InputError, match=r"report\.json has a wrong entry \(timing.*run the job again"):
        REPORT.decode(json.dumps({"schema": REPORT.version, "status": "finished", "timing": timing}).encode())


def test_half_frames_go_either_way_but_never_further() -> None:
    source = clip(Fraction(48), 10, apex=3)
    assert place(source, 1, Fraction(24), keep_apex=True) in {
        Placement(1, Fraction(24), Fraction(1, 2)),
        Placement(1, Fraction(24), Fraction(-1, 2)),
    }
