# SPDX-License-Identifier: GPL-3.0-or-later
"""The libraries of the system that the worker's packages load and no package brings, and how to install them."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..worker_client.process import popen_options, python_command

_TIMEOUT = 30.0
_SCRIPT = """
import ctypes, json, sys
missing = []
for name in sys.argv[1:]:
    try:
        ctypes.CDLL(name)
    except OSError as error:
        missing.append(name)
print(json.dumps(missing))
"""
# How a family of distributions installs packages, by what `/etc/os-release` calls it.
_INSTALL = {
    "debian": "sudo apt install",
    "fedora": "sudo dnf install",
    "arch": "sudo pacman -S",
    "suse": "sudo zypper install",
    "alpine": "",  # musl: there are no wheels for it
}
_FAMILIES = {"ubuntu": "debian", "rhel": "fedora", "centos": "fedora", "opensuse": "suse", "manjaro": "arch"}


@dataclass(frozen=True)
class SystemLibrary:
    """A library by its file's name, who needs it, and the package that has it in each family of distributions."""

    file: str
    needed_by: str
    packages: Mapping[str, str]


LINUX = (
    SystemLibrary(
        "libGLESv2.so.2",
        "MediaPipe",
        {"debian": "libgles2", "fedora": "libglvnd-gles", "arch": "libglvnd", "suse": "libglvnd"},
    ),
    SystemLibrary(
        "libEGL.so.1",
        "MediaPipe",
        {"debian": "libegl1", "fedora": "libglvnd-egl", "arch": "libglvnd", "suse": "libglvnd"},
    ),
    SystemLibrary(
        "libGL.so.1",
        "OpenCV",
        {"debian": "libgl1", "fedora": "libglvnd-glx", "arch": "libglvnd", "suse": "libglvnd"},
    ),
    SystemLibrary(
        "libgthread-2.0.so.0",
        "OpenCV",
        {"debian": "libglib2.0-0", "fedora": "glib2", "arch": "glib2", "suse": "libgthread-2_0-0"},
    ),
    SystemLibrary(
        "libstdc++.so.6",
        "PyTorch",
        {"debian": "libstdc++6", "fedora": "libstdc++", "arch": "gcc-libs", "suse": "libstdc++6"},
    ),
)
WINDOWS = tuple(SystemLibrary(file, "PyTorch", {}) for file in ("vcruntime140_1.dll", "msvcp140.dll"))
NEEDED = LINUX if sys.platform.startswith("linux") else WINDOWS if sys.platform == "win32" else ()


def missing_libraries(python: Path) -> tuple[SystemLibrary, ...]:
    """Return those of `NEEDED` that a Python of this machine can't load."""
    libraries = {library.file: library for library in NEEDED}
    if not libraries:
        return ()
    try:
        answer = subprocess.run(
            python_command(python, "-c", _SCRIPT, *libraries),
            stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT, check=True, **popen_options(),
        )  # fmt: skip
        return tuple(libraries[name] for name in json.loads(answer.stdout.splitlines()[-1]))
    except (OSError, subprocess.SubprocessError, ValueError, IndexError, KeyError, TypeError):
        return ()  # that Python has other faults, which its next user meets


def how_to_install(missing: Iterable[SystemLibrary], family: str | None = None) -> str:
    """Return, as a sentence, what this machine lacks and how to get it.

    family: of the distribution, as `distribution_family` returns it; by default this machine's.
    """
    libraries = list(missing)
    names = " and ".join(filter(None, [", ".join(each.file for each in libraries[:-1]), libraries[-1].file]))
    users = ", ".join(dict.fromkeys(each.needed_by for each in libraries))
    lacks = f"This machine lacks {names}, which {users} needs"
    if not any(each.packages for each in libraries):
        return f"{lacks}; install the Microsoft Visual C++ Redistributable (x64)."
    family = distribution_family() if family is None else family
    if command := _INSTALL.get(family):
        return f"{lacks}; install it with `{command} {_packages(libraries, family)}`."
    ways = "; ".join(f"{name}: {_packages(libraries, name)}" for name, command in _INSTALL.items() if command)
    return f"{lacks}; install the packages that have it ({ways})."


def distribution_family() -> str:
    """Return the family of this machine's distribution, "debian" for example, or an empty string."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return ""
    names = [release.get("ID", ""), *release.get("ID_LIKE", "").split()]
    families = (_FAMILIES.get(name.partition("-")[0], name.partition("-")[0]) for name in names)
    return next((family for family in families if family in _INSTALL), "")


def _packages(libraries: Iterable[SystemLibrary], family: str) -> str:
    return " ".join(dict.fromkeys(each.packages[family] for each in libraries))
