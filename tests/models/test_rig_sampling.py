# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import torch

from models.magnification.motion import Motion
from models.rig.sampling import sample_motion


def slanted(height: int, width: int) -> Motion:
    """Flow (0.1 x, 0.2 y) and confidence rising from left to right."""
    y, x = torch.meshgrid(torch.arange(height).float(), torch.arange(width).float(), indexing="ij")
    return Motion(torch.stack([0.1 * x, 0.2 * y])[None], (x / (width - 1))[None, None])


def test_points_between_pixels_are_interpolated() -> None:
    displacement, confidence = sample_motion(slanted(9, 11), np.array([[2.5, 3.25], [0.0, 8.0], [10.0, 0.0]]))
    np.testing.assert_allclose(displacement[0], [[0.25, 0.65], [0.0, 1.6], [1.0, 0.0]], atol=1e-6)
    np.testing.assert_allclose(confidence[0], [0.25, 0.0, 1.0], atol=1e-6)


def test_points_outside_say_nothing() -> None:
    displacement, confidence = sample_motion(slanted(9, 11), np.array([[-3.0, 4.0], [5.0, 40.0]]))
    assert not displacement.any()
    assert not confidence.any()


def test_a_crop_is_read_in_its_own_pixels_and_answers_in_the_pictures() -> None:
    """The crop starts at (100, 50) of the picture and shows it at half size."""
    to_crop = np.array([[0.5, 0.0, -50.0], [0.0, 0.5, -25.0]])
    displacement, _ = sample_motion(slanted(9, 11), np.array([[108.0, 56.0]]), to_crop)
    np.testing.assert_allclose(displacement[0, 0], [2 * 0.1 * 4, 2 * 0.2 * 3], atol=1e-6)


def test_a_turned_crop_turns_the_motion_back() -> None:
    to_crop = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 8.0]])  # a quarter turn
    displacement, _ = sample_motion(slanted(9, 9), np.array([[3.0, 2.0]]), to_crop)
    np.testing.assert_allclose(displacement[0, 0], [-0.2 * 5, 0.1 * 2], atol=1e-6)
