# SPDX-License-Identifier: GPL-3.0-or-later
"""Real worker processes, driven as Blender drives them; only the pipeline inside is scripted."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import pytest

from magplus.backend_bridge.files.errors import ExitCode
from magplus.backend_bridge.job.artefacts import OF_CONTROLS, SHOT_APEX, WEIGHTS_CSV
from magplus.backend_bridge.job.folder import JobFolder
from magplus.backend_bridge.job.report import Failure
from magplus.backend_bridge.job.spec import Avatar, Driving, JobSpec
from magplus.backend_bridge.worker import command_line
from magplus.backend_bridge.worker.cancellation import Cancellation
from magplus.backend_bridge.worker.runner import JobRunner
from magplus.backend_bridge.worker_client import messages
from magplus.backend_bridge.worker_client.client import WORKER_SCRIPT, WorkerClient
from magplus.backend_bridge.worker_client.messages import Cancelled, Error, Exit, Hello, Message, Progress, Result
from magplus.tests.bridge.worker import misbehaviour
from magplus.tests.bridge.worker.misbehaviour import Misbehaviour
from magplus.tests.bridge.worker.scripted_worker import ScriptedPipeline

SCRIPT = Path(__file__).parent / "scripted_worker.py"
ENDINGS = (Result, Error, Cancelled)
CHECKOUT = Path(__file__).parents[3] / "checkout"
SLACK = 0.5  # seconds that a busy machine may take to tell us of an end that came within its second
posix = pytest.mark.skipif(sys.platform == "win32", reason="uses POSIX signals")


class MakeJob(Protocol):
    def __call__(self, what: Misbehaviour = misbehaviour.nothing) -> JobFolder: ...


@pytest.fixture
def make_job(tmp_path: Path) -> MakeJob:
    """Make a job folder in whose third frame the pipeline does what is asked."""

    def make(what: Misbehaviour = misbehaviour.nothing) -> JobFolder:
        folder = JobFolder.create(tmp_path / f"{what.__name__}.magplus")
        options = {"do": what.__name__}
        folder.write_spec(JobSpec(Driving("clip.mp4"), Avatar("avatar/avatar.png"), backend_options=options))
        return folder

    return make


@pytest.fixture
def client(tmp_path: Path) -> Iterator[WorkerClient]:
    client = WorkerClient(Path(sys.executable), tmp_path / "client" / "worker.log", script=SCRIPT)
    yield client
    client.close()


def follow(client: WorkerClient, until: Callable[[Message], bool], seconds: float = 20.0) -> list[Message]:
    """Poll until a message satisfies `until`; return all messages."""
    seen: list[Message] = []
    deadline = time.monotonic() + seconds
    while not any(map(until, seen)):
        assert time.monotonic() < deadline, f"nothing came; so far {seen}"
        seen += client.poll(0.05)
    return seen


def run(client: WorkerClient, folder: JobFolder) -> list[Message]:
    client.start_job(folder.path)
    return follow(client, lambda message: isinstance(message, ENDINGS))


def at_frame(number: int) -> Callable[[Message], bool]:
    return lambda message: isinstance(message, Progress) and message.done == number


def ending(seen: list[Message]) -> Message:
    [end] = [message for message in seen if isinstance(message, ENDINGS)]
    return end


def test_a_job_runs_and_says_how_far_it_is(client: WorkerClient, make_job: MakeJob) -> None:
    folder = make_job()
    seen = run(client, folder)
    hello, start, *progress, result = seen
    assert isinstance(hello, Hello)
    assert start == Progress("start", 0, 0)
    assert progress[0] == Progress("animate", 1, 5)
    assert progress[-1] == Progress("animate", 5, 5)
    assert result == Result(str(folder.report_path))
    assert folder.read_report().versions["made"] == "5"
    assert client.running and not client.busy


def test_models_stay_loaded_between_jobs(client: WorkerClient, make_job: MakeJob) -> None:
    first, second = make_job(), make_job(misbehaviour.warn_twice)
    run(client, first)
    seen = run(client, second)
    assert second.read_report().versions["jobs"] == "2", "the same session"
    assert not any(isinstance(message, Hello) for message in seen), "the same process"
    assert seen.count(messages.JobWarning("The face is missing at 0.12 s.")) == 1


def test_poll_never_waits_unless_asked(client: WorkerClient, make_job: MakeJob) -> None:
    started = time.perf_counter()
    client.start_job(make_job(misbehaviour.wait_politely).path)
    for _ in range(100):
        client.poll()
    client.cancel()
    assert time.perf_counter() - started < 2.0, "a hundred waits of the shortest kind take five seconds"
    follow(client, lambda message: isinstance(message, Cancelled))


def test_only_one_job_at_a_time(client: WorkerClient, make_job: MakeJob) -> None:
    client.start_job(make_job().path)
    with pytest.raises(RuntimeError, match="already has a job"):
        client.start_job(make_job(misbehaviour.print_a_lot).path)


def test_prints_of_libraries_go_to_the_jobs_log_and_never_into_the_protocol(
    client: WorkerClient, make_job: MakeJob
) -> None:
    folder = make_job(misbehaviour.print_a_lot)
    assert ending(run(client, folder)) == Result(str(folder.report_path))
    log = folder.log_path.read_text("utf-8")
    for line in ("a library says hello", "C code says hello", "表情", '"code": 7'):
        assert line in log


@pytest.mark.parametrize("what", [misbehaviour.wait_politely, misbehaviour.sleep, misbehaviour.hold_the_interpreter])
def test_cancel_takes_effect_within_a_second_whatever_the_job_is_doing(
    client: WorkerClient, make_job: MakeJob, what: Misbehaviour
) -> None:
    folder = make_job(what)
    client.start_job(folder.path)
    follow(client, at_frame(3))
    started = time.perf_counter()
    client.cancel()
    seen = follow(client, lambda message: isinstance(message, Cancelled))
    assert time.perf_counter() - started < 1.0 + SLACK
    assert ending(seen) == Cancelled()
    assert not client.busy
    assert (folder.path / "frames" / "000003.png").read_bytes() == b"frame 3", "what was finished stays"
    assert folder.read_report().status == "cancelled"
    folder.write_spec(JobSpec(Driving("clip.mp4"), Avatar("avatar/avatar.png")))
    assert ending(run(client, folder)) == Result(str(folder.report_path)), "the folder's lock is free again"
    report = folder.read_report()
    assert report.versions["made"] == "2", "only the two frames that were missing"
    heeded = what is misbehaviour.wait_politely
    assert report.versions["jobs"] == ("2" if heeded else "1"), "a job that stops by itself leaves the models loaded"


def test_a_cancel_that_comes_too_late_does_not_touch_the_next_job(client: WorkerClient, make_job: MakeJob) -> None:
    run(client, make_job())
    client.cancel()
    assert isinstance(ending(run(client, make_job(misbehaviour.print_a_lot))), Result)


@pytest.mark.parametrize(
    ("what", "exit_code", "sentence"),
    [
        (misbehaviour.find_no_face, ExitCode.BAD_INPUT, "No face was found"),
        (misbehaviour.run_out_of_memory, ExitCode.MACHINE, "The machine ran out of memory"),
        (misbehaviour.run_out_of_gpu_memory, ExitCode.MACHINE, "The graphics card ran out of memory"),
        (misbehaviour.meet_an_old_driver, ExitCode.MACHINE, "driver is too old"),
        (misbehaviour.fill_the_disk, ExitCode.MACHINE, "is full"),
        (misbehaviour.import_what_is_missing, ExitCode.MACHINE, "a_package_that_is_not_installed"),
        (misbehaviour.divide_by_zero, ExitCode.INTERNAL, "ZeroDivisionError"),
        (misbehaviour.exit_the_process, ExitCode.INTERNAL, "SystemExit"),
    ],
)
def test_a_failed_job_is_a_sentence_a_report_and_a_log_and_the_worker_lives_on(
    client: WorkerClient, make_job: MakeJob, what: Misbehaviour, exit_code: ExitCode, sentence: str
) -> None:
    folder = make_job(what)
    error = ending(run(client, folder))
    assert isinstance(error, Error)
    assert error.exit_code == exit_code
    assert sentence in error.sentence and "\n" not in error.sentence and "Traceback" not in error.sentence
    assert error.log == str(folder.log_path)
    assert "Traceback" in folder.log_path.read_text("utf-8")
    report = folder.read_report()
    assert (report.status, report.error) == ("failed", Failure(exit_code, error.sentence))
    assert isinstance(ending(run(client, make_job())), Result)


@posix
@pytest.mark.parametrize(
    ("what", "words"),
    [(misbehaviour.die, "memory ran out"), (misbehaviour.segfault, "crashed in native code")],
)
def test_a_dead_worker_is_a_sentence_and_the_next_run_resumes(
    client: WorkerClient, make_job: MakeJob, what: Misbehaviour, words: str
) -> None:
    folder = make_job(what)
    client.start_job(folder.path)
    seen = follow(client, lambda message: isinstance(message, Exit))
    error = ending(seen)
    assert isinstance(error, Error)
    assert words in error.sentence
    assert error.log == str(folder.log_path)
    assert folder.read_report().error == Failure(error.exit_code, error.sentence)
    assert not client.busy and not client.running
    folder.write_spec(JobSpec(Driving("clip.mp4"), Avatar("avatar/avatar.png")))
    assert isinstance(ending(run(client, folder)), Result)
    assert folder.read_report().versions["made"] == "2"
    if what is misbehaviour.segfault:
        assert "segfault" in folder.log_path.read_text("utf-8"), "the Python stack of the crash"


def test_a_worker_keeps_its_memory_for_the_next_job_of_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    given_back: list[float] = []
    monkeypatch.setattr(command_line, "BETWEEN_JOBS", 0.2)
    monkeypatch.setattr(command_line, "give_freed_memory_back", lambda: given_back.append(time.monotonic()))
    orders: queue.SimpleQueue[command_line.Order | None] = queue.SimpleQueue()
    first, late = (messages.Start("folder"), Cancellation()), (messages.Start("another"), Cancellation())
    orders.put(first)
    assert command_line.next_order(orders, 60.0) is first and not given_back
    threading.Timer(0.4, orders.put, [late]).start()
    assert command_line.next_order(orders, 60.0) is late and len(given_back) == 1, "the next one was long in coming"
    assert command_line.next_order(orders, 0.1) is None, "idle for longer than it may"


def test_an_idle_worker_leaves_and_the_next_job_gets_a_new_one(tmp_path: Path, make_job: MakeJob) -> None:
    client = WorkerClient(Path(sys.executable), tmp_path / "worker.log", idle_minutes=0.2 / 60, script=SCRIPT)
    run(client, make_job())
    assert follow(client, lambda message: isinstance(message, Exit))[-1] == Exit(0)
    assert not client.running
    assert isinstance(ending(run(client, make_job(misbehaviour.warn_twice))), Result)
    client.close()


def test_a_job_that_crosses_with_the_idle_exit_is_not_lost(tmp_path: Path, make_job: MakeJob) -> None:
    client = WorkerClient(Path(sys.executable), tmp_path / "worker.log", idle_minutes=0.2 / 60, script=SCRIPT)
    run(client, make_job())
    while client.running:  # it has left, but nobody has polled since
        time.sleep(0.01)
    assert isinstance(ending(run(client, make_job(misbehaviour.warn_twice))), Result)
    client.close()


def test_a_python_that_is_not_there_is_a_sentence(tmp_path: Path, make_job: MakeJob) -> None:
    client = WorkerClient(tmp_path / "nowhere" / "python", tmp_path / "worker.log")
    error = ending(run(client, make_job()))
    assert isinstance(error, Error)
    assert "can't be started" in error.sentence and error.exit_code == ExitCode.MACHINE
    client.close()


def test_a_worker_that_fails_to_start_is_a_sentence_with_the_reason(tmp_path: Path, make_job: MakeJob) -> None:
    broken = tmp_path / "broken_worker.py"
    broken.write_text("import a_package_that_is_not_installed")
    client = WorkerClient(Path(sys.executable), tmp_path / "worker.log", script=broken)
    error = ending(run(client, make_job()))
    assert isinstance(error, Error)
    assert "could not start" in error.sentence and "No module named 'a_package" in error.sentence
    assert "Traceback" in Path(error.log).read_text("utf-8")
    client.close()


def test_a_folder_that_is_no_job_is_a_sentence(client: WorkerClient, tmp_path: Path) -> None:
    client.start_job(tmp_path / "missing.magplus")
    error = ending(follow(client, lambda message: isinstance(message, Error)))
    assert isinstance(error, Error)
    assert error.exit_code == ExitCode.BAD_INPUT and "no job folder" in error.sentence
    assert not error.log, "a job that was refused has none"


def test_a_damaged_job_leaves_a_report(client: WorkerClient, make_job: MakeJob) -> None:
    folder = make_job()
    folder.spec_path.write_text('{"schema": 2}')
    error = ending(run(client, folder))
    assert isinstance(error, Error) and error.exit_code == ExitCode.BAD_INPUT
    assert folder.read_report().status == "failed"


def test_a_folder_in_use_is_left_alone(client: WorkerClient, make_job: MakeJob) -> None:
    folder = make_job()
    with folder.lock():
        error = ending(run(client, folder))
    assert isinstance(error, Error) and "in use" in error.sentence and error.exit_code == ExitCode.IN_USE
    assert not folder.report_path.exists() and not folder.log_path.exists()


def test_a_folder_that_got_another_job_while_the_worker_started_is_left_alone(
    client: WorkerClient, make_job: MakeJob
) -> None:
    folder = make_job()
    with folder.lock():
        client.start_job(folder.path)
        folder.write_spec(JobSpec(Driving("another.mp4"), Avatar("avatar/avatar.png")))
    error = ending(follow(client, lambda message: isinstance(message, ENDINGS)))
    assert isinstance(error, Error) and error.exit_code == ExitCode.IN_USE
    assert "got another job" in error.sentence and not folder.has_report


def test_close_ends_the_worker_in_the_middle_of_a_job(tmp_path: Path, make_job: MakeJob) -> None:
    client = WorkerClient(Path(sys.executable), tmp_path / "worker.log", script=SCRIPT)
    folder = make_job(misbehaviour.sleep)
    client.start_job(folder.path)
    follow(client, at_frame(3))
    started = time.perf_counter()
    client.close()
    assert time.perf_counter() - started < 2.0
    assert not client.running and not client.busy and client.poll() == []
    assert folder.read_report().status == "cancelled"


BLENDER = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from magplus.backend_bridge.worker_client.client import WorkerClient
from magplus.backend_bridge.worker_client.messages import Hello, Progress
client = WorkerClient(Path(sys.executable), Path(sys.argv[3]), script=Path(sys.argv[2]))
client.start_job(Path(sys.argv[4]))
while True:
    for message in client.poll(0.05):
        if isinstance(message, Hello):
            print(message.pid, flush=True)
        if isinstance(message, Progress) and message.done == 3:
            if sys.argv[5] == "fork" and os.fork() == 0:
                time.sleep(20)  # a child of Blender that keeps Blender's end of the pipe open
                os._exit(0)
            print("busy", flush=True)
"""


