# SPDX-License-Identifier: GPL-3.0-or-later
"""The rig basis on the picture in which motion is measured, and the motion equations at its sites."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...backend_bridge.rig.basis import RigBasis
from ..face.correspondence import Correspondence
from ..magnification.filters import mean_pool
from ..warp import sample
from .equations import motion_equations, texture_of
from .sites import Sites


class RigObserver:
    """Gathers motion equations at the rig's sites frame by frame, so that no frame need be kept.

    What `observe` returns for all frames together, with `sites`, is the input of `solve`.
    """

    def __init__(self, basis: RigBasis, reference: Tensor, depth: Tensor | None = None) -> None:
        """`basis` lies on the picture `reference` [1, 3, H, W], H and W even.

        `depth` [1, 1, H, W], any unit, is that of the head in the picture where it is not the rig's own: it is what the
        head's motion depends on. Raises `InputError` when nothing of the rig is visible there.
        """
        height, width = reference.shape[-2:]
        if basis.image_size != (width, height):
            raise ValueError(f"the basis is for a picture of {basis.image_size}, not of {(width, height)}")
        self.basis = basis
        self.sites = Sites.of(basis, (width // 2, height // 2))
        if depth is not None:
            self.sites = replace(self.sites, depth=read_field(depth, self.sites.position)[0, :, 0])
        self._reference = reference
        self._texture = texture_of(reference)

    def read(self, field: Tensor) -> NDArray[np.float64]:
        """Return a field [N, C, H, W] of the picture at the sites, [N, S, C]."""
        return read_field(field, self.sites.position)

    @torch.inference_mode()
    def observe(
        self, frames: Tensor, flow: Tensor, weight: Tensor | None = None, copied: Tensor | None = None
    ) -> NDArray[np.float32]:
        """Return equations [N, S, 6] of frames [N, 3, H, W] whose motion is roughly `flow` [N, 2, H, W] px.

        The motion is the whole one, the head's included. weight: [N, 1, H, W] in [0, 1], of the equations; copied: the
        same, what a codec copied (`motion_equations`).
        """
        equations = motion_equations(self._reference, frames, flow, copied=copied, base=self._texture)
        if weight is not None:
            equations = equations * mean_pool(weight, 2)
        return self.sites.gather(equations.cpu().numpy()).astype(np.float32)


def on_crop(basis: RigBasis, to_crop: NDArray[np.floating], size: int, gain: float = 1.0) -> RigBasis:
    """Return a basis as it lies on a square crop of its picture, `size` px wide.

    to_crop: [2, 3] affine map from the picture to the crop. gain: how much larger than the rig's own motion the motion
    in the crop is.
    """
    affine = np.asarray(to_crop, np.float64)
    return replace(
        basis,
        image_size=(size, size),
        positions=(basis.positions @ affine[:, :2].T + affine[:, 2]).astype(np.float32),
        displacement=(gain * basis.displacement @ affine[:, :2].T).astype(np.float32),
    )


def on_driver(basis: RigBasis, correspondence: Correspondence, mask: Tensor) -> RigBasis:
    """Return a basis that lies on the avatar's crop as it lies on the driver's.

    Vertices go to their counterparts on the driver, and displacements turn and stretch with the face around them.

    Args:
        basis: on the avatar's crop (`on_crop`).
        correspondence: from the avatar's crop to the driver's.
        mask: [1, 1, h, w] in [0, 1], where the driver's face is; vertices where it is below a half are not seen.
    """
    height, width = mask.shape[-2:]
    there = read_field(correspondence.positions, basis.positions)[0]
    inverse = read_field(correspondence.inverse_jacobian.flatten(1, 2), basis.positions).reshape(-1, 2, 2)
    jacobian = np.linalg.inv(inverse)
    x, y = np.moveaxis(basis.displacement, -1, 0)
    displacement = np.stack([row[:, 0] * x + row[:, 1] * y for row in jacobian.swapaxes(0, 1)], -1)
    crop_height, crop_width = correspondence.positions.shape[-2:]
    inside = ((basis.positions >= 0) & (basis.positions <= [crop_width - 1, crop_height - 1])).all(1)
    return replace(
        basis,
        image_size=(width, height),
        positions=there.astype(np.float32),
        visible=basis.visible & inside & (read_field(mask, there)[0, :, 0] >= 0.5),
        displacement=displacement.astype(np.float32),
    )


def read_field(field: Tensor, points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return a field [N, C, h, w] at points [V, 2] px, [N, V, C]; outside, its border."""
    where = torch.from_numpy(np.ascontiguousarray(points.T[None, :, None])).to(field)
    return np.asarray(sample(field, where)[:, :, 0].mT.double().cpu().numpy())
