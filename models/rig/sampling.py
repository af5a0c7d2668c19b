# SPDX-License-Identifier: GPL-3.0-or-later
"""Dense motion read at the vertices of a rig."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from models.magnification.motion import Motion
from models.warp import sample


def sample_motion(
    motion: Motion, positions: NDArray[np.floating], to_image: NDArray[np.floating] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Read N motion fields at V points, bilinearly.

    Args:
        motion: flow [N, 2, H, W] in px of its own image (usually a crop of the avatar's picture), with confidence.
        positions: [V, 2] points in px of the picture; x right, y down, pixel centres at integers.
        to_image: [2, 3] affine map that takes a point of the picture to a point of the motion's image; None when they
            are the same image.

    Returns:
        displacement [N, V, 2] in px of the picture, and confidence [N, V] in [0, 1]. A point outside the motion's
        image has displacement 0 and confidence 0.
    """
    affine = np.eye(2, 3) if to_image is None else np.asarray(to_image, np.float64)
    points = np.asarray(positions, np.float64) @ affine[:, :2].T + affine[:, 2]
    height, width = motion.flow.shape[-2:]
    inside = np.all((points >= -0.5) & (points <= np.array([width, height]) - 0.5), axis=1)

    where = torch.from_numpy(points.T[None, :, None]).to(motion.flow)
    values = (
        sample(torch.cat([motion.flow, motion.confidence], 1), where)[:, :, 0].permute(0, 2, 1).double().cpu().numpy()
    )

    back = np.linalg.inv(affine[:, :2])
    displacement = values[..., :2] @ back.T * inside[:, None]
    return displacement.astype(np.float32), (values[..., 2] * inside).astype(np.float32)
