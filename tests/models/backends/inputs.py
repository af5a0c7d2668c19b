# SPDX-License-Identifier: GPL-3.0-or-later
"""What a backend is shown, made from plain pictures: a face without landmarks, frames without measured motion."""

from __future__ import annotations

import torch
from torch import Tensor

from magplus.models.backends.base import DrivingBatch, FaceImage
from magplus.models.magnification.motion import Motion


def face(image: Tensor) -> FaceImage:
    """Return a picture [1, 3, H, W] as a face of which no landmarks are known."""
    return FaceImage(image, landmarks=None)


def batch(*images: Tensor) -> DrivingBatch:
    """Return pictures [n, 3, H, W] as a batch of driving frames in which nothing is measured to move."""
    frames = torch.cat(images)
    count, _, height, width = frames.shape
    return DrivingBatch(frames, Motion(torch.zeros(count, 2, height, width), torch.ones(count, 1, height, width)))
