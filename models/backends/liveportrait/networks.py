# SPDX-License-Identifier: GPL-3.0-or-later
"""LivePortrait: Efficient Portrait Animation with Stitching and Retargeting Control (Guo et al., 2024), from the paper.

The source becomes a volume of appearance features (F). Its implicit keypoints and the driven ones determine how
the volume is warped (W): a first-order model without its jacobians, in three dimensions. A SPADE decoder (G) paints
the picture at twice the source's size. Small networks adjust keypoints: stitching (S), so that shoulders stay where
they are, and retargeting (R) of eyes and lips.

Tensor names and shapes are those of the published files.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from ..fomm import ConvBlock, DownBlock
from .motion import K

IMAGE_SIZE = 256
CHANNELS, DEPTH = 32, 16  # of the feature volume
COMPRESSED = 4
HOURGLASS, NARROWEST = (64, 128, 256, 512, 1024), 32
KEYPOINT_VARIANCE = 0.01


class Warped(NamedTuple):
    """features: [N, 256, 64, 64]; deformation: [N, 16, 64, 64, 3]; occlusion_map: [N, 1, 64, 64] in (0, 1)."""

    features: Tensor
    deformation: Tensor
    occlusion_map: Tensor


# ----------------------------------------------------------------------------------------- appearance extractor (F)


class ResBlock3d(nn.Module):
    """Pre-activation residual block: twice batch norm, ReLU, convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv3d(channels, channels, 3, padding=1)
        self.norm1 = nn.BatchNorm3d(channels)
        self.norm2 = nn.BatchNorm3d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, D, H, W] -> [N, C, D, H, W]."""
        y = self.conv1(F.relu(self.norm1(x)))
        return x + self.conv2(F.relu(self.norm2(y)))


class AppearanceFeatureExtractor(nn.Module):
    """F of the paper: from the source picture to its feature volume."""

    def __init__(self) -> None:
        super().__init__()
        self.first = ConvBlock(3, 64)
        self.down_blocks = nn.ModuleList([DownBlock(64, 128), DownBlock(128, 256)])
        self.second = nn.Conv2d(256, CHANNELS * DEPTH, 1)
        self.resblocks_3d = nn.Sequential()
        for index in range(6):
            self.resblocks_3d.add_module(f"3dr{index}", ResBlock3d(CHANNELS))

    def forward(self, image: Tensor) -> Tensor:
        """[1, 3, 256, 256] -> [1, 32, 16, 64, 64]."""
        x = self.first(image)
        for block in self.down_blocks:
            x = block(x)
        return self.resblocks_3d(self.second(x).unflatten(1, (CHANNELS, DEPTH)))


# ------------------------------------------------------------------------------------------------- warping module (W)


class ConvBlock3d(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(in_channels, out_channels, 3, padding=1)
        self.norm = nn.BatchNorm3d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, D, H, W] -> [N, C', D, H, W]."""
        return F.relu(self.norm(self.conv(x)))


class HourglassEncoder(nn.Module):
    """Halves height and width five times; the depth stays."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.down_blocks = nn.ModuleList(ConvBlock3d(a, b) for a, b in pairwise((in_channels, *HOURGLASS)))

    def forward(self, x: Tensor) -> list[Tensor]:
        """[N, C, 16, 64, 64] -> the same at every size, full size first."""
        pyramid = [x]
        for block in self.down_blocks:
            pyramid.append(F.avg_pool3d(block(pyramid[-1]), (1, 2, 2)))
        return pyramid


class HourglassDecoder(nn.Module):
    """Doubles height and width five times and appends what the encoder had at that size; a convolution comes last."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        narrower = (*HOURGLASS[-2::-1], NARROWEST)
        inputs = (HOURGLASS[-1], *(2 * width for width in HOURGLASS[-2::-1]))
        self.up_blocks = nn.ModuleList(ConvBlock3d(a, b) for a, b in zip(inputs, narrower, strict=True))
        self.out_channels = NARROWEST + in_channels
        self.conv = nn.Conv3d(self.out_channels, self.out_channels, 3, padding=1)
        self.norm = nn.BatchNorm3d(self.out_channels)

    def forward(self, pyramid: list[Tensor]) -> Tensor:
        """The encoder's pyramid -> [N, 32 + C, 16, 64, 64]."""
        *skips, x = pyramid
        for block, skip in zip(self.up_blocks, reversed(skips), strict=True):
            x = torch.cat([block(F.interpolate(x, scale_factor=(1, 2, 2), mode="nearest")), skip], dim=1)
        return F.relu(self.norm(self.conv(x)))


