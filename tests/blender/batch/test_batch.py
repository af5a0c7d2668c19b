# SPDX-License-Identifier: GPL-3.0-or-later
"""A batch without a worker: what is planned and why, what is captured once, imported together, rendered and resumed."""

from __future__ import annotations

import importlib
import json
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import bpy
import pytest
from bl_ext.user_default.magplus.backend_bridge.job.report import ShotReport

from tests.blender.head import add_camera, make_head, quick_render
from tests.blender.jobs import finish, finished_report, pulse

CLIP = "clip.mp4"


@pytest.fixture
def module(extension: str) -> Callable[[str], ModuleType]:
    return lambda name: importlib.import_module(f"{extension}.{name}")


@pytest.fixture
def main(module: Callable[[str], ModuleType]) -> Callable[..., int]:
    command = module("magplus_addon.commands").main
    return lambda *arguments: command(["batch", *map(str, arguments)])


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """Two heads in a file, and a list of three shots: two of one head, one of the other, saved with the first."""
    make_head("Ann")
    bob = make_head("Bob")
    bob.location.x = 3
    add_camera(distance=12)
    quick_render(64, 48).render.fps = 25
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "heads.blend"))
    (tmp_path / CLIP).write_bytes(b"only its bytes matter here")
    shots = tmp_path / "list.toml"
    shots.write_text(
        f'[defaults]\nfile = "heads.blend"\ndriving = "{CLIP}"\nshape_keys = true\n'
        '[[shot]]\nname = "one"\navatar = "Ann"\nsave = "both.blend"\nstart_frame = 5\nrender = true\n'
        '[[shot]]\nname = "two"\navatar = "Ann"\nalpha = 4\n'
        '[[shot]]\nname = "three"\navatar = "Bob"\nsave = "both.blend"\n'
    )
    return shots


def results_of(listed: Path, shot: str) -> Path:
    return listed.with_name("list_results") / shot


def planned(main: Callable[..., int], capfd: pytest.CaptureFixture[str], listed: Path, code: int = 0) -> dict[str, str]:
    """Return what a dry run says of each shot."""
    capfd.readouterr()
    assert main(listed, "--dry-run") == code
    lines = capfd.readouterr().out.strip().splitlines()
    return dict(line.split(": ", 1) for line in lines)


def run_by_hand(listed: Path, *shots: str) -> None:
    """Leave in each shot's job folder what a worker would have left there."""
    for shot in shots:
        finish(results_of(listed, shot) / "job.magplus", {"Smile": pulse(9, 4, 0.5)}, Fraction(25), apex=4)


