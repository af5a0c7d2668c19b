# SPDX-License-Identifier: GPL-3.0-or-later
"""The time left of a stage is told when enough of its steps are known, and by those alone."""

from __future__ import annotations

import pytest

from magplus.backend_bridge.worker import command_line
from magplus.backend_bridge.worker_client.messages import Progress
from magplus.backend_bridge.worker_client.pace import Pace, followed


def told(steps: list[tuple[float, Progress]]) -> list[float | None]:
    """The time left after each of these reports, of a run that is only known by them."""
    pace, last, left = None, None, []
    for now, progress in steps:
        pace, last = followed(pace, last, progress, now), progress
        left.append(pace.seconds_left(progress, now))
    return left


def test_the_time_left_comes_from_the_work_of_this_run() -> None:
    resumed_at_60 = Pace(began=100.0, done=60, begun=True)
    assert resumed_at_60.seconds_left(Progress("Animating", 60, 100), now=110.0) is None
    assert resumed_at_60.seconds_left(Progress("Animating", 80, 100), now=110.0) == pytest.approx(10.0)
    assert resumed_at_60.seconds_left(Progress("Animating", 66, 100), now=100.2) is None, "too early to tell"
    assert resumed_at_60.seconds_left(Progress("Animating", 100, 100), now=110.0) is None


def test_no_time_left_is_told_by_what_a_stage_did_before_it_counted_nor_by_its_first_steps() -> None:
    looked = [(0.0, Progress("Measuring the rig", 0, 0)), (9.0, Progress("Measuring the rig", 0, 0))]
    counted = [(10.0 + 2.0 * done, Progress("Measuring the rig", done, 52)) for done in range(1, 53)]
    left = told(looked + counted)
    assert left[:6] == [None] * 6, "9 s of looking, and the first controls"
    assert left[6:-1] == pytest.approx([2.0 * (52 - done) for done in range(5, 52)]) and left[-1] is None


def test_a_stage_that_counts_anew_has_a_pace_anew() -> None:
    first = [(float(done), Progress("Bringing the face to rest", done, 20)) for done in range(21)]
    again = [(20.0 + 0.5 * done, Progress("Bringing the face to rest", done, 20)) for done in range(21)]
    assert told(first + again)[21 + 10] == pytest.approx(5.0)


def test_on_the_terminal_too_no_time_left_is_told_by_a_first_step(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(command_line.time, "monotonic", lambda: now[0])
    console = command_line.Console()
    for seconds, done in ((0.0, 0), (20.0, 1), (22.0, 2), (24.0, 3), (26.0, 4)):
        now[0] = seconds
        console.show(Progress("animate", done, 52))
    told = [line.partition(", ")[2] for line in capfd.readouterr().err.splitlines()]
    assert told == ["", "", "", "", "96 s left"], "the first frame loaded what the others find there"
