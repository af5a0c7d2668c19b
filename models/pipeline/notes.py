# SPDX-License-Identifier: GPL-3.0-or-later
"""What a report says besides the measurements: warnings as they came up, and the versions of everything involved."""

from __future__ import annotations

import platform
import tomllib
from importlib.metadata import version
from pathlib import Path

import torch

from .session import Events

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("torch", "numpy", "opencv-contrib-python", "mediapipe", "scipy", "av")


class Notes:
    """Passes progress and warnings on, and remembers the warnings; the same warning is given once."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self.warnings: list[str] = []

    def progress(self, stage: str, done: int, total: int) -> None:
        """See `Events.progress`. Every report of progress is a chance to cancel."""
        self._events.check_cancelled()
        self._events.progress(stage, done, total)

    def warning(self, text: str) -> None:
        """See `Events.warning`."""
        if text not in self.warnings:
            self.warnings.append(text)
            self._events.warning(text)

    def check_cancelled(self) -> None:
        """See `Events.check_cancelled`."""
        self._events.check_cancelled()


def magplus_version() -> str:
    """Return the extension's version; the manifest is the one place where it stands."""
    return str(tomllib.loads((ROOT / "blender_manifest.toml").read_text(encoding="utf-8"))["version"])


def versions(device: torch.device) -> dict[str, str]:
    """Return the versions that decide a result, and the device it was made on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {
        "magplus": magplus_version(),
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
        "device": name,
    }
