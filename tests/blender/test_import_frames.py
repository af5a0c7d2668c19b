# SPDX-License-Identifier: GPL-3.0-or-later
"""The frames show up at the right time, and what is rendered of them is what is in the files."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import bpy
import numpy as np
import pytest
from bl_ext.user_default.magplus.backend_bridge.files.errors import InputError, MachineError
from bl_ext.user_default.magplus.backend_bridge.job import folder as job_folder
from bl_ext.user_default.magplus.backend_bridge.job.artefacts import FRAMES, SHOT_PNG
from bl_ext.user_default.magplus.backend_bridge.job.folder import JobFolder
from bl_ext.user_default.magplus.backend_bridge.job.report import ShotReport
from bl_ext.user_default.magplus.backend_bridge.job.spec import Avatar, Driving, JobSpec, Outputs
from bl_ext.user_default.magplus.operators.animation.destination import (
    BACKGROUND,
    FRONT,
    IMAGE,
    PLANE,
    STRIP,
    Destination,
)
from bl_ext.user_default.magplus.operators.animation.scene_time import LAST_FRAME
from bl_ext.user_default.magplus.operators.frames.clip import check_in_steps
from bl_ext.user_default.magplus.operators.frames.plane import is_result_plane
from bl_ext.user_default.magplus.operators.frames.strip import strips_of
from bl_ext.user_default.magplus.operators.import_frames import import_frames
from bl_ext.user_default.magplus.operators.import_result import import_result

from tests.blender.head import add_camera, dump, quick_render, read_png, write_png
from tests.blender.jobs import finished_report

SIZE = (32, 24)


def picture(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A picture that no other number has: a grey of its own, coloured corners, half and wholly transparent parts."""
    width, height = size
    pixels = np.ones((height, width, 4), np.float32)
    pixels[..., :3] = (40 + 10 * number) / 255
    pixels[: height // 3, : width // 3, :3] = (0.9, 0.2, 0.1)
    pixels[-height // 3 :, -width // 3 :, :3] = (0.1, 0.3, 0.8)
    pixels[: height // 3, -width // 3 :, 3] = 0.5
    pixels[-height // 3 :, : width // 3] = 0
    return pixels


def finished(
    tmp_path: Path, count: int, rate: Fraction = Fraction(24), apex: int | None = None, size=SIZE
) -> JobFolder:
    """A finished job with frames, as the worker leaves it."""
    folder = JobFolder.create(tmp_path / "Résultat 結果.magplus")
    folder.write("job.json", b"{}")
    for number in range(count):
        write_png(tmp_path / "frame.png", picture(number % 20, size))
        folder.commit(FRAMES.unit(number), (tmp_path / "frame.png").read_bytes())
    folder.write_report(finished_report(count, rate, apex=apex, video_start=3.0, frame_size=size))
    return folder


def shot(view: str = "Standard", fps: int = 24, base: float = 1.0) -> bpy.types.Scene:
    add_camera()
    scene = quick_render(*SIZE)
    scene.render.fps, scene.render.fps_base = fps, base
    scene.render.film_transparent = True
    scene.render.image_settings.color_mode = "RGBA"
    scene.render.dither_intensity = 0
    scene.cycles.filter_width = 0.01
    scene.view_settings.view_transform = view
    return scene


def render(frame: int, tmp_path: Path) -> np.ndarray:
    scene = bpy.context.scene
    scene.frame_set(frame)
    scene.render.filepath = str(tmp_path / "rendered.png")
    bpy.ops.render.render(write_still=True)
    return read_png(scene.render.filepath)


def assert_shown(rendered: np.ndarray, expected: np.ndarray, steps: float = 1.5) -> None:
    """Equal to so many steps of 8 bits; where nothing is seen, colour means nothing."""
    assert rendered.shape == expected.shape
    assert np.abs(rendered[..., 3] - expected[..., 3]).max() <= 1.5 / 255
    seen = expected[..., 3] > 0
    assert np.abs(rendered[seen] - expected[seen]).max() <= steps / 255


CAMERAS = {
    "plain": {},
    "shifted": {"shift_x": 0.2, "shift_y": -0.1},
    "orthographic": {"type": "ORTHO", "ortho_scale": 3.0},
    "vertical sensor": {"sensor_fit": "VERTICAL"},
    "far away and turned": {"location": (100, -30, 20), "rotation_euler": (1.2, 0.3, 2.0), "scale": (3, 3, 3)},
    "mirrored": {"scale": (-1, 1, 2)},
}


@pytest.mark.parametrize("setup", CAMERAS.values(), ids=CAMERAS.keys())
def test_a_plane_reproduces_the_picture(tmp_path: Path, setup: dict) -> None:
    scene = shot()
    for name, value in setup.items():
        setattr(scene.camera if hasattr(scene.camera, name) and name != "type" else scene.camera.data, name, value)
    folder = finished(tmp_path, 3)
    report = import_frames(bpy.context, folder, Destination(5, show_as=PLANE))
    assert report.sentences() == []
    for index in (0, 2):
        assert_shown(render(5 + index, tmp_path), read_png(folder.path / "frames" / f"{index + 1:06}.png"))


@pytest.mark.parametrize(("kind", "name"), [("PERSP", "lens"), ("ORTHO", "ortho_scale")])
def test_a_plane_fills_the_view_of_a_camera_that_zooms(tmp_path: Path, kind: str, name: str) -> None:
    scene = shot()
    lens = scene.camera.data
    lens.type = kind
    for frame, value in ((5, 40.0), (7, 90.0)):
        setattr(lens, name, value)
        lens.keyframe_insert(name, frame=frame)
    folder = finished(tmp_path, 3)
    import_frames(bpy.context, folder, Destination(5, show_as=PLANE))
    for index in (0, 1, 2):
        assert_shown(render(5 + index, tmp_path), read_png(folder.path / "frames" / f"{index + 1:06}.png"))


def test_a_plane_is_rendered_whatever_collection_is_active(tmp_path: Path) -> None:
    scene = shot()
    hidden = bpy.data.collections.new("Not in renders")
    scene.collection.children.link(hidden)
    hidden.hide_render = True
    layer = bpy.context.view_layer
    layer.active_layer_collection = layer.layer_collection.children[0]
    folder = finished(tmp_path, 1)
    import_frames(bpy.context, folder, Destination(1, show_as=PLANE))
    assert_shown(render(1, tmp_path), read_png(folder.path / "frames" / "000001.png"))


def test_what_changes_a_plane_in_renders_is_said(tmp_path: Path) -> None:
    scene = shot()
    lens = scene.camera.data
    lens.dof.use_dof, lens.dof.focus_distance = True, 500.0
    folder = finished(tmp_path, 1)
    report = import_frames(bpy.context, folder, Destination(1, show_as=PLANE))
    assert report.sentences() == [
        "The depth of field of 'Camera' blurs the image plane in renders; switch it off in Properties > Data > Depth "
        "of Field."
    ]
    lens.dof.use_dof = False
    assert_shown(render(1, tmp_path), read_png(folder.path / "frames" / "000001.png"))
    bpy.context.view_layer.material_override = bpy.data.materials.new("Clay")
    (said,) = import_frames(bpy.context, folder, Destination(1, show_as=PLANE)).sentences()
    assert "clear Material Override" in said


@pytest.mark.parametrize("where", [FRONT, PLANE, BACKGROUND])
def test_frames_are_shown_through_the_camera_that_is_looked_through_there(tmp_path: Path, where: str) -> None:
    scene = shot()
    first = scene.camera
    second = add_camera()
    second.name, second.location = "Close", (3, -4, 1)
    for frame, camera in ((1, first), (50, second)):
        scene.timeline_markers.new("Cut", frame=frame).camera = camera
    scene.frame_set(1)
    folder = finished(tmp_path, 3)
    report = import_frames(bpy.context, folder, Destination(50, show_as=where))
    assert report.sentences() == [] and scene.frame_current == 1
    shown = bpy.data.objects[report.placed]
    assert (shown.parent if where == PLANE else shown) == second
    if where == PLANE:
        assert_shown(render(51, tmp_path), read_png(folder.path / "frames" / "000002.png"))
    (cut,) = import_frames(bpy.context, folder, Destination(49, show_as=where)).sentences()
    assert cut.startswith("At frame 50 the scene cuts to another camera than 'Camera'")
    assert not import_frames(bpy.context, folder, Destination(47, show_as=where)).sentences()


def test_a_plane_holds_the_first_and_the_last_frame(tmp_path: Path) -> None:
    shot()
    folder = finished(tmp_path, 3)
    import_frames(bpy.context, folder, Destination(5, show_as=PLANE))
    for frame, number in ((-20, 1), (4, 1), (8, 3), (30, 3)):
        assert_shown(render(frame, tmp_path), read_png(folder.path / "frames" / f"{number:06}.png"))


def rendered_through(view: str, path: Path) -> None:
    """Put a picture of many colours, dark to overexposed, through a view transform into a file, as a capture does."""
    rng = np.random.default_rng(0)
    width, height = SIZE
    light = np.ones((height * width, 4), np.float32)
    light[:, :3] = rng.random((height * width, 3)) * np.exp(rng.normal(-1, 1, (height * width, 1)))
    image = bpy.data.images.new("light", width, height, float_buffer=True)
    image.pixels.foreach_set(light.ravel())
    scene = bpy.context.scene
    scene.view_settings.view_transform = view
    image.save_render(str(path), scene=scene)
    bpy.data.images.remove(image)


@pytest.mark.parametrize("where", [PLANE, STRIP])
@pytest.mark.parametrize(
    ("view", "display"),
    [*((view, "sRGB") for view in ("Standard", "AgX", "Filmic")), ("Standard", "Display P3"), ("Standard", "Rec.1886")],
)
def test_a_render_comes_out_as_it_is_through_the_same_view_transform(
    tmp_path: Path, view: str, display: str, where: str
) -> None:
    scene = shot(view)
    scene.display_settings.display_device = display
    folder = finished(tmp_path, 1)
    rendered_through(view, tmp_path / "frame.png")
    folder.commit(FRAMES.unit(0), (tmp_path / "frame.png").read_bytes())
    folder.write_report(finished_report(1, frame_size=SIZE))
    report = import_frames(bpy.context, folder, Destination(1, show_as=where))
    assert not any("a second time" in sentence for sentence in report.sentences())
    steps = np.abs(render(1, tmp_path) - read_png(folder.path / "frames" / "000001.png")) * 255
    # Blender's tables for AgX are exact to some steps near its limits, and much better elsewhere.
    assert steps.mean() < 0.75
    assert np.quantile(steps, 0.99) < (7 if view == "AgX" else 1.5)


@pytest.mark.parametrize("setting", ["exposure", "white balance", "an HDR display"])
def test_a_view_that_cannot_be_undone_is_reported(tmp_path: Path, setting: str) -> None:
    scene = shot()
    if setting == "exposure":
        scene.view_settings.exposure = 1.0
    elif setting == "white balance":
        if not hasattr(scene.view_settings, "use_white_balance"):
            pytest.skip("Blender has it from 4.3")
        scene.view_settings.use_white_balance = True
    else:
        if bpy.app.version < (5, 0, 0):
            pytest.skip("Blender has them from 5.0")
        scene.display_settings.display_device = "Rec.2100-PQ"
    report = import_frames(bpy.context, finished(tmp_path, 1), Destination(1, show_as=PLANE))
    assert "a second time" in report.sentences()[0]


def test_a_plane_follows_the_camera_and_lights_nothing(tmp_path: Path) -> None:
    scene = shot()
    folder = finished(tmp_path, 1)
    report = import_frames(bpy.context, folder, Destination(1, show_as=PLANE))
    scene.camera.location = (1, 2, 3)
    assert_shown(render(1, tmp_path), read_png(folder.path / "frames" / "000001.png"))
    plane = bpy.data.objects[report.placed]
    assert not (plane.visible_diffuse or plane.visible_glossy or plane.visible_shadow)


def test_a_picture_of_another_shape_is_fitted_not_stretched(tmp_path: Path) -> None:
    shot()
    folder = finished(tmp_path, 1, size=(24, 24))
    import_frames(bpy.context, folder, Destination(1, show_as=PLANE))
    rendered = render(1, tmp_path)
    assert not rendered[:, :4, 3].any() and not rendered[:, -4:, 3].any()
    assert_shown(rendered[:, 4:-4], read_png(folder.path / "frames" / "000001.png"))


def test_a_strip_reproduces_the_picture(tmp_path: Path) -> None:
    shot()
    folder = finished(tmp_path, 4)
    report = import_frames(bpy.context, folder, Destination(11, show_as=STRIP))
    assert "Renders now show the sequencer" in report.sentences()[0]
    for index in (0, 3):
        assert_shown(render(11 + index, tmp_path), read_png(folder.path / "frames" / f"{index + 1:06}.png"))
    assert not render(15, tmp_path).any()
    assert not render(10, tmp_path).any()


def test_a_strip_leaves_others_where_they_are_and_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    scene = shot()
    folder = finished(tmp_path, 4)
    strips = strips_of(scene)
    strips.new_image(
        name="Mine", filepath=str(folder.path / "frames" / "000001.png"), channel=1, frame_start=1, fit_method="FIT"
    )
    for _ in range(2):
        import_frames(bpy.context, folder, Destination(1, show_as=STRIP))
    assert {(strip.name, strip.channel) for strip in strips} == {("Mine", 1), ("MagPlus Result", 2)}
    import_frames(bpy.context, folder, Destination(5, show_as=STRIP))  # after both: there is room in the first channel
    assert sorted((strip.name, strip.channel) for strip in strips) == [
        ("MagPlus Result", 2),
        ("MagPlus Result.001", 1),
        ("Mine", 1),
    ]


def shown_now() -> dict[str, int]:
    """How often the scene shows frames of MagPlus, by the way it does, and what is in the file for it."""
    scene = bpy.context.scene
    return {
        "planes": sum(is_result_plane(each) for each in scene.objects),
        "pictures": len(scene.camera.data.background_images),
        "strips": 0 if scene.sequence_editor is None else len(strips_of(scene)),
        "images": len(bpy.data.images),
        "materials": len(bpy.data.materials),
        "meshes": len(bpy.data.meshes),
    }


def test_switching_how_frames_are_shown_leaves_nothing_of_the_way_before(tmp_path: Path) -> None:
    shot()
    folder = finished(tmp_path, 3)
    nothing = shown_now()
    expected = {
        FRONT: nothing | {"pictures": 1, "images": 1},
        PLANE: nothing | {"planes": 1, "pictures": 1, "images": 2, "materials": 1, "meshes": 1},
        BACKGROUND: nothing | {"pictures": 1, "images": 1},
        STRIP: nothing | {"strips": 1},
        IMAGE: nothing | {"images": 1},
    }
    for where in (*expected, *reversed(expected)):
        import_frames(bpy.context, folder, Destination(1, show_as=where))
        assert shown_now() == expected[where], where


def test_results_at_other_frames_and_a_persons_own_pictures_stay(tmp_path: Path) -> None:
    scene = shot()
    folder = finished(tmp_path, 3)
    own = scene.camera.data.background_images.new()
    own.image = bpy.data.images.new("Mine", 4, 4)
    import_frames(bpy.context, folder, Destination(1, show_as=FRONT))
    import_frames(bpy.context, folder, Destination(20, show_as=FRONT))
    pictures = [each.image.name for each in scene.camera.data.background_images]
    assert pictures == ["Mine", "MagPlus Result", "MagPlus Result.001"]


def test_over_the_camera_view_is_in_front_of_the_avatar_and_no_render_shows_it(tmp_path: Path) -> None:
    scene = shot()
    folder = finished(tmp_path, 3)
    import_frames(bpy.context, folder, Destination(1, show_as=FRONT))
    (picture,) = scene.camera.data.background_images
    assert picture.display_depth == "FRONT" and picture.show_background_image and picture.alpha == 1.0
    assert not render(1, tmp_path).any()


def test_a_plane_is_no_grey_wall_in_solid_shading(tmp_path: Path) -> None:
    scene = shot()
    report = import_frames(bpy.context, finished(tmp_path, 3), Destination(1, show_as=PLANE))
    plane = bpy.data.objects[report.placed]
    assert plane.active_material.diffuse_color[3] == plane.color[3] == 0.0
    (picture,) = scene.camera.data.background_images
    assert picture.display_depth == "FRONT" and picture.image.colorspace_settings.name == "sRGB"


def test_a_camera_background_shows_the_right_file(tmp_path: Path) -> None:
    scene = shot()
    folder = finished(tmp_path, 5)
    report = import_frames(bpy.context, folder, Destination(100, show_as=BACKGROUND))
    background = scene.camera.data.background_images[0]
    assert scene.camera.data.show_background_images and report.placed == scene.camera.name
    assert background.alpha == 1.0
    assert shown_by(background.image, background.image_user, (100, 102, 104, 110)) == [1, 3, 5, 5]
    assert background.image.colorspace_settings.name == "sRGB" and not background.image.use_view_as_render


def shown_by(image: bpy.types.Image, user: bpy.types.ImageUser, frames: tuple[int, ...]) -> list[int]:
    """Which file Blender reads for an image user, by frame."""
    found = []
    for frame in frames:
        bpy.context.scene.frame_set(frame)
        bpy.context.view_layer.update()
        found.append(int(Path(image.filepath_from_user(image_user=user)).stem))
    return found


def test_the_image_alone_is_a_sequence_ready_to_use(tmp_path: Path) -> None:
    shot()
    folder = finished(tmp_path, 3)
    report = import_frames(bpy.context, folder, Destination(1, show_as=IMAGE))
    image = bpy.data.images[report.image]
    assert image.source == "SEQUENCE" and image.alpha_mode == "STRAIGHT"
    assert Path(bpy.path.abspath(image.filepath)) == folder.path / "frames" / "000001.png"
    assert report.placed is None and report.count == 3


@pytest.mark.parametrize("where", [PLANE, STRIP])
def test_beside_a_saved_file_paths_are_relative_and_move_with_it(tmp_path: Path, where: str) -> None:
    scene = shot()
    (tmp_path / "production").mkdir()
    folder = finished(tmp_path / "production", 3)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "production" / "shot.blend"))
    report = import_frames(bpy.context, folder, Destination(1, show_as=where))
    path = bpy.data.images[report.image].filepath if where == PLANE else strips_of(scene)[0].directory
    assert path.startswith("//")
    bpy.ops.wm.save_mainfile()
    expected = read_png(folder.path / "frames" / "000002.png")
    (tmp_path / "production").rename(tmp_path / "moved")
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "moved" / "shot.blend"))
    assert_shown(render(2, tmp_path), expected)


