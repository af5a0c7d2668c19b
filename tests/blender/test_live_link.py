# SPDX-License-Identifier: GPL-3.0-or-later
"""A Live Link Face recording is keyed onto a rig whatever its controls are called, and what it lacks is told."""

from __future__ import annotations

import importlib
from fractions import Fraction
from pathlib import Path

import bpy
import numpy as np
import pytest
from bl_ext.user_default.magplus.backend_bridge.files.errors import InputError
from bl_ext.user_default.magplus.backend_bridge.rig.curves import ControlCurves
from bl_ext.user_default.magplus.backend_bridge.rig.live_link import to_live_link
from bl_ext.user_default.magplus.operators.animation.destination import LAYER, Destination
from bl_ext.user_default.magplus.operators.live_link import import_live_link
from bl_ext.user_default.magplus.operators.rig.face_controls import ControlChoice

from tests.blender.head import add_key, make_head

RATE, APEX = 60, 13
TO_FRAME_1 = Destination(start_frame=1)


@pytest.fixture
def head() -> bpy.types.Object:
    """A head that calls a smile what Character Creator does, and has one key for both brows."""
    bpy.context.scene.render.fps = 24
    head = make_head()
    for name in ("Brow Up", "Smile", "Nod"):
        head.shape_key_remove(head.data.shape_keys.key_blocks[name])
    co = np.empty((len(head.data.vertices), 3), np.float32)
    head.data.vertices.foreach_get("co", co.ravel())
    for name in ("Mouth_Smile_L", "Mouth_Smile_R", "browDown", "Hat"):
        add_key(head, name, co, np.full_like(co, 0.01))
    bpy.context.scene.magplus.avatar = head
    return head


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """30 samples at 60 a second: a smile on the left that is highest in sample 13, brows, a tongue."""
    pulse = np.maximum(0, 0.4 * (1 - np.abs(np.arange(30) - APEX) / 6))
    names = ("mouthSmileLeft", "browDownLeft", "browDownRight", "tongueOut")
    values = np.stack([pulse, 0.1 * pulse, 0.2 * pulse, 0.5 * pulse], axis=1).astype(np.float32)
    zeros = np.zeros(30, np.float32)
    curves = ControlCurves(names, np.arange(30) / RATE, values, zeros, np.ones(4, np.float32))
    path = tmp_path / "Aufnahme é.csv"
    path.write_text(to_live_link(curves), encoding="utf-8")
    return path


