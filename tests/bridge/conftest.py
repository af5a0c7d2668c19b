# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from magplus.backend_bridge.job.folder import JobFolder
from magplus.backend_bridge.job.spec import Avatar, Driving, JobSpec


@pytest.fixture
def spec() -> JobSpec:
    return JobSpec(driving=Driving("clip.mp4"), avatar=Avatar("avatar/avatar.png"))


@pytest.fixture
def folder(tmp_path: Path, spec: JobSpec) -> JobFolder:
    """A job folder that is ready to run."""
    folder = JobFolder.create(tmp_path / "shot.magplus")
    folder.write_spec(spec)
    return folder


@pytest.fixture
def as_ordinary_user() -> Callable[[Path], AbstractContextManager[None]]:
    """Become somebody whom file permissions bind: containers run tests as root, whom they don't."""
    return _as_ordinary_user


@contextmanager
def _as_ordinary_user(place: Path) -> Iterator[None]:
    if sys.platform == "win32" or os.geteuid() != 0:
        yield
        return
    for directory in (place, *place.parents):
        directory.chmod(directory.stat().st_mode | 0o055)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
