# SPDX-License-Identifier: GPL-3.0-or-later
"""The versions of everything that decides a result."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import version

import torch

from ...backend_bridge.files.version import magplus_version

PACKAGES = ("torch", "numpy", "opencv-contrib-python", "mediapipe", "scipy", "av")


@cache
def _installed() -> dict[str, str]:
    """Return the packages' versions; they stay what they are as long as a process has them loaded."""
    return {package: version(package) for package in PACKAGES}


def versions(device: torch.device) -> dict[str, str]:
    """Return the versions that decide a result, and the device it was made on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {
        "magplus": magplus_version(),
        "python": platform.python_version(),
        **_installed(),
        "device": name,
    }
