# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magplus.backend_bridge.files.errors import InputError
from magplus.backend_bridge.job.spec import (
    MAX_ALPHA,
    REGIONS,
    SPEC,
    Anchor,
    Avatar,
    Driving,
    JobSpec,
    Magnification,
    Outputs,
    Rig,
)

numbers = st.floats(-1e6, 1e6)
sides = st.floats(4, 1e6)
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
plain = st.none() | st.booleans() | st.integers() | numbers | st.text()
specs = st.builds(
    JobSpec,
    driving=st.builds(
        Driving,
        path=texts.filter(bool),
        trim=st.none() | st.tuples(st.floats(0, 10), st.floats(11, 20)),
        reference=st.none() | st.floats(0, 1e6),
        face_index=st.none() | st.integers(0, 9),
        sequence_rate=st.none() | st.just("24000/1001"),
    ),
    avatar=st.builds(
        Avatar,
        image=texts.filter(bool),
        face_box=st.none() | st.tuples(numbers, numbers, sides, sides),
        rig_basis=st.just("avatar/rig_basis.npz"),
        anchors=st.lists(
            st.builds(Anchor, st.integers(0, 467), st.tuples(numbers, numbers)), unique_by=lambda a: a.landmark
        ).map(tuple),
    ),
    backend_options=st.dictionaries(texts, plain),
    magnification=st.builds(
        Magnification,
        alpha=st.none() | st.floats(0.1, MAX_ALPHA),
        regions=st.dictionaries(st.sampled_from(REGIONS), st.floats(0, 4)),
    ),
    rig=st.builds(
        Rig,
        locked=st.lists(texts).map(tuple),
        smoothing=st.floats(0, 1),
    ),
    intensity=st.floats(0, 100),
    outputs=st.builds(Outputs, frames=st.just(True), weights=st.booleans(), magnified=st.booleans()),
    created_by=st.dictionaries(texts, texts),
)
spec = JobSpec(driving=Driving("clip.mp4"), avatar=Avatar("avatar/avatar.png"))


def entries() -> dict[str, Any]:
    """What stands in the spec's job.json."""
    found: dict[str, Any] = json.loads(SPEC.encode(spec))
    return found


def read_from(text: bytes) -> JobSpec:
    return SPEC.decode(text).validated()


def spec_of(data: object) -> JobSpec:
    """The spec of a job.json in which this stands."""
    return read_from(json.dumps(data).encode())


@given(specs)
def test_every_spec_survives_the_way_through_the_file(spec: JobSpec) -> None:
    assert read_from(SPEC.encode(spec)) == spec


json_values = st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)


@given(
    st.sampled_from(["driving", "avatar", "magnification", "rig", "outputs", "intensity", "backend", "device"]),
    json_values,
)
def test_no_entry_of_the_wrong_kind_gets_through(entry: str, value: Any) -> None:
    """Whatever stands in a job.json, it is either a spec that is written back the same or one sentence."""
    data = entries() | {entry: value}
    try:
        read = spec_of(data)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert read_from(SPEC.encode(read)) == read


def anchored(*anchors: dict[str, Any]) -> dict[str, Any]:
    return {"image": "a.png", "anchors": list(anchors)}


