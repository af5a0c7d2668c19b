# SPDX-License-Identifier: GPL-3.0-or-later
"""A job folder that somebody else has put together: nothing outside of it is read, changed or deleted."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from magplus.backend_bridge.files.errors import ExitCode, MagPlusError
from magplus.backend_bridge.job import artefacts
from magplus.backend_bridge.job.artefacts import FOLDERS, FRAMES
from magplus.backend_bridge.job.folder import JobFolder
from tests.bridge.drills.a_run import COUNT, TIMES, contents, make_job, run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks, and makes links")

SECRET = b"precious, line 1\nprecious, line 2\n"
FILES = (
    *(artefacts.SPEC, artefacts.REPORT, artefacts.JOURNAL, artefacts.LOG, artefacts.LOCK, artefacts.WEIGHTS),
    *(artefacts.CURVES, artefacts.AVATAR_IMAGE, FRAMES.unit(0), FRAMES.unit(COUNT), "observed/000001.json"),
)
RAN = (False, True) if TIMES > 1 else (True,)  # before the first run, and between two
PLACES = (*FOLDERS, "frames_30fps", artefacts.SET_ASIDE)


def link(outside: Path, place: Path) -> None:
    place.symlink_to(outside / "file")


def hard_link(outside: Path, place: Path) -> None:
    os.link(outside / "file", place)


def dangling(outside: Path, place: Path) -> None:
    place.symlink_to(outside / "made by MagPlus")


def pipe(_outside: Path, place: Path) -> None:
    os.mkfifo(place)


def device(_outside: Path, place: Path) -> None:
    place.symlink_to("/dev/zero")


def folder_link(outside: Path, place: Path) -> None:
    place.symlink_to(outside, target_is_directory=True)


def a_folder(_outside: Path, place: Path) -> None:
    place.mkdir()


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A person's own folder, with files of the names that MagPlus gives."""
    place = tmp_path / "outside"
    (place / "frames").mkdir(parents=True)
    for name in ("file", "000001.png", "000004.png", ".writing-1-2", "avatar.png", "frames/000001.png"):
        (place / name).write_bytes(SECRET)
    return place


def put(job: Path, name: str, outside: Path, trap: Callable[[Path, Path], None]) -> None:
    place = job / name
    place.parent.mkdir(exist_ok=True)
    if place.is_dir():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    trap(outside, place)


def assert_harmless(job: Path, outside: Path, tmp_path: Path) -> None:
    before = contents(outside)
    for _ in range(2):
        ended = run(job, tmp_path / "record")
        assert contents(outside) == before
        assert not ended.hung and "Traceback" not in ended.output, ended
        assert ended.status in (ExitCode.OK, ExitCode.BAD_INPUT), ended
        assert SECRET.decode() not in ended.output
    for write in (capture, importing):
        try:
            write(job)
        except MagPlusError as error:
            assert "\n" not in str(error)
        assert contents(outside) == before


def capture(job: Path) -> None:
    folder = JobFolder.create(job)
    folder.write(artefacts.AVATAR_IMAGE, b"another picture")
    folder.write_spec(folder.read_spec())


def importing(job: Path) -> None:
    folder = JobFolder.open(job)
    folder.check_whole([FRAMES.unit(index) for index in range(COUNT)])
    folder.repeat([FRAMES.unit(0)] * 3, artefacts.at_rate(25))
    folder.write(artefacts.BAKE, b"{}")
    folder.keep_only(FRAMES, 1)


def assert_all_harmless(
    names: Iterable[str], tmp_path: Path, outside: Path, trap: Callable[[Path, Path], None], ran: bool
) -> None:
    """Put a trap in the place of each of these in a copy of a job, which may have run before."""
    job = make_job(tmp_path / "job.magplus").path
    if ran:
        assert run(job, tmp_path / "record").status == ExitCode.OK
    for number, name in enumerate(names):
        received = shutil.copytree(job, tmp_path / f"received {number}.magplus")
        put(received, name, outside, trap)
        assert_harmless(received, outside, tmp_path)


@pytest.mark.parametrize("trap", [link, hard_link, dangling, pipe, device, folder_link, a_folder])
@pytest.mark.parametrize("ran", RAN)
def test_a_file_that_is_none_is_left_alone(
    tmp_path: Path, outside: Path, trap: Callable[[Path, Path], None], ran: bool
) -> None:
    assert_all_harmless(FILES, tmp_path, outside, trap, ran)


@pytest.mark.parametrize("trap", [folder_link, link, pipe])
@pytest.mark.parametrize("ran", RAN)
def test_a_folder_that_is_none_is_left_alone(
    tmp_path: Path, outside: Path, trap: Callable[[Path, Path], None], ran: bool
) -> None:
    assert_all_harmless(PLACES, tmp_path, outside, trap, ran)


@pytest.mark.parametrize("unit", ["../outside/000004.png", "/tmp/x", "frames/../../outside/000004.png", "frames"])
def test_a_journal_that_names_files_elsewhere_deletes_none(tmp_path: Path, outside: Path, unit: str) -> None:
    job = make_job(tmp_path / "job.magplus").path
    line = b'{"unit": "%s", "size": 1, "sha256": "%s", "fingerprint": "x"}\n' % (unit.encode(), b"0" * 64)
    (job / artefacts.JOURNAL).open("ab").write(line)
    assert_harmless(job, outside, tmp_path)
