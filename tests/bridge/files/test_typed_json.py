# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import json
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from magplus.backend_bridge.files.errors import InputError
from magplus.backend_bridge.files.typed_json import Format, from_data, to_data
from magplus.backend_bridge.job.bake_record import BAKE, BakeRecord
from magplus.backend_bridge.job.report import (
    REPORT,
    AvatarReport,
    BackendReport,
    CheckpointReport,
    DrivingReport,
    FaceReport,
    Failure,
    FramesReport,
    MagnificationReport,
    ReferenceReport,
    Report,
    RestorationReport,
    SmoothingReport,
    Timing,
    WeightsReport,
    WindowReport,
)
from magplus.backend_bridge.job.spec import AVATAR, Anchor, Avatar
from magplus.backend_bridge.rig.events import MotionEvent, UnitEvent

names = st.text(max_size=8)
numbers = st.floats(-1e6, 1e6)
counts = st.integers(0, 10**6)
fractions = st.fractions(0, 1000, max_denominator=90_000)
sizes = st.tuples(counts, counts)
anchors = st.builds(Anchor, st.integers(0, 467), st.tuples(numbers, numbers))
units = st.builds(
    UnitEvent,
    unit=counts,
    name=names,
    controls=st.lists(names, max_size=2).map(tuple),
    onset=st.none() | numbers,
    apex=numbers,
    offset=st.none() | numbers,
    peak=numbers,
    left=st.none() | numbers,
    right=st.none() | numbers,
    asymmetry=st.none() | numbers,
    approximate=st.booleans(),
)


