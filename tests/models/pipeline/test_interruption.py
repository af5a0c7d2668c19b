# SPDX-License-Identifier: GPL-3.0-or-later
"""A network that is asked to stop does so between two of its layers, and is as good as before."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from magplus.backend_bridge.files.errors import CancelledError
from magplus.models.pipeline.interruption import interruptible


def test_a_network_stops_between_two_layers_and_works_afterwards() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(*(nn.Conv2d(4, 4, 3, padding=1) for _ in range(8)))
    picture = torch.rand(1, 4, 16, 16)
    asked = 0

    def check() -> None:
        nonlocal asked
        asked += 1
        if asked == 5:
            raise CancelledError("Cancelled.")

    with torch.inference_mode():
        expected = network(picture)
        with pytest.raises(CancelledError), interruptible(check):
            network(picture)
        assert asked == 5
        with interruptible(lambda: None):
            torch.testing.assert_close(network(picture), expected, rtol=0, atol=0)
