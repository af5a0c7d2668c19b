# SPDX-License-Identifier: GPL-3.0-or-later
"""The volumetric networks: the local encoder, the warp generators, and what refines the volume between the warps."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .embedders import EMBEDDING, EMBEDDING_SIZE
from .layers import (
    AdaptiveResBlock,
    ResBlock,
    SkipResBlock,
    SpectralConv,
    StandardisedConv,
    group_norm,
)

CHANNELS, DEPTH, SIZE = 96, 16, 64  # of the volume
WARP_WIDTHS = (512, 256, 128, 64, 32)
UNET_WIDTHS = (96, 192, 384, 512)
UNET_START = 8
TALLEST = 32  # the depth of the volumes inside the networks never exceeds this


class LocalEncoder(nn.Module):
    """From the source picture to the volume of its appearance."""

    def __init__(self) -> None:
        super().__init__()
        self.from_rgb_512px = SpectralConv(2, 3, 128, 7, bias=True)
        for index, (before, after) in enumerate(pairwise((128, 256, 512, 512))):
            block = ResBlock(2, before, after, first=StandardisedConv, resize="half")
            self.add_module(f"enc_{index}_block={512 >> index}px", block)
        self.finale_layers = nn.Sequential(
            group_norm(512), nn.ReLU(inplace=True), StandardisedConv(2, 512, CHANNELS * DEPTH, 1)
        )

    def forward(self, image: Tensor) -> Tensor:
        """[1, 3, 512, 512] -> [1, 96 · 16, 64, 64], channel by channel, front to back."""
        for layer in self.children():
            image = layer(image)
        return image


class LowRankProjector(nn.Module):
    """From the embedding to the change of every adaptive norm's scale and shift: U E V for each norm."""

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.u = nn.ParameterList(torch.randn(count, EMBEDDING) / EMBEDDING**0.5 for count in channels)
        self.v = nn.ParameterList(torch.randn(EMBEDDING_SIZE**2, 2) / EMBEDDING_SIZE for _ in channels)

    def forward(self, embedding: Tensor) -> list[Tensor]:
        """[N, 512, 4, 4] -> [N, C, 2] for each norm."""
        return [u @ embedding.flatten(2) @ v for u, v in zip(self.u, self.v, strict=True)]


class WarpGenerator(nn.Module):
    """From an embedding of person and expression to a warp of the volume: to the canonical face, or from it."""

    def __init__(self) -> None:
        super().__init__()
        self.first_conv = SpectralConv(2, EMBEDDING, WARP_WIDTHS[0] * EMBEDDING_SIZE, 1)
        self.blocks_3d = nn.ModuleList(AdaptiveResBlock(before, after) for before, after in pairwise(WARP_WIDTHS))
        self.pre_head = nn.Sequential(group_norm(WARP_WIDTHS[-1]), nn.ReLU(inplace=True))
        self.head = nn.Sequential(nn.Sequential(SpectralConv(3, WARP_WIDTHS[-1], 3, bias=True), nn.Tanh()))
        self.projector = LowRankProjector([width for pair in pairwise(WARP_WIDTHS) for width in pair])
        self.register_buffer("identity_grid", _grid())

    def forward(self, embedding: Tensor) -> Tensor:
        """[N, 512, 4, 4] -> where each place of the warped volume comes from: [N, 16, 64, 64, 3], from -1 to 1."""
        return (self.get_buffer("identity_grid") + self.deltas(embedding)).permute(0, 2, 3, 4, 1)

    def deltas(self, embedding: Tensor) -> Tensor:
        """How far each place is moved: [N, 3, 16, 64, 64] (x, y, z), from -1 to 1."""
        changes = self.projector(embedding)
        x = self.first_conv(embedding).unflatten(1, (-1, EMBEDDING_SIZE))  # [N, 512, 4, 4, 4]
        for index, block in enumerate(self.blocks_3d):
            x = doubled(x)
            x = block(x, *changes[2 * index : 2 * index + 2])  # [N, 32, 32, 64, 64] in the end
        return self.head(self.pre_head(F.avg_pool3d(x, (2, 1, 1))))


class SourceVolume(nn.Module):
    """Three residual blocks on the encoded volume."""

    def __init__(self) -> None:
        super().__init__()
        blocks = nn.Sequential(*(SkipResBlock(CHANNELS, CHANNELS) for _ in range(3)))
        self.net = nn.ModuleDict({"net": blocks})

    def forward(self, volume: Tensor) -> Tensor:
        """[1, 96, 16, 64, 64] -> the same."""
        return self.net["net"](volume)


class VolumeUNet(nn.Module):
    """3-D U-Net on the canonical volume; the way up starts from a learnt tensor and adds those of the way down."""

    def __init__(self) -> None:
        super().__init__()
        down, up = list(pairwise(UNET_WIDTHS)), list(pairwise((512, *UNET_WIDTHS[2::-1])))
        self.input_tensor = nn.Parameter(torch.randn(1, 512, UNET_START, UNET_START, UNET_START))
        self.blocks_3d_down = nn.ModuleList(SkipResBlock(before, after) for before, after in down)
        self.blocks_3d_up = nn.ModuleList(SkipResBlock(before, after) for before, after in up)
        self.skip_blocks_3d_up = nn.ModuleList(SkipResBlock(before, before) for before, _ in up)
        self.head = nn.Sequential(
            group_norm(CHANNELS), nn.ReLU(inplace=True), SpectralConv(3, CHANNELS, CHANNELS, 1, bias=True)
        )

    def forward(self, volume: Tensor) -> Tensor:
        """[1, 96, 16, 64, 64] -> the same."""
        widest, wide, narrow = self.blocks_3d_down
        x = widest(F.interpolate(volume, scale_factor=(2, 1, 1), mode="trilinear"))  # 32 × 64 × 64
        skips = [x]
        x = wide(F.avg_pool3d(x, (1, 2, 2)))  # 32³
        skips.append(x)
        skips.append(narrow(F.avg_pool3d(x, 2)))  # 16³
        x = self.input_tensor.expand(len(volume), -1, -1, -1, -1)
        for block, skip_block in zip(self.blocks_3d_up, self.skip_blocks_3d_up, strict=True):
            x = block(doubled(x).add_(skip_block(skips.pop())))
        return self.head(F.avg_pool3d(x, (2, 1, 1)))


def doubled(volume: Tensor) -> Tensor:
    """Trilinear; a volume that is as deep as any may be grows in height and width alone."""
    factor = (1 if volume.shape[2] == TALLEST else 2, 2, 2)
    return F.interpolate(volume, scale_factor=factor, mode="trilinear")


def _grid() -> Tensor:
    """Points (x, y, z) from -1 to 1 inclusive: [1, 3, 16, 64, 64]."""
    z, y, x = torch.meshgrid(*(torch.linspace(-1, 1, count) for count in (DEPTH, SIZE, SIZE)), indexing="ij")
    return torch.stack([x, y, z])[None]
