# SPDX-License-Identifier: GPL-3.0-or-later
"""The buttons that take checkpoint files in, check them and remove them, with a stand-in for the worker's script."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bpy
import pytest

from tests.assets import worker_python

SCRIPT = """
import json, pathlib, sys
here = pathlib.Path(__file__)
here.with_suffix(".json").write_text(json.dumps(sys.argv[1:]))
print(here.with_suffix(".say").read_text(), end="")
sys.exit(int(here.with_suffix(".status").read_text()))
"""


@pytest.fixture
def preferences(extension: str) -> Iterator[Any]:
    chosen = bpy.context.preferences.addons[extension].preferences
    chosen.environment_source, chosen.python = "EXISTING", sys.executable
    yield chosen
    chosen.environment_source, chosen.python = "OWN", ""


@pytest.fixture
def backends(extension: str) -> Any:
    return importlib.import_module(f"{extension}.operators.backends")


@pytest.fixture
def outcome(extension: str, backends: Any) -> Callable[[], Any]:
    manager = importlib.import_module(f"{extension}.operators.running.job_manager").manager
    manager.outcomes.pop(backends.KIND, None)
    return lambda: manager.outcomes[backends.KIND]


@pytest.fixture
def worker(
    preferences: Any, backends: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, int], Callable[[], list[str]]]:
    """Set what the stand-in says and how it ends; returns what reads how it was called."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    monkeypatch.setattr(backends, "WORKER_SCRIPT", script)

    def set_up(say: str, status: int = 0) -> Callable[[], list[str]]:
        script.with_suffix(".say").write_text(say)
        script.with_suffix(".status").write_text(str(status))
        return lambda: json.loads(script.with_suffix(".json").read_text())

    return set_up


def add(folder: Path, *names: str) -> set[str]:
    return bpy.ops.magplus.add_checkpoint(directory=str(folder), files=[{"name": name} for name in names])


def test_the_chosen_files_are_taken_in(worker: Any, outcome: Any, tmp_path: Path) -> None:
    called = worker("fomm generator: added\nfomm kp_detector: added\n")
    assert add(tmp_path, "vox-cpk é.pth.tar", "second.pth") == {"FINISHED"}
    assert called() == ["backends", "add", str(tmp_path / "vox-cpk é.pth.tar"), str(tmp_path / "second.pth")]
    assert outcome().sentence == "fomm generator: added" and outcome().details == ("fomm kp_detector: added",)


def test_without_a_chosen_file_nothing_is_asked_of_the_worker(worker: Any, tmp_path: Path) -> None:
    worker("never said")
    with pytest.raises(RuntimeError, match="No file was chosen"):
        add(tmp_path)
    with pytest.raises(RuntimeError, match="No file was chosen"):
        add(tmp_path, "")
    assert not (tmp_path / "script.json").exists()


def test_a_refused_file_is_reported_in_the_workers_last_line(worker: Any, outcome: Any, tmp_path: Path) -> None:
    worker("a library's warning\npage.pth is a saved web page; download the file itself.\n", 2)
    with pytest.raises(RuntimeError, match="is a saved web page"):
        add(tmp_path, "page.pth")
    assert outcome().status.value == "failed" and outcome().exit_code == 2


def test_a_worker_that_says_nothing_is_reported_by_its_status(worker: Any, outcome: Any) -> None:
    worker("", 3)
    with pytest.raises(RuntimeError, match="ended with status 3"):
        bpy.ops.magplus.verify_checkpoints()
    assert outcome().exit_code == 3


def test_verifying_asks_for_all_of_them(worker: Any, outcome: Any) -> None:
    called = worker("Nothing added.\n")
    assert bpy.ops.magplus.verify_checkpoints() == {"FINISHED"}
    assert called() == ["backends", "verify"] and outcome().sentence == "Nothing added."


def test_removing_names_the_backend(worker: Any, outcome: Any) -> None:
    called = worker("fomm was removed.\n")
    assert bpy.ops.magplus.remove_checkpoint(backend="fomm") == {"FINISHED"}
    assert called() == ["backends", "remove", "fomm"] and outcome().sentence == "fomm was removed."


@pytest.mark.parametrize("name", ["add_checkpoint", "verify_checkpoints", "remove_checkpoint"])
def test_without_the_workers_python_the_buttons_are_off(preferences: Any, name: str) -> None:
    operator = getattr(bpy.ops.magplus, name)
    assert operator.poll()
    preferences.python = "/nowhere/python"
    assert not operator.poll()
    with pytest.raises(RuntimeError, match="There is no Python at /nowhere/python"):
        operator()


