# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding a Python from which the worker's environment can be made."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..files.errors import InputError, MachineError
from ..worker_client.process import popen_options

# Best first: all packages of worker/requirements.txt have ready-made wheels for these.
SERIES = ("3.11", "3.12", "3.13")
SUPPORTED = f"{SERIES[0]} to {SERIES[-1]}"
_TIMEOUT = 30.0  # s; a Python without anything imported

_QUESTIONS = """
import json, struct, sys, sysconfig
answer = {"version": list(sys.version_info[:3]), "bits": struct.calcsize("P") * 8, "missing": [],
          "threads": bool(sysconfig.get_config_var("Py_GIL_DISABLED"))}
for name in ("venv", "ensurepip", "ssl", "ctypes", "zlib"):
    try:
        __import__(name)
    except ImportError:
        answer["missing"].append(name)
print(json.dumps(answer))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python that was asked what it is.

    `version` is (3, 11, 7); `missing` lists standard modules that making an environment takes; `free_threaded` builds
    have no global lock and hardly any wheels.
    """

    path: Path
    version: tuple[int, int, int]
    bits: int
    missing: tuple[str, ...]
    free_threaded: bool

    @property
    def series(self) -> str:
        """The version without its last number, "3.11"."""
        return f"{self.version[0]}.{self.version[1]}"

    def problem(self, *, as_base: bool = True) -> str:
        """Return why the worker can't use it, or an empty string. `as_base`: to make an environment from."""
        if self.series not in SERIES:
            version = ".".join(map(str, self.version))
            return f"{self.path} is Python {version}; the worker needs Python {SUPPORTED}."
        if self.bits != 64:
            return f"{self.path} is a {self.bits}-bit Python; the worker needs a 64-bit one."
        if self.free_threaded:
            return f"{self.path} is a free-threaded Python, for which packages are missing; choose an ordinary one."
        if as_base and self.missing:
            hint = " (on Debian and Ubuntu the package python3-venv)" if "ensurepip" in self.missing else ""
            return f"{self.path} lacks {', '.join(self.missing)}; install the rest of that Python{hint}."
        return ""


def ask(path: Path) -> Interpreter:
    """Start an interpreter and ask what it is. Raises `InputError` when it is no Python that runs."""
    try:
        answer = subprocess.run(
            [str(path), "-I", "-c", _QUESTIONS],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT, check=True, **popen_options(),
        )  # fmt: skip
        found = json.loads(answer.stdout.splitlines()[-1])
        first, second, third = found["version"]
        return Interpreter(path, (first, second, third), found["bits"], tuple(found["missing"]), found["threads"])
    except subprocess.TimeoutExpired as error:
        raise InputError(f"{path} does not answer; choose another Python.") from error
    except (OSError, subprocess.CalledProcessError, ValueError, IndexError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a Python that can be started; choose another.") from error


def find_base_interpreter() -> Interpreter:
    """Return the best Python of this machine to make the worker's environment from.

    Looked for on the path, among the places where version managers and installers put them, and last of all in
    Blender itself. Raises `MachineError` when there is none.
    """
    seen: set[Path] = set()
    for series in SERIES:
        for path in _candidates(series):
            if path in seen:
                continue
            seen.add(path)
            try:
                interpreter = ask(path)
            except InputError:
                continue  # a launcher of a version manager without a Python behind it, for example
            if interpreter.series == series and not interpreter.problem():
                return interpreter
    raise MachineError(
        f"No Python {SUPPORTED} that can make environments was found on this machine; install one (64-bit, from "
        "python.org or your system's packages), or choose one by hand."
    )


def _candidates(series: str) -> Iterator[Path]:
    if found := shutil.which(f"python{series}"):
        yield Path(found)
    home = Path.home()
    yield from _newest(Path(os.environ.get("PYENV_ROOT") or home / ".pyenv") / "versions", f"{series}.*/bin/python")
    yield from _newest(home / ".local/share/uv/python", f"cpython-{series}.*/bin/python{series}")
    yield from (path for name in ("python3", "python") if (found := shutil.which(name)) and (path := Path(found)))
    if sys.platform == "win32":
        yield from _windows_candidates(series)
    elif sys.platform == "darwin":
        yield Path(f"/Library/Frameworks/Python.framework/Versions/{series}/bin/python3")
        yield Path(f"/opt/homebrew/bin/python{series}")
    # Inside Blender this is Blender's own Python: good enough to start from, but gone when Blender is updated.
    yield Path(sys.executable)


def _newest(folder: Path, pattern: str) -> list[Path]:
    """Return what matches, the highest version first."""

    def version(path: Path) -> list[int]:
        return [int(part) for part in path.relative_to(folder).parts[0].replace("-", ".").split(".") if part.isdigit()]

    return sorted(folder.glob(pattern), key=version, reverse=True)


def _windows_candidates(series: str) -> Iterator[Path]:
    if launcher := shutil.which("py"):
        try:
            answer = subprocess.run(
                [launcher, f"-{series}-64", "-I", "-c", "import sys; print(sys.executable)"],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT, check=True,
                **popen_options(),
            )  # fmt: skip
            yield Path(answer.stdout.strip())
        except (OSError, subprocess.SubprocessError):
            pass
    programs = Path(os.environ.get("LOCALAPPDATA", "")) / "Programs" / "Python"
    yield programs / f"Python{series.replace('.', '')}" / "python.exe"
