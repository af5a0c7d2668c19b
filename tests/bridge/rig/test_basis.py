# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magplus.backend_bridge.files.errors import InputError
from magplus.backend_bridge.rig.basis import Channel, Control, RigBasis, ranges

CONTROL = Control(
    "Smile", "shape_key", "Head", "key_blocks", 0, 0, 1,
    linked=(Channel("Teeth", "key_blocks"),), response=((0.0, 0.0), (1.0, 0.5)), part="Smile",
)  # fmt: skip
BASIS = RigBasis(
    image_size=(64, 48),
    controls=(CONTROL,),
    positions=np.zeros((3, 2), np.float32),
    depth=np.zeros(3, np.float32),
    visible=np.ones(3, bool),
    displacement=np.zeros((1, 3, 2), np.float32),
    triangles=np.array([[0, 1, 2]], np.int32),
    excluded={"Nod": "is driven"},
)


def with_json(path: Path, name: str, change: Any) -> Path:
    """Write the basis with other JSON under one of its names."""
    with np.load(io.BytesIO(BASIS.encode())) as data:
        arrays = dict(data)
    arrays[name] = np.frombuffer(json.dumps(change).encode(), np.uint8)
    np.savez(path, **arrays)
    return path


def test_a_basis_survives_the_way_through_the_file(tmp_path: Path) -> None:
    path = tmp_path / "basis.npz"
    BASIS.save(path)
    assert RigBasis.load(path).controls == (CONTROL,)
    assert RigBasis.load(path).excluded == {"Nod": "is driven"}


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("controls", [{"name": "Smile"}], "controls.data_path is missing"),
        ("controls", [{**vars(CONTROL), "linked": [], "response": [], "rest": "0"}], 'controls.rest can\'t be "0"'),
        ("controls", [{**vars(CONTROL), "linked": [{"owner": 1}], "response": []}], "controls.linked"),
        ("controls", {"Smile": 0}, "controls can't be"),
        ("excluded", {"Nod": 5}, "excluded.Nod can't be 5"),
    ],
)
def test_a_wrong_entry_is_one_sentence_that_names_it(tmp_path: Path, name: str, change: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=r"can't be read as a rig basis .*; capture the avatar again") as error:
        RigBasis.load(with_json(tmp_path / "basis.npz", name, change))
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("kind", "given", "modelled"),
    [
        ("shape_key", (0.0, 0.0, 1.0), (0.0, 1.0)),
        ("shape_key", (0.0, -10.0, 10.0), (-1.0, 1.0)),
        ("shape_key", (0.25, 0.0, 0.5), (0.0, 0.5)),
        ("shape_key", (1.5, 0.0, 2.0), (0.0, 2.0)),
        ("property", (0.0, -10.0, 10.0), (-10.0, 10.0)),
    ],
)
def test_room_on_a_slider_makes_no_other_expression_of_the_same_value(
    kind: str, given: tuple[float, float, float], modelled: tuple[float, float]
) -> None:
    (rest,), (low,), (high,) = ranges([Control("Smile", kind, "Head", "", *given)])
    assert (rest, low, high) == (given[0], *modelled)
