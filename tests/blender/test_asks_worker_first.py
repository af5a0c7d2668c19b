# SPDX-License-Identifier: GPL-3.0-or-later
"""What the worker would refuse is refused before the avatar is rendered and measured, which may take minutes."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import bpy
import pytest

from tests.assets import worker_python
from tests.blender.head import add_camera, make_head, quick_render

pytestmark = pytest.mark.two_series
ABSENT = "cuda:99"  # a card that no machine has
NOTHING = "nothing may be captured"


@pytest.fixture
def module(extension: str) -> Callable[[str], ModuleType]:
    return lambda name: importlib.import_module(f"{extension}.{name}")


@pytest.fixture
def main(module: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The command line, on which a capture is a fault of the test."""

    def captured(*_: Any, **__: Any) -> NoReturn:
        raise AssertionError(NOTHING)

    monkeypatch.setattr(module("operators.animate"), "capture", captured)
    return module("magplus_addon.commands").main


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A scene with a head and a camera, saved; returns a file that passes for a video as long as nobody reads it."""
    make_head()
    add_camera()
    quick_render()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "head.blend"))
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"this is text")
    return path


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--device", ABSENT], 3, f"This machine has no usable device '{ABSENT}'; choose 'auto' or 'cpu'."),
        (["--backend-option", "relative=maybe"], 2, "Flow Transfer has no options."),
    ],
)
def test_a_run_is_refused_before_its_capture(
    main: Callable[..., int],
    video: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    options: list[str],
    code: int,
    told: str,
) -> None:
    job = tmp_path / "job.magplus"
    arguments = ["--driving", str(video), "--shape-keys", "--output", str(job), "--python", str(worker_python())]
    assert main(["animate", *arguments, *options]) == code
    assert capfd.readouterr().err.strip().splitlines()[-1] == f"magplus: error: {told}"
    assert not job.exists()


def test_a_batch_is_refused_before_its_captures_where_it_runs_the_shots_too(
    main: Callable[..., int], video: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    listed = tmp_path / "list.toml"
    listed.write_text(
        f'[[shot]]\nname = "one"\nfile = "head.blend"\ndriving = "{video.name}"\nshape_keys = true\n'
        f'device = "{ABSENT}"\npython = "{worker_python()}"\n'
    )
    assert main(["batch", str(listed)]) == 3
    assert f"one: This machine has no usable device '{ABSENT}'" in capfd.readouterr().err
    assert main(["batch", str(listed), "--step", "capture"]) != 0
    assert NOTHING in capfd.readouterr().err, "where the run is another machine's, that may have the card"
