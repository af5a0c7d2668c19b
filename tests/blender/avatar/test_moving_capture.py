# SPDX-License-Identifier: GPL-3.0-or-later
"""A moving shot is captured frame by frame, and what an earlier attempt has captured is kept as long as it is true."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import bpy
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.blender.head import add_camera, make_head, quick_render

MODULE = "bl_ext.user_default.magplus"
FRAMES = (3, 7)


@pytest.fixture
def module(extension: str) -> Callable[[str], ModuleType]:
    return lambda name: importlib.import_module(f"{extension}.{name}")


@pytest.fixture
def turning(tmp_path: Path) -> Path:
    """A saved file in which a head turns before a camera that comes nearer."""
    head, camera = make_head("Ann", 16, 12), add_camera()
    quick_render(40, 32)
    for frame, turn in ((1, -0.3), (9, 0.3)):
        head.rotation_euler.z = turn
        head.keyframe_insert("rotation_euler", frame=frame)
        camera.location.y = -6 + turn
        camera.keyframe_insert("location", frame=frame)
    path = tmp_path / "turning head.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    (tmp_path / "clip.mp4").write_bytes(b"only its bytes matter here")
    return path


@pytest.fixture
def rendered(module: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The scene frames whose plates are rendered."""
    shots, frames = module("operators.avatar.moving_shot"), []
    real = shots.photograph

    def photograph(context: bpy.types.Context, *rest: Any) -> Any:
        frames.append(context.scene.frame_current)
        return (yield from real(context, *rest))

    monkeypatch.setattr(shots, "photograph", photograph)
    return frames


@pytest.fixture
def capture(module: Callable[[str], ModuleType], turning: Path) -> Callable[[], int]:
    main = module("magplus_addon.commands").main
    words = ["capture", "--driving", turning.with_name("clip.mp4"), "--avatar", "Ann", "--frame", "5"]
    words += ["--frames", *FRAMES, "--output", turning.with_name("shot.magplus")]
    return lambda: main([str(word) for word in words])


def files(job: Path) -> dict[str, bytes]:
    paths = [*(job / "plates").iterdir(), *(job / "surfaces").iterdir()]
    return {path.relative_to(job).as_posix(): path.read_bytes() for path in paths}


