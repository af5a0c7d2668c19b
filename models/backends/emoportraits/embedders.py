# SPDX-License-Identifier: GPL-3.0-or-later
"""Who it is and what the face does: the identity embedder and the expression embedder."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import SpectralConv, SpectralLinear
from .resnet import Block, Bottleneck, GroupNormMake, ResNet

EXPRESSION = 128
EMBEDDING = 512
EMBEDDING_SIZE = 4
IDENTITY_IMAGE = 256
ALIGNED = 128
IMAGE_MEAN, IMAGE_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of natural pictures, RGB
CLOSER = 0.5  # the aligned face is shown at twice the size that the pose alone would give


class ColourStatistics(nn.Module):
    """Mean and deviation of natural pictures, [1, 3, 1, 1] RGB, which the checkpoint stores."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGE_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGE_STD).view(1, 3, 1, 1))

    def standardised(self, image: Tensor) -> Tensor:
        """[0, 1] -> about zero mean and unit deviation."""
        return (image - self.get_buffer("mean")) / self.get_buffer("std")


class IdentityEmbedder(ColourStatistics):
    """ResNet-50: the global descriptor of the person."""

    def __init__(self) -> None:
        super().__init__()
        self.net = ResNet(GroupNormMake(), Bottleneck, (3, 4, 6, 3), fc=SpectralConv(2, 2048, EMBEDDING, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Pictures [N, 3, 512, 512] -> [N, 512, 4, 4]."""
        small = F.interpolate(image, (IDENTITY_IMAGE, IDENTITY_IMAGE), mode="bilinear", align_corners=False)
        return F.adaptive_avg_pool2d(self.net(self.standardised(small)), EMBEDDING_SIZE)


class ExpressionNet(ColourStatistics):
    """ResNet-18 on the aligned face."""

    def __init__(self) -> None:
        super().__init__()
        self.net = ResNet(GroupNormMake(), Block, (2, 2, 2, 2), fc=SpectralConv(2, 512, EXPRESSION, 1))
        self.pose_head = SpectralLinear(EXPRESSION * EMBEDDING_SIZE**2, EXPRESSION)

    def forward(self, aligned: Tensor) -> Tensor:
        """Aligned faces [N, 3, 128, 128] -> [N, 128]."""
        features = F.adaptive_avg_pool2d(self.net(self.standardised(aligned)), EMBEDDING_SIZE)
        return self.pose_head(features.flatten(1))


class ExpressionEmbedder(nn.Module):
    """Aligns a face to the canonical place, size and roll, and embeds its expression."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("identity_grid", _homogeneous_grid(ALIGNED))
        # Stored in the checkpoint; only training uses them.
        self.register_buffer("identity_grid_512", _homogeneous_grid(512))
        self.register_buffer("aligned_keypoints", torch.zeros(1, 68, 3))
        self.net_face = ExpressionNet()

    def forward(self, image: Tensor, pose: Tensor) -> Tensor:
        """Pictures [N, 3, 512, 512] and their heads' poses [N, 4, 4] -> expressions [N, 128]."""
        return self.net_face(self.align(image, pose))

    def align(self, image: Tensor, pose: Tensor) -> Tensor:
        """Undo the pose as far as the picture's plane goes: [N, 3, 512, 512] -> [N, 3, 128, 128]."""
        plane = torch.linalg.inv_ex(pose).inverse[:, [0, 1, 3]][:, :, [0, 1, 3]]
        places = self.get_buffer("identity_grid") * plane.new_tensor([CLOSER, CLOSER, 1]) @ plane[:, :2].mT
        return F.grid_sample(image, places.unflatten(1, (ALIGNED, ALIGNED)), align_corners=False)


def _homogeneous_grid(size: int) -> Tensor:
    """Points (x, y, 1) from -1 to 1 inclusive, row by row: [1, size², 3]."""
    axis = torch.linspace(-1, 1, size)
    x, y = torch.meshgrid(axis, axis, indexing="xy")
    return torch.stack([x, y, torch.ones_like(x)], dim=-1).flatten(0, 1)[None]
