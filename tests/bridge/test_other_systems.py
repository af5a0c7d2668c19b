# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done otherwise on Windows and macOS, with the system faked and stand-ins for the modules that only it has."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from magplus.backend_bridge.environment import interpreters
from magplus.backend_bridge.environment.torch_builds import NvidiaCard, choose_build
from magplus.backend_bridge.environment.venv import Environment
from magplus.backend_bridge.files import locks, plain, whole
from magplus.backend_bridge.files.errors import ExitCode, InputError, InUseError, MachineError
from magplus.backend_bridge.job.folder import JobFolder
from magplus.backend_bridge.worker.parent import wait_for_parents_end
from magplus.backend_bridge.worker_client.process import describe_end, popen_options

System = Callable[..., None]
CARD = NvidiaCard(driver=595, capability=9.0)


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System:
    """Be on another system from here on: `system("darwin", "arm64")`."""

    def fake(name: str, machine: str = "x86_64") -> None:
        monkeypatch.setattr(sys, "platform", name)
        monkeypatch.setattr(platform, "machine", lambda: machine)
        monkeypatch.setattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0x200, raising=False)
        monkeypatch.setattr(subprocess, "CREATE_NO_WINDOW", 0x8000000, raising=False)

    return fake


# --- builds of PyTorch -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "machine", "variant", "words"),
    [
        ("win32", "AMD64", "rocm", "ROCm on Linux only"),
        ("darwin", "arm64", "rocm", "ROCm on Linux only"),
        ("linux", "x86_64", "mps", "Metal needs an Apple computer"),
        ("win32", "AMD64", "mps", "Metal needs an Apple computer"),
        ("darwin", "x86_64", "mps", "with its own processor"),
        ("darwin", "arm64", "cuda", "no CUDA on Apple"),
    ],
)
def test_a_build_that_can_not_work_here_is_refused(
    system: System, name: str, machine: str, variant: str, words: str
) -> None:
    system(name, machine)
    with pytest.raises(InputError, match=words):
        choose_build(variant, None)


@pytest.mark.parametrize(
    ("name", "machine", "card", "variant", "tag"),
    [
        ("darwin", "arm64", None, "mps", "mps"),
        ("darwin", "x86_64", None, "cpu", ""),
        ("win32", "AMD64", None, "cpu", "cpu"),
        ("win32", "AMD64", CARD, "cuda", "cu130"),
        ("linux", "x86_64", None, "rocm", "rocm7.2"),
    ],
)
def test_the_automatic_build_fits_the_system(
    system: System,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    machine: str,
    card: NvidiaCard | None,
    variant: str,
    tag: str,
) -> None:
    system(name, machine)
    monkeypatch.setattr(Path, "exists", lambda path: path.as_posix() == "/dev/kfd")  # an AMD card, for Linux to find
    build = choose_build("auto", card)
    assert (build.variant, build.tag, build.warning) == (variant, tag, "")
    assert bool(build.index) == (variant in ("cuda", "rocm"))  # the others come from where all packages do


def test_an_amd_card_on_linux_gets_its_build_when_asked_for(system: System) -> None:
    system("linux")
    build = choose_build("rocm", None)
    assert build.index.endswith("/rocm7.2") and build.disk > choose_build("cpu", None).disk


def test_metal_is_in_the_build_that_pip_finds(system: System) -> None:
    system("darwin", "arm64")
    assert choose_build("mps", None).index == choose_build("cpu", None).index == ""


@pytest.mark.parametrize("name", ["linux", "win32"])
def test_cuda_without_a_driver_is_reported(system: System, name: str) -> None:
    system(name)
    build = choose_build("cuda", None)
    assert build.variant == "cuda" and "No NVIDIA driver was found" in build.warning


# --- interpreters ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "place"), [("win32", "Scripts/python.exe"), ("darwin", "bin/python")])
def test_where_an_environment_has_its_python(system: System, tmp_path: Path, name: str, place: str) -> None:
    system(name)
    assert Environment(tmp_path).python == tmp_path / place


def looked_at(monkeypatch: pytest.MonkeyPatch, home: Path, programs: dict[str, str]) -> list[Path]:
    """Return what is asked for a Python, in order, on a machine where nothing is one."""
    asked: list[Path] = []

    def ask(path: Path) -> interpreters.Interpreter:
        asked.append(path)
        raise InputError("not a Python")

    monkeypatch.setattr(interpreters, "ask", ask)
    monkeypatch.setattr(interpreters.shutil, "which", programs.get)
    monkeypatch.setattr(Path, "home", lambda: home)
    monkeypatch.delenv("PYENV_ROOT", raising=False)
    with pytest.raises(MachineError, match=r"No Python 3\.11 to 3\.13"):
        interpreters.find_base_interpreter()
    return asked


