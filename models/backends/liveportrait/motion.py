# SPDX-License-Identifier: GPL-3.0-or-later
"""LivePortrait's motion: implicit keypoints of a face, and how those of one face are moved as another's are."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..rotation import rotation_in

Region = Literal["all", "exp", "pose", "lip", "eyes", "brows"]

K = 21  # keypoints
BINS = 66  # of each Euler angle
DEGREES_PER_BIN, FIRST_BIN = 3.0, -97.5
WIDTHS, DEPTHS = (96, 192, 384, 768), (3, 3, 9, 3)


class Keypoints(NamedTuple):
    """Keypoints of N faces as equation 2 of the paper composes them, x = s · (x_c R + δ) + t.

    canonical x_c [N, 21, 3]; rotation R [N, 3, 3], from the right; expression δ [N, 21, 3]; scale s [N, 1];
    translation t [N, 3], of which only x and y count.
    """

    canonical: Tensor
    rotation: Tensor
    expression: Tensor
    scale: Tensor
    translation: Tensor

    def composed(self) -> Tensor:
        """Where the keypoints are: [N, 21, 3], -1 to 1, x right, y down, z inwards."""
        in_plane = self.translation * self.translation.new_tensor([1, 1, 0])
        return self.scale[:, None] * (self.canonical @ self.rotation + self.expression) + in_plane[:, None]


class LayerNorm(nn.LayerNorm):
    """Layer norm over the channels of [N, C, H, W]."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class GlobalResponseNorm(nn.Module):
    """Strengthens channels that respond more than others do over the picture."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, 1, channels))
        self.beta = nn.Parameter(torch.zeros(1, 1, 1, channels))

    def forward(self, x: Tensor) -> Tensor:
        """[N, H, W, C] -> [N, H, W, C]."""
        response = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True)
        relative = response / (response.mean(dim=-1, keepdim=True) + 1e-6)
        return x + self.gamma * (x * relative) + self.beta


class Block(nn.Module):
    """ConvNeXt V2's block: depthwise convolution, then two linear layers at each place."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.grn = GlobalResponseNorm(4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        y = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        return x + self.pwconv2(self.grn(F.gelu(self.pwconv1(y)))).permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    """ConvNeXt V2 tiny (Woo et al., CVPR 2023) with a head for each part of the motion."""

    def __init__(self) -> None:
        super().__init__()
        self.downsample_layers = nn.ModuleList([nn.Sequential(nn.Conv2d(3, WIDTHS[0], 4, 4), LayerNorm(WIDTHS[0]))])
        for before, after in pairwise(WIDTHS):
            self.downsample_layers.append(nn.Sequential(LayerNorm(before), nn.Conv2d(before, after, 2, 2)))
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(width) for _ in range(depth))) for width, depth in zip(WIDTHS, DEPTHS, strict=True)
        )
        self.norm = nn.LayerNorm(WIDTHS[-1], eps=1e-6)
        self.fc_kp = nn.Linear(WIDTHS[-1], 3 * K)
        self.fc_scale = nn.Linear(WIDTHS[-1], 1)
        self.fc_pitch = nn.Linear(WIDTHS[-1], BINS)
        self.fc_yaw = nn.Linear(WIDTHS[-1], BINS)
        self.fc_roll = nn.Linear(WIDTHS[-1], BINS)
        self.fc_t = nn.Linear(WIDTHS[-1], 3)
        self.fc_exp = nn.Linear(WIDTHS[-1], 3 * K)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, 256, 256] -> [N, 768]."""
        for downsample, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(downsample(x))
        return self.norm(x.mean(dim=(2, 3)))


class MotionExtractor(nn.Module):
    """M of the paper: a picture's canonical keypoints, head pose and expression."""

    def __init__(self) -> None:
        super().__init__()
        self.detector = ConvNeXt()

    def forward(self, image: Tensor) -> Keypoints:
        """Pictures [N, 3, 256, 256] in [0, 1] -> keypoints."""
        net = self.detector
        features = net(image)
        pitch, yaw, roll = (mean_angle(head(features)) for head in (net.fc_pitch, net.fc_yaw, net.fc_roll))
        return Keypoints(
            canonical=net.fc_kp(features).unflatten(1, (K, 3)),
            rotation=rotation(pitch, yaw, roll),
            expression=net.fc_exp(features).unflatten(1, (K, 3)),
            scale=net.fc_scale(features),
            translation=net.fc_t(features),
        )


def mean_angle(logits: Tensor) -> Tensor:
    """Scores of the bins [N, 66] -> the expected angle [N] in rad."""
    bins = torch.arange(BINS, dtype=logits.dtype, device=logits.device)
    return torch.deg2rad((logits.softmax(dim=1) * bins).sum(dim=1) * DEGREES_PER_BIN + FIRST_BIN)


def rotation(pitch: Tensor, yaw: Tensor, roll: Tensor) -> Tensor:
    """Angles [N] about x, y and z, turned in this order -> [N, 3, 3] to multiply points with from the right."""
    return rotation_in(pitch, 1, 2, 3).mT @ rotation_in(yaw, 2, 0, 3).mT @ rotation_in(roll, 0, 1, 3).mT


# ------------------------------------------------------------------------------------------------ motion transfer

LIPS = (6, 12, 14, 17, 19, 20)
EYES = (11, 13, 15, 16, 18)
BROWS = (1, 2)  # those that the authors' demo moves to raise the eyebrows

# Absolute motion takes over these coordinates of an expression alone; the others carry the face's shape.
_WHOLE = (1, 2, 6, *range(11, K))
_PARTLY = ((3, 1), (4, 1), (5, 2), (8, 2), (9, 1), (9, 2))


def transferred(
    source: Keypoints, driving: Keypoints, reference: Keypoints | None = None, region: Region = "all"
) -> Keypoints:
    """Move the source's keypoints (1) as the driver's are (N): their change since `reference`, or, without it, their
    own expression and pose. `region` is what moves: "exp" the face but not the head, "pose" the head alone.
    """  # noqa: D205 - one sentence
    count = len(driving.canonical)
    source = Keypoints(*(values.expand(count, *values.shape[1:]) for values in source))
    if reference is None:
        moved, mask = driving._replace(scale=source.scale), _absolute_mask(region)
    else:
        moved = Keypoints(
            source.canonical,
            driving.rotation @ reference.rotation.mT @ source.rotation,
            source.expression + (driving.expression - reference.expression),
            source.scale * (driving.scale / reference.scale),
            source.translation + (driving.translation - reference.translation),
        )
        mask = _region_mask(region)
    pose = moved if region in ("all", "pose") else source
    return Keypoints(
        source.canonical,
        pose.rotation,
        torch.where(mask.to(source.expression.device), moved.expression, source.expression),
        moved.scale if region == "all" else source.scale,
        pose.translation,
    )


def _region_mask(region: Region) -> Tensor:
    """Which coordinates of an expression move: [21, 3]."""
    mask = torch.full((K, 3), region in ("all", "exp"))
    mask[list({"lip": LIPS, "eyes": EYES, "brows": BROWS}.get(region, ()))] = True
    return mask


def _absolute_mask(region: Region) -> Tensor:
    if region not in ("all", "exp"):
        return _region_mask(region)
    mask = torch.zeros(K, 3, dtype=torch.bool)
    mask[list(_WHOLE)] = True
    for point, axis in _PARTLY:
        mask[point, axis] = True
    return mask
