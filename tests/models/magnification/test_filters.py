# SPDX-License-Identifier: GPL-3.0-or-later
"""The pooling filters, against PyTorch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from magplus.models.magnification.filters import gaussian, max_pool_2x2, mean_pool, pool_to, shrink


@pytest.mark.parametrize("size", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("sides", [(16, 24), (17, 24), (6, 10), (15, 7)])
def test_means_over_squares_are_those_of_average_pooling_cut_off_at_the_far_edges(size, sides):
    field = torch.rand(2, 3, *sides)
    expected = F.avg_pool2d(field, size, ceil_mode=True)
    torch.testing.assert_close(mean_pool(field, size), expected, rtol=0, atol=1e-6)


def test_pooling_leaves_its_input_alone():
    field = torch.rand(1, 1, 8, 8)
    before = field.clone()
    mean_pool(field, 4)
    assert torch.equal(field, before)


def test_a_field_that_is_one_number_everywhere_stays_one_number():
    """Most of what may hide a face does so in few frames: elsewhere no memory is filled with zeros and ones."""
    even = torch.tensor(0.25).expand(2, 3, 16, 24)
    for found, size in ((mean_pool(even, 4), (4, 6)), (pool_to(even, (5, 7)), (5, 7)), (shrink(even, (8, 9)), (8, 9))):
        assert found.shape == (2, 3, *size) and bool((found == 0.25).all())
        assert found.untyped_storage().nbytes() == 4


def test_maxima_over_squares():
    field = torch.rand(2, 1, 12, 20)
    assert torch.equal(max_pool_2x2(field), F.max_pool2d(field, 2))


def test_a_blur_is_the_same_with_and_without_a_gradient():
    """OpenCV's on a CPU, PyTorch's where it has to be differentiated or the device is another."""
    field = torch.rand(2, 3, 20, 30)
    blurred = gaussian(field, 2.5, 8)
    torch.testing.assert_close(gaussian(field.requires_grad_(), 2.5, 8), blurred, rtol=0, atol=1e-6)
    assert torch.allclose(gaussian(torch.ones(1, 1, 9, 9), 2.5, 8), torch.ones(1))
