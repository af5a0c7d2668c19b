# SPDX-License-Identifier: GPL-3.0-or-later
"""A batch without a worker: which steps are done, together or alone, imported, rendered and resumed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import pytest

from tests.blender.batch.a_list import planned, results_of, run_by_hand, smiles
from tests.blender.jobs import finish, pulse


def test_shots_of_one_clip_that_were_measured_against_different_frames_say_so(
    main: Callable[..., int], listed: Path, module: Callable[[str], ModuleType], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(listed, "--step", "capture") == 0
    run_by_hand(listed, "one", "two", "three")
    report = module("backend_bridge.job.report")
    for shot, seconds in (("one", 0.25), ("two", 0.25), ("three", 1.5)):
        folder = module("backend_bridge.job.folder").JobFolder.open(results_of(listed, shot) / "job.magplus")
        reference = report.ReferenceReport(6, seconds, "rest")
        folder.write_report(replace(folder.read_report(), reference=reference), "made by hand")
    capfd.readouterr()
    assert main(listed, "--step", "import") == 0
    said = [line for line in capfd.readouterr().err.splitlines() if "give both the same `reference`" in line]
    assert len(said) == 1 and said[0].startswith("magplus: warning: three: Its clip was measured against the frame at")
    assert "1.500 s, in the shot 'one' against that at 0.250 s" in said[0]
    summary = json.loads((listed.with_name("list_results") / "batch.json").read_bytes())
    assert [len(shot["warnings"]) for shot in summary["shots"]] == [0, 0, 1]


def test_a_clip_that_is_gone_is_the_matter_of_its_shot_alone(
    main: Callable[..., int], listed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    another = listed.with_name("another.mp4")
    another.write_bytes(b"another")
    listed.write_text(listed.read_text().replace("alpha = 4", 'driving = "another.mp4"'))
    assert main(listed, "--step", "capture") == 0
    another.unlink()
    plans = planned(main, capfd, listed, code=2)
    assert plans["one"].endswith("(captured, not run yet)") and "another.mp4" in plans["two"]
    assert main(listed, "--step", "capture", "--keep-going") == 2
    assert "two: list.toml, line 14: there is no driving video at" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ('file = "gone.blend"', "line 14: there is no file at"),
        ('driving = "gone.mp4"', "line 14: there is no driving video at"),
        ('frames = [1, 2]\nplates = "gone_##.png"', "line 15: 2 of 2 plates are missing"),
    ],
)
def test_only_the_chosen_shots_are_asked_for_their_inputs(
    main: Callable[..., int], listed: Path, capfd: pytest.CaptureFixture[str], gone: str, message: str
) -> None:
    listed.write_text(listed.read_text().replace("alpha = 4", gone))
    assert main(listed, "--only", "t[!w]*", "--step", "capture") == main(listed, "--numbers", "1", "--dry-run") == 0
    assert main(listed, "--dry-run") == 2
    assert main(listed, "--step", "capture") == 2, "before anything is rendered"
    assert not (results_of(listed, "one") / "job.magplus").exists()
    assert f"error: two: list.toml, {message}" in capfd.readouterr().err
    assert main(listed, "--step", "capture", "--keep-going") == 2
    assert (results_of(listed, "one") / "job.magplus" / "job.json").is_file()
    assert main(listed, "--openjd", listed.parent / "farm") == 2 and not (listed.parent / "farm").exists()
    assert main(listed, "--openjd", listed.parent / "farm", "--keep-going") == 0
    assert message in capfd.readouterr().err and (listed.parent / "farm" / "list.openjd.json").is_file()


def test_two_batches_that_save_one_file_lose_nothing_of_each_other(
    main: Callable[..., int], module: Callable[[str], ModuleType], listed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    saved = listed.with_name("both.blend")
    assert main(listed, "--step", "capture") == 0
    run_by_hand(listed, "one")
    with module("backend_bridge.files.locks").hold_beside(saved):
        assert main(listed, "--step", "import", "--only", "one") == 5 and not saved.exists()
    assert "both.blend is in use by another run" in capfd.readouterr().err
    words = ["batch", str(listed), "--step", "import"]
    options = module("magplus_addon.commands").build_parser().parse_args(words)
    parts = module("magplus_addon.commands.batch.results")
    places = [
        parts.Place(listed.with_name("list_results") / shot.name, shot)
        for shot in module("magplus_addon.commands.batch.shots").read_shots(listed)
    ]
    batch = module("magplus_addon.commands.batch.carrying_out").Batch(results_of(listed, ""), places, {"one"}, options)
    plans = batch.plan()
    run_by_hand(listed, "three")  # the other batch is faster
    assert main(listed, "--step", "import", "--only", "three") == 0
    batch.carry_out(plans)
    assert batch.exit_code() == 0 and smiles(saved) == {"Ann": 0.5, "Bob": 0.5}

    (results_of(listed, "three") / "job.magplus" / "report.json").unlink()  # it is to be made again
    assert main(listed, "--step", "import", "--only", "one", "--again") == 2
    assert "both.blend holds three, too" in capfd.readouterr().err and smiles(saved) == {"Ann": 0.5, "Bob": 0.5}
    assert not [*listed.parent.glob(".*.lock")]


def test_a_failed_shot_leaves_the_others_of_its_file(main: Callable[..., int], listed: Path) -> None:
    assert main(listed, "--step", "capture") == 0
    run_by_hand(listed, "three")
    assert main(listed, "--step", "import") == 2, "one is not run yet, and stops the others"
    assert main(listed, "--step", "import", "--keep-going") == 2
    assert smiles(listed.with_name("both.blend")) == {"Ann": 0, "Bob": 0.5}


def test_a_farm_is_told_how_far_a_step_is_and_why_a_shot_failed(
    main: Callable[..., int], listed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    listed.write_text(listed.read_text().replace('"Ann"\nalpha = 4', '"Nobody"'))
    assert main(listed, "--step", "capture", "--keep-going", "--progress", "openjd") == 2
    lines = [line for line in capfd.readouterr().out.splitlines() if line.startswith("openjd_")]
    assert "openjd_status: Measuring the rig" in lines
    percentages = [int(line.split()[1]) for line in lines if line.startswith("openjd_progress: ")]
    assert percentages and percentages == sorted(set(percentages)), "over all shots it only ever rises"
    failed = [line for line in lines if line.startswith("openjd_fail: two: ")]
    assert len(failed) == 1 and "There is no mesh object 'Nobody'" in failed[0]


def test_a_farms_job_is_for_the_whole_list(
    main: Callable[..., int], listed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(listed, "--openjd", listed.parent / "farm", "--only", "one") == 2
    assert "leave --only, --numbers and --step out" in capfd.readouterr().err
    assert not (listed.parent / "farm").exists()


def test_a_farms_job_that_somebody_has_edited_is_set_aside(
    main: Callable[..., int], listed: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    farm = tmp_path / "farm"
    for _ in range(2):
        assert main(listed, "--openjd", farm, "--flamenco", farm) == 0
        assert "warning" not in capfd.readouterr().err
    (farm / "list.parameters.json").write_text("for our mounts")
    assert main(listed, "--openjd", farm) == 0
    assert (farm / "set_aside" / "list.parameters.json").read_text() == "for our mounts"
    assert "kept as set_aside/list.parameters.json" in capfd.readouterr().err


@pytest.mark.parametrize("step", ["run", "import"])
def test_a_step_whose_shot_is_not_captured_says_so(
    main: Callable[..., int], listed: Path, capfd: pytest.CaptureFixture[str], step: str
) -> None:
    assert main(listed, "--step", step) == 2
    assert "one: The shot is not captured yet; do the step `capture` first." in capfd.readouterr().err


def test_shots_of_one_file_are_saved_together_and_rendered(
    main: Callable[..., int],
    listed: Path,
    capfd: pytest.CaptureFixture[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    assert main(listed, "--step", "capture") == 0
    run_by_hand(listed, "one", "two", "three")
    assert main(listed, "--step", "import", "--step", "render", "--only", "one") == 0
    assert smiles(listed.with_name("both.blend")) == {"Ann": 0.5, "Bob": 0.5}
    render = results_of(listed, "one") / "render"
    frames = sorted(path.name for path in render.glob("*.png"))
    assert frames == [f"one_{number:04}.png" for number in range(5, 14)]
    before = {path.name: path.stat().st_mtime_ns for path in render.glob("*.png")}

    (render / "one_0007.png").write_bytes(b"cut short")
    record = results_of(listed, "one") / "shot.json"
    record.write_text(record.read_text().replace('"the saved file"', '"an earlier one"'))
    assert main(listed, "--step", "render", "--only", "one") == 0
    after = {path.name: path.stat().st_mtime_ns for path in render.glob("*.png")}
    assert [name for name in frames if before[name] != after[name]] == ["one_0007.png"]
    plans = planned(main, capfd, listed)
    assert plans == {"one": "finished", "two": "import (not in the file yet)", "three": "finished"}
    moved = shutil.copytree(listed.parent, tmp_path_factory.mktemp("moved") / "production") / listed.name
    assert planned(main, capfd, moved) == plans, "a production may be moved as a whole"


def test_another_start_frame_only_imports_again(
    main: Callable[..., int], listed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(listed, "--step", "capture") == 0
    run_by_hand(listed, "one", "three")
    finish(results_of(listed, "two") / "job.magplus", {"Smile": pulse(9, 4, 0.5)}, Fraction(25), apex=None)
    assert main(listed, "--step", "import") == 0
    shown = [json.loads((results_of(listed, shot) / "shot.json").read_bytes())["apex_frame"] for shot in ("one", "two")]
    assert shown == [9, 5], "the middle where nothing stands out"
    listed.write_text(listed.read_text().replace("start_frame = 5", "start_frame = 6"))
    plans = planned(main, capfd, listed)
    assert plans["one"] == "import, render (start frame is 6, was 5)"
    assert plans["three"] == "import (another shot of the same saved file is made again)"
    assert plans["two"] == "finished"


def test_a_failed_shot_stops_the_others_unless_told_otherwise(
    main: Callable[..., int], listed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    listed.write_text(listed.read_text().replace('avatar = "Ann"\nsave', 'avatar = "Nobody"\nsave'))
    assert main(listed, "--step", "capture") == 2
    assert not (results_of(listed, "two") / "job.magplus").exists()
    assert main(listed, "--step", "capture", "--keep-going") == 2
    assert "0 of 3 shots are finished; failed: one. " in capfd.readouterr().err
    assert (results_of(listed, "two") / "job.magplus" / "job.json").is_file()
    assert "no mesh object 'Nobody'" in planned(main, capfd, listed)["one"]
    summary = json.loads((listed.with_name("list_results") / "batch.json").read_bytes())
    assert {shot["name"]: (shot["status"], shot["exit_code"]) for shot in summary["shots"]} == {
        "one": ("failed", 2),
        "two": ("to run", 0),
        "three": ("to run", 0),
    }
    sheet = (listed.with_name("list_results") / "contact_sheet.html").read_text("utf-8")
    assert "no mesh object &#x27;Nobody&#x27;" in sheet
