# SPDX-License-Identifier: GPL-3.0-or-later
"""Dense correspondence between two neutral faces, and motion carried across it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from torch import Tensor

from ...backend_bridge.rig.anchors import MESH_POINTS
from ..device import fits_loops
from ..warp import pixel_grid, sample, sample_spline

LATTICE = 48  # intervals along the longer side of the lattice that the spline is evaluated on
LATTICE_MARGIN = 8  # intervals beyond the picture: the spline's border has decayed to 0.27^8 within
SMOOTHING = 1e-2  # of the spline, weight of its bending: landmarks jitter
HUMAN = 0.3  # how far the proportions of two people's faces differ in places, as a share


class Correspondence:
    """The map from the avatar's face to the driver's, and its derivative, by which motion is carried back.

    The map is a smoothing thin-plate spline through the 468 landmarks of the two stills. Motion is carried by the
    affine map of the whole face, so that a rolled head moves along its own axes and a larger face moves farther. The
    spline's local derivative enters where it departs from that by more than people differ (`_shrunk`), so that a
    cartoon's eye, twice as large, blinks twice as far.
    """

    def __init__(
        self,
        avatar_landmarks: NDArray[np.floating],
        driver_landmarks: NDArray[np.floating],
        size: tuple[int, int],
    ) -> None:
        """Fit to [478 or 468, 2+] landmarks in px; `size` is (width, height) of the avatar's crop."""
        width, height = size
        here = avatar_landmarks[:MESH_POINTS, :2].astype(np.float64)
        there = driver_landmarks[:MESH_POINTS, :2].astype(np.float64)
        self.positions = self._spline(here, there, width, height)
        whole, *_ = np.linalg.lstsq(np.c_[here, np.ones(len(here))], there, rcond=None)
        self.inverse_jacobian = _inverse(_shrunk(_jacobian(self.positions), torch.from_numpy(whole[:2].T).float()))

    @staticmethod
    def _spline(here: NDArray[np.float64], there: NDArray[np.float64], width: int, height: int) -> Tensor:
        """Evaluate the spline [1, 2, H, W]: positions on the driver for every pixel of the avatar."""
        unit = float(np.ptp(here[:, 0]))
        spline = RBFInterpolator(here / unit, there, kernel="thin_plate_spline", smoothing=SMOOTHING, degree=1)
        # The spline is evaluated on a coarse lattice that reaches beyond the picture and is refined by a cubic one.
        spacing = max(width, height) / LATTICE
        columns, rows = (np.arange(-LATTICE_MARGIN, extent / spacing + LATTICE_MARGIN) for extent in (width, height))
        lattice = np.stack(np.meshgrid(columns, rows), -1).reshape(-1, 2) * spacing
        values = spline(lattice / unit).reshape(len(rows), len(columns), 2).transpose(2, 0, 1)
        at = pixel_grid(height, width) / spacing + LATTICE_MARGIN
        return sample_spline(torch.from_numpy(values.astype(np.float32))[None], at)

    def carry(self, flow: Tensor) -> Tensor:
        """Return the driver's motion [N, 2, h, w] (px of the driver's crop) as motion of the avatar's crop."""
        if fits_loops(flow, self.positions):
            return self._carried(flow)
        positions, inverse = self.positions.to(flow.device), self.inverse_jacobian.to(flow.device)
        x, y = sample(flow, positions).unbind(1)
        return torch.stack([inverse[:, row, 0] * x + inverse[:, row, 1] * y for row in (0, 1)], 1)

    def _carried(self, flow: Tensor) -> Tensor:
        """Return the same on a CPU, in a fraction of the time."""
        from ..loops.resampling import carry

        found = flow.new_empty(len(flow), 2, *self.positions.shape[2:])
        maps = self.positions.contiguous().numpy(), self.inverse_jacobian.contiguous().numpy()
        carry(flow.contiguous().numpy(), *maps, found.numpy())
        return found


def _jacobian(positions: Tensor) -> Tensor:
    """Return d positions / d pixel, [1, 2, 2, H, W]."""
    along_y, along_x = torch.gradient(positions, dim=(2, 3))
    return torch.stack([along_x, along_y], 2)


def _shrunk(jacobian: Tensor, whole: Tensor) -> Tensor:
    """Return the local derivative [1, 2, 2, H, W], shrunk towards that of the whole face [2, 2] where it is near it.

    With D the relative departure, W (I + D |D|^2 / (|D|^2 + HUMAN^2)).

    A muscle moves the skin about as far in a broad nose as in a narrow one, and an error of a few pixels in the places
    of neighbouring landmarks changes their distance by a tenth: small local differences are no evidence of motion.
    """
    same = torch.eye(2).view(1, 2, 2, 1, 1)
    apart = torch.einsum("ij,njkhw->nikhw", torch.linalg.inv(whole), jacobian) - same
    squared = 0.5 * (apart**2).sum((1, 2), keepdim=True)
    return torch.einsum("ij,njkhw->nikhw", whole, same + apart * squared / (squared + HUMAN**2))


def _inverse(jacobian: Tensor) -> Tensor:
    """Return the inverse of [1, 2, 2, H, W], at every pixel."""
    a, b, c, d = jacobian[:, 0, 0], jacobian[:, 0, 1], jacobian[:, 1, 0], jacobian[:, 1, 1]
    determinant = a * d - b * c
    # A fold of the map (determinant at or below zero) has no meaningful inverse; a face can't mirror itself, so the
    # determinant is kept at no less than a quarter of its median.
    determinant = torch.maximum(determinant, 0.25 * determinant.median().clamp_min(1e-6))
    return torch.stack([torch.stack([d, -b], 1), torch.stack([-c, a], 1)], 1) / determinant[:, None, None]
