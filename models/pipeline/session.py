# SPDX-License-Identifier: GPL-3.0-or-later
"""Loaded models and measured clips, kept between the jobs of one worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from ...backend_bridge.backends import checkpoint_folder
from ...backend_bridge.files.errors import InputError
from ..backends import Backend, registry
from ..backends.store import CheckpointStore, Origin
from ..device import free_memory
from ..face import FaceLandmarker
from ..magnification import Magnifier
from ..magnification.magnifier import Role
from .clip_cache import ClipCache
from .driver import DriverMotion
from .interruption import interruptible
from .motion_store import Beyond, MotionStore
from .shared_measurements import Arrays, Codec, SharedMeasurements


class Session:
    """Keeps models loaded, each until another of its kind is asked for."""

    def __init__(self, checkpoints: Path | None = None) -> None:
        self.checkpoints = checkpoints or checkpoint_folder()
        self._shared = SharedMeasurements.from_environment()
        self.clips = ClipCache(self._shared)
        self.motions = MotionStore[DriverMotion](
            DriverMotion.packed, beyond=None if self._shared is None else _motions_in(self._shared)
        )
        self._landmarker: FaceLandmarker | None = None
        self._magnifiers: dict[tuple[str, str], Magnifier] = {}
        self._backend: tuple[Any, Backend] | None = None

    @contextmanager
    def job(self, check: Callable[[], None]) -> Iterator[None]:
        """Run a job in the block: what `check` raises ends its networks and its waits; decoded frames go at the end."""
        waits = nullcontext() if self._shared is None else self._shared.interruptible(check)
        with interruptible(check), waits, self.clips.job():
            yield

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

    def backend(self, name: str, origins: dict[str, Origin], device: torch.device, options: Any) -> Backend:
        """Return a backend; the one before it is let go first, as two may not fit into a GPU's memory.

        `origins` identify its checkpoint; where it is another one, it is loaded. `options` are those of this backend.
        Raises `InputError` for a missing checkpoint.
        """
        key = (name, str(device), options, tuple(origins.items()))
        if self._backend is None or self._backend[0] != key:
            self._backend = None
            self._backend = (key, registry[name].load(device, self.checkpoints, options))
        return self._backend[1]

    def origins(self, name: str) -> dict[str, Origin]:
        """Return where each part of a backend's checkpoint came from; they identify it."""
        return CheckpointStore(self.checkpoints).origins(registry[name].info)

    def release(self, device: torch.device) -> None:
        """Let the models go, and give their memory back to the device."""
        self._magnifiers.clear()
        self._backend = None
        free_memory(device)


def _motions_in(shared: SharedMeasurements) -> Beyond[DriverMotion]:
    """Return what asks for motion in a folder that workers share."""

    def ask(key: str, measure: Callable[[], DriverMotion], fits: Callable[[DriverMotion], bool]) -> DriverMotion:
        def decode(arrays: Arrays) -> DriverMotion:
            found = DriverMotion.of(arrays)
            if not fits(found):
                raise ValueError("it is of another size")
            return found

        return shared.get("motion", key, measure, Codec(DriverMotion.arrays, decode))

    return ask


def find_backend(name: str) -> type[Backend]:
    """Return the backend of that name; `InputError` when there is none."""
    if name not in registry:
        raise InputError(f"There is no backend {name!r}; the backends are {', '.join(registry)}.")
    return registry[name]
