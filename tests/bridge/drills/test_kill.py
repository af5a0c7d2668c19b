# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that is killed, or refused by the disk, at each of its steps: the next one ends it, and nothing is lost."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from magplus.backend_bridge.files.errors import ExitCode
from magplus.backend_bridge.job import artefacts
from magplus.backend_bridge.job.folder import JobFolder
from tests.bridge.drills.a_run import (
    COUNT,
    FINGERPRINT,
    FRAMES,
    TIMES,
    before_step,
    content,
    contents,
    make_job,
    results,
    run,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks")
EVERY = 1 if TIMES > 1 else 5  # of the steps, those that CI disturbs
MINE = {"frames/000007.png": b"my own render", "notes.txt": b"mine", "frames/.writing-notes": b"mine, too"}


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job in whose folder a person keeps files of his own."""
    folder = make_job(tmp_path / "job.magplus")
    (folder.path / "frames").mkdir()
    for name, data in MINE.items():
        (folder.path / name).write_bytes(data)
    return folder.path


@pytest.fixture
def undisturbed(tmp_path: Path, job: Path) -> dict[str, bytes]:
    twin = shutil.copytree(job, tmp_path / "undisturbed.magplus")
    assert run(twin, tmp_path / "record").status == ExitCode.OK
    made = results(twin)
    assert {FRAMES.unit(COUNT - 1), "frames_30fps/000004.png", "weights.npz", "report.json"} <= made.keys()
    return made


def finished(path: Path) -> set[str]:
    folder = JobFolder(path)
    return {FRAMES.unit(index) for index in range(COUNT) if folder.finished(FRAMES.unit(index), FINGERPRINT)}


def half_written(path: Path) -> list[str]:
    """Files under a name of their own whose bytes are not those of a whole one."""
    units = [FRAMES.unit(index) for index in range(COUNT)]
    there = contents(path)
    return [unit for unit in units if unit in there and there[unit] != content(unit)]


def test_a_run_that_is_killed_at_any_step_is_finished_by_the_next(
    tmp_path: Path, job: Path, undisturbed: dict[str, bytes]
) -> None:
    step, ended, done = 0, None, set[str]()
    while ended is None or ended.status == -signal.SIGKILL:
        victim = shutil.copytree(job, tmp_path / f"killed at {step}.magplus")
        ended = run(
            victim,
            tmp_path / "record",
            lambda step=step: before_step(step, lambda _: os.kill(os.getpid(), signal.SIGKILL)),
        )
        assert half_written(victim) == [], f"killed before step {step}"
        assert finished(victim) >= done, f"a frame that was finished before step {step} is no longer"
        done = finished(victim)
        again = run(victim, tmp_path / "record")
        assert (again.status, again.hung) == (ExitCode.OK, False), again.output
        assert results(victim) == undisturbed, f"killed before step {step}"
        shutil.rmtree(victim)
        step += EVERY
    assert ended.status == ExitCode.OK and step > 50


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "is full"), (errno.EIO, "reports an error"), (errno.ENOENT, "is gone")],
)
def test_a_disk_that_refuses_at_any_step_is_a_sentence_and_costs_nothing(
    tmp_path: Path, job: Path, undisturbed: dict[str, bytes], number: int, words: str
) -> None:
    def refuse(_name: str) -> None:
        raise OSError(number, os.strerror(number))

    step, ended = number % EVERY, None
    while ended is None or ended.status != ExitCode.OK or step < 50:
        victim = shutil.copytree(job, tmp_path / f"refused at {step}.magplus")
        ended = run(victim, tmp_path / "record", lambda step=step: before_step(step, refuse))
        assert ended.status in (ExitCode.OK, ExitCode.MACHINE), (step, ended)
        assert "Traceback" not in ended.output and not ended.hung
        if ended.status == ExitCode.MACHINE:
            assert words in ended.output, (step, ended)
        assert half_written(victim) == []
        assert {name: data for name, data in contents(victim).items() if name in MINE} == MINE
        again = run(victim, tmp_path / "record")
        assert again.status == ExitCode.OK, again.output
        assert results(victim) == undisturbed, f"refused at step {step}"
        shutil.rmtree(victim)
        step += EVERY if TIMES > 1 else 5 * EVERY
        assert step < 1000


def test_what_a_person_changed_in_the_result_is_kept_beside_it(tmp_path: Path, job: Path) -> None:
    assert run(job, tmp_path / "record").status == ExitCode.OK
    for name in (FRAMES.unit(1), "frames_30fps/000002.png", artefacts.WEIGHTS, artefacts.REPORT):
        (job / name).unlink()  # as most programs save; frames at the scene's rate are links to the others
        (job / name).write_bytes(b"retouched by hand")
    (job / "frames_30fps/000009.png").write_bytes(b"mine")
    assert run(job, tmp_path / "record").status == ExitCode.OK
    kept = [data for name, data in contents(job).items() if name.startswith(artefacts.SET_ASIDE)]
    assert kept == [b"retouched by hand"] * 4
    assert (job / FRAMES.unit(1)).read_bytes() == content(FRAMES.unit(1))
    assert (job / "frames_30fps/000009.png").read_bytes() == b"mine"
    [*_, output] = JobFolder(job).read_report().warnings
    assert "was not what MagPlus had written; it was kept as set_aside/" in output


def test_a_finished_result_outlives_a_run_that_fails_before_it_changed_anything(tmp_path: Path, job: Path) -> None:
    assert run(job, tmp_path / "record").status == ExitCode.OK
    before = (job / artefacts.REPORT).read_bytes()
    (job / artefacts.SPEC).write_bytes(b"{}")
    assert run(job, tmp_path / "record").status == ExitCode.BAD_INPUT
    assert (job / artefacts.REPORT).read_bytes() == before
