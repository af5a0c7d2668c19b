# SPDX-License-Identifier: GPL-3.0-or-later
"""Damaged and hostile documents: each is read as it is, or is one sentence; nothing hangs and no number is nonsense."""

from __future__ import annotations

import copy
import json
import math
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from magplus.backend_bridge.files.errors import ExitCode, InputError
from magplus.backend_bridge.job import artefacts
from magplus.backend_bridge.job.artefacts import FRAMES
from magplus.backend_bridge.job.folder import JobFolder
from magplus.backend_bridge.job.report import LARGEST, MOST_FRAMES, MOST_SECONDS, Report
from tests.bridge.drills.a_run import COUNT, SEED, TIMES, make_job, run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks")

LONGEST = 2.0  # seconds that reading may take
NASTY: tuple[Any, ...] = (
    *(None, True, 0, -1, 2**31, 2**63, 10**300, 1e308, -1e308, 5e-324, 0.5, "", "a", "a\0b", "\ud800", "x" * 100_000),
    *("../../outside/%06d.png", "/etc/%06d.png", "%999999999d", "frames/%s.png", "1e99999999", "1/0", "-5", "9" * 24),
    *([], {}, [[]], [1, 2], [1e308, -1e308], ["0", "86400"], ["0", "0"], {"x": 1e308}, [[[[[[]]]]]]),
)
RAW = (b"", b"null", b"[]", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000, b"\0" * 1000, b'{"schema": 2}')


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(node, dict | list):
        for key, each in node.items() if isinstance(node, dict) else enumerate(node):
            yield from places(each, (*path, key))


def damaged(document: bytes, draw: random.Random) -> bytes:
    """Return a document with a wrong value, a missing or a further entry, or wrong bytes."""
    kind = draw.random()
    if kind < 0.25:
        flipped = bytearray(document)
        for _ in range(draw.choice((1, 1, 3, 20))):
            flipped[draw.randrange(len(flipped))] = draw.randrange(256)
        return bytes(flipped)
    if kind < 0.3:
        return draw.choice((*RAW, document[: draw.randrange(len(document))], document * 2))
    data = json.loads(document)
    path = draw.choice([each for each in places(data) if each])
    node = data
    for key in path[:-1]:
        node = node[key]
    if kind < 0.4 and isinstance(node, dict):
        del node[path[-1]]
    elif kind < 0.5 and isinstance(node, dict):
        node[draw.choice(("extra", "", "__class__"))] = draw.choice(NASTY)
    else:
        node[path[-1]] = copy.deepcopy(draw.choice(NASTY))
    return json.dumps(data).encode()


def numbers(value: Any) -> Iterator[float | Fraction]:
    if is_dataclass(value):
        for each in fields(value):
            yield from numbers(getattr(value, each.name))
    elif isinstance(value, dict):
        for each in value.values():
            yield from numbers(each)
    elif isinstance(value, tuple | list):
        for each in value:
            yield from numbers(each)
    elif isinstance(value, int | float | Fraction):
        yield value


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("job")
    made = make_job(place / "job.magplus").path
    assert run(made, place / "record").status == ExitCode.OK
    return made


@pytest.fixture
def put(job: Path) -> Iterator[Callable[[str, bytes], None]]:
    """Put other bytes into a file of the job, until the test is over."""
    before: dict[str, bytes] = {}

    def write(name: str, data: bytes) -> None:
        before.setdefault(name, (job / name).read_bytes())
        (job / name).write_bytes(data)

    yield write
    for name, data in before.items():
        (job / name).write_bytes(data)


def in_time(read: Callable[[], Any]) -> Any:
    """Return what is read, None for one sentence that says what is wrong."""
    began = time.perf_counter()
    try:
        return read()
    except InputError as error:
        assert "\n" not in str(error) and len(str(error)) < 500, str(error)[:1000]
        return None
    finally:
        assert time.perf_counter() - began < LONGEST


def test_a_report_is_read_within_its_bounds_or_is_a_sentence(job: Path, put: Callable[[str, bytes], None]) -> None:
    draw, folder = random.Random(SEED), JobFolder.open(job)
    whole, read = (job / artefacts.REPORT).read_bytes(), 0
    for _ in range(400 * TIMES):
        put(artefacts.REPORT, damaged(whole, draw))
        report: Report | None = in_time(folder.read_report)
        if report is None:
            continue
        read += 1
        assert all(math.isfinite(number) and abs(number) <= LARGEST for number in numbers(report))
        if report.timing is not None:
            assert all(0 <= each <= MOST_SECONDS for each in report.timing.seconds)
        if report.frames is not None:
            assert report.frames.pattern == FRAMES.pattern and 0 <= report.frames.count <= MOST_FRAMES
    assert read > 0


def test_a_job_is_read_or_is_a_sentence(job: Path, put: Callable[[str, bytes], None]) -> None:
    draw, folder = random.Random(SEED), JobFolder.open(job)
    whole = (job / artefacts.SPEC).read_bytes()
    for _ in range(400 * TIMES):
        put(artefacts.SPEC, damaged(whole, draw))
        spec = in_time(folder.read_spec)
        assert spec is None or all(math.isfinite(number) for number in numbers(spec))


def test_a_damaged_journal_never_passes_off_what_no_run_has_written(
    job: Path, put: Callable[[str, bytes], None]
) -> None:
    draw = random.Random(SEED)
    whole = (job / artefacts.JOURNAL).read_bytes()
    units = [FRAMES.unit(index) for index in range(COUNT)]
    put(units[1], b"garbage")
    for _ in range(200 * TIMES):
        lines = whole.splitlines(keepends=True)
        line = draw.randrange(len(lines))
        lines[line] = damaged(lines[line], draw)
        put(artefacts.JOURNAL, b"".join(lines))
        folder = JobFolder(job)
        assert in_time(lambda folder=folder: folder.check_whole(units)) is None
        assert not any(folder.finished(units[1], fingerprint) for fingerprint in ("", "x"))


@pytest.mark.parametrize("size", [0, 1, 100])
def test_a_frame_of_garbage_is_named(job: Path, put: Callable[[str, bytes], None], size: int) -> None:
    put(FRAMES.unit(1), b"\x89PNG garbage"[:size])
    with pytest.raises(InputError, match=r"frames/000002\.png is not what the run wrote"):
        JobFolder(job).check_whole([FRAMES.unit(index) for index in range(COUNT)])


def test_what_is_too_large_to_be_ours_is_not_read(job: Path, put: Callable[[str, bytes], None]) -> None:
    for name in (artefacts.REPORT, artefacts.SPEC):
        put(name, (job / name).read_bytes())
        with (job / name).open("r+b") as file:
            file.truncate(10 << 30)  # sparse: it takes no room
    folder = JobFolder.open(job)
    assert in_time(folder.read_report) is None
    assert in_time(folder.read_spec) is None


@pytest.mark.parametrize("name", [artefacts.SPEC, artefacts.REPORT, artefacts.JOURNAL])
def test_a_run_on_a_damaged_job_ends_in_a_sentence_or_well(
    tmp_path: Path, job: Path, put: Callable[[str, bytes], None], name: str
) -> None:
    draw, whole = random.Random(SEED), (job / name).read_bytes()
    for _ in range(10 * TIMES):
        put(name, damaged(whole, draw) if name != artefacts.JOURNAL else bytes(reversed(whole)))
        ended = run(job, tmp_path / "record")
        assert ended.status in (ExitCode.OK, ExitCode.BAD_INPUT) and not ended.hung, ended
        assert "Traceback" not in ended.output