@posix
@pytest.mark.parametrize("how", ["kill", "fork"])
def test_the_worker_ends_with_its_parent(tmp_path: Path, make_job: MakeJob, how: str) -> None:
    folder = make_job(misbehaviour.wait_politely)
    command = [
        sys.executable,
        "-c",
        BLENDER,
        str(CHECKOUT),
        str(SCRIPT),
        str(tmp_path / "worker.log"),
        str(folder.path),
    ]
    with subprocess.Popen([*command, how], stdout=subprocess.PIPE, text=True, start_new_session=True) as blender:
        assert blender.stdout is not None
        worker = int(blender.stdout.readline())
        assert blender.stdout.readline() == "busy\n"
        blender.kill()
        blender.wait()
        deadline = time.monotonic() + 5.0
        while Path(f"/proc/{worker}").exists() if sys.platform == "linux" else exists(worker):
            assert time.monotonic() < deadline, "the worker has outlived Blender"
            time.sleep(0.05)
        if how == "fork":
            os.killpg(blender.pid, signal.SIGKILL)
    assert folder.read_report().status == "cancelled"


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def run_by_hand(folder: Path | str, script: Path = SCRIPT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", str(script), "run", str(folder)], capture_output=True, encoding="utf-8", check=False
    )


@pytest.mark.parametrize(
    ("what", "exit_code", "message"),
    [
        (misbehaviour.nothing, ExitCode.OK, "Finished: "),
        (misbehaviour.print_a_lot, ExitCode.OK, "Animating 5/5"),
        (misbehaviour.warn_twice, ExitCode.OK, "Warning: The face is missing at 0.12 s."),
        (misbehaviour.divide_by_zero, ExitCode.INTERNAL, "Error: MagPlus failed unexpectedly"),
        (
            misbehaviour.find_no_face,
            ExitCode.BAD_INPUT,
            "Error: No face was found in clip.mp4; choose another video. The log is ",
        ),
        (misbehaviour.run_out_of_memory, ExitCode.MACHINE, "Error: The machine ran out of memory"),
        (misbehaviour.cancel_itself, ExitCode.CANCELLED, "Cancelled."),
    ],
)
def test_run_by_hand_without_blender(make_job: MakeJob, what: Misbehaviour, exit_code: ExitCode, message: str) -> None:
    done = run_by_hand(make_job(what).path)
    assert done.returncode == exit_code
    assert message in done.stderr
    assert "Traceback" not in done.stderr and "hello" not in done.stderr, "that is for the log"
    assert done.stdout == ""