def test_each_shot_is_captured_once_and_says_why(
    main: Callable[..., int], listed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert planned(main, capfd, listed) == {
        "one": "capture, run, import, render (new)",
        "two": "capture, run, import (new)",
        "three": "capture, run, import (new)",
    }
    assert main(listed, "--step", "capture") == 0
    printed = capfd.readouterr()
    assert (printed.out + printed.err).count(
        "avatar.png"
    ) == 2  # one render for each head, although there are three shots
    jobs = [results_of(listed, shot) / "job.magplus" for shot in ("one", "two", "three")]
    bases = [(job / "avatar" / "rig_basis.npz").read_bytes() for job in jobs]
    assert bases[0] == bases[1] != bases[2]
    assert json.loads((jobs[1] / "job.json").read_bytes())["magnification"]["alpha"] == 4
    assert planned(main, capfd, listed)["two"] == "run, import (captured, not run yet)"

    listed.write_text(listed.read_text().replace("alpha = 4", "alpha = 5"))
    assert planned(main, capfd, listed)["two"] == "capture, run, import (alpha is 5.0, was 4.0)"
    (listed.parent / CLIP).write_bytes(b"another clip")
    assert planned(main, capfd, listed)["one"] == "capture, run, import, render (the clip has changed)"


def test_a_shot_like_the_one_before_it_needs_no_other_look_at_the_file(main: Callable[..., int], listed: Path) -> None:
    shots = "".join(
        f'[[shot]]\nname = "{name}"\navatar = "Ann"\ntrim = [{begin}, {begin + 1}]\n{more}'
        for name, begin, more in (("a", 0, ""), ("b", 1, ""), ("c", 2, ""), ("d", 3, "alpha = 4\n"), ("e", 4, ""))
    )
    listed.write_text(listed.read_text().partition("[[shot]]")[0] + shots)
    opened: list[str] = []

    def note(path: str, *_: object) -> None:
        opened.append(path)

    note = bpy.app.handlers.persistent(note)
    bpy.app.handlers.load_pre.append(note)
    try:
        assert main(listed, "--step", "capture") == 0
        together = len(opened)
        jobs = {name: (results_of(listed, name) / "job.magplus" / "job.json").read_bytes() for name in "abcde"}
        for name in "abcde":
            assert main(listed, "--step", "capture", "--only", name, "--again") == 0
    finally:
        bpy.app.handlers.load_pre.remove(note)
    assert together == 4, "for the first, which is captured, for the next, and where alpha comes and goes"
    assert len(opened) == together + 5
    for name, job in jobs.items():
        assert (results_of(listed, name) / "job.magplus" / "job.json").read_bytes() == job


def test_a_library_saved_between_two_like_shots_is_read_again(
    main: Callable[..., int], listed: Path, module: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    library, later = listed.with_name("hat.blend"), listed.with_name("hat_later.blend")
    hat = bpy.data.objects.new("Hat", bpy.data.objects["Bob"].data)
    for path, height in ((library, 0.0), (later, 1.0)):
        hat.location = -2, 0, height
        bpy.data.libraries.write(str(path), {hat})
    bpy.data.objects.remove(hat)
    with bpy.data.libraries.load(str(library), link=True) as (_, linked):
        linked.objects = ["Hat"]
    bpy.context.scene.collection.objects.link(linked.objects[0])
    bpy.ops.wm.save_as_mainfile(filepath=str(listed.with_name("heads.blend")))
    shots = "".join(
        f'[[shot]]\nname = "{name}"\navatar = "Ann"\ntrim = [{begin}, {begin + 1}]\n'
        for begin, name in enumerate("abcd")
    )
    listed.write_text(listed.read_text().partition("[[shot]]")[0] + shots)
    steps = module("magplus_addon.commands.batch.steps")
    capture, seen = steps.capture, {}

    def then_saved(place: Any, *rest: Any) -> Callable[[Any], Any]:
        task = capture(place, *rest)

        def followed(context: Any) -> Any:
            outcome = yield from task(context)
            seen[place.shot.name] = bpy.data.objects["Hat"].location.z
            if place.shot.name == "c":
                shutil.copyfile(later, library)
            return outcome

        return followed

    monkeypatch.setattr(steps, "capture", then_saved)
    assert main(listed, "--step", "capture") == 0
    assert seen == {"a": 0.0, "b": 0.0, "c": 0.0, "d": 1.0}


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


def test_chosen_controls_are_measured_first(
    main: Callable[..., int], listed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = listed.read_text()
    listed.write_text(text.replace("alpha = 4", 'only = ["Sm*", "Nod"]\nlock = ["Nod"]'))
    assert main(listed, "--step", "capture", "--only", "one", "two") == 0
    printed = "".join(capfd.readouterr())
    assert "Measuring the rig" in printed and "Traceback" not in printed
    job = json.loads((results_of(listed, "two") / "job.magplus" / "job.json").read_bytes())
    assert job["rig"]["locked"] == ["Nod"]
    bases = [
        (results_of(listed, shot) / "job.magplus" / "avatar" / "rig_basis.npz").read_bytes() for shot in ("one", "two")
    ]
    assert bases[0] != bases[1]
    listed.write_text(text.replace("alpha = 4", 'only = ["Teeth*"]'))
    assert main(listed, "--step", "capture", "--only", "two") == 2
    assert "No control is called 'Teeth*'; there are" in capfd.readouterr().err


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


def test_what_the_file_reads_is_a_part_of_it(
    main: Callable[..., int],
    listed: Path,
    capfd: pytest.CaptureFixture[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder, assets = listed.parent, [listed.with_name(name) for name in ("hut ä.blend", "skin.png")]
    bpy.ops.wm.open_mainfile(filepath=str(folder / "heads.blend"))
    for asset in assets:
        asset.write_bytes(b"")
    bpy.data.libraries.write(str(assets[0]), {bpy.data.objects.new("Hat", bpy.data.meshes["Ann"].copy())})
    with bpy.data.libraries.load(str(assets[0]), link=True, relative=True) as (_, linked):
        linked.objects = ["Hat"]
    bpy.context.collection.objects.link(bpy.data.objects["Hat", "//hut ä.blend"])
    bpy.data.images.new("Skin", 8, 8).save(filepath=str(assets[1]))
    bpy.data.images.load(str(assets[1])).filepath = "//skin.png"
    bpy.data.images["skin.png"].use_fake_user = True
    bpy.ops.wm.save_mainfile()
    assert main(listed, "--step", "capture", "--only", "one") == 0
    for asset in assets:
        assert planned(main, capfd, listed)["one"] == "run, import, render (captured, not run yet)"
        content, changed = asset.read_bytes(), (1, 1)
        asset.write_bytes(content + b" ")
        assert asset.name in planned(main, capfd, listed)["one"]
        asset.write_bytes(content)
        os.utime(asset, changed)  # it was only written again
    moved = shutil.copytree(folder, tmp_path_factory.mktemp("moved") / "production") / listed.name
    assert planned(main, capfd, moved)["one"] == "capture, run, import, render (the clip lies elsewhere now)"


def test_files_that_options_name_are_a_part_of_the_shot(
    module: Callable[[str], ModuleType], listed: Path, extension: str
) -> None:
    results, anchors = module("magplus_addon.commands.batch.results"), listed.with_name("anchors.json")
    further = listed.with_name("other.png")
    option = 'backend_option = { more_sources = ["other.png"] }'
    listed.write_text(listed.read_text().replace("alpha = 4", f'anchors = "anchors.json"\n{option}'))
    _, two, _ = module("magplus_addon.commands.batch.shots").read_shots(listed)

    def made_from() -> str:
        return str(results.capture_inputs(two, results.FileHashes(), "1"))

    anchors.write_bytes(b"here")
    further.write_bytes(b"left")
    before = made_from()
    further.write_bytes(b"right")
    other = made_from()
    anchors.write_bytes(b"there")
    assert len({before, other, made_from()}) == 3


def smiles(saved: Path) -> dict[str, float]:
    """Return how far each head of a saved file smiles at the apex of a clip that starts at its own frame."""
    bpy.ops.wm.open_mainfile(filepath=str(saved))
    found = {}
    for name, start in (("Ann", 5), ("Bob", 1)):
        bpy.context.scene.frame_set(start + 4)
        found[name] = round(bpy.data.objects[name].data.shape_keys.key_blocks["Smile"].value, 3)
    return found


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


def test_a_farms_job_is_for_the_whole_list(
    main: Callable[..., int], listed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(listed, "--openjd", listed.parent / "farm", "--only", "one") == 2
    assert "leave --only, --numbers and --step out" in capfd.readouterr().err
    assert not (listed.parent / "farm").exists()


def test_which_worker_runs_a_shot_is_no_part_of_what_it_is_made_from(
    main: Callable[..., int], listed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = listed.read_text()
    listed.write_text(text.replace("alpha = 4", 'python = "worker of the list"'))
    assert main(listed, "--step", "capture", "--only", "two") == 0
    assert main(listed, "--step", "run", "--only", "two") == 3
    assert "worker of the list" in capfd.readouterr().err
    given = ("--python", listed.parent / "worker of this machine", "--checkpoints", listed.parent)
    assert main(listed, "--step", "run", "--only", "two", *given) == 3
    assert "worker of this machine" in capfd.readouterr().err
    listed.write_text(text.replace("alpha = 4", 'python = "another"\ncheckpoints = "store"'))
    assert planned(main, capfd, listed)["two"].startswith("run, import (")
    assert main(listed, "--openjd", listed.parent / "farm", *given) == 2
    assert "say `python` and `checkpoints` in the list" in capfd.readouterr().err


@pytest.mark.parametrize("step", ["run", "import"])
def test_a_step_whose_shot_is_not_captured_says_so(
    main: Callable[..., int], listed: Path, capfd: pytest.CaptureFixture[str], step: str
) -> None:
    assert main(listed, "--step", step) == 2
    assert "one: The shot is not captured yet; do the step `capture` first." in capfd.readouterr().err


def test_a_kept_capture_that_was_damaged_is_made_again(
    main: Callable[..., int], listed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(listed, "--step", "capture", "--only", "one") == 0
    (kept,) = (listed.with_name("list_results") / "captures").iterdir()
    (kept / "avatar.png").write_bytes(b"damaged")
    capfd.readouterr()
    assert main(listed, "--step", "capture", "--only", "two") == 0
    assert "avatar.png" in "".join(capfd.readouterr())
    assert (results_of(listed, "two") / "job.magplus" / "avatar" / "avatar.png").read_bytes()[:4] == b"\x89PNG"
    assert main(listed, "--step", "capture", "--only", "one", "two", "--again") == 0
    assert "".join(capfd.readouterr()).count("avatar.png") == 1, "anew, and once for both"


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


@pytest.mark.two_series
def test_a_sheet_shows_what_no_browser_would(
    main: Callable[..., int], listed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A frame of an EXR render at the apex, as a person would see it; the table as the list's own program has it."""
    bpy.ops.wm.open_mainfile(filepath=str(listed.with_name("heads.blend")))
    settings = bpy.context.scene.render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = "MULTI_LAYER_IMAGE"
    settings.file_format = "OPEN_EXR_MULTILAYER"
    bpy.context.scene.render.use_motion_blur = bpy.context.view_layer.use_pass_z = True
    bpy.ops.wm.save_mainfile()
    table = listed.with_suffix(".csv")
    row = f"Schuß 1;heads.blend;{CLIP};WAHR;Ann;5;WAHR"
    table.write_text(f"Name;File;Driving;Shape Keys;Avatar;Start Frame;Render\n{row}\n", "utf-8-sig")
    assert main(table, "--step", "capture") == 0
    run_by_hand(listed, "Schuß 1")
    assert main(table, "--step", "import", "--step", "render") == 0
    render = results_of(listed, "Schuß 1") / "render"
    assert len([*render.glob("*.exr")]) == 9
    assert [path.name for path in render.glob("preview/*")] == ["Schuß 1_0009.png"]
    results = listed.with_name("list_results")
    assert "preview/Schu%C3%9F%201_0009.png" in (results / "contact_sheet.html").read_text("utf-8")
    assert (results / "batch.csv").read_bytes().startswith("\ufeffname;status;exit_code".encode())

    before = {path.name: path.stat().st_mtime_ns for path in render.glob("*.exr")}
    (render / "Schuß 1_0011.exr").unlink()
    assert planned(main, capfd, table) == {"Schuß 1": "render (frame 11 of the render is gone)"}
    assert main(table, "--step", "render") == 0
    after = {path.name: path.stat().st_mtime_ns for path in render.glob("*.exr")}
    assert [name for name in after if after[name] != before[name]] == ["Schuß 1_0011.exr"]


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


@pytest.mark.parametrize(
    ("apex", "number", "caption"),
    [(7, 7, "result at the apex"), (2, 5, "result nearest to the apex"), (99, 8, "result nearest to the apex")],
)
def test_a_sheet_shows_the_frame_of_a_moving_shot_that_is_nearest_to_the_apex(
    module: Callable[[str], ModuleType], tmp_path: Path, apex: int, number: int, caption: str
) -> None:
    place = module("magplus_addon.commands.batch.results").Place(tmp_path, None)
    when = (1, Fraction(25), Fraction(1), Fraction(0))
    shot = ShotReport("shot/%06d.png", 5, 4, (64, 64), 0, False, False, *when, apex_frame=apex)
    assert (caption, place.job.path / f"shot/{number:06d}.png") in place.pictures(
        replace(finished_report(9), shot=shot)
    )


def test_a_sheet_shows_what_keys_alone_do(main: Callable[..., int], listed: Path) -> None:
    assert main(listed, "--step", "capture") == 0
    run_by_hand(listed, "one", "two", "three")
    picture = results_of(listed, "two") / "job.magplus" / "keyed_apex.png"
    picture.write_bytes((results_of(listed, "two") / "job.magplus" / "avatar" / "avatar.png").read_bytes())
    assert main(listed, "--step", "import") == 0
    sheet = (listed.with_name("list_results") / "contact_sheet.html").read_text("utf-8")
    assert sheet.count("keys at the apex") == 1 and "two/job.magplus/keyed_apex.png" in sheet
