# SPDX-License-Identifier: GPL-3.0-or-later
"""What passes before a face is told from what its own expressions show of folds and teeth."""

import numpy as np

from magplus.models.face.passing_cover import are_specks, passing

COUNT, SIDE = 20, 16
SECONDS = [index / 30 for index in range(COUNT)]
UPPER = np.indices((SIDE, SIDE))[0] < SIDE // 2
REGIONS = {"cheeks": UPPER, "mouth": ~UPPER}
LARGE = {name: np.where(np.arange(COUNT) > 4, 3e-2, 0.0) for name in REGIONS}


def hidden(rows: slice, columns: slice, frames: list[int]) -> np.ndarray:
    covers = np.zeros((COUNT, SIDE, SIDE), bool)
    covers[frames, rows, columns] = True
    return covers


FOLD = hidden(slice(2, 7), slice(3, 8), [6, 7, 9, 12, 13])


def test_a_fold_that_comes_and_goes_in_its_place_passes_before_nothing():
    assert passing(FOLD, REGIONS, LARGE, SECONDS) == {}


def test_as_much_that_wanders_does():
    crossing = np.zeros_like(FOLD)
    for step in range(8):
        crossing[6 + step, 2:7, step : step + 5] = True
    assert passing(crossing, REGIONS, LARGE, SECONDS)["cheeks"][6:14].all()


def test_what_is_hidden_in_its_place_is_a_hands_where_that_hides_another_region_meanwhile():
    hand = hidden(slice(8, 16), slice(0, 16), [7, 8, 9, 10])
    found = passing(FOLD | hand, REGIONS, LARGE, SECONDS)
    assert found["mouth"][7:11].all() and found["cheeks"][6:13].all()


def test_drops_fall_before_all_of_a_face_and_what_changes_around_a_mouth_is_no_drop():
    drops = np.random.default_rng(0).random((COUNT, SIDE, SIDE)) < 0.1
    rows = np.indices((SIDE, SIDE))[0]
    bands = {name: rows // 3 == number for number, name in enumerate(("brows", "lids", "nose", "mouth", "chin"))}
    assert are_specks(drops, bands, SECONDS)
    assert not are_specks(drops & (rows > 6), bands, SECONDS)
