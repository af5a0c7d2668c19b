# SPDX-License-Identifier: GPL-3.0-or-later
"""A batch keeps what is not its own, and makes again what of its own was damaged."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.blender.batch.a_list import CLIP, results_of, run_by_hand


def test_nothing_of_the_users_is_written_over(
    main: Callable[..., int], listed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    own = results_of(listed, "one") / "render" / "one_0005.png"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"the user's own render")
    assert main(listed, "--step", "capture", "--only", "one") == 0
    run_by_hand(listed, "one")
    assert main(listed, "--only", "one", "--step", "import", "--step", "render") == 2
    assert "in the way" in capfd.readouterr().err
    assert own.read_bytes() == b"the user's own render"


@pytest.mark.two_series
def test_what_somebody_has_changed_in_the_results_is_set_aside(
    main: Callable[..., int], listed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    results = listed.with_name("list_results")
    for name in ("batch.csv", "batch.json", "contact_sheet.html", "one/shot.json"):
        (results / name).parent.mkdir(parents=True, exist_ok=True)
        (results / name).write_text("my own")
    assert main(listed, "--step", "capture", "--only", "one") == 0
    for place, name in ((results, "batch.csv"), (results, "contact_sheet.html"), (results / "one", "shot.json")):
        assert (place / "set_aside" / name).read_text() == "my own" and (place / name).read_text() != "my own"
    assert (results / "set_aside" / "batch.json").read_text() == "my own"
    run_by_hand(listed, "one")
    assert main(listed, "--step", "import", "--step", "render", "--only", "one") == 0
    render, saved = results / "one" / "render", listed.with_name("both.blend")
    with saved.open("ab") as file:
        file.write(b"edited by hand")
    edited = saved.read_bytes()
    (render / "one_0006.png").write_bytes(b"retouched")
    (render / "one_0008.png").unlink()
    (render / ".writing-1-abc").mkdir()  # of a run that was killed
    listed.write_text(listed.read_text().replace("start_frame = 5", "start_frame = 6"))
    capfd.readouterr()
    assert main(listed, "--step", "import", "--step", "render", "--only", "one") == 0
    printed = capfd.readouterr().err
    assert listed.with_name("both_kept_1.blend").read_bytes() == edited and "kept as both_kept_1.blend" in printed
    assert "magplus: warning: one: both.blend was not what" in printed
    assert (render / "set_aside" / "one_0006.png").read_bytes() == b"retouched" and "set_aside/one_0006.png" in printed
    frames = [f"one_{number:04}.png" for number in range(6, 15)]
    assert sorted(path.name for path in render.glob("*.png")) == frames, "the frame before belongs to the earlier start"
    assert {path.name for path in render.iterdir() if path.name.startswith(".")} == {".lock"}


def test_another_lists_result_is_not_replaced_by_a_shot_of_the_same_name(
    main: Callable[..., int], listed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(listed, "--step", "capture", "--only", "two") == 0
    run_by_hand(listed, "two")
    report = results_of(listed, "two") / "job.magplus" / "report.json"
    made = report.read_bytes()
    listed.with_name("another.mp4").write_bytes(b"another clip")
    other = listed.with_name("other.toml")
    other.write_text(listed.read_text().replace(CLIP, "another.mp4"))
    capfd.readouterr()
    assert main(other, "--results", results_of(listed, ""), "--step", "capture", "--only", "two") == 2
    assert "holds the result of clip.mp4 (Ann, heads.blend), a shot of list.toml, which" in capfd.readouterr().err
    assert report.read_bytes() == made
    listed.write_text(other.read_text())
    assert main(listed, "--step", "capture", "--only", "two") == 0, "in its own list a shot may get another clip"


def test_results_of_somebody_else_lead_nowhere(
    main: Callable[..., int], listed: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    results, outside = listed.with_name("list_results"), tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("precious")
    for name in ("one", "one/render", "one/job.magplus", "captures"):
        folder = results / name
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.symlink_to(outside)
        assert main(listed, "--step", "capture", "--only", "one") == 2
        folder.unlink()
        assert "is a link" in capfd.readouterr().err
    for name in ("one/shot.json", "batch.csv", "written.jsonl"):
        for make in (lambda path: path.symlink_to(outside / "file"), os.mkfifo):
            (results / name).unlink(missing_ok=True)
            make(results / name)
            assert main(listed, "--step", "capture", "--only", "one") == 2
            (results / name).unlink()
            assert "Traceback" not in capfd.readouterr().err
    assert [path.name for path in outside.iterdir()] == ["file"] and (outside / "file").read_text() == "precious"


@pytest.mark.two_series
def test_a_damaged_record_or_capture_is_made_again_or_is_a_sentence(
    main: Callable[..., int], listed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(listed, "--step", "capture", "--only", "one") == 0
    results, draw = listed.with_name("list_results"), random.Random(1)
    record = results / "one" / "shot.json"
    whole = record.read_bytes()
    data = json.loads(whole)
    nasty = (None, -1, 1e308, "x" * 50_000, "a\0b", "\ud800", [], {}, [1, 10**15], [10**30, 10**30], "/dev/zero")
    cases = [json.dumps({**data, key: value}).encode() for key in data for value in nasty]
    for _ in range(60):
        changed = bytearray(whole)
        for _ in range(draw.choice((1, 3, 20))):
            changed[draw.randrange(len(changed))] = draw.randrange(256)
        cases.append(bytes(changed))
    for case in cases:
        record.write_bytes(case)
        assert main(listed, "--step", "render", "--only", "one") in (0, 2)
    record.write_bytes(whole)
    (kept,) = (results / "captures").iterdir()
    for case in (b'{"schema": 1, "files": {}}', b"", b"[" * 10_000):
        (kept / "kept.json").write_bytes(case)
        assert main(listed, "--step", "capture", "--only", "one", "--again") == 0
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("name", ["captures", "Set_Aside", "batch.csv"])
def test_no_shot_is_named_like_something_else_in_the_results(
    main: Callable[..., int], listed: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    listed.write_text(listed.read_text().replace('"two"', f'"{name}"'))
    assert main(listed, "--dry-run") == 2
    assert f"line 12: '{name}' is a name that the results have; give it another." in capfd.readouterr().err


def test_a_list_is_never_written_over_by_its_results(
    main: Callable[..., int], listed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(listed, "--results", listed.parent / CLIP, "--dry-run") == 2
    assert "clip.mp4 is a file, not a folder for results" in capfd.readouterr().err
    shots = listed.with_name("batch.csv")
    text = f"name,file,driving,shape_keys\none,heads.blend,{CLIP},true\n"
    shots.write_text(text)
    assert main(shots, "--results", shots.parent, "--step", "capture") == 2
    assert shots.read_text() == text


@pytest.mark.parametrize("path", ["~nobody-of-this-name/x", "x" * 5000])
@pytest.mark.parametrize("key", ["file", "save", "driving", "anchors", "python"])
def test_a_path_that_nothing_can_have_is_reported_by_its_line(
    main: Callable[..., int], listed: Path, capfd: pytest.CaptureFixture[str], key: str, path: str
) -> None:
    given = {"file": "heads.blend", "driving": CLIP, key: path}
    listed.write_text(
        "[[shot]]\nname = 'one'\nshape_keys = true\n" + "".join(f"{k} = '{v}'\n" for k, v in given.items())
    )
    assert main(listed, "--dry-run") in (0, 2)
    assert "Traceback" not in capfd.readouterr().err
