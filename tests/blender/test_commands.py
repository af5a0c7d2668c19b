# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: what it refuses and how, and what it makes of its options."""

from __future__ import annotations

import importlib
import json
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import bpy
import pytest
from bl_ext.user_default.magplus.backend_bridge.files.hashing import hash_file
from bl_ext.user_default.magplus.operators.rig.kinds.shape_key import shape_key_controls

from tests.blender.head import add_camera, make_head, quick_render
from tests.blender.jobs import pulse, solved


@pytest.fixture
def module(extension: str) -> Callable[[str], ModuleType]:
    return lambda name: importlib.import_module(f"{extension}.{name}")


@pytest.fixture
def commands(module: Callable[[str], ModuleType]) -> ModuleType:
    return module("magplus_addon.commands")


@pytest.fixture
def shot(tmp_path: Path) -> Path:
    """A scene with a head and a camera; returns a file that passes for a video as long as nobody reads it."""
    make_head()
    add_camera()
    quick_render()
    video = tmp_path / "clip.mp4"
    video.write_bytes(b"this is text")
    return video


@pytest.fixture
def orders(module: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Collects the orders of `animate` instead of carrying them out."""
    placed: list[Any] = []
    outcome = module("operators.running.job_manager").Outcome("Done.", folder=Path("/jobs/shot.magplus"))
    monkeypatch.setattr(module("operators.animate"), "animate", placed.append)
    manager = module("operators.running.job_manager").manager
    run = manager.run  # what is not `animate` is carried out
    monkeypatch.setattr(manager, "run", lambda kind, body, *rest: run(kind, body, *rest) if body else outcome)
    return placed


def complaint(message: str) -> str:
    """Return the one sentence on stderr."""
    lines = message.strip().splitlines()
    assert len(lines) == 1, message
    return lines[0].removeprefix("magplus: error: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "arguments are required: COMMAND"),
        (["bogus"], "invalid choice: 'bogus'"),
        (["environment"], "arguments are required: COMMAND"),
        (["animate", "--bogus"], "nrecognized arguments: --bogus; `magplus animate --help` lists the options."),
        (["animate", "--shape-key"], "arguments: --shape-key (is '--shape-keys' meant?); `magplus animate --help`"),
        (["animate"], "Choose the driving video. [--driving VIDEO]"),
        (["animate", "--driving", "/nowhere/clip.mp4"], "There is no driving video at /nowhere/clip.mp4."),
        (["animate", "--avatar", "Nobody"], "no mesh object 'Nobody' in scene 'Scene'; its meshes: 'Head'."),
        (["animate", "--alpha", "much"], "'much' is neither a number nor auto"),
        (["animate", "--alpha", "500"], "--alpha must be between 1 and 64, not 500."),
        (["animate", "--alpha", "nan"], "--alpha must be between 1 and 64, not nan."),
        (["animate", "--intensity", "-1"], "--intensity must be between 0 and 100, not -1."),
        (["animate", "--face-index", "-1"], "--face-index must be 0 or more, not -1."),
        (
            ["animate", "--device", "cudda"],
            "There is no device 'cudda'; choose auto, cpu, mps, cuda, or one of several",
        ),
        (["animate", "--driving", ""], "Argument --driving: a path is missing; `magplus animate --help`"),
        (["animate", "--driving", "CLIP", "--output", " "], "Argument --output: a path is missing; `magplus"),
        (["animate", "--start-frame", "1.5"], "'1.5' is no whole number"),
        (["animate", "--backend", "magic"], "invalid choice: 'magic'"),
        (
            ["animate", "--driving", "CLIP", "--trim", "2", "1"],
            "The trim range holds nothing; its end has to come after its start.",
        ),
        (["animate", "--driving", "CLIP", "--trim", "-1", "1"], "--trim must be 0 or more, not -1."),
        (["animate", "--driving", "CLIP", "--vertex-group", "Face"], "has no vertex group 'Face'"),
        (["animate", "--driving", "CLIP"], "are kept there. [--output FOLDER]"),
        (["animate", "--driving", "FOLDER", "--output", "JOB"], "holds no numbered images; choose a video or an image"),
        (["animate", "--driving", "PICTURES", "--output", "JOB"], "do not tell it. [--sequence-rate FPS]"),
    ],
)
def test_bad_calls_get_one_sentence(
    commands: ModuleType,
    shot: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    (pictures := tmp_path / "pictures").mkdir()
    (pictures / "0001.png").write_bytes(b"")
    places = {"CLIP": shot, "FOLDER": tmp_path, "PICTURES": pictures, "JOB": tmp_path / "job.magplus"}
    assert commands.main([str(places.get(argument, argument)) for argument in arguments]) == 2
    assert message in complaint(capfd.readouterr().err)


def test_a_machine_without_an_environment_is_no_bad_input(
    commands: ModuleType, shot: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert commands.main(["animate", "--driving", str(shot), "--output", str(tmp_path / "job.magplus")]) == 3
    message = complaint(capfd.readouterr().err)
    assert "environment is not set up" in message and "[blender -b --command magplus environment create]" in message
    assert commands.main(["environment", "check"]) == 3
    assert commands.main(["environment", "check", "--folder", str(tmp_path)]) == 3
    assert "not set up" in capfd.readouterr().err


def test_what_is_hinted_at_is_said_somewhere(module: Callable[[str], ModuleType]) -> None:
    spoken = module("magplus_addon.translations.de_DE").MESSAGES
    for part in module("magplus_addon.commands.hints").HINTS:
        assert any(part in message for message in spoken), part


def test_a_video_that_is_refused_leaves_no_job_folder(
    commands: ModuleType, shot: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    job = tmp_path / "job.magplus"
    (link := tmp_path / "python").symlink_to(sys.executable)  # it has no packages, and can't look at the video
    words = ["animate", "--driving", str(shot), "--frames", "--output", str(job), "--python", str(link)]
    assert commands.main(words) == 3
    assert "Looking at the video" in capfd.readouterr().err and not job.exists()


def test_a_python_is_named_from_where_the_shell_is(
    commands: ModuleType, shot: Path, orders: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "python").symlink_to(sys.executable)
    monkeypatch.chdir(tmp_path)
    words = ["animate", "--driving", str(shot), "--frames", "--output", "job.magplus", "--python"]
    assert commands.main([*words, "python"]) == 0 and commands.main([*words, "python3"]) == 0
    assert [order.python for order in orders] == [tmp_path / "python", Path("python3")]


def test_downloads_need_blenders_online_access(
    commands: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "environment"
    assert commands.main(["environment", "create", "--folder", str(folder)]) == 3
    assert "Online access is off" in complaint(capfd.readouterr().err)
    assert not folder.exists()


def test_a_python_without_the_packages_is_reported(commands: ModuleType, capfd: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["environment", "check", "--python", sys.executable]) in {2, 3}
    assert "torch" in capfd.readouterr().err.lower()


@pytest.mark.parametrize("arguments", [["--help"], ["animate", "--help"], ["environment", "create", "--help"]])
def test_help(commands: ModuleType, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert commands.main(arguments) == 0
    assert "usage: magplus" in capsys.readouterr().out


def test_options_become_the_order(
    commands: ModuleType, shot: Path, orders: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = "animate --avatar Head --backend flow_transfer --alpha 6.5 --reference 0.533 --trim 0.2 0.7"
    arguments += " --face-index 1 --intensity 1.5 --start-frame -12 --show-as strip --device cpu --shape-keys"
    paths = ["--driving", str(shot), "--output", str(tmp_path / "job.magplus"), "--python", sys.executable]
    assert commands.main([*arguments.split(), *paths]) == 0
    [order] = orders
    spec = order.spec
    assert (spec.driving.path, spec.driving.trim, spec.driving.reference) == (str(shot), (0.2, 0.7), 0.533)
    assert (spec.driving.face_index, spec.magnification.alpha, spec.intensity) == (1, 6.5, 1.5)
    assert (spec.outputs.frames, spec.outputs.weights, spec.device) == (False, True, "cpu")
    assert (order.destination.start_frame, order.destination.show_as) == (-12, "STRIP")
    assert order.python == Path(sys.executable)
    assert order.folder == tmp_path / "job.magplus"
    assert capsys.readouterr().out.strip() == "/jobs/shot.magplus", "stdout tells other programs where the result is"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--trim", "0", "1e9"], "The trim range must start at 0 s or later and end after its start"),
        (["--reference", "1e9"], "The reference frame must be a time of the video from 0 s on"),
        (["--face-index", "100000"], "There is no face 100000; faces are counted from left to right, from 0."),
        (["--sequence-rate", "0.0000001"], "The frame rate of an image sequence must be a number such as 25"),
    ],
)
def test_what_no_job_may_ask_for_is_refused_before_anything_is_measured(
    commands: ModuleType,
    shot: Path,
    orders: list[Any],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    paths = ["--driving", str(shot), "--output", str(tmp_path / "job.magplus"), "--python", sys.executable]
    assert commands.main(["animate", "--shape-keys", *paths, *arguments]) == 2 and not orders
    assert complaint(capfd.readouterr().err).startswith(message)


def test_controls_are_chosen_by_name_or_pattern(
    commands: ModuleType, shot: Path, orders: list[Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    paths = ["--driving", str(shot), "--output", str(tmp_path / "job.magplus"), "--python", sys.executable]
    assert commands.main(["animate", *paths, "--only", "Brow*", "Smile", "--lock", "Smile", "--smoothing", "0.04"]) == 0
    assert set(orders[-1].controls.used) == {"Brow Up", "Smile"}
    assert orders[-1].spec.rig.locked == ("Smile",) and orders[-1].spec.rig.smoothing == 0.04
    assert commands.main(["animate", *paths, "--only", "*", "--exclude", "Nod"]) == 0
    assert "Nod" not in orders[-1].controls.used
    assert commands.main(["animate", *paths, "--only", "Grin*"]) == 2
    assert "No control is called 'Grin*'; there are" in capfd.readouterr().err
    assert commands.main(["animate", *paths, "--mirror", "Nod"]) == 2
    assert "has no control of the other side" in capfd.readouterr().err


def test_names_that_an_option_is_given_again_and_again_all_count(commands: ModuleType) -> None:
    parser = commands.build_parser()
    assert parser.parse_args(["batch", "list.toml", "--only", "a", "--only", "b", "c"]).only == ["a", "b", "c"]
    for option in ("only", "exclude", "lock", "mirror"):
        options = parser.parse_args(["animate", f"--{option}", "a", f"--{option}", "b"])
        assert getattr(options, option) == ["a", "b"]


def test_controls_are_listed_with_what_the_camera_sees_of_them(
    commands: ModuleType, shot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands.main(["controls", "--json"]) == 0
    entries = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert entries["Smile"]["units"] == "AU12 lip corner puller" and entries["Smile"]["pixels"] > 1
    assert commands.main(["controls"]) == 0
    assert "AU12 lip corner puller" in capsys.readouterr().out
    assert commands.main(["controls", "--avatar", "Nobody"]) == 2


def test_controls_and_anchors_are_seen_through_the_camera_that_is_named(
    commands: ModuleType, shot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seeing = bpy.context.scene.camera
    away = seeing.copy()
    away.name, away.location.y = "Away", 50.0
    bpy.context.collection.objects.link(away)
    for words in (["controls"], ["anchors", "--export", str(tmp_path / "face.json")]):
        assert commands.main([*words, "--camera", "Nobody"]) == 2
        assert "There is no camera 'Nobody'" in capsys.readouterr().err
        assert commands.main([*words, "--camera", "Away"]) == 2
        assert "The camera sees nothing of 'Head'" in capsys.readouterr().err
    assert commands.main(["controls", "--camera", seeing.name]) == 0 and bpy.context.scene.camera == seeing


def test_what_is_not_given_is_taken_from_the_file(commands: ModuleType, shot: Path, orders: list[Any]) -> None:
    settings = bpy.context.scene.magplus
    settings.driving, settings.alpha_mode, settings.alpha = str(shot), "GIVEN", 3.0
    settings.job_folder = str(shot.parent)
    assert commands.main(["animate", "--python", sys.executable]) == 0
    assert commands.main(["animate", "--python", sys.executable, "--alpha", "auto"]) == 0
    assert [order.spec.magnification.alpha for order in orders] == [3.0, None]
    assert orders[0].avatar_name == "Head", "the only mesh with shape keys"
    assert orders[0].spec.outputs.weights, "it has shape keys, so they are asked for"


def test_one_has_to_choose_between_several_avatars(
    commands: ModuleType, shot: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make_head("Twin")
    assert commands.main(["animate", "--driving", str(shot)]) == 2
    assert complaint(capfd.readouterr().err) == "Name the avatar with --avatar: 'Head', 'Twin'."


def test_the_file_is_saved_where_asked(
    commands: ModuleType, shot: Path, orders: list[Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["animate", "--driving", str(shot), "--output", str(tmp_path / "job"), "--python", sys.executable]
    target = tmp_path / "new folder" / "Ergebnis 表情.blend"
    assert commands.main([*arguments, "--save", str(target)]) == 0
    assert target.is_file()
    capfd.readouterr()
    del orders[:]
    assert commands.main([*arguments, "--save", str(shot / "inside a file.blend")]) == 2
    assert "is a file, not a folder; choose another folder" in complaint(capfd.readouterr().err)
    assert not orders, "an error after the work would come too late"


def test_a_disk_that_is_full_is_the_machines_matter(
    commands: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extension: str
) -> None:
    """Blender says only that it could not write; here, as a file is in the way."""
    saving = importlib.import_module(f"{extension}.magplus_addon.commands.saving")
    errors = importlib.import_module(f"{extension}.backend_bridge.files.errors")
    (tmp_path / "a file").touch()
    target = tmp_path / "a file" / "saved.blend"
    with pytest.raises(errors.InputError, match="can't be saved as"):
        saving.save_copy(target)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=0))
    with pytest.raises(errors.MachineError, match="is full; free some space"):
        saving.save_copy(target)


def test_a_folder_is_never_saved_over(commands: ModuleType, tmp_path: Path, extension: str) -> None:
    saving = importlib.import_module(f"{extension}.magplus_addon.commands.saving")
    errors = importlib.import_module(f"{extension}.backend_bridge.files.errors")
    folder = tmp_path / "shots.blend"
    folder.mkdir()
    with pytest.raises(errors.InputError, match="can't be saved as"):
        saving.save_copy(folder)
    assert [each.name for each in tmp_path.iterdir()] == ["shots.blend"] and folder.is_dir()


@pytest.mark.parametrize(
    "arguments",
    [
        ["animate", "--driving", "clip.mp4", "--save"],
        ["import", "job.magplus", "--save"],
        ["controls", "--save"],
        ["live-link", "recording.csv", "--save"],
        ["anchors", "--export"],
    ],
)
def test_another_file_is_written_over_only_where_it_is_allowed(
    commands: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    other = tmp_path / ("face.json" if arguments[-1] == "--export" else "hero.blend")
    other.write_bytes(b"a day's work")
    assert commands.main([*arguments, str(other)]) == 2
    assert "is there already; give another name, or --replace to write over it." in complaint(capfd.readouterr().err)
    assert other.read_bytes() == b"a day's work"


def test_the_opened_file_may_be_saved_over(commands: ModuleType, shot: Path, orders: list[Any], tmp_path: Path) -> None:
    hero, other = tmp_path / "hero.blend", tmp_path / "other.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(hero))
    other.write_bytes(b"an earlier result")
    arguments = ["animate", "--driving", str(shot), "--output", str(tmp_path / "job"), "--python", sys.executable]
    for save in ([str(hero)], [str(other), "--replace"]):
        before = Path(save[0]).stat().st_mtime_ns
        assert commands.main([*arguments, "--save", *save]) == 0
        assert Path(save[0]).stat().st_mtime_ns > before and Path(save[0]).stat().st_size > 100_000


def test_what_somebody_else_has_saved_meanwhile_is_left_as_it_is(
    commands: ModuleType, shot: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two commands bring a job each into the file that both have opened: the second one would lose the first one's."""
    head = bpy.data.objects["Head"]
    job = solved(tmp_path, shape_key_controls((head,))[0], {"Smile": pulse(20, 8, 0.6)}, apex=8).path
    hero, fresh = tmp_path / "hero.blend", tmp_path / "fresh.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(hero))
    bpy.ops.wm.open_mainfile(filepath=str(hero))
    hero.write_bytes(theirs := hero.read_bytes() + b"what another command has saved")
    words = ["import", str(job), "--save"]
    assert commands.main([*words, str(hero)]) == 5
    assert "hero.blend was saved by somebody else since" in complaint(capfd.readouterr().err)
    assert hero.read_bytes() == theirs

    bpy.ops.wm.open_mainfile(filepath=str(hero))
    importing = commands.import_jobs.import_result

    def import_while_another_saves(*arguments: Any, **named: Any) -> Any:
        fresh.write_bytes(theirs)
        return importing(*arguments, **named)

    monkeypatch.setattr(commands.import_jobs, "import_result", import_while_another_saves)
    assert commands.main([*words, str(fresh)]) == 5 and fresh.read_bytes() == theirs
    for _ in range(2):  # its own save is not somebody else's
        assert commands.main([*words, str(hero)]) == 0
    assert not [*tmp_path.glob(".*.lock")]


def test_of_several_jobs_the_one_that_can_not_be_imported_is_named(
    commands: ModuleType, shot: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    head = bpy.data.objects["Head"]
    whole = solved(tmp_path, shape_key_controls((head,))[0], {"Smile": pulse(20, 8, 0.6)}, apex=8).path
    broken = shutil.copytree(whole, tmp_path / "broken.magplus")
    (broken / "job.json").write_text("{")
    target = tmp_path / "saved.blend"
    assert commands.main(["import", str(whole), str(broken), "--save", str(target)]) == 2
    assert complaint(capfd.readouterr().err).startswith("broken.magplus: job.json is damaged")
    assert not target.exists()


def test_a_result_where_the_scene_does_not_play_is_reported(
    commands: ModuleType, shot: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    job = solved(
        tmp_path, shape_key_controls((bpy.data.objects["Head"],))[0], {"Smile": pulse(20, 8, 0.6)}, apex=8
    ).path
    bpy.context.scene.frame_start, bpy.context.scene.frame_end = 1001, 1100
    outside = "outside the scene's frame range. [--start-frame N]"
    assert commands.main(["import", str(job), "--save", str(tmp_path / "one.blend")]) == 0
    assert outside not in capfd.readouterr().err, "it starts with the scene where nobody says otherwise"
    words = ["import", str(job), "--start-frame", "1", "--save", str(tmp_path / "two.blend")]
    assert commands.main(words) == 0
    assert outside in capfd.readouterr().err


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_cancels(commands: ModuleType, module: Callable[[str], ModuleType], name: str) -> None:
    jobs = module("operators.running.job_manager")

    def endless(_context: Any) -> Any:
        while True:
            signal.raise_signal(getattr(signal, name))
            yield jobs.Progress("Working", 0, 0)

    before = signal.getsignal(getattr(signal, name))
    outcome = commands.tasks.run("test", endless)
    assert (outcome.status, outcome.exit_code) == (jobs.Status.CANCELLED, 4)
    assert signal.getsignal(getattr(signal, name)) == before


def test_our_own_faults_have_their_own_exit_code(
    commands: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commands.animate, "apply", lambda *_: 1 / 0)
    assert commands.main(["animate"]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_backends_without_a_worker_and_without_a_checkpoint(
    commands: ModuleType, shot: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert commands.main(["backends", "list"]) == 3
    message = complaint(capfd.readouterr().err)
    assert "environment is not set up" in message and "[blender -b --command magplus environment create]" in message
    assert commands.main(["backends", "remove", "flow_transfer"]) == 2
    assert "invalid choice" in complaint(capfd.readouterr().err)
    arguments = ["animate", "--driving", str(shot), "--output", str(tmp_path / "job"), "--backend", "fomm"]
    assert commands.main([*arguments, "--python", sys.executable]) == 2
    assert "FOMM needs its authors' checkpoint" in complaint(capfd.readouterr().err)


def test_options_of_a_backend(commands: ModuleType, shot: Path, orders: list[Any], tmp_path: Path) -> None:
    arguments = ["animate", "--driving", str(shot), "--output", str(tmp_path / "job"), "--python", sys.executable]
    more = ["--backend-option", "relative=false", "--backend-option", "draft=4", "--backend-option", "identity=me.npy"]
    assert commands.main([*arguments, *more]) == 0
    assert orders[0].spec.backend_options == {"relative": False, "draft": 4, "identity": "me.npy"}
    assert commands.main([*arguments, "--backend-option", "relative"]) == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda place: place.write_text("a file"), "is a file"),
        (lambda place: (place.mkdir(), (place / "thesis.doc").touch()), "holds other files than a MagPlus job"),
        (lambda place: place.parent.joinpath("a").write_text("a file"), "is a file"),
    ],
)
def test_a_job_folder_that_can_not_be_is_refused_before_anything_is_rendered(
    commands: ModuleType,
    shot: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    make: Callable[[Path], Any],
    message: str,
) -> None:
    place = tmp_path / "shot.magplus"
    make(place)
    if message == "is a file" and not place.exists():
        place = tmp_path / "a" / "shot.magplus"
    arguments = ["animate", "--driving", str(shot), "--python", sys.executable, "--output", str(place)]
    assert commands.main(arguments) == 2
    assert message in complaint(capfd.readouterr().err)


def test_a_job_folder_that_another_run_has_is_named_without_that_runs_log(
    commands: ModuleType,
    module: Callable[[str], ModuleType],
    shot: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    other = module("backend_bridge.job.folder").JobFolder.create(tmp_path / "shot.magplus")
    arguments = ["animate", "--driving", str(shot), "--python", sys.executable, "--output", str(other.path)]
    with other.lock():
        other.log_path.write_text("What the other run says.")
        assert commands.main(arguments) == 5
    message = complaint(capfd.readouterr().err)
    assert "is in use by another run" in message and message.endswith("; wait for it or cancel it.")


def finished_job(module: Callable[[str], ModuleType], path: Path, video: Path, **created_by: str) -> Any:
    """A job folder with the result of a video on an avatar."""
    job, report = module("backend_bridge.job.spec"), module("backend_bridge.job.report")
    folder = module("backend_bridge.job.folder").JobFolder.create(path)
    folder.write_spec(job.JobSpec(job.Driving(str(video)), job.Avatar("avatar.png"), created_by=created_by))
    of_clip = report.DrivingReport(str(video), hash_file(video), 64, 64, 8, 0, 9, 0.0)
    folder.write_report(report.Report("finished", driving=of_clip))
    return folder


@pytest.mark.two_series
@pytest.mark.parametrize("verb", ["animate", "capture"])
@pytest.mark.parametrize(
    ("clip", "avatar", "file"),
    [("other.mp4", "Head", ""), ("clip.mp4", "Someone", ""), ("clip.mp4", "Head", "hero.blend")],
)
def test_the_result_of_another_clip_or_avatar_is_not_replaced_unasked(
    commands: ModuleType,
    module: Callable[[str], ModuleType],
    shot: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    verb: str,
    clip: str,
    avatar: str,
    file: str,
) -> None:
    (tmp_path / "other.mp4").write_bytes(b"another clip")
    (tmp_path / "hero.blend").write_bytes(b"another character")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    of = {"avatar": avatar, "file": str(tmp_path / file) if file else bpy.data.filepath}
    job = finished_job(module, tmp_path / "job.magplus", tmp_path / clip, **of)
    before = job.spec_path.read_bytes(), job.report_path.read_bytes()
    words = [verb, "--driving", str(shot), "--shape-keys", "--output", str(job.path)]
    words += ["--python", sys.executable] if verb == "animate" else []
    assert commands.main(words) == 2
    sentence = complaint(capfd.readouterr().err)
    assert f"{job.path} holds the result of {clip} ({avatar}, {Path(of['file']).name}), which" in sentence
    assert sentence.endswith("choose another job folder. [--output FOLDER, or --replace]")
    assert (job.spec_path.read_bytes(), job.report_path.read_bytes()) == before
    assert commands.main(["capture", *words[1:6], "--replace"]) == 0, "it was asked for"
    assert job.read_spec().driving.path == str(shot) and job.read_spec().created_by["avatar"] == "Head"


@pytest.mark.two_series
def test_a_run_with_other_settings_replaces_its_own_result(
    commands: ModuleType, module: Callable[[str], ModuleType], shot: Path, tmp_path: Path
) -> None:
    copied = shutil.copy(shot, tmp_path / "renamed.mp4")
    for file in ("", str(tmp_path / "gone" / "shot.blend")):  # not saved then; moved with its folder since
        job = finished_job(module, tmp_path / "job.magplus", Path(copied), avatar="Head", file=file)
        words = ["capture", "--driving", str(shot), "--shape-keys", "--output", str(job.path), "--alpha", "4"]
        assert commands.main(words) == 0
        assert job.read_spec().magnification.alpha == 4
        bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    finished_job(module, job.path, shot, **job.read_spec().created_by)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot_v2.blend"))
    assert commands.main(words) == 0, "the same head, in a file that is saved under another name"
    bpy.data.objects["Head"].data.vertices[0].co.x += 0.01
    assert commands.main(words) == 0, "and modelled on"


def test_importing_what_is_no_finished_job(module: Callable[[str], ModuleType], shot: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="is not a MagPlus job folder"):
        bpy.ops.magplus.import_result(directory=str(tmp_path))
    job, bridge = module("backend_bridge.job.spec"), module("backend_bridge.job.folder")
    folder = bridge.JobFolder.create(tmp_path / "shot.magplus")
    folder.write_spec(job.JobSpec(job.Driving("clip.mp4"), job.Avatar("avatar.png")))
    folder.write_report(module("backend_bridge.job.report").Report("cancelled"))
    with pytest.raises(RuntimeError, match="is not finished"):
        bpy.ops.magplus.import_result(directory=str(folder.path))


def test_a_moving_shot_and_a_camera_are_taken_from_the_options(
    shot: Path, commands: ModuleType, orders: list[Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    other = bpy.data.objects.new("Close", bpy.data.cameras.new("Close"))
    bpy.context.scene.collection.objects.link(other)
    call = ["animate", "--driving", str(shot), "--output", str(tmp_path / "a.magplus"), "--python", sys.executable]
    assert (
        commands.main([*call, "--frames", "101", "148", "--st-map", "--camera", "Close", "--start-frame", "104"]) == 0
    )
    spec = orders[-1].spec
    assert spec.shot.frames == (101, 148) and spec.shot.start_frame == 104 and spec.outputs.st_map
    assert bpy.context.scene.camera == other
    assert commands.main([*call, "--frames"]) == 0
    assert orders[-1].spec.shot is None and not orders[-1].spec.outputs.st_map
    capfd.readouterr()
    for wrong, message in (
        (["--frames", "5"], "first and the last frame"),
        (["--frames", "9", "5"], "ends not before it starts"),
        (["--frames", "--st-map"], "moving shot"),
        (["--frames", "1", "3", "--plates", "p.####.exr"], "3 of 3 plates are missing"),
        (["--frames", "--camera", "Nobody"], "no camera 'Nobody'"),
    ):
        assert commands.main([*call, *wrong]) == 2
        assert message in complaint(capfd.readouterr().err)
