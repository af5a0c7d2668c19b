# SPDX-License-Identifier: GPL-3.0-or-later
"""One bar and one estimate over all stages of a run, and what a run teaches for the next."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from bl_ext.user_default.magplus.backend_bridge.worker_client.messages import Progress
from bl_ext.user_default.magplus.operators.running.pace import (
    ORDER,
    DownloadForecast,
    Forecast,
    Paces,
    read_paces,
    write_paces,
)

FRAMES = 40


def reports(slower: float = 1.0) -> Iterator[tuple[float, Progress]]:
    """What a run tells, by its clock, when each stage takes `slower` times what is expected of it."""
    now = 0.0
    for stage, seconds in Paces().expected(FRAMES).items():
        steps = FRAMES if stage == "Animating" else 0
        for step in range(max(steps, 10)):
            yield now, Progress(stage, step if steps else 0, steps)
            now += slower * seconds / max(steps, 10)


@pytest.mark.parametrize("slower", [0.3, 1.0, 4.0])
def test_the_bar_never_goes_back_and_the_estimate_falls(slower: float) -> None:
    forecast = Forecast(Paces().expected(FRAMES))
    shares, left = [], []
    for now, progress in reports(slower):
        forecast.update(progress, now)
        shares.append(forecast.share)
        left.append(forecast.seconds_left)
    assert shares == sorted(shares) and shares[0] >= 0 and shares[-1] <= 1.0
    rises = sum(later > sooner for sooner, later in pairwise(left))
    assert rises <= (0 if slower <= 1 else 8), "it is raised only when it was far off"
    assert left[-1] < 0.1 * left[0] + 1.0
    forecast.finish(now)
    assert (forecast.share, forecast.seconds_left) == (1.0, 0.0)


def test_at_the_expected_pace_the_estimate_is_right_all_along() -> None:
    total = sum(Paces().expected(FRAMES).values())
    forecast = Forecast(Paces().expected(FRAMES))
    for now, progress in reports():
        forecast.update(progress, now)
        assert forecast.seconds_left == pytest.approx(total - now, abs=0.05 * total + 0.5)
        assert forecast.share == pytest.approx(now / total, abs=0.06)


def test_the_next_run_is_expected_to_take_what_the_last_one_took(tmp_path: Path) -> None:
    forecast = Forecast(Paces().expected(FRAMES))
    for now, progress in reports(2.0):
        forecast.update(progress, now)
    forecast.finish(2.0 * sum(Paces().expected(FRAMES).values()))
    path = tmp_path / "new" / "paces.json"
    write_paces(path, "flow_transfer cpu", Paces().learned(forecast.taken, FRAMES))
    learned = read_paces(path, "flow_transfer cpu")
    assert sum(learned.expected(10).values()) == pytest.approx(2 * sum(Paces().expected(10).values()), rel=0.01)
    assert read_paces(path, "fomm cuda") == Paces()
    write_paces(path, "fomm cuda", Paces({"Animating": 0.1}))
    assert read_paces(path, "flow_transfer cpu") == learned


@pytest.mark.parametrize("damaged", ["", "[]", '{"a": 3}', '{"a": {"Animating": "x"}}', '{"a": {"Animating": -1}}'])
def test_paces_that_can_not_be_read_are_those_of_the_documentation(tmp_path: Path, damaged: str) -> None:
    path = tmp_path / "paces.json"
    path.write_text(damaged)
    assert sum(read_paces(path, "a").expected(5).values()) == sum(Paces().expected(5).values())


def test_a_stage_that_nobody_expected_and_frames_that_were_kept_do_no_harm() -> None:
    forecast = Forecast(Paces().expected(FRAMES))
    forecast.update(Progress("Something else", 0, 0), 0.0)
    forecast.update(Progress("Animating", 35, FRAMES), 1.0)
    assert forecast.resumed and 0 <= forecast.share <= 1
    forecast.update(Progress("Animating", 36, FRAMES), 2.0)
    assert forecast.seconds_left is not None and forecast.seconds_left < 20
    assert set(Paces().expected(1)) == set(ORDER)


def test_a_run_that_tells_its_first_batch_when_it_is_done_teaches_its_pace_all_the_same() -> None:
    forecast = Forecast(Paces().expected(FRAMES))
    for done in range(4, FRAMES + 1, 4):
        forecast.update(Progress("Animating", done, FRAMES), 0.5 * done)
    forecast.finish(0.5 * FRAMES)
    assert not forecast.resumed and forecast.taken["Animating"] == pytest.approx(0.5 * FRAMES)


def test_an_installation_has_one_bar_and_a_time_over_all_its_downloads() -> None:
    forecast, now = DownloadForecast(), 0.0
    shares, left = [], []
    for stage, megabytes in (("Looking for a Python", range(0)), ("Downloading torch (MB)", range(0, 200, 4)),
                             ("Installing torch", range(0)), ("Downloading av (MB)", range(200, 500, 4))):  # fmt: skip
        for come in megabytes or [0] * 20:
            now += 1.0
            forecast.update(Progress(stage, come, 500 if megabytes else 0), now)
            shares.append(forecast.share)
            left.append(forecast.seconds_left)
    assert left[15] is None and shares == sorted(shares) and shares[-1] < 1.0
    known = [each for each in left if each is not None]
    assert known[0] == pytest.approx(125 + 30, rel=0.1), "4 MB a second, then it is unpacked"
    assert sum(later > sooner for sooner, later in pairwise(known)) <= 1 and known[-1] < 60


def test_a_forecast_of_controls_measured_after_a_long_look_is_right_too() -> None:
    forecast = Forecast({"Measuring the rig": 4.0})
    forecast.update(Progress("Measuring the rig", 0, 0), 0.0)
    for done in range(1, 11):
        forecast.update(Progress("Measuring the rig", done, 52), 9.0 + 0.1 * done)
    assert forecast.seconds_left == pytest.approx(42 * 0.1, abs=1.0)
