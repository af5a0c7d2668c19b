# SPDX-License-Identifier: GPL-3.0-or-later
"""FOMM: First Order Motion Model for Image Animation (Siarohin et al., NeurIPS 2019), written from the paper.

An unsupervised detector finds K keypoints and, at each, the 2×2 jacobian of the motion from an abstract reference
frame R. The motions of source S and driving frame D from R are estimated, so that around every keypoint the backward
motion T_{S<-D} follows to first order (equation 4). A dense motion network picks, at every pixel, one of these K local
motions or the still background, and predicts what the source does not show; the generator warps the source's features
accordingly and paints in the rest.

Tensor names and shapes are those of the published vox-cpk and vox-adv-cpk checkpoints.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...backend_bridge.backends import find_backend
from .base import DrivingBatch, FaceImage
from .convolution import DoublingConv2d, in_layout_of
from .framing import DetectorFraming, Framing
from .precision import like_weights
from .preprocess import hull_area, resize
from .published import PublishedBackend, PublishedOptions

K = 10  # keypoints
KEYPOINT_VARIANCE = 0.01  # of the Gaussians that show the dense motion network where the keypoints are
SOFTMAX_TEMPERATURE = 0.1


class Keypoints(NamedTuple):
    """K keypoints of N pictures, and the first-order motion around each.

    value: [N, K, 2], x right, y down, -1 to 1 between the centres of the outermost pixels.
    jacobian: [N, K, 2, 2] of the motion from the abstract reference frame R, or None for a detector without it.
    """

    value: Tensor
    jacobian: Tensor | None


class DenseMotion(NamedTuple):
    """The dense motion network's output for N driving frames, on its grid of H×W (a quarter of the picture's).

    deformation: [N, H, W, 2], where in the source (as keypoints measure) each place of the frame comes from.
    occlusion_map: [N, 1, H, W] in (0, 1), 0 where the source does not show it.
    mask: [N, K + 1, H, W], the share of the background and of each keypoint's motion; they sum to 1.
    sparse_deformed: [N, K + 1, 3, H, W], the source warped by each of these motions alone.
    """

    deformation: Tensor
    occlusion_map: Tensor
    mask: Tensor
    sparse_deformed: Tensor


class Generated(NamedTuple):
    """prediction: [N, 3, H, W] in (0, 1); motion: what warped the source's features."""

    prediction: Tensor
    motion: DenseMotion


class EncodedSource(NamedTuple):
    """What the generator needs of the source picture whatever the motion: compute it once.

    image: [1, 3, H, W]; small: [1, 3, H/4, W/4]; features: [1, 256, H/4, W/4].
    """

    image: Tensor
    small: Tensor
    features: Tensor


# ----------------------------------------------------------------------------------------------- building blocks


class ConvBlock(nn.Module):
    """Convolution, batch norm, ReLU; the size stays."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', H, W]."""
        return F.relu(self.norm(self.conv(x)), inplace=True)

    def normed(self) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
        """See `convolution.Normed`."""
        return [(self.conv, self.norm)]


class DownBlock(ConvBlock):
    """A `ConvBlock`, then the mean of each 2×2 square."""

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', H/2, W/2]."""
        return F.avg_pool2d(super().forward(x), 2)


class UpBlock(ConvBlock):
    """Every pixel becomes a 2×2 square, then a `ConvBlock`: [N, C, H, W] -> [N, C', 2H, 2W]."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels)
        self.conv = DoublingConv2d(in_channels, out_channels)


class ResBlock(nn.Module):
    """Pre-activation residual block: twice batch norm, ReLU, convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(channels)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        y = self.conv1(F.relu(self.norm1(x), inplace=True))
        return x + self.conv2(F.relu(self.norm2(y), inplace=True))

    def normed(self) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
        """See `convolution.Normed`."""
        return [(self.conv1, self.norm2)]


class HourglassEncoder(nn.Module):
    """The narrowing half of the hourglass; it returns the picture at every size, full size first."""

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.down_blocks = nn.ModuleList(DownBlock(before, after) for before, after in pairwise(channels))

    def forward(self, x: Tensor) -> list[Tensor]:
        """[N, C0, H, W] -> [N, Ci, H/2^i, W/2^i] for i = 0 ... 5."""
        pyramid = [x]
        for block in self.down_blocks:
            pyramid.append(block(pyramid[-1]))
        return pyramid


