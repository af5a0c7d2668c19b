# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking a worker's Python what it can do, by letting it load everything."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ..files.errors import InputError, MachineError
from ..worker_client.client import WORKER_SCRIPT
from ..worker_client.process import popen_options, python_command
from .interpreters import ask

PROBE_TIMEOUT = 180.0  # seconds; the first import of everything takes long on a slow disk and under a virus scanner


@dataclass(frozen=True)
class Probe:
    """What a worker's Python can do.

    `device` is "cuda", "mps" or "cpu", `memory` the device's memory in bytes (0 when that is unknown). `problems` and
    `remarks` are sentences; the worker can run when there are no problems.
    """

    python: str
    torch: str
    device: str
    device_name: str
    memory: int
    packages: dict[str, str]
    problems: tuple[str, ...]
    remarks: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """One line for people."""
        if not self.device:
            return f"Python {self.python}"
        memory = f", {self.memory / 2**30:.0f} GB" if self.memory else ""
        return f"Python {self.python}, PyTorch {self.torch}, {self.device} ({self.device_name}{memory})"


def probe(python: Path) -> Probe:
    """Let a worker's Python load everything and say what it can do. Takes seconds; needs no network.

    Raises `InputError` for what is not a suitable Python and `MachineError` for one that gives no answer.
    """
    if problem := ask(python).problem(as_base=False):
        raise InputError(problem)
    try:
        answer = subprocess.run(
            python_command(python, WORKER_SCRIPT, "probe"),
            stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_TIMEOUT, check=False, **popen_options(),
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise MachineError(f"{python} did not answer within {PROBE_TIMEOUT:.0f} s; try again.") from error
    try:
        found = json.loads(answer.stdout.splitlines()[-1])
        device = found["device"]
        return Probe(
            found["python"],
            found["torch"],
            device["kind"],
            device["name"],
            device["memory"],
            found["packages"],
            tuple(found["problems"]),
            tuple(found["remarks"]),
        )
    except (ValueError, IndexError, KeyError, TypeError) as error:
        lines = answer.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit status {answer.returncode}"]
        raise MachineError(f"{python} failed while its packages were loaded ({lines[-1][:200]}); repair it.") from error
