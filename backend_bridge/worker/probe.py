# SPDX-License-Identifier: GPL-3.0-or-later
"""What this Python can do, found out by really loading everything; printed as one line of JSON."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import platform
import sys
from typing import Any

from ..environment.requirements import read_requirements
from ..files.errors import ExitCode, MagPlusError

_MODULES = {"opencv-contrib-python": "cv2", "openexr": "OpenEXR"}  # where a package's module has another name


def main() -> ExitCode:
    """Print the answers: "problems" keep the worker from running, "remarks" don't; both are lists of sentences."""
    versions: dict[str, str] = {}
    missing, problems, remarks = [], [], []
    for requirement in read_requirements():
        try:
            versions[requirement.name] = version = importlib.metadata.version(requirement.name)
            if not requirement.data_only:
                importlib.import_module(_MODULES.get(requirement.name, requirement.name))
            if version.partition("+")[0] != requirement.version:
                remarks.append(f"{requirement.name} is {version}; MagPlus is tested with {requirement.version}.")
        except importlib.metadata.PackageNotFoundError:
            missing.append(str(requirement))
        except Exception as error:  # a broken binary can fail in any way
            problems.append(f"{requirement.name} can't be loaded ({_short(error)}).")
    if missing:
        problems.append(f"This Python lacks {', '.join(missing)}; let MagPlus make an environment, or install them.")
    device: dict[str, Any] = {"kind": "", "name": "", "memory": 0}
    if not problems:
        try:
            device = _device()
            # Loads the landmark model, whose hash it checks, and the graphics libraries that MediaPipe needs.
            from ...models.face import FaceLandmarker

            FaceLandmarker().close()
            importlib.import_module("...models.loops", __package__).load_all()  # compiled now, not when a job waits
        except MagPlusError as error:
            problems.append(str(error))
        except Exception as error:  # a driver can fail in any way; the user needs to hear which
            problems.append(f"The worker can't compute here ({_short(error)}).")
    answer = {
        "python": platform.python_version(),
        "torch": _torch_version() or versions.get("torch", ""),
        "packages": versions,
        "device": device,
        "problems": problems,
        "remarks": remarks,
    }
    print(json.dumps(answer), flush=True)
    return ExitCode.MACHINE if problems else ExitCode.OK


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"


def _torch_version() -> str:
    torch = sys.modules.get("torch")
    return str(torch.__version__) if torch is not None else ""


def _device() -> dict[str, Any]:
    """Return the best device, after computing something on it."""
    import torch

    if torch.cuda.is_available():
        kind, name = "cuda", torch.cuda.get_device_name(0)
        memory = torch.cuda.get_device_properties(0).total_memory
    elif torch.backends.mps.is_available():
        kind, name, memory = "mps", "Apple GPU", _machine_memory()
    else:
        kind, name, memory = "cpu", f"{os.cpu_count()} cores", _machine_memory()
    torch.ones(8, device=kind).sum().item()
    return {"kind": kind, "name": name, "memory": memory}


def _machine_memory() -> int:
    """Return the machine's memory in bytes, 0 where the standard library doesn't know it (Windows)."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0
