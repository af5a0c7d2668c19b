# SPDX-License-Identifier: GPL-3.0-or-later
"""The head's pose: a regressor, the transform it stands for, and how a driver's pose is put on another head."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..rotation import rotation_in
from .resnet import Block, Make, ResNet

POSE_SIZE = 128


class Pose(NamedTuple):
    """Scale along three axes, Euler angles (yaw, pitch, roll; rad) and translation of N heads, [N, 3] each."""

    scale: Tensor
    rotation: Tensor
    translation: Tensor

    def matrix(self) -> Tensor:
        """θ = S R T, [N, 4, 4], from the canonical volume to the picture's, both from -1 to 1."""
        yaw, pitch, roll = self.rotation.clamp(-math.pi / 2, math.pi).unbind(dim=1)
        rotation = rotation_in(yaw, 0, 1, 4) @ rotation_in(-pitch, 0, 2, 4) @ rotation_in(roll, 1, 2, 4)
        translation = torch.eye(4).to(rotation).repeat(len(rotation), 1, 1)
        translation[:, :3, 3] = self.translation
        return F.pad(self.scale, (0, 1), value=1).diag_embed() @ rotation @ translation

    def relative_to(self, reference: Pose, other: Pose) -> Pose:
        """Change the `other` head's pose as this one has changed since `reference`."""
        return Pose(
            other.scale * self.scale / reference.scale,
            other.rotation + self.rotation - reference.rotation,
            other.translation + self.translation - reference.translation,
        )

    def expand(self, count: int) -> Pose:
        """The one pose `count` times."""
        return Pose(*(values.expand(count, -1) for values in self))


class HeadPoseRegressor(ResNet):
    """ResNet-18 with nine outputs."""

    def __init__(self) -> None:
        super().__init__(Make(), Block, (2, 2, 2, 2), fc=nn.Linear(512, 9))

    def forward(self, image: Tensor) -> Pose:  # type: ignore[override]
        """Pictures [N, 3, H, W] in [0, 1] -> poses."""
        small = F.interpolate(image, (POSE_SIZE, POSE_SIZE), mode="bilinear", align_corners=False)
        return Pose(*self.fc(self.features(small)[-1].mean(dim=(2, 3))).split(3, dim=1))


def mixed(source: Tensor, driving: Tensor, rescale: bool = True) -> Tensor:
    """Give the source's head [1, 4, 4] the driver's rotation and translation [N, 4, 4]; its proportions stay its own.

    Both linear parts are taken apart into a rotation and a stretch (polar decomposition, A = R P). With `rescale` the
    source's stretch is brought to the driver's mean size and stands on the left, as θ = S R T has it; without, the
    order is T R P. Returns [N, 4, 4] whose last row is that of an affine map.
    """
    stretch = _polar(_linear(source.double()))[1]
    rotation, driving_stretch = _polar(_linear(driving.double()))
    translation = torch.eye(4).to(rotation).repeat(len(rotation), 1, 1)
    translation[:, :3, 3] = driving[:, :3, 3].double()
    if rescale:
        size = driving_stretch.mean(dim=(1, 2), keepdim=True) / stretch.mean()  # means over 4 × 4, as trained
        pose = size * stretch @ rotation @ translation
    else:
        pose = translation @ rotation @ stretch
    pose[:, 3] = translation[:, 3]
    return pose.to(driving)


def _linear(pose: Tensor) -> Tensor:
    """The pose without its translation."""
    return torch.cat([pose[:, :, :3], torch.eye(4).to(pose)[3].expand(len(pose), 1, 4).mT], dim=2)


def _polar(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """[N, 4, 4] -> the rotation R and the symmetric stretch P of A = R P."""
    u, values, v = torch.linalg.svd(matrix)
    return u @ v, v.mT @ (values[:, :, None] * v)
