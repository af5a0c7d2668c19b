# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker's own Python environment: whether it is there and good, and making it.

Only `Environment.create` uses the network; whoever calls it has asked the user.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path
from typing import Any

from ..files.disk import explained
from ..files.errors import InputError, MachineError
from ..files.locks import hold
from .installation import Listener, Pip, explain_installation, run_program
from .interpreters import Interpreter, ask, find_base_interpreter
from .probe import probe
from .requirements import read_requirements, requirements_hash
from .torch_builds import Build, choose_build, find_nvidia_card

_STAMP = "magplus-environment.json"


class State(Enum):
    """What the disk says about an environment; the value is a sentence for the user."""

    ABSENT = "The worker's environment is not set up yet; create it."
    INCOMPLETE = "The worker's environment was not finished; create it again."
    READY = "The worker's environment is ready."
    OUTDATED = "The worker's environment was made for another version of MagPlus; create it again."
    BROKEN = "The worker's environment is damaged; create it again."


class Environment:
    """A folder with the worker's Python. Its state is what the disk says; nothing is remembered elsewhere."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    @property
    def python(self) -> Path:
        """The interpreter, whether it is there or not."""
        return self.folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")

    @property
    def log_path(self) -> Path:
        """What pip said when the environment was last made; beside the folder, so that it outlives a failure."""
        return self.folder.with_name(self.folder.name + ".log")

    def state(self) -> State:
        """Look at the disk, and only that; takes well under a millisecond."""
        try:
            stamp = self._read_stamp()
            if stamp is None:
                return State.BROKEN if self.folder.is_dir() and any(self.folder.iterdir()) else State.ABSENT
            if stamp.get("status") != "ready":
                return State.INCOMPLETE
            if stamp.get("requirements") != requirements_hash(read_requirements()):
                return State.OUTDATED
            return State.READY if self._base_exists() else State.BROKEN
        except (OSError, ValueError):
            return State.BROKEN

    def create(
        self, listener: Listener, *, variant: str = "auto", python: Path | None = None, again: bool = False
    ) -> None:
        """Make the environment, unless it is ready and of that variant already. Takes minutes and the network.

        variant: one of `torch_builds.VARIANTS`. python: what to make it from; None finds one. again: make it anew even
        if it is ready. Raises a `MagPlusError` with a sentence, or what `listener.check_cancelled` raises; then the
        folder is as it was before.
        """
        stamp = self._read_stamp_or_none()
        if self.state() is State.READY and not again and variant in {"auto", (stamp or {}).get("variant")}:
            return
        if self.folder.is_dir() and any(self.folder.iterdir()) and not (self.folder / _STAMP).exists():
            raise InputError(f"{self.folder} holds other files than MagPlus's environment; choose an empty folder.")
        listener.progress("Looking for a Python", 0, 0)
        base = ask(python) if python is not None else find_base_interpreter()
        if problem := base.problem():
            raise InputError(problem)
        build = choose_build(variant, find_nvidia_card())
        if build.warning:
            listener.warning(build.warning)
        with explained(self.folder):
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.folder.parent).free
            if free < build.disk:
                raise MachineError(
                    f"The environment needs {build.disk / 1e9:.0f} GB in {self.folder.parent}, which has "
                    f"{free / 1e9:.1f} GB left; free some space or choose another folder."
                )
            lock = self.folder.with_name(f".{self.folder.name}.lock")
            with hold(lock, str(self.folder)), self.log_path.open("w", encoding="utf-8") as log:
                logging = _Logging(listener, log)
                with self._replaced():
                    self._install(base, build, logging)

    def remove(self) -> None:
        """Delete the environment. Raises `InputError` when the folder holds something else."""
        if self.folder.exists() and not (self.folder / _STAMP).exists():
            raise InputError(f"{self.folder} is not MagPlus's environment, so it is left alone.")
        with explained(self.folder):
            _delete(self.folder)

    def _install(self, base: Interpreter, build: Build, listener: Listener) -> None:
        requirements = read_requirements()
        stamp = {"status": "incomplete", "variant": build.variant, "python": ".".join(map(str, base.version))}
        self._write_stamp(stamp)
        listener.progress(f"Making a Python {base.series} environment", 0, 0)
        status, said = run_program([base.path, "-I", "-m", "venv", self.folder], listener)
        if status:
            raise explain_installation(status, said, "venv")
        pip = Pip(self.python, listener)
        pip.make_readable()
        [torch] = [str(requirement) for requirement in requirements if requirement.name == "torch"]
        index = self._install_torch(pip, torch, build, listener)
        pip.install(*index, *(str(requirement) for requirement in requirements if not requirement.data_only))
        for requirement in requirements:
            if requirement.data_only:
                pip.install("--no-deps", str(requirement))
        listener.progress("Checking the environment", 0, 0)
        found = probe(self.python)
        listener.output(found.text)
        if found.problems:
            raise MachineError(" ".join(found.problems))
        if build.variant in {"cuda", "rocm", "mps"} and found.device == "cpu":
            listener.warning("PyTorch finds no graphics card that it can use, so the worker will compute on the CPU.")
        self._write_stamp(stamp | {"status": "ready", "requirements": requirements_hash(requirements)})

    @staticmethod
    def _install_torch(pip: Pip, torch: str, build: Build, listener: Listener) -> list[str]:
        """Install PyTorch alone from its own index, if this build has one; return pip's option for the rest.

        Alone and with few retries, because a machine may reach pip's index (or a mirror of it) and not PyTorch's; and
        as an *extra* index, so that pip then takes the build that it does find.
        """
        if not build.index:
            return []
        extra = ["--extra-index-url", build.index]
        said = pip.install("--no-deps", "--retries", "1", "--timeout", "15", *extra, torch)
        unreachable = any("Retrying" in line and f"/whl/{build.tag}/" in line for line in said)
        installed = next((line.split()[-1] for line in said if line.startswith("Successfully installed")), torch)
        if unreachable or not installed.endswith(f"+{build.tag}"):
            listener.warning(
                f"PyTorch's own package index with the {build.tag} build can't be reached or has none for this Python, "
                f"so {installed} was taken from elsewhere; look at the device that the check names."
            )
            return []
        # The CPU build needs nothing else from there; some libraries of the other builds are published only there.
        return [] if build.variant == "cpu" else extra

    @contextmanager
    def _replaced(self) -> Iterator[None]:
        """Put the old folder aside; bring it back if the new one can't be finished, else delete it."""
        old = self.folder.with_name(f".{self.folder.name}.old")
        if old.exists() and self.state() is State.INCOMPLETE:
            _delete(self.folder)  # Blender was killed in the middle of this: the one put aside is the better one
            old.rename(self.folder)
        if self.folder.exists():
            _delete(old)
            self.folder.rename(old)
        try:
            self.folder.mkdir()
            yield
        except BaseException:
            _delete(self.folder)
            if old.exists():
                old.rename(self.folder)
            raise
        with suppress(OSError):  # what can't be deleted now (a file in use on Windows) goes next time
            _delete(old)

    def _base_exists(self) -> bool:
        """Whether the interpreter is there, and the Python that it was made from, without which it can't start."""
        if not self.python.exists():
            return False
        for line in (self.folder / "pyvenv.cfg").read_text("utf-8").splitlines():
            key, _, value = line.partition("=")
            if key.strip() == "home":
                return Path(value.strip()).is_dir()
        return False

    def _read_stamp(self) -> dict[str, Any] | None:
        try:
            stamp = json.loads((self.folder / _STAMP).read_bytes())
        except FileNotFoundError:
            return None
        if not isinstance(stamp, dict):
            raise ValueError("not a stamp")
        return stamp

    def _read_stamp_or_none(self) -> dict[str, Any] | None:
        try:
            return self._read_stamp()
        except (OSError, ValueError):
            return None

    def _write_stamp(self, stamp: dict[str, str]) -> None:
        temporary = self.folder / (_STAMP + ".new")
        temporary.write_text(json.dumps(stamp, indent=2), "utf-8")
        temporary.replace(self.folder / _STAMP)


class _Logging:
    """Passes everything on and writes pip's lines to the log."""

    def __init__(self, listener: Listener, log: Any) -> None:
        self._listener = listener
        self._log = log
        self.progress = listener.progress
        self.check_cancelled = listener.check_cancelled

    def output(self, line: str) -> None:
        print(line, file=self._log, flush=True)
        self._listener.output(line)

    def warning(self, text: str) -> None:
        print(f"Warning: {text}", file=self._log, flush=True)
        self._listener.warning(text)


def _delete(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