def test_at_the_scenes_rate_the_frames_are_used_as_they_are(tmp_path: Path) -> None:
    shot(fps=24, base=1.001)
    folder = finished(tmp_path, 6, rate=Fraction(24000, 1001), apex=2)
    report = import_frames(bpy.context, folder, Destination(1, show_as=IMAGE))
    assert (report.dropped, report.duplicated, report.shift) == (0, 0, 0.0)
    assert {path.name for path in folder.path.iterdir() if path.is_dir()} == {"frames", "avatar"}


def test_a_fast_clip_keeps_its_apex_and_reports_what_it_drops(tmp_path: Path) -> None:
    shot(fps=24)
    folder = finished(tmp_path, 50, rate=Fraction(200), apex=23)
    report = import_frames(bpy.context, folder, Destination(1, show_as=PLANE))
    made = folder.path / "frames_24fps"
    names = sorted(path.name for path in made.iterdir())
    assert names == [f"{n:06}.png" for n in range(1, report.count + 1)]
    assert report.apex_kept and report.dropped == 50 - report.count and report.duplicated == 0
    assert f"{report.dropped} frames fall between" in report.sentences()[0]
    # Frame by frame what is nearest in time, counted from the apex.
    apex = round(1 + 23 * 24 / 200)
    for frame in range(1, report.count + 1):
        source = max(23 + round((frame - apex) * 200 / 24), 0)
        assert (made / f"{frame:06}.png").read_bytes() == (folder.path / "frames" / f"{source + 1:06}.png").read_bytes()
    assert_shown(render(apex, tmp_path), read_png(folder.path / "frames" / "000024.png"))
    assert (made / "000001.png").stat().st_nlink > 1


