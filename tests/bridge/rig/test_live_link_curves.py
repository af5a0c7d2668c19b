# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from magplus.backend_bridge.files.errors import InputError
from magplus.backend_bridge.rig.basis import Control
from magplus.backend_bridge.rig.curves import ControlCurves
from magplus.backend_bridge.rig.live_link import ROTATIONS, SHAPES, from_live_link, onto_controls, to_live_link


def curves_of(**values: list[float]) -> ControlCurves:
    table = np.array(list(values.values()), np.float32).T
    seconds = np.arange(len(table)) * 1001 / 24000
    return ControlCurves(
        tuple(values), seconds, table, np.zeros(len(table), np.float32), np.ones(len(values), np.float32)
    )


def control(name: str, rest: float = 0.0, low: float = 0.0, high: float = 1.0) -> Control:
    return Control(name, "shape_key", "Head", f'key_blocks["{name}"].value', rest, low, high)


def test_there_are_52_shapes_and_9_rotations() -> None:
    assert len(set(SHAPES)) == 52
    assert len(ROTATIONS) == 9


def test_what_is_written_is_read_back() -> None:
    written = curves_of(Mouth_Smile_L=[0.0, 0.21, 0.1], browInnerUp=[0.0, 0.0, 0.05], Beard=[1.0, 1.0, 1.0])
    text = to_live_link(written)
    header, *rows = csv.reader(io.StringIO(text))
    assert header[:3] == ["Timecode", "BlendShapeCount", "EyeBlinkLeft"]
    assert {len(row) for row in (header, *rows)} == {63}
    assert rows[2][0] == "00:00:00:05.005"  # 2002/24000 s, in 60ths

    read = from_live_link(text)
    assert read.names == SHAPES
    np.testing.assert_allclose(read.seconds, written.seconds, atol=1e-5)
    np.testing.assert_allclose(read.values[:, SHAPES.index("mouthSmileLeft")], [0, 0.21, 0.1], atol=1e-6)
    np.testing.assert_allclose(read.values[:, SHAPES.index("browInnerUp")], [0, 0, 0.05], atol=1e-6)
    assert np.count_nonzero(read.values) == 3


def test_a_rest_off_zero_is_not_an_expression() -> None:
    text = to_live_link(curves_of(jawOpen=[0.3, 0.5]), rest=np.array([0.3]))
    np.testing.assert_allclose(from_live_link(text).values[:, SHAPES.index("jawOpen")], [0, 0.2], atol=1e-6)


def test_split_and_joined_controls_meet() -> None:
    text = to_live_link(curves_of(browInnerUp_L=[0.1], browInnerUp_R=[0.3], Eye_Blink=[0.2]))
    read = from_live_link(text)
    assert read.values[0, SHAPES.index("browInnerUp")] == pytest.approx(0.3)
    assert read.values[0, SHAPES.index("eyeBlinkLeft")] == pytest.approx(0.2)
    assert read.values[0, SHAPES.index("eyeBlinkRight")] == pytest.approx(0.2)

    rig = [control("browInnerUp_L"), control("A14_Eye_Blink_Left"), control("Blink", 0.5, 0.0, 2.0), control("Ears")]
    found = onto_controls(read, rig)
    np.testing.assert_allclose(found.values[0], [0.3, 0.2, 0.5 + 1.5 * 0.2, 0.0], atol=1e-6)
    np.testing.assert_allclose(found.visibility, [1, 1, 1, 0])


def test_a_rig_without_known_names_is_a_sentence() -> None:
    with pytest.raises(InputError, match="None of the rig's controls"):
        onto_controls(curves_of(jawOpen=[0.1]), [control("Ears")])


def test_other_writers_are_read_too() -> None:
    text = "\ufeffTimecode,BlendshapeCount,JawOpen,MouthClose\n\n13:05:59:59.500,61,0.5,0\n13:06:00:00.500,61,0.25,0\n"
    read = from_live_link(text)
    assert read.names == ("jawOpen", "mouthClose")
    np.testing.assert_allclose(read.seconds, [0, 1 / 60])
    np.testing.assert_allclose(read.values[:, 0], [0.5, 0.25])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no Live Link Face CSV"),
        ("a,b\n1,2\n", "no Live Link Face CSV"),
        ("Timecode,BlendShapeCount,JawOpen\n", "no frames"),
        ("Timecode,BlendShapeCount,JawOpen\nnoon,61,0.1\n", "Line 2"),
        ("Timecode,BlendShapeCount,JawOpen\n00:00:00:00.0,61,wide\n", "Line 2"),
        ("Timecode,BlendShapeCount,JawOpen\n00:00:00:00.0,61\n", "Line 2"),
    ],
)
def test_other_text_is_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        from_live_link(text)
