# SPDX-License-Identifier: GPL-3.0-or-later
import torch

from magplus.models.backends import DrivingBatch
from magplus.models.magnification.motion import Motion


def test_frames_are_made_when_they_are_first_read_and_once() -> None:
    made = []

    def frames() -> torch.Tensor:
        made.append(torch.rand(2, 3, 4, 4))
        return made[-1]

    batch = DrivingBatch(frames, Motion(torch.zeros(2, 2, 4, 4), torch.ones(2, 1, 4, 4)))
    assert batch.motion.flow.shape == (2, 2, 4, 4) and not made
    assert batch.frames is batch.frames and len(made) == 1
