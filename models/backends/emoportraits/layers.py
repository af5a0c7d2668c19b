# SPDX-License-Identifier: GPL-3.0-or-later
"""Building blocks that EMOPortraits' networks share: convolutions whose weights are normalised when used, and
residual blocks, in two and three dimensions.

Two kinds of normalised weight occur, as they were trained. Spectral norm divides by the weight's largest singular
value, which the stored singular vectors give (no power iteration is done). Weight standardisation takes the place of
spectral norm in some convolutions that follow a group norm: each output channel's kernel gets mean 0 and variance 1.
"""  # noqa: D205 - the list is longer than a line

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUPS = 32
STANDARDISATION_EPS = 1e-5

Conv: TypeAlias = Callable[..., "NormalisedConv"]


class NormalisedConv(nn.Module, ABC):
    """Convolution in `dims` dimensions with a `normalised_weight`; a 3-wide kernel is padded so that the size stays."""

    def __init__(self, dims: int, out_channels: int, kernel_size: int, stride: int, bias: bool) -> None:
        super().__init__()
        self.convolve = {2: F.conv2d, 3: F.conv3d}[dims]
        self.stride, self.padding = stride, kernel_size // 2
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None

    @abstractmethod
    def normalised_weight(self) -> Tensor:
        """The weight [C', C, ...] to convolve with."""

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, ...] -> [N, C', ...]."""
        return self.convolve(x, self.normalised_weight(), self.bias, self.stride, self.padding)


class SpectralConv(NormalisedConv):
    """Convolution with spectral norm."""

    def __init__(
        self, dims: int, in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1, bias: bool = False
    ) -> None:
        super().__init__(dims, out_channels, kernel_size, stride, bias)
        add_spectral_weight(self, (out_channels, in_channels, *[kernel_size] * dims))

    def normalised_weight(self) -> Tensor:
        """The weight over its largest singular value."""
        return spectral_weight(self)


class StandardisedConv(NormalisedConv):
    """Convolution with weight standardisation; it always has a bias."""

    def __init__(self, dims: int, in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1) -> None:
        super().__init__(dims, out_channels, kernel_size, stride, bias=True)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, *[kernel_size] * dims))

    def normalised_weight(self) -> Tensor:
        """Each output channel's kernel less its mean, over its standard deviation."""
        axes = tuple(range(1, self.weight.ndim))
        deviation, mean = torch.std_mean(self.weight, axes, keepdim=True)
        return (self.weight - mean) / (deviation + STANDARDISATION_EPS)


class SpectralLinear(nn.Module):
    """Linear layer without bias, with spectral norm."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        add_spectral_weight(self, (out_features, in_features))

    def forward(self, x: Tensor) -> Tensor:
        """[N, in] -> [N, out]."""
        return F.linear(x, spectral_weight(self))


def add_spectral_weight(layer: nn.Module, shape: tuple[int, ...]) -> None:
    """Give a layer the tensors of a weight under spectral norm: the weight and its first singular vectors."""
    layer.register_parameter("weight_orig", nn.Parameter(torch.randn(shape)))
    layer.register_buffer("weight_u", F.normalize(torch.randn(shape[0]), dim=0))
    layer.register_buffer("weight_v", F.normalize(torch.randn(math.prod(shape[1:])), dim=0))


def spectral_weight(layer: nn.Module) -> Tensor:
    """The weight over u·Wv, its largest singular value."""
    weight = layer.get_parameter("weight_orig")
    value = layer.get_buffer("weight_u") @ (weight.flatten(1) @ layer.get_buffer("weight_v"))
    return weight / value


def group_norm(channels: int) -> nn.GroupNorm:
    """Group norm as all these networks use it."""
    return nn.GroupNorm(GROUPS, channels)


class ResBlock(nn.Module):
    """Pre-activation residual block: norm, ReLU, convolution, norm, ReLU, convolution; `resize` halves or doubles.

    Doubling repeats pixels, halving takes the mean of squares. Norms give the same before doubling as after it, and so
    does the 1×1 convolution on the skip path, where the channels change, before or after either; it costs a quarter.
    """

    def __init__(self, dims: int, in_channels: int, out_channels: int, first: Conv, resize: str = "") -> None:
        super().__init__()
        self.resize = resize
        self.block_feats = nn.Sequential(
            group_norm(in_channels),
            nn.ReLU(inplace=True),
            first(dims, in_channels, out_channels),
            group_norm(out_channels),
            nn.ReLU(inplace=True),
        )
        self.block = nn.Sequential(SpectralConv(dims, out_channels, out_channels))
        same = in_channels == out_channels
        self.skip = nn.Identity() if same else nn.Sequential(SpectralConv(dims, in_channels, out_channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, ...] -> [N, C', ...]."""
        if self.resize == "double":
            conv = self.block_feats[2]
            assert isinstance(conv, NormalisedConv)
            y = self.block(self.block_feats[3:](convolve_doubled(self.block_feats[:2](x), conv)))
            return y.add_(F.interpolate(self.skip(x), scale_factor=2, mode="nearest"))
        y = self.block(self.block_feats(x))
        if self.resize == "half":
            return F.avg_pool2d(y, 2).add_(self.skip(F.avg_pool2d(x, 2)))
        return y.add_(self.skip(x))


