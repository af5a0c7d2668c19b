# SPDX-License-Identifier: GPL-3.0-or-later
"""The manager with the real worker process, whose pipeline behaves as badly as the test wants."""

from __future__ import annotations

import functools
import importlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import bpy
import pytest

from magplus.tests.bridge.worker import misbehaviour
from magplus.tests.bridge.worker.misbehaviour import Misbehaviour

SCRIPTED_WORKER = Path(__file__).resolve().parents[2] / "bridge" / "worker" / "scripted_worker.py"


@pytest.fixture
def jobs(extension: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module with the manager, which starts the scripted worker; nothing is running before and after."""
    module = importlib.import_module(f"{extension}.operators.running.job_manager")
    monkeypatch.setattr(module, "WorkerClient", functools.partial(module.WorkerClient, script=SCRIPTED_WORKER))
    module.manager.close()
    module.manager.outcomes.clear()
    yield module
    module.manager.close()
    module.manager.outcomes.clear()


@pytest.fixture
def bridge(extension: str) -> Callable[[str], ModuleType]:
    return lambda name: importlib.import_module(f"{extension}.backend_bridge.{name}")


@pytest.fixture
def animate(extension: str) -> ModuleType:
    return importlib.import_module(f"{extension}.operators.animate")


@pytest.fixture
def job(tmp_path: Path, bridge: Callable[[str], ModuleType]) -> Callable[[str], Any]:
    """Makes a job folder whose job misbehaves after three of its five frames."""

    def make(do: Misbehaviour = misbehaviour.nothing) -> Any:
        folder = bridge("job.folder").JobFolder.create(tmp_path / "shot.magplus")
        spec = bridge("job.spec")
        options = {"do": do.__name__}
        folder.write_spec(spec.JobSpec(spec.Driving("clip.mp4"), spec.Avatar("avatar.png"), backend_options=options))
        return folder

    return make


@pytest.fixture
def task(jobs: ModuleType, animate: ModuleType) -> Callable[[Any], Callable[[Any], Any]]:
    """The part of a run that concerns the worker, as a task."""

    def make(folder: Any) -> Callable[[Any], Any]:
        def steps(context: Any) -> Any:
            context.folder, context.log = folder.path, folder.log_path
            yield from animate.run_worker(worker_of(jobs), folder, context)
            return jobs.Outcome("Done.")

        return steps

    return make


def worker_of(jobs: ModuleType) -> Any:
    """The client of the worker that `task` runs its jobs in."""
    return jobs.manager.worker(Path(sys.executable), 1.0)


def pump(jobs: ModuleType, until: Callable[[], bool], limit: float = 20.0) -> float:
    """Do what Blender's timer does, until something is true; returns the seconds it took."""
    began = time.monotonic()
    while not until():
        assert time.monotonic() - began < limit, f"still {jobs.manager.progress} after {limit} s"
        jobs.pump()
        time.sleep(0.01)
    return time.monotonic() - began


def test_a_job_runs_to_its_end(jobs: ModuleType, job: Any, task: Any) -> None:
    seen = []
    outcome = jobs.manager.run("test", task(job()), seen.append)
    assert (outcome.status, outcome.sentence, int(outcome.exit_code)) == (jobs.Status.FINISHED, "Done.", 0)
    assert seen[0].stage == "Starting the worker"
    assert not jobs.manager.busy


def test_the_worker_stays_for_the_next_job(jobs: ModuleType, job: Any, task: Any) -> None:
    folder = job()
    for number in (1, 2):
        jobs.manager.run("test", task(folder))
        assert folder.read_report().versions["jobs"] == str(number)


def test_another_python_is_another_worker(jobs: ModuleType, tmp_path: Path) -> None:
    first = jobs.manager.worker(Path(sys.executable), 1.0)
    assert jobs.manager.worker(Path(sys.executable), 1.0) is first
    assert jobs.manager.worker(tmp_path / "python", 1.0) is not first


@pytest.mark.parametrize(
    ("do", "exit_code", "message"),
    [
        (misbehaviour.find_no_face, 2, "No face was found in clip.mp4; choose another video."),
        (misbehaviour.run_out_of_memory, 3, "ran out of memory"),
        (misbehaviour.fill_the_disk, 3, "is full"),
        (misbehaviour.import_what_is_missing, 3, "can't load a package"),
        (misbehaviour.divide_by_zero, 1, "ZeroDivisionError"),
        (misbehaviour.segfault, 3, "crashed"),
        (misbehaviour.die, 3, "killed"),
    ],
)
def test_a_job_that_fails_leaves_a_sentence_and_a_log(
    jobs: ModuleType, job: Any, task: Any, do: Misbehaviour, exit_code: int, message: str
) -> None:
    folder = job(do)
    outcome = jobs.manager.run("test", task(folder))
    assert outcome.status is jobs.Status.FAILED
    assert outcome.exit_code == exit_code
    assert message in outcome.sentence and outcome.sentence.count("\n") == 0
    assert outcome.log is not None and outcome.log.exists()
    assert outcome.folder == folder.path


def test_a_job_that_another_run_has_fails_without_that_runs_log(jobs: ModuleType, job: Any, task: Any) -> None:
    folder = job()
    with folder.lock():
        folder.log_path.write_text("What the other run says.")
        outcome = jobs.manager.run("test", task(folder))
    assert outcome.exit_code == 5 and "is in use by another run" in outcome.sentence
    assert outcome.log is None
    assert jobs.manager.run("test", task(folder)).status is jobs.Status.FINISHED


def test_a_worker_that_is_killed_harms_neither_blender_nor_the_next_run(jobs: ModuleType, job: Any, task: Any) -> None:
    folder = job(misbehaviour.wait_politely)
    jobs.manager.start("test", task(folder))
    pump(jobs, lambda: jobs.manager.progress is not None and jobs.manager.progress.done == 3)
    os.kill(worker_of(jobs).pid, signal.SIGKILL)
    pump(jobs, lambda: not jobs.manager.busy)
    outcome = jobs.manager.outcomes["test"]
    assert outcome.status is jobs.Status.FAILED and "killed" in outcome.sentence
    job()
    assert jobs.manager.run("test", task(folder)).status is jobs.Status.FINISHED
    assert folder.read_report().versions["made"] == "2", "the three frames of the killed run are not made again"


@pytest.mark.parametrize("do", [misbehaviour.wait_politely, misbehaviour.sleep, misbehaviour.hold_the_interpreter])
def test_cancel_takes_effect_within_a_second_whatever_the_worker_does(
    jobs: ModuleType, job: Any, task: Any, do: Misbehaviour
) -> None:
    folder = job(do)
    jobs.manager.start("test", task(folder))
    pump(jobs, lambda: jobs.manager.progress is not None and jobs.manager.progress.done == 3)
    assert bpy.ops.magplus.cancel() == {"FINISHED"}
    assert jobs.manager.cancelling and not bpy.ops.magplus.cancel.poll()
    assert pump(jobs, lambda: not jobs.manager.busy) < 1.5
    assert jobs.manager.outcomes["test"].status is jobs.Status.CANCELLED
    assert jobs.manager.outcomes["test"].exit_code == 4
    job()
    jobs.manager.run("test", task(folder))
    assert folder.read_report().versions["made"] == "2"


def test_a_cancel_at_the_very_end_says_that_the_result_is_there(
    jobs: ModuleType, animate: ModuleType, bridge: Any, job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, avatar = job(), bridge("job.spec").Avatar("avatar.png")

    def captured(*_: Any) -> Any:
        yield jobs.Progress("Rendering the avatar", 0, 0)
        return avatar

    monkeypatch.setattr(animate, "_capture", captured)
    monkeypatch.setattr(animate, "asks_for_more", lambda _: False)  # what the worker here is told to do is no option
    order = SimpleNamespace(
        folder=folder.path, spec=folder.read_spec(), replaces=False, python=Path(sys.executable), idle_minutes=1.0
    )
    jobs.manager.start("animate", animate.animate(order))
    pump(jobs, lambda: jobs.manager.progress is not None and jobs.manager.progress.stage.startswith("Bringing"))
    jobs.manager.cancel()
    pump(jobs, lambda: not jobs.manager.busy)
    assert jobs.manager.outcomes["animate"].status is jobs.Status.CANCELLED
    assert "Import Finished Job" in jobs.manager.outcomes["animate"].sentence


def test_warnings_are_kept_once(jobs: ModuleType, job: Any, task: Any) -> None:
    assert jobs.manager.run("test", task(job(misbehaviour.warn_twice))).warnings == ("The face is missing at 0.12 s.",)


def test_a_job_goes_on_while_another_file_is_loaded(jobs: ModuleType, job: Any, task: Any) -> None:
    jobs.manager.start("test", task(job()))
    pump(jobs, lambda: jobs.manager.progress is not None)
    assert jobs.manager.busy
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    assert bpy.app.timers.is_registered(jobs.pump)
    pump(jobs, lambda: not jobs.manager.busy)
    assert jobs.manager.outcomes["test"].status is jobs.Status.FINISHED


def test_only_one_task_runs_at_a_time(jobs: ModuleType, job: Any, task: Any) -> None:
    jobs.manager.start("test", task(job(misbehaviour.wait_politely)))
    with pytest.raises(RuntimeError, match="already running"):
        jobs.manager.start("test", task(job()))


def test_closing_ends_the_worker_with_its_job(jobs: ModuleType, job: Any, task: Any) -> None:
    jobs.manager.start("test", task(job(misbehaviour.wait_politely)))
    pump(jobs, lambda: jobs.manager.progress is not None and jobs.manager.progress.done == 3)
    process = worker_of(jobs).pid
    jobs.manager.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    assert not bpy.app.timers.is_registered(jobs.pump)
    assert jobs.manager.outcomes["test"].status is jobs.Status.CANCELLED


def test_a_task_knows_whether_blender_waits_for_it(jobs: ModuleType) -> None:
    blocking = []

    def body(task: Any) -> Any:
        blocking.append(task.blocking)
        yield jobs.Progress("looking", 0, 0)
        return jobs.Outcome("Done.")

    manager = jobs.JobManager()
    manager.run("waited for", body)
    manager.start("beside", body)
    bpy.app.timers.unregister(jobs.pump)
    while manager.busy:
        manager.advance()
    assert blocking == [True, False]


def test_a_part_of_larger_work_yields_its_own_step_and_gets_the_cancel(extension: str) -> None:
    steps = importlib.import_module(f"{extension}.operators.running.steps")
    raised = []

    def part() -> Iterator[str]:
        try:
            yield "a detail"
            yield "another"
        except ValueError as error:
            raised.append(str(error))
            raise
        return "done"

    labels: list[str] = []
    assert steps.run_to_end(steps.told_as("frame 1 of 8", part()), labels.append) == "done"
    assert labels == ["frame 1 of 8"] * 2
    work = steps.told_as("frame 1 of 8", part())
    next(work)
    with pytest.raises(ValueError, match="stop"):
        work.throw(ValueError("stop"))
    assert raised == ["stop"]


def test_a_turn_is_over_before_the_next_piece_would_make_it_too_long(
    extension: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = importlib.import_module(f"{extension}.operators.running.steps")
    clock = [0.0]
    monkeypatch.setattr(steps.time, "monotonic", lambda: clock[0])
    turn = steps.Turn()
    over = []
    for piece in (0.01, 0.01, 0.02, 0.001):
        clock[0] += piece
        over.append(turn.is_over())
    assert over == [False, False, True, True], "40 ms are gone, and another 20 might come"
    turn.begin()
    clock[0] += 0.01
    assert not turn.is_over()


def test_a_turn_is_as_long_as_blenders_own_where_that_is_long(extension: str, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = importlib.import_module(f"{extension}.operators.running.steps")
    clock = [0.0]
    monkeypatch.setattr(steps.time, "monotonic", lambda: clock[0])
    for pause, pieces in ((0.0, 4), (0.1, 4), (0.3, 29), (9.0, 99)):
        turn = steps.Turn()
        clock[0] += pause
        turn.begin()
        taken = 0
        while not turn.is_over():
            clock[0] += 0.01
            taken += 1
        assert taken == pytest.approx(pieces, abs=1), f"of 10 ms, after a pause of {pause} s"


def test_a_fault_of_our_own_becomes_a_sentence(jobs: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    def faulty(_context: Any) -> Any:
        yield jobs.Progress("Starting", 0, 0)
        raise KeyError("nothing here")

    outcome = jobs.manager.run("test", faulty)
    assert outcome.status is jobs.Status.FAILED and outcome.exit_code == 1
    assert "KeyError" in outcome.sentence
    assert "Traceback" in capsys.readouterr().err


def test_a_notice_of_the_end_waits_in_the_status_bar_until_it_is_dismissed(extension: str) -> None:
    jobs = importlib.import_module(f"{extension}.operators.running.job_manager")
    status_bar = importlib.import_module(f"{extension}.magplus_addon.status_bar")
    assert status_bar.announce in jobs.manager.on_end

    def quick(_task: object) -> Any:
        yield jobs.Progress("Animating", 1, 2)
        return jobs.Outcome("Imported 5 frames.")

    drawn = importlib.import_module("tests.blender.test_addon").Layout()
    jobs.manager.start("quick", quick)
    jobs.pump()
    status_bar.draw_status(SimpleNamespace(layout=drawn), bpy.context)
    assert "Animating 1/2" in drawn.drawn and "magplus.cancel" in drawn.drawn
    jobs.pump()
    status_bar.draw_status(SimpleNamespace(layout=drawn), bpy.context)
    assert "MagPlus: Imported 5 frames." in drawn.drawn and "magplus.dismiss" in drawn.drawn
    assert bpy.ops.magplus.dismiss() == {"FINISHED"} and jobs.manager.notice is None
    jobs.manager.start("quick", quick)
    jobs.pump()
    jobs.manager.cancel()
    jobs.pump()
    assert jobs.manager.notice is None, "who cancels knows"
    assert jobs.manager.run("quick", quick).sentence and jobs.manager.notice is None, "nor who waits for it"
    jobs.manager.outcomes.clear()