def at(frame: float, key: bpy.types.ShapeKey) -> float:
    bpy.context.scene.frame_set(int(frame // 1), subframe=frame % 1)
    return key.value


def test_a_recording_plays_on_the_rig_at_its_own_speed_with_its_apex_on_a_frame(head, recording: Path) -> None:
    report = import_live_link(bpy.context, recording, head, TO_FRAME_1)
    keys = head.data.shape_keys.key_blocks
    placement = report.bake.placement
    assert set(report.bake.record.keyed) == {"Mouth_Smile_L", "browDown"}
    assert placement.frame(Fraction(APEX, RATE)).denominator == 1 and report.bake.record.apex_kept == pytest.approx(1)
    for sample in (10, APEX, 16):
        frame = float(placement.frame(Fraction(sample, RATE)))
        expected = max(0, 0.4 * (1 - abs(sample - APEX) / 6))
        assert at(frame, keys["Mouth_Smile_L"]) == pytest.approx(expected, abs=1e-4)
        assert at(frame, keys["browDown"]) == pytest.approx(0.2 * expected, abs=1e-4), "the larger of both sides"
    assert keys["Mouth_Smile_R"].value == keys["Hat"].value == 0
    assert report.unmatched == ("tongueOut",)
    assert "No control of this rig stands for tongueOut" in " ".join(report.sentences())


def test_it_goes_on_top_of_a_performance_and_locked_controls_are_left_alone(head, recording: Path) -> None:
    keys = head.data.shape_keys.key_blocks
    keys["Mouth_Smile_L"].value = 0.2
    keys["Mouth_Smile_L"].keyframe_insert("value", frame=1)
    choice = ControlChoice(("Mouth_Smile_L", "browDown"), locked=("browDown",))
    report = import_live_link(bpy.context, recording, head, Destination(animation=LAYER), choice)
    assert report.bake.record.keyed == ("Mouth_Smile_L",)
    apex = float(report.bake.placement.frame(Fraction(APEX, RATE)))
    assert at(apex, keys["Mouth_Smile_L"]) == pytest.approx(0.2 + 0.4 * 0.8, abs=1e-3), "the range above rest is 0.8"


def test_a_recording_in_another_rate_and_with_a_turning_head(head, recording: Path) -> None:
    lines = recording.read_text(encoding="utf-8").splitlines()
    header, rows = lines[0], [line.split(",") for line in lines[1:]]
    column = header.split(",").index("HeadYaw")
    for number, row in enumerate(rows):
        row[0] = f"00:00:{number // 25:02}:{number % 25:02}.000"
        row[column] = "0.3"
    rows.insert(5, rows[4])  # a dropped frame repeats the timecode
    recording.write_text("\n".join([header, *map(",".join, rows)]), encoding="utf-8")
    report = import_live_link(bpy.context, recording, head, TO_FRAME_1, timecode_rate=Fraction(25))
    first, last = report.bake.record.frames
    assert last - first == pytest.approx(29 * 24 / 25, abs=1e-3)
    assert "turns the head" in report.sentences()[-1]


def test_the_operator_is_one_undo_step(head, recording: Path) -> None:
    bpy.ops.ed.undo_push(message="before")
    assert bpy.ops.magplus.import_live_link("EXEC_DEFAULT", True, filepath=str(recording)) == {"FINISHED"}
    assert bpy.data.objects["Head"].data.shape_keys.animation_data.action is not None
    bpy.ops.ed.undo()
    assert bpy.data.objects["Head"].data.shape_keys.animation_data is None


def test_by_command(head, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = importlib.import_module("bl_ext.user_default.magplus.magplus_addon.commands")
    saved = tmp_path / "keyed.blend"
    options = ["--start-frame", "101", "--stretch", "2", "--animation", "layer", "--save", str(saved)]
    assert commands.main(["live-link", str(recording), *options]) == 0
    assert saved.is_file()
    printed = capsys.readouterr().err
    assert "Keyed 2 controls from frame 10" in printed and "warning: No control of this rig" in printed
    assert bpy.context.scene.magplus.animation == LAYER


@pytest.mark.parametrize("there", ["nothing", "a folder", "a film"])
def test_what_is_no_recording_is_refused_in_a_persons_words(
    head, tmp_path: Path, there: str, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = importlib.import_module("bl_ext.user_default.magplus.magplus_addon.commands")
    given = tmp_path / "take.csv"
    if there == "a folder":
        given.mkdir()
    if there == "a film":
        given.write_bytes(bytes(range(256)))
    assert commands.main(["live-link", str(given)]) == 2
    sentence = f"{given} is no text" if there == "a film" else f"There is no Live Link Face CSV at {given}"
    printed = capsys.readouterr().err
    assert sentence in printed and "choose another file" in printed
    assert "codec" not in printed and "Errno" not in printed


@pytest.mark.parametrize("rate", ["0", "-24", "24/0", "1e400", "nan", "fast"])
def test_what_is_no_frame_rate_is_a_wrong_call(
    head, recording: Path, rate: str, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = importlib.import_module("bl_ext.user_default.magplus.magplus_addon.commands")
    assert commands.main(["live-link", str(recording), "--timecode-rate", rate]) == 2
    assert "is no frame rate" in capsys.readouterr().err


def test_what_is_no_recording_is_one_sentence(head, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="no Live Link Face CSV"):
        import_live_link(bpy.context, wrong, head, TO_FRAME_1)
    wrong.write_bytes(b"\xff\xfe\x00binary")
    with pytest.raises(InputError, match="is no text"):
        import_live_link(bpy.context, wrong, head, TO_FRAME_1)


def test_a_rig_without_a_known_name_is_one_sentence(recording: Path) -> None:
    other = make_head("Other", keys=("Key 7",))
    for name in ("Brow Up", "Smile", "Nod"):
        other.shape_key_remove(other.data.shape_keys.key_blocks[name])
    with pytest.raises(InputError, match="has a name that is known"):
        import_live_link(bpy.context, recording, other, TO_FRAME_1)
