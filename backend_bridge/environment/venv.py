# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker's own Python environment: whether it is there and good, and making it.

Only `Environment.create` uses the network; whoever calls it has asked the user.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal

from ..files.disk import explained
from ..files.errors import InputError, MachineError
from ..files.locks import hold
from ..files.typed_json import Format
from . import locked
from .installation import Listener, MissingPackageError, Pip, explain_installation, run_program
from .interpreters import Interpreter, ask, find_base_interpreter
from .probe import Probe, probe
from .requirements import read_requirements, requirements_hash
from .system_libraries import how_to_install, missing_libraries
from .torch_builds import PUBLISHED, Build, choose_build, find_nvidia_card

_STAMP = "magplus-environment.json"
_NEW_STAMP = _STAMP + ".new"  # while it is written


@dataclass(frozen=True)
class Stamp:
    """What an environment's folder says of it.

    `status`: "incomplete" while it is made, "waiting" when all is installed and this machine still lacks something,
    `problems` then says what. `variant`: one of `torch_builds.VARIANTS`. `python`: its version. `requirements`: the
    hash of what it was made from. `signing`: whether the packages that sign pictures are in it.
    """

    status: Literal["incomplete", "waiting", "ready"]
    variant: str
    python: str
    requirements: str = ""
    signing: bool = False
    problems: tuple[str, ...] = ()


STAMP = Format(Stamp, _STAMP, "a record of an environment", "create the environment again")