def test_slow_motion_repeats_frames_evenly_and_a_result_of_frames_alone_has_markers_to_trim_by(tmp_path: Path) -> None:
    scene = shot(fps=24)
    folder = finished(tmp_path, 10, rate=Fraction(48), apex=5)
    destination = Destination(11, show_as=IMAGE, stretch=Fraction(6))
    import_result(bpy.context, folder, destination, Outputs(frames=True))
    made = sorted((folder.path / "frames_144fps").iterdir())
    assert len(made) == 30, "each is shown for 6 * 24 / 48 frames of the scene"
    apex = (folder.path / "frames" / "000006.png").read_bytes()
    assert [path.read_bytes() == apex for path in made].count(True) == 3
    assert {marker.name: marker.frame for marker in scene.timeline_markers} == {"MagPlus apex": 26}
    scene.timeline_markers.new("MagPlus onset", frame=14)
    scene.timeline_markers.new("MagPlus offset", frame=32)
    assert bpy.ops.magplus.trim_from_markers() == {"FINISHED"}
    settings = scene.magplus
    assert settings.trim_start == pytest.approx(3 + 3 / 144, abs=1e-4)
    assert settings.trim_end == pytest.approx(3 + 21 / 144, abs=1e-4)


def test_a_slow_clip_repeats_frames_and_reports_how_many(tmp_path: Path) -> None:
    shot(fps=60)
    folder = finished(tmp_path, 12, rate=Fraction(24), apex=4)
    report = import_frames(bpy.context, folder, Destination(1, show_as=BACKGROUND))
    assert report.dropped == 0 and report.duplicated == report.count - 12 == 18
    assert (folder.path / "frames_60fps").is_dir()
    camera = bpy.context.scene.camera.data
    background = camera.background_images[0]
    assert shown_by(background.image, background.image_user, (1, 11, 30)) == [1, 11, 30]


