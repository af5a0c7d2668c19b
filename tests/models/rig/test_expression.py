# SPDX-License-Identifier: GPL-3.0-or-later
"""What solved curves say about action units, and what smoothing them costs."""

from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest

from magplus.backend_bridge.job.report import Report
from magplus.backend_bridge.rig.basis import Control
from magplus.backend_bridge.rig.curves import ControlCurves
from magplus.backend_bridge.rig.live_link import read_live_link, to_live_link
from magplus.models.pipeline.outputs import plot
from magplus.models.pipeline.outputs.plot import plot_curves
from magplus.models.pipeline.provenance import Provenance
from magplus.models.rig.expression import action_units, excursions
from magplus.models.rig.smoothing import apex_kept, smoothed

FPS = 100.0
SECONDS = np.arange(100) / FPS
PULSE = np.exp(-(((SECONDS - 0.4) / 0.06) ** 2))  # a quarter of a second from a fifth of its height to a fifth again


def solved(**heights):
    """Curves of a rig in which each control reaches its height at 0.4 s, and the rig's controls."""
    controls = [Control(name, "shape_key", "Head", name, 0, 0, 1) for name in heights]
    values = np.outer(PULSE, list(heights.values())).astype(np.float32)
    count = len(heights)
    return ControlCurves(
        tuple(heights), SECONDS, values, np.zeros(100, np.float32), np.ones(count, np.float32)
    ), controls


def test_an_action_unit_has_its_onset_apex_offset_and_peak():
    (smile,) = action_units(*solved(mouthSmileLeft=0.2, mouthSmileRight=0.2, jawOpen=0.0))
    assert (smile.unit, smile.name, smile.controls) == (12, "lip corner puller", ("mouthSmileLeft", "mouthSmileRight"))
    assert smile.apex == 0.4
    fifth = 0.06 * np.sqrt(np.log(5))
    assert smile.onset == pytest.approx(0.4 - fifth, abs=0.5 / FPS)
    assert smile.offset == pytest.approx(0.4 + fifth, abs=0.5 / FPS)
    assert smile.peak == pytest.approx(0.2)
    assert smile.asymmetry == 0


def test_a_lopsided_smile_is_reported_by_its_side():
    (smile,) = action_units(*solved(mouthSmileLeft=0.3, mouthSmileRight=0.1))
    assert (smile.left, smile.right) == pytest.approx((0.3, 0.1))
    assert smile.asymmetry == pytest.approx(0.5)


def test_a_rig_that_has_no_sides_has_no_asymmetry():
    (jaw,) = action_units(*solved(jawOpen=0.3))
    assert (jaw.left, jaw.right, jaw.asymmetry) == (None, None, None)


def test_weak_units_and_unknown_names_are_left_out():
    units = action_units(*solved(AU4=0.4, noseSneerLeft=0.02, Bone_017=0.3, AU10_R=0.1))
    assert [each.unit for each in units] == [4, 10]


def test_noise_is_no_event():
    noise = np.random.default_rng(0).uniform(0, 0.01, (100, 1)).astype(np.float32)
    curves = ControlCurves(("jawOpen",), SECONDS, noise, np.zeros(100, np.float32), np.ones(1, np.float32))
    assert action_units(curves, [Control("jawOpen", "shape_key", "Head", "j", 0, 0, 1)]) == []


def test_units_of_an_expression_of_a_few_frames_are_no_noise():
    heights = {"browDownLeft": [0, 0.09, 0.36, 0.41, 0.35, 0.09, 0], "mouthSmileRight": [0, 0, 0.1, 0.07, 0.1, 0, 0]}
    values = np.array(list(heights.values()), np.float32).T
    curves = ControlCurves(tuple(heights), np.arange(7) / 24, values, np.zeros(7, np.float32), np.ones(2, np.float32))
    brow, smile = action_units(curves, [Control(name, "shape_key", "Head", name, 0, 0, 1) for name in heights])
    assert (brow.unit, smile.unit) == (4, 12)
    assert brow.apex == 3 / 24
    assert brow.onset is not None
    assert brow.offset is not None


def test_controls_at_rest_make_no_unit_harder_to_tell():
    frown = np.float32([0, 0.03, 0.07, 0.17, 0.27, 0.32, 0.39, 0.45, 0.38, 0.37, 0.36, 0.45])  # of a real clip
    others = ["jawOpen", "mouthPucker", "cheekPuff", "mouthSmileLeft", "noseSneerLeft", "browInnerUp", "eyeWideLeft"]
    names = ("browDownLeft", *others)
    controls = [Control(name, "shape_key", "Head", name, 0, 0, 1) for name in names]
    values = np.zeros((len(frown), len(names)), np.float32)
    values[:, 0] = frown
    curves = ControlCurves(
        names, np.arange(12) * 1001 / 24000, values, np.zeros(12, np.float32), np.ones(len(names), np.float32)
    )
    assert [each.unit for each in action_units(curves, controls)] == [4]


