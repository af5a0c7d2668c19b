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


@pytest.mark.parametrize(("left", "right", "expected"), [(0.7, 0.4, 0.53), (0.53, 0.53, 0.53), (0.9, 0.1, 0.9)])
def test_lids_that_differ_by_no_more_than_their_error_rise_alike_and_one_alone_stays_alone(
    left: float, right: float, expected: float
) -> None:
    columns, asked = np.zeros((2, 2, 40)), np.zeros((3, 2, 40))
    columns[0, 1, :20] = columns[1, 1, 20:] = -1.0
    asked[1, 1, :20], asked[1, 1, 20:] = -left, -right
    solved = np.array([[0.0, 0.0], [left, right], [0.0, 0.0]])
    gains = match(solved, columns, asked, {"lids": np.ones(40)}, lids=[(0, 1)]).gains
    other = right if left / right > 3 else expected
    np.testing.assert_allclose(solved[1] * gains, [expected, other], rtol=0.05)
    assert match(solved, columns, asked, {"lids": np.ones(40)}, lids=[(0, 1)], adjusted=False).gains.tolist() == [1, 1]


@pytest.mark.parametrize("where", [0, 5], ids=["before it", "after it"])
def test_a_jolt_that_no_control_shows_is_not_what_an_expression_is_brought_to(where: int) -> None:
    columns, asked = np.zeros((1, 2, 20)), np.zeros((6, 2, 20))
    columns[0, 1] = -24.0
    asked[2:4, 1] = -0.48
    asked[where, 0] = 1.5
    solved = np.array([[0.0], [0.0], [0.016], [0.016], [0.0], [0.0]])
    found = match(solved, columns, asked, {"brows": np.ones(20)}).regions["brows"]
    assert found.asked == pytest.approx(0.48) and found.shown == pytest.approx(0.48, rel=0.05)


@pytest.mark.parametrize("where", [2, 4, 5], ids=["at the onset", "at the apex", "after it"])
def test_what_moves_farther_in_one_frame_of_an_expression_is_not_what_it_is_brought_to(where: int) -> None:
    """A jolt in the onset, or stickers that jitter before the face, made it twice as large."""
    course = np.array([0.0, 0.5, 0.8, 0.95, 1.0, 0.9, 0.6, 0.0])
    columns, asked = np.zeros((1, 2, 20)), np.zeros((8, 2, 20))
    columns[0, 1] = -24.0
    asked[:, 1] = -0.48 * course[:, None]
    solved = 0.016 * course[:, None]
    usual = match(solved, columns, asked, {"brows": np.ones(20)}).gains
    asked[where] *= 2.2
    np.testing.assert_allclose(match(solved, columns, asked, {"brows": np.ones(20)}).gains, usual, rtol=0.05)


def test_an_expression_that_moves_a_little_farther_at_its_apex_is_brought_to_that() -> None:
    course = np.array([0.0, 0.8, 0.9, 1.0, 0.9, 0.8, 0.0])
    columns, asked = np.zeros((1, 2, 20)), np.zeros((7, 2, 20))
    columns[0, 1] = -24.0
    asked[:, 1] = -0.48 * course[:, None]
    asked[3] *= 1.15
    found = match(0.016 * course[:, None], columns, asked, {"brows": np.ones(20)}).regions["brows"]
    assert found.asked == pytest.approx(1.15 * 0.48)


def test_a_region_in_which_nothing_is_asked_while_the_controls_move_is_not_matched() -> None:
    columns, asked = np.zeros((1, 2, 20)), np.zeros((4, 2, 20))
    columns[0, 1] = -24.0
    asked[3, 0] = 1.5
    found = match(np.array([[0.0], [0.016], [0.0], [0.0]]), columns, asked, {"brows": np.ones(20)})
    assert found.gains.tolist() == [1.0] and not found.regions
