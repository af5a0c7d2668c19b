# SPDX-License-Identifier: GPL-3.0-or-later
"""MetaPortrait's base model: Identity-Preserving Talking Head Generation with Fast Personalized Adaptation
(Zhang et al., CVPR 2023), written from the paper.

The motion is given by dense landmarks, drawn as coloured lines. A warping network takes the source picture and the
line drawings of source and driving frame, and predicts for each place of the driving frame its position in the source
and its occlusion there. A refinement network then paints the picture: from the identity vector alone upwards,
modulated at every size by the warped source features (attributes) and by the identity, with a learnt mask between
the two.

Tensor names and shapes are those of `generator` in the published ckpt_base.pth.tar. Spectral norm stays as it was
trained: the stored singular vectors give each weight's norm, and no power iteration is done.
"""  # noqa: D205 - the paper's title is longer than a line

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from ..convolution import DoublingConv2d, in_layout_of
from ..fomm import coordinate_grid
from ..precision import like_weights

SIZE = 256
FLOW_SIZE = 64
GAZE_VARIANCE = 0.005
EPSILON = 1e-5  # of the instance norms
STYLE = 512
IDENTITY = 256
PYRAMID_SIZES = (32, 64, 128, 256)
CONDITIONS = 1 + 8 + 6 + 3  # occlusion, gaze heat maps, both line drawings, the driving mouth's lines


class Warping(NamedTuple):
    """The warping network's output for N driving frames.

    deformation: [N, 64, 64, 2], where in the source (-1 to 1, x right, y down) each place of the frame lies.
    occlusion_map: [N, 1, 256, 256] in (0, 1), 0 where the source does not show it.
    style: [N, 512], the unit-length motion code that steered the network.
    """

    deformation: Tensor
    occlusion_map: Tensor
    style: Tensor


def resize(x: Tensor, size: int) -> Tensor:
    """Bilinear, [N, C, H, W] -> [N, C, size, size]."""
    return x if x.shape[-1] == size else F.interpolate(x, (size, size), mode="bilinear", align_corners=False)


def warp(x: Tensor, deformation: Tensor) -> Tensor:
    """Sample x [1 or N, C, H, W] at the deformation [N, 64, 64, 2], mirrored at the borders."""
    grid = resize(deformation.permute(0, 3, 1, 2), x.shape[-1]).permute(0, 2, 3, 1)
    warped = F.grid_sample(x.expand(len(grid), -1, -1, -1), grid, padding_mode="reflection", align_corners=False)
    return in_layout_of(warped, x)


def instance_norm(x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
    """Instance norm of [N, C, H, W], times `scale` and plus `shift` [N, C, 1, 1].

    In the channels' own memory layout; PyTorch's would copy a picture stored channels last, and gives a third of the
    speed.
    """
    centred = x - x.mean(dim=(2, 3), keepdim=True)
    factor = (centred.square().mean(dim=(2, 3), keepdim=True) + EPSILON).rsqrt()
    centred.mul_(factor if scale is None else factor * scale)
    return centred if shift is None else centred.add_(shift)


# ------------------------------------------------------------------------------------------------ warping network


class LadderNetwork(nn.Module):
    """From the source picture and both line drawings to one code for the motion between them."""

    def __init__(self) -> None:
        super().__init__()
        for level, (before, after) in enumerate(pairwise((9, 64, 128, 256, 512, 512, 512)), start=1):
            conv = spectral_norm(nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False))
            self.add_module(f"layer{level}", nn.Sequential(conv, nn.InstanceNorm2d(after)))
        self.fc = nn.Linear(512 * 4 * 4, STYLE)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 9, 256, 256] -> [N, 512] of length 1."""
        for level in range(1, 7):
            x = F.leaky_relu(self.get_submodule(f"layer{level}")(x), 0.2)
        return F.normalize(self.fc(x.flatten(1)))


class StyleNorm(nn.Module):
    """Instance norm whose scale and shift are computed from the motion code."""

    def __init__(self, channels: int, hidden: int = 128) -> None:
        super().__init__()
        self.mlp_shared = nn.Sequential(nn.Linear(STYLE, hidden), nn.ReLU())
        self.mlp_gamma = nn.Linear(hidden, channels)
        self.mlp_beta = nn.Linear(hidden, channels)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """[N, C, H, W] and [N, 512] -> [N, C, H, W]."""
        shared = self.mlp_shared(style)
        gamma, beta = (mlp(shared)[:, :, None, None] for mlp in (self.mlp_gamma, self.mlp_beta))
        return instance_norm(x, 1 + gamma, beta)


class StyleConv(nn.Module):
    """Convolution, `StyleNorm`, ReLU; the size stays."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm = StyleNorm(out_channels)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', H, W]."""
        return F.relu(self.norm(self.conv(x), style), inplace=True)


