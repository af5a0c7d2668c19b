# SPDX-License-Identifier: GPL-3.0-or-later
"""The page that shows how the shots of a list came out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import bpy
import pytest
from bl_ext.user_default.magplus.backend_bridge.job.report import ShotReport

from tests.blender.batch.a_list import CLIP, planned, results_of, run_by_hand
from tests.blender.jobs import finished_report


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
