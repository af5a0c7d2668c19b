# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be a moving shot, and where a clip lies in it."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import pytest

from magplus.backend_bridge.files.errors import InputError
from magplus.backend_bridge.job.plate_size import check_sizes, plate_size
from magplus.backend_bridge.job.scene_time import SourceTime, place_in_shot
from magplus.backend_bridge.job.shot import Shot, check_interval, check_plates, plate_of
from magplus.backend_bridge.job.spec import SPEC, Avatar, Driving, JobSpec, Outputs


def test_plates_are_named_by_the_number_of_the_scenes_frame(tmp_path: Path) -> None:
    assert plate_of("/a/shot.####.exr", 12) == Path("/a/shot.0012.exr")
    assert plate_of("/a/##_left.png", 1001) == Path("/a/1001_left.png")
    for number in (7, 9):
        (tmp_path / f"s{number:03}.png").write_bytes(b"x")
    with pytest.raises(InputError, match=r"1 of 3 plates are missing, .*s008\.png first"):
        check_plates(str(tmp_path / "s###.png"), range(7, 10))
    check_plates(str(tmp_path / "s###.png"), range(7, 8))


@pytest.mark.parametrize("plates", ["shot.exr", "##/shot.##.exr", "a#b#.png", "shot.####.tif", "#"])
def test_plates_that_are_named_wrongly_are_reported_with_how_to_name_them(plates: str) -> None:
    with pytest.raises(InputError, match="write # for each digit"):
        check_plates(plates, range(1, 2))


@pytest.mark.parametrize(("first", "last"), [(0, 5), (9, 8), (1, 10**7), (1, 5001)])
def test_an_interval_lies_within_what_can_be_numbered(first: int, last: int) -> None:
    with pytest.raises(InputError, match="moving shot"):
        check_interval(first, last)


def test_a_job_with_a_shot_survives_its_file_and_an_st_map_needs_one() -> None:
    shot = Shot((1001, 1048), 1004, Fraction(24000, 1001), plates="/p/####.exr")
    spec = JobSpec(Driving("v.mp4"), Avatar("avatar/avatar.png"), outputs=Outputs(st_map=True), shot=shot)
    assert SPEC.decode(SPEC.encode(spec)).validated() == spec
    with pytest.raises(InputError, match="moving shot"):
        JobSpec(Driving("v.mp4"), Avatar("a.png"), outputs=Outputs(st_map=True)).validated()


def test_the_apex_falls_on_a_whole_frame() -> None:
    source = SourceTime(tuple(Fraction(n, 30) for n in range(20)), Fraction(30), {"apex": Fraction(11, 30)}, 11)
    placed = place_in_shot(source, Shot((1, 20), 1, Fraction(24)))
    assert placed.frame(Fraction(11, 30)).denominator == 1


def test_plates_of_another_size_are_named_before_anything_is_captured(tmp_path: Path) -> None:
    window = struct.pack("<4i", -10, 0, 1909, 1079)
    named = b"comments\0string\0" + struct.pack("<i", 3) + b"a\0b" + b"displayWindow\0box2i\0" + struct.pack("<i", 16)
    (tmp_path / "p1.exr").write_bytes(b"\x76\x2f\x31\x01\2\0\0\0" + named + window + b"\0")
    (tmp_path / "p1.png").write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 960, 540))
    (tmp_path / "p2.png").write_bytes(b"damaged")
    assert plate_size(tmp_path / "p1.exr") == (1920, 1080)
    check_sizes(str(tmp_path / "p#.png"), range(1, 3), (960, 540))
    with pytest.raises(InputError, match=r"p1\.png is 960 x 540 px large, but the scene renders 480 x 270 px"):
        check_sizes(str(tmp_path / "p#.png"), range(1, 3), (480, 270))
