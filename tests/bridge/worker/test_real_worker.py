# SPDX-License-Identifier: GPL-3.0-or-later
"""The real worker, in its own environment, doing real jobs for a Python that has none of its packages."""

from __future__ import annotations

import dataclasses
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from magplus.backend_bridge.environment.probe import probe
from magplus.backend_bridge.files.errors import ExitCode
from magplus.backend_bridge.job.folder import JobFolder
from magplus.backend_bridge.job.spec import Avatar, Driving, JobSpec
from magplus.backend_bridge.worker_client.answers import answer_of
from magplus.backend_bridge.worker_client.client import WORKER_SCRIPT, WorkerClient
from magplus.backend_bridge.worker_client.messages import Cancelled, Error, Hello, Message, Progress, Result
from magplus.backend_bridge.worker_client.process import python_command
from tests.assets import CLIP, PORTRAIT, media, worker_python

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media(CLIP, tmp_path_factory.mktemp("media") / "clip.mp4")


@pytest.fixture
def job(tmp_path: Path, clip: Path) -> JobFolder:
    folder = JobFolder.create(tmp_path / "Grübchen.magplus")
    media(PORTRAIT, folder.avatar_dir / "avatar.png")
    folder.write_spec(JobSpec(Driving(str(clip), trim=(0.0, 0.33)), Avatar("avatar/avatar.png"), device="cpu"))
    return folder


@pytest.fixture
def client(tmp_path: Path) -> Iterator[WorkerClient]:
    client = WorkerClient(worker_python(), tmp_path / "worker.log")
    yield client
    client.close()


def run(client: WorkerClient, folder: JobFolder, cancel_at: str = "") -> tuple[list[Message], float]:
    """Run a job; return its messages and the seconds from the cancel to its end."""
    client.start_job(folder.path)
    seen: list[Message] = []
    cancelled_at = 0.0
    while not any(isinstance(message, (Result, Error, Cancelled)) for message in seen):
        seen += client.poll(0.05)
        if cancel_at and not cancelled_at and any(getattr(message, "stage", "") == cancel_at for message in seen):
            cancelled_at = time.perf_counter()
            client.cancel()
    return seen, time.perf_counter() - cancelled_at


def test_a_job_is_done_and_the_next_one_finds_the_models_loaded(client: WorkerClient, job: JobFolder) -> None:
    seen, _ = run(client, job)
    assert isinstance(seen[-1], Result)
    stages = list(dict.fromkeys(message.stage for message in seen if isinstance(message, Progress)))
    assert stages == ["start", "face", "steady", "measure", "animate"]
    report = job.read_report()
    assert report.status == "finished"
    assert len(list((job.path / "frames").glob("*.png"))) == report.frames.count == 8
    again, _ = run(client, job)
    assert isinstance(again[-1], Result) and not any(isinstance(message, Hello) for message in again)
    assert job.read_report().frames.resumed == 8


@pytest.mark.one_python
@pytest.mark.parametrize("stage", ["start", "face", "steady", "measure", "animate"])
def test_cancel_takes_effect_within_a_second_at_every_stage(client: WorkerClient, job: JobFolder, stage: str) -> None:
    spec = job.read_spec()
    longer = dataclasses.replace(spec.driving, trim=(0.0, 1.0))
    job.write_spec(dataclasses.replace(spec, driving=longer))
    seen, latency = run(client, job, cancel_at=stage)
    assert any(isinstance(message, Cancelled) for message in seen)
    assert latency < 1.5, "a second, and what a busy machine takes to tell us of it"
    assert job.read_report().status == "cancelled"


def test_a_video_that_is_not_there_is_the_users_to_mend(job: JobFolder) -> None:
    spec = job.read_spec()
    job.write_spec(dataclasses.replace(spec, driving=Driving("missing.mp4")))
    done = subprocess.run(
        python_command(worker_python(), WORKER_SCRIPT, "run", job.path), capture_output=True, text=True, check=False
    )
    assert done.returncode == ExitCode.BAD_INPUT
    assert "Error: " in done.stderr and "missing.mp4" in done.stderr and "Traceback" not in done.stderr
    assert job.read_report().error.exit_code == ExitCode.BAD_INPUT


@pytest.mark.one_python
def test_a_person_may_ask_what_a_video_is_by_its_path(clip: Path) -> None:
    facts = answer_of(worker_python(), "look", str(clip))
    assert (facts["width"], facts["height"], facts["rate"]) == (640, 360, "24000/1001")


@pytest.mark.parametrize("verb", ["look", "accepts"])
def test_a_question_that_is_no_json_is_a_wrong_call(verb: str) -> None:
    command = python_command(worker_python(), WORKER_SCRIPT, verb, "{half")
    answer = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert answer.returncode == ExitCode.BAD_INPUT
    assert "invalid" in answer.stderr and "Traceback" not in answer.stderr


def test_the_environment_is_as_tested() -> None:
    found = probe(worker_python())
    assert found.problems == () and found.remarks == ()
