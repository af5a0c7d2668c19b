# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a run will take: by earlier runs on this machine, else by what is documented."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from pathlib import Path

import bpy

from ..backend_bridge.backends import BACKENDS
from ..backend_bridge.worker_client.messages import Progress
from .environment import ROOT, preferences
from .footage import Footage, frames_of, looks
from .order import KEYS_FACE
from .rig.projection import picture_size
from .running.job_manager import Outcome, Status, Steps, TaskContext, manager
from .running.pace import Forecast, Paces, read_paces, write_paces

FILE = "paces.json"
USUAL = 60  # frames, where the video does not tell


def expected_seconds(context: bpy.types.Context, frames: int) -> tuple[float, bool] | None:
    """Return how long a run on so many frames will take, and whether a run on this machine tells it.

    None where nobody can say: what is documented is the default backend's time.
    """
    paces = _paces(context)
    if not paces.seconds and context.scene.magplus.backend != BACKENDS[0].name:
        return None
    return sum(paces.expected(frames, _pixels(context)).values()), bool(paces.seconds)


def start_timed(context: bpy.types.Context, kind: str, body: Callable[[TaskContext], Steps]) -> None:
    """Start a run as `manager.start` does, with a forecast over all its stages; what it took is kept for the next."""
    look = looks.known(context.scene.magplus)
    footage: Footage | None = look.footage if look is not None else None
    frames = frames_of(footage, context.scene.magplus) if footage is not None else 0
    paces, path, name = _paces(context), _path(), _name(context)
    pixels = _pixels(context)
    forecast = Forecast(paces.expected(frames or USUAL, pixels))

    def timed(task: TaskContext) -> Generator[Progress, None, Outcome]:
        outcome = yield from body(task)
        forecast.finish(time.monotonic())
        if frames and outcome.status is Status.FINISHED and not forecast.resumed:
            write_paces(path, name, paces.learned(forecast.taken, frames, pixels))
        return outcome

    manager.start(kind, timed, forecast)


def _paces(context: bpy.types.Context) -> Paces:
    return read_paces(_path(), _name(context))


def _path() -> Path:
    return Path(bpy.utils.extension_path_user(ROOT)) / FILE


def _pixels(context: bpy.types.Context) -> int:
    """Return how many pixels the avatar's picture will have."""
    settings = context.scene.magplus
    width, height = picture_size(context.scene)
    asked = settings.capture_size or (0 if settings.frames else KEYS_FACE)
    share = min(asked / max(width, height), 1.0) if asked else 1.0
    return max(round(width * height * share**2), 1)


def _name(context: bpy.types.Context) -> str:
    """Return the kind of run that has a pace of its own: a backend on a device."""
    return f"{context.scene.magplus.backend} {preferences(context).device}"