def test_a_read_only_folder_is_a_sentence(
    make_job: MakeJob, as_ordinary_user: Callable[[Path], AbstractContextManager[None]]
) -> None:
    folder = make_job()
    messages: list[Message] = []
    folder.path.chmod(0o555)
    with as_ordinary_user(folder.path):
        assert JobRunner().run(folder.path, messages.append, Cancellation()) == ExitCode.BAD_INPUT
    folder.path.chmod(0o755)
    [error] = messages
    assert isinstance(error, Error) and "can't be written to" in error.sentence


def test_files_of_an_earlier_run_that_are_no_part_of_the_result_are_gone(make_job: MakeJob) -> None:
    folder = make_job()
    for name in (*OF_CONTROLS, SHOT_APEX):
        folder.commit(name, name.encode())
    (folder.path / WEIGHTS_CSV).write_text("with somebody's notes")
    assert JobRunner(lambda: ScriptedPipeline).run(folder.path, lambda _: None, Cancellation()) == ExitCode.OK
    left = {path.name for path in folder.path.iterdir()} & {*OF_CONTROLS, SHOT_APEX}
    assert left == {WEIGHTS_CSV}, "the run made frames alone"


FULL_DISK = """
mount -t tmpfs -o size=64k tmpfs "$1" || exit 77
cp -r "$0" "$1/full.magplus"
dd if=/dev/zero of="$1/filler" bs=1k count=1000 2>/dev/null
"$2" -I "$3" run "$1/full.magplus"
"""


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounting a tiny disk needs root on Linux")
def test_run_by_hand_on_a_disk_that_is_full(make_job: MakeJob, tmp_path: Path) -> None:
    folder = make_job()
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", FULL_DISK, str(folder.path), str(disk), sys.executable, str(SCRIPT)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("this machine forbids mounting")
    assert done.returncode == ExitCode.MACHINE
    assert "is full; free some space" in done.stderr and "Traceback" not in done.stderr


