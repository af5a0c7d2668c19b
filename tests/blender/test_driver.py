# SPDX-License-Identifier: GPL-3.0-or-later
"""The driving video is shown, and the part of it that is used is chosen by eye."""

from __future__ import annotations

import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy
import pytest
from bl_ext.user_default.magplus.backend_bridge.worker_client.look import Footage, Thumbnail
from bl_ext.user_default.magplus.magplus_addon.footage_box import lines_of
from bl_ext.user_default.magplus.operators import footage
from bl_ext.user_default.magplus.operators.driver_scene import driver_of
from bl_ext.user_default.magplus.operators.footage import Look, asks_for_part, footage_problem, looks, rate_text
from bl_ext.user_default.magplus.operators.order import disabled_reason

from tests.blender.head import add_camera, make_head, write_png
from tests.blender.test_addon import draw, preferences  # noqa: F401 - a fixture
from tests.blender.test_import_frames import picture

RATE = Fraction(30000, 1001)


def seen(settings: Any, frames: int = 90, rate: Fraction = RATE) -> Footage:
    """Let the scene's driving video be known as one of so many frames."""
    known = Footage(320, 240, rate, False, frames, frames / rate)
    looks.remember(settings, Look(known))
    return known


@pytest.fixture
def settings(tmp_path: Path) -> Any:
    """A scene with a driving video: pictures, which every Blender can read."""
    (tmp_path / "clip").mkdir()
    for number in range(90):
        write_png(tmp_path / "clip" / f"{number + 1:04}.png", picture(number % 20))
    chosen = bpy.context.scene.magplus
    chosen.driving, chosen.sequence_rate = str(tmp_path / "clip" / "0001.png"), 29.97
    yield chosen
    looks.forget()


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (Fraction(25), "25"),
        (RATE, "29.97"),
        (Fraction(25, 2), "12.5"),
        (Fraction(200), "200"),
        (Fraction(24000, 1001), "23.976"),
    ],
)
def test_a_frame_rate_is_reported_as_people_write_it(rate: Fraction, text: str) -> None:
    assert rate_text(rate) == text


def test_what_a_video_is_is_reported() -> None:
    assert lines_of(Footage(640, 480, RATE, True, 90, 90 / RATE)) == [
        "3.003 s",
        "29.97 frames/s",
        "exactly 30000/1001",
        "on average: it varies",
        "640 x 480 px",
        "90 frames",
    ]
    assert lines_of(Footage(8, 8, None, False, None, None)) == ["8 x 8 px"]


def test_markers_choose_the_part_and_the_reference(settings: Any) -> None:
    scene = bpy.context.scene
    seen(settings)
    settings.use_trim, settings.trim_start, settings.trim_end = True, 1.001, 2.002
    assert bpy.ops.magplus.open_driver() == {"FINISHED"}
    driver = driver_of(scene)
    assert driver.render.fps / driver.render.fps_base == pytest.approx(float(RATE))
    assert {marker.name: marker.frame for marker in driver.timeline_markers} == {"Trim Start": 31, "Trim End": 60}
    assert (driver.frame_start, driver.frame_end) == (1, 90)
    driver.timeline_markers["Trim Start"].frame = 41
    driver.frame_set(46)
    with bpy.context.temp_override(scene=driver):
        bpy.ops.magplus.mark_driver(which="REFERENCE")
    assert settings.trim_start == pytest.approx(1.001), "nothing changes before the markers are used"
    assert bpy.ops.magplus.use_markers() == {"FINISHED"}
    assert settings.trim_start == pytest.approx(40 / float(RATE), abs=1e-4)
    assert settings.trim_end == pytest.approx(2.002, abs=1e-4), "the last frame is a part of it"
    assert (settings.reference_mode, round(settings.reference, 4)) == ("GIVEN", round(45 / float(RATE), 4))
    assert driver_of(scene) is None and len(bpy.data.scenes) == 1 and not bpy.data.movieclips


def test_all_of_the_video_is_no_trim_and_opening_twice_leaves_one_scene(settings: Any) -> None:
    scene = bpy.context.scene
    seen(settings)
    for _ in range(2):
        bpy.ops.magplus.open_driver()
    assert len(bpy.data.scenes) == 2 and len(bpy.data.movieclips) == 1
    settings.use_trim = True
    bpy.ops.magplus.use_markers()
    assert not settings.use_trim and settings.reference_mode == "AUTO"
    bpy.ops.magplus.open_driver()
    assert bpy.ops.magplus.close_driver() == {"FINISHED"}
    assert driver_of(scene) is None and not bpy.ops.magplus.use_markers.poll()


def test_markers_in_the_wrong_order_are_reported_and_nothing_is_lost(settings: Any) -> None:
    seen(settings)
    bpy.ops.magplus.open_driver()
    driver = driver_of(bpy.context.scene)
    driver.timeline_markers["Trim End"].frame = 10
    driver.timeline_markers["Trim Start"].frame = 20
    with pytest.raises(RuntimeError, match="'Trim End' comes before 'Trim Start'"):
        bpy.ops.magplus.use_markers()
    driver.timeline_markers["Trim End"].frame = 30
    driver.timeline_markers.new("Reference", frame=91)
    with pytest.raises(RuntimeError, match="'Reference' lies outside the video"):
        bpy.ops.magplus.use_markers()
    assert driver_of(bpy.context.scene) == driver and not settings.use_trim
    driver.timeline_markers["Reference"].frame = 50  # after the part
    assert bpy.ops.magplus.use_markers() == {"FINISHED"}
    assert settings.use_trim and settings.reference == pytest.approx(49 / float(RATE), abs=1e-4)


