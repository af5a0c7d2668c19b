# SPDX-License-Identifier: GPL-3.0-or-later
"""Running the programs that make an environment, with every line passed on, and putting their errors into words."""

from __future__ import annotations

import queue
import re
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

from ..files.errors import InputError, MachineError, MagPlusError
from ..worker_client.process import popen_options, python_command, stop
from .pip_settings import read_settings, surroundings, without_sources

_TURN = 0.1  # seconds between two looks whether the user has cancelled


class Listener(Protocol):
    """Who follows the making of an environment. Called in the thread that makes it."""

    def progress(self, stage: str, done: int, total: int) -> None:
        """Report how far a stage is; `total` is 0 while it is not known. Downloads count in megabytes."""

    def output(self, line: str) -> None:
        """Take a line of pip's output, for the log."""

    def warning(self, text: str) -> None:
        """Take something that a person should know although the work goes on."""

    def check_cancelled(self) -> None:
        """Raise `CancelledError` when the user wants to stop."""


def run_program(
    command: Sequence[str | Path], listener: Listener, options: Mapping[str, Any] | None = None
) -> tuple[int, list[str]]:
    """Run a program and pass its lines on; return its exit status and all lines. A cancel ends it and is raised.

    options: what it is started with, by default `popen_options()`. Raises `MachineError` where it can't be started.
    """
    try:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            **(popen_options() if options is None else options),
        )  # fmt: skip
    except OSError as error:
        raise MachineError(
            f"The worker's Python can't be started ({error.strerror or error}: {command[0]}); set up the environment "
            "in the preferences."
        ) from error
    assert process.stdout is not None
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    reader = threading.Thread(target=_read, args=(process.stdout, lines), name="magplus-pip", daemon=True)
    reader.start()
    printed: list[str] = []
    try:
        while True:
            listener.check_cancelled()
            try:
                line = lines.get(timeout=_TURN)
            except queue.Empty:
                continue
            if line is None:
                return process.wait(), printed
            printed.append(line)
            listener.output(line)
    except BaseException:
        stop(process, patience=1.0)
        raise
    finally:
        reader.join(1.0)
        process.stdout.close()


def _read(stream: IO[bytes], lines: queue.SimpleQueue[str | None]) -> None:
    for line in iter(stream.readline, b""):
        lines.put(line.decode("utf-8", "replace").rstrip())
    lines.put(None)


class MissingPackageError(MachineError):
    """No registry that was asked has a package in the form that was asked for."""


class Pip:
    """The pip of one environment. It installs from hash-locked lists, into that environment, whatever else is set."""

    def __init__(self, python: Path, listener: Listener) -> None:
        self._listener = listener
        self._settings = read_settings(python)
        self._pip = [*python_command(python), "-m", "pip"]
        self._progress_bar = "off"

    def renew(self, path: Path) -> None:
        """Bring pip to the version of a list, which tells how far its downloads are in a form that programs read."""
        self.install_list(path)
        self._progress_bar = "raw"

    def install_list(self, path: Path, extra_index: str = "") -> None:
        """Install what a list pins, every file checked against its SHA-256.

        extra_index: a further registry to look in. Raises a `MagPlusError` with a sentence when it fails,
        `MissingPackageError` where no registry has it.
        """
        # Few retries there: a machine may reach pip's index (or a mirror of it) and not this one.
        extra = ["--extra-index-url", extra_index, "--retries", "1", "--timeout", "15"] if extra_index else []
        self._install(self._settings, [*extra, "--no-deps", "--require-hashes", "--requirement", str(path)])

    def download_list(self, path: Path, folder: Path) -> None:
        """Fetch the wheels that a list pins into a folder, every file checked against its SHA-256; install nothing.

        Raises as `install_list` does.
        """
        self._install(
            self._settings,
            ["--no-deps", "--require-hashes", "--requirement", str(path), "--dest", str(folder)],
            "download",
        )

    def install_from(self, index: str, requirement: str) -> None:
        """Install a package and what it needs from one registry alone, which vouches for its files."""
        self._install(without_sources(self._settings), ["--index-url", index, requirement])

    def _install(self, settings: Mapping[str, str], arguments: Sequence[str], verb: str = "install") -> None:
        options = ["--no-input", "--disable-pip-version-check", "--only-binary", ":all:"]
        quiet = ["--no-warn-script-location"] if verb == "install" else []
        command = [*self._pip, verb, *options, *quiet, "--progress-bar", self._progress_bar, *arguments]
        status, lines = run_program(command, _PipProgress(self._listener), surroundings(settings))
        if status:
            error = explain_installation(status, lines, "pip")
            raise MissingPackageError(str(error)) if _NO_WHEEL.search("\n".join(lines)) else error