class StyleDownBlock(StyleConv):
    """A `StyleConv`, halved, then another."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels)
        self.SameBlock2d = StyleConv(out_channels, out_channels)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', H/2, W/2]."""
        return self.SameBlock2d(F.avg_pool2d(super().forward(x, style), 2), style)


class StyleUpBlock(StyleConv):
    """Doubled, then two `StyleConv`s."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels)
        self.conv = DoublingConv2d(in_channels, out_channels)
        self.SameBlock2d = StyleConv(out_channels, out_channels)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', 2H, 2W]."""
        return self.SameBlock2d(super().forward(x, style), style)


class Blocks(nn.Module):
    """A row of blocks under the name that the checkpoint gives it."""

    def __init__(self, name: str, blocks: list[nn.Module]) -> None:
        super().__init__()
        self.add_module(name, nn.ModuleList(blocks))


class StyleHourglass(nn.Module):
    """Down five times from 256 to 8, up three times to 64, with skip connections by concatenation."""

    def __init__(self) -> None:
        super().__init__()
        widths = (9, 128, 256, 512, 1024, 1024)
        self.encoder = Blocks("down_blocks", [StyleDownBlock(a, b) for a, b in pairwise(widths)])
        self.decoder = Blocks("up_blocks", [StyleUpBlock(1024, 1024), StyleUpBlock(2048, 512), StyleUpBlock(1024, 256)])

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """[N, 9, 256, 256] -> [N, 512, 64, 64]."""
        skips = [x]
        for block in self.encoder.get_submodule("down_blocks").children():
            skips.append(block(skips[-1], style))
        x = skips.pop()
        for block in self.decoder.get_submodule("up_blocks").children():
            x = torch.cat([block(x, style), skips.pop()], dim=1)
        return x


class LayerNorm2d(nn.Module):
    """Norm over channels and places together, with a scale and shift for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        return F.layer_norm(x, x.shape[1:]) * self.weight + self.bias


class DenseMotionNetwork(nn.Module):
    """Flow and occlusion at a quarter of the picture's size."""

    def __init__(self) -> None:
        super().__init__()
        self.hourglass = StyleHourglass()
        self.reger = self._head(2)
        self.occlusion_net = self._head(1)

    @staticmethod
    def _head(channels: int) -> nn.Sequential:
        return nn.Sequential(LayerNorm2d(512), nn.LeakyReLU(0.1), nn.Conv2d(512, channels, 7, padding=3))

    def forward(self, x: Tensor, style: Tensor) -> Warping:
        """The source picture and both line drawings [N, 9, 256, 256] -> how to warp."""
        features = self.hourglass(x, style)  # [N, 512, 64, 64]
        flow = self.reger(features).permute(0, 2, 3, 1)  # px of the 64 x 64 grid
        deformation = coordinate_grid(FLOW_SIZE, FLOW_SIZE, like=flow) + flow * 2 / (FLOW_SIZE - 1)
        return Warping(deformation, resize(self.occlusion_net(features).sigmoid(), SIZE), style)


# ------------------------------------------------------------------------------------------------- source features


class FeatureDownBlock(nn.Module):
    """Convolution, instance norm with learnt scale, ReLU, halved."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm = nn.InstanceNorm2d(out_channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', H/2, W/2]."""
        return F.avg_pool2d(F.relu(self.norm(self.conv(x))), 2)


class FeatureUpBlock(nn.Module):
    """Doubled, then convolution, instance norm with learnt scale, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = DoublingConv2d(in_channels, out_channels)
        self.norm = nn.InstanceNorm2d(out_channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', 2H, 2W]."""
        return F.relu(self.norm(self.conv(x)))


