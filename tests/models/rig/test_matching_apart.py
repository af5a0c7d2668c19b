# SPDX-License-Identifier: GPL-3.0-or-later
"""What is not matched: what keeps still in the driver, and what is less than the error of what is asked."""

import numpy as np
import pytest

from magplus.models.rig.matching import match


def test_a_control_that_moves_only_what_keeps_still_is_left_as_it_is():
    columns, asked = np.zeros((1, 2, 20)), np.zeros((3, 2, 20))
    columns[0, 1, :10] = -24.0
    asked[1, 1, 10:] = -0.5
    found = match(np.array([[0.0], [0.01], [0.0]]), columns, asked, {"brows": np.ones(20)})
    assert found.gains.tolist() == [1.0]


@pytest.mark.parametrize(
    ("region", "solved", "shown"),
    [("lids", 0.45, 0.45), ("lids", 0.55, 0.55), ("lids", 0.1, 0.5), ("brows", 0.45, 0.5), ("brows", 0.55, 0.5)],
)
def test_what_is_solved_of_a_lid_stays_where_it_is_asked_otherwise_by_no_more_than_its_error(
    region: str, solved: float, shown: float
) -> None:
    """A lid's size in the picture is known to a fifth: what is near it is right already, what is far is not."""
    columns, asked = np.zeros((1, 2, 20)), np.zeros((3, 2, 20))
    columns[0, 1] = -1.0
    asked[1, 1] = -0.5
    found = match(np.array([[0.0], [solved], [0.0]]), columns, asked, {region: np.ones(20)}).regions[region]
    assert found.shown == pytest.approx(shown, rel=0.05) and found.asked == pytest.approx(0.5)
