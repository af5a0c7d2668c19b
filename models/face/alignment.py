# SPDX-License-Identifier: GPL-3.0-or-later
"""Photometric alignment of pictures of one head, to a few hundredths of a pixel.

Landmarks place a head to about half a pixel, and their scale follows the expression: a frown can change it by 2 %.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..magnification.filters import gaussian, median
from .similarity import Similarity

_BLURS = (3.0, 1.5)  # px of the pictures, coarse to fine
_ROUNDS = 8  # Gauss-Newton steps at each blur
_CONTRAST_WINDOW = 6.0  # blurs over which brightness and contrast are normalised
_FAINT = 0.02  # contrast below which a surface counts as plain
_OUTLIER = 1.5  # median residuals at which a pixel has lost three quarters of its weight
_LEAST_WEIGHT = 0.05  # pixels below are left out of the fit
_CONVERGED = 0.02  # px, "a few hundredths"


@dataclass(frozen=True)
class Alignment:
    """The state of the Gauss-Newton iteration when it ended.

    similarities: N, from px of the reference to px of each frame. iterations: steps over all blurs. residual: [N] px,
    the last step at the picture's edge: root of the sum of squares of shift, zoom and turn.
    """

    similarities: tuple[Similarity, ...]
    iterations: int
    residual: Tensor

    @property
    def converged(self) -> Tensor:
        """[N], frames whose last step was below the accuracy that is claimed."""
        return self.residual < _CONVERGED


def align(reference: Tensor, frames: Tensor, weights: Tensor) -> Alignment:
    """Find for each frame the similarity from px of the reference to px of the frame.

    reference: [1, C, H, W], frames: [N, C, H, W] in [0, 1], grey or RGB, already aligned to a few px. weights:
    [1, 1, H, W] in [0, 1], expected rigidity of each pixel (`rigid_mask`). Inverse-compositional Gauss-Newton (Baker
    and Matthews, "Lucas-Kanade 20 Years On", 2004) on pictures normalised in brightness and contrast, under a
    Geman-McClure kernel (IRLS), so that neither a change of light nor a moving brow biases the fit.

    >>> import numpy as np
    >>> x = torch.arange(96.0).expand(1, 1, 96, 96)
    >>> def picture(shift: float) -> Tensor:
    ...     return 0.5 + 0.2 * torch.sin((x - shift) / 6) * torch.cos((x.mT + 0.5 * x) / 9 - shift / 18)
    >>> inner = F.pad(torch.ones(1, 1, 56, 56), (20, 20, 20, 20))
    >>> [found] = align(picture(0), 0.8 * picture(1.5), inner).similarities
    >>> (found(np.array([48.0, 48.0])) - 48).round(1) + 0.0
    array([1.5, 0. ])
    """
    height, width = reference.shape[-2:]
    y, x = torch.nonzero(weights[0, 0] > _LEAST_WEIGHT, as_tuple=True)
    prior = weights[0, 0, y, x]
    centre = complex((width - 1) / 2, (height - 1) / 2)
    radius = max(height, width) / 2  # makes turn and zoom comparable with shifts, for a well-conditioned solve
    points = torch.complex(x.double(), y.double()) - centre  # the plane as complex numbers: a similarity is u z + t
    unit = torch.ones(len(frames), 1, dtype=points.dtype, device=frames.device)
    shift = torch.zeros_like(unit)
    residual = torch.zeros(len(frames), device=frames.device)

    for blur in _BLURS:
        template, pictures = evened(reference, blur)[0, 0], evened(frames, blur)
        slope_y, slope_x = (slope[y, x] for slope in torch.gradient(template))
        across, down = (points.real / radius).to(frames), (points.imag / radius).to(frames)
        jacobian = torch.stack(
            [slope_x * across + slope_y * down, slope_y * across - slope_x * down, slope_x, slope_y], dim=-1
        )  # [P, 4]: zoom and turn in px at the radius, shift
        products = (jacobian[:, :, None] * jacobian[:, None]).flatten(1)
        for _ in range(_ROUNDS):
            there = unit * points + shift + centre
            grid = torch.stack([(2 * there.real + 1) / width - 1, (2 * there.imag + 1) / height - 1], dim=-1)
            seen = F.grid_sample(pictures, grid[:, None].to(frames), mode="bilinear", align_corners=False)[:, 0, 0]
            difference = seen - template[y, x]  # [N, P]
            weight = prior * (grid.abs() < 1).all(-1) * robust_weights(difference)
            normal = (weight @ products).unflatten(1, (4, 4))
            damping = 1e-6 * normal.diagonal(dim1=1, dim2=2).sum(1) + 1e-9
            normal = normal + damping[:, None, None] * torch.eye(4).to(normal)
            gradient = (weight * difference) @ jacobian
            step = torch.linalg.solve(normal, gradient)
            residual = step.norm(dim=1)
            zoom, turn, shift_x, shift_y = step.double().unbind(1)
            step_unit = 1 + torch.complex(zoom, turn)[:, None] / radius
            unit, shift = unit / step_unit, shift - unit / step_unit * torch.complex(shift_x, shift_y)[:, None]

    offset = shift + centre - unit * centre
    found = tuple(
        Similarity(a.real, a.imag, t.real, t.imag)
        for a, t in zip(unit[:, 0].tolist(), offset[:, 0].tolist(), strict=True)
    )
    return Alignment(found, _ROUNDS * len(_BLURS), residual)


def evened(images: Tensor, blur: float) -> Tensor:
    """Return [N, 1, H, W] blurred brightness, normalised by its local mean and local standard deviation."""
    grey = _blurred(images.mean(1, keepdim=True), blur)
    detail = grey - _blurred(grey, _CONTRAST_WINDOW * blur)
    contrast = _blurred(detail**2, _CONTRAST_WINDOW * blur).sqrt()
    return detail / (contrast + _FAINT)


def _blurred(images: Tensor, sigma: float) -> Tensor:
    return gaussian(images, sigma, int(3 * sigma) + 1)


def robust_weights(residual: Tensor) -> Tensor:
    """Return Geman-McClure weights of residuals [N, P], their width set by each frame's median."""
    size = residual.abs()
    width = _OUTLIER * median(size)[:, None].clamp(min=1e-4)
    return 1 / (1 + (size / width) ** 2) ** 2