def test_a_second_import_shows_the_frames_of_the_second_run(tmp_path: Path) -> None:
    shot(fps=30)
    folder = finished(tmp_path, 10, rate=Fraction(60))
    import_frames(bpy.context, folder, Destination(1, show_as=IMAGE))
    folder.write("frames/000001.png", (folder.path / "frames" / "000009.png").read_bytes())  # as a new run does
    import_frames(bpy.context, folder, Destination(1, show_as=IMAGE))
    made = folder.path / "frames_30fps"
    assert (made / "000001.png").read_bytes() == (folder.path / "frames" / "000009.png").read_bytes()


def test_where_the_disk_has_no_links_files_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(job_folder.os, "link", no_links)
    shot(fps=30)
    folder = finished(tmp_path, 10, rate=Fraction(60))
    report = import_frames(bpy.context, folder, Destination(1, show_as=IMAGE))
    assert report.count == 5
    assert (folder.path / "frames_30fps/000005.png").stat().st_nlink == 1


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(job_folder.os, "link", full)
    monkeypatch.setattr(job_folder.shutil, "copyfile", full)
    shot(fps=30)
    folder = finished(tmp_path, 10, rate=Fraction(60))
    before = dump()
    with pytest.raises(MachineError, match=r"is full; free some space .* scene to the video's frame rate"):
        import_frames(bpy.context, folder, Destination(1, show_as=PLANE))
    assert dump() == before


