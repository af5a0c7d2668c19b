# SPDX-License-Identifier: GPL-3.0-or-later
"""Loaded models, kept between the jobs of one worker, and what the pipeline tells whoever runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import torch

from backend_bridge.errors import InputError, MachineError
from models.backends import Backend, registry
from models.face import FaceLandmarker
from models.magnification import Magnifier
from models.magnification.magnifier import Role


class Events(Protocol):
    """Where the pipeline reports while it runs."""

    def progress(self, stage: str, done: int, total: int) -> None:
        """`done` of `total` units of a stage are finished."""
        ...

    def warning(self, text: str) -> None:
        """Something a person should know; it is in the report too."""
        ...

    def check_cancelled(self) -> None:
        """Raise `CancelledError` when the user asked to stop."""
        ...


class Session:
    """Keeps models loaded, each until another of its kind is asked for."""

    def __init__(self, checkpoints: Path | None = None) -> None:
        self.checkpoints = checkpoints or Path.home() / ".magplus" / "checkpoints"
        self._landmarker: FaceLandmarker | None = None
        self._magnifiers: dict[tuple[str, str], Magnifier] = {}
        self._backend: tuple[tuple[str, str], Backend] | None = None

    def landmarker(self) -> FaceLandmarker:
        """Return the face landmarker."""
        if self._landmarker is None:
            self._landmarker = FaceLandmarker()
        return self._landmarker

    def magnifier(self, role: Role, device: torch.device) -> Magnifier:
        """Return the magnifier for a role, "magplus" or "demagplus"."""
        key = (role, str(device))
        if key not in self._magnifiers:
            self._magnifiers[key] = Magnifier.load(role, str(device))
        return self._magnifiers[key]

    def backend(self, name: str, device: torch.device) -> Backend:
        """Return a backend; the one before it is let go first, as two may not fit into a GPU's memory.

        Raises `InputError` for an unknown name or a missing checkpoint.
        """
        if name not in registry:
            raise InputError(f"There is no backend {name!r}; the backends are {', '.join(registry)}.")
        key = (name, str(device))
        if self._backend is None or self._backend[0] != key:
            self._backend = None
            self._backend = (key, registry[name].load(device, self.checkpoints))
        return self._backend[1]


def choose_device(wanted: str) -> torch.device:
    """Return the torch device for "auto", "cpu", "cuda", "cuda:1", "mps" ...

    "auto" takes the best one that is there. A device that was named and is absent is a `MachineError`, never a silent
    fallback.
    """
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise MachineError(f"This machine has no usable device {wanted!r}; choose 'auto' or 'cpu'.") from error
    return device