def test_excursions_are_shares_of_the_way_to_either_end():
    control = Control("lid", "bone", "Rig", "lid", rest=10, low=0, high=30)
    values = np.array([[10], [20], [5]], np.float32)
    curves = ControlCurves(("lid",), np.arange(3.0), values, np.zeros(3, np.float32), np.ones(1, np.float32))
    np.testing.assert_allclose(excursions(curves, [control])[:, 0], [0, 0.5, -0.5])


def test_smoothing_says_what_it_takes_off_the_apex():
    """A Gaussian pulse smoothed by a Gaussian: the widths add in squares."""
    curves, controls = solved(jawOpen=0.2)
    assert smoothed(curves, 0) is curves
    smooth = smoothed(curves, 0.05)
    pulse, kernel = 0.06 / np.sqrt(2), 0.05 / np.sqrt(8 * np.log(2))
    expected = pulse / np.hypot(pulse, kernel)
    assert apex_kept(excursions(curves, controls), excursions(smooth, controls)) == pytest.approx(expected, abs=1e-3)
    assert smooth.values.argmax() == curves.values.argmax()


def test_smoothing_goes_by_the_frames_own_times():
    curves, _ = solved(jawOpen=0.2)
    every_other = ControlCurves(
        curves.names, SECONDS[::2], curves.values[::2], np.zeros(50, np.float32), np.ones(1, np.float32)
    )
    np.testing.assert_allclose(smoothed(every_other, 0.1).values, smoothed(curves, 0.1).values[::2], atol=1e-3)


def test_curves_survive_the_way_through_a_live_link_file():
    curves, _ = solved(mouthSmileLeft=0.2, jawOpen=0.1)
    read = read_live_link(to_live_link(curves)).curves
    np.testing.assert_allclose(read.values[:, read.names.index("mouthSmileLeft")], curves.values[:, 0], atol=1e-6)
    np.testing.assert_allclose(read.seconds, SECONDS, atol=1e-4)


def test_the_plot_is_a_png_even_of_a_face_that_keeps_still():
    for heights in ({"mouthSmileLeft": 0.2, "mouthSmileRight": 0.1}, {"jawOpen": 0.0}):
        curves, controls = solved(**heights)
        picture = plot_curves(curves, excursions(curves, controls), {"onset": None, "apex": 0.4})
        assert picture.startswith(b"\x89PNG")


def test_the_plot_keeps_the_names_of_events_off_the_legend(monkeypatch):
    drawn = []
    monkeypatch.setattr(plot, "_plain", drawn.append)  # is given the axes
    curves, controls = solved(AU4=0.4)
    plot_curves(curves, excursions(curves, controls), {"onset": SECONDS[0], "apex": SECONDS[-1], "offset": None})
    above, _ = drawn
    assert [name.get_text() for name in above.texts] == ["onset", "apex"]
    for name in above.texts:
        assert above.bbox.x0 <= name.get_window_extent().x0
        assert name.get_window_extent().x1 <= above.bbox.x1


def test_no_two_controls_of_a_plot_have_the_same_colour(monkeypatch):
    drawn = []
    monkeypatch.setattr(plot, "_plain", drawn.append)
    curves, controls = solved(**{f"control {number}": 0.1 + 0.01 * number for number in range(20)})
    plot_curves(curves, excursions(curves, controls), {})
    lines = [line for line in drawn[0].lines if str(line.get_label()).startswith("control")]
    assert len({line.get_color() for line in lines}) == len(lines) == plot.MOST_CURVES


def test_a_users_own_settings_and_odd_names_do_not_reach_the_plot(monkeypatch):
    curves, controls = solved(**{"Smile_$L$ \\frac{": 0.2, "mouthSmileLeft": 0.1})
    plain = plot_curves(curves, excursions(curves, controls), {"apex": 0.4})
    for name, value in {"text.usetex": True, "axes.facecolor": "red", "figure.dpi": 20, "backend": "svg"}.items():
        monkeypatch.setitem(matplotlib.rcParams, name, value)
    assert plot_curves(curves, excursions(curves, controls), {"apex": 0.4}) == plain
    assert matplotlib.rcParams["text.usetex"], "they are the user's again"


def test_a_plot_that_can_not_be_drawn_is_a_warning(monkeypatch):
    def fails(*_):
        raise RuntimeError("no fonts here")

    warnings = []
    monkeypatch.setattr(plot, "plot_curves", fails)
    curves, controls = solved(jawOpen=0.2)
    of_job = SimpleNamespace(solution=SimpleNamespace(curves=curves, shares=excursions(curves, controls)))
    report = Report("finished")
    assert (
        plot.Plot(None, of_job, SimpleNamespace(warning=warnings.append), Provenance("abc")).finish(report, None)
        is report
    )
    assert warnings == ["The plot of the curves could not be drawn (RuntimeError: no fonts here)."]
