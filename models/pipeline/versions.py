# SPDX-License-Identifier: GPL-3.0-or-later
"""The versions of everything that decides a result."""

from __future__ import annotations

import platform
import tomllib
from importlib.metadata import version
from pathlib import Path

import torch

MANIFEST = Path(__file__).resolve().parents[2] / "blender_manifest.toml"
PACKAGES = ("torch", "numpy", "opencv-contrib-python", "mediapipe", "scipy", "av")


def magplus_version() -> str:
    """Return the extension's version; the manifest is the one place where it stands."""
    return str(tomllib.loads(MANIFEST.read_text(encoding="utf-8"))["version"])


def versions(device: torch.device) -> dict[str, str]:
    """Return the versions that decide a result, and the device it was made on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {
        "magplus": magplus_version(),
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
        "device": name,
    }