class State(Enum):
    """What the disk says about an environment; the value is a sentence for the user."""

    ABSENT = "The worker's environment is not set up yet; create it."
    INCOMPLETE = "The worker's environment was not finished; create it again."
    WAITING = "The worker's environment is incomplete: this machine lacks something."
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
        """pip's output from when the environment was last made; beside the folder, so that it outlives a failure."""
        return self.folder.with_name(self.folder.name + ".log")

    def state(self) -> State:
        """Look at the disk, and only that; takes well under a millisecond."""
        try:
            stamp = self._read_stamp()
            if stamp is None:
                return State.BROKEN if self._holds_anything() else State.ABSENT
            if stamp.status == "incomplete":
                return State.INCOMPLETE
            if stamp.requirements != made_from(stamp.signing):
                return State.OUTDATED
            if not self._base_exists():
                return State.BROKEN
            return State.READY if stamp.status == "ready" else State.WAITING
        except (OSError, ValueError, InputError):
            return State.BROKEN

    def problem(self) -> str:
        """Return why the worker can't run in it, as a sentence, or an empty string. Only looks at the disk."""
        state = self.state()
        if state is State.WAITING and (stamp := self._stamp_or_none()) is not None:
            return f"The worker's environment is incomplete. {' '.join(stamp.problems)} Then check the environment."
        return "" if state is State.READY else state.value

    def check(self) -> Probe:
        """Let its Python load everything and say what it can do; one that waited for that is ready if it can.

        Raises `MachineError` with what is the matter. Takes seconds, changes nothing that is installed.
        """
        state, stamp = self.state(), self._stamp_or_none()
        if state not in {State.READY, State.WAITING} or stamp is None:
            raise MachineError(state.value)
        found = self._settle(stamp)
        if found is None:
            raise MachineError(self.problem())
        return found

    def create(
        self,
        listener: Listener,
        *,
        variant: str = "auto",
        python: Path | None = None,
        again: bool = False,
        signing: bool = False,
    ) -> None:
        """Make the environment, unless it is ready and of that variant already. Takes minutes and the network.

        variant: one of `torch_builds.VARIANTS`. python: what to make it from; None finds one. again: make it anew even
        if it is ready. signing: with the packages that sign pictures (C2PA). Raises a `MagPlusError` with a sentence,
        or what `listener.check_cancelled` raises; then the folder is as it was before. One that is all installed and
        can't run for what this machine lacks is kept, and only checked when it is to be created again.
        """
        stamp = self._stamp_or_none()
        fits = stamp is not None and variant in {"auto", stamp.variant} and stamp.signing >= signing
        state = self.state()
        if state is State.READY and not again and fits:
            return
        self._check_place()
        listener.progress("Looking for a Python", 0, 0)
        base = _fitting_interpreter(python)
        if state is State.WAITING and fits:
            listener.progress("Checking the environment", 0, 0)
            try:
                self.check()
                return
            except MachineError:
                if not again:
                    raise
        build = choose_build(variant, find_nvidia_card())
        if build.warning:
            listener.warning(build.warning)
        with explained(self.folder):
            self._check_room(build)
            lock = self.folder.with_name(f".{self.folder.name}.lock")
            with hold(lock, str(self.folder)), self.log_path.open("w", encoding="utf-8") as log:
                logging = _Logging(listener, log, build.megabytes)
                with self._replaced():
                    self._install(base, build, signing, logging)
        if problem := self.problem():
            raise MachineError(problem)

    def _check_place(self) -> None:
        """Raise `InputError` where there is no environment to be made: in somebody's folder, or on this machine."""
        if self._holds_anything() and not (self.folder / _STAMP).exists():
            raise InputError(f"{self.folder} holds other files than MagPlus's environment; choose an empty folder.")
        if locked.system() not in PUBLISHED:
            raise InputError(
                f"There are no packages for this kind of machine ({locked.system()}); the worker runs on Linux and "
                "Windows with 64-bit Intel or AMD processors, and on Apple silicon."
            )

    def _check_room(self, build: Build) -> None:
        """Make the folder above; raise `MachineError` where the disk has no room for the packages."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.folder.parent).free
        if free < build.disk:
            raise MachineError(
                f"The environment needs {build.disk / 1e9:.0f} GB in {self.folder.parent}, which has "
                f"{free / 1e9:.1f} GB left; free some space or choose another folder."
            )

    def remove(self) -> None:
        """Delete the environment. Raises `InputError` when the folder holds something else."""
        if self.folder.exists() and not any((self.folder / name).exists() for name in (_STAMP, _NEW_STAMP)):
            raise InputError(f"{self.folder} is not MagPlus's environment, so it is left alone.")
        with explained(self.folder):
            _delete(self.folder)

    def _install(self, base: Interpreter, build: Build, signing: bool, listener: Listener) -> None:
        stamp = Stamp("incomplete", build.variant, ".".join(map(str, base.version)), made_from(signing), signing)
        self._write_stamp(stamp)
        listener.progress(f"Making a Python {base.series} environment", 0, 0)
        status, printed = run_program([base.path, "-I", "-m", "venv", self.folder], listener)
        if status:
            raise explain_installation(status, printed, "venv")
        pip = Pip(self.python, listener)
        pip.renew(locked.INSTALLER)
        self._install_torch(pip, build, base.series, listener)
        for path in (locked.PACKAGES, *((locked.SIGNING,) if signing else ())):
            pip.install_list(path)
        listener.progress("Checking the environment", 0, 0)
        found = self._settle(stamp)
        if found is None:
            return
        listener.output(found.text)
        if build.variant in {"cuda", "rocm", "mps"} and found.device == "cpu":
            listener.warning("PyTorch finds no graphics card that it can use, so the worker will compute on the CPU.")

    def _settle(self, stamp: Stamp) -> Probe | None:
        """Ask what is installed what it can do, and note it in the stamp; return None where the worker can't run."""
        found: Probe | None = None
        try:
            found = probe(self.python)
            problems = found.problems
        except MachineError as error:
            problems = (str(error),)
        if problems and (missing := missing_libraries(self.python)):
            problems = (how_to_install(missing),)
        with explained(self.folder):
            self._write_stamp(
                dataclasses.replace(stamp, status="waiting" if problems else "ready", problems=tuple(problems))
            )
        return None if problems else found

    @staticmethod
    def _install_torch(pip: Pip, build: Build, series: str, listener: Listener) -> None:
        """Install PyTorch; its own index is asked for nothing else."""
        [version] = [str(requirement) for requirement in read_requirements() if requirement.name == "torch"]
        if not locked.is_locked(build.tag, series):
            listener.warning(
                f"The hashes of PyTorch's {build.tag} build for Python {series} are not in this MagPlus, so PyTorch is "
                "taken on the word of its own index over a secured connection; all other packages are checked."
            )
            pip.install_from(build.index, f"{version}+{build.tag}")
            return
        try:
            pip.install_list(locked.torch_list(build.tag), build.index)
        except MissingPackageError:
            general = choose_build("pip", None)
            if build.variant != "cpu" or not build.index:
                raise
            listener.warning(
                f"PyTorch's own package index, which has the {build.tag} build, can't be reached, so the larger build "
                "of pip's index is installed; it computes on the CPU all the same."
            )
            pip.install_list(locked.torch_list(general.tag))

    @contextmanager
    def _replaced(self) -> Iterator[None]:
        """Put the old folder aside; bring it back if the new one can't be finished, else delete it."""
        old = self.folder.with_name(f".{self.folder.name}.old")
        if old.exists() and self.state() in {State.ABSENT, State.INCOMPLETE}:
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

    def _holds_anything(self) -> bool:
        """Whether there is more in the folder than what is left of writing the first stamp, where that was killed."""
        return self.folder.is_dir() and any(entry.name != _NEW_STAMP for entry in self.folder.iterdir())

    def _read_stamp(self) -> Stamp | None:
        """Return the stamp, None without one. Raises `InputError` for one that is damaged."""
        try:
            encoded = (self.folder / _STAMP).read_bytes()
        except FileNotFoundError:
            return None
        return _of_an_earlier_version(encoded) or STAMP.decode(encoded)

    def _stamp_or_none(self) -> Stamp | None:
        try:
            return self._read_stamp()
        except (OSError, ValueError, InputError):
            return None

    def _write_stamp(self, stamp: Stamp) -> None:
        temporary = self.folder / _NEW_STAMP
        temporary.write_bytes(STAMP.encode(stamp))
        temporary.replace(self.folder / _STAMP)