def test_an_attempt_that_was_cut_off_is_gone_on_with(
    module: Callable[[str], ModuleType],
    capture: Callable[[], int],
    rendered: list[int],
    turning: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job, shots = turning.with_name("shot.magplus"), module("operators.avatar.moving_shot")
    real = shots._capture_frame

    def cut_off(*arguments: Any) -> Any:
        if 6 in arguments:
            raise module("backend_bridge.files.errors").MachineError("The graphics card is gone.")
        return (yield from real(*arguments))

    monkeypatch.setattr(shots, "_capture_frame", cut_off)
    assert capture() == 3 and rendered == [3, 4, 5]
    monkeypatch.setattr(shots, "_capture_frame", real)
    assert capture() == 0 and rendered == [3, 4, 5, 6, 7]
    whole = files(job)
    assert capture() == 0 and len(rendered) == 5 and files(job) == whole, "a repeated one renders nothing"

    (job / "plates" / "000004.png").write_bytes(b"damaged")
    (job / "surfaces" / "000006.npz").unlink()
    assert capture() == 0 and rendered[5:] == [4, 6] and files(job) == whole


def test_what_has_changed_is_captured_anew(capture: Callable[[], int], rendered: list[int], turning: Path) -> None:
    """By a script, that is: Blender doesn't know then that the file is no longer the saved one."""

    def again() -> list[int]:
        rendered.clear()
        assert capture() == 0
        return rendered

    assert again() == [3, 4, 5, 6, 7] and again() == []
    smile = bpy.data.objects["Ann"].data.shape_keys.key_blocks["Smile"]
    for frame, value in ((5, 0.0), (6, 0.7), (7, 0.0)):
        smile.value = value
        smile.keyframe_insert("value", frame=frame)
    assert again() == [6], "a pose that was changed for one frame alone"
    camera = bpy.context.scene.camera.data
    camera.keyframe_insert("lens", frame=6)
    camera.lens = 60
    camera.keyframe_insert("lens", frame=7)
    assert again() == [7], "a camera that was"
    material = bpy.data.materials.new("Skin")
    bpy.data.objects["Ann"].data.materials.append(material)
    assert again() == [3, 4, 5, 6, 7]
    bpy.context.scene.render.film_transparent = True
    assert again() == [3, 4, 5, 6, 7]
    bpy.data.texts.new("Another file")
    bpy.ops.wm.save_mainfile()
    assert again() == [3, 4, 5, 6, 7]


def test_a_cut_to_another_camera_is_seen_through_that_one(capture: Callable[[], int], turning: Path) -> None:
    """Markers of the timeline switch the camera within the shot, after frame 5."""
    scene = bpy.context.scene
    scene.render.film_transparent = True
    first, close = scene.camera, add_camera(distance=4.5)
    close.data.shift_x = 0.1
    for frame, camera in ((1, first), (6, close)):
        scene.timeline_markers.new(camera.name, frame=frame).camera = camera
    bpy.ops.wm.save_mainfile()
    scene.frame_set(1)
    assert capture() == 0
    middles = {}
    for number in range(FRAMES[0], FRAMES[1] + 1):
        with np.load(turning.with_name("shot.magplus") / "surfaces" / f"{number:06d}.npz") as surface:
            found, seen = surface["positions"], surface["visible"].astype(bool)
        pixels = image_of(turning.with_name("shot.magplus") / "plates" / f"{number:06d}.png")
        opaque = np.argwhere(pixels > 0.5)[:, ::-1]
        low, high = found[seen].min(axis=0), found[seen].max(axis=0)
        middles[number] = float(low[0] + high[0]) / 2
        assert 0 < opaque[:, 0].min() < opaque[:, 0].max() < 39
        assert (low, high) == (pytest.approx(opaque.min(axis=0), abs=1.5), pytest.approx(opaque.max(axis=0), abs=1.5))
    assert middles[6] < middles[5] - 3, "the other camera's picture is shifted"


def image_of(path: Path) -> NDArray[np.float32]:
    """Return a picture's alpha, [H, W], its first row at the top."""
    image = bpy.data.images.load(str(path))
    width, height = image.size
    pixels = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(pixels)
    bpy.data.images.remove(image)
    return pixels.reshape(height, width, 4)[::-1, :, 3]


def test_shots_of_one_list_share_frames(
    module: Callable[[str], ModuleType], rendered: list[int], turning: Path
) -> None:
    main = module("magplus_addon.commands").main
    listed = turning.with_name("list.toml")
    listed.write_text(
        '[defaults]\nfile = "turning head.blend"\navatar = "Ann"\nframe = 5\n'
        '[[shot]]\nname = "one"\ndriving = "clip.mp4"\nframes = [3, 5]\n'
        '[[shot]]\nname = "two"\ndriving = "clip.mp4"\nalpha = 4\nframes = [4, 7]\n'
    )
    assert main(["batch", str(listed), "--step", "capture"]) == 0
    assert rendered == [3, 4, 5, 6, 7]
    results = listed.with_name("list_results")
    one, two = (files(results / name / "job.magplus") for name in ("one", "two"))
    assert len(one) == 6 and len(two) == 8 and one["plates/000004.png"] == two["plates/000004.png"]

    for kept in (results / "captures" / "shots").iterdir():
        kept.write_bytes(kept.read_bytes()[:-1])
    (results / "two" / "job.magplus" / "plates" / "000005.png").unlink()
    listed.write_text(listed.read_text().replace("alpha = 4", "alpha = 5"))
    assert main(["batch", str(listed), "--step", "capture"]) == 0
    assert rendered[5:] == [5], "a kept frame that is damaged is none"
    assert files(results / "two" / "job.magplus") == two
    assert main(["batch", str(listed), "--step", "capture", "--again"]) == 0
    assert rendered[6:] == [3, 4, 5, 6, 7], "anew, and once for both"


def test_a_lamps_distribution_is_part_of_what_a_capture_is_made_from(
    module: Callable[[str], ModuleType], turning: Path
) -> None:
    profile = turning.with_name("lamp.ies")
    profile.write_text("IESNA:LM-63-2002")
    node = bpy.data.node_groups.new("Lamp", "ShaderNodeTree").nodes.new("ShaderNodeTexIES")
    node.mode, node.filepath = "EXTERNAL", str(profile)
    request = module("operators.avatar.capture").CaptureRequest(bpy.data.objects["Ann"])
    hashing = module("backend_bridge.files.hashing")

    def key() -> str:
        return str(module("operators.avatar.capture_key").key_of(bpy.context, request, "1.0", hashing.KnownHashes()))

    before = key()
    assert key() == before
    profile.write_text("IESNA:LM-63-2002, another lamp")
    assert key() != before