def test_what_cannot_be_imported_is_one_sentence(tmp_path: Path) -> None:
    scene = shot()
    folder = finished(tmp_path, 3)
    camera, scene.camera = scene.camera, None
    with pytest.raises(InputError, match="has no camera"):
        import_frames(bpy.context, folder, Destination(1, show_as=PLANE))
    scene.camera = camera
    (folder.path / "frames" / "000002.png").unlink()
    with pytest.raises(InputError, match="1 frames of the job are missing"):
        import_frames(bpy.context, folder, Destination(1, show_as=PLANE))
    folder.write_report(replace(folder.read_report(), frames=None))
    with pytest.raises(InputError, match="has no frames"):
        import_frames(bpy.context, folder, Destination(1, show_as=IMAGE))
    folder.report_path.unlink()
    with pytest.raises(InputError, match="no report yet"):
        import_frames(bpy.context, folder, Destination(1, show_as=IMAGE))


def test_the_operator_imports_and_undo_takes_it_back(tmp_path: Path) -> None:
    shot()
    folder = finished(tmp_path, 3)
    bpy.ops.ed.undo_push(message="before")
    assert bpy.ops.magplus.import_frames("EXEC_DEFAULT", True, folder=str(folder.path), where=PLANE) == {"FINISHED"}
    assert len(bpy.data.objects) == 2
    bpy.ops.ed.undo()
    assert len(bpy.data.objects) == 1
    assert not bpy.data.images and not bpy.data.materials