@pytest.mark.two_series
@pytest.mark.slow
def test_with_the_real_worker(preferences: Any, outcome: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "USERPROFILE"):  # the checkpoints' folder is in there
        monkeypatch.setenv(name, str(tmp_path))
    preferences.python = str(worker_python())
    assert bpy.ops.magplus.verify_checkpoints() == {"FINISHED"}
    assert outcome().sentence == "Nothing added."
    assert bpy.ops.magplus.remove_checkpoint(backend="fomm") == {"FINISHED"}
    assert outcome().sentence == "Nothing of fomm had been added."
    (tmp_path / "vox.pth").write_text("<!DOCTYPE html><html>Sign in to download</html>")
    with pytest.raises(RuntimeError, match="is a saved web page"):
        add(tmp_path, "vox.pth")


@pytest.fixture
def fomm_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """FOMM's files in a store that a variable names, and FOMM chosen; returns the scene's settings."""
    monkeypatch.setenv("MAGPLUS_CHECKPOINTS", str(tmp_path / "store"))
    (tmp_path / "store" / "fomm").mkdir(parents=True)
    for part in ("generator", "kp_detector"):
        (tmp_path / "store" / "fomm" / f"{part}.safetensors").touch()
    settings = bpy.context.scene.magplus
    settings.backend, settings.driving = "fomm", str(tmp_path / "clip.mp4")
    yield settings
    settings.backend, settings.driving = "flow_transfer", ""


def test_weights_are_tried_on_a_picture_and_the_driving_video(
    worker: Any, outcome: Any, fomm_added: Any, tmp_path: Path
) -> None:
    called = worker("FOMM: this looks like working weights.\nThe sheet is fomm_check.png.\n")
    assert bpy.ops.magplus.check_backend(filepath=str(tmp_path / "face.png")) == {"FINISHED"}
    picture, clip = str(tmp_path / "face.png"), str(tmp_path / "clip.mp4")
    assert called() == ["backends", "check", "fomm", "--picture", picture, "--clip", clip]
    assert outcome().sentence == "FOMM: this looks like working weights."


def test_weights_that_do_not_work_are_reported_with_all_that_was_found(
    worker: Any, outcome: Any, fomm_added: Any, tmp_path: Path
) -> None:
    worker("With the driver at rest ...\nThe sheet is here.\nThis does not look like working weights.\n", 2)
    with pytest.raises(RuntimeError, match="does not look like working weights"):
        bpy.ops.magplus.check_backend(filepath=str(tmp_path / "face.png"))
    assert outcome().details == ("With the driver at rest ...", "The sheet is here.")


def test_without_weights_or_a_clip_there_is_nothing_to_try(preferences: Any, fomm_added: Any, tmp_path: Path) -> None:
    operator = bpy.ops.magplus.check_backend
    assert operator.poll()
    fomm_added.driving = ""
    with pytest.raises(RuntimeError, match="Choose a driving video first"):
        operator(filepath="face.png")
    fomm_added.driving = "clip.mp4"
    (tmp_path / "store" / "fomm" / "generator.safetensors").unlink()
    with pytest.raises(RuntimeError, match="needs its authors' checkpoint"):
        operator(filepath="face.png")
    fomm_added.backend = "flow_transfer"
    with pytest.raises(RuntimeError, match="no weights to check"):
        operator(filepath="face.png")


def test_every_option_of_a_backend_can_be_set_in_the_sidebar(backends: Any, fomm_added: Any) -> None:
    options = fomm_added.backend_options
    fomm_added.backend = "fsrt"
    options.fsrt_more_sources, options.fsrt_chunk, options.fsrt_draft = "/a.png; /b.png", 4096, "16"
    assert backends.chosen_options(fomm_added) == {"more_sources": ("/a.png", "/b.png"), "chunk": 4096, "draft": 16}
    fomm_added.backend = "liveportrait"
    options.liveportrait_region, options.liveportrait_driving_multiplier = "brows", 8.0
    options.liveportrait_crop = False
    assert backends.chosen_options(fomm_added) == {"region": "brows", "driving_multiplier": 8.0, "crop": False}
    fomm_added.backend = "emoportraits"
    options.emoportraits_pose = "driver"
    assert backends.chosen_options(fomm_added) == {"pose": "driver"}