def convolve_doubled(x: Tensor, conv: NormalisedConv) -> Tensor:
    """Every pixel becomes a 2×2 square, then a 3×3 convolution: [N, C, H, W] -> [N, C', 2H, 2W].

    A pixel of the doubled picture depends on 2×2 pixels of the small one, each with the sum of the weights that fall on
    it; which ones depends on whether its row and column are even. That makes four kernels of 2×2 instead of one of 3×3.
    """
    rows = _sums_of_neighbours(conv.normalised_weight(), axis=2)  # [2, C', C, 2, 3]
    kernels = _sums_of_neighbours(rows, axis=4)  # [2 of columns, 2 of rows, C', C, 2, 2]
    y = F.conv2d(x, kernels.flatten(0, 2), padding=1).unflatten(1, kernels.shape[:3])
    height, width = x.shape[2:]
    doubled = x.new_empty(len(x), kernels.shape[2], 2 * height, 2 * width)
    for column in (0, 1):
        for row in (0, 1):
            seen = y[:, column, row, :, row : row + height, column : column + width]
            doubled[:, :, row::2, column::2] = seen
    return doubled if conv.bias is None else doubled.add_(conv.bias[:, None, None])


def _sums_of_neighbours(weight: Tensor, axis: int) -> Tensor:
    """Three weights along an axis -> the two sums of an even pixel, and those of an odd one."""
    first, second, third = weight.unbind(axis)
    even, odd = torch.stack([first, second + third], axis), torch.stack([first + second, third], axis)
    return torch.stack([even, odd])


class AdaptiveGroupNorm(nn.GroupNorm):
    """Group norm whose scale and shift are moved by an embedding.

    Its own scale and shift are applied twice, first alone and then as moved: the networks were trained so.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(GROUPS, channels)

    def forward(self, x: Tensor, change: Tensor) -> Tensor:  # type: ignore[override]
        """x [N, C, D, H, W] and what is added to scale and shift, [N or 1, C, 2] -> [N, C, D, H, W]."""
        scale, shift = (torch.stack([self.weight, self.bias], dim=-1) + change)[:, :, :, None, None, None].unbind(2)
        return super().forward(x).mul_(scale).add_(shift)


class AdaptiveResBlock(nn.Module):
    """A `ResBlock` in three dimensions with adaptive norms; its channels always change."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.block_feats = nn.ModuleDict(
            {
                "0": AdaptiveGroupNorm(in_channels),
                "2": StandardisedConv(3, in_channels, out_channels),
                "3": AdaptiveGroupNorm(out_channels),
            }
        )
        self.block = nn.Sequential(SpectralConv(3, out_channels, out_channels))
        self.skip = nn.Sequential(SpectralConv(3, in_channels, out_channels, 1))

    def forward(self, x: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """x [N, C, D, H, W] and each norm's change, [N or 1, C, 2] and [N or 1, C', 2] -> [N, C', D, H, W]."""
        y = self.block_feats["2"](self.block_feats["0"](x, first).relu_())
        y = self.block(self.block_feats["3"](y, second).relu_())
        return y.add_(self.skip(x))


class SkipResBlock(ResBlock):
    """A `ResBlock` of volumes as the volumetric networks use it: both convolutions with spectral norm."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(3, in_channels, out_channels, first=SpectralConv)