class HourglassDecoder(nn.Module):
    """The widening half: doubles the size and appends what the encoder had at that size."""

    def __init__(self, channels: list[int], width: int) -> None:
        super().__init__()
        outputs = [width, *channels[1:-1]][::-1]
        inputs = [channels[-1], *(2 * c for c in channels[-2:0:-1])]
        self.up_blocks = nn.ModuleList(UpBlock(before, after) for before, after in zip(inputs, outputs, strict=True))

    def forward(self, pyramid: list[Tensor]) -> Tensor:
        """The encoder's pyramid -> [N, width + C0, H, W]."""
        *skips, x = pyramid
        for block, skip in zip(self.up_blocks, reversed(skips), strict=True):
            x = torch.cat([block(x), skip], dim=1)
        return x


class Hourglass(nn.Module):
    """U-Net of five levels, as both the keypoint detector and the dense motion network use it."""

    def __init__(self, in_channels: int, width: int, max_channels: int = 1024, levels: int = 5) -> None:
        super().__init__()
        channels = [in_channels, *(min(max_channels, width * 2**level) for level in range(1, levels + 1))]
        self.encoder = HourglassEncoder(channels)
        self.decoder = HourglassDecoder(channels, width)
        self.out_channels = width + in_channels

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, width + C, H, W]."""
        return self.decoder(self.encoder(x))


class AntiAliasedDownsample(nn.Module):
    """Gaussian blur against aliasing, then every `step`-th pixel. The kernel is a constant stored in the checkpoint."""

    def __init__(self, channels: int = 3, step: int = 4) -> None:
        super().__init__()
        self.step = step
        sigma = (step - 1) / 2
        radius = round(4 * sigma)
        gaussian = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
        kernel = gaussian[:, None] * gaussian
        self.register_buffer("weight", (kernel / kernel.sum()).repeat(channels, 1, 1, 1))  # [C, 1, 13, 13]

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H/4, W/4]."""
        weight = self.get_buffer("weight")
        return F.conv2d(x, weight, stride=self.step, padding=weight.shape[-1] // 2, groups=len(weight))


def coordinate_grid(height: int, width: int, like: Tensor) -> Tensor:
    """Return [H, W, 2] coordinates (x, y) of pixel centres, -1 to 1 inclusive, with the type and device of `like`."""
    x = 2 * torch.arange(width, dtype=like.dtype, device=like.device) / (width - 1) - 1
    y = 2 * torch.arange(height, dtype=like.dtype, device=like.device) / (height - 1) - 1
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


def inverse_2x2(matrix: Tensor) -> Tensor:
    """Inverse of [..., 2, 2] in closed form: exact to rounding, exportable, and no solver call on the GPU."""
    a, b, c, d = matrix.flatten(-2).unbind(-1)
    adjugate = torch.stack([d, -b, -c, a], dim=-1).unflatten(-1, (2, 2))
    return adjugate / (a * d - b * c)[..., None, None]


def warp(x: Tensor, deformation: Tensor) -> Tensor:
    """Sample x [N, C, H, W] at `deformation` [N, h, w, 2], enlarged to H×W; outside the picture is 0.

    align_corners is False though the grid runs from -1 to 1 inclusive: so the authors' code runs on every torch since
    1.3, while the networks were trained under torch 1.0, which aligned corners. The difference is under a pixel.
    """
    if deformation.shape[1:3] != x.shape[2:]:
        deformation = F.interpolate(
            deformation.permute(0, 3, 1, 2), x.shape[2:], mode="bilinear", align_corners=False
        ).permute(0, 2, 3, 1)
    return in_layout_of(F.grid_sample(x.expand(len(deformation), -1, -1, -1), deformation, align_corners=False), x)


# ------------------------------------------------------------------------------------------------- the networks


class KeypointDetector(nn.Module):
    """Keypoints as the mean position under K heat maps, jacobians as the mean of predicted maps under the same ones."""

    def __init__(self, with_jacobian: bool = True) -> None:
        super().__init__()
        self.predictor = Hourglass(in_channels=3, width=32)
        self.kp = nn.Conv2d(self.predictor.out_channels, K, 7)
        if with_jacobian:
            self.jacobian = nn.Conv2d(self.predictor.out_channels, K * 4, 7)
        self.down = AntiAliasedDownsample()

    def forward(self, image: Tensor) -> Keypoints:
        """Pictures [N, 3, 256, 256] in [0, 1] -> keypoints."""
        return self.locate(self.predictor(self.down(image)))[0]

    def locate(self, features: Tensor) -> tuple[Keypoints, Tensor]:
        """The hourglass's features [N, 35, 64, 64] -> keypoints, and the heat maps [N, K, 58, 58] they are means of."""
        logits = self.kp(features)  # [N, K, 58, 58]: no padding
        heatmap = (logits.flatten(2) / SOFTMAX_TEMPERATURE).softmax(dim=-1).view_as(logits)
        grid = coordinate_grid(heatmap.shape[2], heatmap.shape[3], like=heatmap)
        value = (heatmap[..., None] * grid).sum(dim=(2, 3))
        if not hasattr(self, "jacobian"):
            return Keypoints(value, None), heatmap
        maps = self.jacobian(features).unflatten(1, (K, 4))  # [N, K, 4, 58, 58]
        jacobian = (heatmap[:, :, None] * maps).sum(dim=(3, 4)).unflatten(-1, (2, 2))
        return Keypoints(value, jacobian), heatmap


class DenseMotionNetwork(nn.Module):
    """From K motions around keypoints to one motion for every pixel, and what the source can't show."""

    def __init__(self) -> None:
        super().__init__()
        self.hourglass = Hourglass(in_channels=(K + 1) * (1 + 3), width=64)
        self.mask = nn.Conv2d(self.hourglass.out_channels, K + 1, 7, padding=3)
        self.occlusion = nn.Conv2d(self.hourglass.out_channels, 1, 7, padding=3)
        self.down = AntiAliasedDownsample()

    def forward(self, small: Tensor, source: Keypoints, driving: Keypoints) -> DenseMotion:
        """Take `small`, the source [1, 3, H, W] after `down`, and keypoints of source (1) and driving frames (N)."""
        height, width = small.shape[2:]
        grid = coordinate_grid(height, width, like=small)
        motions = self.sparse_motions(grid, source, driving)  # [N, K+1, H, W, 2]
        small = small.expand(len(motions), -1, -1, -1)
        warped = F.grid_sample(
            small, motions.flatten(1, 2), align_corners=False
        )  # one below the other: [N, 3, (K+1)H, W]
        warped = warped.unflatten(2, (K + 1, height)).transpose(1, 2)  # [N, K+1, 3, H, W]

        features = self.hourglass(torch.cat([self.heatmaps(grid, source, driving), warped], dim=2).flatten(1, 2))
        mask = self.mask(features).softmax(dim=1)
        deformation = torch.einsum("nkhw,nkhwc->nhwc", mask, motions)
        return DenseMotion(deformation, self.occlusion(features).sigmoid(), mask, warped)

    @staticmethod
    def sparse_motions(grid: Tensor, source: Keypoints, driving: Keypoints) -> Tensor:
        """Equation 4: T_{S<-D}(z) = p_S + J_S J_D^-1 (z - p_D) around each keypoint; the background stays: z.

        Returns [N, K + 1, H, W, 2], background first.
        """
        offset = grid - driving.value[:, :, None, None]  # z - p_D: [N, K, H, W, 2]
        if source.jacobian is not None and driving.jacobian is not None:
            J = source.jacobian @ inverse_2x2(driving.jacobian)  # [N, K, 2, 2]
            offset = torch.einsum("nkij,nkhwj->nkhwi", J, offset)
        motions = offset + source.value[:, :, None, None]
        return torch.cat([grid.expand(len(motions), 1, -1, -1, -1), motions], dim=1)

    @staticmethod
    def heatmaps(grid: Tensor, source: Keypoints, driving: Keypoints) -> Tensor:
        """Gaussians at the driving keypoints less those at the source's, [N, K + 1, 1, H, W]; 0 for the background."""

        def gaussians(keypoints: Keypoints) -> Tensor:
            squared = (grid - keypoints.value[:, :, None, None]).square().sum(dim=-1)
            return torch.exp(-0.5 * squared / KEYPOINT_VARIANCE)

        return F.pad(gaussians(driving) - gaussians(source), (0, 0, 0, 0, 1, 0))[:, :, None]


class OcclusionAwareGenerator(nn.Module):
    """Encodes the source, warps its features with the dense motion, hides what is occluded, and paints the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.dense_motion_network = DenseMotionNetwork()
        self.first = ConvBlock(3, 64, kernel_size=7)
        self.down_blocks = nn.ModuleList([DownBlock(64, 128), DownBlock(128, 256)])
        self.up_blocks = nn.ModuleList([UpBlock(256, 128), UpBlock(128, 64)])
        self.bottleneck = nn.Sequential(OrderedDict((f"r{i}", ResBlock(256)) for i in range(6)))
        self.final = nn.Conv2d(64, 3, 7, padding=3)

    def encode(self, image: Tensor) -> EncodedSource:
        """The part that depends on the source picture [1, 3, 256, 256] alone."""
        features = self.first(image)
        for block in self.down_blocks:
            features = block(features)
        return EncodedSource(image, self.dense_motion_network.down(image), features)

    def forward(self, encoded: EncodedSource, source: Keypoints, driving: Keypoints) -> Generated:
        """Return the encoded source animated by N sets of driving keypoints."""
        motion = self.dense_motion_network(encoded.small, source, driving)
        x = warp(encoded.features, motion.deformation) * motion.occlusion_map  # [N, 256, 64, 64]
        x = self.bottleneck(like_weights(x, self.bottleneck))
        for block in self.up_blocks:
            x = block(x)  # [N, 128, 128, 128], [N, 64, 256, 256]
        return Generated(self.final(x).float().sigmoid(), motion)


# ------------------------------------------------------------------------------------------------- the backend


def movement_scale(source: Keypoints, reference: Keypoints) -> float:
    """How much larger the source's face is than the driver's: the ratio of the keypoints' hulls, as a length."""
    areas = [hull_area(keypoints.value[0].float().cpu().numpy()) for keypoints in (source, reference)]
    return float((areas[0] / areas[1]) ** 0.5)


def relative_keypoints(source: Keypoints, driving: Keypoints, reference: Keypoints, scale: float = 1.0) -> Keypoints:
    """Apply to the source what changed from the reference to the driving frame (section 3.3 of the paper)."""
    value = (driving.value - reference.value) * scale + source.value
    if source.jacobian is None or driving.jacobian is None or reference.jacobian is None:
        return Keypoints(value, None)
    return Keypoints(value, driving.jacobian @ inverse_2x2(reference.jacobian) @ source.jacobian)


@dataclass(frozen=True)
class FommOptions(PublishedOptions):
    """`relative`: transfer the change since the reference, not the driver's own keypoints.

    `adapt_movement_scale`: multiply relative movement by how much larger the avatar's face is. `best_frame`: take for
    reference the driving frame that is posed most like the avatar, not one at rest.
    """

    relative: bool = True
    adapt_movement_scale: bool = True
    best_frame: bool = False


class FommState(NamedTuple):
    """The avatar, encoded, and both neutral frames' keypoints."""

    encoded: EncodedSource
    source: Keypoints
    reference: Keypoints
    scale: float


class Fomm(PublishedBackend):
    """The First Order Motion Model as a backend; parts `generator` and `kp_detector`."""

    info = find_backend("fomm")
    Options = FommOptions
    painting = ("generator.bottleneck", "generator.up_blocks", "generator.final")

    @property
    def framing(self) -> Framing:
        """The crop of the authors' `crop-video.py`."""
        return DetectorFraming()

    @classmethod
    def build_parts(cls) -> dict[str, nn.Module]:
        """The two networks of the published checkpoint."""
        return {"generator": OcclusionAwareGenerator(), "kp_detector": KeypointDetector()}

    @torch.inference_mode()
    def encode_source(self, source: FaceImage, reference: FaceImage) -> FommState:
        """Encode the avatar once and find the keypoints of both neutral frames."""
        image, neutral = (self._prepared(face.image) for face in (source, reference))
        source_keypoints, reference_keypoints = self.kp_detector(image), self.kp_detector(neutral)
        scale = movement_scale(source_keypoints, reference_keypoints) if self.options.adapt_movement_scale else 1.0
        encoded = self.generator.encode(image)
        return FommState(encoded, source_keypoints, reference_keypoints, scale)

    def generate(self, state: FommState, driving: DrivingBatch) -> Tensor:
        """N driving frames -> [N, 3, 256, 256]."""
        keypoints = self.kp_detector(self._prepared(driving.frames))
        if self.options.relative:
            keypoints = relative_keypoints(state.source, keypoints, state.reference, state.scale)
        return self.generator(state.encoded, state.source, keypoints).prediction

    def _prepared(self, image: Tensor) -> Tensor:
        image = resize(image.to(self.device, torch.float32), 256)
        return image.contiguous(memory_format=torch.channels_last)
