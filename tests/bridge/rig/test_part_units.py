# SPDX-License-Identifier: GPL-3.0-or-later
"""Bones are called after places: what they mean is told by where they move those."""

from __future__ import annotations

import numpy as np
import pytest

from magplus.backend_bridge.rig.action_units import Side
from magplus.backend_bridge.rig.basis import Control, RigBasis
from magplus.backend_bridge.rig.part_units import in_words, readings

# Where bones act in a picture of 100 x 100 px, and which way one unit moves the skin there.
LEFT = {
    "brow.T.L.001": ((80.0, 20.0), (0.0, -3.0)),
    "brow.T.L.002": ((70.0, 18.0), (0.0, -3.0)),
    "brow.T.L.003": ((56.0, 20.0), (0.0, 3.0)),
    "lid.T.L.002": ((68.0, 30.0), (0.1, -2.0)),
    "lid.B.L.002": ((68.0, 36.0), (0.0, -2.0)),
    "lid.B.L": ((72.0, 34.5), (0.0, -2.0)),
    "lips.L": ((65.0, 70.0), (0.0, 2.0)),
    "lip.T": ((50.0, 66.0), (0.0, -2.0)),
    "cheek.T.L": ((75.0, 50.0), (2.0, 0.1)),
    "jaw_master": ((50.0, 80.0), (0.0, 4.0)),
    "ear.L": ((95.0, 40.0), (0.0, -3.0)),
}
RIGHT = {name.replace(".L", ".R"): ((100 - x, y), (-u, v)) for name, ((x, y), (u, v)) in LEFT.items() if ".L" in name}
BONES = LEFT | RIGHT


def bones_with_one_channel() -> RigBasis:
    controls = tuple(
        Control(f"{name} location Y", "bone", "rig", "path", 0, -1, 1, part=name, motion="location", axis="Y")
        for name in BONES
    )
    places = np.array([place for place, _ in BONES.values()], np.float32)
    displacement = np.zeros((len(BONES), len(BONES), 2), np.float32)
    displacement[range(len(BONES)), range(len(BONES))] = [way for _, way in BONES.values()]
    seen = np.ones(len(BONES), bool)
    return RigBasis((100, 100), controls, places, places[:, 0], seen, displacement, np.zeros((0, 3), np.int32))


@pytest.mark.parametrize(
    ("bone", "above", "below"),
    [
        ("brow.T.L.001", [2], [4]),
        ("brow.T.L.003", [4], [1]),
        ("lid.T.L.002", [5], [43]),
        ("lid.B.L.002", [7], []),
        ("lips.L", [15], [12]),
        ("lip.T", [10], []),
        ("cheek.T.L", [], []),
        ("lips.R", [15], [12]),
        ("jaw_master", [26], [17]),
        ("ear.L", [], []),
    ],
)
def test_a_bone_means_what_it_does_to_its_part(bone: str, above: list[int], below: list[int]) -> None:
    reading = readings(bones_with_one_channel())[list(BONES).index(bone)]
    numbers = [[unit.number for unit in meaning.units] if meaning is not None else [] for meaning in reading]
    assert numbers == [above, below]
    assert all(unit.approximate for meaning in reading if meaning is not None for unit in meaning.units)


def test_a_bone_is_described_for_people_both_ways() -> None:
    found = dict(zip(BONES, readings(bones_with_one_channel()), strict=True))
    assert in_words(found["lips.L"]) == ("AU15 (about) lip corner depressor / AU12 (about) lip corner puller, left")
    assert in_words(found["ear.L"]) == ""
    assert found["brow.T.L.001"][0] is not None and found["brow.T.L.001"][0].side is Side.LEFT


def test_a_name_that_is_known_goes_before_what_is_seen() -> None:
    control = Control("CTRL_L_mouth_cornerPull location Y", "bone", "rig", "path", 0, 0, 1, motion="location", axis="Y")
    still, seen = np.zeros((1, 2), np.float32), np.ones(1, bool)
    basis = RigBasis((9, 9), (control,), still, still[:, 0], seen, np.ones((1, 1, 2)), np.zeros((0, 3), np.int32))
    [(above, below)] = readings(basis)
    assert above is not None and above.arkit == "mouthSmileLeft" and below is None
