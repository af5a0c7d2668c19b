# SPDX-License-Identifier: GPL-3.0-or-later
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from magplus.models.warp import backward_displacement, move, pixel_grid, resize_flow, sample, sample_spline


def smooth_picture(height: int = 48, width: int = 64) -> torch.Tensor:
    grid = pixel_grid(height, width)
    x, y = grid[:, :1], grid[:, 1:]
    return 0.5 + 0.25 * torch.sin(x / 5) + 0.25 * torch.cos(y / 7)


def test_sampling_at_the_pixels_returns_the_picture():
    picture = torch.rand(2, 3, 33, 50)
    assert torch.allclose(sample(picture, pixel_grid(33, 50)), picture, atol=1e-4)


@pytest.mark.parametrize("shift", [0.01, 0.25, 0.5, 3.0])
def test_a_shift_is_exact_far_below_a_thirty_second_of_a_pixel(shift):
    grid = pixel_grid(48, 64)
    moved = move(smooth_picture(), torch.stack([torch.full((48, 64), shift), torch.zeros(48, 64)])[None])
    truth = 0.5 + 0.25 * torch.sin((grid[:, :1] - shift) / 5) + 0.25 * torch.cos(grid[:, 1:] / 7)
    assert (moved - truth)[..., 8:-8, 8:-8].abs().max() < 5e-4


@settings(max_examples=25, deadline=None)
@given(st.floats(-4, 4), st.floats(-4, 4), st.floats(2.0, 6.0))
def test_where_a_pixel_came_from_is_where_it_was_sent_to(dx, dy, spread):
    """y - e(y) is sent to y: the two views of one motion agree."""
    grid = pixel_grid(64, 64)
    bump = torch.exp(-((grid - 32) ** 2).sum(1, keepdim=True) / (2 * (4 * spread) ** 2))
    flow = bump * torch.tensor([dx, dy]).view(1, 2, 1, 1) * 0.5
    found = backward_displacement(flow, iterations=12)
    assert found.converged == (found.residual < found.tolerance) and found.iterations <= 12
    back = found.displacement
    source = grid - back
    assert (source + sample(flow, source) - grid).abs().max() < 2e-3


def test_a_resized_flow_moves_the_same_share_of_the_picture():
    flow = torch.ones(1, 2, 10, 20)
    larger = resize_flow(flow, 30, 40)
    assert torch.allclose(larger[:, 0], torch.tensor(2.0))
    assert torch.allclose(larger[:, 1], torch.tensor(3.0))


@pytest.mark.parametrize("size", [(20, 9), (64, 80)])
def test_a_picture_that_gradients_flow_through_is_looked_up_alike(size):
    image = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    positions = pixel_grid(*size) + 0.3
    learned = sample_spline(image.clone().requires_grad_(), positions)
    assert learned.requires_grad
    assert torch.allclose(
        sample_spline(image, positions), learned, atol=5e-5
    )  # PyTorch's positions have an error of 1e-5 px
