# SPDX-License-Identifier: GPL-3.0-or-later
"""Which part of a portrait is what: BiSeNet (Yu et al., ECCV 2018) for faces, written from the paper.

EMOPortraits shows its source with all but the head black and takes the mask from this network. Names and shapes are
those of `79999_iter.pth`; the ResNet's features at an eighth of the size stand in for the paper's spatial path.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .embedders import IMAGE_MEAN, IMAGE_STD
from .resnet import Block, Make, ResNet

CLASSES = 19
# Skin, brows, eyes, glasses, ears, earrings, nose, mouth, lips, neck, hair, hat; not background, necklace, clothes.
HEAD = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 17, 18)


class ConvBlock(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', H, W]."""
        return F.relu(self.bn(self.conv(x)))


class AttentionRefinement(nn.Module):
    """A convolution whose channels are weighed by what they are on average."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = ConvBlock(in_channels, out_channels)
        self.conv_atten = nn.Conv2d(out_channels, out_channels, 1, bias=False)
        self.bn_atten = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', H, W]."""
        x = self.conv(x)
        return x * self.bn_atten(self.conv_atten(mean_of(x))).sigmoid()


class ContextPath(nn.Module):
    """ResNet-18, the two coarsest of its levels refined and added up from the coarse side."""

    def __init__(self) -> None:
        super().__init__()
        self.resnet = ResNet(Make(), Block, (2, 2, 2, 2))
        self.arm16 = AttentionRefinement(256, 128)
        self.arm32 = AttentionRefinement(512, 128)
        self.conv_head32 = ConvBlock(128, 128)
        self.conv_head16 = ConvBlock(128, 128)
        self.conv_avg = ConvBlock(512, 128, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[N, 3, H, W] -> features [N, 128, H/8, W/8] as the ResNet has them, and in context."""
        _, eighth, sixteenth, coarsest = self.resnet.features(x)
        context = self.arm32(coarsest) + self.conv_avg(mean_of(coarsest))
        context = self.arm16(sixteenth) + self.conv_head32(F.interpolate(context, sixteenth.shape[2:]))
        return eighth, self.conv_head16(F.interpolate(context, eighth.shape[2:]))


class FeatureFusion(nn.Module):
    """Joins both paths; channels that matter are strengthened."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convblk = ConvBlock(channels, channels, 1)
        self.conv1 = nn.Conv2d(channels, channels // 4, 1, bias=False)
        self.conv2 = nn.Conv2d(channels // 4, channels, 1, bias=False)

    def forward(self, spatial: Tensor, context: Tensor) -> Tensor:
        """Two of [N, C/2, H, W] -> [N, C, H, W]."""
        x = self.convblk(torch.cat([spatial, context], dim=1))
        return x + x * self.conv2(F.relu(self.conv1(mean_of(x)))).sigmoid()


class Output(nn.Module):
    """From features to a score for every class."""

    def __init__(self, in_channels: int, hidden: int) -> None:
        super().__init__()
        self.conv = ConvBlock(in_channels, hidden)
        self.conv_out = nn.Conv2d(hidden, CLASSES, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, 19, H, W]."""
        return self.conv_out(self.conv(x))


class FaceParser(nn.Module):
    """BiSeNet for the nineteen classes of CelebAMask-HQ."""

    def __init__(self) -> None:
        super().__init__()
        self.cp = ContextPath()
        self.ffm = FeatureFusion(256)
        self.conv_out = Output(256, 256)
        self.conv_out16 = Output(128, 64)  # both in the checkpoint; only training uses them
        self.conv_out32 = Output(128, 64)

    def forward(self, image: Tensor) -> Tensor:
        """Pictures [N, 3, 512, 512] in [0, 1] -> scores [N, 19, 512, 512]."""
        mean, std = (image.new_tensor(values).view(1, 3, 1, 1) for values in (IMAGE_MEAN, IMAGE_STD))
        scores = self.conv_out(self.ffm(*self.cp((image - mean) / std)))
        return F.interpolate(scores, image.shape[2:], mode="bilinear", align_corners=True)

    def head_mask(self, image: Tensor) -> Tensor:
        """Where the head is, [N, 1, 512, 512] of zeros and ones."""
        labels = self(image).argmax(dim=1, keepdim=True)
        return torch.isin(labels, labels.new_tensor(HEAD)).to(image)


def mean_of(x: Tensor) -> Tensor:
    """The mean over the picture: [N, C, 1, 1]."""
    return x.mean(dim=(2, 3), keepdim=True)