def test_the_operator_reports_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="There is no job folder"):
        bpy.ops.magplus.import_frames(folder=str(tmp_path / "nowhere"), where=IMAGE)
    assert math.isfinite(bpy.context.scene.frame_current)


def test_a_job_that_was_changed_since_it_was_run_has_no_result(tmp_path: Path) -> None:
    shot(fps=24)
    folder = finished(tmp_path, 3, rate=Fraction(24), apex=1)
    folder.write_spec(JobSpec(Driving("a.mp4"), Avatar("avatar/avatar.png")))
    folder.write_report(folder.read_report())
    import_result(bpy.context, folder, Destination(1, show_as=IMAGE), Outputs(frames=True))
    folder.write_spec(JobSpec(Driving("b.mp4"), Avatar("avatar/avatar.png")))
    with pytest.raises(InputError, match="captured again or changed"):
        import_result(bpy.context, folder, Destination(1, show_as=IMAGE), Outputs(frames=True))


def test_frames_are_checked_a_few_at_a_time(tmp_path: Path) -> None:
    folder = finished(tmp_path, 20, rate=Fraction(24), apex=1)
    steps = check_in_steps(folder, "Checking")
    done = []
    try:
        while True:
            done.append(next(steps).done)
    except StopIteration as end:
        assert end.value is True
    assert done == [0, 8, 16]
    folder.file_of(FRAMES, 18).write_bytes(b"x")
    with pytest.raises(InputError, match="not what the run wrote"):
        list(check_in_steps(folder, "Checking"))