def made_from(signing: bool = False) -> str:
    """Return the hash of everything that an environment is made from."""
    lists = (locked.INSTALLER, locked.PACKAGES, *((locked.SIGNING,) if signing else ()))
    return f"{requirements_hash(read_requirements())}-{locked.lists_hash(lists)}"


def _of_an_earlier_version(encoded: bytes) -> Stamp | None:
    """Return the stamp that stands for one from before stamps had a schema, None for any other."""
    with suppress(ValueError, RecursionError):
        stamp: Any = json.loads(encoded)
        if isinstance(stamp, dict) and "schema" not in stamp and stamp.get("status") == "ready":
            return Stamp("ready", str(stamp.get("variant")), str(stamp.get("python")))
    return None


class _Logging:
    """Writes pip's lines to the log and passes everything on, with downloads counted over all files."""

    def __init__(self, listener: Listener, log: Any, megabytes: int) -> None:
        self._listener = listener
        self._log = log
        self._expected = megabytes  # of all downloads
        self._before = self._here = 0  # megabytes of the files before the present one, and of that one
        self._stage = ""
        self.check_cancelled = listener.check_cancelled

    def progress(self, stage: str, done: int, total: int) -> None:
        if stage != self._stage:
            self._before, self._here, self._stage = self._before + self._here, 0, stage
        self._here = max(self._here, done)
        come = self._before + self._here
        self._listener.progress(stage, come if total else 0, max(self._expected, come) if total else 0)

    def output(self, line: str) -> None:
        print(line, file=self._log, flush=True)
        self._listener.output(line)

    def warning(self, text: str) -> None:
        print(f"Warning: {text}", file=self._log, flush=True)
        self._listener.warning(text)


def _fitting_interpreter(python: Path | None) -> Interpreter:
    """Return the Python to make an environment from, None to find one; raise an error if it can't carry the worker."""
    base = ask(python) if python is not None else find_base_interpreter()
    if problem := base.problem():
        raise InputError(problem)
    if missing := missing_libraries(base.path):
        raise MachineError(f"{how_to_install(missing)} Then create the environment: nothing was downloaded yet.")
    return base


def _delete(folder: Path) -> None:
    """Delete an environment: first what makes it a good one, last what makes it ours, wherever that is interrupted."""
    if not folder.exists():
        return
    environment = Environment(folder)
    if (stamp := environment._stamp_or_none()) is not None and not folder.is_symlink():
        with suppress(OSError):  # a full disk, for one, on which deleting makes room
            environment._write_stamp(dataclasses.replace(stamp, status="incomplete"))
        for entry in [each for each in folder.iterdir() if each.name != _STAMP]:
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
    shutil.rmtree(folder)
