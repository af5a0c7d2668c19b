# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from magplus.backend_bridge.files.errors import InputError
from magplus.backend_bridge.rig.basis import Control
from magplus.backend_bridge.rig.curves import ControlCurves
from magplus.backend_bridge.rig.live_link import (
    ROTATIONS,
    SHAPES,
    as_shapes,
    onto_controls,
    read_live_link,
    text_of,
    to_live_link,
)


def curves_of(**values: list[float]) -> ControlCurves:
    table = np.array(list(values.values()), np.float32).T
    seconds = np.arange(len(table)) * 1001 / 24000
    return ControlCurves(
        tuple(values), seconds, table, np.zeros(len(table), np.float32), np.ones(len(values), np.float32)
    )


def control(name: str, rest: float = 0.0, low: float = 0.0, high: float = 1.0, kind: str = "shape_key") -> Control:
    return Control(name, kind, "Head", f'key_blocks["{name}"].value', rest, low, high)


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

    read = read_live_link(text).curves
    assert read.names == SHAPES
    np.testing.assert_allclose(read.seconds, written.seconds, atol=1e-5)
    np.testing.assert_allclose(read.values[:, SHAPES.index("mouthSmileLeft")], [0, 0.21, 0.1], atol=1e-6)
    np.testing.assert_allclose(read.values[:, SHAPES.index("browInnerUp")], [0, 0, 0.05], atol=1e-6)
    assert np.count_nonzero(read.values) == 3


def test_a_rest_off_zero_is_not_an_expression() -> None:
    jaw = control("jawOpen", rest=0.3, high=1.3, kind="property")
    text = to_live_link(as_shapes(curves_of(jawOpen=[0.3, 0.5]), [jaw]))
    np.testing.assert_allclose(read_live_link(text).curves.values[:, SHAPES.index("jawOpen")], [0, 0.2], atol=1e-6)


def test_split_and_joined_controls_meet() -> None:
    text = to_live_link(curves_of(browInnerUp_L=[0.1], browInnerUp_R=[0.3], Eye_Blink=[0.2]))
    read = read_live_link(text).curves
    assert read.values[0, SHAPES.index("browInnerUp")] == pytest.approx(0.3)
    assert read.values[0, SHAPES.index("eyeBlinkLeft")] == pytest.approx(0.2)
    assert read.values[0, SHAPES.index("eyeBlinkRight")] == pytest.approx(0.2)

    rig = [
        control("browInnerUp_L"),
        control("A14_Eye_Blink_Left"),
        control("Blink", 0.5, 0.0, 2.0, "property"),
        control("Ears"),
    ]
    found = onto_controls(read, rig)
    np.testing.assert_allclose(found.values[0], [0.3, 0.2, 0.5 + 1.5 * 0.2, 0.0], atol=1e-6)
    np.testing.assert_allclose(found.visibility, [1, 1, 1, 0])


def test_a_brow_that_rises_as_one_has_both_of_arkits_shapes_for_it() -> None:
    written = to_live_link(curves_of(brow_up_L=[0.0, 0.4]))
    read = read_live_link(written).curves
    moving = {SHAPES[index]: float(read.values[1, index]) for index in np.flatnonzero(read.values[1])}
    assert moving == {"browInnerUp": pytest.approx(0.4), "browOuterUpLeft": pytest.approx(0.4)}
    for shape in moving:
        alone = onto_controls(curves_of(**{shape: [0.0, 0.3]}), [control("brow_up_L")])
        np.testing.assert_allclose(alone.values[:, 0], [0, 0.3], atol=1e-6)


@pytest.mark.parametrize("outer", ["browOuterUpLeft", "browOuterUpRight"])
def test_a_brow_that_rises_as_one_adds_nothing_to_what_has_a_control_of_its_own(outer: str) -> None:
    recorded = curves_of(**{"browInnerUp": [0.0, 0.3], outer: [0.0, 0.1]})
    rig = [control("Brow Up"), control("browInnerUp")]
    np.testing.assert_allclose(onto_controls(recorded, rig).values[1], [0.1, 0.3], atol=1e-6)
    alone = onto_controls(recorded, rig[:1], others=["browInnerUp"])
    np.testing.assert_allclose(alone.values[1], [0.1], atol=1e-6)


