# SPDX-License-Identifier: GPL-3.0-or-later
"""Residual networks (He et al., 2016) in the three makes that EMOPortraits uses: with batch norm as published, and
with group norm, spectral norm and weight standardisation. Tensor names are those of torchvision's ResNets.
"""  # noqa: D205 - the three makes are the point

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from .layers import SpectralConv, StandardisedConv, group_norm

STEM = 64
WIDTHS = (64, 128, 256, 512)


class Make:
    """How convolutions and norms are made: plainly, with batch norm."""

    def conv(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Module:
        """A convolution at the start of a block."""
        return nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False)

    def later_conv(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Module:
        """A convolution further inside a block."""
        return self.conv(in_channels, out_channels, kernel_size, stride)

    def norm(self, channels: int) -> nn.Module:
        """The norm after each convolution."""
        return nn.BatchNorm2d(channels)


class GroupNormMake(Make):
    """Group norm; spectral norm in the first convolution of each block, weight standardisation in later ones."""

    def conv(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Module:
        """A convolution with spectral norm."""
        return SpectralConv(2, in_channels, out_channels, kernel_size, stride)

    def later_conv(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Module:
        """A convolution with weight standardisation."""
        return StandardisedConv(2, in_channels, out_channels, kernel_size, stride)

    def norm(self, channels: int) -> nn.Module:
        """Group norm."""
        return group_norm(channels)


class Block(nn.Module):
    """A residual block; the shortcut is convolved where size or channels change."""

    expansion = 1

    def __init__(self, make: Make, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.add_layers(make, in_channels, width, stride)
        out_channels = width * self.expansion
        self.downsample = nn.Sequential()
        if stride != 1 or in_channels != out_channels:
            self.downsample.extend([make.conv(in_channels, out_channels, 1, stride), make.norm(out_channels)])

    def add_layers(self, make: Make, in_channels: int, width: int, stride: int) -> None:
        """Two 3×3 convolutions."""
        self.conv1, self.bn1 = make.conv(in_channels, width, 3, stride), make.norm(width)
        self.conv2, self.bn2 = make.later_conv(width, width, 3), make.norm(width)

    def residual(self, x: Tensor) -> Tensor:
        """What is added to the shortcut."""
        return self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', H/stride, W/stride]."""
        return F.relu(self.residual(x) + self.downsample(x))


class Bottleneck(Block):
    """1×1, 3×3, 1×1, four times as wide at its ends."""

    expansion = 4

    def add_layers(self, make: Make, in_channels: int, width: int, stride: int) -> None:
        """Three convolutions, the stride in the middle one."""
        self.conv1, self.bn1 = make.conv(in_channels, width, 1), make.norm(width)
        self.conv2, self.bn2 = make.later_conv(width, width, 3, stride), make.norm(width)
        self.conv3, self.bn3 = make.later_conv(width, 4 * width, 1), make.norm(4 * width)

    def residual(self, x: Tensor) -> Tensor:
        """What is added to the shortcut."""
        y = F.relu(self.bn1(self.conv1(x)))
        return self.bn3(self.conv3(F.relu(self.bn2(self.conv2(y)))))


class ResNet(nn.Module):
    """The convolutional part, to a 32nd of the picture's size, and a last layer `fc` of the caller's choice."""

    def __init__(self, make: Make, block: type[Block], depths: Sequence[int], fc: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1, self.bn1 = make.conv(3, STEM, 7, 2), make.norm(STEM)
        before = STEM
        for level, (width, depth) in enumerate(zip(WIDTHS, depths, strict=True), start=1):
            blocks = nn.Sequential()
            for index in range(depth):
                blocks.append(block(make, before, width, stride=2 if level > 1 and index == 0 else 1))
                before = width * block.expansion
            self.add_module(f"layer{level}", blocks)
        if fc is not None:
            self.fc = fc

    def features(self, x: Tensor) -> list[Tensor]:
        """[N, 3, H, W] -> features after each of the four levels, at H/4, H/8, H/16 and H/32."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        levels = []
        for level in range(1, 5):
            x = self.get_submodule(f"layer{level}")(x)
            levels.append(x)
        return levels

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] -> what `fc` makes of each place at H/32, [N, C, H/32, W/32]."""
        return self.fc(self.features(x)[-1])