class _PipProgress:
    """Reads pip's lines for what a person wants to know, and passes everything else on."""

    _DOWNLOAD = re.compile(r"\s*Downloading (\S+?)(?:-\d\S*)?(?: \((.+)\))?$")
    _BYTES = re.compile(r"Progress (\d+) of (\d+)$")
    _UNPACK = re.compile(r"Installing collected packages: (.+)$")

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._stage = "Looking for packages"
        self.progress = listener.progress
        self.warning = listener.warning
        self.check_cancelled = listener.check_cancelled

    def output(self, line: str) -> None:
        if count := self._BYTES.match(line):
            done, total = (int(number) // 10**6 for number in count.groups())
            if total:
                self._listener.progress(self._stage, done, total)
            return  # thousands of these are no help in a log
        if download := self._DOWNLOAD.match(line):
            self._stage = f"Downloading {download[1].rpartition('/')[2]}"
            self._listener.progress(self._stage, 0, 0)
        elif unpack := self._UNPACK.match(line):
            names = unpack[1].split(", ")
            self._stage = f"Installing {names[0] if len(names) == 1 else f'{len(names)} packages'}"
            self._listener.progress(self._stage, 0, 0)
        self._listener.output(line)


_NO_NETWORK = (
    "name or service not known|temporary failure in name resolution|getaddrinfo failed|nodename nor servname|"
    "network is unreachable|failed to establish a new connection|connection refused|no route to host|newconnectionerror"
)
# What pip, venv and the systems say, and what that means for a person. The first that is found counts.
_TROUBLES: tuple[tuple[str, type[MagPlusError], str], ...] = (
    (
        r"no space left on device|\[winerror 112\]|not enough space",
        MachineError,
        "The disk is full; free some space (up to 12 GB for a graphics card) and create the environment again.",
    ),
    (
        r"ensurepip is not available|no module named ensurepip|no module named venv",
        MachineError,
        "This Python can't make environments; install the rest of it (on Debian and Ubuntu the package python3-venv), "
        "or choose another Python.",
    ),
    (
        "do not match the hashes",
        MachineError,
        "A downloaded package is not the one that MagPlus was made with: it is damaged, or was changed on the way or "
        "in a mirror, and was not installed; try again, on another network or with another index.",
    ),
    (
        "proxyerror|cannot connect to proxy|407 proxy",
        MachineError,
        "The proxy refused the connection; check the proxy settings of pip (HTTPS_PROXY) and create the environment "
        "again.",
    ),
    (
        "certificate_verify_failed|sslerror|ssl: |tlsv1",
        MachineError,
        "The connection could not be secured (TLS); check this machine's clock, and on a company's network give pip "
        "its certificate (PIP_CERT).",
    ),
    (
        _NO_NETWORK,
        MachineError,
        "The packages can't be reached; check this machine's network and create the environment again.",
    ),
    (
        "readtimeouterror|read timed out|connecttimeout|connection aborted|connection reset|incompleteread",
        MachineError,
        "The network was too slow or broke off; create the environment again: what was downloaded is kept.",
    ),
    (
        r"winerror 206|filename or extension is too long|file name too long|\[winerror 3\]",
        InputError,
        "The environment's folder has too long a path; choose a shorter one, such as C:\\magplus.",
    ),
    (
        r"permission denied|\[winerror 5\]|\[winerror 32\]|read-only file system|access is denied",
        InputError,
        "The environment's folder can't be written to, or a program is using it; close other Blenders or choose "
        "another folder.",
    ),
    ("memoryerror", MachineError, "The memory ran out during the installation; close other programs and try again."),
)
_NO_WHEEL = re.compile(r"no matching distribution found for (\S+)", re.IGNORECASE)
_EMPTY_INDEX = re.compile(r"\(from versions: none\)", re.IGNORECASE)


def explain_installation(status: int, lines: Sequence[str], program: str) -> MagPlusError:
    """Return what to tell the user about a program that failed with `status` after printing `lines`."""
    text = "\n".join(lines)
    no_wheel = _NO_WHEEL.search(text)
    # pip complains about every index that it can't reach, also about one that it could do without.
    network_matters = no_wheel is None or _EMPTY_INDEX.search(text) is not None
    for pattern, kind, sentence in _TROUBLES:
        if (pattern != _NO_NETWORK or network_matters) and re.search(pattern, text, re.IGNORECASE):
            return kind(sentence)
    if no_wheel is not None and network_matters:
        return MachineError(
            f"No {no_wheel[1]} can be found at all; check this machine's network and pip's settings and try again, "
            "or choose another Python."
        )
    if no_wheel is not None:
        return MachineError(
            f"There is no {no_wheel[1]} for this kind of machine and Python; choose another Python (3.11 is best) or "
            "another variant of PyTorch."
        )
    if status in {-9, 137}:
        return MachineError("The installation was killed, most likely because memory ran out; close other programs.")
    complaints = [line for line in lines if line.startswith("ERROR: ")] or [line for line in lines if line.strip()]
    last = complaints[-1].removeprefix("ERROR: ").strip()[:200] if complaints else f"exit status {status}"
    return MachineError(f"Making the environment failed: {program} says {last!r}; the log has more.")
