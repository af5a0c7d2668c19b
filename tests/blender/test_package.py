# SPDX-License-Identifier: GPL-3.0-or-later
"""The extension as people get it: the zip, and its life in a Blender that has never seen it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.blender import extension_zip

ROOT = extension_zip.ROOT
INSTALLED = Path(__file__).with_name("installed.py")


@pytest.fixture(scope="module")
def zip_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return extension_zip.build(tmp_path_factory.mktemp("extension"))


def in_a_fresh_blender(zip_path: Path, *command: str) -> dict[str, Any]:
    """Install the zip, run one of its commands and uninstall it, all in a process of its own."""
    surroundings = {name: value for name, value in os.environ.items() if name != "BLENDER_USER_RESOURCES"}
    done = subprocess.run(
        [sys.executable, str(INSTALLED), str(zip_path), *command],
        capture_output=True, text=True, timeout=600, check=False, env=surroundings,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_blenders_own_builder_finds_nothing_wrong(zip_path: Path) -> None:
    assert "Success" in extension_zip.validate(zip_path)


def test_the_zip_holds_what_it_needs_and_only_tracked_files(zip_path: Path) -> None:
    git = ["git", "-C", str(ROOT), "ls-files", "-z"]
    tracked = set(subprocess.run(git, capture_output=True, text=True, check=True).stdout.split("\0"))
    names = {name for name in zipfile.ZipFile(zip_path).namelist() if not name.endswith("/")}
    assert names - tracked == set()
    assert {
        "__init__.py",
        "blender_manifest.toml",
        "LICENSE",
        "backend_bridge/worker/__main__.py",
        "backend_bridge/worker/requirements.txt",
        "magplus_addon/commands/__init__.py",
        "models/pipeline/run.py",
        "operators/animate.py",
    } <= names
    left_out = {"tests", "docs", "demo", "farm", "benchmarks", "checkout", "development", ".github", ".ci"}
    left_out |= {"dev.py", "pyproject.toml", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "CITATION.cff"}
    assert {name.split("/")[0] for name in names} & left_out == set()


def test_what_the_extension_weighs(zip_path: Path) -> None:
    assert zip_path.stat().st_size < 50e6, "extensions are downloaded by everybody"


def test_installed_used_and_removed_without_a_trace(zip_path: Path) -> None:
    found = in_a_fresh_blender(zip_path, "environment", "check", "--python", str(ROOT / "no python"))
    assert found["enabled"] and found["from"] == "extensions/user_default/magplus"
    assert found["exit_code"] == 2 and "is not a Python that can be started" in found["printed"]
    for kind in ("types", "properties", "handlers", "foreign_modules", "files", "modules"):
        assert found[kind] == [], kind
    assert not found["in_preferences"]
