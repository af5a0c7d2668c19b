# SPDX-License-Identifier: GPL-3.0-or-later
"""A clip that turns black and white, or back, shows the same face."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from magplus.models.face.colour import coloured_as

GREY = torch.tensor([0.2126, 0.7152, 0.0722]).view(3, 1, 1)


@pytest.fixture
def face() -> Tensor:
    """Skin with red lips, as bright as it."""
    picture = torch.tensor([0.7, 0.5, 0.4]).view(3, 1, 1).repeat(1, 16, 16)
    picture[:, 10:12, 4:12] = torch.tensor([0.8, 0.25, 0.3]).view(3, 1, 1)
    return picture


def grey(picture: Tensor) -> Tensor:
    return (picture * GREY).sum(0, keepdim=True).expand_as(picture)


def test_a_frame_without_colour_gets_the_references(face: Tensor) -> None:
    torch.testing.assert_close(coloured_as(grey(face), face), face, rtol=0, atol=0.01)


def test_after_a_reference_without_colour_frames_have_none(face: Tensor) -> None:
    torch.testing.assert_close(coloured_as(face, grey(face)), grey(face))


def test_frames_of_the_references_kind_are_left_as_they_are(face: Tensor) -> None:
    dim = 0.4 * face
    assert coloured_as(dim, face) is dim
    assert coloured_as(grey(dim), grey(face)).equal(grey(dim))


def test_a_place_that_darkens_darkens_in_colour(face: Tensor) -> None:
    torch.testing.assert_close(coloured_as(grey(0.8 * face), face), 0.8 * face, rtol=0, atol=0.01)
