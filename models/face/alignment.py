# SPDX-License-Identifier: GPL-3.0-or-later
"""Photometric alignment of pictures of one head, to a few hundredths of a pixel.

Landmarks place a head to about half a pixel, and their scale follows the expression: a frown can change it by 2 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..magnification.filters import gaussian, kth_smallest
from .similarity import Similarity

Plane: TypeAlias = NDArray[np.float32]  # [H, W]
Row: TypeAlias = NDArray[np.float32]  # [P]
Places: TypeAlias = NDArray[np.complex128]  # [N]

FINEST_BLUR = 1.5  # px of the pictures
_BLURS = (2 * FINEST_BLUR, FINEST_BLUR)  # coarse to fine
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


class AlignmentTemplate:
    """What frames are aligned to: a reference [1, C, H, W] in [0, 1], grey or RGB.

    weights: [1, 1, H, W] in [0, 1], expected rigidity of each pixel (`rigid_mask`).
    """

    def __init__(self, reference: Tensor, weights: Tensor) -> None:
        height, width = reference.shape[-2:]
        rigidity = weights[0, 0].numpy()
        at = np.nonzero(rigidity > _LEAST_WEIGHT)
        self._centre = complex((width - 1) / 2, (height - 1) / 2)
        # Makes turn and zoom comparable with shifts, for a well-conditioned solve.
        self._radius = max(height, width) / 2
        self._x, self._y = at[1] - self._centre.real, at[0] - self._centre.imag
        self._comparisons = [self._comparison(level[0, 0].numpy(), at, rigidity[at]) for level in levels_of(reference)]

    def _comparison(self, picture: Plane, at: tuple[NDArray[np.intp], ...], prior: Row) -> Comparison:
        slope_y, slope_x = (slope[at] for slope in np.gradient(picture))
        across, down = self._x / self._radius, self._y / self._radius
        zoom, turn = slope_x * across + slope_y * down, slope_y * across - slope_x * down  # px at the radius
        return Comparison(picture[at], prior, np.stack([zoom, turn, slope_x, slope_y]))

    def align(self, levels: Sequence[Tensor]) -> Alignment:
        """Find for each of N frames, by its `levels_of`, the similarity from px of the reference to px of the frame."""
        unit: Places = np.ones(len(levels[0]), np.complex128)  # the plane as complex numbers: a similarity is u z + t
        shift: Places = np.full_like(unit, self._centre)
        residual = np.zeros(len(unit))
        for comparison, pictures in zip(self._comparisons, levels, strict=True):
            for _ in range(_ROUNDS):
                normal, gradient = comparison.equations(pictures, unit, shift, self._x[None], self._y[None])
                damping = 1e-6 * np.trace(normal, axis1=1, axis2=2) + 1e-9
                step = np.linalg.solve(normal + damping[:, None, None] * np.eye(4), gradient[..., None])[..., 0]
                residual = np.linalg.norm(step, axis=1)
                unit = unit / (1 + (step[:, 0] + 1j * step[:, 1]) / self._radius)
                shift = shift - unit * (step[:, 2] + 1j * step[:, 3])
        offset = shift - unit * self._centre
        found = tuple(
            Similarity(a.real, a.imag, t.real, t.imag) for a, t in zip(unit.tolist(), offset.tolist(), strict=True)
        )
        return Alignment(found, _ROUNDS * len(_BLURS), torch.from_numpy(residual))


def align(reference: Tensor, frames: Tensor, weights: Tensor) -> Alignment:
    """Find for each frame the similarity from px of the reference to px of the frame.

    reference: [1, C, H, W], frames: [N, C, H, W] in [0, 1], grey or RGB, already aligned to a few px. weights:
    [1, 1, H, W] in [0, 1], expected rigidity of each pixel (`rigid_mask`). Inverse-compositional Gauss-Newton (Baker
    and Matthews, "Lucas-Kanade 20 Years On", 2004) on pictures normalised in brightness and contrast, under a
    Geman-McClure kernel (IRLS), so that neither a change of light nor a moving brow biases the fit.

    >>> x = torch.arange(96.0).expand(1, 1, 96, 96)
    >>> def picture(shift: float) -> Tensor:
    ...     return 0.5 + 0.2 * torch.sin((x - shift) / 6) * torch.cos((x.mT + 0.5 * x) / 9 - shift / 18)
    >>> inner = torch.nn.functional.pad(torch.ones(1, 1, 56, 56), (20, 20, 20, 20))
    >>> [found] = align(picture(0), 0.8 * picture(1.5), inner).similarities
    >>> (found(np.array([48.0, 48.0])) - 48).round(1) + 0.0
    array([1.5, 0. ])
    """
    return AlignmentTemplate(reference, weights).align(levels_of(frames))


class Comparison:
    """Normal equations of the motions by which frames differ from a template at P places.

    values: [P] of the template, `evened`. prior: [P] in [0, 1], weights. jacobian: [K, P], what each motion changes.
    """

    def __init__(self, values: Row, prior: Row, jacobian: NDArray[np.floating]) -> None:
        self._values, self._prior, self._jacobian = (
            np.ascontiguousarray(each, np.float32) for each in (values, prior, jacobian)
        )

    def equations(
        self, pictures: Tensor, unit: Places, shift: Places, x: NDArray[np.floating], y: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the weighted products of the motions, [N, K, K], and of them and the differences, [N, K].

        pictures: [N, 1, H, W], `evened`. Places are unit z + shift, [N] complex each, with z = x + i y, [N or 1, P].
        """
        from ..loops.comparison import compare_at, weigh_robustly

        maps = np.stack([unit.real, unit.imag, shift.real, shift.imag], 1)
        difference, weight = np.empty((2, len(pictures), len(self._values)), np.float32)
        x, y = (np.ascontiguousarray(each, np.float32) for each in (x, y))
        compare_at(pictures.contiguous().numpy(), maps, x, y, self._values, self._prior, difference, weight)
        middle = (len(self._values) - 1) // 2
        medians = kth_smallest(torch.from_numpy(np.abs(difference)), middle + 1).numpy()
        widths = np.asarray(_OUTLIER * np.maximum(medians, 1e-4), np.float32)
        weigh_robustly(difference, widths, weight)
        motions = len(self._jacobian)
        weighted = (weight[:, None] * self._jacobian).reshape(-1, len(self._values))  # one product for all frames
        normal = (weighted @ self._jacobian.T).reshape(-1, motions, motions)
        return normal.astype(np.float64), ((weight * difference) @ self._jacobian.T).astype(np.float64)


def levels_of(images: Tensor) -> list[Tensor]:
    """Return what images [N, C, H, W] are aligned by, coarse to fine, [N, 1, H, W] each; see `evened`."""
    return [evened(images, blur) for blur in _BLURS]


def evened(images: Tensor, blur: float) -> Tensor:
    """Return [N, 1, H, W] blurred brightness, normalised by its local mean and local standard deviation."""
    grey = _blurred(images.mean(1, keepdim=True), blur)
    detail = grey - _blurred(grey, _CONTRAST_WINDOW * blur)
    contrast = _blurred(detail**2, _CONTRAST_WINDOW * blur).sqrt()
    return detail / (contrast + _FAINT)


def _blurred(images: Tensor, sigma: float) -> Tensor:
    return gaussian(images, sigma, int(3 * sigma) + 1)
