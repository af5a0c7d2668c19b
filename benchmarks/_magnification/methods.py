# SPDX-License-Identifier: GPL-3.0-or-later
"""Ways to magnify, ours and others', behind one interface; and the optical flow that results are measured with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from magplus.models.magnification import Magnifier, Motion
from magplus.models.magnification.filters import binomial
from magplus.models.training.flowmag import Painter
from magplus.models.warp import backward_displacement, pixel_grid, sample, sample_spline

Estimator = Callable[[Tensor, Tensor], Tensor]
Synthesis = Callable[[Tensor, Tensor, float, Tensor], Tensor]


def dis(reference: Tensor, frame: Tensor) -> Tensor:
    """OpenCV's dense inverse search at its medium preset."""
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return _flow(search.calc(_grey(reference), _grey(frame), None))


def farneback(reference: Tensor, frame: Tensor) -> Tensor:
    """Farneback's polynomial expansion, smoothed over 21 px."""
    return _flow(cv2.calcOpticalFlowFarneback(_grey(reference), _grey(frame), None, 0.5, 4, 21, 3, 7, 1.5, 0))


def fine_dis(reference: Tensor, frame: Tensor) -> Tensor:
    """The instrument: dense inverse search down to single pixels."""
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(0)
    return _flow(search.calc(_grey(reference), _grey(frame), None))


@dataclass(frozen=True)
class Method:
    """A way to magnify: how it finds the motion [1, 2, H, W] px, and what it makes of reference, frame, alpha, motion.

    estimate is None where a method has no motion field; synthesis then gets zeros.
    """

    estimate: Estimator | None
    synthesis: Synthesis

    def motion(self, reference: Tensor, frame: Tensor) -> Tensor:
        """Return its motion field."""
        return torch.zeros_like(frame[:, :2]) if self.estimate is None else self.estimate(reference, frame)

    def __call__(self, reference: Tensor, frame: Tensor, alpha: float) -> Tensor:
        """Return the magnified frame."""
        return self.synthesis(reference, frame, alpha, self.motion(reference, frame))


def warped(reference: Tensor, frame: Tensor, alpha: float, flow: Tensor) -> Tensor:
    """Look the frame up along a motion field."""
    origin = pixel_grid(*flow.shape[2:]) - backward_displacement(alpha * flow).displacement
    return sample_spline(frame, origin + sample(flow, origin)).clamp(0, 1)


def eulerian(reference: Tensor, frame: Tensor, alpha: float, flow: Tensor) -> Tensor:
    """Linear Eulerian magnification: the smoothed change of brightness, amplified."""
    change = binomial(binomial(binomial(frame - reference)))
    return (frame + (alpha - 1) * change).clamp(0, 1)


def magnifying(magnifier: Magnifier) -> Method:
    """One of our magnifiers."""

    def synthesis(reference: Tensor, frame: Tensor, alpha: float, flow: Tensor) -> Tensor:
        return magnifier.apply(reference, frame, alpha, motion=Motion(flow, torch.ones_like(flow[:, :1])))

    return Method(lambda reference, frame: magnifier.motion(reference, frame).flow, synthesis)


@torch.inference_mode()
def painted(painter: Painter, reference: Tensor, frames: Tensor, alpha: float) -> Tensor:
    """Return frames [N, 3, H, W] magnified by the FlowMag-style U-Net, on its device."""
    reference, frames = (images.to(painter.last.weight.device) for images in (reference, frames))
    return painter(reference.expand_as(frames), frames, frames.new_full((len(frames),), alpha)).clamp(0, 1)


def painting(painter: Painter) -> Method:
    """The FlowMag-style U-Net, which has no motion field."""
    return Method(None, lambda reference, frame, alpha, flow: painted(painter, reference, frame, alpha))


def _grey(image: Tensor) -> np.ndarray:
    pixels = (image[0].permute(1, 2, 0).numpy() * 255).round().clip(0, 255).astype(np.uint8)
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)


def _flow(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).permute(2, 0, 1)[None]


SOLVER_ALONE = Magnifier(torch.device("cpu"))
SOLVER = magnifying(SOLVER_ALONE)
