# SPDX-License-Identifier: GPL-3.0-or-later
"""The last result is seen, described, kept in its file and taken back, in whatever order one presses."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest
from bl_ext.user_default.magplus.backend_bridge.job.artefacts import COMPARE, FRAMES, SHOT_PNG
from bl_ext.user_default.magplus.backend_bridge.job.folder import JobFolder
from bl_ext.user_default.magplus.backend_bridge.job.judgement import NOTHING_MOVES, quality_of
from bl_ext.user_default.magplus.backend_bridge.job.quality import Quality, Reason
from bl_ext.user_default.magplus.backend_bridge.job.report import (
    FramesReport,
    MagnificationReport,
    ReferenceReport,
    RestorationReport,
    ShotReport,
)
from bl_ext.user_default.magplus.backend_bridge.job.spec import Avatar, Driving, JobSpec, Outputs
from bl_ext.user_default.magplus.backend_bridge.rig.events import UnitEvent
from bl_ext.user_default.magplus.magplus_addon.result_panel import MAGPLUS_PT_details, MAGPLUS_PT_result
from bl_ext.user_default.magplus.operators import result_record, show_result
from bl_ext.user_default.magplus.operators.animation.destination import Destination
from bl_ext.user_default.magplus.operators.import_result import import_result, read_result
from bl_ext.user_default.magplus.operators.order import make_order
from bl_ext.user_default.magplus.operators.report_lines import _side, doubts, measured_lines
from bl_ext.user_default.magplus.operators.rig.kinds.shape_key import shape_key_controls
from bl_ext.user_default.magplus.operators.running.job_manager import Outcome, Status, manager

from tests.blender.head import add_camera, add_key, make_head, quick_render, write_png
from tests.blender.jobs import finished_report, pulse, solved
from tests.blender.test_addon import draw, preferences  # noqa: F401 - a fixture
from tests.blender.test_import_frames import picture

SIZE = (32, 24)


def job(place: Path, name: str = "one", **events: int | None) -> JobFolder:
    """A finished job of 12 frames at 24 frames a second, with its comparison."""
    folder = JobFolder.create(place / f"{name}.magplus")
    folder.write_spec(JobSpec(Driving("clip.mp4"), Avatar("avatar.png")))
    for number in range(12):
        write_png(place / "frame.png", picture(number, SIZE))
        for kind in (FRAMES, COMPARE):
            folder.commit(kind.unit(number), (place / "frame.png").read_bytes())
    around = {"onset": 2, "apex": 5, "offset": 9} | events
    report = finished_report(12, Fraction(24), frame_size=SIZE, **around)
    folder.write_report(replace(report, warnings=("The head turns; trim it.",)))
    return folder


@pytest.fixture
def scene() -> Any:
    """A shot that plays frames 1 to 100."""
    add_camera()
    scene = quick_render(*SIZE)
    scene.render.fps, scene.frame_start, scene.frame_end = 24, 1, 100
    scene.frame_set(40)
    return scene


def bring_in(folder: JobFolder) -> None:
    assert bpy.ops.magplus.import_result(directory=str(folder.path)) == {"FINISHED"}


def view() -> tuple[int, bool, int, int]:
    scene = bpy.context.scene
    return scene.frame_current, scene.use_preview_range, scene.frame_preview_start, scene.frame_preview_end


def pictures() -> list[Any]:
    return list(bpy.context.scene.camera.data.background_images)


def test_a_result_is_seen_at_its_apex_and_loops(scene: Any, tmp_path: Path) -> None:
    scene.magplus.start_frame = 11
    bring_in(job(tmp_path))
    assert view() == (16, True, 11, 22)
    assert getattr(scene, "playback_loop_mode", "INFINITE") == "INFINITE"
    assert pictures()[0].display_depth == "FRONT"
    drawn = draw(MAGPLUS_PT_result)
    assert "Onset at 0.08 s of the clip" in drawn and "Apex at 0.21 s of the clip" in draw(MAGPLUS_PT_details)
    assert "The head turns; trim it." in drawn, "what the worker warned of is said for an import, too"
    assert "Show Frames As" in drawn and bpy.ops.magplus.show_as.poll()
    shown = [text for text in drawn if "not of the video" in text]
    scene.magplus.driving = "//another.mp4"
    assert not shown and any("not of the video chosen above" in text for text in draw(MAGPLUS_PT_result))


def test_the_preview_range_of_before_is_put_back_after_any_number_of_runs(scene: Any, tmp_path: Path) -> None:
    scene.use_preview_range, scene.frame_preview_start, scene.frame_preview_end = True, 30, 60
    before = view()
    bring_in(job(tmp_path, "one"))
    scene.magplus.start_frame = 50
    bring_in(job(tmp_path, "two"))
    assert view() == (55, True, 50, 61)
    assert bpy.ops.magplus.restore_view() == {"FINISHED"}
    assert view() == before
    assert not bpy.ops.magplus.restore_view.poll()


def test_a_preview_range_that_was_set_by_hand_in_between_is_the_one_to_put_back(scene: Any, tmp_path: Path) -> None:
    bring_in(job(tmp_path, "one"))
    scene.frame_preview_end = 33
    mine = view()
    bring_in(job(tmp_path, "two"))
    bpy.ops.magplus.restore_view()
    assert view() == mine


def test_undo_takes_back_the_result_its_view_and_its_words_and_redo_brings_them(scene: Any, tmp_path: Path) -> None:
    bpy.ops.ed.undo_push(message="before")
    before = view()
    bring_in(job(tmp_path))
    after = view()
    bpy.ops.ed.undo()
    assert view() == before and not pictures() and not MAGPLUS_PT_result.poll(bpy.context)
    bpy.ops.ed.redo()
    assert view() == after and pictures() and MAGPLUS_PT_result.poll(bpy.context)


def test_a_result_is_there_again_after_reopening_and_gone_in_another_file(scene: Any, tmp_path: Path) -> None:
    bring_in(job(tmp_path))
    shown = draw(MAGPLUS_PT_result)
    manager.outcomes["animate"] = Outcome("Cancelled.", Status.CANCELLED)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    assert not MAGPLUS_PT_result.poll(bpy.context) and "animate" not in manager.outcomes
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shot.blend"))
    assert MAGPLUS_PT_result.poll(bpy.context) and draw(MAGPLUS_PT_result) == shown
    assert bpy.ops.magplus.restore_view() == {"FINISHED"}


def test_keys_are_seen_first_and_frames_by_one_switch_in_any_place_before_the_avatar(
    scene: Any, tmp_path: Path
) -> None:
    head = make_head()
    co = np.array([vertex.co[:] for vertex in head.data.vertices], np.float32)
    add_key(head, "Smile", co, np.full_like(co, 0.01))
    folder = solved(tmp_path, shape_key_controls((head,))[0], {"Smile": pulse(12, 5, 0.3)}, Fraction(24), apex=5)
    bring_in(folder)
    assert "Show Frames As" not in draw(MAGPLUS_PT_result) and not bpy.ops.magplus.show_as.poll(), "it has none"
    frames = FramesReport(FRAMES.pattern, 1, 12, SIZE)
    for number in range(12):
        write_png(tmp_path / "frame.png", picture(number, SIZE))
        folder.commit(FRAMES.unit(number), (tmp_path / "frame.png").read_bytes())
    folder.write_spec(replace(folder.read_spec(), outputs=Outputs(frames=True, weights=True)))
    folder.write_report(replace(folder.read_report(), frames=frames))
    result, planes = scene.magplus.result, lambda: [each for each in scene.objects if each.name.startswith("MagPlus")]
    for where in ("FRONT", "PLANE"):
        scene.magplus.frames_to = where
        bring_in(folder)
        seen = [each.show_background_image for each in pictures()] + [not each.hide_viewport for each in planes()]
        assert seen and not any(seen) and not result.frames_shown, "they would hide what is keyed"
        assert not any(each.hide_render for each in planes())
        result.frames_shown = True
        assert all(each.show_background_image for each in pictures())
        assert not any(each.hide_viewport for each in planes())
    assert "frames_shown" in draw(MAGPLUS_PT_result)
    scene.magplus.frames_to = "BACKGROUND"
    bring_in(folder)
    assert result.frames_shown, "behind the avatar they hide nothing"
    bpy.ops.magplus.show_as(where="STRIP")
    assert not pictures() and "frames_shown" not in draw(MAGPLUS_PT_result)


def test_frames_of_an_earlier_result_neither_hide_the_keys_of_the_next_nor_pass_for_its_own(
    scene: Any, tmp_path: Path
) -> None:
    bring_in(job(tmp_path, "one"))
    assert "frames_shown" in draw(MAGPLUS_PT_result) and result_record.frames_in_view(scene)
    head = make_head()
    co = np.array([vertex.co[:] for vertex in head.data.vertices], np.float32)
    add_key(head, "Smile", co, np.full_like(co, 0.01))
    bring_in(solved(tmp_path, shape_key_controls((head,))[0], {"Smile": pulse(12, 5, 0.3)}, Fraction(24), apex=5))
    (earlier,) = pictures()
    assert not earlier.show_background_image, "the keys would play behind it"
    assert not result_record.frames_in_view(scene) and "frames_shown" in draw(MAGPLUS_PT_result)
    assert not bpy.ops.magplus.show_as.poll()
    scene.magplus.result.frames_shown = True
    assert earlier.show_background_image


def test_a_failed_result_does_not_read_like_a_success(scene: Any, tmp_path: Path) -> None:
    folder = job(tmp_path)
    report = folder.read_report()
    folder.write_report(replace(report, quality=Quality("failed", (Reason("nothing moves", NOTHING_MOVES, "failed"),))))
    bring_in(folder)
    assert scene.magplus.result.verdict == "failed"
    assert "Imported 12 frames from frame 1, but the result failed; the warnings say why." in draw(MAGPLUS_PT_result)


def test_frames_shown_another_way_lie_where_they_lay(scene: Any, tmp_path: Path) -> None:
    scene.magplus.start_frame = 11
    bring_in(job(tmp_path))
    scene.magplus.start_frame = 70  # for the next run
    for where in ("PLANE", "STRIP", "FRONT", "PLANE", "FRONT"):
        assert bpy.ops.magplus.show_as(where=where) == {"FINISHED"}
        assert scene.magplus.frames_to == where
    (shown,) = pictures()
    assert shown.image_user.frame_start == 11 and len(bpy.data.objects) == 1 and len(bpy.data.images) == 1


def test_a_second_run_at_the_same_place_shows_the_second(scene: Any, tmp_path: Path) -> None:
    bring_in(job(tmp_path, "one"))
    bring_in(job(tmp_path, "two"))
    (shown,) = pictures()
    assert "two.magplus" in shown.image.filepath and len(bpy.data.images) == 1


def test_a_result_that_another_run_has_replaced_since_it_was_read_is_read_again(scene: Any, tmp_path: Path) -> None:
    folder, destination = job(tmp_path, "smile"), Destination.from_settings(scene.magplus)
    read = read_result(folder, folder.read_spec().outputs)
    folder.write_report(replace(folder.read_report(), warnings=("The driver blinks.",)))
    outcome = import_result(bpy.context, folder, destination, folder.read_spec().outputs, read=read)
    assert "The driver blinks." in outcome.warnings and "The head turns; trim it." not in outcome.warnings


def test_a_result_stays_one_when_another_avatar_is_chosen_and_its_folder_moves_with_the_file(
    scene: Any, tmp_path: Path
) -> None:
    shots = tmp_path / "shots"
    shots.mkdir()
    bring_in(job(shots))
    scene.magplus.avatar = make_head()
    assert bpy.ops.magplus.show_as(where="FRONT") == {"FINISHED"}
    bpy.ops.wm.save_as_mainfile(filepath=str(shots / "shot.blend"))
    assert scene.magplus.result.folder == "//one.magplus"
    shots.rename(tmp_path / "moved")
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "moved" / "shot.blend"))
    assert bpy.ops.magplus.compare.poll() and show_result.GONE not in draw(MAGPLUS_PT_result)


def test_a_job_folder_that_is_gone_is_said_and_leaves_the_words(scene: Any, tmp_path: Path) -> None:
    folder = job(tmp_path)
    bring_in(folder)
    folder.path.rename(tmp_path / "elsewhere")
    assert show_result.GONE in draw(MAGPLUS_PT_result)
    assert not bpy.ops.magplus.show_as.poll() and not bpy.ops.magplus.compare.poll()


@pytest.mark.parametrize(("end", "shown"), [(3, "outside the scene's frame range"), (8, "after the scene's end")])
def test_an_end_of_the_scene_before_the_results_is_said_with_a_button(
    scene: Any, tmp_path: Path, end: int, shown: str
) -> None:
    scene.frame_end = end
    bring_in(job(tmp_path))
    assert any(shown in text for text in draw(MAGPLUS_PT_result))
    assert "magplus.fit_range" in draw(MAGPLUS_PT_result)
    bpy.ops.magplus.fit_range()
    assert (scene.frame_start, scene.frame_end) == (1, 12)
    assert "magplus.fit_range" not in draw(MAGPLUS_PT_result)


def test_an_apex_before_the_scenes_start_is_said_too(scene: Any, tmp_path: Path) -> None:
    scene.magplus.start_frame, scene.frame_start = 1, 60
    bring_in(job(tmp_path))
    assert any("outside the scene's frame range" in text for text in draw(MAGPLUS_PT_result))
    bpy.ops.magplus.fit_range()
    assert (scene.frame_start, scene.frame_end) == (1, 100)


def test_no_offset_is_said_with_a_way_on(scene: Any, tmp_path: Path) -> None:
    scene.magplus.use_trim, scene.magplus.trim_start, scene.magplus.trim_end = True, 0.2, 0.7
    bring_in(job(tmp_path, offset=None))
    drawn = draw(MAGPLUS_PT_result)
    assert "magplus.widen_trim" in drawn and "magplus.add_markers" in drawn
    assert sum("goes on after the clip's end" in text for text in drawn) == 1
    bpy.ops.magplus.widen_trim(end="END")
    bpy.ops.magplus.widen_trim(end="START")
    assert (scene.magplus.trim_start, round(scene.magplus.trim_end, 3)) == (0.0, 1.2)
    bpy.ops.magplus.add_markers()
    assert {marker.name: marker.frame for marker in scene.timeline_markers} == {
        "MagPlus onset": 3,
        "MagPlus apex": 6,
        "MagPlus offset": 12,
    }
    assert bpy.ops.magplus.trim_from_markers() == {"FINISHED"}


def better_reference(place: Path, driving: Path) -> JobFolder:
    """A finished job of a video, by which the face is nearer to rest at 2.46 s than in the reference."""
    folder = job(place)
    report = folder.read_report()
    of_the_video = replace(report.driving, path=str(driving))
    smiling = ReferenceReport(0, 0.0, "automatic", "It smiles.", 2.4567)
    folder.write_report(replace(report, driving=of_the_video, reference=smiling))
    return folder


def test_a_better_reference_is_offered_and_the_next_run_uses_it(
    scene: Any,
    preferences: Any,  # noqa: F811 - the fixture
    tmp_path: Path,
) -> None:
    driving = tmp_path / "clip.mp4"
    driving.write_bytes(b"passes for a video as long as nobody reads it")
    settings = scene.magplus
    settings.avatar, settings.job_folder, settings.driving = make_head(), str(tmp_path), str(driving)
    settings.use_trim, settings.trim_start, settings.trim_end = True, 1.0, 1.5
    bring_in(better_reference(tmp_path, driving))
    assert "At 2.457 s of the video the face is nearer to rest." in draw(MAGPLUS_PT_result)
    assert bpy.ops.magplus.use_better_reference() == {"FINISHED"}
    spec = make_order(bpy.context, folder=tmp_path / "next.magplus", needs_worker=False).spec
    assert spec.driving.reference == pytest.approx(2.4567) and spec.driving.trim == (1.0, 1.5)
    assert "magplus.use_better_reference" not in draw(MAGPLUS_PT_result), "once chosen, it is gone"
    assert not bpy.ops.magplus.use_better_reference.poll()
    settings.reference_mode = "AUTO"
    assert "magplus.use_better_reference" in draw(MAGPLUS_PT_result)


def test_a_better_reference_is_one_of_its_own_video_wherever_the_file_goes(scene: Any, tmp_path: Path) -> None:
    shots = tmp_path / "shots"
    shots.mkdir()
    scene.magplus.driving = str(shots / "clip.mp4")
    bring_in(better_reference(shots, shots / "clip.mp4"))
    bpy.ops.wm.save_as_mainfile(filepath=str(shots / "shot.blend"))
    shots.rename(tmp_path / "moved")
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "moved" / "shot.blend"))
    assert bpy.ops.magplus.use_better_reference.poll()
    bpy.context.scene.magplus.driving = "//another/clip.mp4"
    assert not bpy.ops.magplus.use_better_reference.poll()
    assert "magplus.use_better_reference" not in draw(MAGPLUS_PT_result)


def test_compare_shows_the_comparison_at_the_scenes_rate(scene: Any, tmp_path: Path) -> None:
    scene.render.fps = 48
    folder = job(tmp_path)
    bring_in(folder)
    for _ in range(2):
        assert bpy.ops.magplus.compare() == {"FINISHED"}
    (shown,) = [image for image in bpy.data.images if image.name.startswith(show_result.COMPARE_NAME)]
    assert shown.source == "SEQUENCE" and "compare_48fps" in shown.filepath
    assert len(list((folder.path / "compare_48fps").iterdir())) == 24
    bpy.ops.magplus.show_as(where="STRIP")
    assert show_result.COMPARE_NAME in bpy.data.images
    bpy.ops.ed.undo()
    assert show_result.COMPARE_NAME in bpy.data.images, "it was there before what was taken back"


def test_curves_need_a_rig(scene: Any, tmp_path: Path) -> None:
    folder = job(tmp_path)
    bring_in(folder)
    assert not bpy.ops.magplus.show_curves.poll()
    write_png(tmp_path / "frame.png", picture(0, SIZE))
    folder.commit("curves.png", (tmp_path / "frame.png").read_bytes())
    assert bpy.ops.magplus.show_curves() == {"FINISHED"}
    assert tuple(bpy.data.images[show_result.CURVES_NAME].size) == SIZE


def test_the_report_says_how_strong_against_the_driver_and_what_is_odd(tmp_path: Path) -> None:
    report = replace(
        finished_report(12, apex=5),
        magnification=MagnificationReport(8.2, "automatic", {}, 0.0123, True),
        restoration=RestorationReport(0.9, 0.1, 1.0, 0.94),
        quality=Quality("check", (Reason("no offset", "It goes on; let the trim end later."),)),
    )
    lines = measured_lines(report)
    assert "The frames show 94% of the driver's motion, 100% was asked for" in lines
    assert "The driver's face moves by 1.23% of its width" in lines
    assert "Onset before the clip begins" in lines and "Offset after the clip ends" in lines


def test_what_an_earlier_run_had_finished_is_said_of_stills_and_of_moving_shots() -> None:
    frames = FramesReport(FRAMES.pattern, 1, 12, SIZE, resumed=5)
    shot = ShotReport(SHOT_PNG.pattern, 101, 4, SIZE, 3, False, False, 101, Fraction(24), Fraction(1), Fraction(0))
    assert "5 of 12 frames were kept from an earlier run" in measured_lines(replace(finished_report(12), frames=frames))
    assert "3 of 4 frames were kept from an earlier run" in measured_lines(replace(finished_report(12), shot=shot))


@pytest.mark.parametrize(
    ("asymmetry", "side"), [(None, "sides not told apart"), (0.1, "both sides"), (0.9, "left"), (-1.0, "right")]
)
def test_units_are_said_with_their_side(asymmetry: float | None, side: str) -> None:
    assert _side(UnitEvent(4, "brow lowerer", (), 0.1, 0.2, 0.3, 0.12, None, None, asymmetry, False)) == side


def test_each_doubt_is_printed_once_in_its_fullest_wording() -> None:
    warning = "Frames that can't be trusted hold the one before them: 0.1-0.2 s."
    reason = f"{warning[:-1]}; choose a part of the video without them."
    face = "No face was recognised in the avatar's picture; the driver's face was laid over the rig. Check the result."
    report = replace(
        finished_report(9),
        warnings=(face, warning),
        quality=Quality(
            "check",
            (
                Reason("untrusted frames", reason),
                Reason("no face recognised", "No face was recognised in the avatar's picture; place anchors."),
            ),
        ),
    )
    assert doubts(report, warning, "The range was widened of Smile.") == (
        "The range was widened of Smile.",
        reason,
        face,
    )


def test_what_the_run_has_warned_of_and_the_report_judges_is_said_once() -> None:
    report = replace(finished_report(12, Fraction(24)), events=None, warnings=(NOTHING_MOVES,))
    shown = doubts(replace(report, quality=quality_of(report)))
    assert [text for text in shown if text.startswith("Nothing moves")] == [NOTHING_MOVES]