class Hourglass(nn.Module):
    """3-D U-Net."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.encoder = HourglassEncoder(in_channels)
        self.decoder = HourglassDecoder(in_channels)
        self.out_channels = self.decoder.out_channels

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, 16, 64, 64] -> [N, 32 + C, 16, 64, 64]."""
        return self.decoder(self.encoder(x))


class DenseMotionNetwork(nn.Module):
    """From K translations around keypoints to one for every place of the volume, and what the source can't show."""

    def __init__(self) -> None:
        super().__init__()
        self.hourglass = Hourglass((K + 1) * (1 + COMPRESSED))
        self.mask = nn.Conv3d(self.hourglass.out_channels, K + 1, 7, padding=3)
        self.compress = nn.Conv3d(CHANNELS, COMPRESSED, 1)
        self.norm = nn.BatchNorm3d(COMPRESSED)
        self.occlusion = nn.Conv2d(self.hourglass.out_channels * DEPTH, 1, 7, padding=3)

    def forward(self, volume: Tensor, source: Tensor, driving: Tensor) -> tuple[Tensor, Tensor]:
        """The feature volume [1, 32, 16, 64, 64], keypoints [1, 21, 3] and [N, 21, 3] -> deformation, occlusion map."""
        grid = coordinate_grid(volume)
        offsets = F.pad(source - driving, (0, 0, 1, 0))  # [N, K+1, 3], the background first: it stays
        motions = grid + offsets[:, :, None, None, None]  # [N, K+1, D, H, W, 3]

        small = F.relu(self.norm(self.compress(volume))).expand(motions.shape[0] * (K + 1), -1, -1, -1, -1)
        warped = F.grid_sample(small, motions.flatten(0, 1), align_corners=False).unflatten(0, (-1, K + 1))
        heatmaps = F.pad(_gaussians(grid, driving) - _gaussians(grid, source), (0, 0, 0, 0, 0, 0, 1, 0))
        features = self.hourglass(torch.cat([heatmaps[:, :, None], warped], dim=2).flatten(1, 2))

        mask = self.mask(features).softmax(dim=1)
        deformation = torch.einsum("nkdhw,nkdhwc->ndhwc", mask, motions)
        return deformation, self.occlusion(features.flatten(1, 2)).sigmoid()


class WarpingModule(nn.Module):
    """W of the paper: warps the feature volume, projects it to the front view, masks what the source doesn't show."""

    def __init__(self) -> None:
        super().__init__()
        self.dense_motion_network = DenseMotionNetwork()
        self.third = LeakyConvBlock(CHANNELS * DEPTH, 256)
        self.fourth = nn.Conv2d(256, 256, 1)

    def forward(self, volume: Tensor, source: Tensor, driving: Tensor) -> Warped:
        """The feature volume [1, 32, 16, 64, 64], keypoints of the source [1, 21, 3] and driven ones [N, 21, 3]."""
        deformation, occlusion_map = self.dense_motion_network(volume, source, driving)
        warped = F.grid_sample(volume.expand(len(deformation), -1, -1, -1, -1), deformation, align_corners=False)
        features = self.fourth(self.third(warped.flatten(1, 2))) * occlusion_map
        return Warped(features, deformation, occlusion_map)


class LeakyConvBlock(nn.Module):
    """Convolution, batch norm, leaky ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', H, W]."""
        return F.leaky_relu(self.norm(self.conv(x)), 0.01)


def coordinate_grid(volume: Tensor) -> Tensor:
    """Return [D, H, W, 3] coordinates (x, y, z) of a volume's places, -1 to 1 inclusive."""
    z, y, x = (
        2 * torch.arange(count, dtype=volume.dtype, device=volume.device) / (count - 1) - 1
        for count in volume.shape[2:]
    )
    return torch.stack(torch.meshgrid(z, y, x, indexing="ij")[::-1], dim=-1)