def test_a_shape_key_shows_a_shape_at_one_however_far_its_range_goes() -> None:
    rig = [control("jawOpen", high=3.0), control("mouthPucker", rest=0.2, high=0.6), control("jawLeft", -0.5, -1, 2)]
    curves = ControlCurves(
        ("jawOpen", "mouthPucker", "jawLeft"),
        np.zeros(1),
        np.float32([[0.4, 0.4, 0.25]]),
        np.zeros(1, np.float32),
        np.ones(3, np.float32),
    )
    shapes = as_shapes(curves, rig)
    np.testing.assert_allclose(shapes.values, [[0.4, 0.5, 0.5]], atol=1e-6)
    np.testing.assert_allclose(
        onto_controls(read_live_link(to_live_link(shapes)).curves, rig).values, curves.values, atol=1e-6
    )


def test_a_rig_without_known_names_is_a_sentence() -> None:
    with pytest.raises(InputError, match="None of the rig's controls"):
        onto_controls(curves_of(jawOpen=[0.1]), [control("Ears")])


def test_other_writers_are_read_too() -> None:
    text = "\ufeffTimecode,BlendshapeCount,JawOpen,MouthClose\n\n13:05:59:59.500,61,0.5,0\n13:06:00:00.500,61,0.25,0\n"
    read = read_live_link(text).curves
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
        read_live_link(text)


def csv_of(codes: list[str], delimiter: str = ",", value: str = "0.1") -> str:
    """A recording of one shape and one rotation at these timecodes."""
    lines = ["Timecode,BlendShapeCount,JawOpen,HeadYaw", *(f"{code},61,{value},0.02" for code in codes)]
    return "\n".join(lines).replace(",", delimiter) + "\n"


