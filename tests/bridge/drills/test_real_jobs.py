# SPDX-License-Identifier: GPL-3.0-or-later
"""The real worker on a real job, killed at some file or other: the next run leaves what an undisturbed one leaves."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from magplus.backend_bridge.files.errors import ExitCode
from magplus.backend_bridge.job.folder import JobFolder
from magplus.backend_bridge.job.spec import Avatar, Driving, JobSpec
from magplus.backend_bridge.worker_client.client import WORKER_SCRIPT
from magplus.backend_bridge.worker_client.process import python_command
from tests.assets import CLIP, PORTRAIT, media, worker_python
from tests.bridge.drills.a_run import SEED, TIMES, results

pytestmark = pytest.mark.slow


def command(job: Path) -> list[str]:
    return python_command(worker_python(), WORKER_SCRIPT, "run", job)


def made(job: Path) -> dict[str, bytes]:
    """What a run leaves, but for its report, which tells how many frames were resumed."""
    return {name: data for name, data in results(job).items() if name != "report.json"}


@pytest.mark.one_python
def test_a_real_job_that_is_killed_is_finished_by_the_next_run_bit_by_bit(tmp_path: Path) -> None:
    folder = JobFolder.create(tmp_path / "job.magplus")
    folder.write("avatar/avatar.png", media(PORTRAIT, tmp_path / "portrait.png").read_bytes())
    clip = media(CLIP, tmp_path / "clip.mp4")
    folder.write_spec(JobSpec(Driving(str(clip), trim=(0.0, 0.3)), Avatar("avatar/avatar.png"), device="cpu"))
    twin = shutil.copytree(folder.path, tmp_path / "undisturbed.magplus")
    assert subprocess.run(command(twin), check=False, capture_output=True).returncode == ExitCode.OK
    lines = (JobFolder(twin).path / "journal.jsonl").read_bytes().count(b"\n")
    draw = random.Random(SEED)
    for number in range(TIMES):
        victim = shutil.copytree(folder.path, tmp_path / f"killed {number}.magplus")
        journal = JobFolder(victim).path / "journal.jsonl"
        killed_at = draw.randint(5, lines - 2)
        with subprocess.Popen(command(victim), stderr=subprocess.DEVNULL) as worker:
            while worker.poll() is None and journal.read_bytes().count(b"\n") < killed_at:
                time.sleep(0.002)
            worker.kill()
        assert subprocess.run(command(victim), check=False, capture_output=True).returncode == ExitCode.OK
        assert made(victim) == made(twin), f"killed at line {killed_at} of the journal"


def test_a_person_s_own_frames_in_a_shots_folder_outlive_a_job_that_is_sent_there(tmp_path: Path) -> None:
    shot = tmp_path / "shot010"
    (shot / "frames").mkdir(parents=True)
    for name in ("0001.png", "000001.png", "beauty_0001.exr"):
        (shot / "frames" / name).write_text("my own render")
    done = subprocess.run(command(shot), check=False, capture_output=True, text=True)
    assert done.returncode == ExitCode.BAD_INPUT and "Traceback" not in done.stderr
    assert {path.name for path in shot.rglob("*")} == {"frames", "0001.png", "000001.png", "beauty_0001.exr"}
    assert {path.read_text() for path in (shot / "frames").iterdir()} == {"my own render"}