def _gaussians(grid: Tensor, keypoints: Tensor) -> Tensor:
    """Around keypoints [N, K, 3]: [N, K, D, H, W]."""
    squared = (grid - keypoints[:, :, None, None, None]).square().sum(dim=-1)
    return torch.exp(-0.5 * squared / KEYPOINT_VARIANCE)


# ------------------------------------------------------------------------------------------------------ generator (G)


class Spade(nn.Module):
    """Instance norm whose scale and shift come, place by place, from the warped features (Park et al., CVPR 2019)."""

    def __init__(self, channels: int, hidden: int = 128) -> None:
        super().__init__()
        self.mlp_shared = nn.Sequential(nn.Conv2d(256, hidden, 3, padding=1), nn.ReLU())
        self.mlp_gamma = nn.Conv2d(hidden, channels, 3, padding=1)
        self.mlp_beta = nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        """x [N, C, H, W] and features [N, 256, 64, 64] -> [N, C, H, W]."""
        shared = self.mlp_shared(F.interpolate(features, x.shape[2:], mode="nearest"))
        return F.instance_norm(x) * (1 + self.mlp_gamma(shared)) + self.mlp_beta(shared)


class SpadeBlock(nn.Module):
    """Residual block of two normed convolutions; the short way is normed and convolved too where channels change."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        middle = min(in_channels, out_channels)
        self.conv_0 = spectral_norm(nn.Conv2d(in_channels, middle, 3, padding=1))
        self.conv_1 = spectral_norm(nn.Conv2d(middle, out_channels, 3, padding=1))
        self.norm_0 = Spade(in_channels)
        self.norm_1 = Spade(middle)
        self.learned_shortcut = in_channels != out_channels
        if self.learned_shortcut:
            self.conv_s = spectral_norm(nn.Conv2d(in_channels, out_channels, 1, bias=False))
            self.norm_s = Spade(in_channels)

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', H, W]."""
        y = self.conv_0(F.leaky_relu(self.norm_0(x, features), 0.2))
        y = self.conv_1(F.leaky_relu(self.norm_1(y, features), 0.2))
        return y + (self.conv_s(self.norm_s(x, features)) if self.learned_shortcut else x)


class SpadeGenerator(nn.Module):
    """G of the paper."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Conv2d(256, 512, 3, padding=1)
        for index in range(6):
            self.add_module(f"G_middle_{index}", SpadeBlock(512, 512))
        self.up_0 = SpadeBlock(512, 256)
        self.up_1 = SpadeBlock(256, 64)
        self.conv_img = nn.Sequential(nn.Conv2d(64, 3 * 4, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, features: Tensor) -> Tensor:
        """[N, 256, 64, 64] -> [N, 3, 512, 512] in (0, 1)."""
        x = self.fc(features)
        for index in range(6):
            x = self.get_submodule(f"G_middle_{index}")(x, features)
        for block in (self.up_0, self.up_1):
            doubled = F.interpolate(x, scale_factor=2, mode="nearest")
            x = block(doubled, features)  # [N, 256, 128, 128], [N, 64, 256, 256]
        return self.conv_img(F.leaky_relu(x, 0.2)).sigmoid()


# --------------------------------------------------------------------------------- stitching (S) and retargeting (R)


class KeypointMlp(nn.Module):
    """Linear layers with ReLU between them, from keypoints and what is wanted of them to how they change."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.mlp = nn.Sequential(*layers[:-1])

    def forward(self, keypoints: Tensor, wanted: Tensor) -> Tensor:
        """Keypoints [N, 21, 3] and what is wanted [N, ...] -> [N, 63 or 65]."""
        return self.mlp(torch.cat([keypoints.flatten(1), wanted.flatten(1)], dim=1))


def stitched(stitching: KeypointMlp, source: Tensor, driving: Tensor) -> Tensor:
    """Adjust driven keypoints [N, 21, 3] so that the shoulders of the source [1, 21, 3] stay in their place."""
    change = stitching(source.expand_as(driving), driving)
    moved = driving + change[:, : 3 * K].unflatten(1, (K, 3))
    return moved + F.pad(change[:, 3 * K :], (0, 1))[:, None]  # x and y alone