def codes(count: int, nominal: int, first: int = 0, drop: bool = False, separator: str = ":") -> list[str]:
    """Consecutive timecodes from the frame number `first` on, as a recorder counts them."""
    found = []
    for index in range(first, first + count):
        frame = index
        if drop:
            left_out = nominal // 15
            tens, rest = divmod(frame, 600 * nominal - 9 * left_out)
            frame += 9 * left_out * tens
            if rest >= 60 * nominal:
                frame += left_out * ((rest - 60 * nominal) // (60 * nominal - left_out) + 1)
        seconds, number = divmod(frame, nominal)
        seconds %= 86_400
        found.append(f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{separator}{number:02}")
    return found


@pytest.mark.parametrize("nominal", [24, 25, 30, 48, 50, 60])
def test_the_rows_tell_how_many_frames_a_second_they_count(nominal: int) -> None:
    read = read_live_link(csv_of(codes(3 * nominal, nominal, first=nominal // 2)))
    assert read.seconds == tuple(Fraction(index, nominal) for index in range(3 * nominal))


@pytest.mark.parametrize("separator", [":", ";"])
@pytest.mark.parametrize("given", [None, Fraction("29.97"), Fraction(30000, 1001)])
def test_drop_frame_timecode_has_no_holes(separator: str, given: Fraction | None) -> None:
    if separator == ";" or given is None:
        count, first = 4000, 17_900 * 6  # over a tenth minute and over others
    else:
        count, first = 4000, 100
    read = read_live_link(csv_of(codes(count, 30, first, drop=True, separator=separator)), given)
    assert read.seconds == tuple(Fraction(index * 1001, 30000) for index in range(count))


def test_timecode_at_29_97_that_drops_nothing_does_not_drift() -> None:
    text = csv_of(codes(36_000, 30))
    assert read_live_link(text, Fraction("29.97")).seconds[-1] == 35_999 * Fraction(1001, 30000)
    found = read_live_link(text)
    assert found.seconds[-1] == Fraction(35_999, 30) and "if it runs at 29.97" in " ".join(found.remarks)
    assert read_live_link(csv_of(codes(90, 30))).remarks == ()


def test_timecode_may_have_semicolons_alone() -> None:
    rows = [code.replace(":", ";") for code in codes(4000, 30, 100, drop=True)]
    assert read_live_link(csv_of(rows)).seconds[-1] == 3999 * Fraction(1001, 30000)


@pytest.mark.parametrize("nominal", [24, 60])
def test_a_take_goes_on_after_midnight(nominal: int) -> None:
    read = read_live_link(csv_of(codes(4 * nominal, nominal, first=86_398 * nominal)))
    assert read.seconds == tuple(Fraction(index, nominal) for index in range(4 * nominal))


def test_what_the_rows_do_not_tell_has_to_be_given() -> None:
    text = csv_of(codes(20, 24))
    with pytest.raises(InputError, match="give the timecode rate"):
        read_live_link(text)
    assert read_live_link(text, Fraction(24)).seconds[-1] == Fraction(19, 24)
    assert read_live_link(csv_of(codes(20, 60, first=40))).seconds[-1] == Fraction(19, 60), "59 is one of 60"


def test_a_rate_that_the_rows_contradict_is_refused() -> None:
    with pytest.raises(InputError, match="counts 24 frames a second, which does not go with a timecode rate of 60"):
        read_live_link(csv_of(codes(60, 24)), Fraction(60))
    with pytest.raises(InputError, match="at least 29 frames"):
        read_live_link(csv_of(codes(29, 30)), Fraction(24))
    with pytest.raises(InputError, match="drop-frame"):
        read_live_link(csv_of(codes(4000, 30, 100, drop=True)), Fraction(30))


def test_phones_with_fractions_and_dropped_frames_are_reported_too() -> None:
    times = [index / 60 + 0.0004 * (index % 3) for index in range(200) if index % 17]
    rows = [f"10:00:{int(time):02}:{time % 1 * 30:06.3f}" for time in times]
    read = read_live_link(csv_of(rows))
    assert np.abs(np.subtract(read.curves.seconds, np.subtract(times, times[0]))).max() < 1e-4


@pytest.mark.parametrize(
    "rate", [Fraction(24000, 1001), Fraction(24), Fraction(30), Fraction(200), Fraction(60000, 1001)]
)
def test_our_own_times_come_back_exactly_and_begin_where_the_clip_does(rate: Fraction) -> None:
    start = Fraction(3600 + 12) + Fraction(7, 24)
    curves = curves_of(jawOpen=[0.1] * 40)
    seconds = np.array([float(index / rate) for index in range(40)])
    text = to_live_link(
        ControlCurves(curves.names, seconds, curves.values, curves.residual, curves.visibility), start=start
    )
    assert text.splitlines()[1].startswith("01:00:12:17.500,")
    assert read_live_link(text).seconds == tuple(index / rate for index in range(40))


WRITTEN_ANEW = {
    "commas in times, too": lambda text: text.replace(",", ";").replace(".", ","),
    "quoted commas": lambda text: re.sub(r"(?<=,)(\d+)\.(\d+)", r'"\1,\2"', text),
    "a hint of the separator": lambda text: "sep=;\n" + text.replace(",", ";"),
    "empty lines first": lambda text: "\ufeff\r\n\n" + text,
    "a separator after the names": lambda text: text.replace("HeadYaw", "HeadYaw,"),
    "separators at all ends": lambda text: text.replace("\n", ",\n"),
}


@pytest.mark.parametrize("change", WRITTEN_ANEW.values(), ids=WRITTEN_ANEW.keys())
def test_a_recording_that_a_spreadsheet_has_saved_is_the_same(change: Callable[[str], str]) -> None:
    text = csv_of([f"{code}.250" for code in codes(70, 60)], value="0.25")
    read, before = read_live_link(change(text)), read_live_link(text)
    assert read.seconds == before.seconds and read.rotates
    np.testing.assert_array_equal(read.curves.values, before.curves.values)
    broken = change(text.replace("0.25,0.02\n", "0.25,left\n"))
    line = next(number for number, each in enumerate(broken.splitlines(), 1) if "left" in each)
    with pytest.raises(InputError, match=f"Line {line} .*'left' is no number"):
        read_live_link(broken)


def test_semicolons_and_decimal_commas() -> None:
    text = csv_of(codes(70, 60), delimiter=";", value="0.25").replace(".", ",")
    read = read_live_link(text)
    assert read.curves.values[0, 0] == pytest.approx(0.25) and read.rotates


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("00:00:00:01,61,inf,0", "Line 3 .*'inf' is no number"),
        ("00:00:00:01,61,nan,0", "Line 3 .*'nan' is no number"),
        ("00:00:00:01,61,0.1,left", "Line 3 .*left"),
        ("00:00:00:01,61,0.1,nan", "Line 3 .*'nan' is no number"),
        ("00:00:00:01,61,0.1", "Line 3 .*ends after 3 of 4 values.*cut off"),
        ("00:00:61:01,61,0.1,0", "Line 3 .*no timecode"),
        ("00:00:00:01,61,,0", "Line 3 .*a value is missing"),
        ("00:00:00:01,61,1e300,0", "Line 3 .*1e300 is no value of a blend shape"),
        ("00:00:00:01,61,25,0", "Line 3 .*percent"),
        ("00:00:00:01,61,0,05,0,1", "Line 3 .*6 values for 4 names.*semicolons"),
        ("00:00:00:01,61,1_0,0", "Line 3 .*'1_0' is no number"),
        ("00:00:00:01,61,0.1,0\r00:00:00:02,61,0.1,x", "Line 4 .*'x' is no number"),
        ("00:00:00:01,61," + "1" * 200_000 + ",0", "can't be read .*; export the recording anew"),
    ],
)
def test_a_broken_line_is_named(line: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_live_link(csv_of(["00:00:00:00"]) + line + "\n", Fraction(60))


@pytest.mark.parametrize(
    ("change", "remark"),
    [
        (lambda text: text.removesuffix("2\n"), "no line end, so the file may be cut off"),
        (lambda text: text.rstrip("\n"), "no line end"),
        (lambda text: text.replace("0.1,", "3.5,"), "go up to 3.5, .* percent"),
        (lambda text: text.replace("HeadYaw", "JawOpen_L"), "columns that are no ARKit shapes: JawOpen_L;"),
        (lambda text: text + "02:00:00:00,61,0.1,0\n", "1.1 s after its beginning .* a gap of 7198.9 s"),
    ],
)
def test_what_is_doubtful_in_a_recording_is_said(change: Callable[[str], str], remark: str) -> None:
    text = csv_of(codes(70, 60))
    assert read_live_link(text).remarks == ()
    (found,) = read_live_link(change(text)).remarks
    assert re.search(remark, found)


@pytest.mark.parametrize(("written", "name"), [("jawopen", "jawOpen"), ("timecode", "Timecode")])
def test_a_column_that_is_named_twice_has_no_one_value(written: str, name: str) -> None:
    text = csv_of(codes(70, 60)).replace("HeadYaw", written)
    with pytest.raises(InputError, match=f"names {name} twice"):
        read_live_link(text)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (csv_of(codes(70, 60)), "Line 72 .* names the columns again"),
        (csv_of(codes(70, 60, 3600)), "Line 72 .* names the columns again"),
        (csv_of(codes(70, 60), value="0.9").partition("\n")[2], "In line 72 .* goes back by 1.1 s"),
        (csv_of(codes(70, 60, 35)).partition("\n")[2], "In line 72 .* goes back by 0.6 s"),
    ],
)
def test_two_takes_in_one_file_are_not_mixed(second: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_live_link(csv_of(codes(70, 60)) + second)


def test_rows_that_a_network_has_delivered_in_another_order_are_put_in_theirs() -> None:
    rows = codes(70, 60)
    rows[30:33] = reversed(rows[30:33])
    assert read_live_link(csv_of(rows)).seconds == tuple(Fraction(index, 60) for index in range(70))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_what_spreadsheets_save_is_text(encoding: str) -> None:
    assert text_of("Timecode,JawOpen\r\n".encode(encoding)) == "Timecode,JawOpen\r\n"
