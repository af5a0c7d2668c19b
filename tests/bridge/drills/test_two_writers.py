# SPDX-License-Identifier: GPL-3.0-or-later
"""Two runs, or a run and a capture, want the same folder: one waits outside, and neither spoils the other's work."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from magplus.backend_bridge.files import whole
from magplus.backend_bridge.files.errors import ExitCode, InUseError
from magplus.backend_bridge.job import artefacts
from magplus.backend_bridge.job.artefacts import FRAMES
from magplus.backend_bridge.job.folder import JobFolder
from tests.bridge.drills.a_run import TIMES, contents, in_process, make_job, results, run, run_here

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks")


def held_by_another(path: Path, until: Path) -> int:
    """Be another process that has the folder until a file is there."""
    child = os.fork()
    if child == 0:
        with JobFolder.open(path).lock():
            Path(f"{until}.held").touch()
            while not until.exists():
                time.sleep(0.005)
        os._exit(0)
    while not Path(f"{until}.held").exists():
        time.sleep(0.005)
    return child


def test_every_writer_is_kept_out_while_a_run_has_the_folder(tmp_path: Path) -> None:
    job = make_job(tmp_path / "job.magplus").path
    assert run(job, tmp_path / "record").status == ExitCode.OK
    until = tmp_path / "done"
    child = held_by_another(job, until)
    before = contents(job)
    folder = JobFolder.open(job)
    writers = {
        "a capture": lambda: JobFolder.create(job).write(artefacts.AVATAR_IMAGE, b"another picture"),
        "a new order": lambda: folder.write_spec(folder.read_spec()),
        "an import": lambda: folder.repeat([FRAMES.unit(0)], artefacts.at_rate(25)),
        "a bake": lambda: folder.write(artefacts.BAKE, b"{}"),
        "a run": lambda: folder.commit(FRAMES.unit(0), b"x"),
        "clearing up": lambda: folder.keep_only(FRAMES, 0),
    }
    for what, write in writers.items():
        with pytest.raises(InUseError, match=f"is in use by another run .*process {child}.*wait for it"):
            write()
            pytest.fail(f"{what} was let in")
    ended = run(job, tmp_path / "record")
    assert ended.status == ExitCode.IN_USE and "in use by another run" in ended.output
    assert folder.in_use
    assert contents(job) == before
    until.touch()
    os.waitpid(child, 0)
    assert not folder.in_use
    assert run(job, tmp_path / "record").status == ExitCode.OK


def test_two_runs_at_once_leave_what_one_leaves(tmp_path: Path) -> None:
    twin = make_job(tmp_path / "undisturbed.magplus").path
    assert run(twin, tmp_path / "record").status == ExitCode.OK
    for number in range(4 * TIMES):
        job = make_job(tmp_path / f"job {number}.magplus").path
        child = os.fork()
        if child == 0:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            os._exit(run_here(job)[0])
        here = in_process(lambda job=job: run_here(job)[0], tmp_path / "record").status
        there = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert {here, there} <= {ExitCode.OK, ExitCode.IN_USE} and ExitCode.OK in (here, there)
        assert results(job) == results(twin)


def test_whoever_takes_the_lock_leaves_the_files_that_another_is_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(tmp_path / "job.magplus").path
    flushed, go_on = threading.Event(), threading.Event()

    def slowly(descriptor: int, flush: object = whole.flush) -> None:
        flushed.set()
        go_on.wait(5)
        os.fsync(descriptor)

    monkeypatch.setattr(whole, "flush", slowly)
    writer = threading.Thread(target=JobFolder.open(job).write, args=(artefacts.BAKE, b"a record"))
    writer.start()
    flushed.wait(5)
    with pytest.raises(InUseError), JobFolder.open(job).lock():
        pass
    go_on.set()
    writer.join()
    with JobFolder.open(job).lock():
        assert (job / artefacts.BAKE).read_bytes() == b"a record"


def test_the_lock_is_free_again_however_its_holder_dies(tmp_path: Path) -> None:
    job = make_job(tmp_path / "job.magplus").path
    for _ in range(3):
        child = held_by_another(job, tmp_path / "never")
        os.kill(child, 9)
        os.waitpid(child, 0)
        (tmp_path / "never.held").unlink()
        assert run(job, tmp_path / "record").status == ExitCode.OK