class FeatureEncoder(nn.Module):
    """U-Net over the source picture; its decoder's features at every size are what is warped."""

    def __init__(self) -> None:
        super().__init__()
        downs = [FeatureDownBlock(a, b) for a, b in pairwise((3, 128, 256, 512))]
        self.encoder = Blocks("down_blocks", [*downs])
        self.decoder = Blocks(
            "up_blocks", [FeatureUpBlock(512, 256), FeatureUpBlock(512, 128), FeatureUpBlock(256, 64)]
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """[1, 3, 256, 256] -> [1, 512, 32, 32], [1, 256, 64, 64], [1, 128, 128, 128], [1, 67, 256, 256]."""
        skips = [image]
        for block in self.encoder.get_submodule("down_blocks").children():
            skips.append(block(skips[-1]))
        x = skips.pop()
        features = [x]
        for block in self.decoder.get_submodule("up_blocks").children():
            features.append(block(x))
            x = torch.cat([features[-1], skips.pop()], dim=1)
        return [*features[:-1], x]


# ---------------------------------------------------------------------------------------------- refinement network


class EqualisedLinear(nn.Module):
    """Linear layer stored with weights of unit variance and scaled when used (equalised learning rate)."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight_orig = nn.Parameter(torch.randn(out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(out_features))
        self.scale = math.sqrt(2 / in_features)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in] -> [N, out]."""
        return F.linear(x, self.weight_orig * self.scale, self.bias)


class IdentityStyle(nn.Module):
    """Scale and shift for every channel from the identity vector."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.style = nn.ModuleDict({"linear": EqualisedLinear(IDENTITY, 2 * channels)})

    def forward(self, normalised: Tensor, identity: Tensor) -> Tensor:
        """[N, C, H, W] and [1 or N, 256] -> [N, C, H, W]."""
        gamma, beta = self.style["linear"](identity)[:, :, None, None].chunk(2, dim=1)
        return torch.addcmul(beta, normalised, gamma)


class AttributeIdentityNorm(nn.Module):
    """Instance norm modulated twice, by the attributes at each place and by the identity, and mixed by a mask."""

    def __init__(self, channels: int, condition_channels: int, hidden: int = 128) -> None:
        super().__init__()
        self.mlp_shared = nn.Sequential(nn.Conv2d(condition_channels, hidden, 3, padding=1), nn.ReLU())
        self.mlp_gamma = nn.Conv2d(hidden, channels, 3, padding=1)
        self.mlp_beta = nn.Conv2d(hidden, channels, 3, padding=1)
        self.mlp_attention = nn.Sequential(nn.Conv2d(channels, 1, 3, padding=1), nn.Sigmoid())
        self.adain = IdentityStyle(channels)

    def forward(self, x: Tensor, condition: Tensor, identity: Tensor) -> Tensor:
        """x [N, C, H, W], condition [N, C', H, W], identity [1 or N, 256] -> [N, C, H, W]."""
        normalised = instance_norm(x)
        shared = self.mlp_shared(condition)
        gamma, beta = self.mlp_gamma(shared), self.mlp_beta(shared)
        attributes = beta.add_(normalised).addcmul_(normalised, gamma)  # (1 + gamma) * normalised + beta
        return self.adain(normalised, identity).lerp_(attributes, self.mlp_attention(x))


class RefineBlock(nn.Module):
    """Residual block of two normed convolutions; the short way is normed and convolved too where channels change."""

    def __init__(self, in_channels: int, out_channels: int, condition_channels: int) -> None:
        super().__init__()
        self.conv_0 = spectral_norm(nn.Conv2d(in_channels, out_channels, 3, padding=1))
        self.conv_1 = spectral_norm(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        self.norm_0 = AttributeIdentityNorm(in_channels, condition_channels)
        self.norm_1 = AttributeIdentityNorm(out_channels, condition_channels)
        self.learned_shortcut = in_channels != out_channels
        if self.learned_shortcut:
            self.conv_s = spectral_norm(nn.Conv2d(in_channels, out_channels, 1, bias=False))
            self.norm_s = AttributeIdentityNorm(in_channels, condition_channels)

    def forward(self, x: Tensor, condition: Tensor, identity: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', H, W]; the condition comes at any size."""
        condition = resize(condition, x.shape[-1])
        y = self.conv_0(F.leaky_relu(self.norm_0(x, condition, identity), 0.2))
        y = self.conv_1(F.leaky_relu(self.norm_1(y, condition, identity), 0.2))
        return y + (self.conv_s(self.norm_s(x, condition, identity)) if self.learned_shortcut else x)


class RefineNetwork(nn.Module):
    """From the identity vector to the picture, 4 x 4 to 256 x 256, conditioned by the pyramid of warped features."""

    def __init__(self) -> None:
        super().__init__()
        coarse, *finer = (width + CONDITIONS for width in (512, 256, 128, 64))
        self.conv1 = spectral_norm(nn.ConvTranspose2d(IDENTITY, 512, 4))
        self.head_0 = RefineBlock(512, 512, coarse)
        self.G_middle_0 = RefineBlock(512, 512, coarse)
        self.G_middle_1 = RefineBlock(512, 512, coarse)
        self.up_0 = RefineBlock(512, 256, coarse)
        self.up_1 = RefineBlock(256, 128, finer[0])
        self.up_2 = RefineBlock(128, 64, finer[1])
        self.up_3 = RefineBlock(64, 32, finer[2])
        self.conv_img = nn.Conv2d(32, 3, 3, padding=1)

    def forward(self, pyramid: list[Tensor], identity: Tensor) -> Tensor:
        """Conditions at 32, 64, 128 and 256, and the identity [1 or N, 256] -> [N, 3, 256, 256] in (-1, 1)."""
        identity, *pyramid = (like_weights(x, self) for x in (identity, *pyramid))
        x = self.conv1(identity[:, :, None, None]).expand(len(pyramid[0]), -1, -1, -1)  # [N, 512, 4, 4]
        x = self.head_0(x, pyramid[0], identity)
        for block, condition in (
            (self.G_middle_0, pyramid[0]),  # 8
            (self.G_middle_1, pyramid[0]),  # 16
            (self.up_0, pyramid[0]),  # 32
            (self.up_1, pyramid[1]),  # 64
            (self.up_2, pyramid[2]),  # 128
            (self.up_3, pyramid[3]),  # 256
        ):
            x = block(resize(x, 2 * x.shape[-1]), condition, identity)
        return self.conv_img(F.leaky_relu(x, 0.2)).float().tanh()


# ---------------------------------------------------------------------------------------------------- the base model


class EncodedSource(NamedTuple):
    """What the model needs of the source whatever the motion: compute it once.

    image: [1, 3, 256, 256]; line: its line drawing [1, 3, 256, 256]; features: see `FeatureEncoder`, the last after
    `fuse_high_res`; identity: [1, 256].
    """

    image: Tensor
    line: Tensor
    features: list[Tensor]
    identity: Tensor


class Driving(NamedTuple):
    """The model's input for N driving frames, which are no part of it themselves.

    line: line drawings [N, 3, 256, 256] in [0, 1]; mouth_line: the same inside the mouth's box and 0 outside;
    gaze: four landmarks around each iris, [N, 8, 2] in [-1, 1].
    """

    line: Tensor
    mouth_line: Tensor
    gaze: Tensor


class Generated(NamedTuple):
    """prediction: [N, 3, 256, 256] in (-1, 1); pyramid: the refinement's conditions; warping: what warped them."""

    prediction: Tensor
    pyramid: list[Tensor]
    warping: Warping


class Generator(nn.Module):
    """The base model: warping, then refinement."""

    def __init__(self) -> None:
        super().__init__()
        self.ladder_network = LadderNetwork()
        self.dense_motion_network = DenseMotionNetwork()
        self.feature_encoder = FeatureEncoder()
        self.fuse_high_res = nn.Conv2d(64 + 3, 64, 3, padding=1)
        self.SPDAE_G = RefineNetwork()

    def encode(self, image: Tensor, line: Tensor, identity: Tensor) -> EncodedSource:
        """The part that depends on the source alone."""
        *features, finest = self.feature_encoder(image)
        return EncodedSource(image, line, [*features, self.fuse_high_res(finest)], identity)

    def warping(self, source: EncodedSource, line: Tensor) -> Warping:
        """The first stage."""
        x = torch.cat([source.image, source.line], dim=1).expand(len(line), -1, -1, -1)
        x = torch.cat([x, line], dim=1)
        return self.dense_motion_network(x, self.ladder_network(x))

    def conditions(self, source: EncodedSource, driving: Driving, warping: Warping) -> list[Tensor]:
        """Warped source features with what else the refinement is given, at 32, 64, 128 and 256.

        The line drawings go through all sizes one after another, 256 -> 32 -> 64 -> 128 -> 256, each made from the one
        before and not from the original: the networks were trained so.
        """
        lines = torch.cat([source.line.expand_as(driving.line), driving.line, driving.mouth_line], dim=1)
        pyramid = []
        for size, features in zip(PYRAMID_SIZES, source.features, strict=True):
            lines = resize(lines, size)
            gaze = gaze_heatmaps(driving.gaze, size)
            occlusion = resize(warping.occlusion_map, size)
            pyramid.append(torch.cat([warp(features, warping.deformation), occlusion, gaze, lines], dim=1))
        return pyramid

    def forward(self, source: EncodedSource, driving: Driving) -> Generated:
        """Return the encoded source animated by N driving frames."""
        warping = self.warping(source, driving.line)
        pyramid = self.conditions(source, driving, warping)
        return Generated(self.SPDAE_G(pyramid, source.identity), pyramid, warping)


def gaze_heatmaps(points: Tensor, size: int) -> Tensor:
    """Gaussians at [N, P, 2] points in [-1, 1] -> [N, P, size, size]."""
    offset = coordinate_grid(size, size, like=points) - points[:, :, None, None]
    return torch.exp(-0.5 * offset.square().sum(dim=-1) / GAZE_VARIANCE)