def test_run_by_hand_reports_what_is_wrong_with_the_call(tmp_path: Path) -> None:
    done = run_by_hand(tmp_path / "missing.magplus")
    assert done.returncode == ExitCode.BAD_INPUT
    assert done.stderr.startswith("Error: There is no job folder at")


@posix
@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("what", [misbehaviour.wait_politely, misbehaviour.sleep])
def test_signals_cancel_a_run_by_hand(make_job: MakeJob, what: Misbehaviour, signal_number: int) -> None:
    folder = make_job(what)
    with subprocess.Popen(
        [sys.executable, "-I", str(SCRIPT), "run", str(folder.path)], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        while "Animating 1/5" not in process.stderr.readline():
            pass
        time.sleep(0.2)
        started = time.perf_counter()
        process.send_signal(signal_number)
        assert process.wait(5.0) == ExitCode.CANCELLED
        assert time.perf_counter() - started < 1.0 + SLACK
        assert "Cancelled" in process.stderr.read()
    assert folder.read_report().status == "cancelled"


@posix
def test_a_run_by_hand_goes_on_when_nobody_reads_what_it_says(make_job: MakeJob) -> None:
    folder = make_job(misbehaviour.print_a_lot)
    with subprocess.Popen(
        [sys.executable, "-I", str(SCRIPT), "run", str(folder.path)], stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        process.stderr.close()
        assert process.wait(20.0) == ExitCode.OK
    assert folder.read_report().status == "finished"


@posix
def test_a_run_by_hand_that_is_killed_is_resumed(make_job: MakeJob) -> None:
    folder = make_job(misbehaviour.die)
    assert run_by_hand(folder.path).returncode == -signal.SIGKILL
    assert folder.read_report().status == "running", "nobody was left to write another, and an older one is gone"
    folder.write_spec(JobSpec(Driving("clip.mp4"), Avatar("avatar/avatar.png")))
    assert run_by_hand(folder.path).returncode == ExitCode.OK
    assert folder.read_report().versions["made"] == "2"


def test_a_stranger_on_the_pipe_does_not_confuse_the_worker(make_job: MakeJob) -> None:
    folder = make_job()
    orders = b"hello?\n" + messages.encode(messages.Start(str(folder.path)))
    with subprocess.Popen(
        [sys.executable, "-I", str(SCRIPT), "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(orders)
        process.stdin.flush()
        seen: list[Message] = []
        while not isinstance(seen[-1] if seen else None, Result):
            seen.append(messages.decode(process.stdout.readline()))
        process.stdin.close()
        assert process.wait(5.0) == ExitCode.OK


def test_the_real_worker_answers_for_help_without_any_package() -> None:
    done = subprocess.run(
        [sys.executable, "-I", str(WORKER_SCRIPT), "--help"], capture_output=True, text=True, check=True
    )
    assert "probe" in done.stdout and "exit status" in done.stdout


def test_without_its_packages_the_real_worker_says_so(make_job: MakeJob) -> None:
    """This test's Python has no torch."""
    folder = make_job()
    done = run_by_hand(folder.path, WORKER_SCRIPT)
    assert done.returncode == ExitCode.MACHINE
    assert "can't load a package (No module named 'torch')" in done.stderr
    assert json.loads(folder.report_path.read_text("utf-8"))["status"] == "failed"


def test_a_job_that_crosses_with_the_end_of_a_cancelled_worker_is_not_lost(
    client: WorkerClient, make_job: MakeJob
) -> None:
    """A job that doesn't heed takes its worker with it, which is still there for an instant after its last word."""
    plain = make_job()
    for _ in range(5):
        client.start_job(make_job(misbehaviour.sleep).path)
        follow(client, at_frame(3))
        client.cancel()
        follow(client, lambda message: isinstance(message, Cancelled))
        assert isinstance(ending(run(client, plain)), Result)


def test_a_worker_that_leaves_without_a_word_is_not_started_for_ever(tmp_path: Path, make_job: MakeJob) -> None:
    silent = tmp_path / "silent_worker.py"
    silent.write_text("")
    client = WorkerClient(Path(sys.executable), tmp_path / "worker.log", script=silent)
    error = ending(run(client, make_job()))
    assert isinstance(error, Error) and "could not start (exit status 0)" in error.sentence
    client.close()


def run_folders(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    script = Path(__file__).parent / "scripted_worker.py"
    command = [sys.executable, "-I", str(script), "run", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=False)


def test_several_folders_are_run_by_one_worker(make_job: Callable[..., JobFolder]) -> None:
    jobs = [make_job(each) for each in (misbehaviour.nothing, misbehaviour.warn_twice, misbehaviour.print_a_lot)]
    done = run_folders(*(job.path for job in jobs), "--progress", "openjd")
    assert done.returncode == 0
    assert [job.read_report().status for job in jobs] == ["finished"] * 3
    percentages = [int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("openjd_progress:")]
    assert percentages == sorted(set(percentages)) and percentages[-1] == 100
    assert "openjd_status: Job 3 of 3: " in done.stdout and "openjd" not in done.stderr
    assert all(line.startswith("openjd_") for line in done.stdout.splitlines())


def test_a_failure_ends_a_run_of_several_unless_it_is_to_keep_going(make_job: Callable[..., JobFolder]) -> None:
    def jobs() -> list[JobFolder]:
        return [make_job(misbehaviour.find_no_face), make_job(misbehaviour.nothing)]

    first = jobs()
    assert run_folders(*(job.path for job in first)).returncode != 0 and not first[1].has_report
    second = jobs()
    done = run_folders("--keep-going", "--progress", "openjd", *(job.path for job in second))
    assert done.returncode != 0 and second[1].read_report().status == "finished"
    assert "openjd_fail: " in done.stdout