def test_where_macos_keeps_its_pythons(system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system("darwin", "arm64")
    asked = looked_at(monkeypatch, tmp_path, {"python3": "/usr/bin/python3"})
    assert asked[:3] == [
        Path("/usr/bin/python3"),
        Path("/Library/Frameworks/Python.framework/Versions/3.11/bin/python3"),
        Path("/opt/homebrew/bin/python3.11"),
    ]


@pytest.mark.parametrize("launcher_works", [True, False])
def test_where_windows_keeps_its_pythons(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launcher_works: bool
) -> None:
    system("win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "Local"))

    def run(command: list[str], **options: Any) -> SimpleNamespace:
        assert command[0] == "py.exe" and options["creationflags"] == 0x8000200
        if not launcher_works:
            raise subprocess.CalledProcessError(103, command)
        return SimpleNamespace(stdout=f"{tmp_path / command[1]}\n")

    monkeypatch.setattr(interpreters.subprocess, "run", run)
    asked = looked_at(monkeypatch, tmp_path, {"py": "py.exe"})
    from_launcher = [tmp_path / "-3.11-64"] if launcher_works else []
    assert asked[: len(from_launcher) + 1] == [*from_launcher, tmp_path / "Local/Programs/Python/Python311/python.exe"]
    assert Path(sys.executable) in asked, "the last resort, Blender's own"


# --- processes ---------------------------------------------------------------------------------------------------


def test_on_windows_a_child_has_a_group_of_its_own_and_no_window(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    system("win32")
    monkeypatch.setenv("PYTHONPATH", "somewhere")
    options = popen_options()
    assert options["creationflags"] == 0x8000200 and "start_new_session" not in options
    assert not [name for name in options["env"] if name.startswith("PYTHON")]


def test_on_macos_a_child_has_a_session_of_its_own(system: System) -> None:
    system("darwin")
    options = popen_options()
    assert options["start_new_session"] is True and "creationflags" not in options


@pytest.mark.parametrize(
    ("code", "words"),
    [(0xC0000005, "native code (SIGSEGV)"), (0xC0000017, "memory ran out"), (0xC000001D, "this processor lacks")],
)
def test_how_a_worker_ended_on_windows(tmp_path: Path, code: int, words: str) -> None:
    blame, sentence = describe_end(code, started=True, log=tmp_path / "none.log")
    assert blame == ExitCode.MACHINE and words in sentence


class Kernel:
    """Stands in for kernel32: `handle` is what a process opens as, 0 for one that is gone."""

    def __init__(self, handle: int) -> None:
        self.waited: list[tuple[int, int]] = []

        def open_process(access: int, inherit: bool, pid: int) -> int:
            assert (access, inherit, pid) == (0x00100000, False, 4711)
            return handle

        def wait(handle: int, milliseconds: int) -> None:
            self.waited.append((handle, milliseconds))

        self.OpenProcess, self.WaitForSingleObject = open_process, wait


@pytest.mark.parametrize(("handle", "waited"), [(99, [(99, 0xFFFFFFFF)]), (0, [])])
def test_on_windows_the_parents_end_is_waited_for(
    system: System, monkeypatch: pytest.MonkeyPatch, handle: int, waited: list[tuple[int, int]]
) -> None:
    system("win32")
    kernel = Kernel(handle)
    monkeypatch.setattr(ctypes, "WinDLL", lambda name: kernel, raising=False)
    calls: list[list[tuple[int, int]]] = []
    wait_for_parents_end(4711, lambda: calls.append(list(kernel.waited)))
    assert calls == [waited], "called once, after the wait"


# --- files -------------------------------------------------------------------------------------------------------


class Msvcrt:
    """Stands in for msvcrt: locks bytes of files, whoever asks, without waiting."""

    LK_UNLCK, LK_NBLCK = 0, 2

    def __init__(self) -> None:
        self.locked: set[tuple[int, int]] = set()  # inode, byte

    def locking(self, descriptor: int, mode: int, count: int) -> None:
        byte = (os.fstat(descriptor).st_ino, os.lseek(descriptor, 0, os.SEEK_CUR))
        assert count == 1
        if mode == self.LK_UNLCK:
            self.locked.remove(byte)
        elif byte in self.locked:
            raise PermissionError(errno.EACCES, "Permission denied")
        else:
            self.locked.add(byte)


def test_a_lock_on_windows(system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system("win32")
    msvcrt = Msvcrt()
    monkeypatch.setitem(sys.modules, "msvcrt", msvcrt)
    path = tmp_path / ".lock"
    with locks.hold(path, "The job"):
        [(_, byte)] = msvcrt.locked
        assert path.read_text().endswith(f"process {os.getpid()}")
        assert byte > path.stat().st_size, "what is locked can't be read, and others are to read who holds it"
        with (
            pytest.raises(InUseError, match=f"The job is in use by another run .*process {os.getpid()}"),
            locks.hold(path, "The job"),
        ):
            pass
    assert not msvcrt.locked and path.read_text() == ""
    with locks.hold(path, "The job"):
        pass


def test_a_disk_on_windows_that_can_not_lock_is_reported(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system("win32")
    msvcrt = Msvcrt()

    def refuse(descriptor: int, mode: int, count: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    msvcrt.locking = refuse
    monkeypatch.setitem(sys.modules, "msvcrt", msvcrt)
    with pytest.raises(MachineError, match="can't lock files"), locks.hold(tmp_path / ".lock", "The job"):
        pass


def test_a_long_path_on_windows_is_written_in_the_form_without_a_limit(system: System, tmp_path: Path) -> None:
    short, long = tmp_path / "shot.magplus", tmp_path / ("a" * 100) / ("b" * 100) / "shot.magplus"
    system("win32")
    assert JobFolder(short).path == short
    assert str(JobFolder(long).path) == f"\\\\?\\{long}"
    system("darwin")
    assert JobFolder(long).path == long


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ("C:\\film\\shot.magplus", "C:\\film\\shot.magplus"),
        ("C:\\" + "a" * 250, "\\\\?\\C:\\" + "a" * 250),
        ("\\\\server\\share\\" + "a" * 250, "\\\\?\\UNC\\server\\share\\" + "a" * 250),
        ("\\\\?\\C:\\" + "a" * 250, "\\\\?\\C:\\" + "a" * 250),
    ],
)
def test_a_long_path_of_a_share_has_a_form_of_its_own(path: str, written: str) -> None:
    assert whole.extended(path) == written


def test_on_windows_no_folder_is_flushed(system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders can't be opened there."""
    system("win32")
    opened: list[Path] = []
    with monkeypatch.context() as watched:
        watched.setattr(os, "open", lambda path, *rest, real=os.open: (opened.append(Path(path)), real(path, *rest))[1])
        whole.write_whole(tmp_path / "weights.csv", b"1")
    assert (tmp_path / "weights.csv").read_bytes() == b"1"
    assert [path for path in opened if path.is_dir()] == []


def test_on_windows_a_file_that_a_scanner_has_open_is_replaced_when_it_lets_go(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system("win32")
    refusals = [PermissionError(13, "The process cannot access the file"), PermissionError(13, "Access is denied")]

    def replace(source: Path, target: Path, real: Callable[..., Any] = Path.replace) -> Any:
        if refusals:
            raise refusals.pop()
        return real(source, target)

    monkeypatch.setattr(Path, "replace", replace)
    whole.write_whole(tmp_path / "report.json", b"new")
    assert (tmp_path / "report.json").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.parametrize("known", [True, False])
def test_on_macos_files_are_flushed_through_the_drives_own_memory(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    """A network disk does not know the command; there the ordinary one has to do."""
    fcntl = pytest.importorskip("fcntl")
    system("darwin")
    done: list[str] = []

    def command(_descriptor: int, code: int) -> int:
        if not known:
            raise OSError(errno.ENOTSUP, "Operation not supported")
        done.append(f"command {code}")
        return 0

    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", command)
    monkeypatch.setattr(whole, "flush_directory", lambda _: None)
    monkeypatch.setattr(os, "fsync", lambda _: done.append("fsync"))
    whole.write_whole(tmp_path / "frame.png", b"1")
    assert done == (["command 51"] if known else ["fsync"])


@pytest.mark.parametrize("tag", [0xA000000C, 0xA0000003])  # a symbolic link, a junction
def test_on_windows_a_folder_that_stands_for_another_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tag: int
) -> None:
    found = SimpleNamespace(st_mode=stat.S_IFDIR | 0o777, st_reparse_tag=tag)
    monkeypatch.setattr(os, "lstat", lambda _: found)
    with pytest.raises(plain.NotPlainError, match="is a link"):
        plain.check_plain(tmp_path)
    found.st_reparse_tag = 0x9000001A  # a file that a cloud service fetches when it is opened
    assert plain.check_plain(tmp_path) is found