def lists(of: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(of, max_size=3).map(tuple)


def tables(of: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(names, of, max_size=3)


def or_none(kind: type, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | st.builds(kind, **fields)


plain = st.none() | st.booleans() | counts | names
reports = st.builds(
    Report,
    status=st.sampled_from(["running", "finished", "cancelled", "failed"]),
    error=or_none(Failure, exit_code=counts, sentence=names),
    driving=or_none(
        DrivingReport,
        path=names, sha256=names, width=counts, height=counts, bit_depth=counts, rotation=counts, frames=counts,
        start=numbers,
    ),
    timing=or_none(Timing, seconds=lists(fractions), rate=fractions, variable_rate=st.booleans()),
    reference=or_none(ReferenceReport, index=counts, seconds=numbers, chosen=names),
    face=or_none(FaceReport, missing_seconds=lists(numbers), width_px=numbers, crop_size=counts),
    avatar=or_none(
        AvatarReport,
        size=sizes, face_detected=st.booleans(), anchors=lists(anchors), sha256=names,
        window=st.builds(WindowReport, st.tuples(numbers, numbers), numbers, counts),
    ),
    magnification=or_none(
        MagnificationReport,
        alpha=numbers, chosen=st.sampled_from(["automatic", "given"]), regions=tables(numbers),
        peak_share_of_face_width=numbers, trained=st.booleans(), weights=tables(names),
    ),
    backend=or_none(
        BackendReport,
        name=names, title=names, code_licence=names, weights_licence=names, commercial_use=st.booleans(),
        options=tables(plain), checkpoint=tables(st.builds(CheckpointReport, names, names)),
    ),
    restoration=or_none(
        RestorationReport,
        backend_gain=numbers, factor=numbers, intensity_asked=numbers, intensity_measured=st.none() | numbers,
    ),
    frames=or_none(FramesReport, pattern=names, first=counts, count=counts, size=sizes, resumed=counts),
    weights=or_none(
        WeightsReport,
        controls=counts, read_from=names, unseen=lists(names), locked=lists(names), peaks=tables(numbers),
        residual=st.none() | numbers, residual_by_region=tables(st.none() | numbers),
        smoothing=st.builds(SmoothingReport, numbers, st.none() | numbers),
        action_units=lists(units), live_link_face=lists(names),
    ),
    events=or_none(MotionEvent, onset=st.none() | numbers, apex=numbers, offset=st.none() | numbers),
    versions=tables(names),
    warnings=lists(names),
)  # fmt: skip
records = st.builds(
    BakeRecord,
    start_frame=st.integers(-1000, 10**6),
    scene_rate=fractions,
    stretch=fractions,
    shift=fractions,
    frames=st.tuples(numbers, numbers),
    apex_kept=numbers,
    markers=tables(counts),
    keyed=lists(names),
    not_keyed=tables(names),
    actions=lists(names),
)
avatars = st.builds(
    Avatar,
    image=names,
    face_box=st.none() | st.tuples(numbers, numbers, numbers, numbers),
    rig_basis=st.none() | names,
    anchors=lists(anchors),
)
finished = Report(
    "finished",
    timing=Timing((Fraction(0), Fraction(1, 25)), Fraction(25)),
    frames=FramesReport("frames/%06d.png", 1, 2, (640, 360)),
    events=MotionEvent(None, 0.04, None),
)


@given(reports)
def test_every_report_survives_the_way_through_the_file(report: Report) -> None:
    assert REPORT.decode(REPORT.encode(report)) == report


@given(records)
def test_every_record_of_a_bake_does(record: BakeRecord) -> None:
    assert BAKE.decode(BAKE.encode(record)) == record


@given(avatars)
def test_every_record_of_a_capture_does(avatar: Avatar) -> None:
    assert AVATAR.decode(AVATAR.encode(avatar)) == avatar


def keys_of(data: Any, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return where every key of nested dicts stands."""
    if isinstance(data, list):
        return [place for index, item in enumerate(data) for place in keys_of(item, (*at, index))]
    if not isinstance(data, dict):
        return []
    return [place for key, item in data.items() for place in ((*at, key), *keys_of(item, (*at, key)))]


@pytest.mark.parametrize("place", [p for p in keys_of(to_data(finished)) if p != ("versions",)])
def test_a_renamed_entry_is_an_error_that_names_it_wherever_it_stands(place: tuple[str | int, ...]) -> None:
    data = json.loads(REPORT.encode(finished))
    owner = data
    for step in place[:-1]:
        owner = owner[step]
    owner["renamed"] = owner.pop(place[-1])
    with pytest.raises(InputError, match="renamed"):
        REPORT.decode(json.dumps(data).encode())


def test_reports_of_the_first_format_are_still_read() -> None:
    data = json.loads(REPORT.encode(finished)) | {"schema": 1}
    assert REPORT.decode(json.dumps(data).encode()) == finished


@pytest.mark.parametrize("schema", [0, 3, 99, "2", True, None, 2.0])
def test_a_document_of_another_version_says_so(schema: object) -> None:
    data = json.loads(REPORT.encode(finished)) | {"schema": schema}
    with pytest.raises(InputError, match=r"has format .*, this MagPlus reads format 2; use the MagPlus version"):
        REPORT.decode(json.dumps(data).encode())


@pytest.mark.parametrize("text", ["1e999999999", "1/0", "1/00", "1/٠", "1.5", "nan", "9" * 10_000, "1/3/5", "", 0.5])
def test_a_time_that_is_no_plain_fraction_is_an_error_at_once(text: object) -> None:
    data = json.loads(REPORT.encode(finished))
    data["timing"]["rate"] = text
    with pytest.raises(InputError, match=r"timing\.rate can't be"):
        REPORT.decode(json.dumps(data).encode())


json_values = st.recursive(plain | numbers, lambda inner: st.lists(inner) | st.dictionaries(names, inner), max_leaves=8)


@given(st.sampled_from([each.name for each in dataclasses.fields(Report)]), json_values)
@example("versions", {"\n": None})
def test_no_entry_of_the_wrong_kind_gets_through(entry: str, value: Any) -> None:
    """Whatever stands in a report.json, it is either a report that is written back the same or one sentence."""
    data = json.loads(REPORT.encode(finished)) | {entry: value}
    try:
        read = REPORT.decode(json.dumps(data).encode())
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert REPORT.decode(REPORT.encode(read)) == read


@pytest.mark.parametrize("text", ["\udcff", "\ud800", "a\ude00é😀\\ud800"])
def test_text_that_is_no_unicode_comes_back_as_it_was_written(text: str) -> None:
    report = Report("finished", versions={text: text}, warnings=(text,))
    encoded = REPORT.encode(report)
    encoded.decode("utf-8", "strict")
    assert REPORT.decode(encoded) == report
    assert REPORT.decode(b'{"schema": 2, "status": "finished", "warnings": ["\xff"]}').warnings == ("\udcff",)


def test_deep_nesting_and_long_names_are_one_short_sentence() -> None:
    for depth in (*range(900, 1000), 100_000):
        nested = b"[" * depth + b"]" * depth
        for document in (b'{"schema": 2, "status": %s}', b'{"schema": %s}', b'{"schema": 2, "events": {"apex": %s}}'):
            with pytest.raises(InputError):
                REPORT.decode(document % nested)
    for name in (b'"%s": 1', b'"versions": {"%s": 1}'):
        with pytest.raises(InputError) as error:
            REPORT.decode(b'{"schema": 2, "status": "finished", %s}' % (name % (b"x" * 10_000)))
        assert len(str(error.value)) < 300


def test_each_older_format_is_turned_into_the_next() -> None:
    @dataclasses.dataclass(frozen=True)
    class Point:
        x: float
        y: float

    older = {1: lambda data: {"xy": data["at"]}, 2: lambda data: dict(zip("xy", data["xy"], strict=True))}
    points = Format(Point, "point.json", "a point", "draw it again", version=3, older=older)
    # Local types can't be looked up by name, so the fields' types are given here.
    Point.__annotations__ = {"x": float, "y": float}
    assert points.decode(b'{"schema": 1, "at": [1, 2]}') == points.decode(b'{"schema": 2, "xy": [1, 2]}') == Point(1, 2)
    with pytest.raises(InputError, match=r"point\.json has a wrong entry .*; draw it again\."):
        points.decode(b'{"schema": 1, "xy": [1, 2]}')


def test_what_has_no_form_in_json_is_not_made_up() -> None:
    with pytest.raises(TypeError, match="object has no form"):
        to_data({"what": object()})
    with pytest.raises(ValueError, match="a can't be 1"):
        from_data(str, 1, "a.")