def test_the_slider_sets_start_end_and_reference(settings: Any) -> None:
    assert not bpy.ops.magplus.set_time.poll()
    seen(settings, frames=91, rate=Fraction(30))
    for moment, which in ((1 / 3, "START"), (2 / 3, "END"), (0.5, "REFERENCE")):
        settings.scrub = moment
        bpy.ops.magplus.set_time(which=which)
    assert settings.use_trim and settings.reference_mode == "GIVEN"
    times = (settings.trim_start, settings.trim_end, settings.reference)
    assert times == pytest.approx((1.0, 2.0 + 1 / 30, 1.5), abs=1e-3)
    settings.scrub = 1.0
    bpy.ops.magplus.set_time(which="START")
    assert settings.trim_start < settings.trim_end


def test_a_long_video_asks_for_its_part_and_a_trimmed_one_does_not(settings: Any) -> None:
    assert not asks_for_part(settings), "not before it was looked at"
    seen(settings, frames=90)
    assert asks_for_part(settings)
    settings.use_trim = True
    assert not asks_for_part(settings)
    settings.use_trim = False
    seen(settings, frames=45)
    assert not asks_for_part(settings)


def test_what_the_video_rules_out_is_said_before_the_press(
    settings: Any,
    preferences: Any,  # noqa: F811 - the fixture
    tmp_path: Path,
) -> None:
    preferences.environment_source, preferences.python = "EXISTING", sys.executable
    add_camera()
    settings.avatar, settings.job_folder = make_head(), str(tmp_path)
    seen(settings)
    assert disabled_reason(bpy.context) == ""
    settings.use_trim, settings.trim_start, settings.trim_end = True, 4.0, 5.0
    assert "the video lasts 3.003 s" in disabled_reason(bpy.context)
    settings.trim_start, settings.trim_end = 1.0, 2.0
    settings.reference_mode, settings.reference = "GIVEN", 3.5
    assert footage_problem(settings) == "The reference is at 3.500 s, but the video lasts 3.003 s."
    for within in (0.5, 1.5, 2.5):  # before the trim, in it and after it
        settings.reference = within
        assert disabled_reason(bpy.context) == ""
    hidden = bpy.data.collections.new("Not Rendered")
    bpy.context.scene.collection.children.link(hidden)
    for collection in settings.avatar.users_collection:
        collection.objects.unlink(settings.avatar)
    hidden.objects.link(settings.avatar)
    hidden.hide_render = True
    assert "switch its camera icon on" in disabled_reason(bpy.context)


def test_a_look_that_the_machine_made_fail_rules_nothing_out_and_is_tried_again(settings: Any) -> None:
    looks.remember(settings, Look(error="The worker's Python gave no answer; try again.", until=0.0))
    assert footage_problem(settings) == ""
    looks.remember(settings, Look(error="It is no video; choose another."))
    assert footage_problem(settings) == "It is no video; choose another."


@pytest.mark.parametrize(
    ("most", "number", "text"),
    [
        (0, 3, ""),
        (1, 0, ""),
        (1, 1, "a single face"),
        (3, 2, ""),
        (3, 3, "3 faces at most; they are counted from 0 to 2"),
    ],
)
def test_a_face_that_no_picture_shows_is_said_before_the_run(settings: Any, most: int, number: int, text: str) -> None:
    settings.face_mode, settings.face_index = "INDEX", number
    known = seen(settings)
    pictures = tuple(Thumbnail(0.1 * at, Path("none.png"), max(most - at, 0)) for at in range(3))
    looks.remember(settings, Look(replace(known, thumbnails=pictures)))
    warning = footage.face_warning(settings)
    assert text in warning and bool(warning) == bool(text)
    settings.face_mode = "LARGEST"
    assert footage.face_warning(settings) == "" and looks.known(settings) is None, "faces are counted when it matters"


def test_a_look_belongs_to_the_video_as_it_is_on_the_disk(settings: Any) -> None:
    seen(settings)
    before = settings.driving
    settings.driving = str(Path(before).with_name("0002.png"))
    assert looks.known(settings) is None
    settings.driving = before
    assert looks.known(settings) is not None
    Path(before).write_bytes(Path(before).read_bytes() + b"more")
    assert looks.known(settings) is None


def test_a_dropped_video_is_stored_relative_to_a_saved_file(tmp_path: Path) -> None:
    video = tmp_path / "clips" / "clip.mp4"
    video.parent.mkdir()
    video.write_bytes(b"")
    settings = bpy.context.scene.magplus
    bpy.ops.magplus.choose_driving(filepath=str(video))
    assert settings.driving == str(video), "there is nothing yet to be relative to"
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    assert settings.driving == "//clips/clip.mp4"
    (tmp_path / "deeper").mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "deeper" / "shot.blend"))
    assert settings.driving == "//../clips/clip.mp4"
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "deeper" / "shot.blend"))
    assert Path(bpy.path.abspath(bpy.context.scene.magplus.driving)).resolve() == video
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "copy.blend"), copy=True)
    assert bpy.context.scene.magplus.driving == "//../clips/clip.mp4", "a copy leaves the present file as it is"


def test_the_panels_of_the_driver_draw(settings: Any) -> None:
    from bl_ext.user_default.magplus.magplus_addon.driver_panel import MAGPLUS_PT_driver, MAGPLUS_PT_trim

    seen(settings)
    assert "magplus.open_driver" in draw(MAGPLUS_PT_driver)
    bpy.ops.magplus.open_driver()
    assert "magplus.use_markers" in draw(MAGPLUS_PT_driver)
    assert {"Start Here", "End Here", "Reference Here"} <= set(draw(MAGPLUS_PT_trim))
