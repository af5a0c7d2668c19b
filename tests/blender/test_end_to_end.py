# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job with nothing replaced: real clip, real worker, real pipeline, real Blender."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import bpy
import pytest

from tests.assets import CLIP, media, worker_python
from tests.blender.head import quick_render
from tests.blender.test_package import in_a_fresh_blender, zip_path  # noqa: F401 - a fixture

ROOT = Path(__file__).resolve().parents[2]
ONE_COMMAND = Path(__file__).with_name("one_command.py")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real face, 24 frames a second."""
    return media(CLIP, tmp_path_factory.mktemp("clip") / "driver 表情.mp4")


@pytest.fixture
def shot(character: Path, tmp_path: Path) -> Path:
    """The character in a file of its own, set to a small and quick render."""
    bpy.ops.wm.open_mainfile(filepath=str(character))
    for hair in [candidate for candidate in bpy.data.objects if candidate.type == "CURVES"]:
        bpy.data.objects.remove(hair)
    quick_render(256, 256).render.fps = 24
    path = tmp_path / "shot.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    return path


@pytest.fixture
def module(extension: str) -> Callable[[str], ModuleType]:
    return lambda name: importlib.import_module(f"{extension}.{name}")


def animate_arguments(clip: Path, *more: str) -> list[str]:
    # Five frames in which the expression changes quickly.
    options = "--avatar Head --trim 0.6 0.8 --device cpu"
    return ["animate", "--driving", str(clip), "--python", str(worker_python()), *options.split(), *more]


def command(blend: Path, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command on a file as people do: in a Blender of its own."""
    started = [sys.executable, str(ONE_COMMAND), str(blend), *arguments]
    surroundings = {name: value for name, value in os.environ.items() if name != "BLENDER_USER_RESOURCES"}
    return subprocess.run(started, capture_output=True, text=True, check=False, encoding="utf-8", env=surroundings)


def test_by_command_then_again(shot: Path, clip: Path, tmp_path: Path) -> None:
    job, saved = tmp_path / "shot.magplus", tmp_path / "animated.blend"
    arguments = animate_arguments(clip, "--frames", "--shape-keys", "--start-frame", "10", "--output", str(job))
    arguments += ["--exclude", "tongue*", "--lock", "jawOpen", "--mirror", "noseSneerLeft"]

    printed = command(shot, [*arguments, "--save", str(saved)])
    assert printed.returncode == 0, printed.stderr[-4000:]
    assert str(job) in printed.stdout and "Imported 5 frames" in printed.stderr and "Animating" in printed.stderr
    report = json.loads((job / "report.json").read_text())
    assert report["status"] == "finished" and report["frames"]["resumed"] == 0
    assert len(list((job / "frames").iterdir())) == report["frames"]["count"] == 5
    assert report["weights"]["locked"] == ["jawOpen"]
    assert "jawOpen" not in report["weights"]["peaks"]
    spec = json.loads((job / "job.json").read_text())
    assert spec["rig"]["mirrored"] == [["noseSneerLeft", "noseSneerRight"]]

    bpy.ops.wm.open_mainfile(filepath=str(saved))
    background = bpy.context.scene.camera.data.background_images[0]
    assert Path(bpy.path.abspath(background.image.filepath)) == job / "frames" / "000001.png"
    assert (background.image_user.frame_start, background.image_user.frame_duration) == (10, 5)
    head = bpy.data.objects["Head"]
    assert head.data.shape_keys.animation_data.action.name == "MagPlus Head"

    printed = command(shot, arguments)
    assert printed.returncode == 0, printed.stderr[-4000:]
    report = json.loads((job / "report.json").read_text())
    assert report["frames"]["resumed"] == 5, "the same avatar, rendered again, is the same input"


def test_by_button_and_a_file_load_in_between(
    shot: Path, clip: Path, module: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    animate, jobs, commands = (
        module(name) for name in ("operators.animate", "operators.running.job_manager", "magplus_addon.commands")
    )
    options = commands.build_parser().parse_args(animate_arguments(clip, "--frames"))
    commands.animate.apply(options, bpy.context)
    order = module("operators.order").make_order(bpy.context, python=worker_python())

    def run(during: Callable[[], None]) -> Any:
        jobs.manager.start(animate.KIND, animate.animate(order))
        reported = False
        while jobs.manager.busy:
            jobs.pump()
            if (
                not reported
                and jobs.manager.progress is not None
                and jobs.manager.progress.stage == "Loading the models"
            ):
                reported = True
                during()
            time.sleep(0.02)
        return jobs.manager.outcomes[animate.KIND]

    images = len(bpy.data.images)
    bpy.ops.ed.undo_push(message="before")  # with a window Blender does it by itself
    outcome = run(lambda: None)
    assert outcome.status is jobs.Status.FINISHED, outcome
    assert outcome.folder == tmp_path / "Head-driver_表情-001.magplus"
    assert len(bpy.data.images) > images
    bpy.ops.ed.undo()
    assert len(bpy.context.scene.camera.data.background_images) == 0, "one step takes the import back"

    order = module("operators.order").make_order(bpy.context, python=worker_python())
    assert order.folder == tmp_path / "Head-driver_表情-002.magplus"
    outcome = run(lambda: bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True))
    assert outcome.status is jobs.Status.FINISHED
    assert outcome.sentence == "Finished, but not imported."
    assert any("'Head' of this run is no longer in the file" in warning for warning in outcome.warnings)
    assert (order.folder / "frames" / "000005.png").is_file()
    images = len(bpy.data.images)
    bpy.context.scene.magplus.frames_to = "IMAGE"
    assert bpy.ops.magplus.import_result(directory=str(order.folder)) == {"FINISHED"}
    assert len(bpy.data.images) == images + 1, "the result can be had in the other file, too"


def test_a_file_that_is_no_video(
    shot: Path, module: Callable[[str], ModuleType], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fake = tmp_path / "clip.mp4"
    fake.write_text("this is text")
    assert module("magplus_addon.commands").main(animate_arguments(fake, "--frames")) == 2
    printed = capfd.readouterr().err
    assert "clip.mp4" in printed.splitlines()[-1] and "error" in printed.splitlines()[-1]
    assert "Traceback" not in printed


def test_from_the_installed_zip(shot: Path, clip: Path, zip_path: Path, tmp_path: Path) -> None:  # noqa: F811
    job = tmp_path / "job.magplus"
    found = in_a_fresh_blender(
        zip_path, "--file", str(shot), *animate_arguments(clip, "--shape-keys", "--output", str(job))
    )
    assert found["exit_code"] == 0, found["printed"]
    assert found["actions"] == ["MagPlus Head"]
    assert (job / "weights.csv").is_file()


@pytest.mark.two_series
def test_checkpoints_by_command(
    module: Callable[[str], ModuleType],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    main = module("magplus_addon.commands").main
    worker = ["--python", str(worker_python())]
    assert main(["backends", "list", "--json", *worker]) == 0
    listed = {row["name"]: row for row in json.loads(capfd.readouterr().out)}
    assert listed["flow_transfer"]["ready"] and not listed["fomm"]["ready"]
    page = tmp_path / "vox-adv-cpk.pth.tar"
    page.write_text("<!DOCTYPE html><html>Sign in to download</html>")
    assert main(["backends", "add", str(page), *worker]) == 2
    assert "is a saved web page" in capfd.readouterr().err.splitlines()[-1]
