# SPDX-License-Identifier: GPL-3.0-or-later
"""A person's own folder is given as a job folder: it is refused, or MagPlus writes beside his files."""

from __future__ import annotations

import json
import os
import random
import sys
from pathlib import Path

import pytest

from magplus.backend_bridge.files.errors import ExitCode, InputError, MagPlusError
from magplus.backend_bridge.job import artefacts
from magplus.backend_bridge.job.artefacts import FOLDERS, FRAMES
from magplus.backend_bridge.job.folder import JobFolder
from tests.bridge.drills.a_run import SEED, TIMES, contents, make_job, run

NAMES = (
    *(
        "0001.png",
        "000001.png",
        "000004.png",
        "beauty_0250.exr",
        "notes.txt",
        ".writing-notes",
        ".writing-7-x",
        ".lock",
    ),
    *("job.json", "report.json", "journal.jsonl", "weights.npz", "curves.png", "bake.json", "avatar.png", "shot.blend"),
)
PLACES = ("", *FOLDERS, "frames_24fps", "renders", "set_aside")
JOBS_OF_OTHERS = (b"", b"{}", b"{", b'{"schema": 2, "name": "render"}', b'{"jobs": []}', b"\xff\xfe")


@pytest.mark.parametrize(
    "name", [*FOLDERS, "frames_24fps", "report.json", "weights.npz", "weights.csv", "journal.jsonl"]
)
def test_a_folder_in_which_one_name_fits_is_not_taken_for_a_job(tmp_path: Path, name: str) -> None:
    shot = tmp_path / "shot010"
    place = shot / name
    place.mkdir(parents=True) if "." not in name else shot.mkdir()
    mine = place / "0001.png" if "." not in name else place
    mine.write_bytes(b"my own render")
    (shot / "shot010.blend").write_bytes(b"mine")
    before = contents(shot)
    with pytest.raises(InputError, match="holds other files than a MagPlus job"):
        JobFolder.create(shot)
    assert contents(shot) == before


@pytest.mark.parametrize("text", JOBS_OF_OTHERS)
def test_somebody_elses_job_json_makes_no_job(tmp_path: Path, text: bytes) -> None:
    (tmp_path / artefacts.SPEC).write_bytes(text)
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames/000001.png").write_bytes(b"mine")
    before = contents(tmp_path)
    with pytest.raises(InputError, match="holds no MagPlus job"):
        JobFolder.create(tmp_path)
    assert contents(tmp_path) == before


def test_a_capture_that_was_cut_off_can_be_done_again(tmp_path: Path) -> None:
    folder = JobFolder.create(tmp_path / "shot.magplus")
    folder.write(artefacts.AVATAR_IMAGE, b"a picture")
    (folder.path / ".DS_Store").write_bytes(b"")
    (folder.path / "Thumbs.db").write_bytes(b"")
    make_job(folder.path)
    assert (folder.path / artefacts.AVATAR_IMAGE).read_bytes() == b"a picture"


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
@pytest.mark.parametrize("number", range(12 * TIMES))
def test_whatever_a_person_keeps_in_a_job_folder_is_still_there_after_it(tmp_path: Path, number: int) -> None:
    """In a job's folder, before its first run or between two, at places where MagPlus writes and at others."""
    draw = random.Random(f"{SEED} {number}")
    job = make_job(tmp_path / "job.magplus").path
    if draw.random() < 0.5:
        assert run(job, tmp_path / "record").status == ExitCode.OK
    written = contents(job)
    mine = set()
    for _ in range(draw.randint(1, 12)):
        place = job / draw.choice(PLACES) / draw.choice(NAMES)
        name = place.relative_to(job).as_posix()
        if name in written or name in (artefacts.JOURNAL, artefacts.SPEC):
            continue
        place.parent.mkdir(exist_ok=True)
        mine.add(data := f"my own {number} {name}".encode())
        place.write_bytes(data)
    for _ in range(2):
        ended = run(job, tmp_path / "record")
        assert ended.status in (ExitCode.OK, ExitCode.BAD_INPUT) and "Traceback" not in ended.output, ended
        try:
            folder = JobFolder.create(job)
            folder.write(artefacts.AVATAR_IMAGE, os.urandom(8))
            folder.repeat([FRAMES.unit(0)], artefacts.at_rate(24))
        except MagPlusError as error:
            assert ".lock" in str(error)
        assert mine <= set(contents(job).values())


def test_a_job_of_an_older_version_is_still_one(tmp_path: Path) -> None:
    folder = make_job(tmp_path / "job.magplus")
    data = json.loads(folder.spec_path.read_bytes()) | {"schema": 1}
    folder.spec_path.write_text(json.dumps(data))
    (folder.path / "journal.jsonl").unlink()
    (folder.path / FRAMES.folder).mkdir()
    assert JobFolder.create(folder.path).read_spec().avatar.image == artefacts.AVATAR_IMAGE