def test_a_moving_shot_is_shown_on_the_frames_that_it_was_captured_at(tmp_path: Path) -> None:
    scene = shot(fps=24)
    folder = finished(tmp_path, 3, rate=Fraction(24), apex=1)
    for number in range(101, 105):
        write_png(tmp_path / "shot.png", picture(number - 100))
        folder.write(SHOT_PNG.unit(number - 1), (tmp_path / "shot.png").read_bytes())
    reported = ShotReport(
        SHOT_PNG.pattern, 101, 4, SIZE, 0, False, False, 101, Fraction(24), Fraction(1), Fraction(0), 103
    )
    folder.write_report(replace(folder.read_report(), frames=None, shot=reported))
    report = import_frames(bpy.context, folder, Destination(7, show_as=PLANE))
    assert (report.first_frame, report.count) == (101, 4)
    scene.frame_set(103)
    assert_shown(render(103, tmp_path), picture(3))


@pytest.mark.parametrize("operator", ["import_frames", "bake_shape_keys"])
def test_a_clip_starts_on_a_frame_that_blender_has(operator: str) -> None:
    start = getattr(bpy.ops.magplus, operator).get_rna_type().properties["start_frame"]
    assert (start.hard_min, start.hard_max) == (-LAST_FRAME, LAST_FRAME)