@pytest.mark.parametrize(
    ("entry", "value", "sentence"),
    [
        ("driving", {"path": 5}, "driving.path can't be 5"),
        ("driving", {}, "driving.path is missing"),
        ("driving", {"path": "a.mp4", "trim": [0.0, 1.0, 2.0]}, "driving.trim can't be [0.0, 1.0, 2.0]"),
        ("driving", {"path": "a.mp4", "trim": [2.0, 1.0]}, "The trim range must"),
        ("driving", {"path": "a.mp4", "face_index": 1.5}, "driving.face_index can't be 1.5"),
        ("avatar", {"image": "a.png", "face_box": [0, 0, float("nan"), 1]}, "avatar.face_box can't be NaN"),
        ("avatar", {"image": "a.png", "hat": True}, "'avatar.hat' is unknown"),
        ("avatar", "a.png", 'avatar can\'t be "a.png"'),
        ("intensity", True, "intensity can't be true"),
        ("intensity", 10**400, "wrong entry"),
        ("magnification", {"regions": {"brows": "2"}}, 'magnification.regions.brows can\'t be "2"'),
        ("magnification", {"regions": {"ears": 2}}, "no face region 'ears'"),
        ("magnification", {"alpha": 1000}, "at most 64"),
        ("magnification", {"alpha": 5e-324}, "at least 0.01"),
        ("magnification", {"regions": {"mouth": 1e308}}, "between 0 and 10, but mouth has 1e+308"),
        ("magnification", {"regions": {"mouth": -1}}, "between 0 and 10"),
        ("driving", {"path": "a\0b"}, "can't be the path of a file"),
        ("driving", {"path": "\ud800.mp4"}, "can't be the path of a file"),
        ("driving", {"path": "a.mp4", "trim": [0, 1e300]}, "The trim range must"),
        ("driving", {"path": "a.mp4", "reference": 1e308}, "from 0 s on"),
        ("driving", {"path": "a.mp4", "reference": -1}, "from 0 s on"),
        ("driving", {"path": "a.mp4", "face_index": -1}, "no face -1"),
        ("driving", {"path": "a.mp4", "face_index": 10**30}, "There is no face 1000"),
        ("driving", {"path": "a.mp4", "sequence_rate": "1e999999999"}, "a number such as 25"),
        ("driving", {"path": "a.mp4", "sequence_rate": "24/0"}, "a number such as 25"),
        ("driving", {"path": "a.mp4", "sequence_rate": "nan"}, "a number such as 25"),
        ("avatar", {"image": "a.png", "face_box": [0, 0, 0, 0]}, "at least 4 px"),
        ("avatar", {"image": "a.png", "face_box": [10, 10, -50, 50]}, "at least 4 px"),
        ("avatar", {"image": "a.png", "face_box": [1e30, 0, 50, 50]}, "at least 4 px"),
        ("avatar", anchored({"landmark": 4, "position": [1e308, -1e308]}), "outside every picture"),
        ("device", "meta", "no device 'meta'"),
        ("device", "cuda:x", "no device 'cuda:x'"),
        ("rig", {"locked": "jawOpen"}, 'rig.locked can\'t be "jawOpen"'),
        ("avatar", anchored({"landmark": 468, "position": [1, 2]}), "no face landmark 468"),
        ("avatar", anchored(*({"landmark": 4, "position": [n, n]} for n in (1, 2))), "landmark 4 has two anchors"),
        ("rig", {"mirrored": [["a", "b"], ["b", "c"]]}, "'b' is mirrored with more than one other"),
        ("rig", {"mirrored": [["a", "b"]], "locked": ["a"]}, "'a' is both locked and mirrored"),
        ("rig", {"smoothing": 2}, "between 0 and 1 s, not 2 s"),
        ("outputs", {"frames": False}, "no output"),
        ("outputs", {"weights": True}, "no rig basis"),
    ],
)
def test_a_wrong_entry_is_named(entry: str, value: object, sentence: str) -> None:
    data = entries() | {entry: value}
    with pytest.raises(InputError) as raised:
        spec_of(data)
    assert sentence in str(raised.value)


def test_whole_numbers_are_good_for_seconds_and_pixels() -> None:
    data = entries()
    data["driving"]["trim"] = [0, 1]
    data["avatar"]["face_box"] = [10, 20, 300, 300]
    read = spec_of(data)
    assert read.driving.trim == (0.0, 1.0) and read.avatar.face_box == (10.0, 20.0, 300.0, 300.0)


def test_text_without_end_is_damaged() -> None:
    with pytest.raises(InputError, match="damaged"):
        read_from(b"[" * 100_000)


def test_a_spec_made_in_blender_is_checked_as_well() -> None:
    with pytest.raises(InputError, match="at most 64"):
        dataclasses.replace(spec, magnification=Magnification(alpha=float("inf"))).validated()


def test_a_job_of_the_first_format_is_still_read() -> None:
    data = entries()
    anchor = {"landmark": 4, "position": [120.5, 88]}
    first = data | {"schema": 1, "rig": {"anchors": [anchor], "locked": ["jawOpen"]}}
    del first["avatar"]["anchors"]
    read = spec_of(first)
    assert read.avatar.anchors == (Anchor(4, (120.5, 88.0)),) and read.rig == Rig(locked=("jawOpen",))
